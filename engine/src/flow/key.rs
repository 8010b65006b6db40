//! The canonical flow key: the same value for both directions of a flow.
//!
//! It tells flows apart by addresses, ports (or ICMP identifier), protocol and VLAN tags,
//! IPv4 from IPv6, and "no ports" from port 0. IPv4 and IPv6 keys have one size.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::tunnel::Tunnel;
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
///
/// Six words, so that it is compared and hashed without looking at its parts: the lower
/// end's address and the higher end's, little-endian on every machine; ports and VLAN tags;
/// protocol, IP version and the kind of its ports, and in the upper bits of the last word the
/// tunnel that it is in.
#[derive(Debug, Clone, Copy, Eq, PartialOrd, Ord)]
pub struct FlowKey([u64; 6]);

impl PartialEq for FlowKey {
    /// All words at once: what is derived calls memcmp(3) for each packet.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

const _: () = assert!(KEY_VLANS == 2, "two VLAN tags and two ports fill a word");

/// Protocol, IP version and kind of ports, below the tunnel.
const MARKS_BITS: u32 = 24;
const MARKS: u64 = (1 << MARKS_BITS) - 1;

impl FlowKey {
    /// The key of no flow.
    pub(crate) const NONE: Self = Self([0; 6]);

    /// The key of a packet from `source` to `destination`, and which way the packet went.
    ///
    /// `vlan` holds VLAN identifiers, outermost first; 0 is "no tag" (a priority tag,
    /// IEEE 802.1Q section 6.9, says no VLAN either).
    #[must_use]
    #[inline]
    pub fn canonical(
        source: Endpoint,
        destination: Endpoint,
        ip_version: u8,
        protocol: u8,
        port_kind: PortKind,
        vlan: [u16; KEY_VLANS],
    ) -> (Self, Direction) {
        let from = (u128::from_le_bytes(source.address), source.port);
        let to = (u128::from_le_bytes(destination.address), destination.port);
        let (low, high, direction) = if from <= to {
            (from, to, Direction::Forward)
        } else {
            (to, from, Direction::Reverse)
        };
        let ([a, b], [c, d]) = (halves(low.0), halves(high.0));
        let ports = u64::from(low.1) << 48 | u64::from(high.1) << 32;
        let vlans = u64::from(vlan[0]) << 16 | u64::from(vlan[1]);
        let marks = u64::from(protocol) << 16 | u64::from(ip_version) << 8 | port_kind as u64;
        (Self([a, b, c, d, ports | vlans, marks]), direction)
    }

    /// The same of IPv4 addresses, little-endian, with ports.
    #[must_use]
    #[inline]
    pub(crate) fn canonical_v4(
        from: (u32, u16),
        to: (u32, u16),
        protocol: u8,
        vlan: [u16; KEY_VLANS],
    ) -> (Self, Direction) {
        // Address and port in one word: they are compared at once, and no branch is guessed.
        let [from, to] = [from, to].map(|(ip, port)| u64::from(ip) << 16 | u64::from(port));
        let (low, high) = (from.min(to), from.max(to));
        let direction = if from <= to { Direction::Forward } else { Direction::Reverse };
        let ports = (low & 0xffff) << 48 | (high & 0xffff) << 32;
        let vlans = u64::from(vlan[0]) << 16 | u64::from(vlan[1]);
        let marks = u64::from(protocol) << 16 | 4 << 8 | PortKind::Ports as u64;
        (Self([low >> 16, 0, high >> 16, 0, ports | vlans, marks]), direction)
    }

    /// The same flow's key in a tunnel.
    #[must_use]
    pub fn in_tunnel(mut self, tunnel: Tunnel) -> Self {
        self.0[5] = self.0[5] & MARKS | tunnel.to_bits() << MARKS_BITS;
        self
    }

    /// The innermost tunnel that was taken off its packets.
    #[must_use]
    pub fn tunnel(&self) -> Option<Tunnel> {
        Tunnel::from_bits(self.0[5] >> MARKS_BITS)
    }

    /// All of it, as the XDP program makes it, too (`ebpf/src/shunt.rs`).
    #[must_use]
    #[inline]
    pub(crate) fn words(&self) -> [u64; 6] {
        self.0
    }

    /// The IP protocol number.
    #[must_use]
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0[5].to_le_bytes()[2]
    }

    /// 4 or 6.
    #[must_use]
    #[inline]
    pub fn ip_version(&self) -> u8 {
        self.0[5].to_le_bytes()[1]
    }

    /// VLAN identifiers, outermost first, 0 where there is none.
    #[must_use]
    pub fn vlan(&self) -> [u16; KEY_VLANS] {
        let [a, b, c, d, ..] = self.0[4].to_le_bytes();
        [u16::from_le_bytes([c, d]), u16::from_le_bytes([a, b])]
    }

    /// What [`Endpoint::port`] means in this key.
    #[must_use]
    pub fn port_kind(&self) -> PortKind {
        const KINDS: [PortKind; 3] = [PortKind::None, PortKind::Ports, PortKind::IcmpId];
        KINDS[usize::from(self.0[5].to_le_bytes()[0])]
    }

    /// The address that packets of this direction come from.
    #[must_use]
    pub fn source_ip(&self, direction: Direction) -> IpAddr {
        let words = match direction {
            Direction::Forward => [self.0[0], self.0[1]],
            Direction::Reverse => [self.0[2], self.0[3]],
        };
        let whole = u128::from(words[1]) << 64 | u128::from(words[0]);
        let address = whole.to_le_bytes();
        if self.ip_version() == 4 {
            Ipv4Addr::new(address[0], address[1], address[2], address[3]).into()
        } else {
            Ipv6Addr::from(address).into()
        }
    }

    /// The port that packets of this direction come from, if the flow has ports.
    #[must_use]
    pub fn source_port(&self, direction: Direction) -> Option<u16> {
        let [.., c, d, a, b] = self.0[4].to_le_bytes();
        let port = match direction {
            Direction::Forward => [a, b],
            Direction::Reverse => [c, d],
        };
        (self.port_kind() == PortKind::Ports).then(|| u16::from_le_bytes(port))
    }

    /// Whether either end has this port, of a flow that has ports.
    #[must_use]
    #[inline]
    pub fn has_port(&self, port: u16) -> bool {
        let [low, high] = [self.0[4] >> 48, self.0[4] >> 32 & 0xffff];
        [low, high].contains(&u64::from(port)) && self.port_kind() == PortKind::Ports
    }

    /// All of it in one number, of which the upper bits are mixed best: the same in each run, so
    /// that who aims at one can, and what is read again comes to the same.
    #[inline]
    pub(crate) fn mixed(&self) -> u64 {
        // Any odd numbers.
        const BY: [u64; 6] = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xd6e8_feb8_6659_fd93,
            0xa076_1d64_78bd_642f,
            0xe703_7ed1_a0b4_28db,
        ];
        let words = self.0.into_iter().zip(BY);
        let mixed = words.fold(0, |sum: u64, (word, by)| sum.wrapping_add(word.wrapping_mul(by)));
        (mixed ^ mixed >> 32).wrapping_mul(BY[0])
    }

    /// Both ports, of each the lower byte first; of a flow without ports anything.
    #[inline]
    pub(crate) fn port_bytes(&self) -> [[u8; 2]; 2] {
        let [.., a, b, c, d] = self.0[4].to_le_bytes();
        [[c, d], [a, b]]
    }

    /// The key as bytes that are the same on every machine, for flow identifiers.
    #[must_use]
    pub fn stable_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The lower and the upper half.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn halves(whole: u128) -> [u64; 2] {
    [whole as u64, (whole >> 64) as u64]
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_u64(word);
        }
    }
}

/// The keyed hash of flow keys: seeded at start, so that nobody outside can aim
/// collisions at our tables. One hasher serves the whole engine.
///
/// Each pair of words is mixed with its share of the seed by a multiplication whose two
/// halves are folded together (as in wyhash and its kin), the three pairs at the same time.
#[derive(Debug, Clone)]
pub struct KeyHasher([u64; 8]);

impl Default for KeyHasher {
    fn default() -> Self {
        // Seeded by the system, and differently at each call.
        Self::seeded(&RandomState::new())
    }
}

impl KeyHasher {
    /// With what `seed` gives. For tests that must repeat; all others want the default.
    #[must_use]
    pub fn seeded(seed: &impl BuildHasher) -> Self {
        Self([0, 1, 2, 3, 4, 5, 6, 7].map(|word: u64| seed.hash_one(word)))
    }

    /// The hash of `key`: the same for both directions of a flow.
    #[must_use]
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        let mix =
            |pair: usize| fold(key.0[pair] ^ self.0[pair], key.0[pair + 1] ^ self.0[pair + 1]);
        let (low, high, rest) = (mix(0), mix(2), mix(4));
        fold(low ^ high.rotate_left(32) ^ self.0[6], high ^ rest ^ self.0[7])
    }
}

/// The two halves of the product, folded together.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let [low, high] = halves(u128::from(a) * u128::from(b));
    low ^ high
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
        fn keys_differ_where_anything_differs(
            (a, b) in endpoints(), (c, d) in endpoints(),
            x in (0u8..2, prop::sample::select(&KINDS[..]), (0u16..2, 0u16..2), 5u8..7),
            y in (0u8..2, prop::sample::select(&KINDS[..]), (0u16..2, 0u16..2), 5u8..7),
        ) {
            let key = |one, two, (protocol, kind, (v, w), version)| {
                FlowKey::canonical(one, two, version, protocol, kind, [v, w]).0
            };
            let same_ends = (a, b) == (c, d) || (a, b) == (d, c);
            prop_assert_eq!(key(a, b, x) == key(c, d, y), same_ends && x == y);
        }

        #[test]
        fn what_went_in_comes_out(
            (a, b) in endpoints(), protocol: u8, vlan: [u16; 2],
            kind in prop::sample::select(&KINDS[..]), version in prop::sample::select(&[4u8, 6][..]),
        ) {
            let (key, way) = FlowKey::canonical(a, b, version, protocol, kind, vlan);
            let out = (key.protocol(), key.vlan(), key.port_kind(), key.ip_version());
            prop_assert_eq!(out, (protocol, vlan, kind, version));
            let ports = [way, way.opposite()].map(|way| key.source_port(way));
            prop_assert_eq!(ports, [a.port, b.port].map(|port| (kind == PortKind::Ports).then_some(port)));
        }
    }

    const KINDS: [PortKind; 3] = [PortKind::None, PortKind::Ports, PortKind::IcmpId];

    /// Neighbouring keys, as scans make them: every bit of the hash must be worth about one.
    #[test]
    fn every_bit_of_the_key_moves_half_of_the_hash() {
        let hasher = KeyHasher::default();
        let keys: u64 = 256;
        for bit in 0..6 * 64 {
            let mut flips = [0u32; 64];
            for number in 0..keys {
                let mut words = [number, 0, 7 * number, 0, 80, 6 << 16];
                let before = hasher.hash(&FlowKey(words));
                words[bit / 64] ^= 1 << (bit % 64);
                let changed = before ^ hasher.hash(&FlowKey(words));
                (0..64).for_each(|at| flips[at] += u32::from(changed >> at & 1 == 1));
            }
            // Fair coins: 128 of 256 on average, with a deviation of 8.
            let all: u32 = flips.iter().sum();
            assert!((6_500..9_900).contains(&all), "bit {bit} flips {all} of 16384");
            assert!(flips.iter().all(|n| (60..=196).contains(n)), "bit {bit}: {flips:?}");
        }
    }

    #[test]
    fn two_hashers_do_not_agree() {
        let key = FlowKey([1, 2, 3, 4, 5, 6]);
        assert_ne!(KeyHasher::default().hash(&key), KeyHasher::default().hash(&key));
    }
}
