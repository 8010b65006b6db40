//! Where the packets that are read go: into the reader's own table, or to workers.

use super::{Shared, WAIT};
use crate::decode::{Cause, Packet};
use crate::engine::payloads::Payloads;
use crate::engine::stage::{Core, PacketBatch};
use crate::limits::BATCH_PACKETS;
use crate::source::Frame;
use crate::sync::{Ordering, thread};
use crate::table::exchange::Senders;
use crate::table::outbox::lane_of;
use crate::time::{Grid, Tick};

/// Where the reader's packets go.
pub(super) trait PacketSink {
    /// Where the next packet is to be written.
    fn next(&mut self) -> &mut Packet;
    /// Hands over its payload, which begins at `payload` in the frame, if there may be a name in
    /// it.
    fn hand_over(&mut self, frame: &Frame<'_>, payload: usize);
    /// Hands over what a frame that could not be decoded for `cause` may announce.
    fn hand_over_announcement(&mut self, frame: &Frame<'_>, cause: Cause, tick: Tick);
    /// Takes what was written there.
    fn keep(&mut self);
    /// Sends on what is under way: nobody knows when the next packet comes.
    fn pause(&mut self);
}

/// Into a table of the reader's own.
pub(super) struct Counting<'a> {
    pub(super) core: Core<'a>,
    pub(super) batch: PacketBatch,
    pub(super) payloads: Option<Payloads>,
}

impl Counting<'_> {
    /// Counts what is under way, and sends all payloads.
    pub(super) fn flush(&mut self) {
        self.payloads.iter_mut().for_each(Payloads::flush_all);
        self.count();
    }

    fn count(&mut self) {
        while !self.core.has_room() {
            // Whoever makes it waits for these.
            self.payloads.iter_mut().for_each(Payloads::flush);
            thread::park_timeout(WAIT);
        }
        self.core.count(self.batch.packets());
        self.batch.clear();
    }
}

impl PacketSink for Counting<'_> {
    #[inline]
    fn next(&mut self) -> &mut Packet {
        self.batch.next()
    }

    #[inline]
    fn hand_over(&mut self, frame: &Frame<'_>, payload: usize) {
        if let Some(payloads) = &mut self.payloads {
            payloads.hand_over(self.batch.next(), frame, payload);
        }
    }

    fn hand_over_announcement(&mut self, frame: &Frame<'_>, cause: Cause, tick: Tick) {
        if let Some(payloads) = &mut self.payloads {
            payloads.hand_over_announcement(frame, cause, tick);
        }
    }

    #[inline]
    fn keep(&mut self) {
        if self.batch.keep() {
            if self.core.may_wait() {
                // For who waits for payloads.
                return self.flush();
            }
            self.payloads.iter_mut().for_each(Payloads::flush_unless_behind);
            self.count();
        }
    }

    fn pause(&mut self) {
        self.flush();
    }
}

/// To the workers.
pub(super) struct Dealing<'a> {
    pub(super) payloads: Option<Payloads>,
    pub(super) to_workers: Senders,
    /// The packet that is dealt next.
    pub(super) packet: Packet,
    pub(super) workers: usize,
    pub(super) by_direction: bool,
    /// The place of the last packet that was dealt.
    pub(super) last: u64,
    /// The packet clock at the end of the input.
    pub(super) end: Tick,
    /// Intervals of packet time and the number of the last packet's, if it matters when one ends.
    pub(super) intervals: Option<(Grid, u32)>,
    /// What it tells the workers.
    pub(super) shared: &'a Shared,
}

/// Tells the workers the end of the input, also when the reader could not be started. The
/// lanes are closed after this.
impl Drop for Dealing<'_> {
    fn drop(&mut self) {
        self.shared.end.set(self.end).expect("there is one reader");
    }
}

impl Dealing<'_> {
    /// Deals out what is left; the input ended at `end`.
    pub(super) fn finish(mut self, end: Tick) {
        self.end = end;
        self.payloads.iter_mut().for_each(Payloads::flush_all);
        self.send_all();
    }

    /// Waits until the workers have all, which takes no payload any more.
    fn send_all(&mut self) {
        while !self.to_workers.flush(self.last) {
            thread::park_timeout(WAIT);
        }
    }

    /// Before the first packet of another interval: has the workers know of the end of the last one,
    /// also those that got nothing in it.
    fn end_interval(&mut self) {
        let tick = self.packet.tick;
        let Some((grid, number)) = &mut self.intervals else { return };
        let next = grid.number(tick);
        if next == std::mem::replace(number, next) {
            return;
        }
        while !self.to_workers.flush(self.last) {
            self.payloads.iter_mut().for_each(Payloads::flush);
            thread::park_timeout(WAIT);
        }
        // Relaxed: ordered by the store that follows.
        self.shared.dealt_place.store(self.last, Ordering::Relaxed);
        // Release: pairs with the acquire in `work` and `work_and_pass_on`; without it a worker could
        // know of this, and not yet of the packets before, or of the last one's place.
        self.shared.dealt_until.store(tick, Ordering::Release);
    }

    /// By key hash, so that a worker gets all of a flow, or each direction to another.
    fn worker_of(&self, packet: &Packet) -> usize {
        let worker = lane_of(packet.hash, self.workers);
        if self.by_direction { (worker + packet.direction.idx()) % self.workers } else { worker }
    }
}

impl PacketSink for Dealing<'_> {
    fn next(&mut self) -> &mut Packet {
        &mut self.packet
    }

    fn hand_over(&mut self, frame: &Frame<'_>, payload: usize) {
        if let Some(payloads) = &mut self.payloads {
            payloads.hand_over(&self.packet, frame, payload);
        }
    }

    fn hand_over_announcement(&mut self, frame: &Frame<'_>, cause: Cause, tick: Tick) {
        if let Some(payloads) = &mut self.payloads {
            payloads.hand_over_announcement(frame, cause, tick);
        }
    }

    fn keep(&mut self) {
        if self.intervals.is_some() {
            self.end_interval();
        }
        let worker = self.worker_of(&self.packet);
        while !self.to_workers.send(worker, &self.packet) {
            // Whoever waits for what comes before this packet must get it.
            self.to_workers.flush(self.last);
            self.payloads.iter_mut().for_each(Payloads::flush);
            thread::park_timeout(WAIT);
        }
        self.last = self.packet.ordinal;
        if self.last.is_multiple_of(BATCH_PACKETS as u64) {
            self.payloads.iter_mut().for_each(Payloads::flush_unless_behind);
            if self.by_direction {
                // Who takes in order must know how far this is.
                self.to_workers.flush(self.last);
            }
        }
    }

    fn pause(&mut self) {
        self.payloads.iter_mut().for_each(Payloads::flush_all);
        self.send_all();
    }
}
