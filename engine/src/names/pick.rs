//! Which packets' payloads are copied for the `names` thread: those in which names may be.
//!
//! What a payload may be is said by [`super::interest`], from its ports, its first bytes and its
//! place among the payloads of its direction. This keeps that place for the directions of TCP flows
//! that began last, until enough of one was looked at: from then on its payloads are not touched.
//! Of others the first bytes are looked at, and if they begin nothing, that is all. Of a payload
//! that follows what came before it, back to the SYN, it is known that it has overtaken nothing: if
//! it begins nothing it is not copied on a guess. Most answers of servers are such. What repeats
//! what came before it, a retransmission or a second copy from a mirror port, is not copied again.
//!
//! The memory of that is a small direct-mapped cache beside the decoder, and not a mark in the
//! flow's slot: with several workers or queues the bytes are where the decoder is, and the slot
//! is on another core. It is small enough to stay in a processor's nearest caches: a larger one cost
//! more by waiting for it than the looks that it saves. Flows that meet in one place forget each
//! other.
//!
//! Most payloads begin nothing, and are of flows of which nothing is expected that does not show by
//! its first byte. Those never get to their place: a count of the flows that meet in a hash, of
//! which more is expected, tells them at once ([`Picks::may_pick`]). Datagrams are told by their ports
//! and the first bytes of flags and version, without a branch.

use crate::decode::Packet;
use crate::flow::protocol::{ICMPV6, TCP, UDP};
use crate::flow::record::tcp_flags::SYN;
use crate::flow::{Direction, PortKind};
use crate::limits::{
    LONE_FRAGMENTS, NAME_LOOKS, NAME_PAYLOADS, PICK_HASHES, PICK_PLACES, STREAM_BYTES,
};
use crate::names::interest::{
    OVERTAKEN, Service, beginning, follow_ups, is_greeting, is_last_beginning, may_begin,
    may_want_datagram, port, service, wants,
};
use crate::time::{SECOND_NS, Tick};

const _: () = assert!(PICK_PLACES.is_power_of_two() && PICK_PLACES <= 1 << 16);
const _: () = assert!(PICK_HASHES.is_power_of_two() && PICK_HASHES <= 1 << 16);
const _: () = assert!(NAME_LOOKS < Place::DONE as u32 && NAME_PAYLOADS < Place::GREETED as u32);

/// So far behind what came last a payload may repeat something: more is kept of no stream.
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
const REPEATED: i16 = STREAM_BYTES as i16;
const _: () = assert!(STREAM_BYTES < i16::MAX as usize);

/// One direction of a TCP flow.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// What tells it from others in this place, nearly always; 0 if there is none.
    tag: u16,
    /// Where its flow is counted while it is expected to go on.
    hash: u16,
    /// Where it goes on: the lower bits of the sequence number, as more of them would make this
    /// larger.
    next: u16,
    /// Payloads that were looked at; one more, if the SYN was not.
    seen: u8,
    /// Payloads that follow one that was wanted, and are copied whatever they are; or
    /// [`Place::ALWAYS`], or [`Place::GREETED`].
    left: u8,
}

/// Decides for one decoder.
#[derive(Debug)]
pub struct Picks {
    places: Box<[Place; PICK_PLACES]>,
    /// By hash, of how many directions a payload is expected that is wanted whatever it begins
    /// with: of its flow it may be. What has reached the largest count stays there.
    expected: Box<[u8; PICK_HASHES]>,
    /// Where the direction of the last payload that was looked at begins, if that is its first.
    begins_at: Option<u32>,
    malformed: u64,
    /// A second of packet time, and how many later fragments in it had no ports.
    lone: (Tick, u32),
    lone_refused: u64,
}

impl Default for Picks {
    fn default() -> Self {
        Self {
            places: Box::new([Place::NONE; _]),
            expected: Box::new([0; _]),
            begins_at: None,
            malformed: 0,
            lone: (0, 0),
            lone_refused: 0,
        }
    }
}

impl Picks {
    /// Whether the payload of `packet` could be picked, of which `captured` are the bytes that were
    /// captured. Of nearly all that are not picked this says no.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as this")]
    pub fn may_pick(&self, packet: &Packet, captured: &[u8]) -> bool {
        let is_syn = || packet.tcp.has(SYN);
        if packet.payload_bytes == 0 {
            return is_syn() || packet.key.protocol() == ICMPV6;
        }
        if !packet.tcp.is_there() {
            return match packet.key.protocol() {
                UDP => {
                    may_want_datagram(packet.key.lower_port_bytes(), captured)
                        | packet.later_fragment
                }
                protocol => protocol == ICMPV6,
            };
        }
        self.expected[usize::from(hash(packet)) % PICK_HASHES] > 0
            || captured.first().is_some_and(|first| may_begin(*first))
            || packet.key.has_port(port::DNS)
            || is_syn()
    }

    /// Datagrams of name services that are no messages, so far: they were not picked.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The sequence number that the direction of the payload that was picked last begins with, if
    /// it came first of it.
    #[must_use]
    pub fn begins_at(&self) -> Option<u32> {
        self.begins_at
    }

    /// Whether the payload of `packet`, which [may](Self::may_pick) be picked, is to be copied;
    /// `captured` are the bytes of it that were captured.
    pub fn picks(&mut self, packet: &Packet, captured: &[u8]) -> bool {
        self.begins_at = None;
        match packet.key.protocol() {
            TCP => self.segment(packet, captured),
            UDP if packet.later_fragment => self.later_fragment(packet),
            UDP => self.datagram(ports(packet), captured),
            ICMPV6 => is_neighbour_discovery(packet),
            _ => false,
        }
    }

    /// Whether a fragment that is picked is to be joined with the others of its datagram: one of
    /// DNS and its kin, or of what may be that.
    #[must_use]
    pub fn is_joined(packet: &Packet) -> bool {
        packet.key.protocol() == UDP
            && match packet.key.port_kind() {
                PortKind::Ports => matches!(service(ports(packet)), Some(Service::Dns(_))),
                _ => packet.later_fragment,
            }
    }

    /// Later fragments that could be of any service, and were too many in their second.
    #[must_use]
    pub fn lone_refused(&self) -> u64 {
        self.lone_refused
    }

    fn later_fragment(&mut self, packet: &Packet) -> bool {
        if packet.key.port_kind() == PortKind::Ports {
            return Self::is_joined(packet);
        }
        // Its first one may have been overtaken, or have come by another queue.
        let second = packet.tick / SECOND_NS;
        if self.lone.0 != second {
            self.lone = (second, 0);
        }
        let has_room = self.lone.1 < LONE_FRAGMENTS;
        self.lone.1 += u32::from(has_room);
        self.lone_refused += u64::from(!has_room);
        has_room
    }

    fn datagram(&mut self, ports: [u16; 2], bytes: &[u8]) -> bool {
        if service(ports).is_some_and(|service| service.is_refused(bytes)) {
            self.malformed += 1;
            return false;
        }
        wants(UDP, ports, bytes, 0, false)
    }

    fn segment(&mut self, packet: &Packet, bytes: &[u8]) -> bool {
        let tcp = packet.tcp;
        if !tcp.is_there() {
            return false;
        }
        let [idx, tag] = place_and_tag(packet);
        let idx = usize::from(idx) % PICK_PLACES;
        let is_syn = tcp.has(SYN);
        let mut place = self.places[idx];
        if is_syn || place.tag != tag {
            // A byte alone only asks whether the other end is there (RFC 9293 section 3.8.4).
            let is_row = packet.key.has_port(port::DNS) && packet.payload_bytes > 1;
            if !is_syn && beginning(bytes).is_none() && !is_row {
                return false;
            }
            place = Place::new(tag, packet, tcp.payload_sequence());
        } else if !place.is_expected() && !bytes.first().is_some_and(|first| may_begin(*first)) {
            // It came this far by another flow's count, which is elsewhere in another run.
            return false;
        }
        // A SYN may have data (RFC 7413).
        let is_picked = packet.payload_bytes > 0 && place.seen != Place::DONE && {
            self.begins_at = place.begins_at(tcp.payload_sequence());
            place.decide(packet, tcp.payload_sequence(), bytes)
        };
        self.put(idx, place);
        if is_picked && place.left == Place::GREETED {
            self.greet(idx ^ 1, tag);
        }
        is_picked
    }

    /// What greets in one direction may go on in a handshake in both, which have their places side
    /// by side.
    fn greet(&mut self, idx: usize, tag: u16) {
        let place = self.places[idx];
        if place.tag == tag && place.left == 0 && place.seen != Place::DONE {
            self.put(idx, Place { left: Place::GREETED, ..place });
        }
    }

    fn put(&mut self, idx: usize, place: Place) {
        let before = std::mem::replace(&mut self.places[idx], place);
        if before.is_expected() {
            let count = self.count(before.hash);
            *count -= u8::from(*count < u8::MAX);
        }
        if place.is_expected() {
            let count = self.count(place.hash);
            *count = count.saturating_add(1);
        }
    }

    fn count(&mut self, hash: u16) -> &mut u8 {
        &mut self.expected[usize::from(hash) % PICK_HASHES]
    }
}

/// Where a packet's direction has its place, and what tells it from others there.
///
/// Not by the key's hash, which is another in each run: so that a capture that is read again gives
/// the same names, also where flows forget each other. Who aims at a place can make a flow's name
/// be overlooked, as a flood of connections can.
#[inline]
fn place_and_tag(packet: &Packet) -> [u16; 2] {
    // Any odd numbers.
    const BY: [u64; 6] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
    ];
    let words = packet.key.words().into_iter().zip(BY);
    let mixed = words.fold(0, |sum: u64, (word, by)| sum.wrapping_add(word.wrapping_mul(by)));
    let [.., c, d, a, b] = (mixed ^ mixed >> 32).wrapping_mul(BY[0]).to_le_bytes();
    let place = u16::from_le_bytes([a, b]) ^ u16::from(packet.direction == Direction::Reverse);
    [place, u16::from_le_bytes([c, d]).max(1)]
}

/// Both directions of a flow have the same; in each run another.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "some bits are meant")]
fn hash(packet: &Packet) -> u16 {
    packet.hash as u16
}

impl Place {
    /// Payloads seen, when no more are looked at.
    const DONE: u8 = u8::MAX;
    /// Payloads left, where each may begin a message.
    const ALWAYS: u8 = u8::MAX;
    /// The same behind a greeting, where a handshake may begin: what has overtaken others may be of
    /// that.
    const GREETED: u8 = Self::ALWAYS - 1;
    const NONE: Self = Self { tag: 0, hash: 0, next: 0, seen: Self::DONE, left: 0 };

    fn new(tag: u16, packet: &Packet, sequence: u32) -> Self {
        let left = if packet.key.has_port(port::DNS) { Self::ALWAYS } else { 0 };
        let seen = u8::from(!packet.tcp.has(SYN));
        Self { tag, hash: hash(packet), next: low(sequence), seen, left }
    }

    /// Whether its next payload may be wanted though it begins nothing.
    fn is_expected(self) -> bool {
        self.left > 0 || self.seen < OVERTAKEN
    }

    /// How many bytes are missing between what came without a gap and a payload: fewer than none,
    /// if it repeats some.
    fn missing(self, sequence: u32) -> i16 {
        low(sequence).wrapping_sub(self.next).cast_signed()
    }

    /// Where it begins, before its first payload, if its SYN was seen.
    fn begins_at(self, sequence: u32) -> Option<u32> {
        let missing = self.missing(sequence);
        let is_first = self.seen == 0 && missing >= -REPEATED;
        is_first.then(|| sequence.wrapping_sub(i32::from(missing).cast_unsigned()))
    }

    fn decide(&mut self, packet: &Packet, sequence: u32, bytes: &[u8]) -> bool {
        let missing = self.missing(sequence);
        let new_bytes = i64::from(missing) + i64::from(packet.payload_bytes);
        let has_begun_before = (-REPEATED..=0).contains(&missing);
        // Behind a gap `next` stays, and payloads far from it look as if they repeated something.
        // In a row of messages that goes on for long that may be any; only what asks whether the
        // other end is there is told by it.
        let is_repeated = has_begun_before
            && new_bytes <= 0
            && (self.left != Self::ALWAYS || packet.payload_bytes == 1 && missing == -1);
        if is_repeated {
            return false;
        }
        let is_next = has_begun_before && new_bytes > 0;
        if is_next {
            self.next = low(sequence.wrapping_add(packet.payload_bytes));
        }
        let is_wanted = match self.left {
            0 => wants(TCP, ports(packet), bytes, self.seen.into(), is_next),
            Self::GREETED => {
                !is_next || wants(TCP, ports(packet), bytes, self.seen.into(), is_next)
            }
            _ => true,
        };
        let mut has_said_all = false;
        match self.left {
            0 | Self::GREETED if is_wanted && is_greeting(bytes) => self.left = Self::GREETED,
            0 | Self::GREETED if is_wanted => {
                self.left = follow_ups(bytes);
                has_said_all = self.left == 0 && is_last_beginning(bytes);
            }
            0 | Self::GREETED | Self::ALWAYS => {}
            _ => self.left -= 1,
        }
        let has_looked = u32::from(self.seen) + 1 >= NAME_LOOKS;
        if has_looked && self.left == Self::GREETED {
            self.left = 0;
        }
        let is_over = has_said_all || has_looked && self.left == 0;
        self.seen = if is_over { Self::DONE } else { (self.seen + 1).min(Self::DONE - 1) };
        is_wanted
    }
}

/// Whether a host tells its neighbours where it is (RFC 4861): from a hop limit of 255 it has not
/// come through a router. Its payload says nothing; what counts are its addresses.
#[inline]
fn is_neighbour_discovery(packet: &Packet) -> bool {
    packet.ttl == u8::MAX && packet.icmp.is_some_and(|(kind, _)| (133..=136).contains(&kind))
}

/// The lower half.
#[expect(clippy::cast_possible_truncation, reason = "the half is meant")]
fn low(sequence: u32) -> u16 {
    sequence as u16
}

#[inline]
fn ports(packet: &Packet) -> [u16; 2] {
    let of = |direction| packet.key.source_port(direction).unwrap_or(0);
    [of(packet.direction), of(packet.direction.opposite())]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;
    use crate::decode::TcpHeader;
    use crate::flow::{Endpoint, FlowKey, KeyHasher, PortKind};

    const HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    const REST: &[u8] = b"\xffrest of it";

    fn packet(protocol: u8, ports: [u16; 2], payload: &[u8]) -> Packet {
        let end = |last, port| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[192, 0, 2, last]);
            Endpoint { address, port }
        };
        let (from, to) = (end(1, ports[0]), end(2, ports[1]));
        let (key, direction) = FlowKey::canonical(from, to, 4, protocol, PortKind::Ports, [0; 2]);
        let hash = KeyHasher::seeded(&BuildHasherDefault::<DefaultHasher>::default()).hash(&key);
        let payload_bytes = u32::try_from(payload.len()).unwrap();
        Packet { key, direction, hash, payload_bytes, ..Packet::NONE }
    }

    /// Which segments of one direction are picked: flags and payloads, in their order.
    fn check(port: u16, segments: &[(u8, &[u8])], want: &[bool]) {
        let mut next = u32::MAX;
        let segments = segments.iter().map(|&(flags, bytes)| {
            let sequence = next;
            let len = if flags & SYN != 0 { 1 } else { u32::try_from(bytes.len()).unwrap() };
            next = next.wrapping_add(len);
            (flags, sequence, bytes)
        });
        check_at(port, &segments.collect::<Vec<_>>(), want);
    }

    /// The same with sequence numbers.
    fn check_at(port: u16, segments: &[(u8, u32, &[u8])], want: &[bool]) {
        // It is the same where others are counted at every hash.
        for others in [0, u8::MAX] {
            let mut picks = Picks::default();
            picks.expected.fill(others);
            let picked = segments.iter().map(|&(flags, sequence, bytes)| {
                let tcp = TcpHeader::new(flags, sequence, 0, 1);
                let packet = Packet { tcp, ..packet(TCP, [40_000, port], bytes) };
                picks.may_pick(&packet, bytes) && picks.picks(&packet, bytes)
            });
            assert_eq!(picked.collect::<Vec<_>>(), want, "{others} others");
        }
    }

    #[test]
    fn datagrams_are_asked_for_one_by_one() {
        let picks =
            |port, bytes: &[u8]| Picks::default().picks(&packet(UDP, [40_000, port], bytes), bytes);
        assert!(picks(53, b"x"));
        assert!(!picks(53, &[0, 0, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0]), "an update");
        assert!(picks(443, &[0xc3, 0, 0, 0, 1, 8]), "QUIC");
        assert!(!picks(443, &[0x40, 0, 0, 0, 1, 8]), "a short header");
    }

    #[test]
    fn later_fragments_are_picked_for_name_services_and_few_for_all() {
        let mut picks = Picks::default();
        let mut check = |packet: Packet, want: bool, name: &str| {
            let later = Packet { later_fragment: true, ..packet };
            let is_picked = picks.may_pick(&later, b"x") && picks.picks(&later, b"x");
            assert_eq!(is_picked, want, "{name}");
            assert!(!want || Picks::is_joined(&later), "{name}");
        };
        for (port, want) in [(53, true), (5_353, true), (5_355, true), (137, false), (443, false)] {
            check(packet(UDP, [40_000, port], b"x"), want, &format!("of port {port}"));
        }
        let end = |last| Endpoint { address: [last; 16], port: 0 };
        let key =
            |protocol| FlowKey::canonical(end(1), end(2), 4, protocol, PortKind::None, [0; 2]).0;
        let lone = |tick| Packet { key: key(UDP), payload_bytes: 1, tick, ..Packet::NONE };
        for tick in [5, SECOND_NS + 5] {
            (0..LONE_FRAGMENTS).for_each(|_| check(lone(tick), true, "of a service not known"));
            check(lone(tick), false, "too many in a second");
        }
        check(Packet { key: key(TCP), ..lone(3 * SECOND_NS) }, false, "of TCP");
        assert_eq!(picks.lone_refused(), 2);
        assert!(!Picks::is_joined(&packet(UDP, [40_000, 137], b"x")));
    }

    /// Of each service and each first byte of a version that is known.
    #[test]
    fn datagrams_that_may_not_be_picked_would_not_be() {
        let mut picks = Picks::default();
        let (mut picked, mut not_looked_at) = (0, 0);
        let versions: [&[u8]; 7] = [
            b"\0\0\0\x01",
            b"\x6b\x33\x43\xcf",
            b"\xff\0\0\x1d",
            b"\xfa\xce\xb0\x02",
            b"T051",
            b"Q046",
            b"\x08id-of-itQ043",
        ];
        for port in [53, 67, 68, 137, 443, 546, 547, 1_900, 5_353, 5_355, 0x3535, 40_001] {
            for (first, rest) in (0..=u8::MAX).flat_map(|first| versions.map(|rest| (first, rest)))
            {
                let datagram = [&[first], rest, &[0; 16]].concat();
                let packet = packet(UDP, [port, 40_000], &datagram);
                let may = picks.may_pick(&packet, &datagram);
                let does = picks.picks(&packet, &datagram);
                assert!(may || !does, "port {port}, {datagram:02x?}");
                (picked, not_looked_at) =
                    (picked + u32::from(does), not_looked_at + u32::from(!may));
            }
        }
        assert!(
            picked > 13_000 && not_looked_at > 1_200,
            "{picked} picked, {not_looked_at} passed by"
        );
    }

    #[test]
    fn neighbours_are_picked_and_no_other_icmp() {
        let picks = |kind, ttl| {
            let icmp = Packet { icmp: Some((kind, 0)), ttl, ..packet(ICMPV6, [0; 2], b"") };
            Picks::default().picks(&icmp, b"")
        };
        assert!(picks(135, 255) && picks(133, 255));
        assert!(!picks(135, 254), "from afar");
        assert!(!picks(128, 255), "an echo");
    }

    #[test]
    fn what_follows_a_beginning_is_picked() {
        check(9_999, &[(SYN, b""), (0, HELLO), (0, b""), (0, REST)], &[false, true, false, true]);
        check(9_999, &[(0, REST), (0, HELLO), (0, REST)], &[false, true, true]);
        let mut segments = vec![(0, HELLO)];
        segments.resize(100, (0, REST));
        let followed = NAME_PAYLOADS as usize;
        let want: Vec<_> = (0..100).map(|n| n < followed).collect();
        check(9_999, &segments, &want);
    }

    #[test]
    fn what_may_have_overtaken_is_picked_and_what_follows_and_begins_nothing_is_not() {
        let syn: (u8, u32, &[u8]) = (SYN, 99, b"");
        let picks = |segments: &[_], want: &[bool]| {
            check_at(443, &[&[syn], segments].concat(), &[&[false], want].concat());
        };
        picks(&[(0, 100, REST), (0, 111, REST)], &[false, false]);
        picks(&[(0, 106, REST), (0, 100, HELLO), (0, 117, REST)], &[true, true, true]);
        picks(&[(0, 100, REST), (0, 122, REST), (0, 111, HELLO)], &[false, true, true]);
        // So little tells nothing; and what follows may begin something.
        picks(&[(0, 100, b"\x16"), (0, 101, b"\x03\x01\0")], &[true, true]);
        picks(&[(0, 100, REST), (0, 111, b"GET / HTTP/1.1")], &[false, true]);
        picks(&[(0, 100, REST), (0, 111, REST), (0, 122, HELLO)], &[false, false, true]);
    }

    /// No port is needed for that: where the SYN was seen the gap shows.
    #[test]
    fn what_has_overtaken_a_beginning_is_picked_on_any_port() {
        let syn: (u8, u32, &[u8]) = (SYN, 99, b"");
        for port in [443, 8_444, 9_001] {
            check_at(
                port,
                &[syn, (0, 106, REST), (0, 100, HELLO), (0, 117, REST)],
                &[false, true, true, true],
            );
        }
        // Nothing is known of a connection that is under way.
        check_at(8_444, &[(0, 106, REST), (0, 100, HELLO)], &[false, true]);
        // Behind a greeting a handshake may begin, and what has overtaken that.
        let greeting: (u8, u32, &[u8]) = (0, 100, b"220 mail ESMTP\r\n");
        let words: [(u8, u32, &[u8]); 2] = [(0, 116, REST), (0, 127, REST)];
        let handshake = [(0, 144, REST), (0, 138, HELLO), (0, 155, REST)];
        check_at(
            25,
            &[&[syn, greeting][..], &words, &handshake].concat(),
            &[false, true, false, false, true, true, true],
        );
    }

    /// A retransmission, or a mirror port that sends what comes and what goes.
    #[test]
    fn what_repeats_what_came_is_not_picked_and_leaves_room_for_what_follows() {
        let mut segments: Vec<(u8, u32, &[u8])> = vec![(SYN, 99, b""), (0, 100, HELLO)];
        segments.extend((0..3).map(|n| (0, 106 + 11 * n, REST)));
        let segments: Vec<_> = segments.into_iter().flat_map(|segment| [segment; 2]).collect();
        let want = [[false; 2], [true, false], [true, false], [true, false], [true, false]];
        check_at(443, &segments, want.as_flattened());
        // Some of it is new.
        let more = [(SYN, 99, &b""[..]), (0, 100, HELLO), (0, 104, REST), (0, 115, REST)];
        check_at(443, &more, &[false, true, true, true]);
        // Far behind the last one there is another connection, of which the SYN was not seen.
        let behind = |bytes: u32| 106_u32.wrapping_sub(REPEATED.cast_unsigned().into()) - bytes;
        check_at(443, &[(0, 100, HELLO), (0, behind(0), HELLO)], &[true, false]);
        check_at(443, &[(0, 100, HELLO), (0, behind(1), HELLO)], &[true, true]);
    }

    /// It asks whether the other end is there, with the byte before the next one.
    #[test]
    fn a_keep_alive_is_not_picked() {
        let row: (u32, &[u8]) = (100, b"\0\x17row of DNS");
        let segments = [
            (SYN, 99, &b""[..]),
            (0, 99, b"\0"),
            (0, row.0, row.1),
            (0, 111, b"\0"),
            (0, 112, b"\0"),
        ];
        check_at(53, &segments, &[false, false, true, false, true]);
        check_at(53, &[(0, 99, b"\0"), (0, row.0, row.1)], &[false, true]);
    }

    #[test]
    fn where_a_direction_begins_is_said_with_its_first_payload() {
        let begins_at = |segments: &[(u8, u32, &[u8])]| {
            let mut picks = Picks::default();
            let said = segments.iter().map(|&(flags, sequence, bytes)| {
                let tcp = TcpHeader::new(flags, sequence, 0, 1);
                let packet = Packet { tcp, ..packet(TCP, [40_000, 53], bytes) };
                picks.picks(&packet, bytes).then(|| picks.begins_at()).flatten()
            });
            said.collect::<Vec<_>>()
        };
        let syn: (u8, u32, &[u8]) = (SYN, u32::MAX - 3, b"");
        let (first, second) = (u32::MAX - 2, 8);
        let all = [syn, (0, second, REST), (0, first, REST)];
        assert_eq!(begins_at(&all), [None, Some(first), None]);
        assert_eq!(begins_at(&[syn, (0, first, REST)]), [None, Some(first)]);
        assert_eq!(begins_at(&all[1..]), [None, None], "its SYN was not seen");
        assert_eq!(begins_at(&[(SYN, 99, REST), (0, 111, REST)]), [Some(100), None]);
    }

    #[test]
    fn behind_a_whole_hello_nothing_is_looked_at_until_the_next_connection() {
        let client: &[u8] = b"\x16\x03\x01\0\x04\x01\0\0\0";
        let mut server = [&b"\x16\x03\x03\0\x2c\x02\0\0\x28\x03\x03"[..], &[0; 38]].concat();
        for (cipher, follow_ups) in [(0x13, 0), (0xc0, 3)] {
            server[5 + 4 + 35] = cipher;
            for (hello, left) in [(client, 0), (&server, follow_ups)] {
                let segments = [(SYN, b"".as_slice()), (0, hello), (0, REST), (0, REST), (0, REST)];
                let again = [(0, hello), (SYN, b""), (0, hello)];
                let rest = [false, true, left > 0, left > 0, left > 0, left > 0, false, true];
                check(443, &[&segments[..], &again].concat(), &rest);
            }
        }
    }

    #[test]
    fn data_on_a_syn_is_picked_and_not_again_where_the_server_did_not_take_it() {
        check_at(9_999, &[(SYN, 99, HELLO), (0, 106, REST)], &[true, true]);
        check_at(9_999, &[(SYN, 99, HELLO), (0, 100, HELLO)], &[true, false]);
        check_at(9_999, &[(SYN, 99, REST), (0, 111, REST)], &[false, false]);
    }

    /// Places are few, and flows meet in them: they do so alike in each run.
    #[test]
    fn a_place_does_not_depend_on_the_run() {
        let here = packet(TCP, [40_000, 443], b"");
        let hashed_otherwise = Packet { hash: !here.hash, ..here };
        assert_eq!(place_and_tag(&here), place_and_tag(&hashed_otherwise));
        let ports = 1_000..5_000_u16;
        let places = ports.clone().map(|port| place_and_tag(&packet(TCP, [port, 443], b"")));
        let places: HashSet<_> =
            places.map(|[place, _]| usize::from(place) % PICK_PLACES).collect();
        // By chance 3,150 of 8,192.
        assert!(places.len() > 2_900, "{} places of {} flows", places.len(), ports.len());
    }

    #[test]
    fn behind_a_greeting_only_a_handshake_is_picked() {
        let words: [(u8, &[u8]); 3] = [(0, b"EHLO me\r\n"), (0, b"NOOP\r\n"), (0, b"STARTTLS\r\n")];
        let handshake = [(0, HELLO), (0, REST), (0, REST), (0, REST), (0, REST)];
        let segments = [&[(SYN, b"".as_slice())], &words[..], &handshake].concat();
        let want = [false, true, false, false, true, true, true, true, false];
        check(25, &segments, &want);
    }

    #[test]
    fn after_so_many_payloads_nothing_is_looked_at_until_the_next_connection() {
        // What does not look as if it began a handshake is not looked at.
        let mut segments = vec![(SYN, b"".as_slice())];
        segments.extend(vec![(0, REST); 2 * NAME_LOOKS as usize]);
        let mut want = vec![false; segments.len()];
        check(9_999, &[&segments[..], &[(0, HELLO)]].concat(), &[&want[..], &[true]].concat());
        segments.extend(vec![(0, b"\x16rest of it".as_slice()); NAME_LOOKS as usize]);
        segments.extend([(0, HELLO), (SYN, b"".as_slice()), (0, HELLO)]);
        want.resize(segments.len(), false);
        *want.last_mut().unwrap() = true;
        check(9_999, &segments, &want);
        check(53, &[(0, REST); 100], &[true; 100]);
    }
}
