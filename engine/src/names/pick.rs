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
use crate::flow::protocol::{GRE, ICMPV6, IP_IN_IP, IPV6_IN_IP, TCP, UDP};
use crate::flow::record::tcp_flags::SYN;
use crate::flow::{Direction, PortKind};
use crate::limits::{
    LONE_FRAGMENTS, NAME_LOOKS, NAME_PAYLOADS, PICK_HASHES, PICK_PLACES, STREAM_BYTES,
};
use crate::names::interest::{
    OVERTAKEN, Service, beginning, follow_ups, is_greeting, is_last_beginning, may_begin,
    may_want_datagram, port, service, wants,
};
use crate::names::recordings::Ahead;
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
    /// Tells places of one recording from those of the one before it, in which other connections
    /// may have had the same ports and numbers.
    recording: u16,
    ahead: Ahead,
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
            recording: 0,
            ahead: Ahead::default(),
            begins_at: None,
            malformed: 0,
            lone: (0, 0),
            lone_refused: 0,
        }
    }
}

impl Picks {
    /// Whether the payload of `packet` could be picked, or what is in it if it is a tunnel's, of
    /// which `captured` are the bytes that were captured. Of nearly all that are not this says no.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as this")]
    pub fn may_pick(&self, packet: &Packet, captured: &[u8]) -> bool {
        let is_syn = || packet.tcp.has(SYN);
        if packet.payload_bytes == 0 {
            return is_syn() || packet.key.protocol() == ICMPV6;
        }
        if !packet.tcp.is_there() {
            return match packet.key.protocol() {
                UDP => may_want_datagram(packet.key.port_bytes(), captured) | packet.later_fragment,
                protocol => matches!(protocol, ICMPV6 | IP_IN_IP | IPV6_IN_IP | GRE),
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
        if packet.timestamp.is_some_and(|time| self.ahead.begins_another(time, packet.tick)) {
            self.recording = self.recording.wrapping_add(1);
        }
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
        let tag = (tag ^ self.recording).max(1);
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
    let [.., c, d, a, b] = packet.key.mixed().to_le_bytes();
    let place = u16::from_le_bytes([a, b]) ^ u16::from(packet.direction == Direction::Reverse);
    [place, u16::from_le_bytes([c, d])]
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
            Self::GREETED if is_next => wants(TCP, ports(packet), bytes, self.seen.into(), true),
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
mod tests;
