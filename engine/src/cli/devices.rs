//! Devices: where a run writes them (`--devices`, `--state`), and the command that shows them.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::args::{Common, DevicesArguments};
use crate::cli::{print, whole_file};
use crate::config::state_file;
use crate::devices::{Device, DevicesView, is_random};
use crate::error::{Error, Result};
use crate::export::devices::{read, shown_mac, shown_time, write};
use crate::export::line::harmless;

/// Where a run's devices are written.
pub(crate) struct DeviceFiles(Vec<(PathBuf, &'static str)>);

impl DeviceFiles {
    /// As the user wants it.
    pub(crate) fn of(common: &Common) -> Self {
        let file = common.devices.clone().map(|path| (path, "--devices"));
        let state = common.state.as_deref().map(|folder| (state_file(folder), "--state"));
        Self(file.into_iter().chain(state).collect())
    }

    /// The files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }

    /// Whether all could be written.
    ///
    /// # Errors
    /// If one could not.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.iter().try_for_each(|(path, option)| whole_file::check(path, option))
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// If one cannot be written. The others are.
    pub(crate) fn write(&self, devices: &DevicesView) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let text = write(devices);
        let write =
            |(path, option): &(PathBuf, &'static str)| whole_file::write(path, &text, option);
        self.0.iter().map(write).fold(Ok(()), Result::and)
    }
}

/// The folder of `--state`: one run has it at a time, from before it reads what is kept there until
/// it has written it. Two would each keep what they know themselves, and lose what the other does.
pub(crate) struct StateFolder {
    /// Locked as long as it is open. There is no file for that, which could be another user's.
    _lock: File,
    /// If this run has made it.
    made: Option<PathBuf>,
}

impl StateFolder {
    /// Takes it, if one is given; it is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made, or another run has it.
    pub(crate) fn take(common: &Common) -> Result<Option<Self>> {
        let Some(folder) = &common.state else { return Ok(None) };
        let made = match fs::create_dir(folder) {
            Ok(()) => Some(folder.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Err(error) => {
                return Err(Error::new(format!("make {}", folder.display()), error)
                    .advise("give --state a folder, or a name for one beside others of yours"));
            }
        };
        let fail = |what: &str, error| Error::new(format!("{what} {}", folder.display()), error);
        let lock = File::open(folder).map_err(|error| {
            fail("open", error).advise("give --state a folder that you may read and write")
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { _lock: lock, made })),
            Err(TryLockError::WouldBlock) => {
                let cause = "another flowtap keeps its devices there";
                Err(Error::new(format!("use {}", folder.display()), cause)
                    .advise("stop that one, or give --state another folder"))
            }
            Err(TryLockError::Error(error)) => {
                Err(fail("lock", error).advise("give --state a folder on a disk of this machine"))
            }
        }
    }
}

impl Drop for StateFolder {
    /// A run that was refused leaves no folder behind: one with something in it stays.
    fn drop(&mut self) {
        _ = self.made.take().map(fs::remove_dir);
    }
}

/// Prints a table of the devices in a file, those that were seen last first.
///
/// # Errors
/// If it cannot be read, or standard output not be written.
pub(crate) fn run(arguments: &DevicesArguments) -> Result<()> {
    let of_state = || arguments.state.as_deref().map(state_file);
    let path = arguments.file.clone().or_else(of_state).expect("clap asks for one of them");
    let mut devices = read(&path)?;
    devices.sort_by_key(|device| (Reverse(device.seen[1]), device.mac));
    print(&table(&devices))
}

/// Addresses of one device that are shown: the latest.
const SHOWN_ADDRESSES: usize = 4;

fn table(devices: &[Device]) -> String {
    let mut text = String::new();
    let mut line = |columns: [&str; 7]| {
        let [mac, vendor, name, source, first, last, addresses] = columns;
        let written = writeln!(
            text,
            "{mac:<17}  {vendor:<24}  {name:<28}  {source:<9}  {first:<19}  {last:<19}  {addresses}"
        );
        written.expect("a string takes anything");
    };
    line(["MAC", "VENDOR", "NAME", "SOURCE", "FIRST SEEN (UTC)", "LAST SEEN (UTC)", "ADDRESSES"]);
    for device in devices {
        let by_maker = device.vendor.as_deref().unwrap_or_default();
        let vendor = if is_random(device.mac) { "(random address)" } else { by_maker };
        let hostname = device.hostname();
        let name = hostname.map(|best| &*best.name).unwrap_or_default();
        let source = hostname.map(|best| best.source.name()).unwrap_or_default();
        let [first, last] = device.seen.map(|time| shown_time(time)[..19].replace('T', " "));
        let (mac, vendor, name) = (shown_mac(device.mac), fit(vendor, 24), fit(name, 28));
        line([&mac, &vendor, &name, source, &first, &last, &addresses(device)]);
    }
    text
}

fn addresses(device: &Device) -> String {
    let mut all: Vec<_> = device.addresses.iter().collect();
    all.sort_by_key(|one| Reverse(one.seen[1]));
    let shown = all.iter().take(SHOWN_ADDRESSES).map(|one| one.place.address.to_string());
    let mut shown: Vec<_> = shown.collect();
    if all.len() > SHOWN_ADDRESSES {
        shown.push(format!("and {} more", all.len() - SHOWN_ADDRESSES));
    }
    shown.join(" ")
}

/// Text from the wire, in a column of so many letters.
fn fit(text: &str, letters: usize) -> String {
    let shown = harmless(text);
    if shown.chars().count() <= letters {
        return shown.into_owned();
    }
    shown.chars().take(letters - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::table::Devices;
    use crate::devices::{DevicesSetup, HostNameSource, Place, Sighting};

    #[test]
    fn a_device_takes_a_line_whatever_it_is_called() {
        let mut devices = Devices::new(&DevicesSetup::default(), 10);
        let mac = [2, 0, 0, 0, 0, 9];
        for last in 1..=6 {
            let place = Place { vlans: [0; 2], address: [10, 0, 0, last].into() };
            devices.see_address(mac, place, Sighting::Arp, i64::from(last) * 1_000_000_000);
        }
        devices.see_name(mac, "\u{1b}]0;x\u{7}\n\u{feff}", HostNameSource::Dhcp, 1);
        devices.see_name([2; 6], &"long".repeat(50), HostNameSource::Mdns, 0);
        let all: Vec<_> = devices.view().all().iter().map(|one| Device::clone(one)).collect();
        let shown = table(&all);
        let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            [
                "02:00:00:00:00:09",
                "(random",
                "address)",
                "\\u{1b}]0;x\\u{7}\\u{a}\\u{feff}",
                "dhcp",
                "1970-01-01",
                "00:00:00",
                "1970-01-01",
                "00:00:06",
                "10.0.0.6",
                "10.0.0.5",
                "10.0.0.4",
                "10.0.0.3",
                "and",
                "2",
                "more",
            ]
        );
        assert!(lines[2].contains("longlonglonglonglonglonglon…"), "{}", lines[2]);
    }
}
