//! What few packets of a flow touch: how it began, and what is odd about it.

use crate::decode::Packet;
use crate::flow::{Direction, RoundTrip};
use crate::table::slot::sequence::{Gap, Odd};
use crate::time::Timestamp;

/// What stands beside a slot: written by the first packet of a flow and by those that are not
/// simply the next one, read when the flow is published.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(in crate::table) struct Origin {
    pub(super) flow_start: Timestamp,
    /// The earliest timestamp of this part, if any packet of it had one.
    pub(super) first: Timestamp,
    /// Sequence number of each direction's latest SYN; for ICMP, type and code of the first
    /// packet.
    pub(super) syn_sequence: [u32; 2],
    /// See [`crate::flow::Delta::handshake`].
    pub(super) handshake: [RoundTrip; 2],
    /// What was left out of a direction's sequence most recently.
    pub(super) gap: Gap,
    /// By direction: counted since the slot was last published.
    pub(super) odd: [Odd; 2],
    pub(super) ordinal: u32,
    pub(super) macs: [[u8; 6]; 2],
    pub(super) interface: u16,
    pub(super) gap_direction: Direction,
}

const _: () = assert!(size_of::<Origin>() == 80);

impl Origin {
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32: see `Opening`")]
    pub(in crate::table) fn new(packet: &Packet) -> Self {
        let (kind, code) = packet.icmp.unwrap_or_default();
        Self {
            flow_start: packet.timestamp.unwrap_or_default(),
            first: Timestamp::MAX,
            syn_sequence: [u32::from(kind), u32::from(code)],
            handshake: [RoundTrip::UNKNOWN; 2],
            gap: Gap::default(),
            odd: [Odd::default(); 2],
            ordinal: packet.ordinal as u32,
            macs: packet.macs.map(Option::unwrap_or_default),
            interface: packet.interface,
            gap_direction: Direction::Forward,
        }
    }
}
