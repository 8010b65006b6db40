//! `merge`: folds deltas into the global map, in the order each core published them.
//!
//! There are one or more merge threads; each has a ring from every core and owns the keys
//! whose hash falls to its lane.
//!
//! **Statistics do not enter the map.** They come with the delta that ends a flow or a part, whole,
//! and the record that is theirs ends with that delta: here, in the same step, where `reap` would
//! do it otherwise. So only this thread ever has both, and nothing has to bring them together
//! again. A record of a flow that goes on has none, and needs none.
//!
//! **Parts of a flow end in their order.** What ends in the middle of a flow ends here, so the last
//! part of such a flow does too: another thread could be faster with it than this one with the one
//! before, whose labels it goes on with.

use crate::flow::{Delta, Features, FlowKey, FlowRecord, RecordKind};
use crate::global::map::{GlobalMap, Merged};
use crate::global::{Ended, GlobalCounters, Step};
use crate::sync::Idle;
use crate::sync::ring::Producer;
use crate::table::outbox::{Inbox, Published, end_part};

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
        let wants_deltas = self.ended.wants_deltas();
        if wants_deltas {
            self.ended.round_begins();
        }
        let any = self.receive_all();
        if wants_deltas {
            self.ended.round_ends(any);
        }
        if any {
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
    fn merge_all(&mut self, batch: Published) -> Published {
        let Published { mut deltas, features } = batch;
        if self.ended.wants_deltas() {
            self.ended.batch_begins();
        }
        let Some(features) = features else {
            deltas.retain(|published| {
                self.tell(published);
                self.is_ended(published) || self.merge(published, None)
            });
            return Published { deltas: self.ended.ended_all(deltas), features: None };
        };
        let mut ends = features.iter();
        let mut of_ended = Vec::with_capacity(deltas.len());
        deltas.retain(|published| {
            self.tell(published);
            let of_it = end_part(published).then(|| ends.next().expect("each end has statistics"));
            let goes_on = self.is_ended(published) || self.merge(published, of_it);
            if goes_on {
                // An overflow aggregate has none.
                of_ended.push(of_it.copied().unwrap_or(Features::EMPTY));
            }
            goes_on
        });
        assert!(ends.next().is_none(), "statistics without an end");
        let deltas = self.ended.ended_all_with(deltas, of_ended);
        Published { deltas, features: Some(features) }
    }

    /// Tells whoever wants to know of a delta that is to be merged.
    #[inline]
    fn tell(&mut self, published: &FlowRecord) {
        if !self.ended.wants_deltas() {
            return;
        }
        let is_first = published.kind == RecordKind::Overflow || published.total.opening.is_some();
        let before = if is_first { None } else { self.map.look(&published.key, |total| *total) };
        self.ended.counted(published, before.as_ref());
    }

    /// Whether a delta is a whole record, which is counted as ended then.
    fn is_ended(&mut self, published: &FlowRecord) -> bool {
        // Begun and ended between two publications: no need to enter the map. Only a
        // complete record of an earlier flow can be in it; `reap` will take that.
        let is_ended = published.kind == RecordKind::Overflow || published.total.is_whole();
        if is_ended {
            self.counters.created.add(1);
            self.counters.count_ended(published);
        }
        is_ended
    }

    /// Merges a delta into its record; `features` are there where they are kept and an end comes
    /// with it. Always false: it goes on in the map, not in its batch.
    fn merge(&mut self, published: &FlowRecord, features: Option<&Features>) -> bool {
        let FlowRecord { key, total: delta, .. } = published;
        let (counters, ended) = (self.counters, &mut self.ended);
        let merged = self.map.merge(key, delta, |record| counters.end(record, ended));
        let (complete, part) = match merged {
            Merged::Created { complete } => {
                self.counters.created.add(1);
                (complete, 0)
            }
            Merged::Folded { complete, part } => (complete, part),
        };
        if delta.ends_part() {
            self.cut(key, features);
        }
        // The last part follows those that end here. If `reap` is behind it is helped, or complete
        // records would pile up.
        let is_ours = features.is_some() || part > 0;
        if complete && (is_ours || self.finished.push(*key).is_err()) {
            self.evict(key, features);
        }
        false
    }

    /// Evicts a complete record, unless `reap` was faster.
    fn evict(&mut self, key: &FlowKey, features: Option<&Features>) {
        if let Some(record) = self.map.evict(key, Delta::is_complete) {
            self.counters.end_with(record, features, &mut self.ended);
        }
    }

    /// Ends a part: takes what has been counted, and leaves the beginning of the next one.
    fn cut(&mut self, key: &FlowKey, features: Option<&Features>) {
        // Only this thread merges deltas of the key, and `reap` leaves a flow alone that is
        // open: the part is what the last merge has made of it.
        let part = self.map.cut(key).expect("a flow that goes on stays in the map");
        self.counters.created.add(1);
        self.counters.end_with(part, features, &mut self.ended);
    }
}
