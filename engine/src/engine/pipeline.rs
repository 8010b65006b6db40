//! What stands behind every core table: `merge` threads, `reap`, and the sinks.

use std::thread::{Scope, ScopedJoinHandle};

use crate::error::{Error, Result};
use crate::export::{Distributor, Sink, WhenFull};
use crate::flow::FeaturesSet;
use crate::global::map::GlobalMap;
use crate::global::merge::Merge;
use crate::global::reap::{FINISHED_KEYS, Reap};
use crate::ledger::Accounts;
use crate::limits::{BATCH_DELTAS, RING_BATCHES};
use crate::sync::ring::ring;
use crate::sync::thread;
use crate::table::outbox::{Outbox, outbox};

/// The threads behind the core tables.
pub(super) struct Pipeline<'scope> {
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
}

/// What differs between `read` and `capture` behind the core tables.
pub(super) struct Shape {
    /// What becomes of records that a sink is too slow for.
    pub(super) when_full: WhenFull,
    /// Core tables.
    pub(super) cores: usize,
    /// What is kept of flows.
    pub(super) features_set: FeaturesSet,
}

impl<'scope> Pipeline<'scope> {
    /// Starts merging into `map` what the core tables publish into the outboxes that are
    /// returned. Ends by itself when all outboxes are gone.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        map: &'env GlobalMap,
        accounts: &'env Accounts,
        sinks: &[Sink],
        shape: &Shape,
    ) -> Result<(Vec<Outbox>, Self)> {
        let Shape { when_full, cores, features_set } = *shape;
        let merges = accounts.globals.len() - 1;
        let mut outboxes = Vec::with_capacity(cores);
        let mut lanes: Vec<Vec<_>> = (0..merges).map(|_| Vec::with_capacity(cores)).collect();
        for _ in 0..cores {
            let (outbox, inboxes) = outbox(merges, RING_BATCHES, BATCH_DELTAS, features_set);
            outboxes.push(outbox);
            lanes.iter_mut().zip(inboxes).for_each(|(lane, inbox)| lane.push(inbox));
        }
        let mut threads = Vec::with_capacity(merges + 1);
        let mut finished = Vec::with_capacity(merges);
        for (idx, inboxes) in lanes.into_iter().enumerate() {
            let (to_reap, keys) = ring(FINISHED_KEYS);
            finished.push(keys);
            let merge = Merge {
                inboxes,
                map,
                finished: to_reap,
                ended: Distributor::new(sinks, when_full),
                counters: &accounts.globals[idx],
            };
            threads.push(spawn(scope, format!("merge-{idx}"), || merge.run())?);
        }
        let reap = Reap {
            finished,
            map,
            ended: Distributor::new(sinks, when_full),
            counters: &accounts.globals[merges],
        };
        let main = thread::current();
        threads.push(spawn(scope, "reap".to_owned(), move || {
            reap.run();
            // It is the last to end: `main` need not wait for its next look.
            main.unpark();
        })?);
        Ok((outboxes, Self { threads }))
    }

    /// Whether every thread is done.
    pub(super) fn is_finished(&self) -> bool {
        self.threads.iter().all(ScopedJoinHandle::is_finished)
    }

    /// Waits until everything published has been merged, ended and handed to the sinks.
    pub(super) fn join(self) {
        for thread in self.threads {
            thread.join().expect("merge and reap do not panic");
        }
    }
}

/// A named scoped thread.
///
/// # Errors
/// If the system has no thread to give.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new()
        .name(name.clone())
        .spawn_scoped(scope, run)
        .map_err(|e| Error::new(format!("start thread {name}"), e))
}
