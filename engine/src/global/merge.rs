//! `merge`: folds deltas into the global map, in the order each core published them.
//!
//! There are one or more merge threads; each has a ring from every core and owns the keys
//! whose hash falls to its lane.

use crate::flow::{Delta, FlowKey, FlowRecord, RecordKind};
use crate::global::map::{GlobalMap, Merged};
use crate::global::{Ended, GlobalCounters, Step};
use crate::sync::Idle;
use crate::sync::ring::Producer;
use crate::table::outbox::Inbox;

/// How `merge` tells `reap` that a record is complete.
pub type FinishedKeys = Producer<FlowKey>;

/// One merge thread's state.
#[derive(Debug)]
pub struct Merge<'a, E> {
    /// One ring from each core.
    pub inboxes: Vec<Inbox>,
    /// The map that it merges into.
    pub map: &'a GlobalMap,
    /// To `reap`.
    pub finished: FinishedKeys,
    /// To the sinks.
    pub ended: E,
    /// What this thread has done.
    pub counters: &'a GlobalCounters,
}

impl<E: Ended> Merge<'_, E> {
    /// Merges until every core is gone and every ring is empty.
    pub fn run(mut self) {
        let mut idle = Idle::default();
        loop {
            match self.step() {
                Step::Worked => idle.reset(),
                Step::Idle => idle.wait(),
                Step::Done => return,
            }
        }
    }

    /// Merges one batch of each core, if there is any.
    pub fn step(&mut self) -> Step {
        // Asked before receiving, so that nothing can arrive between.
        let finished = self.inboxes.iter().all(Inbox::is_finished);
        if self.receive_all() {
            return Step::Worked;
        }
        self.ended.flush();
        if finished { Step::Done } else { Step::Idle }
    }

    /// Merges one batch of each core. Whether there was any.
    fn receive_all(&mut self) -> bool {
        let mut any = false;
        let mut inboxes = std::mem::take(&mut self.inboxes);
        for inbox in &mut inboxes {
            if let Some(batch) = inbox.take() {
                any = true;
                inbox.give_back(self.merge_all(batch));
            }
        }
        self.inboxes = inboxes;
        any
    }

    /// Merges a batch. Returns an empty one: those that need no merging go on in theirs.
    fn merge_all(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        batch.retain(|published| {
            // Begun and ended between two publications: no need to enter the map. Only a
            // complete record of an earlier flow can be in it; `reap` will take that.
            let is_ended = published.kind == RecordKind::Overflow || published.total.is_whole();
            if is_ended {
                self.counters.created.add(1);
                self.counters.count_ended(published);
            } else {
                self.merge(published);
            }
            is_ended
        });
        self.ended.ended_all(batch)
    }

    fn merge(&mut self, published: &FlowRecord) {
        let FlowRecord { key, total: delta, .. } = published;
        let (counters, ended) = (self.counters, &mut self.ended);
        let merged = self.map.merge(key, delta, |record| counters.end(record, ended));
        let complete = match merged {
            Merged::Created { complete } => {
                self.counters.created.add(1);
                complete
            }
            Merged::Folded { complete } => complete,
        };
        if delta.ends_part() {
            self.cut(key);
        }
        if complete && self.finished.push(*key).is_err() {
            // `reap` is behind: it is helped, or complete records would pile up.
            self.evict(key);
        }
    }

    /// Evicts a complete record, unless `reap` was faster.
    fn evict(&mut self, key: &FlowKey) {
        if let Some(record) = self.map.evict(key, Delta::is_complete) {
            self.counters.end(record, &mut self.ended);
        }
    }

    /// Ends a part: takes what has been counted, and leaves the beginning of the next one.
    fn cut(&mut self, key: &FlowKey) {
        // Only this thread merges deltas of the key, and `reap` leaves a flow alone that is
        // open: the part is what the last merge has made of it.
        let part = self.map.cut(key).expect("a flow that goes on stays in the map");
        self.counters.created.add(1);
        self.counters.end(part, &mut self.ended);
    }
}
