//! The stages of the packet path: frames past the filter, frames into packets, packets into a
//! table.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::decode::{Cause, Decoder, Packet};
use crate::export::intervals::CoreIntervals;
use crate::flow::FlowKey;
use crate::ledger::ReceiveCounters;
use crate::limits::BATCH_PACKETS;
use crate::source::Frame;
use crate::sync::thread;
use crate::table::outbox::Outbox;
use crate::table::{Ahead, BATCH_ROOM, CoreTable, Outlet, SHUNTED_ROOM, Shunted};
use crate::time::Tick;

/// How long a thread that may wait sleeps when the next stage has no room.
const WAIT: Duration = Duration::from_micros(50);

/// Batches longer than this are recorded as this long, in ns.
const BATCH_NS_MAX: u64 = 60_000_000_000;

/// Counts a frame by the filter's verdict on it, and says that again. What is filtered out is
/// neither decoded nor moves the packet clock: the records are those of a capture without it.
#[inline]
pub(super) fn admit(accepts: bool, counters: &ReceiveCounters) -> bool {
    let counter = if accepts { &counters.received } else { &counters.filtered };
    counter.add(1);
    accepts
}

/// Decodes a frame to `packet` and counts what became of it. Where the packet's payload begins in
/// the frame.
///
/// # Errors
/// The cause, for frames without a usable packet.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what goes through memory is waited for")]
pub(super) fn decode(
    decoder: &mut Decoder,
    frame: &Frame<'_>,
    counters: &ReceiveCounters,
    packet: &mut Packet,
) -> std::result::Result<usize, Cause> {
    counters.decoded.add(1);
    let decoded = decoder.decode_to(frame, packet);
    if let Err(cause) = decoded {
        counters.undecodable[cause.idx()].add(1);
    }
    decoded
}

/// Takes over what a decoder has noted.
pub(super) fn note(decoder: &mut Decoder, counters: &ReceiveCounters) {
    let notes = decoder.take_notes();
    counters.encapsulation_not_kept.add(notes.encapsulation_not_kept);
    counters.vlan_not_kept.add(notes.vlan_not_kept);
    counters.steps_back.add(notes.steps_back);
    counters.fragments_alone.add(notes.fragments.alone);
    counters.fragments_overlapping.add(notes.fragments.overlapping);
    counters.fragments_forgotten.add(notes.fragments.forgotten);
}

/// One core: its table, its way to `merge`, and how long its batches take.
pub(super) struct Core<'a> {
    table: CoreTable<'a>,
    outbox: Outbox,
    batch_ns: Histogram<u64>,
    /// If somebody asks for them.
    intervals: Option<CoreIntervals>,
}

impl<'a> Core<'a> {
    pub(super) fn new(table: CoreTable<'a>, outbox: Outbox) -> Self {
        let batch_ns = Histogram::new_with_bounds(1, BATCH_NS_MAX, 3)
            .expect("these bounds are within what a histogram can hold");
        Self { table, outbox, batch_ns, intervals: None }
    }

    /// The same, with statistics of intervals.
    pub(super) fn with_intervals(mut self, intervals: Option<CoreIntervals>) -> Self {
        self.intervals = intervals;
        if let Some(intervals) = &mut self.intervals {
            let grid = intervals.new_grid().unwrap_or_else(|| intervals.grid());
            self.table.set_intervals(grid);
        }
        self
    }

    /// What takes the table's memory ahead of it.
    pub(super) fn ahead(&self) -> Ahead<'a> {
        self.table.ahead()
    }

    /// Counts a batch. With the rings full, flows are closed later; so this never waits, unless it
    /// [`Core::may_wait`].
    pub(super) fn count(&mut self, packets: &[Packet]) {
        self.follow_grid();
        let start = Instant::now();
        self.table.count(packets, &mut self.outbox);
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(BATCH_NS_MAX);
        self.batch_ns.saturating_record(ns);
        if let Some(intervals) = &mut self.intervals {
            intervals.measure(packets, ns);
            self.reach();
        }
    }

    /// Whether it may wait for `merge` to take what was measured.
    pub(super) fn may_wait(&self) -> bool {
        self.intervals.as_ref().is_some_and(CoreIntervals::may_wait)
    }

    /// Goes on in other intervals where the clock that they are aligned to was put.
    fn follow_grid(&mut self) {
        if let Some(grid) = self.intervals.as_mut().and_then(CoreIntervals::new_grid) {
            self.table.put_intervals(grid);
        }
    }

    /// Says up to where everything is published.
    fn reach(&mut self) {
        let Some(intervals) = &mut self.intervals else { return };
        let below = self.table.complete_below();
        if intervals.is_news(below) && self.outbox.flush() {
            intervals.reach(below);
        }
    }

    /// All packets before `tick` are counted: where it matters how far the packet clock is though
    /// no packets come, moves the hand, unless the table is further.
    pub(super) fn idle_until(&mut self, tick: Tick) {
        if self.intervals.is_some() && tick >= self.table.now() {
            self.idle(tick);
        }
    }

    /// Whether there is room to close whatever a batch closes. Packets that can wait do so until
    /// there is, so that what is closed when depends on the packets only.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.room() >= BATCH_ROOM
    }

    /// Counts a batch once there is room.
    pub(super) fn count_with_room(&mut self, packets: &[Packet]) {
        while !self.has_room() {
            thread::park_timeout(WAIT);
        }
        self.count(packets);
    }

    /// Counts a packet that could not be passed on to its flow's core.
    pub(super) fn count_not_passed_on(&mut self, packet: &Packet) {
        self.table.count_not_passed_on(packet);
        if let Some(intervals) = &mut self.intervals {
            intervals.measure_one(packet);
        }
    }

    /// See [`CoreTable::is_elephant`].
    pub(super) fn is_elephant(&self, packet: &Packet, packets: u64) -> bool {
        self.table.is_elephant(packet, packets)
    }

    /// Whether what the kernel has counted can be brought home now.
    pub(super) fn has_room_for_shunted(&self) -> bool {
        self.outbox.room() >= SHUNTED_ROOM
    }

    /// Brings it home; there must be room.
    pub(super) fn bring_home(&mut self, key: &FlowKey, shunted: &Shunted) {
        self.table.bring_home(key, shunted, &mut self.outbox);
    }

    /// Moves the hand to `now`, and sends what is published. Whether it may have further to go, and
    /// room to: then it is to be moved again before anybody sleeps.
    pub(super) fn idle(&mut self, now: Tick) -> bool {
        self.follow_grid();
        let is_behind = self.table.advance(now, &mut self.outbox);
        self.outbox.flush();
        self.reach();
        is_behind
    }

    /// Sends what is published.
    pub(super) fn flush(&mut self) {
        self.outbox.flush();
    }

    /// Ends every flow at packet time `now`, waits until all is sent, and closes the way
    /// to `merge`. Returns how long the batches took.
    pub(super) fn finish(mut self, now: Tick) -> Histogram<u64> {
        while !self.table.drain(now, &mut self.outbox) {
            thread::park_timeout(WAIT);
        }
        while !self.outbox.flush() {
            thread::park_timeout(WAIT);
        }
        self.intervals.iter_mut().for_each(CoreIntervals::finish);
        self.batch_ns
    }
}

/// The batch times of all threads so far, and of one more.
pub(super) fn with_times(all: Option<Histogram<u64>>, more: Histogram<u64>) -> Histogram<u64> {
    let Some(mut all) = all else { return more };
    all.add(more).expect("histograms with the same bounds add up");
    all
}

/// A batch of packets being filled.
pub(super) struct PacketBatch {
    packets: Box<[Packet; BATCH_PACKETS]>,
    len: usize,
}

impl PacketBatch {
    pub(super) fn new() -> Self {
        Self { packets: Box::new([Packet::NONE; BATCH_PACKETS]), len: 0 }
    }

    /// Where the next packet goes; there is room for one.
    #[inline]
    pub(super) fn next(&mut self) -> &mut Packet {
        &mut self.packets[self.len]
    }

    /// Keeps what was written to [`PacketBatch::next`]. Whether the batch is full with it: then
    /// it must be emptied.
    #[inline]
    pub(super) fn keep(&mut self) -> bool {
        self.len += 1;
        self.len == BATCH_PACKETS
    }

    pub(super) fn packets(&self) -> &[Packet] {
        &self.packets[..self.len]
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}
