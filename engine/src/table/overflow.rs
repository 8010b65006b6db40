//! Packets for which there was no room: added up by protocol and destination prefix, in a
//! fixed number of aggregates, so that detail coarsens and totals stay exact.

use crate::decode::Packet;
use crate::flow::{Delta, Direction, EndReason, Endpoint, FlowKey, Opening, PortKind, Published};
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

/// The aggregates of one core.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    aggregates: Vec<(FlowKey, Delta)>,
    since: Tick,
}

impl Overflow {
    pub(crate) fn len(&self) -> usize {
        self.aggregates.len()
    }

    pub(crate) fn is_due(&self, now: Tick) -> bool {
        !self.aggregates.is_empty() && now - self.since > INTERVAL_NS
    }

    pub(crate) fn count(&mut self, packet: &Packet) {
        if self.aggregates.is_empty() {
            self.since = packet.tick;
        }
        let key = aggregate_key(packet);
        let place = self.aggregates.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            if self.aggregates.len() < OVERFLOW_AGGREGATES - 1 {
                self.aggregates.push((key, Delta::EMPTY));
            } else if self.aggregates.len() < OVERFLOW_AGGREGATES {
                self.aggregates.push((any_key(), Delta::EMPTY));
            }
            self.aggregates.len() - 1
        });
        let delta = &mut self.aggregates[place].1;
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
        side.tcp_flags |= packet.tcp.map_or(0, |tcp| tcp.flags);
        delta.opening.get_or_insert(Opening {
            is_midstream: false,
            flow_start: packet.timestamp,
            ordinal: packet.ordinal,
            initiator: Direction::Forward,
            macs: [None; 2],
            first_packet: Direction::Forward,
            icmp: None,
            interface: packet.interface,
        });
    }

    /// Publishes and forgets all aggregates; there must be room for [`Overflow::len`].
    pub(crate) fn publish(&mut self, now: Tick, core: u8, outlet: &mut impl Outlet) {
        self.since = now;
        for (key, mut delta) in self.aggregates.drain(..) {
            delta.end = Some(EndReason::Resources);
            outlet.publish(Published { key, hash: 0, core, delta, overflow: true });
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
