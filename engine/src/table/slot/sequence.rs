//! What the sequence numbers of a TCP flow show: segments sent again, out of order, and
//! windows of 0, counted for whoever sent them.
//!
//! A segment takes its payload, SYN and FIN in the sequence (RFC 9293 section 3.4), and all
//! comparisons are modulo 2^32. *Next* is what its direction is expected to send: the end of
//! the segment that reached furthest.
//!
//! | segment | counts as |
//! |---|---|
//! | begins at *next* | in order |
//! | begins above *next* | in order: it leaves a gap, which is remembered |
//! | begins below *next*, ends above it | in order: it brings something new |
//! | below *next*, in the gap, soon | out of order: another has overtaken it |
//! | below *next*, in the gap, later | sent again: it was lost before it came here |
//! | below *next*, elsewhere | sent again |
//! | up to one byte just below *next*, no FIN | nothing: a keep-alive (RFC 9293 section 3.8.4) |
//! | empty and below *next* | nothing: a late acknowledgement |
//! | SYN with the sequence number of the latest SYN of its direction | sent again |
//! | the first such SYN with an ACK, if none had one before | nothing: both ends opened at once |
//! | any other SYN once the handshake is over | in order: what follows says where *next* is |
//! | any other SYN, or the first segment seen of a direction | in order: *next* begins there |
//! | 2^30 bytes or more from *next*, either way | in order: what follows says where *next* is |
//! | RST | nothing, and *next* stays (RFC 9293 section 3.5.3) |
//! | window 0, neither SYN nor RST | a window of 0, whatever its scale, besides all the above |
//!
//! *Soon* is within the round trip of the flow's handshake, as nobody can send again what was
//! lost before that has passed, or within [`REORDERED_SEGMENT_NS`] if it was not seen. A flow
//! remembers one gap, the most recent one; while that is fresh further gaps in the same
//! direction extend it. Without timestamps there are no gaps, and what is late was sent again.
//!
//! In a simultaneous open each end answers the other's SYN with a SYN/ACK of the same sequence number
//! (RFC 9293 section 3.5).
//!
//! Within a window of *next* is all that can be in flight, and no window reaches 2^30 bytes (RFC
//! 7323 section 2.3). What is further off is of another connection, made up, or behind much that
//! was not captured; one such segment says nothing, and the one after it says where it goes on.
//! So it is with a SYN on an open connection: its receiver does not take it (RFC 5961 section 4).
//!
//! A probe of a closed window (RFC 9293 section 3.8.6.1) brings a byte that is new once, and
//! then looks like a keep-alive. What SACK says (RFC 2018) is not looked at: the sequence
//! shows what was sent again, asked for or not. Later fragments have no TCP header: a segment
//! in fragments is as long as the first of them.

use crate::decode::{Packet, TcpHeader};
use crate::flow::RoundTrip;
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::limits::REORDERED_SEGMENT_NS;
use crate::table::slot::{Marks, Origin, Phase, Slot};
use crate::time::Timestamp;

/// No window is as large.
pub(super) const LARGEST_WINDOW: u32 = 1 << 30;

/// What one direction has counted since the slot was last published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::table) struct Odd {
    pub(super) retransmits: u16,
    pub(super) out_of_order: u16,
    pub(super) zero_windows: u16,
}

impl Odd {
    /// Whether a segment can be counted, whatever it is.
    pub(super) fn has_room(self) -> bool {
        [self.retransmits, self.out_of_order, self.zero_windows].iter().all(|&n| n < u16::MAX)
    }
}

/// A piece that is missing in a sequence, modulo 2^32: nothing is if it is empty.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::table) struct Gap {
    opened: Timestamp,
    start: u32,
    end: u32,
}

impl Gap {
    fn is_open(self) -> bool {
        self.start != self.end
    }

    fn has(self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.start) < self.end.wrapping_sub(self.start)
    }

    /// Whether it was opened so short a time before `now`; also if that was after it.
    fn is_fresh(self, now: Option<Timestamp>, within_ns: u64) -> bool {
        now.is_some_and(|now| now <= self.opened || now.abs_diff(self.opened) <= within_ns)
    }

    /// Takes a piece that begins in it away from either end. From its middle nothing is taken.
    fn fill(&mut self, sequence: u32, end: u32) {
        let reaches_end = end.wrapping_sub(sequence) >= self.end.wrapping_sub(sequence);
        if sequence == self.start {
            self.start = if reaches_end { self.end } else { end };
        } else if reaches_end {
            self.end = sequence;
        }
    }
}

impl Slot {
    /// Counts a segment by its place in its direction's sequence. There is room for it.
    pub(super) fn follow_sequence(&mut self, origin: &mut Origin, packet: &Packet, tcp: TcpHeader) {
        let way = packet.direction.idx();
        if !tcp.has(SYN | RST) && tcp.window() == 0 {
            origin.odd[way].zero_windows += 1;
        }
        if tcp.has(RST) {
            return;
        }
        let (is_syn, sequence) = (tcp.has(SYN), tcp.sequence());
        let len = tcp.sequence_bytes(packet.payload_bytes);
        let end = sequence.wrapping_add(len);
        let next = self.next_sequence[way];
        let ahead = sequence.wrapping_sub(next).cast_signed();
        let is_new = end.wrapping_sub(next).cast_signed() > 0;
        let is_keep_alive = ahead == -1 && len <= 1 && !tcp.has(SYN | FIN);

        if is_syn && self.marks.has(Marks::SYNS[way]) && origin.syn_sequence[way] == sequence {
            let is_answer = tcp.has(ACK) && !origin.has_answered_syn(way);
            origin.odd[way].retransmits += u16::from(!is_answer);
        } else if is_syn || !self.marks.has(Marks::SEQUENCES[way]) {
            if origin.gap_direction == packet.direction {
                origin.gap = Gap::default();
            }
            let is_stray = is_syn && self.phase != Phase::HalfOpen;
            self.next_sequence[way] = end;
            self.marks.remove(Marks::SEQUENCES[way]);
            self.marks.add_if(!is_stray, Marks::SEQUENCES[way]);
        } else if ahead.unsigned_abs() >= LARGEST_WINDOW {
            self.marks.remove(Marks::SEQUENCES[way]);
        } else if ahead > 0 {
            origin.open_gap(packet, next, sequence);
            self.next_sequence[way] = end;
        } else if ahead == 0 || is_new {
            self.next_sequence[way] = end;
        } else if len > 0 && !is_keep_alive {
            origin.count_late(packet, sequence, end);
        }
    }
}

impl Origin {
    fn open_gap(&mut self, packet: &Packet, start: u32, end: u32) {
        let is_known = self.gap.is_open() && self.gap_direction == packet.direction;
        if is_known && self.gap.is_fresh(packet.timestamp, soon_ns(self.handshake)) {
            self.gap.end = end;
            return;
        }
        self.gap_direction = packet.direction;
        self.gap = packet.timestamp.map_or(Gap::default(), |opened| Gap { opened, start, end });
    }

    /// Counts a segment that brings nothing beyond what was seen.
    fn count_late(&mut self, packet: &Packet, sequence: u32, end: u32) {
        let odd = &mut self.odd[packet.direction.idx()];
        let is_in_gap = self.gap_direction == packet.direction && self.gap.has(sequence);
        if is_in_gap && self.gap.is_fresh(packet.timestamp, soon_ns(self.handshake)) {
            odd.out_of_order += 1;
        } else {
            odd.retransmits += 1;
        }
        if is_in_gap {
            self.gap.fill(sequence, end);
        }
    }
}

/// How long a gap is fresh: the round trip from the sender to the receiver and back.
fn soon_ns(handshake: [RoundTrip; 2]) -> u64 {
    match handshake.map(RoundTrip::ns) {
        [Some(server), Some(client)] => u64::from(server) + u64::from(client),
        _ => REORDERED_SEGMENT_NS,
    }
}
