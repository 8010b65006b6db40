//! From the threads that end records to the queues of all sinks, a batch at a time.

use crate::export::WhenFull;
use crate::export::intervals::Collector;
use crate::export::queue::{Batch, Queue, is_well_filled};
use crate::export::sink::Sink;
use crate::flow::{Delta, Features, FlowRecord, RecordKind};
use crate::global::Ended;
use crate::limits::BATCH_RECORDS;
use crate::names::{Labeller, Tables};
use crate::sync::Arc;

/// Passes ended records to every sink, labelled once for all. Each `merge` or `reap` thread has
/// its own.
pub struct Distributor {
    batch: Vec<FlowRecord>,
    /// Of the records of the batch, as far as there are any.
    features: Vec<Features>,
    sinks: Vec<Arc<Queue>>,
    when_full: WhenFull,
    labeller: Option<Labeller>,
    intervals: Option<Collector>,
    /// Names as of the batch of deltas that is being merged, once one was asked for.
    tables: Option<Tables>,
}

impl std::fmt::Debug for Distributor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distributor").field("when_full", &self.when_full).finish_non_exhaustive()
    }
}

impl Distributor {
    /// To all of `sinks`.
    #[must_use]
    pub fn new(sinks: &[Sink], when_full: WhenFull) -> Self {
        let sinks = sinks.iter().map(|sink| Arc::clone(&sink.queue)).collect();
        let batch = Vec::with_capacity(BATCH_RECORDS);
        let (features, labeller) = (Vec::new(), None);
        Self { batch, features, sinks, when_full, labeller, intervals: None, tables: None }
    }

    /// The same, with labels.
    #[must_use]
    pub fn with_labels(mut self, labeller: Option<Labeller>) -> Self {
        self.labeller = labeller;
        self
    }

    /// The same, with statistics of intervals.
    #[must_use]
    pub fn with_intervals(mut self, intervals: Option<Collector>) -> Self {
        self.intervals = intervals;
        self
    }
}

impl Ended for Distributor {
    fn ended(&mut self, record: FlowRecord) {
        self.batch.push(record);
        if self.batch.len() == BATCH_RECORDS {
            self.flush();
        }
    }

    fn ended_with(&mut self, record: FlowRecord, features: &Features) {
        // One without them may have come before.
        self.features.resize(self.batch.len(), Features::EMPTY);
        self.features.push(*features);
        self.ended(record);
    }

    /// Passes a batch on as it is: copying a record takes as long as encoding it. But not one
    /// whose memory is mostly empty.
    fn ended_all(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        if !is_well_filled(&batch) {
            batch.drain(..).for_each(|record| self.ended(record));
            return batch;
        }
        let next = Vec::with_capacity(batch.capacity());
        self.offer(batch, Vec::new());
        next
    }

    fn ended_all_with(
        &mut self,
        mut batch: Vec<FlowRecord>,
        features: Vec<Features>,
    ) -> Vec<FlowRecord> {
        if !is_well_filled(&batch) {
            let pairs = batch.drain(..).zip(&features);
            pairs.for_each(|(record, features)| self.ended_with(record, features));
            return batch;
        }
        let next = Vec::with_capacity(batch.capacity());
        self.offer(batch, features);
        next
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            let next = Vec::with_capacity(BATCH_RECORDS);
            let batch = std::mem::replace(&mut self.batch, next);
            let features = std::mem::take(&mut self.features);
            self.offer(batch, features);
        }
    }

    #[inline]
    fn wants_deltas(&self) -> bool {
        self.intervals.is_some()
    }

    fn round_begins(&mut self) {
        self.intervals.iter_mut().for_each(Collector::round_begins);
    }

    fn batch_begins(&mut self) {
        self.tables = None;
    }

    fn counted(&mut self, delta: &FlowRecord, before: Option<&Delta>) {
        let Self { intervals, labeller, tables, .. } = self;
        let Some(intervals) = intervals else { return };
        let labeller = labeller.as_mut().filter(|_| intervals.wants_names());
        let name = labeller.filter(|_| delta.kind == RecordKind::Flow).and_then(|labeller| {
            let tables = tables.get_or_insert_with(|| labeller.tables());
            tables.name_in(delta, before)
        });
        intervals.count(delta, before, name.as_ref());
    }

    fn round_ends(&mut self, any: bool) {
        self.intervals.iter_mut().for_each(|intervals| intervals.round_ends(any));
    }
}

impl Distributor {
    /// `features` are of the first records, or of all.
    fn offer(&mut self, records: Vec<FlowRecord>, mut features: Vec<Features>) {
        if !features.is_empty() {
            features.resize(records.len(), Features::EMPTY);
        }
        let labels = match &mut self.labeller {
            Some(labeller) => labeller.label(&records),
            None => Vec::new(),
        };
        let batch = Arc::new(Batch { records, features, labels, ..Batch::default() });
        self.sinks.iter().for_each(|queue| queue.offer(&batch, self.when_full));
    }
}

impl Drop for Distributor {
    fn drop(&mut self) {
        self.flush();
        self.intervals.iter_mut().for_each(Collector::finish);
    }
}
