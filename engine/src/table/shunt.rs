//! Packets that the kernel has counted by itself, as a core table counts them: many at once,
//! by the rules that one packet of theirs would meet.
//!
//! They were never in a batch: their sum goes straight into the next delta of their flow, which
//! is published at once. Called by the `rx` thread that owns the table (its shunt).

use crate::decode::Packet;
use crate::flow::{
    Counted, Delta, Direction, EndReason, Features, FlowKey, FlowRecord, Opening, SideCounts,
};
use crate::table::{CoreTable, Outlet};
use crate::time::{Tick, Timestamp};

/// Deltas that [`CoreTable::bring_home`] may give rise to: a part cut, and what came home.
pub const SHUNTED_ROOM: usize = 2;

/// What the kernel has counted of a flow since the last time.
#[derive(Debug, Clone, Copy)]
pub struct Shunted {
    /// By the direction of the flow's key.
    pub sides: [SideCounts; 2],
    /// The packet clock at the last of them: not after the last packet that was counted here.
    pub last_tick: Tick,
    /// When that came.
    pub last: Timestamp,
    /// Where it was captured: a number in the run's list of interfaces.
    pub interface: u16,
}

impl Shunted {
    fn packets(&self) -> u64 {
        self.sides[0].packets + self.sides[1].packets
    }

    /// When the first of them came is not known; the flow has shown earlier ones.
    fn delta(&self) -> Delta {
        Delta { sides: self.sides, first: self.last, last: self.last, ..Delta::EMPTY }
    }

    /// The same as a flow of its own.
    fn as_flow(&self) -> Delta {
        let is_forward = self.sides[0].packets > 0;
        let initiator = if is_forward { Direction::Forward } else { Direction::Reverse };
        let opening = Opening {
            flow_start: Some(self.last),
            ordinal: 0,
            initiator,
            macs: [None; 2],
            first_packet: initiator,
            icmp: None,
            interface: self.interface,
            encapsulation: None,
        };
        Delta { opening: Some(opening), end: Some(EndReason::Idle), ..self.delta() }
    }
}

impl CoreTable<'_> {
    /// Whether the packet's flow has a slot with so many packets that are not published, and the
    /// kernel may count further ones by itself.
    #[must_use]
    pub fn is_elephant(&self, packet: &Packet, packets: u64) -> bool {
        self.find(packet).is_some_and(|slot| self.slab.slot(slot).is_elephant(packets))
    }

    /// Adds what the kernel has counted to the flow of this key. If it has no slot any more
    /// (which takes an idle timeout, or new connections on its ports faster than packets come up)
    /// that is a flow of its own: nothing is lost.
    ///
    /// The active timeout cuts where the last of these packets would: all of them belong to the
    /// part that begins there.
    ///
    /// # Panics
    /// If there is no [`SHUNTED_ROOM`] in `outlet`.
    pub fn bring_home(&mut self, key: &FlowKey, shunted: &Shunted, outlet: &mut impl Outlet) {
        assert!(outlet.room() >= SHUNTED_ROOM, "there is room, or it waits");
        let hash = self.hasher.hash(key);
        let slot = self.index.find(hash, |slot| self.slab.slot(slot).is_of(key));
        self.counters.brought_home.add(shunted.packets());
        let Some(slot) = slot else {
            if self.features.is_some() {
                // Whoever receives an end expects some; the kernel keeps none.
                outlet.publish_features(hash, &Features::EMPTY);
            }
            let counted = Counted::new(self.intervals.of(shunted.last_tick), 0);
            let alone = FlowRecord::flow(*key, shunted.as_flow());
            outlet.publish(hash, FlowRecord { counted, ..alone });
            return;
        };
        let last_tick = shunted.last_tick;
        if self.slab.slot(slot).is_cut_by_shunted(last_tick, &self.limits) {
            let delta = self.slab.take_part(slot, last_tick);
            self.send(slot, delta, outlet);
        }
        self.slab.note_shunted(slot, last_tick);
        let mut delta = self.slab.take_delta(slot);
        delta.combine(&shunted.delta());
        self.send(slot, delta, outlet);
    }
}
