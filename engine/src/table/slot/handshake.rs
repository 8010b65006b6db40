//! How long the steps of a TCP handshake took, seen from where the packets were captured.
//!
//! | time | from | to |
//! |---|---|---|
//! | server's | the SYN, the flow's first packet | the first SYN/ACK, which acknowledges it |
//! | client's | that SYN/ACK | the initiator's first ACK, which acknowledges that |
//!
//! Both are ambiguous, and given for no flow, where SYN or SYN/ACK was sent again, also after that
//! ACK (what Karn's algorithm says of segments: RFC 6298 section 3), where both ends sent a SYN
//! (RFC 9293 section 3.5), or where the SYN was not the flow's first packet. They are differences
//! of capture timestamps: none without timestamps, and none that would be negative.

use crate::decode::{Packet, TcpHeader};
use crate::flow::RoundTrip;
use crate::flow::record::tcp_flags::{ACK, RST, SYN};
use crate::table::slot::{Marks, Origin, Slot};
use crate::time::Timestamp;

const SYN_ACK: u8 = SYN | ACK;

impl Slot {
    /// Times a step of the handshake, if the packet is one. `follow` has not seen it yet.
    pub(super) fn time_handshake(&self, origin: &mut Origin, packet: &Packet, tcp: TcpHeader) {
        let [server, client] = origin.handshake;
        if client != RoundTrip::UNKNOWN {
            let is_syn = tcp.flags() & (SYN | RST) == SYN;
            if is_syn && self.is_known_syn(origin, packet.direction.idx(), tcp) {
                origin.handshake = [RoundTrip::AMBIGUOUS; 2];
            }
            return;
        }
        let initiator = self.marks.direction(Marks::INITIATOR_REVERSE);
        let responder = initiator.opposite();
        let acknowledges = |way| self.acknowledges_syn(origin, way, tcp);
        match (tcp.flags() & (SYN | ACK | RST), packet.direction == initiator) {
            (SYN, true) if self.is_single => {}
            (SYN_ACK, false)
                if acknowledges(initiator.idx())
                    && !self.marks.has(Marks::SYNS[responder.idx()]) =>
            {
                origin.handshake[0] = self.elapsed(origin, packet.timestamp, 0);
            }
            (SYN | SYN_ACK, _) => origin.handshake = [RoundTrip::AMBIGUOUS; 2],
            (ACK, true) if acknowledges(responder.idx()) => {
                if let Some(answered_ns) = server.ns() {
                    let since_syn_ack = self.elapsed(origin, packet.timestamp, answered_ns);
                    origin.handshake[1] = since_syn_ack;
                }
            }
            _ => {}
        }
    }

    /// Whether the segment acknowledges the SYN of the direction `way`, and nothing that was not
    /// sent.
    pub(super) fn acknowledges_syn(&self, origin: &Origin, way: usize, tcp: TcpHeader) -> bool {
        let syn = origin.syn_sequence[way];
        let acknowledged = tcp.acknowledgment().wrapping_sub(syn);
        let sent = self.next_sequence[way].wrapping_sub(syn);
        self.marks.has(Marks::SYNS[way]) && acknowledged > 0 && acknowledged <= sent
    }

    /// The time from so long after the flow's first packet.
    fn elapsed(&self, origin: &Origin, now: Option<Timestamp>, after_ns: u32) -> RoundTrip {
        let Some((start, now)) = origin.flow_start().zip(now) else { return RoundTrip::AMBIGUOUS };
        let then = start.saturating_add(after_ns.into());
        if now >= then { RoundTrip::measured(now.abs_diff(then)) } else { RoundTrip::AMBIGUOUS }
    }
}
