//! What few packets of a flow touch: how it began, and what is odd about it.

use crate::decode::{Packet, TcpHeader};
use crate::flow::record::tcp_flags::ACK;
use crate::flow::{Direction, RoundTrip};
use crate::table::slot::sequence::{Gap, Odd};
use crate::time::Timestamp;

/// What stands beside a slot: written by the first packet of a flow and by those that are not
/// simply the next one, read when the flow is published.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(in crate::table) struct Origin {
    flow_start: Timestamp,
    /// The earliest timestamp of this part, if any packet of it had one.
    pub(super) first: Timestamp,
    /// Sequence number of each direction's latest SYN, or if none was seen, what the other one's
    /// SYN has answered; for ICMP, type and code of the first packet.
    pub(super) syn_sequence: [u32; 2],
    /// See [`crate::flow::Delta::handshake`].
    pub(super) handshake: [RoundTrip; 2],
    /// What was left out of a direction's sequence most recently.
    pub(super) gap: Gap,
    /// By direction: counted since the slot was last published.
    pub(super) odd: [Odd; 2],
    pub(super) ordinal: u32,
    macs: [[u8; 6]; 2],
    pub(super) interface: u16,
    pub(super) gap_direction: Direction,
    /// What the first packet came with, and what has been sent since, in one bit each.
    had: u8,
}

/// Bits of [`Origin::had`].
mod had {
    pub(super) const TIMESTAMP: u8 = 1;
    pub(super) const ICMP: u8 = 2;
    /// Source and destination.
    pub(super) const MACS: [u8; 2] = [4, 8];
    /// By direction: an ACK in a SYN with [`super::Origin::syn_sequence`].
    pub(super) const SYN_ACKS: [u8; 2] = [16, 32];
    /// After a RST a SYN.
    pub(super) const SYN_AGAIN: u8 = 64;
    /// To an open connection a SYN.
    pub(super) const STRAY_SYN: u8 = 128;
}

const _: () = assert!(size_of::<Origin>() == 80);

impl Origin {
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32: see `Opening`")]
    pub(in crate::table) fn new(packet: &Packet) -> Self {
        let (kind, code) = packet.icmp.unwrap_or_default();
        let macs = packet.macs.get();
        let had = u8::from(packet.timestamp.is_some()) * had::TIMESTAMP
            + u8::from(packet.icmp.is_some()) * had::ICMP
            + u8::from(macs[0].is_some()) * had::MACS[0]
            + u8::from(macs[1].is_some()) * had::MACS[1];
        Self {
            flow_start: packet.timestamp.unwrap_or_default(),
            first: Timestamp::MAX,
            syn_sequence: [u32::from(kind), u32::from(code)],
            handshake: [RoundTrip::UNKNOWN; 2],
            gap: Gap::default(),
            odd: [Odd::default(); 2],
            ordinal: packet.ordinal as u32,
            macs: macs.map(Option::unwrap_or_default),
            interface: packet.interface,
            gap_direction: Direction::Forward,
            had,
        }
    }

    /// A SYN was sent in the direction `way`.
    pub(super) fn note_syn(&mut self, way: usize, tcp: TcpHeader) {
        if self.syn_sequence[way] != tcp.sequence() {
            self.had &= !had::SYN_ACKS[way];
        }
        self.syn_sequence[way] = tcp.sequence();
        self.had |= if tcp.has(ACK) { had::SYN_ACKS[way] } else { 0 };
    }

    /// Whether the latest SYN of the direction `way` has acknowledged the other one's.
    pub(super) fn has_answered_syn(&self, way: usize) -> bool {
        self.had & had::SYN_ACKS[way] != 0
    }

    /// Whether a SYN has come after the connection was reset, and no answer to it.
    pub(super) fn was_tried_again(&self) -> bool {
        self.had & had::SYN_AGAIN != 0
    }

    pub(super) fn set_tried_again(&mut self, is_so: bool) {
        self.had &= !had::SYN_AGAIN;
        self.had |= if is_so { had::SYN_AGAIN } else { 0 };
    }

    /// Whether a SYN has come to the connection while it was open.
    pub(super) fn has_had_stray(&self) -> bool {
        self.had & had::STRAY_SYN != 0
    }

    pub(super) fn set_had_stray(&mut self) {
        self.had |= had::STRAY_SYN;
    }

    /// The timestamp of the flow's first packet, if it had one.
    pub(super) fn flow_start(&self) -> Option<Timestamp> {
        self.first_packet(had::TIMESTAMP, self.flow_start)
    }

    /// Its source and destination MAC address.
    pub(super) fn macs(&self) -> [Option<[u8; 6]>; 2] {
        [0, 1].map(|end| self.first_packet(had::MACS[end], self.macs[end]))
    }

    /// Its ICMP type and code.
    pub(super) fn icmp(&self) -> Option<(u8, u8)> {
        let [kind, code] = self.syn_sequence.map(|word| word.to_le_bytes()[0]);
        self.first_packet(had::ICMP, (kind, code))
    }

    fn first_packet<T>(&self, had: u8, this: T) -> Option<T> {
        (self.had & had != 0).then_some(this)
    }
}
