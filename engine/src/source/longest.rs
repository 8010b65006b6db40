//! The longest frame that an interface's MTU allows, which may change while it is captured from.
//!
//! A source says it once it is open, and whenever whoever looks after the link has seen another
//! MTU ([`crate::source::live::Source::set_mtu`]); its queues ask once a batch. So a frame that
//! comes just after a change may be held against the MTU before it.

use crate::sync::{Arc, Gauge};

/// One VLAN tag.
const TAG_BYTES: u32 = 4;

/// What stands around a packet of the MTU at most: Ethernet's header and two VLAN tags.
const LINK_BYTES: u32 = 14 + 2 * TAG_BYTES;

/// What a source and its queues share.
#[derive(Clone, Debug, Default)]
pub(super) struct LongestFrame(Arc<Gauge>);

impl LongestFrame {
    /// Of an interface with this MTU.
    pub(super) fn of_mtu(mtu: u32) -> Self {
        let longest = Self::default();
        longest.set_mtu(mtu);
        longest
    }

    /// Has frames held against another MTU from now on.
    pub(super) fn set_mtu(&self, mtu: u32) {
        self.0.set(mtu.saturating_add(LINK_BYTES).into());
    }

    /// In bytes.
    #[inline]
    pub(super) fn bytes(&self) -> u32 {
        u32::try_from(self.0.get()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_sees_another_mtu() {
        let source = LongestFrame::of_mtu(1_500);
        let queue = source.clone();
        assert_eq!(queue.bytes(), 1_522);
        source.set_mtu(9_000);
        assert_eq!(queue.bytes(), 9_022);
        source.set_mtu(u32::MAX);
        assert_eq!(queue.bytes(), u32::MAX);
    }
}
