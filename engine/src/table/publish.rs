//! What leaves a table: deltas of flows that go on, and the last ones of those that are over.

use crate::flow::{Counted, Delta, EndReason, FlowRecord};
use crate::table::{CoreTable, Outlet};

impl CoreTable<'_> {
    /// Publishes the last delta of a flow and frees its slot.
    pub(super) fn expire(&mut self, slot: u32, reason: EndReason, outlet: &mut impl Outlet) {
        let hash = self.take_out(slot, reason, outlet);
        self.index.remove(hash, slot);
    }

    /// The same, but for the index. Returns the flow's hash.
    pub(super) fn take_out(
        &mut self,
        slot: u32,
        reason: EndReason,
        outlet: &mut impl Outlet,
    ) -> u64 {
        let mut delta = self.slab.take_delta(slot);
        delta.end = Some(reason);
        let hash = self.send(slot, delta, outlet);
        self.slab.release(slot);
        hash
    }

    /// Apart, so that the hand's look at a slot where there is nothing to do saves no registers.
    #[inline(never)]
    pub(super) fn publish(&mut self, slot: u32, outlet: &mut impl Outlet) {
        let delta = self.slab.take_delta(slot);
        self.send(slot, delta, outlet);
    }

    /// Publishes a delta of a slot's flow. Returns the flow's hash.
    #[expect(clippy::inline_always, reason = "a delta is written once, where it is sent")]
    #[inline(always)]
    pub(super) fn send(&mut self, slot: u32, delta: Delta, outlet: &mut impl Outlet) -> u64 {
        let key = *self.slab.slot(slot).key();
        let hash = self.hasher.hash(&key);
        if delta.end.is_some()
            && let Some(features) = &mut self.features
        {
            outlet.publish_features(hash, &features.take(slot));
        }
        let counted =
            if self.intervals.is_on() { self.counted(slot, delta.end) } else { Counted::default() };
        outlet.publish(hash, FlowRecord { counted, ..FlowRecord::flow(key, delta) });
        hash
    }

    /// The intervals of what a slot has counted, and of its end if it is over. All that decides is
    /// packet time, so that it does not matter when it is published.
    fn counted(&self, slot: u32, end: Option<EndReason>) -> Counted {
        let (intervals, flow) = (&self.intervals, self.slab.slot(slot));
        let interval = intervals.of(flow.last_tick());
        let over = match end {
            None | Some(EndReason::Active) => flow.last_tick(),
            Some(EndReason::Resources) => intervals.now(),
            Some(EndReason::Idle | EndReason::EndDetected | EndReason::Forced) => {
                flow.over_at(&self.limits).min(intervals.now())
            }
        };
        Counted::new(interval, intervals.of(over).saturating_sub(interval))
    }
}
