//! The books: what went in, by key and direction, written down before the engine sees it.

use std::collections::HashMap;

use flowtap::decode::Packet;
use flowtap::flow::{FlowKey, SideCounts};
use flowtap::limits::REORDER_NS;
use flowtap::time::Timestamp;

use crate::reference::count;

/// All that went in.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) keys: HashMap<FlowKey, Entry>,
    newest: Option<Timestamp>,
    recording: u32,
}

/// What went in of one key.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Forward and reverse.
    pub(crate) sides: [SideCounts; 2],
    /// How far a packet's time was behind the newest time at most, in ns.
    pub(crate) behind: u64,
    /// The recording of its first packet with a time: time begins anew where it steps back
    /// by more than reordering.
    recording: Option<u32>,
    /// Whether its packets are in several recordings.
    pub(crate) is_in_several: bool,
}

impl Books {
    pub(crate) fn enter(&mut self, packet: &Packet) {
        let entry = self.keys.entry(packet.key).or_default();
        count(&mut entry.sides[packet.direction.idx()], packet);
        let Some(timestamp) = packet.timestamp else { return };
        let newest = *self.newest.get_or_insert(timestamp);
        if timestamp >= newest {
            self.newest = Some(timestamp);
        } else if newest.abs_diff(timestamp) > REORDER_NS {
            self.newest = Some(timestamp);
            self.recording += 1;
        } else {
            entry.behind = entry.behind.max(newest.abs_diff(timestamp));
        }
        let known = *entry.recording.get_or_insert(self.recording);
        entry.is_in_several |= known != self.recording;
    }

    pub(crate) fn packets(&self) -> u64 {
        self.keys.values().flat_map(|entry| &entry.sides).map(|side| side.packets).sum()
    }
}
