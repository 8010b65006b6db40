//! A file of devices: JSON lines, one object for each device. It is what `--devices` writes, and
//! what `--state` keeps from run to run.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::devices::device::cut;
use crate::devices::{
    Device, DeviceAddress, DeviceName, DevicesView, HostNameSource, Mac, Place, Sighting, is_random,
};
use crate::error::{Error, Result};
use crate::export::json::escape;
use crate::limits::{DEVICE_FILE_BYTES, DEVICES, KEY_VLANS};
use crate::time::Timestamp;

/// A device as it is written. What is not known is absent.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    mac: String,
    /// Whether the address is one that its maker has not given it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    random_mac: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname_source: Option<HostNameSource>,
    first_seen: String,
    last_seen: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<AddressLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<NameLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dhcp_fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dhcp_vendor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ssdp_server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ssh_server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ssh_client: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AddressLine {
    address: IpAddr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    source: Sighting,
    first_seen: String,
    last_seen: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct NameLine {
    name: String,
    source: HostNameSource,
    first_seen: String,
    last_seen: String,
}

/// All devices, a line each. Text from the wire is escaped so that no line does anything to a
/// terminal.
#[must_use]
pub fn write(devices: &DevicesView) -> Vec<u8> {
    let mut out = Vec::new();
    for device in devices.all() {
        let line = serde_json::to_string(&Line::of(&device));
        escape(&line.expect("it is plain data"), &mut out);
        out.push(b'\n');
    }
    out
}

/// The devices in a file that [`write()`] has written; no more than there may be.
///
/// # Errors
/// If it cannot be read, or a line is none of a device.
pub fn read(path: &Path) -> Result<Vec<Device>> {
    let fail = |cause: &str| Error::new(format!("read devices from {}", path.display()), cause);
    let file = File::open(path)
        .map_err(|error| fail(&error.to_string()).advise("check its name and your rights"))?;
    let mut lines = BufReader::new(file.take(DEVICE_FILE_BYTES));
    let (mut devices, mut line) = (Vec::new(), String::new());
    for number in 1_usize.. {
        line.clear();
        let read = lines.read_line(&mut line).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => "it is no text".to_owned(),
            _ => error.to_string(),
        });
        let device = read.and_then(|bytes| match bytes {
            0 => Ok(None),
            _ if devices.len() == DEVICES => Err(format!("more than {DEVICES} devices")),
            _ => Line::read(&line).and_then(|line| line.device()).map(Some),
        });
        match device {
            Ok(None) => break,
            Ok(Some(device)) => devices.push(device),
            Err(cause) => {
                return Err(fail(&format!("line {number}: {cause}"))
                    .advise("name a file that flowtap has written, or remove this one"));
            }
        }
    }
    Ok(devices)
}

impl Line {
    fn of(device: &Device) -> Self {
        let [first_seen, last_seen] = device.seen.map(shown_time);
        let hostname = device.hostname();
        let text = |one: &Option<_>| one.as_ref().map(ToString::to_string);
        Self {
            mac: shown_mac(device.mac),
            random_mac: is_random(device.mac),
            vendor: text(&device.vendor),
            hostname: hostname.map(|best| best.name.to_string()),
            hostname_source: hostname.map(|best| best.source),
            first_seen,
            last_seen,
            addresses: device.all_addresses().iter().map(AddressLine::of).collect(),
            names: device.names.iter().map(NameLine::of).collect(),
            dhcp_fingerprint: text(&device.dhcp_fingerprint),
            dhcp_vendor: text(&device.dhcp_vendor),
            ssdp_server: text(&device.ssdp_server),
            ssh_server: text(&device.ssh_server),
            ssh_client: text(&device.ssh_client),
        }
    }

    fn read(text: &str) -> std::result::Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            // The number of the line is said by us.
            let text = error.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        })
    }

    fn device(self) -> std::result::Result<Device, String> {
        let mac =
            parse_mac(&self.mac).ok_or_else(|| format!("'{}' is no MAC address", self.mac))?;
        let text = |one: Option<String>| one.map(|text| cut(&text).into());
        let mut device = Device::new(mac, 0);
        device.vendor = text(self.vendor);
        device.seen = parse_times(&self.first_seen, &self.last_seen)?;
        for one in self.addresses {
            device.addresses.push(one.address()?);
        }
        for one in self.names {
            device.names.push(one.name()?);
        }
        device.dhcp_fingerprint = text(self.dhcp_fingerprint);
        device.dhcp_vendor = text(self.dhcp_vendor);
        device.ssdp_server = text(self.ssdp_server);
        device.ssh_server = text(self.ssh_server);
        device.ssh_client = text(self.ssh_client);
        Ok(device)
    }
}

impl AddressLine {
    fn of(one: &DeviceAddress) -> Self {
        let [first_seen, last_seen] = one.seen.map(shown_time);
        let vlan = one.place.vlans.into_iter().filter(|&vlan| vlan != 0).collect();
        Self { address: one.place.address, vlan, source: one.sighting, first_seen, last_seen }
    }

    fn address(self) -> std::result::Result<DeviceAddress, String> {
        let mut vlans = [0; KEY_VLANS];
        vlans.iter_mut().zip(&self.vlan).for_each(|(to, from)| *to = *from);
        let place = Place { vlans, address: self.address };
        let seen = parse_times(&self.first_seen, &self.last_seen)?;
        Ok(DeviceAddress { place, sighting: self.source, seen })
    }
}

impl NameLine {
    fn of(one: &DeviceName) -> Self {
        let [first_seen, last_seen] = one.seen.map(shown_time);
        Self { name: one.name.to_string(), source: one.source, first_seen, last_seen }
    }

    fn name(self) -> std::result::Result<DeviceName, String> {
        let seen = parse_times(&self.first_seen, &self.last_seen)?;
        Ok(DeviceName { name: cut(&self.name).into(), source: self.source, seen })
    }
}

/// Six bytes in hexadecimal, with colons.
#[must_use]
pub fn shown_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for byte in &mut mac {
        let digits = bytes.next().filter(|digits| digits.len() == 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    bytes.next().is_none().then_some(mac)
}

/// RFC 3339, in UTC with nanoseconds.
#[must_use]
pub fn shown_time(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(time.into());
    format!("{:.9}", time.expect("64 bits of nanoseconds are well inside jiff's range"))
}

fn parse_times(first: &str, last: &str) -> std::result::Result<[Timestamp; 2], String> {
    let parse = |text: &str| {
        let time: Option<jiff::Timestamp> = text.parse().ok();
        let ns = time.and_then(|time| Timestamp::try_from(time.as_nanosecond()).ok());
        ns.ok_or_else(|| format!("'{text}' is no time"))
    };
    Ok([parse(first)?, parse(last)?])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::devices::DevicesSetup;
    use crate::devices::table::{Devices, Trait};

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn known() -> Devices {
        let mut devices = Devices::new(&DevicesSetup::default(), 10);
        let place = |vlans, address: &str| Place { vlans, address: address.parse().unwrap() };
        devices.see_address(MAC, place([7, 0], "10.0.0.9"), Sighting::Arp, 1_500_000_000);
        devices.see_address(MAC, place([0, 0], "fe80::9"), Sighting::Ndp, -1);
        devices.see_name(MAC, "pc\u{1b}[31m\u{202e}", HostNameSource::Mdns, 2);
        devices.see_name(MAC, "pc9", HostNameSource::Dhcp, 3);
        devices.see_trait(MAC, Trait::DhcpFingerprint, "1,3,6", 3);
        devices.see_trait(MAC, Trait::SshServer, "SSH-2.0-x\u{1b}[2J\u{200b}\u{e0041}", 3);
        devices.see_trait(MAC, Trait::SshClient, &"y".repeat(5_000), 3);
        devices
    }

    #[test]
    fn what_is_written_is_read_back_and_does_nothing_to_a_terminal() {
        let devices = known();
        let text = write(devices.view());
        let calm = String::from_utf8(text.clone()).unwrap();
        let unseen = ['\u{202e}', '\u{200b}', '\u{e0041}'];
        let is_shown = |c: char| !c.is_control() && !unseen.contains(&c);
        assert!(calm.trim_end().chars().all(is_shown), "{calm:?}");
        assert!(calm.starts_with(concat!(
            r#"{"mac":"02:00:00:00:00:09","random_mac":true,"hostname":"pc9","#,
            r#""hostname_source":"dhcp","first_seen":"1969-12-31T23:59:59.999999999Z","#,
            r#""last_seen":"1970-01-01T00:00:01.500000000Z","addresses":[{"address":"10.0.0.9","#,
            r#""vlan":[7],"source":"arp","#,
        )), "{calm}");
        let line: serde_json::Value = serde_json::from_str(&calm).unwrap();
        assert_eq!(line["ssh_server"], "SSH-2.0-x\u{1b}[2J\u{200b}\u{e0041}");
        assert_eq!(line["ssh_client"], "y".repeat(crate::limits::NAME_BYTES));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devices.jsonl");
        fs::write(&path, &text).unwrap();
        let read = read(&path).unwrap();
        let setup = DevicesSetup { known: read.into(), ..DevicesSetup::default() };
        let again = Devices::new(&setup, 10);
        assert_eq!(String::from_utf8(write(again.view())).unwrap(), calm);
    }

    #[test]
    fn other_files_are_refused_with_the_line_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devices.jsonl");
        let good = String::from_utf8(write(known().view())).unwrap();
        for (bad, want) in [
            ("hello\n", "line 1: expected value; name"),
            ("{\"kind\":\"flow\"}\n", "line 1: missing field `mac`"),
            (&*format!("{good}{{\"mac\":\"\n"), "line 2: control character"),
            (&good.replace("02:00", "2:00"), "'2:00:00:00:00:09' is no MAC address"),
            (&good.replace("1970-", "x"), "is no time"),
        ] {
            fs::write(&path, bad).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        fs::write(&path, b"\xff\xfe\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 1: it is no text"));
        fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no such file"));
    }
}
