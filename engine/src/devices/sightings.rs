//! Which devices were at the ends of records, gathered by a thread that labels them until the
//! `names` thread takes it into the table.
//!
//! Records come in no order, so this moves no label: it says which devices there are, with which
//! addresses, and when they were seen; what flows' ends are called and whose an address was comes
//! from what is read in the order of packets alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::devices::device::widen;
use crate::devices::label::own_mac;
use crate::devices::{LocalNetworks, Mac, Place};
use crate::flow::{FlowRecord, RecordKind};
use crate::limits::DEVICE_SIGHTINGS;
use crate::sync::hash::Seed;
use crate::time::Timestamp;

/// Devices with their addresses, and when they were seen first and last.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: HashMap<(Mac, Place), [Timestamp; 2], Seed>,
}

impl Sightings {
    /// Notes the ends of `record` whose own packets cannot have come through a router, if they are
    /// local. Returns how many found no room.
    pub fn note(&mut self, record: &FlowRecord, networks: &LocalNetworks) -> u64 {
        let total = &record.total;
        // What is in a tunnel is another network's.
        let is_ours = record.kind == RecordKind::Flow && record.key.tunnel().is_none();
        if !is_ours || total.first > total.last {
            return 0;
        }
        let mut missed = 0;
        let way = record.initiator();
        for from in [way, way.opposite()] {
            let address = record.key.source_ip(from);
            let mac = networks.is_local(address).then(|| own_mac(record, from)).flatten();
            let Some(mac) = mac else { continue };
            let has_room = self.seen.len() < DEVICE_SIGHTINGS;
            match self.seen.entry((mac, Place { vlans: record.key.vlan(), address })) {
                Entry::Occupied(mut known) => {
                    [total.first, total.last]
                        .into_iter()
                        .for_each(|time| widen(known.get_mut(), time));
                }
                Entry::Vacant(place) if has_room => {
                    place.insert([total.first, total.last]);
                }
                Entry::Vacant(_) => missed += 1,
            }
        }
        missed
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Whether there is no room for both ends of one more record.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.seen.len() + 2 > DEVICE_SIGHTINGS
    }

    /// All of them.
    pub(super) fn all(self) -> impl Iterator<Item = (Mac, Place, [Timestamp; 2])> {
        self.seen.into_iter().map(|((mac, place), seen)| (mac, place, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{
        Delta, Endpoint, FlowKey, Opening, PortKind, SideCounts, Tunnel, TunnelKind,
    };

    const OWN: Mac = [0, 0x11, 0x22, 0, 0, 1];
    const OTHER: Mac = [0, 0x11, 0x22, 0, 0, 2];

    /// A flow between two addresses, whose packets arrived with so much to live; 0 is none.
    fn record(ends: [[u8; 4]; 2], ttls: [u8; 2], times: [Timestamp; 2]) -> FlowRecord {
        let [from, to] = ends.map(|end| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&end);
            Endpoint { address, port: 9 }
        });
        let (key, way) = FlowKey::canonical(from, to, 4, 6, PortKind::Ports, [7, 0]);
        let mut sides = [SideCounts::default(); 2];
        for (from, ttl) in
            [(way, ttls[0]), (way.opposite(), ttls[1])].into_iter().filter(|it| it.1 > 0)
        {
            let side = &mut sides[from.idx()];
            (side.packets, side.ttl_min, side.ttl_max) = (1, ttl, ttl);
        }
        let opening = Opening {
            flow_start: Some(times[0]),
            ordinal: 0,
            initiator: way,
            macs: [Some(OWN), Some(OTHER)],
            first_packet: way,
            icmp: None,
            interface: 0,
            encapsulation: None,
        };
        let [first, last] = times;
        FlowRecord::flow(key, Delta { sides, first, last, opening: Some(opening), ..Delta::EMPTY })
    }

    fn seen(records: &[FlowRecord]) -> Vec<(Mac, Place, [Timestamp; 2])> {
        let mut sightings = Sightings::default();
        let networks = LocalNetworks::default();
        let missed: u64 = records.iter().map(|record| sightings.note(record, &networks)).sum();
        assert_eq!(missed, 0);
        let mut all: Vec<_> = sightings.all().collect();
        all.sort_by_key(|(mac, ..)| *mac);
        all
    }

    #[test]
    fn ends_are_devices_where_no_router_is_between() {
        let place = |last| Place { vlans: [7, 0], address: [10, 0, 0, last].into() };
        let local = [[10, 0, 0, 1], [10, 0, 0, 2]];
        let both = [record(local, [64, 128], [5, 9]), record(local, [64, 0], [2, 3])];
        let want = [(OWN, place(1), [2, 9]), (OTHER, place(2), [5, 9])];
        assert_eq!(seen(&both), want);
        assert_eq!(seen(&[both[1], both[0]]), want, "in any order");
        assert_eq!(seen(&[record(local, [63, 0], [1, 2])]), [], "it came through a router");
        let afar = [[10, 0, 0, 1], [192, 0, 2, 1]];
        assert_eq!(seen(&[record(afar, [64, 64], [1, 2])]), [(OWN, place(1), [1, 2])]);
        let mut inside = record(local, [64, 64], [1, 2]);
        inside.key = inside.key.in_tunnel(Tunnel::of(TunnelKind::Gre));
        assert_eq!(seen(&[inside]), [], "the frame is the tunnel's");
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (mut sightings, mut missed) = (Sightings::default(), 0);
        for number in 0..u32::try_from(DEVICE_SIGHTINGS).unwrap() + 10 {
            let [_, b, c, d] = number.to_be_bytes();
            let record = record([[10, b, c, d], [192, 0, 2, 1]], [64, 0], [1, 2]);
            missed += sightings.note(&record, &LocalNetworks::default());
        }
        assert!(sightings.is_full());
        assert_eq!(missed, 10);
    }
}
