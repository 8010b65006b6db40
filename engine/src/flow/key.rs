//! The canonical flow key: the same value for both directions of a flow.
//!
//! It tells flows apart by addresses, ports (or ICMP identifier), protocol and VLAN tags,
//! IPv4 from IPv6, and "no ports" from port 0. IPv4 and IPv6 keys have one size.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::KEY_VLANS;

/// One end of a flow as a packet names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address, IPv4 in the first four bytes and the rest zero.
    pub address: [u8; 16],
    /// The port, or the ICMP identifier, or 0.
    pub port: u16,
}

/// What the port fields of a key hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortKind {
    /// Nothing: the protocol has no ports, or a later fragment did not show them.
    None,
    /// Source and destination ports.
    Ports,
    /// The ICMP identifier of a query and its reply, the same at both ends.
    IcmpId,
}

/// Which way a packet went, seen from the canonical order of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the lower endpoint to the higher one.
    Forward,
    /// From the higher endpoint to the lower one.
    Reverse,
}

impl Direction {
    /// 0 or 1, for arrays that hold a value for each direction.
    #[must_use]
    pub fn idx(self) -> usize {
        self as usize
    }

    /// The other direction.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }
}

/// Addresses, ports, protocol and VLAN tags of a flow, its two ends in canonical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    low: Endpoint,
    high: Endpoint,
    vlan: [u16; KEY_VLANS],
    protocol: u8,
    ip_version: u8,
    port_kind: PortKind,
}

impl FlowKey {
    /// The key of a packet from `source` to `destination`, and which way the packet went.
    ///
    /// `vlan` holds VLAN identifiers, outermost first; 0 is "no tag" (a priority tag,
    /// IEEE 802.1Q section 6.9, says no VLAN either).
    #[must_use]
    pub fn canonical(
        source: Endpoint,
        destination: Endpoint,
        ip_version: u8,
        protocol: u8,
        port_kind: PortKind,
        vlan: [u16; KEY_VLANS],
    ) -> (Self, Direction) {
        let (low, high, direction) = if source <= destination {
            (source, destination, Direction::Forward)
        } else {
            (destination, source, Direction::Reverse)
        };
        (Self { low, high, vlan, protocol, ip_version, port_kind }, direction)
    }

    /// The IP protocol number.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// 4 or 6.
    #[must_use]
    pub fn ip_version(&self) -> u8 {
        self.ip_version
    }

    /// VLAN identifiers, outermost first, 0 where there is none.
    #[must_use]
    pub fn vlan(&self) -> &[u16; KEY_VLANS] {
        &self.vlan
    }

    /// What [`Endpoint::port`] means in this key.
    #[must_use]
    pub fn port_kind(&self) -> PortKind {
        self.port_kind
    }

    /// The address that packets of this direction come from.
    #[must_use]
    pub fn source_ip(&self, direction: Direction) -> IpAddr {
        let address = self.source(direction).address;
        if self.ip_version == 4 {
            Ipv4Addr::new(address[0], address[1], address[2], address[3]).into()
        } else {
            Ipv6Addr::from(address).into()
        }
    }

    /// The port that packets of this direction come from, if the flow has ports.
    #[must_use]
    pub fn source_port(&self, direction: Direction) -> Option<u16> {
        (self.port_kind == PortKind::Ports).then(|| self.source(direction).port)
    }

    fn source(&self, direction: Direction) -> &Endpoint {
        match direction {
            Direction::Forward => &self.low,
            Direction::Reverse => &self.high,
        }
    }

    /// The key as six words: every bit of it, for hashing.
    fn words(&self) -> [u64; 6] {
        let address = |a: &[u8; 16]| {
            // Little-endian everywhere: flow identifiers must not depend on the machine.
            let whole = u128::from_le_bytes(*a);
            #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
            [whole as u64, (whole >> 64) as u64]
        };
        let [a, b] = address(&self.low.address);
        let [c, d] = address(&self.high.address);
        let ports = u64::from(self.low.port) << 16 | u64::from(self.high.port);
        let vlans = u64::from(self.vlan[0]) << 16 | u64::from(self.vlan[1]);
        let marks = u64::from(self.protocol) << 16
            | u64::from(self.ip_version) << 8
            | self.port_kind as u64;
        [a, b, c, d, ports << 32 | vlans, marks]
    }

    /// The key as bytes that are the same on every machine, for flow identifiers.
    #[must_use]
    pub fn stable_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.words() {
            state.write_u64(word);
        }
    }
}

/// The keyed hash of flow keys: seeded at start, so that nobody outside can aim
/// collisions at our tables. One hasher serves the whole engine.
#[derive(Debug, Clone, Default)]
pub struct KeyHasher(ahash::RandomState);

impl KeyHasher {
    /// The hash of `key`: the same for both directions of a flow.
    #[must_use]
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.0.hash_one(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoints() -> impl Strategy<Value = (Endpoint, Endpoint)> {
        // Few values, so that equal addresses and equal ends come up.
        let end = || {
            (0u8..3, 0u8..3, 0u16..3).prop_map(|(first, last, port)| {
                let mut address = [0; 16];
                address[0] = first;
                address[15] = last;
                Endpoint { address, port }
            })
        };
        (end(), end())
    }

    proptest! {
        #[test]
        fn both_directions_have_one_key((a, b) in endpoints(), protocol: u8, vlan: [u16; 2]) {
            let key = |s, d| FlowKey::canonical(s, d, 6, protocol, PortKind::Ports, vlan);
            let (there, way) = key(a, b);
            let (back, way_back) = key(b, a);
            prop_assert_eq!(there, back);
            let hasher = KeyHasher::default();
            prop_assert_eq!(hasher.hash(&there), hasher.hash(&back));
            if a == b {
                prop_assert_eq!(way, way_back);
            } else {
                prop_assert_eq!(way, way_back.opposite());
            }
            prop_assert_eq!(there.source_ip(way), IpAddr::from(Ipv6Addr::from(a.address)));
            prop_assert_eq!(there.source_port(way), Some(a.port));
            prop_assert_eq!(there.source_port(way.opposite()), Some(b.port));
        }

        #[test]
        fn words_tell_all_keys_apart(
            (a, b) in endpoints(), (c, d) in endpoints(),
            p in 0u8..2, q in 0u8..2, v in 0u16..2, w in 0u16..2, four: bool,
        ) {
            let version = if four { 4 } else { 6 };
            let (x, _) = FlowKey::canonical(a, b, 6, p, PortKind::Ports, [v, w]);
            let (y, _) = FlowKey::canonical(c, d, version, q, PortKind::None, [w, v]);
            prop_assert_eq!(x == y, x.words() == y.words());
        }
    }
}
