//! A record as values under the schema's names: what is read back from a file, with everything
//! absent that the file does not have.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::export::schema::{Fields, Kind, RowDevice, RowTunnel, Visit, community_id, kinds};
use crate::flow::features::{BINS, Thousandths};
use crate::flow::{FeaturesSet, MplsLabels, Tunnel, TunnelKind, protocol};
use crate::limits::{RECORD_LABELS, RECORD_VLANS};
use crate::sync::Arc;
use crate::time::Timestamp;

/// A value of a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Value {
    /// Not known, or not applicable.
    #[default]
    Absent,
    Number(u64),
    Word(u64),
    Flag(bool),
    Text(String),
    Mac([u8; 6]),
    Address(IpAddr),
    Time(Timestamp),
    Vlans([u16; RECORD_VLANS]),
    Mpls(MplsLabels),
    Decimal(Thousandths),
    Counts(Box<[u64; BINS]>),
    Tunnel(RowTunnel),
    Device(Box<Device>),
}

/// A local host at one end, as [`RowDevice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    mac: [u8; 6],
    vendor: Option<String>,
    hostname: Option<String>,
    source: String,
}

impl Value {
    /// As JSON lines have it, without quotes; of kinds that are one value.
    pub(super) fn from_text(kind: Kind, text: &str) -> Option<Self> {
        Some(match kind {
            Kind::Number => Self::Number(text.parse().ok()?),
            Kind::Word if text.len() == 16 => Self::Word(u64::from_str_radix(text, 16).ok()?),
            Kind::Flag => Self::Flag(text.parse().ok()?),
            Kind::Text => Self::Text(text.to_owned()),
            Kind::Mac => Self::Mac(mac(text)?),
            Kind::Address => Self::Address(text.parse().ok()?),
            Kind::Time => {
                let time: jiff::Timestamp = text.parse().ok()?;
                Self::Time(time.as_nanosecond().try_into().ok()?)
            }
            Kind::Decimal => Self::Decimal(decimal(text)?),
            Kind::Word | Kind::Vlans | Kind::Mpls | Kind::Counts | Kind::Tunnel | Kind::Device => {
                return None;
            }
        })
    }

    /// Of kinds that are lists.
    pub(super) fn from_numbers(kind: Kind, numbers: &[u64]) -> Option<Self> {
        Some(match kind {
            Kind::Vlans => {
                let mut vlans = [0; RECORD_VLANS];
                for (place, number) in numbers.iter().enumerate() {
                    *vlans.get_mut(place)? =
                        u16::try_from(*number).ok().filter(|vlan| (1..0x1000).contains(vlan))?;
                }
                Self::Vlans(vlans)
            }
            Kind::Mpls if numbers.len() <= RECORD_LABELS => {
                let mut labels = MplsLabels::default();
                for &number in numbers {
                    labels.push(u32::try_from(number).ok().filter(|&label| label < 1 << 20)?);
                }
                Self::Mpls(labels)
            }
            Kind::Counts => Self::Counts(Box::new(numbers.try_into().ok()?)),
            _ => return None,
        })
    }

    /// A tunnel by its parts.
    pub(super) fn tunnel(kind: &str, ends: [Option<IpAddr>; 2], id: Option<u64>) -> Option<Self> {
        let id = id.map(u32::try_from).transpose().ok()?;
        let tunnel = Tunnel { kind: TunnelKind::by_name(kind)?, id };
        let ends = match ends {
            [Some(source), Some(destination)] => Some([source, destination]),
            [None, None] => None,
            _ => return None,
        };
        Some(Self::Tunnel(RowTunnel { tunnel, ends }))
    }

    /// A device by its parts.
    pub(super) fn device(
        address: &str,
        vendor: Option<String>,
        hostname: Option<String>,
        source: String,
    ) -> Option<Self> {
        let is_word = source.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let mac = mac(address).filter(|_| is_word && !source.is_empty())?;
        Some(Self::Device(Box::new(Device { mac, vendor, hostname, source })))
    }
}

impl Device {
    pub(super) fn row(&self) -> RowDevice<'_> {
        let Self { mac, vendor, hostname, source } = self;
        RowDevice { mac: *mac, vendor: vendor.as_deref(), hostname: hostname.as_deref(), source }
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Exact up to three decimals, and rounded to three where there are more.
fn decimal(text: &str) -> Option<Thousandths> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 3 || !is_digits(whole) || !is_digits(fraction) {
        let number: f64 = text.parse().ok()?;
        return (number.is_finite() && number >= 0.0).then(|| Thousandths::rounded(number));
    }
    let whole: u128 = whole.parse().ok()?;
    let fraction: u128 = format!("{fraction:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(fraction).map(Thousandths)
}

/// Where fields have their places.
#[derive(Debug)]
pub(super) struct Places {
    fields: Vec<(&'static str, Kind)>,
    by_name: HashMap<&'static str, usize>,
    /// How many of them the basic set has, which come first.
    basic: usize,
}

impl Places {
    /// Of all fields.
    pub(super) fn new() -> Arc<Self> {
        let fields = kinds(FeaturesSet::Extended);
        let by_name = fields.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();
        Arc::new(Self { fields, by_name, basic: kinds(FeaturesSet::Basic).len() })
    }

    /// Place and kind of a field, if it is one of ours.
    pub(super) fn find(&self, name: &str) -> Option<(usize, Kind)> {
        let place = *self.by_name.get(name)?;
        Some((place, self.fields[place].1))
    }

    /// The same by its own name.
    pub(super) fn named(&self, name: &str) -> Option<(&'static str, Kind)> {
        Some(self.fields[*self.by_name.get(name)?])
    }
}

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Values {
    places: Arc<Places>,
    values: Vec<Value>,
}

impl Values {
    /// One with nothing in it.
    pub(super) fn new(places: &Arc<Places>) -> Self {
        Self { places: Arc::clone(places), values: vec![Value::Absent; places.fields.len()] }
    }

    /// Gives a value to the field at a place.
    pub(super) fn set(&mut self, place: usize, value: Value) {
        self.values[place] = value;
    }

    /// Gives a value to a field of the schema.
    pub(super) fn set_named(&mut self, name: &str, value: Value) {
        if let Some((place, _)) = self.places.find(name) {
            self.values[place] = value;
        }
    }

    /// The value of a field of the schema.
    pub(super) fn get(&self, name: &str) -> &Value {
        self.places.find(name).map_or(&Value::Absent, |(place, _)| &self.values[place])
    }

    /// A field's number, if it is one.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text of a field, if it has one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The responder has sent nothing: of what is counted of the initiator it has 0.
    pub(super) fn set_silent_responder(&mut self) {
        let counts = [
            ("src_packets", "dst_packets"),
            ("src_bytes", "dst_bytes"),
            ("src_frame_bytes", "dst_frame_bytes"),
            ("src_payload_bytes", "dst_payload_bytes"),
            ("src_fragments", "dst_fragments"),
            ("src_tcp_flags", "dst_tcp_flags"),
            ("src_retransmits", "dst_retransmits"),
            ("src_out_of_order", "dst_out_of_order"),
            ("src_zero_windows", "dst_zero_windows"),
        ];
        for (of_initiator, of_responder) in counts {
            if self.number(of_initiator).is_some() {
                self.set_named(of_responder, Value::Number(0));
            }
        }
    }

    /// Adds the Community ID, where it is absent and what it is made of is known. Ports that are
    /// absent are known not to be there if the record `is_ours`.
    pub(super) fn set_community_id(&mut self, is_ours: bool) {
        let is_wanted = matches!(self.get("community_id"), Value::Absent)
            && self.text("kind") != Some("overflow");
        if let Some(id) = is_wanted.then(|| self.community_id(is_ours)).flatten() {
            self.set_named("community_id", Value::Text(id));
        }
    }

    fn community_id(&self, is_ours: bool) -> Option<String> {
        let (Value::Address(src), Value::Address(dst)) = (self.get("src_ip"), self.get("dst_ip"))
        else {
            return None;
        };
        let (ends, protocol) = ([*src, *dst], self.number("protocol")?.try_into().ok()?);
        let (ports, of_fragments) = match protocol {
            protocol::ICMP | protocol::ICMPV6 => (["icmp_type", "icmp_code"], None),
            protocol::TCP
            | protocol::UDP
            | protocol::UDP_LITE
            | protocol::SCTP
            | protocol::DCCP => {
                // Where there are none, some say that they are 0.
                (["src_port", "dst_port"], Some([Some(0); 2]))
            }
            _ => return community_id(ends, [None, None], protocol),
        };
        let ports = ports.map(|name| self.number(name)?.try_into().ok());
        let is_known =
            is_ours || (ports.iter().all(Option::is_some) && Some(ports) != of_fragments);
        is_known.then(|| community_id(ends, ports, protocol)).flatten()
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| *value == Value::Absent)
    }

    /// Whether it has what only the extended set has.
    pub(super) fn is_extended(&self) -> bool {
        self.values[self.places.basic..].iter().any(|value| *value != Value::Absent)
    }

    /// The record as one of a set, whose fields it gives.
    pub(super) fn of(&self, set: FeaturesSet) -> InSet<'_> {
        let len = if set.is_extended() { self.values.len() } else { self.places.basic };
        InSet { record: self, len }
    }
}

/// A record that was read back: its fields of a set.
#[derive(Debug, Clone, Copy)]
pub struct InSet<'a> {
    pub(super) record: &'a Values,
    /// So many of all fields.
    len: usize,
}

/// The value if it is of the kind that a field has, else none: there is no other, as all readers
/// ask for the kind.
macro_rules! of_kind {
    ($value:expr, $kind:path) => {
        match $value {
            $kind(value) => Some(value.clone()),
            _ => None,
        }
    };
}

impl Visit for InSet<'_> {
    fn visit(&self, to: &mut impl Fields) {
        let Values { places, values } = self.record;
        for (&(name, kind), value) in places.fields.iter().zip(values).take(self.len) {
            match kind {
                Kind::Number => to.number(name, of_kind!(value, Value::Number)),
                Kind::Word => to.word(name, of_kind!(value, Value::Word)),
                Kind::Flag => to.flag(name, of_kind!(value, Value::Flag)),
                Kind::Text => to.text(name, of_kind!(value, Value::Text).as_deref()),
                Kind::Mac => to.mac(name, of_kind!(value, Value::Mac)),
                Kind::Address => to.address(name, of_kind!(value, Value::Address)),
                Kind::Time => to.time(name, of_kind!(value, Value::Time)),
                Kind::Vlans => to.vlans(name, of_kind!(value, Value::Vlans)),
                Kind::Mpls => to.mpls(name, of_kind!(value, Value::Mpls)),
                Kind::Decimal => to.decimal(name, of_kind!(value, Value::Decimal)),
                Kind::Counts => to.counts(name, of_kind!(value, Value::Counts).map(|it| *it)),
                Kind::Tunnel => to.tunnel(name, of_kind!(value, Value::Tunnel)),
                Kind::Device => match value {
                    Value::Device(device) => to.device(name, Some(device.row())),
                    _ => to.device(name, None),
                },
            }
        }
    }
}
