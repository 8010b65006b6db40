//! What a flow counts: a commutative monoid, so that what a core has published of a flow adds
//! up to the same whole in whatever portions that was.
//!
//! Each field combines by sum, minimum, maximum, or, or earliest-wins; [`Delta::EMPTY`]
//! is the identity.

use crate::flow::encapsulation::Number;
use crate::flow::key::Direction;
use crate::flow::round_trip::RoundTrip;
use crate::time::Timestamp;

/// Why a flow, or a part of it, ended: IPFIX flowEndReason (RFC 5102 section 5.11.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// No packet for the idle timeout.
    Idle = 1,
    /// The part reached the active timeout; the flow goes on.
    Active = 2,
    /// The flow's own end was seen (TCP FIN both ways, RST).
    EndDetected = 3,
    /// The meter stopped.
    Forced = 4,
    /// There was no room for more flows.
    Resources = 5,
}

/// What the packets of one direction add up to.
///
/// What TCP's sequence has shown is counted in four bytes, of which there are few in a part of
/// a flow; it stays at the highest number if there ever are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideCounts {
    /// Packets.
    pub packets: u64,
    /// Bytes, by IP length.
    pub bytes: u64,
    /// Bytes, by frame length on the wire.
    pub frame_bytes: u64,
    /// Bytes above the transport header.
    pub payload_bytes: u64,
    /// Packets that are later fragments of a datagram.
    pub fragments: u64,
    /// TCP segments that were sent before.
    pub retransmits: u32,
    /// TCP segments that came after later ones, and had not been sent before.
    pub out_of_order: u32,
    /// TCP segments with a window of 0.
    pub zero_windows: u32,
    /// All TCP flag bytes, or-ed.
    pub tcp_flags: u8,
    /// The least time to live, or hop limit; above the greatest one if no packet was looked at.
    pub ttl_min: u8,
    /// The greatest one.
    pub ttl_max: u8,
    /// Differentiated services code point of the flow's first packet in this direction (not
    /// this part's), or [`SideCounts::NO_DSCP`].
    pub dscp: u8,
}

impl Default for SideCounts {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl SideCounts {
    /// More than fits six bits: no packet was looked at.
    pub const NO_DSCP: u8 = u8::MAX;

    /// Nothing counted.
    pub const EMPTY: Self = Self {
        packets: 0,
        bytes: 0,
        frame_bytes: 0,
        payload_bytes: 0,
        fragments: 0,
        retransmits: 0,
        out_of_order: 0,
        zero_windows: 0,
        tcp_flags: 0,
        ttl_min: u8::MAX,
        ttl_max: u8::MIN,
        dscp: Self::NO_DSCP,
    };

    /// The least and the greatest time to live, if any packet was looked at.
    #[must_use]
    pub fn ttl(&self) -> Option<(u8, u8)> {
        (self.ttl_min <= self.ttl_max).then_some((self.ttl_min, self.ttl_max))
    }

    fn combine(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.frame_bytes += other.frame_bytes;
        self.payload_bytes += other.payload_bytes;
        self.fragments += other.fragments;
        self.retransmits = self.retransmits.saturating_add(other.retransmits);
        self.out_of_order = self.out_of_order.saturating_add(other.out_of_order);
        self.zero_windows = self.zero_windows.saturating_add(other.zero_windows);
        self.tcp_flags |= other.tcp_flags;
        self.ttl_min = self.ttl_min.min(other.ttl_min);
        self.ttl_max = self.ttl_max.max(other.ttl_max);
        self.dscp = self.dscp.min(other.dscp);
    }
}

/// What the order of TCP's packets has shown; or-ed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpEvents(pub u8);

impl TcpEvents {
    /// A FIN went each way before any RST.
    pub const CLOSED: Self = Self(1);
    /// A RST came before both FINs.
    pub const RESET: Self = Self(2);
    /// The handshake was finished, or was over before what was seen.
    pub const ESTABLISHED: Self = Self(4);
    /// A SYN was seen.
    pub const OPENED: Self = Self(8);

    /// Whether all events of `other` are in this set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the events of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// How a flow began: what only its first packet can say.
///
/// The order of the fields is the order in which [`Delta::combine`] decides which of two
/// openings is the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// Timestamp of the flow's first packet (not this part's).
    pub flow_start: Option<Timestamp>,
    /// Place of the flow's first packet in the input, modulo 2^32: what tells apart flows of
    /// one key that begin at the same time.
    pub ordinal: u32,
    /// The direction of the initiator's packets.
    pub initiator: Direction,
    /// Source and destination MAC address of the flow's first packet, as far as it had
    /// them, and how it was sent.
    pub macs: [Option<[u8; 6]>; 2],
    /// The direction of that first packet, which the MAC addresses belong to.
    pub first_packet: Direction,
    /// ICMP type and code of the first packet.
    pub icmp: Option<(u8, u8)>,
    /// Where the first packet was captured: a number in the run's list of interfaces.
    pub interface: u16,
    /// What carried the first packet, by its number in the run's list. Last, as the number itself
    /// says nothing.
    pub encapsulation: Option<Number>,
}

/// Everything that a flow counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    /// Counts of the forward and of the reverse direction.
    pub sides: [SideCounts; 2],
    /// Earliest timestamp; [`Timestamp::MAX`] if no packet had one.
    pub first: Timestamp,
    /// Latest timestamp; [`Timestamp::MIN`] if no packet had one.
    pub last: Timestamp,
    /// 0 for the first part of a flow, then counted up by whoever cuts its record; the
    /// highest wins. Cores leave it at 0.
    pub part: u32,
    /// The earliest opening among the parts that were added up.
    pub opening: Option<Opening>,
    /// From the SYN to the SYN/ACK, and from there to the ACK, once they are known.
    pub handshake: [RoundTrip; 2],
    /// TCP events.
    pub tcp: TcpEvents,
    /// Why it ended, once it has: then every packet of it is counted.
    pub end: Option<EndReason>,
}

impl Delta {
    /// Nothing counted: the identity of [`Delta::combine`].
    pub const EMPTY: Self = Self {
        sides: [SideCounts::EMPTY; 2],
        first: Timestamp::MAX,
        last: Timestamp::MIN,
        part: 0,
        opening: None,
        handshake: [RoundTrip::UNKNOWN; 2],
        tcp: TcpEvents(0),
        end: None,
    };

    /// Adds `other` to this. Associative and commutative.
    pub fn combine(&mut self, other: &Self) {
        self.sides[0].combine(&other.sides[0]);
        self.sides[1].combine(&other.sides[1]);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.part = self.part.max(other.part);
        self.opening = match (self.opening, other.opening) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.handshake = [0, 1].map(|step| self.handshake[step].max(other.handshake[step]));
        self.tcp.insert(other.tcp);
        self.end = self.end.max(other.end);
    }

    /// What stays of a record when the counts so far become a part of their own: how the flow
    /// began, and how far its connection has come.
    #[must_use]
    pub fn continued(&self) -> Self {
        let sides = self.sides.map(|side| SideCounts { dscp: side.dscp, ..SideCounts::EMPTY });
        let (opening, handshake, tcp) = (self.opening, self.handshake, self.tcp);
        Self { part: self.part + 1, sides, opening, handshake, tcp, ..Self::EMPTY }
    }

    /// Packets of both directions.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.sides[0].packets + self.sides[1].packets
    }

    /// Whether the flow has ended: no packet of it is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| end != EndReason::Active)
    }

    /// Whether this holds the flow from its first packet to its last.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.opening.is_some() && self.is_complete()
    }

    /// Whether a part of the flow ends with this, and the flow goes on.
    #[must_use]
    pub fn ends_part(&self) -> bool {
        self.end == Some(EndReason::Active)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side() -> impl Strategy<Value = SideCounts> {
        let counts = (0u64..9, 0u64..9, 0u64..9, 0u64..9, 0u64..9);
        let segments = [0, 1, 9, u32::MAX - 1, u32::MAX];
        let segments = || prop::sample::select(segments.to_vec());
        let headers = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>());
        (counts, (segments(), segments(), segments()), headers).prop_map(
            |(
                (packets, bytes, frame_bytes, payload_bytes, fragments),
                (retransmits, out_of_order, zero_windows),
                (tcp_flags, ttl_min, ttl_max, dscp),
            )| SideCounts {
                packets,
                bytes,
                frame_bytes,
                payload_bytes,
                fragments,
                retransmits,
                out_of_order,
                zero_windows,
                tcp_flags,
                ttl_min,
                ttl_max,
                dscp,
            },
        )
    }

    fn handshake() -> impl Strategy<Value = [RoundTrip; 2]> {
        let known = [
            RoundTrip::UNKNOWN,
            RoundTrip::measured(0),
            RoundTrip::measured(7),
            RoundTrip::AMBIGUOUS,
        ];
        let step = || prop::sample::select(known.to_vec());
        (step(), step()).prop_map(|(server, client)| [server, client])
    }

    fn direction() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Direction::Forward), Just(Direction::Reverse)]
    }

    fn opening() -> impl Strategy<Value = Opening> {
        let mac = || proptest::option::of(any::<[u8; 6]>());
        (
            proptest::option::of(-3i64..3),
            0u32..3,
            direction(),
            (mac(), mac()),
            direction(),
            proptest::option::of(any::<(u8, u8)>()),
        )
            .prop_map(|(flow_start, ordinal, initiator, (a, b), first_packet, icmp)| {
                Opening {
                    flow_start,
                    ordinal,
                    initiator,
                    macs: [a, b],
                    first_packet,
                    icmp,
                    interface: 0,
                    encapsulation: None,
                }
            })
    }

    fn end() -> impl Strategy<Value = EndReason> {
        use EndReason::{Active, EndDetected, Forced, Idle, Resources};
        prop::sample::select(vec![Idle, Active, EndDetected, Forced, Resources])
    }

    /// Any delta, from few values, so that ties come up.
    pub(crate) fn delta() -> impl Strategy<Value = Delta> {
        (
            (side(), side()),
            (any::<i64>(), any::<i64>()),
            (0u32..3, proptest::option::of(opening())),
            handshake(),
            0u8..16,
            proptest::option::of(end()),
        )
            .prop_map(|((a, b), (first, last), (part, opening), handshake, tcp, end)| {
                Delta {
                    sides: [a, b],
                    first,
                    last,
                    part,
                    opening,
                    handshake,
                    tcp: TcpEvents(tcp),
                    end,
                }
            })
    }

    fn sum(parts: &[&Delta]) -> Delta {
        let mut whole = Delta::EMPTY;
        parts.iter().for_each(|part| whole.combine(part));
        whole
    }

    proptest! {
        #[test]
        fn combining_is_associative(a in delta(), b in delta(), c in delta()) {
            prop_assert_eq!(sum(&[&sum(&[&a, &b]), &c]), sum(&[&a, &sum(&[&b, &c])]));
        }

        #[test]
        fn combining_is_commutative(a in delta(), b in delta()) {
            prop_assert_eq!(sum(&[&a, &b]), sum(&[&b, &a]));
        }

        #[test]
        fn the_empty_delta_is_the_identity(a in delta()) {
            let mut left = Delta::EMPTY;
            left.combine(&a);
            let mut right = a;
            right.combine(&Delta::EMPTY);
            prop_assert_eq!(left, a);
            prop_assert_eq!(right, a);
        }
    }
}
