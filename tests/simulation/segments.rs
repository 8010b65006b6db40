//! The reference for what TCP's sequence and handshake show: written from the rules, with plain
//! numbers instead of a slot's few bytes.

use flowtap::decode::{Packet, TcpHeader};
use flowtap::flow::SideCounts;
use flowtap::flow::record::tcp_flags::{ACK, FIN, RST, SYN};
use flowtap::limits::REORDERED_SEGMENT_NS;
use flowtap::time::Timestamp;

/// The most that a handshake's step may take, in ns.
const LONGEST: i128 = u32::MAX as i128 - 2;

/// What is known of a connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// By direction: how far it has reached, and the latest SYN.
    next: [Option<u32>; 2],
    /// Whether a segment has come that is too far from there.
    is_lost: [bool; 2],
    syns: [Option<u32>; 2],
    /// Whether that SYN, or one like it, had an ACK.
    answers: [bool; 2],
    gap: Option<Gap>,
    /// When the first packet came, if that was the initiator's SYN.
    began: Option<Timestamp>,
    is_ambiguous: bool,
    answered: Option<Timestamp>,
    steps: [Option<u32>; 2],
    is_acknowledged: bool,
}

#[derive(Debug)]
struct Gap {
    way: usize,
    opened: Timestamp,
    start: u32,
    bytes: u32,
}

impl Connection {
    /// The handshake's steps, as far as they are known.
    pub(crate) fn handshake(&self) -> [Option<u32>; 2] {
        if self.is_ambiguous { [None; 2] } else { self.steps }
    }

    /// Where this direction goes on, if that is known.
    pub(crate) fn next(&self, way: usize) -> Option<u32> {
        self.next[way].filter(|_| !self.is_lost[way])
    }

    /// Takes a segment in, and counts what it is. `initiator` is a direction; `is_first` says
    /// whether the flow begins with it, `is_half_open` whether the handshake goes on.
    pub(crate) fn count(
        &mut self,
        side: &mut SideCounts,
        packet: &Packet,
        tcp: TcpHeader,
        (initiator, is_first): (usize, bool),
        is_half_open: bool,
    ) {
        self.place(side, packet, tcp, is_half_open);
        self.time(packet, tcp, initiator, is_first);
        if tcp.flags() & SYN != 0 {
            let way = packet.direction.idx();
            let before = self.syns[way].replace(tcp.sequence());
            let is_same = before == Some(tcp.sequence());
            self.answers[way] = tcp.flags() & ACK != 0 || (is_same && self.answers[way]);
        }
    }

    fn place(
        &mut self,
        side: &mut SideCounts,
        packet: &Packet,
        tcp: TcpHeader,
        is_half_open: bool,
    ) {
        let way = packet.direction.idx();
        let has = |flag| tcp.flags() & flag != 0;
        if tcp.window() == 0 && !has(SYN) && !has(RST) {
            side.zero_windows += 1;
        }
        if has(RST) {
            return;
        }
        let flags = u32::from(has(SYN)) + u32::from(has(FIN));
        let bytes = packet.payload_bytes + flags;
        let end = tcp.sequence().wrapping_add(bytes);
        if has(SYN) && self.syns[way] == Some(tcp.sequence()) {
            side.retransmits += u32::from(self.answers[way] || !has(ACK));
            return;
        }
        let next = self.next[way].filter(|_| !has(SYN) && !self.is_lost[way]);
        let Some(next) = next else {
            self.is_lost[way] = has(SYN) && !is_half_open;
            self.gap.take_if(|gap| gap.way == way);
            self.next[way] = Some(end);
            return;
        };
        let from_next = tcp.sequence().wrapping_sub(next).cast_signed();
        let end_from_next = end.wrapping_sub(next).cast_signed();
        if from_next >= 1 << 30 || from_next <= -1 << 30 {
            self.is_lost[way] = true;
            return;
        }
        if from_next > 0 {
            self.leave_out(packet, next, tcp.sequence().wrapping_sub(next));
        }
        if from_next >= 0 || end_from_next > 0 {
            self.next[way] = Some(end);
            return;
        }
        let is_keep_alive = from_next == -1 && bytes <= 1 && flags == 0;
        if bytes == 0 || is_keep_alive {
            return;
        }
        if self.takes_from_gap(packet, tcp.sequence(), bytes) {
            side.out_of_order += 1;
        } else {
            side.retransmits += 1;
        }
    }

    fn soon(&self) -> i128 {
        match self.handshake() {
            [Some(server), Some(client)] => i128::from(server) + i128::from(client),
            _ => REORDERED_SEGMENT_NS.into(),
        }
    }

    fn leave_out(&mut self, packet: &Packet, start: u32, bytes: u32) {
        let (way, soon) = (packet.direction.idx(), self.soon());
        let end = start.wrapping_add(bytes);
        if let (Some(gap), Some(now)) = (&mut self.gap, packet.timestamp)
            && gap.way == way
            && i128::from(now) - i128::from(gap.opened) <= soon
        {
            gap.bytes = end.wrapping_sub(gap.start);
            self.gap.take_if(|gap| gap.bytes == 0);
            return;
        }
        self.gap = packet.timestamp.map(|opened| Gap { way, opened, start, bytes });
    }

    /// Whether the segment is out of order. What is missing gets less in any case.
    fn takes_from_gap(&mut self, packet: &Packet, sequence: u32, bytes: u32) -> bool {
        let soon = self.soon();
        let way = packet.direction.idx();
        let Some(gap) = self.gap.as_mut().filter(|gap| gap.way == way) else { return false };
        let at = sequence.wrapping_sub(gap.start);
        if at >= gap.bytes {
            return false;
        }
        let after = gap.bytes - at;
        let is_soon =
            packet.timestamp.is_some_and(|now| i128::from(now) - i128::from(gap.opened) <= soon);
        if bytes >= after {
            gap.bytes = at;
        } else if at == 0 {
            gap.start = sequence.wrapping_add(bytes);
            gap.bytes -= bytes;
        }
        self.gap.take_if(|gap| gap.bytes == 0);
        is_soon
    }

    /// Whether the segment acknowledges the SYN of this direction, and nothing that was not sent.
    pub(crate) fn acknowledges_syn(&self, way: usize, tcp: TcpHeader) -> bool {
        self.syns[way].zip(self.next[way]).is_some_and(|(syn, next)| {
            let acknowledged = tcp.acknowledgment().wrapping_sub(syn);
            (1..=next.wrapping_sub(syn)).contains(&acknowledged)
        })
    }

    fn time(&mut self, packet: &Packet, tcp: TcpHeader, initiator: usize, is_first: bool) {
        let is_initiators = packet.direction.idx() == initiator;
        if self.is_acknowledged && tcp.flags() & (SYN | RST) == SYN {
            self.is_ambiguous |= self.syns[packet.direction.idx()] == Some(tcp.sequence());
        }
        if self.is_ambiguous || self.is_acknowledged {
            return;
        }
        let since = |then: Option<Timestamp>| {
            let ns = i128::from(packet.timestamp?) - i128::from(then?);
            (0..=LONGEST).contains(&ns).then(|| u32::try_from(ns).expect("in range"))
        };
        let acknowledges = |way: usize| self.acknowledges_syn(way, tcp);
        let responder = 1 - initiator;
        match (tcp.flags() & (SYN | ACK | RST), is_initiators) {
            (SYN, true) if is_first => self.began = packet.timestamp,
            (flags, false)
                if flags == SYN | ACK
                    && acknowledges(initiator)
                    && self.syns[responder].is_none() =>
            {
                self.steps[0] = since(self.began);
                self.answered = packet.timestamp;
            }
            (flags, _) if flags & SYN != 0 && flags & RST == 0 => self.is_ambiguous = true,
            (ACK, true) if acknowledges(responder) && self.steps[0].is_some() => {
                self.steps[1] = since(self.answered);
                self.is_acknowledged = true;
            }
            _ => {}
        }
    }
}
