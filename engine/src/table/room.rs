//! A slot for a new flow: a free one, or else one that is over, or that of a flow of one packet.

use crate::decode::Packet;
use crate::flow::EndReason;
use crate::limits::PRESSURE_SCAN;
use crate::table::{CoreTable, Outlet};
use crate::time::Tick;

impl CoreTable<'_> {
    /// A new slot for the packet's flow; gives up a one-packet flow for it if there is
    /// none and closing is possible.
    pub(super) fn open(
        &mut self,
        packet: &Packet,
        outlet: Option<&mut impl Outlet>,
    ) -> Option<u32> {
        if self.slab.is_full()
            && let Some(outlet) = outlet
        {
            self.make_room(packet.tick, outlet);
        }
        let slot = self.slab.take(packet)?;
        if let Some(features) = &mut self.features {
            features.begin(slot);
        }
        if self.index.insert(packet.hash, slot) {
            return Some(slot);
        }
        // Both of its buckets are full.
        self.slab.release(slot);
        None
    }

    /// Expires a flow that is over, if the hand has left one; else gives one up.
    fn make_room(&mut self, now: Tick, outlet: &mut impl Outlet) {
        for _ in 0..self.config.sweep_slots {
            let Some(slot) = self.sweep.next(now, self.slab.high_water()) else { break };
            if let Some(reason) = self.slab.slot(slot).expired(now, &self.limits) {
                return self.expire(slot, reason, outlet);
            }
        }
        self.give_up_one(now, outlet);
    }

    /// Expires the first one-packet flow on the way around the slab, and looks for the next
    /// one, whose memory then has time to arrive. It is not given up if it is over or finished.
    fn give_up_one(&mut self, now: Tick, outlet: &mut impl Outlet) {
        let known = self.victim.filter(|&slot| self.slab.slot(slot).is_single_packet());
        if let Some(slot) = known.or_else(|| self.next_victim()) {
            let flow = self.slab.slot(slot);
            let over = flow.expired(now, &self.limits);
            let reason = over.unwrap_or(flow.end_reason(EndReason::Resources));
            self.expire(slot, reason, outlet);
            self.counters.given_up.add(u64::from(reason == EndReason::Resources));
            self.victim = self.next_victim();
        }
    }

    fn next_victim(&mut self) -> Option<u32> {
        let slots = self.slab.high_water();
        let slot = (0..PRESSURE_SCAN)
            .map(|_| self.hand.next_victim(slots))
            .find(|&slot| self.slab.slot(slot).is_single_packet())?;
        self.slab.prefetch(slot);
        self.index.prefetch(self.hasher.hash(self.slab.slot(slot).key()));
        Some(slot)
    }
}
