//! Remembers the ports of fragmented datagrams, so that later fragments find their flow.
//!
//! Bounded in number and time: the oldest datagram is forgotten when there is no room.
//! Nothing is reassembled.

use std::collections::{HashMap, VecDeque};

use crate::flow::{PortKind, Tunnel};
use crate::limits::{FRAGMENT_DATAGRAMS, FRAGMENT_LIFE_NS, KEY_VLANS};
use crate::time::Tick;

/// Ports as the flow key has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) kind: PortKind,
    pub(crate) source: u16,
    pub(crate) destination: u16,
}

impl Ports {
    pub(crate) const NONE: Self = Self { kind: PortKind::None, source: 0, destination: 0 };
}

/// What the fragments of one datagram share (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DatagramKey {
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) identification: u32,
    pub(crate) vlan: [u16; KEY_VLANS],
    /// What it came in: networks in tunnels may have the same addresses.
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) protocol: u8,
    pub(crate) version: u8,
}

#[derive(Debug, Clone, Copy)]
struct Datagram {
    ports: Ports,
    seen: Tick,
}

/// The datagrams whose first fragment was seen lately.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    datagrams: HashMap<DatagramKey, Datagram>,
    /// Keys by the time of their first fragment; one that came again stands here twice,
    /// and its older place no longer counts.
    by_age: VecDeque<(Tick, DatagramKey)>,
}

impl Fragments {
    /// A first fragment was seen.
    pub(crate) fn remember(&mut self, key: DatagramKey, ports: Ports, now: Tick) {
        while let Some(&(seen, oldest)) = self.by_age.front() {
            if self.by_age.len() < FRAGMENT_DATAGRAMS && now - seen <= FRAGMENT_LIFE_NS {
                break;
            }
            self.by_age.pop_front();
            if self.datagrams.get(&oldest).is_some_and(|datagram| datagram.seen == seen) {
                self.datagrams.remove(&oldest);
            }
        }
        self.datagrams.insert(key, Datagram { ports, seen: now });
        self.by_age.push_back((now, key));
    }

    /// The ports of a later fragment, if its first fragment was seen in time.
    pub(crate) fn recall(&self, key: &DatagramKey, now: Tick) -> Option<Ports> {
        let datagram = self.datagrams.get(key)?;
        (now - datagram.seen <= FRAGMENT_LIFE_NS).then_some(datagram.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identification: u32) -> DatagramKey {
        DatagramKey {
            source: [1; 16],
            destination: [2; 16],
            identification,
            vlan: [0; KEY_VLANS],
            tunnel: None,
            protocol: 17,
            version: 4,
        }
    }

    fn ports(source: u16) -> Ports {
        Ports { kind: PortKind::Ports, source, destination: 53 }
    }

    #[test]
    fn a_later_fragment_finds_the_latest_first_fragment_for_a_minute() {
        let mut fragments = Fragments::default();
        fragments.remember(key(7), ports(1), 0);
        assert_eq!(fragments.recall(&key(7), FRAGMENT_LIFE_NS), Some(ports(1)));
        assert_eq!(fragments.recall(&key(7), FRAGMENT_LIFE_NS + 1), None, "too late");
        assert_eq!(fragments.recall(&key(8), 0), None, "another datagram");
        fragments.remember(key(7), ports(2), FRAGMENT_LIFE_NS);
        assert_eq!(fragments.recall(&key(7), FRAGMENT_LIFE_NS + 1), Some(ports(2)));
    }

    #[test]
    fn a_flood_of_first_fragments_takes_bounded_memory() {
        let mut fragments = Fragments::default();
        let flood = u32::try_from(FRAGMENT_DATAGRAMS).unwrap() * 3;
        for identification in 0..flood {
            fragments.remember(key(identification), ports(1), 5);
        }
        assert!(fragments.datagrams.len() <= FRAGMENT_DATAGRAMS);
        assert!(fragments.by_age.len() <= FRAGMENT_DATAGRAMS);
        assert_eq!(fragments.recall(&key(flood - 1), 5), Some(ports(1)), "the newest is kept");
        assert_eq!(fragments.recall(&key(0), 5), None, "the oldest is forgotten");
    }
}
