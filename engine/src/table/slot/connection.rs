//! How a TCP connection goes on and ends, by the flags of its segments (RFC 9293 section 3.3.2), and
//! whether a SYN begins another one on its ports.

use crate::decode::{Packet, TcpHeader};
use crate::flow::Direction;
use crate::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use crate::table::slot::{Marks, Origin, Phase, Slot};

impl Slot {
    /// Whether `packet` begins another connection on the ports of this finished one.
    #[inline]
    pub(in crate::table) fn is_ended_by(&self, packet: &Packet, origin: &Origin) -> bool {
        if self.phase != Phase::Finished {
            return false;
        }
        let (tcp, direction) = (packet.tcp, packet.direction.idx());
        let is_known = self.marks.has(Marks::SYNS[direction])
            && origin.syn_sequence[direction] == tcp.sequence();
        tcp.flags() & (SYN | ACK) == SYN && !is_known
    }

    /// Follows the connection's state.
    ///
    /// The handshake is over once the initiator acknowledges, or either end sends data behind
    /// its SYN: it has had the other's answer, also where only one direction is seen.
    pub(super) fn follow(&mut self, origin: &mut Origin, packet: &Packet, tcp: TcpHeader) {
        let direction = packet.direction;
        if tcp.has(SYN) {
            origin.note_syn(direction.idx(), tcp);
            self.marks.add_if(true, Marks::SYNS[direction.idx()]);
            self.marks.add_if(true, Marks::OPENED);
        }
        self.follow_end(direction, tcp.flags());
        let is_initiators = direction == self.marks.direction(Marks::INITIATOR_REVERSE);
        if tcp.flags() & (SYN | ACK) == ACK
            && self.phase == Phase::HalfOpen
            && (is_initiators || packet.payload_bytes > 0)
        {
            self.phase = Phase::Open;
        }
        self.marks.add_if(self.phase == Phase::Open, Marks::ESTABLISHED);
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
