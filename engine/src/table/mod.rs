//! One core's flows: the core table, the sole home of a packet's counts until they are
//! published.
//!
//! A private bucket index ([`index`]) over a slab of slots ([`slab`]); [`hand`] walks the
//! slab, publishes what changed and expires what is over; [`outbox`] carries deltas away
//! in batches. Capacity is fixed at start. One thread owns a table and everything in it.
//!
//! **Packet time decides.** Whether a slot is over is asked in one place ([`slab::Slot::expired`]),
//! by packet time only, both when a packet arrives and when the hand comes by. So it does
//! not matter for any record when the hand comes by.
//!
//! **When the ring to `merge` is full** nothing is closed or published: packets are counted
//! into the slots that they find, and splits happen later.

mod hand;
mod index;
pub mod outbox;
mod overflow;
mod slab;

pub use overflow::prefix_bytes;

use crate::decode::Packet;
use crate::error::{Error, Result};
use crate::flow::{Delta, EndReason, Published, Timeouts};
use crate::limits::{BATCH_PACKETS, PRESSURE_SCAN};
use crate::sync::Counter;
use crate::table::hand::Hand;
use crate::table::index::Index;
use crate::table::overflow::Overflow;
use crate::table::slab::Slab;
use crate::time::Tick;

/// Deltas that one packet, or one step of the hand, can give rise to at most: a part cut, or
/// a flow expired (whose slot is then free), or another flow given up for its slot.
const DELTAS_PER_PACKET: usize = 1;

/// Room that [`CoreTable::count`] needs to be able to close flows.
pub const BATCH_ROOM: usize = BATCH_PACKETS * DELTAS_PER_PACKET;

/// Where a table publishes its deltas.
pub trait Outlet {
    /// How many deltas are sure to be taken.
    fn room(&self) -> usize;
    /// Takes a delta. Must succeed while there is [`Outlet::room`].
    fn publish(&mut self, published: Published);
}

/// What a table is made with.
#[derive(Debug, Clone, Copy)]
pub struct TableConfig {
    /// Slots: the most flows at one time.
    pub capacity: usize,
    /// When flows end.
    pub timeouts: Timeouts,
    /// This core's number, below [`crate::limits::MAX_CORES`].
    pub core: u8,
}

/// What a table has done; written by its owner, readable by all.
#[derive(Debug, Default)]
pub struct TableCounters {
    /// Packets counted into slots.
    pub in_flows: Counter,
    /// Packets counted into overflow aggregates.
    pub in_overflow: Counter,
    /// Batches in which no flow could be closed, because the ring to `merge` was full.
    pub congested_batches: Counter,
    /// Flows given up early for room.
    pub given_up: Counter,
}

/// One core's flow table.
#[derive(Debug)]
pub struct CoreTable<'a> {
    config: TableConfig,
    index: Index,
    slab: Slab,
    hand: Hand,
    overflow: Overflow,
    counters: &'a TableCounters,
}

impl<'a> CoreTable<'a> {
    /// An empty table. This allocates all that the table will ever use.
    ///
    /// # Errors
    /// If the system does not give the memory.
    pub fn new(config: TableConfig, counters: &'a TableCounters) -> Result<Self> {
        assert!(usize::from(config.core) < crate::limits::MAX_CORES, "core number out of range");
        let no_memory = |_| {
            Error::new(format!("make a table for {} flows", config.capacity), "out of memory")
                .advise("give a smaller --max-flows")
        };
        Ok(Self {
            index: Index::new(config.capacity).map_err(no_memory)?,
            slab: Slab::new(config.capacity).map_err(no_memory)?,
            hand: Hand::default(),
            overflow: Overflow::default(),
            config,
            counters,
        })
    }

    /// Counts a batch of packets, then moves the hand.
    pub fn count(&mut self, packets: &[Packet], outlet: &mut impl Outlet) {
        debug_assert!(packets.len() <= BATCH_PACKETS);
        let may_close = outlet.room() >= packets.len() * DELTAS_PER_PACKET;
        if !may_close {
            self.counters.congested_batches.add(1);
        }
        for packet in packets {
            let place = if may_close { self.settle(packet, outlet) } else { self.find(packet) };
            let place = place.or_else(|| self.open(packet, may_close.then_some(&mut *outlet)));
            match place {
                Some(slot) => {
                    self.slab.slot_mut(slot).count(packet);
                    self.counters.in_flows.add(1);
                }
                None => {
                    self.overflow.count(packet);
                    self.counters.in_overflow.add(1);
                }
            }
        }
        if let Some(last) = packets.last() {
            self.advance(last.tick, outlet);
        }
    }

    /// Moves the hand as far as the packet clock has moved: publishes and expires.
    pub fn advance(&mut self, now: Tick, outlet: &mut impl Outlet) {
        let steps = self.hand.steps(now, self.slab.high_water());
        for _ in 0..steps {
            if outlet.room() < DELTAS_PER_PACKET {
                self.hand.wait();
                return;
            }
            let slot = self.hand.next(self.slab.high_water());
            self.visit(slot, now, outlet);
        }
        if self.overflow.is_due(now) && outlet.room() >= self.overflow.len() {
            self.overflow.publish(now, self.config.core, outlet);
        }
    }

    /// Ends every flow, as far as there is room in `outlet`: as packet time says by `now`,
    /// the end of the input, or else with [`EndReason::Forced`]. Returns whether the table
    /// is empty; if not, call again when there is room.
    pub fn drain(&mut self, now: Tick, outlet: &mut impl Outlet) -> bool {
        while !self.slab.is_empty() {
            if outlet.room() == 0 {
                return false;
            }
            let slot = self.hand.next(self.slab.high_water());
            if self.slab.slot(slot).is_live() {
                let over = self.slab.slot(slot).expired(now, &self.config.timeouts);
                let forced = self.slab.slot(slot).end_reason(EndReason::Forced);
                let reason = over.unwrap_or(forced);
                self.expire(slot, reason, outlet);
            }
        }
        if outlet.room() < self.overflow.len() {
            return false;
        }
        self.overflow.publish(now, self.config.core, outlet);
        true
    }

    fn find(&self, packet: &Packet) -> Option<u32> {
        self.index.find(packet.hash, |slot| self.slab.slot(slot).key == packet.key)
    }

    /// The packet's slot, after ending whatever is over by the time of the packet.
    fn settle(&mut self, packet: &Packet, outlet: &mut impl Outlet) -> Option<u32> {
        let slot = self.find(packet)?;
        if let Some(reason) = self.slab.slot(slot).expired(packet.tick, &self.config.timeouts) {
            self.expire(slot, reason, outlet);
            return None;
        }
        if self.slab.slot(slot).is_ended_by(packet) {
            self.expire(slot, EndReason::EndDetected, outlet);
            return None;
        }
        if self.slab.slot(slot).is_to_be_cut(packet.tick, &self.config.timeouts) {
            self.close_part(slot, EndReason::Active, outlet);
        }
        Some(slot)
    }

    /// A new slot for the packet's flow; gives up a one-packet flow for it if there is
    /// none and closing is possible.
    fn open(&mut self, packet: &Packet, outlet: Option<&mut impl Outlet>) -> Option<u32> {
        if self.slab.is_full()
            && let Some(outlet) = outlet
        {
            self.give_up_one(outlet);
        }
        let slot = self.slab.take(packet)?;
        if self.index.insert(packet.hash, slot) {
            return Some(slot);
        }
        // Both of its buckets are full.
        self.slab.release(slot);
        None
    }

    /// Expires the first one-packet flow that the hand would come to soon.
    fn give_up_one(&mut self, outlet: &mut impl Outlet) {
        for _ in 0..PRESSURE_SCAN {
            let slot = self.hand.next_victim(self.slab.high_water());
            if self.slab.slot(slot).is_single_packet() {
                self.expire(slot, EndReason::Resources, outlet);
                self.counters.given_up.add(1);
                return;
            }
        }
    }

    /// What the hand does at one slot.
    fn visit(&mut self, slot: u32, now: Tick, outlet: &mut impl Outlet) {
        if !self.slab.slot(slot).is_live() {
            return;
        }
        match self.slab.slot(slot).expired(now, &self.config.timeouts) {
            Some(reason) => self.expire(slot, reason, outlet),
            None if self.slab.slot(slot).is_dirty() => self.publish(slot, outlet),
            None => {}
        }
    }

    /// Ends the open part and frees the slot.
    fn expire(&mut self, slot: u32, reason: EndReason, outlet: &mut impl Outlet) {
        self.close_part(slot, reason, outlet);
        let hash = self.slab.slot(slot).hash;
        self.index.remove(hash, slot);
        self.slab.release(slot);
    }

    /// Publishes the last delta of the open part.
    fn close_part(&mut self, slot: u32, reason: EndReason, outlet: &mut impl Outlet) {
        self.slab.slot_mut(slot).close_part(reason, self.config.core);
        self.publish(slot, outlet);
    }

    fn publish(&mut self, slot: u32, outlet: &mut impl Outlet) {
        let slot = self.slab.slot_mut(slot);
        let delta = std::mem::replace(&mut slot.delta, Delta::EMPTY);
        outlet.publish(Published {
            key: slot.key,
            hash: slot.hash,
            core: self.config.core,
            delta,
            overflow: false,
        });
    }
}

#[cfg(test)]
mod tests;
