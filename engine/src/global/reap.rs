//! `reap`, the clean-up thread: evicts complete records from the global map and hands them
//! to export.
//!
//! A record is complete when all its halves have closed; packet time decided that in the
//! core tables, so when `reap` comes by changes when a record appears, never what it says.
//! Where a flow may have several halves (live, several queues) that holds but for two
//! things: a long flow is cut when `reap` comes round, and a half that is published later
//! than [`LATE_HALF`] after the others have closed begins a record of its own.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::flow::{Delta, EndReason, FlowKey};
use crate::global::map::GlobalMap;
use crate::global::{Ended, GlobalCounters, Step};
use crate::limits::LATE_HALVES;
use crate::sync::Idle;
use crate::sync::ring::Consumer;
use crate::time::Tick;

/// How often `reap` goes over the whole map for records that no hint came for.
const ROUND: Duration = Duration::from_secs(5);

/// How long a complete record waits for a late half, where flows may have several: two
/// publish intervals.
const LATE_HALF: Duration = Duration::from_secs(2);

/// Hints in flight from one merge thread; what does not fit is found by the round.
pub const HINTS: usize = 4_096;

/// What a [`Reap`] is made with.
#[derive(Debug)]
pub struct Reap<'a, E> {
    /// Complete keys, from each merge thread.
    pub finished: Vec<Consumer<FlowKey>>,
    /// The map that it evicts from.
    pub map: &'a GlobalMap,
    /// Whether every flow is seen by one core only. If not, no core can cut a flow at the
    /// active timeout, as the others go on counting it; then `reap` does, on its round.
    pub symmetric: bool,
    /// The active timeout.
    pub active_ns: Tick,
    /// To the sinks.
    pub ended: E,
    /// What it has done.
    pub counters: &'a GlobalCounters,
    /// What it has to come back to.
    pub agenda: Agenda,
}

/// What `reap` has to come back to. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Agenda {
    /// Complete records that may get a late half, and since when they wait.
    waiting: VecDeque<(Duration, FlowKey)>,
    /// When it last went over the whole map.
    round: Duration,
}

impl<E: Ended> Reap<'_, E> {
    /// Evicts until every merge thread is gone, then finalises the map.
    pub fn run(mut self) {
        let start = Instant::now();
        let mut idle = Idle::default();
        loop {
            match self.step(start.elapsed()) {
                Step::Worked => idle.reset(),
                Step::Idle => idle.wait(),
                Step::Done => return self.finalise(),
            }
        }
    }

    /// Evicts what is due at `now`. When all is done, [`Reap::finalise`] is left to do.
    pub fn step(&mut self, now: Duration) -> Step {
        // Asked before looking for hints, so that none can arrive between.
        let done = self.finished.iter().all(Consumer::is_abandoned);
        let any = self.take_hints(now);
        while let Some((since, key)) = self.agenda.waiting.front().copied() {
            if now.saturating_sub(since) < LATE_HALF {
                break;
            }
            self.agenda.waiting.pop_front();
            self.evict(&key, Delta::is_complete);
        }
        if now.saturating_sub(self.agenda.round) >= ROUND {
            self.agenda.round = now;
            self.go_round();
            self.cut_long();
        }
        if any {
            return Step::Worked;
        }
        self.ended.flush();
        if done { Step::Done } else { Step::Idle }
    }

    /// Evicts the keys that `merge` says are complete, or puts them off. Whether there
    /// were any.
    fn take_hints(&mut self, now: Duration) -> bool {
        let mut any = false;
        for lane in 0..self.finished.len() {
            while let Some(key) = self.finished[lane].pop() {
                any = true;
                if self.symmetric {
                    self.evict(&key, Delta::is_complete);
                } else if self.agenda.waiting.len() < LATE_HALVES {
                    self.agenda.waiting.push_back((now, key));
                }
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

    /// The keys of a part of the map for which `when` holds.
    fn keys_of(&self, part: usize, when: impl Fn(&FlowKey, &Delta) -> bool) -> Vec<FlowKey> {
        let mut keys = Vec::new();
        self.map.for_each_in(part, |key, total| {
            if when(key, total) {
                keys.push(*key);
            }
        });
        keys
    }

    /// Evicts complete records that are not waiting for a late half.
    fn go_round(&mut self) {
        let waiting: HashSet<_> = self.agenda.waiting.iter().map(|(_, key)| *key).collect();
        for part in 0..self.map.parts() {
            let due =
                self.keys_of(part, |key, total| total.is_complete() && !waiting.contains(key));
            due.iter().for_each(|key| self.evict(key, Delta::is_complete));
        }
    }

    /// Cuts records that span the active timeout, where no core does.
    fn cut_long(&mut self) {
        if self.symmetric {
            return;
        }
        let active_ns = self.active_ns;
        let is_long = |total: &Delta| {
            !total.is_complete()
                && total.first <= total.last
                && total.last.abs_diff(total.first) >= active_ns
        };
        for part in 0..self.map.parts() {
            for key in self.keys_of(part, |_, total| is_long(total)) {
                if let Some(mut cut) = self.map.cut(&key, is_long) {
                    cut.total.end = Some(EndReason::Active);
                    // The part that goes on is a record of its own.
                    self.counters.created.add(1);
                    self.counters.end(cut, &mut self.ended);
                }
            }
        }
    }

    /// Ends every record: no core is left that could add to it.
    pub fn finalise(mut self) {
        for part in 0..self.map.parts() {
            let rest = self.keys_of(part, |_, _| true);
            rest.iter().for_each(|key| self.evict(key, |_| true));
        }
        self.ended.flush();
    }
}

#[cfg(test)]
mod tests;
