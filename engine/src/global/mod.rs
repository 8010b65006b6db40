//! All flows: what the cores publish is merged here, and leaves as ended records.
//!
//! [`map`] is the concurrent map of immutable records, each in its [`cell`]; [`merge`] is its
//! only inserter, for its share of the keys; [`reap`] takes ended records out.

pub mod cell;
pub mod map;
pub mod merge;
pub mod reap;

use crate::flow::{Delta, Features, FlowRecord};
use crate::sync::Counter;

/// Where ended records go: a batch of them at a time.
pub trait Ended {
    /// Takes a record that has left the engine's hands.
    fn ended(&mut self, record: FlowRecord);
    /// Takes many, and gives back the batch, or an empty one with as much room in its place.
    fn ended_all(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        batch.drain(..).for_each(|record| self.ended(record));
        batch
    }
    /// The same as [`Ended::ended`], with the statistics of the record. Who has no use for them
    /// takes the record.
    fn ended_with(&mut self, record: FlowRecord, _features: &Features) {
        self.ended(record);
    }
    /// The same as [`Ended::ended_all`], with the statistics of each record.
    fn ended_all_with(
        &mut self,
        mut batch: Vec<FlowRecord>,
        features: Vec<Features>,
    ) -> Vec<FlowRecord> {
        let pairs = batch.drain(..).zip(&features);
        pairs.for_each(|(record, features)| self.ended_with(record, features));
        batch
    }
    /// Sends on what has been taken so far.
    fn flush(&mut self);
    /// Whether it wants to know of every delta: if not, nothing of what follows is called.
    fn wants_deltas(&self) -> bool {
        false
    }
    /// A round over all rings begins.
    fn round_begins(&mut self) {}
    /// A batch of deltas was received.
    fn batch_begins(&mut self) {}
    /// A delta is to be merged; `before` is what its flow's record has counted so far, of a flow
    /// that has one.
    fn counted(&mut self, _delta: &FlowRecord, _before: Option<&Delta>) {}
    /// The round is over, in which there were deltas or none at all.
    fn round_ends(&mut self, _any: bool) {}
}

/// What one step of `merge` or `reap` came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There was something to do; there may be more.
    Worked,
    /// There was nothing to do; there may be later.
    Idle,
    /// There will be nothing any more: whoever feeds this thread is gone.
    Done,
}

/// What one `merge` or `reap` thread has done; written by it, readable by all; on
/// cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct GlobalCounters {
    /// Records begun: entered into the map, or passed by it whole.
    pub created: Counter,
    /// Records ended and handed to export.
    pub ended: Counter,
    /// Packets of flows in ended records.
    pub packets_in_flows: Counter,
    /// Packets in ended overflow aggregates.
    pub packets_in_overflow: Counter,
}

impl GlobalCounters {
    /// Counts an ended record and hands it on.
    fn end(&self, record: FlowRecord, ended: &mut impl Ended) {
        self.count_ended(&record);
        ended.ended(record);
    }

    /// The same, with statistics if there are any.
    fn end_with(&self, record: FlowRecord, features: Option<&Features>, ended: &mut impl Ended) {
        match features {
            None => self.end(record, ended),
            Some(features) => {
                self.count_ended(&record);
                ended.ended_with(record, features);
            }
        }
    }

    fn count_ended(&self, record: &FlowRecord) {
        self.ended.add(1);
        match record.kind {
            crate::flow::RecordKind::Flow => &self.packets_in_flows,
            crate::flow::RecordKind::Overflow => &self.packets_in_overflow,
        }
        .add(record.total.packets());
    }
}
