//! Packets for which there was no room: added up by protocol and destination prefix, in a
//! fixed number of aggregates, so that detail coarsens and totals stay exact.

use crate::decode::Packet;
use crate::flow::{
    Counted, Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, KeyHasher, Opening,
    PortKind, RecordKind,
};
use crate::limits::{KEY_VLANS, OVERFLOW_AGGREGATES};
use crate::table::Outlet;
use crate::time::{SECOND_NS, Tick};

/// How often aggregates are published, in packet time.
const INTERVAL_NS: Tick = 60 * SECOND_NS;

/// Bytes of the destination address that are kept: /24 for IPv4, /48 for IPv6.
#[must_use]
pub fn prefix_bytes(ip_version: u8) -> usize {
    if ip_version == 4 { 3 } else { 6 }
}

/// Places of the look-up, a power of two: most are empty, so that runs are short.
const PLACES: usize = 4 * OVERFLOW_AGGREGATES;
const _: () = assert!(PLACES.is_power_of_two() && OVERFLOW_AGGREGATES <= u16::MAX as usize);

/// The aggregates of one core.
#[derive(Debug)]
pub(crate) struct Overflow {
    aggregates: Vec<(FlowKey, Delta)>,
    /// Which aggregate a key has, by its hash and then one after the other: its index plus
    /// one, or 0.
    places: Box<[u16]>,
    hasher: KeyHasher,
    since: Tick,
}

impl Default for Overflow {
    fn default() -> Self {
        Self {
            aggregates: Vec::new(),
            places: vec![0; PLACES].into_boxed_slice(),
            hasher: KeyHasher::default(),
            since: 0,
        }
    }
}

impl Overflow {
    pub(crate) fn len(&self) -> usize {
        self.aggregates.len()
    }

    /// Whether it is time to publish. `now` may be before the first packet of an aggregate:
    /// one that was not passed on has the time of another clock.
    pub(crate) fn is_due(&self, now: Tick) -> bool {
        !self.aggregates.is_empty() && now.saturating_sub(self.since) > INTERVAL_NS
    }

    /// The tick of the first packet that is not published, if there is one.
    pub(crate) fn since(&self) -> Option<Tick> {
        (!self.aggregates.is_empty()).then_some(self.since)
    }

    #[expect(clippy::cast_possible_truncation, reason = "an opening has it modulo 2^32")]
    pub(crate) fn count(&mut self, packet: &Packet) {
        if self.aggregates.is_empty() {
            self.since = packet.tick;
        }
        let idx = self.find_or_begin(&aggregate_key(packet));
        let delta = &mut self.aggregates[idx].1;
        if let Some(timestamp) = packet.timestamp {
            delta.first = delta.first.min(timestamp);
            delta.last = delta.last.max(timestamp);
        }
        let side = &mut delta.sides[Direction::Forward.idx()];
        side.packets += 1;
        side.bytes += u64::from(packet.bytes);
        side.frame_bytes += u64::from(packet.frame_bytes);
        side.payload_bytes += u64::from(packet.payload_bytes);
        side.fragments += u64::from(packet.later_fragment);
        side.tcp_flags |= packet.tcp.flags();
        delta.opening.get_or_insert(Opening {
            flow_start: packet.timestamp,
            ordinal: packet.ordinal as u32,
            initiator: Direction::Forward,
            macs: [None; 2],
            first_packet: Direction::Forward,
            icmp: None,
            interface: packet.interface,
            encapsulation: None,
        });
    }

    /// The aggregate of `key`: its own, or the last one if there is no room for that.
    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn find_or_begin(&mut self, key: &FlowKey) -> usize {
        let mut place = self.hasher.hash(key) as usize % PLACES;
        // Ends: there are more places than aggregates.
        while let Some(idx) = usize::from(self.places[place]).checked_sub(1) {
            if self.aggregates[idx].0 == *key {
                return idx;
            }
            place = (place + 1) % PLACES;
        }
        let len = self.aggregates.len();
        if len < OVERFLOW_AGGREGATES - 1 {
            self.aggregates.push((*key, Delta::EMPTY));
            self.places[place] = len as u16 + 1;
        } else if len < OVERFLOW_AGGREGATES {
            self.aggregates.push((any_key(), Delta::EMPTY));
        }
        self.aggregates.len() - 1
    }

    /// Publishes and forgets all aggregates, which are of this interval; there must be room for
    /// [`Overflow::len`].
    pub(crate) fn publish(&mut self, now: Tick, interval: u32, outlet: &mut impl Outlet) {
        self.since = now;
        self.places.fill(0);
        for (key, mut delta) in self.aggregates.drain(..) {
            delta.end = Some(EndReason::Resources);
            let counted = Counted::new(interval, 0);
            let kind = RecordKind::Overflow;
            outlet.publish(0, FlowRecord { kind, counted, ..FlowRecord::flow(key, delta) });
        }
    }
}

/// From nowhere to the packet's destination prefix.
fn aggregate_key(packet: &Packet) -> FlowKey {
    let version = packet.key.ip_version();
    let mut prefix = match packet.key.source_ip(packet.direction.opposite()) {
        std::net::IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        std::net::IpAddr::V6(address) => address.octets(),
    };
    prefix[prefix_bytes(version)..].fill(0);
    key_to(prefix, version, packet.key.protocol(), packet.key.vlan())
}

/// The aggregate of whatever finds no room among the others.
fn any_key() -> FlowKey {
    key_to([0; 16], 6, 0, [0; KEY_VLANS])
}

fn key_to(prefix: [u8; 16], ip_version: u8, protocol: u8, vlan: [u16; KEY_VLANS]) -> FlowKey {
    let nowhere = Endpoint { address: [0; 16], port: 0 };
    let to = Endpoint { address: prefix, port: 0 };
    FlowKey::canonical(nowhere, to, ip_version, protocol, PortKind::None, vlan).0
}
