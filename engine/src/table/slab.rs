//! The slots of a core table, and which of them are free.

use std::io;

use crate::decode::Packet;
use crate::flow::{Delta, EndReason};
use crate::memory::{Fixed, Pages, Share};
use crate::table::slot::{Limits, Origin, Slot};
use crate::time::Tick;

/// All slots of a table. Memory is promised at start, and taken then or as flows need it.
#[derive(Debug)]
pub(crate) struct Slab {
    slots: Fixed<Slot>,
    origins: Fixed<Origin>,
    /// The free slot to take next; the others follow from it.
    free: Option<u32>,
    live: usize,
}

impl Slab {
    /// # Errors
    /// If the system does not give the memory.
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let (slots, origins) = (Fixed::new(capacity)?, Fixed::new(capacity)?);
        Ok(Self { slots, origins, free: None, live: 0 })
    }

    /// Takes all memory now, and not when flows need it.
    pub(crate) fn populate(&self) -> io::Result<()> {
        self.slots.populate()?;
        self.origins.populate()
    }

    /// The memory of slots and origins, to be taken ahead.
    pub(crate) fn shares(&self) -> [Share; 2] {
        [self.slots.share(), self.origins.share()]
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.bytes() + self.origins.bytes()
    }

    pub(crate) fn pages(&self) -> Pages {
        self.slots.pages().min(self.origins.pages())
    }

    /// Slots that have ever been in use stand below this number.
    #[expect(clippy::cast_possible_truncation, reason = "slot numbers are 24 bits wide")]
    pub(crate) fn high_water(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_none() && self.slots.is_full()
    }

    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.slots.prefetch(slot as usize);
    }

    /// The same for a slot that is taken out: its origin too.
    #[inline]
    pub(crate) fn prefetch_all(&self, slot: u32) {
        self.slots.prefetch(slot as usize);
        self.origins.prefetch(slot as usize);
    }

    #[inline]
    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// Whether the slot that a guess names, if there is one, has had no packet since `start`.
    #[inline(always)]
    pub(crate) fn is_before(&self, guess: u32, start: Tick) -> bool {
        self.slots.get(guess as usize).is_some_and(|slot| slot.is_before(start))
    }

    /// Counts a packet in the slot that a guess names, if there is one and the packet is surely
    /// one more of the same part of its flow.
    #[inline(always)]
    pub(crate) fn count_guessed(&mut self, guess: u32, packet: &Packet, limits: &Limits) -> bool {
        let number = guess as usize;
        self.slots.get_mut(number).is_some_and(|slot| {
            slot.goes_on_with(packet, limits)
                && slot.count_more::<true>(packet, || &mut self.origins[number])
        })
    }

    /// Counts the first packet of a slot's flow. See [`Slot::count`].
    pub(crate) fn count_first(&mut self, slot: u32, packet: &Packet) -> bool {
        let number = slot as usize;
        self.slots[number].count_first(packet, || &mut self.origins[number])
    }

    /// Counts another one.
    pub(crate) fn count_more(&mut self, slot: u32, packet: &Packet) -> bool {
        let number = slot as usize;
        self.slots[number].count_more::<false>(packet, || &mut self.origins[number])
    }

    /// See [`Slot::note_shunted`].
    pub(crate) fn note_shunted(&mut self, slot: u32, last: Tick) {
        self.slots[slot as usize].note_shunted(last);
    }

    /// See [`Slot::is_ended_by`].
    pub(crate) fn is_ended_by(&self, slot: u32, packet: &Packet) -> bool {
        self.slots[slot as usize].is_ended_by(packet, &self.origins[slot as usize])
    }

    /// A slot for the flow that `packet` begins, if there is room.
    pub(crate) fn take(&mut self, packet: &Packet) -> Option<u32> {
        let (slot, origin) = (Slot::new(packet), Origin::new(packet));
        if let Some(number) = self.free {
            self.free = self.slots[number as usize].next_free();
            self.slots[number as usize] = slot;
            self.origins[number as usize] = origin;
            self.live += 1;
            return Some(number);
        }
        if self.slots.is_full() {
            return None;
        }
        self.slots.push(slot);
        self.origins.push(origin);
        self.live += 1;
        Some(self.high_water() - 1)
    }

    pub(crate) fn release(&mut self, slot: u32) {
        let freed = &mut self.slots[slot as usize];
        assert!(freed.is_live(), "slot {slot} released twice");
        freed.set_free(self.free);
        self.free = Some(slot);
        self.live -= 1;
    }

    /// What a slot has counted since the last time.
    #[expect(clippy::inline_always, reason = "a delta is written once, where it is sent")]
    #[inline(always)]
    pub(crate) fn take_delta(&mut self, slot: u32) -> Delta {
        self.slots[slot as usize].take_delta(&mut self.origins[slot as usize])
    }

    /// The same, of a flow that goes on in another part from `now`.
    pub(crate) fn take_part(&mut self, slot: u32, now: Tick) -> Delta {
        let mut delta = self.take_delta(slot);
        delta.end = Some(EndReason::Active);
        self.slots[slot as usize].begin_part(now, &mut self.origins[slot as usize]);
        delta
    }
}
