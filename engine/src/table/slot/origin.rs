//! What only the first publication of a flow tells.

use crate::decode::Packet;
use crate::time::Timestamp;

/// How a flow began, as far as only its first publication tells: two bytes aligned, so that
/// none are lost.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(in crate::table) struct Origin {
    flow_start: [u16; 4],
    ordinal: [u16; 2],
    pub(super) macs: [[u8; 6]; 2],
    pub(super) interface: u16,
}

const _: () = assert!(size_of::<Origin>() == 26);

impl Origin {
    pub(in crate::table) fn new(packet: &Packet) -> Self {
        let [a, b, c, d, e, f, g, h] = packet.timestamp.unwrap_or_default().to_le_bytes();
        let start = [[a, b], [c, d], [e, f], [g, h]];
        // Modulo 2^32: see `Opening`.
        let [a, b, c, d, ..] = packet.ordinal.to_le_bytes();
        Self {
            flow_start: start.map(u16::from_le_bytes),
            ordinal: [[a, b], [c, d]].map(u16::from_le_bytes),
            macs: packet.macs.map(Option::unwrap_or_default),
            interface: packet.interface,
        }
    }

    pub(super) fn flow_start(&self) -> Timestamp {
        self.flow_start.iter().rev().fold(0, |all, &part| all << 16 | Timestamp::from(part))
    }

    pub(super) fn ordinal(&self) -> u32 {
        self.ordinal.iter().rev().fold(0, |all, &part| all << 16 | u32::from(part))
    }
}
