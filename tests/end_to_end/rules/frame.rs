//! A line of a table to a frame: `vlan 7 / tcp 10.0.0.1:1000 > 10.0.0.2:80 SA seq=7 len=5`.
//!
//! Layers stand from the outermost to the innermost, and Ethernet goes before all of them.
//! Checksums are 0, as flowtap does not look at them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A frame, and how long it was before it was cut.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) bytes: Vec<u8>,
    pub(super) wire_len: i64,
}

/// What a layer carries, and what it is for the layer around it.
struct Inside {
    bytes: Vec<u8>,
    ether_type: u16,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const MPLS: u16 = 0x8847;

/// IP protocol numbers.
mod protocol {
    pub(super) const ICMP: u8 = 1;
    pub(super) const IP_IN_IP: u8 = 4;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const IPV6_IN_IP: u8 = 41;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const GRE: u8 = 47;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const SCTP: u8 = 132;
    pub(super) const UDP_LITE: u8 = 136;
}

/// The frame of a line's layers.
pub(super) fn make(text: &str) -> Result<Made, String> {
    let mut inside = None;
    let mut kept: Option<u16> = None;
    for layer in text.rsplit(" / ") {
        let mut words = Words::of(layer)?;
        kept = kept.or(words.number("snap")?);
        inside = Some(words.layer(inside)?);
        if let Some(left) = words.fields.keys().next() {
            return Err(format!("'{left}' is not of {}", words.name));
        }
    }
    let mut bytes = inside.map(|inside| ethernet(&inside)).ok_or("no packet")?;
    let wire_len = i64::try_from(bytes.len()).map_err(|_| "too long")?;
    bytes.truncate(kept.map_or(usize::MAX, usize::from));
    Ok(Made { bytes, wire_len })
}

fn ethernet(inside: &Inside) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&macs[..], &inside.ether_type.to_be_bytes(), &inside.bytes].concat()
}

/// One end: a later fragment has no port.
struct End {
    address: IpAddr,
    port: Option<u16>,
}

impl End {
    fn of(text: &str) -> Result<Self, String> {
        if let Ok(both) = text.parse::<SocketAddr>() {
            return Ok(Self { address: both.ip(), port: Some(both.port()) });
        }
        let address = text.parse().map_err(|_| format!("'{text}' is no address"))?;
        Ok(Self { address, port: None })
    }
}

/// The words of a layer: its name, its ends, TCP's flags, and `name=value`.
struct Words<'a> {
    name: &'a str,
    ends: Option<[End; 2]>,
    others: Vec<&'a str>,
    fields: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut words = text.split_whitespace().peekable();
        let name = words.next().ok_or("a layer is empty")?;
        let (mut others, mut fields, mut ends) = (Vec::new(), BTreeMap::new(), None);
        while let Some(word) = words.next() {
            if words.next_if_eq(&">").is_some() {
                let to = words.next().ok_or("no address behind >")?;
                ends = Some([End::of(word)?, End::of(to)?]);
            } else if let Some((name, value)) = word.split_once('=') {
                fields.insert(name, value);
            } else {
                others.push(word);
            }
        }
        Ok(Self { name, ends, others, fields })
    }

    /// A number, decimal or with 0x; it must fit.
    fn number<T: TryFrom<u32>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.fields.remove(name) else { return Ok(None) };
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let fits = number.ok().and_then(|number| T::try_from(number).ok());
        fits.map(Some).ok_or(format!("{name}={text} is no number that fits"))
    }

    fn number_or<T: TryFrom<u32>>(&mut self, name: &str, default: T) -> Result<T, String> {
        Ok(self.number(name)?.unwrap_or(default))
    }

    /// Bytes in hexadecimal digits.
    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let text = self.fields.remove(name).unwrap_or_default();
        let byte =
            |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes = (0..text.len()).step_by(2).map(byte).collect::<Option<_>>();
        bytes.ok_or(format!("{name}={text} is not hexadecimal"))
    }

    /// The only word that is neither an end nor a field.
    fn only_word(&mut self) -> Option<&'a str> {
        if self.others.len() == 1 { self.others.pop() } else { None }
    }

    /// The bytes of this layer around those inside.
    fn layer(&mut self, inside: Option<Inside>) -> Result<Inside, String> {
        let made = match (self.name, inside) {
            ("vlan", Some(inside)) => {
                let id: u16 = self.only_word().and_then(|id| id.parse().ok()).ok_or("vlan ID")?;
                let words = [id, inside.ether_type].map(u16::to_be_bytes).concat();
                Inside { bytes: [words, inside.bytes].concat(), ether_type: VLAN }
            }
            ("mpls", Some(inside)) => {
                let label: u32 =
                    self.only_word().and_then(|l| l.parse().ok()).ok_or("mpls LABEL")?;
                let is_bottom = u32::from(inside.ether_type != MPLS);
                let entry = label << 12 | is_bottom << 8 | 64;
                let bytes = [&entry.to_be_bytes()[..], &inside.bytes].concat();
                Inside { bytes, ether_type: MPLS }
            }
            (_, inside) => {
                let (protocol, bytes) = self.above_ip(inside)?;
                self.ip(protocol, &bytes)?
            }
        };
        match self.others.first() {
            Some(left) => Err(format!("what is '{left}'?")),
            None => Ok(made),
        }
    }

    /// The protocol number, and what stands behind the IP header.
    fn above_ip(&mut self, inside: Option<Inside>) -> Result<(u8, Vec<u8>), String> {
        let payload = match &inside {
            Some(inside) => inside.bytes.clone(),
            None => vec![0; self.number_or::<u16>("len", 0)?.into()],
        };
        let is_v6 = self.ends()?[0].address.is_ipv6();
        Ok(match (self.name, inside) {
            ("tcp", None) => (protocol::TCP, self.tcp(&payload)?),
            ("udp", None) => (protocol::UDP, self.udp(&payload)?),
            ("udplite", None) => (protocol::UDP_LITE, self.udp(&payload)?),
            ("sctp", None) => (protocol::SCTP, [self.ports()?, vec![0; 8], payload].concat()),
            ("icmp", _) => {
                let protocol = if is_v6 { protocol::ICMPV6 } else { protocol::ICMP };
                (protocol, self.icmp(&payload)?)
            }
            ("ip", None) => (self.number("proto")?.ok_or("ip: proto=")?, payload),
            ("ip", Some(Inside { ether_type: IPV6, .. })) => (protocol::IPV6_IN_IP, payload),
            ("ip", Some(_)) => (protocol::IP_IN_IP, payload),
            ("gre", Some(inside)) => {
                let key = self.number::<u32>("key")?;
                let flags: u16 = if key.is_some() { 0x2000 } else { 0 };
                let mut header = [flags, inside.ether_type].map(u16::to_be_bytes).concat();
                header.extend(key.iter().flat_map(|key| key.to_be_bytes()));
                (protocol::GRE, [header, payload].concat())
            }
            ("vxlan", Some(inside)) => {
                let id = self.number_or::<u32>("vni", 0)? << 8;
                let header = [0x0800_0000, id].map(u32::to_be_bytes).concat();
                (protocol::UDP, self.udp(&[header, ethernet(&inside)].concat())?)
            }
            ("gtpu", Some(_)) => {
                let len = u32::try_from(payload.len()).map_err(|_| "too long")?;
                let header = [0x30ff_0000 | len, self.number_or("teid", 0)?].map(u32::to_be_bytes);
                (protocol::UDP, self.udp(&[header.concat(), payload].concat())?)
            }
            ("l2tp", Some(inside)) => {
                let ids = [self.number_or("tunnel", 0)?, self.number_or("session", 0)?];
                let ppp: u16 = if inside.ether_type == IPV6 { 0x57 } else { 0x21 };
                let header = [2, ids[0], ids[1], 0xff03, ppp].map(u16::to_be_bytes).concat();
                (protocol::UDP, self.udp(&[header, payload].concat())?)
            }
            (name, _) => return Err(format!("'{name}' is no layer that can stand here")),
        })
    }

    fn ends(&self) -> Result<&[End; 2], String> {
        self.ends.as_ref().ok_or(format!("{}: FROM > TO", self.name))
    }

    /// Source and destination port; nothing for a later fragment.
    fn ports(&self) -> Result<Vec<u8>, String> {
        let ports = self.ends()?.iter().filter_map(|end| end.port);
        Ok(ports.flat_map(u16::to_be_bytes).collect())
    }

    fn udp(&self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut datagram = self.ports()?;
        if !datagram.is_empty() {
            let length = u16::try_from(8 + payload.len()).map_err(|_| "too long")?;
            datagram.extend(length.to_be_bytes());
            datagram.extend([0; 2]);
        }
        datagram.extend(payload);
        Ok(datagram)
    }

    fn tcp(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut flags = 0;
        for letter in self.others.drain(..).flat_map(str::chars).filter(|letter| *letter != '.') {
            flags |= 1 << "FSRPAUEC".find(letter).ok_or(format!("no TCP flag {letter}"))?;
        }
        let mut segment = self.ports()?;
        if !segment.is_empty() {
            let options = self.bytes("opts")?;
            let words = u8::try_from(5 + options.len() / 4).map_err(|_| "long options")?;
            segment.extend(self.number_or::<u32>("seq", 0)?.to_be_bytes());
            segment.extend(self.number_or::<u32>("ack", 0)?.to_be_bytes());
            segment.extend([words << 4, flags]);
            segment.extend(self.number_or::<u16>("win", 1_000)?.to_be_bytes());
            segment.extend([0; 4]);
            segment.extend(options);
        }
        segment.extend(payload);
        Ok(segment)
    }

    fn icmp(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut message = vec![self.number_or("type", 8)?, self.number_or("code", 0)?, 0, 0];
        message.extend(self.number_or::<u16>("id", 0)?.to_be_bytes());
        message.extend(self.number_or::<u16>("seq", 0)?.to_be_bytes());
        message.extend(payload);
        Ok(message)
    }

    /// An IP packet with this behind its header; `frag=8+` is a fragment, `+` if more follow.
    fn ip(&mut self, protocol: u8, payload: &[u8]) -> Result<Inside, String> {
        let fragment = self.fields.remove("frag").map(|text| (text.trim_end_matches('+'), text));
        let (offset, more) = match fragment {
            Some((digits, text)) => {
                let offset: u16 = digits.parse().map_err(|_| "frag=OFFSET or frag=OFFSET+")?;
                (Some(offset), u16::from(text.ends_with('+')))
            }
            None => (None, 0),
        };
        let (id, ttl) = (self.number_or::<u16>("ipid", 0)?, self.number_or::<u8>("ttl", 64)?);
        let tos = self.number_or::<u8>("tos", 0)?;
        let short = |length: usize| u16::try_from(length).map(u16::to_be_bytes).map_err(|_| "long");
        let [from, to] = self.ends()?;
        let (bytes, ether_type) = match (from.address, to.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = vec![0x45, tos];
                header.extend(short(20 + payload.len())?);
                header.extend(id.to_be_bytes());
                header.extend((more << 13 | (offset.unwrap_or(0) / 8)).to_be_bytes());
                header.extend([ttl, protocol, 0, 0]);
                header.extend(from.octets().into_iter().chain(to.octets()));
                (header, IPV4)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut extension = Vec::new();
                if let Some(offset) = offset {
                    extension.extend([protocol, 0]);
                    extension.extend((offset | more).to_be_bytes());
                    extension.extend(u32::from(id).to_be_bytes());
                }
                let mut header = vec![0x60 | tos >> 4, tos << 4, 0, 0];
                header.extend(short(extension.len() + payload.len())?);
                header.extend([offset.map_or(protocol, |_| protocol::FRAGMENT), ttl]);
                header.extend(from.octets().into_iter().chain(to.octets()));
                (header.into_iter().chain(extension).collect(), IPV6)
            }
            _ => return Err("both ends are of one IP version".to_owned()),
        };
        Ok(Inside { bytes: [&bytes, payload].concat(), ether_type })
    }
}
