//! What a slot counts of one direction, as narrow as may be.

use crate::decode::Packet;

/// What one direction has counted since the slot was last published: four numbers of 32 bits
/// in two words, which are added at once. Narrow, as that is not long ago; what would not fit
/// is published first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Packets below, bytes above.
    pub(super) packets_bytes: u64,
    /// Frame bytes below, payload bytes above.
    pub(super) frame_payload: u64,
}

impl Counts {
    /// The top bit of each number.
    const TOPS: u64 = 1 << 63 | 1 << 31;

    #[inline]
    pub(super) fn of(packet: &Packet) -> Self {
        Self {
            packets_bytes: u64::from(packet.bytes) << 32 | 1,
            frame_payload: u64::from(packet.payload_bytes) << 32 | u64::from(packet.frame_bytes),
        }
    }

    /// The sum; `None` if a number of it does not fit.
    #[inline]
    pub(super) fn with(self, more: Self) -> Option<Self> {
        let all = self.packets_bytes | self.frame_payload | more.packets_bytes | more.frame_payload;
        if all & Self::TOPS != 0 {
            return self.with_much(more);
        }
        // No number carries into its neighbour: two of 31 bits fit into 32.
        Some(Self {
            packets_bytes: self.packets_bytes + more.packets_bytes,
            frame_payload: self.frame_payload + more.frame_payload,
        })
    }

    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn with_much(self, more: Self) -> Option<Self> {
        let add = |one: u64, two: u64| {
            let low = (one as u32).checked_add(two as u32)?;
            let high = ((one >> 32) as u32).checked_add((two >> 32) as u32)?;
            Some(u64::from(high) << 32 | u64::from(low))
        };
        Some(Self {
            packets_bytes: add(self.packets_bytes, more.packets_bytes)?,
            frame_payload: add(self.frame_payload, more.frame_payload)?,
        })
    }
}
