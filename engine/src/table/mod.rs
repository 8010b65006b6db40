//! One core's flows: the core table, the sole home of a packet's counts until they are
//! published.
//!
//! A private bucket index ([`index`]) over a slab of slots ([`slab`]); [`hand`] walks the
//! slab, publishes what changed and expires what is over ([`publish`]); a new flow gets a slot by
//! [`room`]; [`outbox`] carries deltas away in batches. Where packets arrive on other cores than
//! their flow's, [`exchange`] brings them. Statistics stand beside the slots, if they are kept
//! ([`features`]). Capacity is fixed at start, on huge pages if there are any. One thread owns a
//! table and everything in it.
//!
//! **Memory has time to arrive.** A batch is gone over in three steps, one some packets
//! behind the other: ask for a packet's bucket; match tags and ask for its slot (or for its
//! other bucket, and then its slot); compare keys and count. The first two only guess: they
//! change nothing but time.
//!
//! **Packet time decides.** Whether a slot is over is asked in one place ([`slot::Slot::expired`]),
//! by packet time only, both when a packet arrives and when the hand comes by. So it does
//! not matter for any record when the hand comes by.
//!
//! **A packet behind its time counts now.** The packet clock does not go back for it: it belongs
//! to whatever flow of its key is going on when it comes, or begins one, and of that moves only
//! the earliest timestamp. So no flow is counted twice and no duration is negative, but parts and
//! flows of one key may overlap by as much as packets are late. Further back than
//! [`crate::limits::REORDER_NS`] is another recording ([`crate::time::PacketClock`]). Idle flows
//! are ended by the hand, whether packets come or not; the active timeout cuts a flow when its
//! next packet comes, as one that does not go on is not cut.
//!
//! **Intervals** ([`intervals`]), if anybody asks for them: a delta is of one interval of packet
//! time, which it says. Records do not change by that, as deltas add up to the same.
//!
//! **When the ring to `merge` is full** nothing is closed or published: packets are counted
//! into the slots that they find, and splits happen later.

mod account;
mod ahead;
pub mod exchange;
mod features;
mod hand;
mod index;
mod intervals;
pub mod outbox;
mod overflow;
mod publish;
mod room;
mod shunt;
mod slab;
mod slot;

pub use account::{TableConfig, TableCounters, TableMemory};
pub use ahead::Ahead;
pub use hand::Pace;
pub use overflow::prefix_bytes;
pub use shunt::{SHUNTED_ROOM, Shunted};

use crate::decode::Packet;
use crate::error::{Error, Result};
use crate::flow::record::tcp_flags::{RST, SYN};
use crate::flow::{EndReason, Features, FeaturesSet, FlowRecord, KeyHasher};
use crate::limits::{BATCH_PACKETS, HAND_SLOTS, MAX_CORE_FLOWS};
use crate::table::features::SlotFeatures;
use crate::table::hand::{Hand, Sweep};
use crate::table::index::Index;
use crate::table::intervals::Intervals;
use crate::table::overflow::Overflow;
use crate::table::slab::Slab;
use crate::table::slot::Limits;
use crate::time::{Grid, Tick};

/// Deltas that one packet, or one step of the hand, can give rise to at most: a part cut, or
/// a flow expired (whose slot is then free), or another flow given up for its slot.
const DELTAS_PER_PACKET: usize = 1;

/// How many packets before its turn a packet's slot is asked for; its bucket as many again,
/// and the slot of a key in its second bucket half as many.
const AHEAD: usize = 12;

/// How many slots ahead a slot is asked for when all are taken out one after the other.
const DRAINED_AHEAD: u32 = 16;

/// Room that [`CoreTable::count`] needs to be able to close flows.
pub const BATCH_ROOM: usize = BATCH_PACKETS * DELTAS_PER_PACKET;

/// Where a table publishes its deltas.
pub trait Outlet {
    /// How many deltas are sure to be taken.
    fn room(&self) -> usize;
    /// Takes a delta, as the record that it would be alone. The flow's hash says who merges it.
    /// Must succeed while there is [`Outlet::room`].
    fn publish(&mut self, hash: u64, published: FlowRecord);
    /// Takes the statistics of the part that ends with the delta that is published next, under
    /// the same hash. Who has no use for them takes none.
    fn publish_features(&mut self, _hash: u64, _features: &Features) {}
}

/// One core's flow table.
#[derive(Debug)]
pub struct CoreTable<'a> {
    config: TableConfig,
    index: Index,
    slab: Slab,
    /// In the extended set only.
    features: Option<SlotFeatures>,
    hand: Hand,
    sweep: Sweep,
    overflow: Overflow,
    intervals: Intervals,
    /// The one-packet flow to give up next, as far as that is known.
    victim: Option<u32>,
    limits: Limits,
    hasher: KeyHasher,
    counters: &'a TableCounters,
}

impl<'a> CoreTable<'a> {
    /// An empty table for packets that are hashed by `hasher`. This allocates all that the
    /// table will ever use.
    ///
    /// # Errors
    /// If the system does not give the memory.
    pub fn new(
        config: TableConfig,
        hasher: KeyHasher,
        counters: &'a TableCounters,
    ) -> Result<Self> {
        let make = || format!("make a table for {} flows", config.capacity);
        if config.capacity > MAX_CORE_FLOWS {
            let cause = format!("one core holds up to {MAX_CORE_FLOWS}");
            return Err(Error::new(make(), cause)
                .advise("give more --workers (capture: more queues) or a smaller --max-flows"));
        }
        let no_memory = |e| Error::new(make(), e).advise("give a smaller --max-flows");
        let index = Index::new(config.capacity).map_err(no_memory)?;
        let slab = Slab::new(config.capacity).map_err(no_memory)?;
        let is_extended = config.features_set.is_extended();
        let features = is_extended.then(|| SlotFeatures::new(config.capacity)).transpose();
        let features = features.map_err(no_memory)?;
        if config.is_populated {
            slab.populate().map_err(no_memory)?;
            features.as_ref().map_or(Ok(()), SlotFeatures::populate).map_err(no_memory)?;
        }
        let pages = index.pages().min(slab.pages());
        let memory = TableMemory {
            slots: config.capacity,
            bytes: index.bytes() + slab.bytes() + features.as_ref().map_or(0, SlotFeatures::bytes),
            pages: features.as_ref().map_or(pages, |features| features.pages().min(pages)),
        };
        counters.memory.set(memory).expect("counters belong to one table");
        Ok(Self {
            index,
            slab,
            features,
            hand: Hand::new(config.pace.round_ns),
            sweep: Sweep::default(),
            overflow: Overflow::default(),
            intervals: Intervals::new(Grid::OFF),
            victim: None,
            limits: Limits::from(&config.timeouts),
            config,
            hasher,
            counters,
        })
    }

    /// The same, with deltas that are each of one interval of packet time.
    pub fn set_intervals(&mut self, grid: Grid) {
        self.intervals = Intervals::new(grid);
    }

    /// Goes on in other intervals than before.
    pub fn put_intervals(&mut self, grid: Grid) {
        self.intervals.put(grid);
    }

    /// Of the intervals below this number nothing will be published any more.
    #[must_use]
    pub fn complete_below(&self) -> u32 {
        self.intervals.complete_below()
    }

    /// Where the packet clock stands, where deltas are of intervals.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.intervals.now()
    }

    /// What takes this table's memory ahead of it.
    #[must_use]
    pub fn ahead(&self) -> Ahead<'a> {
        let [slots, origins] = self.slab.shares();
        let features = self.features.as_ref().map(SlotFeatures::share);
        let (counters, capacity) = (self.counters, self.config.capacity);
        Ahead { slots, origins, features, counters, capacity }
    }

    /// Counts a batch of packets, then moves the hand.
    pub fn count(&mut self, packets: &[Packet], outlet: &mut impl Outlet) {
        match (self.config.features_set, self.intervals.is_on()) {
            (FeaturesSet::Basic, false) => self.count_all::<false, false>(packets, outlet),
            (FeaturesSet::Basic, true) => self.count_all::<false, true>(packets, outlet),
            (FeaturesSet::Extended, false) => self.count_all::<true, false>(packets, outlet),
            (FeaturesSet::Extended, true) => self.count_all::<true, true>(packets, outlet),
        }
    }

    /// The same, for each set by itself: the basic one, without intervals, costs what it would
    /// without the others.
    fn count_all<const EXTENDED: bool, const INTERVALS: bool>(
        &mut self,
        packets: &[Packet],
        outlet: &mut impl Outlet,
    ) {
        assert!(packets.len() <= BATCH_PACKETS, "a batch has a bound");
        let may_close = outlet.room() >= packets.len() * DELTAS_PER_PACKET;
        if !may_close {
            self.counters.congested_batches.add(1);
        }
        let mut in_flows = 0;
        let mut guesses = [Index::NONE; BATCH_PACKETS];
        for packet in packets.iter().take(2 * AHEAD) {
            self.index.prefetch(packet.hash);
        }
        for (packet, guess) in packets.iter().zip(&mut guesses).take(AHEAD) {
            *guess = self.guess::<EXTENDED>(packet);
        }
        for (packet, guess) in packets.iter().zip(&mut guesses).take(AHEAD / 2) {
            self.guess_again::<EXTENDED>(packet, guess);
        }
        for (at, packet) in packets.iter().enumerate() {
            if let Some(packet) = packets.get(at + 2 * AHEAD) {
                self.index.prefetch(packet.hash);
            }
            if let Some(packet) = packets.get(at + AHEAD) {
                guesses[at + AHEAD] = self.guess::<EXTENDED>(packet);
            }
            if let Some(packet) = packets.get(at + AHEAD / 2) {
                self.guess_again::<EXTENDED>(packet, &mut guesses[at + AHEAD / 2]);
            }
            let guess = guesses[at];
            if INTERVALS {
                self.intervals.enter(packet.tick);
            }
            let is_old = INTERVALS && self.slab.is_before(guess, self.intervals.start());
            let goes_on = !is_old && self.slab.count_guessed(guess, packet, &self.limits);
            if EXTENDED && goes_on {
                self.count_features(guess, packet);
            }
            in_flows += u64::from(goes_on || self.count_any(packet, may_close, outlet));
        }
        self.counters.in_flows.add(in_flows);
        self.counters.in_overflow.add(packets.len() as u64 - in_flows);
        self.counters.slots_used.set(self.slab.high_water().into());
        if let Some(last) = packets.last() {
            self.advance(last.tick, outlet);
        }
    }

    /// The slot that is likely to be the packet's, which is asked for.
    #[inline]
    fn guess<const EXTENDED: bool>(&self, packet: &Packet) -> u32 {
        self.index.guess(packet.hash, |slot| self.prefetch::<EXTENDED>(slot, packet))
    }

    /// Asks for a packet's slot; and for its origin, where the packet is likely to need that.
    #[inline]
    fn prefetch<const EXTENDED: bool>(&self, slot: u32, packet: &Packet) {
        if packet.tcp.has(SYN | RST) {
            self.slab.prefetch_all(slot);
        } else {
            self.slab.prefetch(slot);
        }
        if EXTENDED && let Some(features) = &self.features {
            features.prefetch(slot, packet);
        }
    }

    /// The same by the packet's second bucket, if the first has sent keys there.
    #[inline]
    fn guess_again<const EXTENDED: bool>(&self, packet: &Packet, guess: &mut u32) {
        if *guess == Index::AWAY {
            let prefetch = |slot| self.prefetch::<EXTENDED>(slot, packet);
            *guess = self.index.guess_away(packet.hash, prefetch);
        }
    }

    /// Counts any packet, in its flow if that has a slot or gets one. Whether it did.
    #[inline(never)]
    fn count_any(&mut self, packet: &Packet, may_close: bool, outlet: &mut impl Outlet) -> bool {
        let taken = self.count_in_slot(packet, may_close, outlet);
        match taken {
            Some(slot) => self.count_features(slot, packet),
            None => {
                let is_old = self.has_old_overflow();
                // Beside what the rest of the batch may give rise to.
                if is_old && outlet.room() >= self.overflow.len() + BATCH_ROOM {
                    self.publish_overflow(packet.tick, outlet);
                }
                self.overflow.count(packet);
            }
        }
        taken.is_some()
    }

    /// Counts a packet into the slot that its flow has or gets, and says which, if there is room.
    fn count_in_slot(
        &mut self,
        packet: &Packet,
        may_close: bool,
        outlet: &mut impl Outlet,
    ) -> Option<u32> {
        let mut place = self.find(packet);
        if let Some(slot) = place
            && may_close
        {
            place = self.settle(slot, packet, outlet);
        }
        let Some(slot) = place else {
            let slot = self.open(packet, may_close.then_some(outlet))?;
            return self.slab.count_first(slot, packet).then_some(slot);
        };
        if self.slab.count_more(slot, packet) {
            return Some(slot);
        }
        if !may_close {
            return None;
        }
        // `settle` published nothing, or the counts would fit.
        self.publish(slot, outlet);
        self.slab.count_more(slot, packet).then_some(slot)
    }

    /// Adds a packet that a slot has counted to the statistics that are kept beside it, if any are.
    #[inline]
    fn count_features(&mut self, slot: u32, packet: &Packet) {
        if let Some(features) = &mut self.features {
            features.count(slot, packet);
        }
    }

    /// Counts a packet that could not be passed on to its flow's core: in an overflow
    /// aggregate.
    pub fn count_not_passed_on(&mut self, packet: &Packet) {
        self.overflow.count(packet);
        self.counters.in_overflow.add(1);
        self.counters.not_passed_on.add(1);
    }

    /// Moves the hand as far as the packet clock has moved: publishes and expires. Whether it may
    /// have further to go, and has not stopped for want of room: see [`HAND_SLOTS`].
    pub fn advance(&mut self, now: Tick, outlet: &mut impl Outlet) -> bool {
        self.intervals.enter(now);
        let steps = self.hand.steps(now, self.slab.high_water());
        if self.slab.high_water() == 0 {
            self.intervals.round_begins(self.overflow.since());
        }
        for made in 0..steps {
            if outlet.room() < DELTAS_PER_PACKET {
                self.hand.owe(steps - made, self.slab.high_water());
                return false;
            }
            let slot = self.hand.next(self.slab.high_water());
            if slot == 0 {
                self.intervals.round_begins(self.overflow.since());
            }
            self.visit(slot, now, outlet);
        }
        let is_due = self.overflow.is_due(now) || self.has_old_overflow();
        if is_due && outlet.room() >= self.overflow.len() {
            self.publish_overflow(now, outlet);
        }
        steps == HAND_SLOTS
    }

    /// Ends every flow, as far as there is room in `outlet`: as packet time says by `now`,
    /// the end of the input, or else with [`EndReason::Forced`]. Returns whether the table
    /// is empty; if not, call again when there is room. The table counts no more packets after
    /// this: its index still has all of them, as going through that takes longer than all else.
    pub fn drain(&mut self, now: Tick, outlet: &mut impl Outlet) -> bool {
        self.intervals.enter(now);
        while !self.slab.is_empty() {
            if outlet.room() == 0 {
                return false;
            }
            let slot = self.hand.next(self.slab.high_water());
            self.slab.prefetch_all(slot + DRAINED_AHEAD);
            if let Some(features) = &self.features {
                features.prefetch_all(slot + DRAINED_AHEAD);
            }
            if self.slab.slot(slot).is_live() {
                let over = self.slab.slot(slot).expired(now, &self.limits);
                let forced = self.slab.slot(slot).end_reason(EndReason::Forced);
                self.take_out(slot, over.unwrap_or(forced), outlet);
            }
        }
        if outlet.room() < self.overflow.len() {
            return false;
        }
        self.publish_overflow(now, outlet);
        true
    }

    /// Whether something that found no room is of an earlier interval.
    fn has_old_overflow(&self) -> bool {
        self.overflow.since().is_some_and(|since| since < self.intervals.start())
    }

    fn publish_overflow(&mut self, now: Tick, outlet: &mut impl Outlet) {
        let interval = self.overflow.since().map_or(0, |since| self.intervals.of(since));
        self.overflow.publish(now, interval, outlet);
    }

    fn find(&self, packet: &Packet) -> Option<u32> {
        self.index.find(packet.hash, |slot| self.slab.slot(slot).is_of(&packet.key))
    }

    /// The packet's slot, after ending whatever is over by the time of the packet.
    fn settle(&mut self, slot: u32, packet: &Packet, outlet: &mut impl Outlet) -> Option<u32> {
        let limits = &self.limits;
        let flow = self.slab.slot(slot);
        let reason = flow
            .expired(packet.tick, limits)
            .or_else(|| self.slab.is_ended_by(slot, packet).then_some(EndReason::EndDetected));
        if let Some(reason) = reason {
            self.expire(slot, reason, outlet);
            return None;
        }
        if flow.is_to_be_cut(packet.tick, limits) {
            let delta = self.slab.take_part(slot, packet.tick);
            self.send(slot, delta, outlet);
        } else if flow.is_before(self.intervals.start()) && flow.is_dirty() {
            self.publish(slot, outlet);
        }
        Some(slot)
    }

    /// What the hand does at one slot.
    fn visit(&mut self, slot: u32, now: Tick, outlet: &mut impl Outlet) {
        if !self.slab.slot(slot).is_live() {
            return;
        }
        match self.slab.slot(slot).expired(now, &self.limits) {
            Some(reason) => self.expire(slot, reason, outlet),
            None if !self.slab.slot(slot).is_dirty() => {}
            None if self.slab.slot(slot).is_before(self.intervals.start()) => {
                self.publish(slot, outlet);
            }
            // A short flow stays here until it is over: then it is whole, and no other thread
            // need remember it. And what nobody looks at is published once in an interval.
            None if self.slab.slot(slot).is_short(self.config.pace.stay_ns) => {}
            None if self.intervals.is_on() && self.config.pace.stay_ns == Tick::MAX => {}
            None => self.publish(slot, outlet),
        }
    }
}

#[cfg(test)]
mod tests;
