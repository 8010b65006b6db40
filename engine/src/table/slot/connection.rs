//! How a TCP connection goes on and ends, by the flags of its segments (RFC 9293 section 3.3.2),
//! and whether a SYN begins another one on its ports.

use crate::decode::{Packet, TcpHeader};
use crate::flow::Direction;
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::table::slot::sequence::LARGEST_WINDOW;
use crate::table::slot::{Marks, Origin, Phase, Slot};

/// What can be sent behind a SYN before it is answered, and so overtake it: the SYN itself, and a
/// window without a scale (RFC 7323 section 2.2).
const OVERTAKING_BYTES: u32 = 1 << 16;

impl Slot {
    /// Whether `packet` begins another connection on the ports of this one: after its end, or that
    /// of what the packet's sender had to say. Only one of the two may have been seen.
    ///
    /// A SYN with an ACK does if there was another before it: the first may be a late answer. But
    /// a SYN that is sent again after a reset goes on with its connection, and so does its answer.
    ///
    /// To an open connection a SYN is a stray, which its receiver does not take (RFC 5961 section
    /// 4). If it is answered with a SYN/ACK, the connection's end was not captured; as the SYN is
    /// counted by then, the other connection begins with its answer. If a RST comes instead, from
    /// who has lost a connection and hears that its peer has not (RFC 9293 section 3.5.1), the SYN
    /// that is sent again begins the other one.
    #[inline]
    pub(in crate::table) fn is_ended_by(&self, packet: &Packet, origin: &Origin) -> bool {
        packet.tcp.has(SYN) && self.is_ended_by_syn(packet, origin)
    }

    #[inline(never)]
    fn is_ended_by_syn(&self, packet: &Packet, origin: &Origin) -> bool {
        let (tcp, way) = (packet.tcp, packet.direction.idx());
        let has_ended = self.phase == Phase::Finished || self.marks.has(Marks::FINS[way]);
        let may_begin = !tcp.has(ACK) || self.marks.has(Marks::SYNS[way]);
        let is_known = self.is_known_syn(origin, way, tcp);
        let was_stray = is_known && !tcp.has(ACK) && origin.has_had_stray();
        let begins = has_ended
            && may_begin
            && (!is_known || was_stray)
            && !self.is_taken_up(origin, packet.direction, tcp);
        begins || !is_known && self.is_answer_to_stray(origin, packet.direction, tcp)
    }

    /// Whether the segment answers a SYN that has come to this connection while it was open.
    fn is_answer_to_stray(&self, origin: &Origin, direction: Direction, tcp: TcpHeader) -> bool {
        let other = direction.opposite().idx();
        self.phase == Phase::Open
            && origin.has_had_stray()
            && tcp.has(ACK)
            && self.marks.has(Marks::SYNS[other])
            && tcp.acknowledgment() == origin.syn_sequence[other].wrapping_add(1)
    }

    /// Takes note of a SYN to the connection while it is open, but for its own one, also if that was
    /// overtaken. Its sequence is as it was before.
    pub(super) fn note_stray(&self, origin: &mut Origin, way: usize, tcp: TcpHeader) {
        if tcp.flags() & (SYN | ACK) != SYN || self.phase != Phase::Open {
            return;
        }
        let behind = self.next_sequence[way].wrapping_sub(tcp.sequence());
        let is_overtaken =
            self.marks.has(Marks::SEQUENCES[way]) && (1..=OVERTAKING_BYTES).contains(&behind);
        if !is_overtaken && !self.is_known_syn(origin, way, tcp) {
            origin.set_had_stray();
        }
    }

    /// Whether this SYN of the direction `way` has the number of its latest one.
    pub(super) fn is_known_syn(&self, origin: &Origin, way: usize, tcp: TcpHeader) -> bool {
        self.marks.has(Marks::SYNS[way]) && origin.syn_sequence[way] == tcp.sequence()
    }

    /// Follows the connection's state.
    ///
    /// The handshake is over once the initiator acknowledges the responder's SYN, or if that was not
    /// seen, anything; or once the responder, behind its SYN, sends data or a FIN or acknowledges
    /// more than with it: it has had the other's answer, also where only one direction is seen.
    pub(super) fn follow(&mut self, origin: &mut Origin, packet: &Packet, tcp: TcpHeader) {
        let direction = packet.direction;
        if tcp.has(SYN) {
            self.follow_syn(origin, direction, tcp);
        }
        self.follow_end(direction, tcp.flags());
        let is_initiators = direction == self.marks.direction(Marks::INITIATOR_REVERSE);
        if tcp.flags() & (SYN | ACK) == ACK
            && self.phase == Phase::HalfOpen
            && if is_initiators {
                self.is_behind_syns(origin, direction, tcp)
            } else {
                self.has_had_answer(origin, packet, tcp)
            }
        {
            self.phase = Phase::Open;
        }
        self.marks.add_if(self.phase == Phase::Open, Marks::ESTABLISHED);
    }

    fn follow_syn(&mut self, origin: &mut Origin, direction: Direction, tcp: TcpHeader) {
        let [way, other] = [direction, direction.opposite()].map(Direction::idx);
        if self.is_taken_up(origin, direction, tcp) {
            self.phase = Phase::HalfOpen;
            Marks::FINS.iter().for_each(|&fin| self.marks.remove(fin));
            origin.set_tried_again(false);
        } else if self.is_reset() && !tcp.has(ACK) {
            origin.set_tried_again(true);
        }
        if !self.is_known_syn(origin, way, tcp) {
            // What it has ended before was another connection.
            self.marks.remove(Marks::FINS[way]);
        }
        origin.note_syn(way, tcp);
        if tcp.has(ACK) && !self.marks.has(Marks::SYNS[other]) {
            // What it answers was not seen, and has this number.
            origin.syn_sequence[other] = tcp.acknowledgment().wrapping_sub(1);
        }
        self.marks.add_if(true, Marks::SYNS[way]);
        self.marks.add_if(true, Marks::OPENED);
    }

    /// Whether RST is all that has ended the connection.
    fn is_reset(&self) -> bool {
        self.phase == Phase::Finished && !self.marks.has(Marks::CLOSED)
    }

    /// Whether the segment answers a SYN that was sent again after a reset: by a client that was
    /// refused, or whose RST has ended what the server still had of an older connection (RFC 9293
    /// section 3.5.1).
    fn is_taken_up(&self, origin: &Origin, direction: Direction, tcp: TcpHeader) -> bool {
        self.is_reset()
            && origin.was_tried_again()
            && tcp.flags() & (SYN | ACK) == SYN | ACK
            && self.acknowledges_syn(origin, direction.opposite().idx(), tcp)
    }

    /// Whether an ACK is of this connection, and not of an older one on its ports: it stands, and
    /// what it acknowledges does, behind those SYNs that were seen. How far is left open, but for
    /// what no window reaches: what came between may not have been captured.
    fn is_behind_syns(&self, origin: &Origin, direction: Direction, tcp: TcpHeader) -> bool {
        let is_behind = |way: usize, number: u32| {
            let ahead = number.wrapping_sub(origin.syn_sequence[way]);
            !self.marks.has(Marks::SYNS[way]) || (1..LARGEST_WINDOW).contains(&ahead)
        };
        is_behind(direction.idx(), tcp.sequence())
            && is_behind(direction.opposite().idx(), tcp.acknowledgment())
    }

    /// Whether a segment of the responder's shows that it has had the answer to its SYN.
    fn has_had_answer(&self, origin: &Origin, packet: &Packet, tcp: TcpHeader) -> bool {
        let direction = packet.direction;
        let [way, other] = [direction, direction.opposite()].map(Direction::idx);
        let answered = origin.syn_sequence[other].wrapping_add(1);
        let more = tcp.acknowledgment().wrapping_sub(answered).cast_signed();
        // Of a SYN that was seen it may be data that came with it.
        let acknowledges_more = !self.marks.has(Marks::SYNS[other]) && more > 0;
        self.marks.has(Marks::SYNS[way])
            && (packet.payload_bytes > 0 || tcp.has(FIN) || acknowledges_more)
    }

    /// Follows how the connection ends, if the packet with these flags does that.
    #[inline]
    pub(super) fn follow_end(&mut self, direction: Direction, flags: u8) {
        self.marks.add_if(flags & FIN != 0, Marks::FINS[direction.idx()]);
        if self.phase == Phase::Finished {
            return;
        }
        if Marks::FINS.iter().all(|&fin| self.marks.has(fin)) {
            self.phase = Phase::Finished;
            self.marks.add_if(true, Marks::CLOSED);
        } else if flags & RST != 0 {
            self.phase = Phase::Finished;
            self.marks.add_if(true, Marks::RESET);
        }
    }
}
