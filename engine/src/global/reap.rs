//! `reap`, the clean-up thread: evicts complete records from the global map and hands them
//! to export.
//!
//! A record is complete when its core has said that the flow is over; packet time decided
//! that in the core table, so when `reap` comes by changes when a record appears, never what
//! it says.

use crate::flow::{Delta, FlowKey};
use crate::global::map::GlobalMap;
use crate::global::{Ended, GlobalCounters, Step};
use crate::sync::Idle;
use crate::sync::ring::Consumer;

/// Keys in flight from one merge thread. When all are, `merge` evicts by itself.
pub const FINISHED_KEYS: usize = 4_096;

/// What a [`Reap`] is made with.
#[derive(Debug)]
pub struct Reap<'a, E> {
    /// Keys of complete records, from each merge thread.
    pub finished: Vec<Consumer<FlowKey>>,
    /// The map that it evicts from.
    pub map: &'a GlobalMap,
    /// To the sinks.
    pub ended: E,
    /// What it has done.
    pub counters: &'a GlobalCounters,
}

impl<E: Ended> Reap<'_, E> {
    /// Evicts until every merge thread is gone, then finalises the map.
    pub fn run(mut self) {
        let mut idle = Idle::default();
        loop {
            match self.step() {
                Step::Worked => idle.reset(),
                Step::Idle => idle.wait(),
                Step::Done => return self.finalise(),
            }
        }
    }

    /// Evicts what `merge` says is complete. When all is done, [`Reap::finalise`] is left to
    /// do.
    pub fn step(&mut self) -> Step {
        // Asked before looking for keys, so that none can arrive between.
        let done = self.finished.iter().all(Consumer::is_abandoned);
        if self.evict_finished() {
            return Step::Worked;
        }
        self.ended.flush();
        if done { Step::Done } else { Step::Idle }
    }

    /// Whether there was anything to evict.
    fn evict_finished(&mut self) -> bool {
        let mut any = false;
        for lane in 0..self.finished.len() {
            while let Some(key) = self.finished[lane].pop() {
                any = true;
                // A flow that was split is its merge thread's; the key may be that of one before.
                self.evict(&key, |total| total.is_complete() && total.part == 0);
            }
        }
        any
    }

    /// Evicts `key` if `when` holds for it.
    fn evict(&mut self, key: &FlowKey, when: impl Fn(&Delta) -> bool) {
        if let Some(record) = self.map.evict(key, when) {
            self.counters.end(record, &mut self.ended);
        }
    }

    /// Ends every record that is left: no core is there any more that could add to it.
    pub fn finalise(mut self) {
        for part in 0..self.map.parts() {
            let mut rest = Vec::new();
            self.map.for_each_in(part, |key, _| rest.push(*key));
            rest.iter().for_each(|key| self.evict(key, |_| true));
        }
        self.ended.flush();
    }
}

#[cfg(test)]
mod tests;
