//! Which devices a record's ends are, from the table as it was when the flow began.

use crate::devices::local::is_straight;
use crate::devices::{DevicesView, HostNameSource, Mac, Place, Sighting, is_of_one_device};
use crate::flow::{Direction, FlowRecord, RecordKind};
use crate::sync::Arc;
use crate::time::Timestamp;

/// Who a device is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Who has made it.
    pub vendor: Option<Arc<str>>,
    /// What it is called, and where that is from.
    pub hostname: Option<(Arc<str>, HostNameSource)>,
}

/// A device, as a record shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLabel {
    /// Its MAC address.
    pub mac: Mac,
    /// How it is known that the record's address is the device's.
    pub sighting: Sighting,
    /// Who it is, as far as that is known.
    pub identity: Option<Arc<Identity>>,
}

impl DeviceLabel {
    /// Who has made it.
    #[must_use]
    pub fn vendor(&self) -> Option<&str> {
        self.identity.as_ref()?.vendor.as_deref()
    }

    /// What it is called.
    #[must_use]
    pub fn hostname(&self) -> Option<&str> {
        let (name, _) = self.identity.as_ref()?.hostname.as_ref()?;
        Some(name)
    }

    /// Where its name is from; or else how it is known that the address is its own.
    #[must_use]
    pub fn source(&self) -> &'static str {
        let hostname = self.identity.as_ref().and_then(|identity| identity.hostname.as_ref());
        hostname.map_or(self.sighting.name(), |(_, source)| source.name())
    }
}

/// The time that a record's ends are looked up for: what was known when its flow began, or else
/// what was learned first until the end of this part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: Timestamp,
    last: Timestamp,
}

impl Span {
    fn of(record: &FlowRecord) -> Option<Self> {
        let total = &record.total;
        let first = (total.first <= total.last).then_some(total.first)?;
        let start = record.opening().map_or(Some(first), |opening| opening.flow_start)?;
        Some(Self { start, last: total.last })
    }

    /// Whether the flow began before.
    pub(super) fn starts_before(self, time: Timestamp) -> bool {
        self.start < time
    }

    /// Of what was learned, in the order of its time.
    pub(super) fn choose<T>(self, learned: &[T], time: impl Fn(&T) -> Timestamp) -> Option<&T> {
        let before = learned.partition_point(|one| time(one) <= self.start);
        match before.checked_sub(1) {
            Some(latest) => learned.get(latest),
            None => learned.first().filter(|one| time(one) <= self.last),
        }
    }
}

/// The devices at a record's ends: the initiator's, and the responder's.
#[must_use]
pub fn devices_of(record: &FlowRecord, known: &DevicesView) -> [Option<DeviceLabel>; 2] {
    let way = record.initiator();
    [way, way.opposite()].map(|from| device_at(record, from, known))
}

/// The device that the record's packets in one direction are from.
fn device_at(record: &FlowRecord, from: Direction, known: &DevicesView) -> Option<DeviceLabel> {
    let place = Place { vlans: record.key.vlan(), address: record.key.source_ip(from) };
    // What is in a tunnel is another network's.
    if record.kind != RecordKind::Flow || record.key.tunnel().is_some() {
        return None;
    }
    let span = Span::of(record)?;
    if !known.was_local(&place, span) {
        return None;
    }
    let (mac, sighting) = match own_mac(record, from) {
        Some(mac) => (mac, Sighting::Frame),
        None => known.owner(&place, span)?,
    };
    Some(DeviceLabel { mac, sighting, identity: known.identity(mac, span).cloned() })
}

/// The MAC address of who sent this direction's packets, if the record itself shows it.
pub(super) fn own_mac(record: &FlowRecord, from: Direction) -> Option<Mac> {
    let opening = record.opening()?;
    let mac = opening.macs[usize::from(opening.first_packet != from)]?;
    let ttl = record.total.sides[from.idx()].ttl()?;
    let (source, destination) = (record.key.source_ip(from), record.key.source_ip(from.opposite()));
    (is_of_one_device(mac) && is_straight(source, destination, ttl)).then_some(mac)
}
