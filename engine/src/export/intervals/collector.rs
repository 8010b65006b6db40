//! The one writer of interval statistics: the `merge` thread, which gets every delta.
//!
//! **When an interval is closed.** A core says that it has sent all of an interval after it has
//! sent it. Whoever has seen that and then found every ring empty, or taken as many batches of each
//! as a ring holds, has it all. Until then the interval stays open: in `read` for a round of the
//! hand, some 5 to 10 s of packet time; live for 1 to 2 s. What comes later than that, which takes
//! a queue whose clock is behind another's, counts in the earliest interval that is open.

use std::collections::BTreeMap;

use crate::export::WhenFull;
use crate::export::intervals::cores::{CoreInbox, CoreIntervals, core_intervals};
use crate::export::intervals::interval::{Interval, Member, bounds_of};
use crate::export::intervals::{Entry, IntervalsPlan, Series, Sums};
use crate::export::queue::{Batch, Queue};
use crate::export::sink::Sink;
use crate::flow::{Delta, Direction, FlowRecord, RecordKind};
use crate::limits::{BATCH_RECORDS, RING_BATCHES};
use crate::sync::{Arc, Gauge};

/// Adds deltas up.
pub struct Collector {
    plan: Arc<IntervalsPlan>,
    cores: Vec<CoreInbox>,
    open: BTreeMap<u32, Interval>,
    /// All below this number are closed.
    closed_below: u32,
    /// Up to where to close, and how many rounds it takes at most until all of that is here.
    pending: Option<(u32, usize)>,
    /// Of lines, and of histograms.
    lines: Vec<Arc<Queue>>,
    logs: Vec<Arc<Queue>>,
    when_full: WhenFull,
    /// Packets that each interface had lost when the last interval was closed.
    lost: Vec<u64>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Collector {
    /// One that passes on to `sinks`, and for each of so many cores what belongs there.
    #[must_use]
    pub fn new(
        plan: &Arc<IntervalsPlan>,
        cores: usize,
        sinks: &[Sink],
        when_full: WhenFull,
    ) -> (Self, Vec<CoreIntervals>) {
        let (logs, lines): (Vec<_>, Vec<_>) = sinks.iter().partition(|sink| sink.is_log);
        let queues = |sinks: Vec<&Sink>| -> Vec<_> {
            sinks.into_iter().map(|sink| Arc::clone(&sink.queue)).collect()
        };
        let (lines, logs) = (queues(lines), queues(logs));
        let has_meters = !logs.is_empty();
        let core = |_| core_intervals(plan, has_meters, when_full);
        let (ends, cores) = (0..cores).map(core).unzip();
        let collector = Self {
            plan: Arc::clone(plan),
            cores,
            open: BTreeMap::new(),
            closed_below: 0,
            pending: None,
            lines,
            logs,
            when_full,
            lost: vec![0; plan.lost.len()],
        };
        (collector, ends)
    }

    /// Whether names are shown.
    pub(in crate::export) fn wants_names(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Adds a delta; `before` is what its flow's record has counted so far, and `name` what its
    /// responder is called.
    pub(in crate::export) fn count(
        &mut self,
        delta: &FlowRecord,
        before: Option<&Delta>,
        name: Option<&Arc<str>>,
    ) {
        let opening = delta.opening().or_else(|| before?.opening.as_ref());
        let initiator = opening.map_or(Direction::Forward, |opening| opening.initiator);
        let interface = opening.map(|opening| opening.interface);
        let number = delta.counted.interval().max(self.closed_below);
        // The end of a flow may come alone, long after its last packet.
        let has_packets = delta.total.packets() > 0;
        let has_lines = !self.lines.is_empty();
        let member = Member::of(delta, interface, initiator, name);
        if has_packets {
            let interval = self.open.entry(number).or_default();
            if !self.logs.is_empty() {
                interval.add_round_trips(&delta.total, before);
            }
            if has_lines {
                interval.add(&member, &Sums::of(delta, initiator));
            }
        }
        if has_lines && delta.kind == RecordKind::Flow && delta.total.is_complete() {
            let end = number.saturating_add(delta.counted.end_after());
            self.open.entry(end).or_default().add_end(&member);
        }
    }

    /// A round over all rings begins.
    pub(in crate::export) fn round_begins(&mut self) {
        let reached = self.cores.iter().map(CoreInbox::reached).min().unwrap_or_default();
        if self.pending.is_none() && reached > self.closed_below {
            self.pending = Some((reached, RING_BATCHES));
        }
    }

    /// It is over, in which there were deltas or none.
    pub(in crate::export) fn round_ends(&mut self, any: bool) {
        self.take_meters();
        match self.pending {
            Some((below, 0)) => self.close(below),
            Some((below, _)) if !any => self.close(below),
            Some((below, left)) => self.pending = Some((below, left - 1)),
            None => {}
        }
    }

    /// Every core is gone.
    pub(in crate::export) fn finish(&mut self) {
        self.take_meters();
        self.close(u32::MAX);
        if let Some(last) = self.open.remove(&u32::MAX) {
            self.pass_on(u32::MAX, last);
        }
    }

    fn take_meters(&mut self) {
        let Self { cores, open, closed_below, .. } = self;
        for core in cores {
            core.take(|meters| {
                let interval = open.entry(meters.number.max(*closed_below)).or_default();
                interval.add_values(Series::PacketSize, &meters.sizes);
                interval.add_values(Series::BatchTime, &meters.batches);
            });
        }
    }

    fn close(&mut self, below: u32) {
        self.pending = None;
        self.closed_below = below;
        while let Some(first) = self.open.first_entry()
            && *first.key() < below
        {
            let (number, interval) = first.remove_entry();
            self.pass_on(number, interval);
        }
    }

    fn pass_on(&mut self, number: u32, mut interval: Interval) {
        let dated = self.plan.calendar.date(number);
        self.plan.calendar.forget_below(number);
        let bounds = bounds_of(dated, self.plan.every_ns);
        if !self.lines.is_empty() {
            let now: Vec<_> = self.plan.lost.iter().map(Gauge::get).collect();
            let before = std::mem::replace(&mut self.lost, now);
            let lost: Vec<_> =
                self.lost.iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect();
            for (interface, _) in (0..).zip(&lost).filter(|(_, lost)| **lost > 0) {
                interval.note_interface(interface);
            }
            let lost = (!lost.is_empty()).then_some(&*lost);
            let when = (bounds, dated.map_or(0, |dated| dated.recording));
            offer(&self.lines, interval.lines(when, self.plan.top, lost), self.when_full);
        }
        if !self.logs.is_empty() {
            offer(&self.logs, interval.into_histograms(bounds), self.when_full);
        }
    }
}

/// Passes entries on, a batch at a time.
fn offer(queues: &[Arc<Queue>], entries: Vec<Entry>, when_full: WhenFull) {
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        let intervals = entries.by_ref().take(BATCH_RECORDS).collect();
        let batch = Arc::new(Batch { intervals, ..Batch::default() });
        queues.iter().for_each(|queue| queue.offer(&batch, when_full));
    }
}
