//! Which field of ours an element of IPFIX or NetFlow version 9 is
//! (<https://www.iana.org/assignments/ipfix>): one table for both, as the numbers are the same.

use std::net::IpAddr;

use crate::export::values::{Value, Values};
use crate::flow::TunnelKind;
use crate::time::{SECOND_NS, Timestamp};

/// RFC 5103 section 6.1: whose elements are those of the reverse direction.
const REVERSE_PEN: u32 = 29_305;

/// Seconds from 1900, where NTP's time begins, to 1970.
const NTP_SECONDS: i64 = 2_208_988_800;

/// What becomes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A number, or the lower bits of one.
    Number(&'static str),
    /// A number as it is behind a device that changes packets, of one that does not say how it was
    /// before it.
    NumberBehind(&'static str),
    /// All eight bits of the former type of service; the code point is six of them.
    TypeOfService(&'static str),
    /// A number in 64 bits that we show in digits.
    Word(&'static str),
    Address(&'static str),
    /// A prefix, of an overflow aggregate of ours.
    Prefix,
    PrefixLength,
    Mac(&'static str),
    Text(&'static str),
    /// ICMP's type, and its code in the lower eight bits.
    Icmp,
    EndReason,
    /// A VLAN identifier, by its place.
    Vlan(usize),
    /// An entry of a label stack.
    Label,
    /// A time with a unit in ns.
    Time(&'static str, i64),
    /// NTP's format.
    NtpTime(&'static str),
    /// Microseconds before the message was sent.
    Before(&'static str),
    /// Milliseconds since the device was started.
    Uptime(&'static str),
    /// When the device was started, in ms.
    Started,
    /// How many are between those that are taken.
    Space(&'static str),
    /// One in so many packets.
    Interval,
    /// A number of ours: all ones where it is not known.
    OwnNumber(&'static str),
    /// A text of ours: empty where it is not known.
    OwnText(&'static str),
    /// One of ours of these, by its number.
    OwnCode(&'static str, &'static [&'static str]),
    /// Ours, 1 if it is so.
    OwnFlag(&'static str),
    /// A device of ours, all in one text.
    OwnDevice(&'static str),
    /// A part of ours of the innermost tunnel.
    Tunnel(TunnelPart),
    /// Says nothing, or nothing beside what others say.
    Nothing,
}

/// A part of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TunnelPart {
    Kind,
    Source,
    Destination,
    Id,
}

/// What an element means, if a field of ours has it. Own ones are of no enterprise in particular.
pub(super) fn meaning(enterprise: Option<u32>, number: u16) -> Option<Meaning> {
    match enterprise {
        None => of_initiator(number),
        Some(REVERSE_PEN) => of_responder(number),
        Some(_) => None,
    }
}

fn of_responder(number: u16) -> Option<Meaning> {
    use Meaning::{Number, TypeOfService};
    Some(match number {
        1 | 85 => Number("dst_bytes"),
        2 | 86 => Number("dst_packets"),
        5 => TypeOfService("dst_dscp"),
        6 => Number("dst_tcp_flags"),
        52 => Number("dst_ttl_min"),
        53 => Number("dst_ttl_max"),
        195 => Number("dst_dscp"),
        352 | 353 => Number("dst_frame_bytes"),
        401 => Number("dst_payload_bytes"),
        210 => Meaning::Nothing,
        _ => return None,
    })
}

fn of_initiator(number: u16) -> Option<Meaning> {
    use Meaning::{
        Address, Before, EndReason, Icmp, Interval, Label, Mac, Nothing, NtpTime, Number,
        NumberBehind, OwnText, Prefix, PrefixLength, Space, Started, Text, Time, TypeOfService,
        Uptime, Vlan, Word,
    };
    const MS: i64 = 1_000_000;
    Some(match number {
        1 | 85 | 231 => Number("src_bytes"),
        2 | 86 | 298 => Number("src_packets"),
        232 => Number("dst_bytes"),
        299 => Number("dst_packets"),
        23 | 171 => NumberBehind("src_bytes"),
        24 | 172 => NumberBehind("src_packets"),
        4 => Number("protocol"),
        5 => TypeOfService("src_dscp"),
        6 => Number("src_tcp_flags"),
        7 | 180 | 182 => Number("src_port"),
        11 | 181 | 183 => Number("dst_port"),
        8 | 27 => Address("src_ip"),
        12 | 28 => Address("dst_ip"),
        45 | 169 => Prefix,
        13 | 30 => PrefixLength,
        21 => Uptime("end"),
        22 => Uptime("start"),
        32 | 139 => Icmp,
        34 => Interval,
        52 => Number("src_ttl_min"),
        53 => Number("src_ttl_max"),
        56 => Mac("src_mac"),
        60 => Number("ip_version"),
        80 => Mac("dst_mac"),
        58 | 243 => Vlan(0),
        245 => Vlan(1),
        70..=79 => Label,
        82 => Text("interface"),
        96 => OwnText("app"),
        136 => EndReason,
        148 => Word("flow_id"),
        150 => Time("start", 1_000 * MS),
        151 => Time("end", 1_000 * MS),
        152 => Time("start", MS),
        153 => Time("end", MS),
        154 | 156 => NtpTime("start"),
        155 | 157 => NtpTime("end"),
        158 => Before("start"),
        159 => Before("end"),
        160 => Started,
        176 | 178 => Number("icmp_type"),
        177 | 179 => Number("icmp_code"),
        195 => Number("src_dscp"),
        306 => Space("packet"),
        397 => Space("flow"),
        352 | 353 => Number("src_frame_bytes"),
        401 => Number("src_payload_bytes"),
        // One is taken of so many; padding; the duration, which the ends say.
        305 | 396 | 210 | 161 => Nothing,
        _ => return None,
    })
}

/// What values depend on: the moments that times are counted from, and what the record has said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// When the message was sent.
    pub(super) sent: Timestamp,
    /// When the device was started, if it is known.
    pub(super) started: Option<Timestamp>,
    /// Whether the bottom of the label stack has been seen: what follows is no label.
    pub(super) has_bottom: bool,
    /// What there is of a tunnel.
    pub(super) tunnel: (Option<TunnelKind>, [Option<IpAddr>; 2], Option<u64>),
}

impl Known {
    /// Puts together what the parts of a tunnel have said.
    pub(super) fn settle_tunnel(&self, to: &mut Values) {
        let (kind, ends, id) = self.tunnel;
        if let Some(tunnel) = kind.and_then(|kind| Value::tunnel(kind.name(), ends, id)) {
            to.set_named("tunnel", tunnel);
        }
    }
}

/// A number of up to eight bytes.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let mut whole = [0; 8];
    let start = whole.len().checked_sub(bytes.len())?;
    whole[start..].copy_from_slice(bytes);
    Some(u64::from_be_bytes(whole))
}

/// Puts an element's value into a record. `None` if it is of a length that it cannot have.
pub(super) fn put(
    meaning: Meaning,
    bytes: &[u8],
    known: &mut Known,
    to: &mut Values,
) -> Option<()> {
    let ns = |unit: i64| number(bytes)?.try_into().ok().and_then(|it: i64| it.checked_mul(unit));
    match meaning {
        // Some say flags in two bytes, of which ours are the lower.
        Meaning::Number(name @ ("src_tcp_flags" | "dst_tcp_flags")) => {
            to.set_named(name, Value::Number(number(bytes)? & 0xff));
        }
        Meaning::Number(name) => to.set_named(name, Value::Number(number(bytes)?)),
        Meaning::NumberBehind(name) => {
            if *to.get(name) == Value::Absent {
                to.set_named(name, Value::Number(number(bytes)?));
            }
        }
        Meaning::TypeOfService(name) => to.set_named(name, Value::Number(number(bytes)? >> 2)),
        Meaning::Word(name) => to.set_named(name, Value::Word(number(bytes)?)),
        Meaning::Address(name) => to.set_named(name, Value::Address(address(bytes)?)),
        Meaning::Prefix => {
            to.set_named("dst_ip", Value::Address(address(bytes)?));
            to.set_named("kind", Value::Text("overflow".to_owned()));
        }
        Meaning::PrefixLength => {
            to.set_named("dst_prefix_length", Value::Number(number(bytes)?));
        }
        Meaning::Mac(name) => to.set_named(name, Value::Mac(bytes.try_into().ok()?)),
        Meaning::Text(name) => {
            let text = String::from_utf8_lossy(bytes);
            to.set_named(name, Value::Text(text.trim_end_matches('\0').to_owned()));
        }
        Meaning::Icmp => {
            let both = number(bytes)?;
            to.set_named("icmp_type", Value::Number(both >> 8));
            to.set_named("icmp_code", Value::Number(both & 0xff));
        }
        Meaning::EndReason => {
            let names = ["idle", "active", "end", "forced", "resources"];
            let place = usize::try_from(number(bytes)?).ok()?.checked_sub(1);
            if let Some(name) = place.and_then(|place| names.get(place)) {
                to.set_named("end_reason", Value::Text((*name).to_owned()));
            }
        }
        Meaning::Vlan(place) => {
            // The three bits above are the priority.
            let vlan = u16::try_from(number(bytes)? & 0xfff).ok()?;
            let mut vlans = match to.get("vlan") {
                Value::Vlans(vlans) => *vlans,
                _ => Default::default(),
            };
            vlans[place] = vlan;
            if vlan > 0 {
                to.set_named("vlan", Value::Vlans(vlans));
            }
        }
        Meaning::Label => {
            let entry = u32::try_from(number(bytes)?).ok()?;
            let mut labels = match to.get("mpls") {
                Value::Mpls(labels) => *labels,
                _ => Default::default(),
            };
            if !known.has_bottom {
                // 20 bits of label, three of traffic class, and the bottom of the stack.
                labels.push(entry >> 4);
                known.has_bottom = entry & 1 != 0;
                to.set_named("mpls", Value::Mpls(labels));
            }
        }
        Meaning::Time(name, unit) => to.set_named(name, Value::Time(ns(unit)?)),
        Meaning::NtpTime(name) => {
            let time = number(bytes).filter(|_| bytes.len() == 8)?;
            to.set_named(name, Value::Time(from_ntp(time)?));
        }
        Meaning::Before(name) => {
            let time = known.sent.checked_sub(ns(1_000)?)?;
            to.set_named(name, Value::Time(time));
        }
        Meaning::Uptime(name) => {
            // It may be told later in the record when that began.
            let time = known.started.unwrap_or(0).checked_add(ns(1_000_000)?)?;
            to.set_named(name, Value::Time(time));
        }
        Meaning::Started => known.started = Some(ns(1_000_000)?),
        Meaning::Space(unit) => {
            let every = number(bytes)?.checked_add(1)?;
            if every > 1 {
                to.set_named("sampling", Value::Number(every));
                to.set_named("sampling_unit", Value::Text(unit.to_owned()));
            }
        }
        Meaning::Interval => {
            let every = number(bytes)?;
            if every > 1 {
                to.set_named("sampling", Value::Number(every));
                to.set_named("sampling_unit", Value::Text("packet".to_owned()));
            }
        }
        Meaning::OwnNumber(name) => {
            if is_known(bytes) {
                to.set_named(name, Value::Number(number(bytes)?));
            }
        }
        Meaning::OwnText(name) => {
            if !bytes.is_empty() {
                let text = String::from_utf8_lossy(bytes).into_owned();
                to.set_named(name, Value::Text(text));
            }
        }
        Meaning::OwnCode(name, codes) => {
            let place = usize::try_from(number(bytes)?).ok()?.checked_sub(1);
            if let Some(text) = place.and_then(|place| codes.get(place)) {
                to.set_named(name, Value::Text((*text).to_owned()));
            }
        }
        Meaning::OwnFlag(name) => {
            if number(bytes)? == 1 {
                to.set_named(name, Value::Flag(true));
            }
        }
        Meaning::OwnDevice(name) => {
            let text = String::from_utf8_lossy(bytes);
            if let [mac, vendor, hostname, source] = text.split(';').collect::<Vec<_>>()[..] {
                let part =
                    |part: &str| Some(part.replace("\\u{3b}", ";")).filter(|it| !it.is_empty());
                let device = Value::device(mac, part(vendor), part(hostname), source.to_owned());
                to.set_named(name, device?);
            }
        }
        Meaning::Tunnel(part) => {
            let (kind, [source, destination], id) = &mut known.tunnel;
            let end = || {
                let end = address(bytes)?.to_canonical();
                Some(Some(end).filter(|end| !end.is_unspecified()))
            };
            match part {
                TunnelPart::Kind => {
                    *kind = str::from_utf8(bytes).ok().and_then(TunnelKind::by_name);
                }
                TunnelPart::Source => *source = end()?,
                TunnelPart::Destination => *destination = end()?,
                TunnelPart::Id => *id = Some(number(bytes)?).filter(|_| is_known(bytes)),
            }
        }
        Meaning::Nothing => {}
    }
    Some(())
}

/// Whether a number of ours is one.
fn is_known(bytes: &[u8]) -> bool {
    bytes.iter().any(|&byte| byte != u8::MAX)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

/// Nanoseconds since 1970 of NTP's format (RFC 7011 section 6.1.10), in its first era from 1970 on
/// and then in the second.
fn from_ntp(time: u64) -> Option<Timestamp> {
    let (seconds, fraction) = ((time >> 32).cast_signed(), time & 0xffff_ffff);
    let era = if seconds < NTP_SECONDS { 1 << 32 } else { 0 };
    let ns = (fraction * SECOND_NS) >> 32;
    (seconds + era - NTP_SECONDS)
        .checked_mul(SECOND_NS.cast_signed())?
        .checked_add(ns.cast_signed())
}
