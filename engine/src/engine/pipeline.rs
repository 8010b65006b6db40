//! What stands behind every core table: `merge` threads, `reap`, and the sinks.

use std::thread::{Scope, ScopedJoinHandle};

use crate::decode::Decoder;
use crate::devices::DevicesSetup;
use crate::engine::Dealt;
use crate::engine::payloads::Payloads;
use crate::error::{Error, Result};
use crate::export::intervals::{Collector, CoreIntervals, IntervalsPlan};
use crate::export::{Distributor, Sink, WhenFull};
use crate::flow::FeaturesSet;
use crate::global::map::GlobalMap;
use crate::global::merge::Merge;
use crate::global::reap::{FINISHED_KEYS, Reap};
use crate::ledger::Accounts;
use crate::limits::{BATCH_DELTAS, NAMES_PATIENCE, RING_BATCHES};
use crate::names::{DevicesReader, Names, NamesCounters};
use crate::sync::ring::ring;
use crate::sync::{Arc, AtomicUsize, Ordering, thread};
use crate::table::outbox::{Outbox, outbox};

/// The threads behind the core tables.
pub(super) struct Pipeline<'scope> {
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    running: Arc<Running>,
    devices: Option<DevicesReader>,
}

/// How many of the threads run, and who is woken when none does any more.
struct Running {
    threads: AtomicUsize,
    main: thread::Thread,
}

/// Held by each of them until it ends.
struct Held(Arc<Running>);

impl Held {
    fn new(running: &Arc<Running>) -> Self {
        // Relaxed: it is of the thread that looks.
        running.threads.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Release: pairs with the acquire in `Pipeline::is_finished`.
        if self.0.threads.fetch_sub(1, Ordering::Release) == 1 {
            self.0.main.unpark();
        }
    }
}

/// What differs between `read` and `capture` behind the core tables.
pub(super) struct Shape<'a> {
    /// What becomes of records that a sink is too slow for.
    pub(super) when_full: WhenFull,
    /// Core tables.
    pub(super) cores: usize,
    /// What is kept of flows.
    pub(super) features_set: FeaturesSet,
    /// See [`crate::engine::Settings::max_names`].
    pub(super) max_names: Option<usize>,
    /// What statistics of intervals are made by, if any are.
    pub(super) intervals: Option<&'a Arc<IntervalsPlan>>,
    /// What is known of devices before.
    pub(super) devices: &'a DevicesSetup,
    /// As those that decode are.
    pub(super) decoder: &'a Decoder,
}

/// What feeds the threads behind the core tables. They end when it is gone.
pub(super) struct Feeds {
    /// One for each core table.
    pub(super) outboxes: Vec<Outbox>,
    /// One for each decoder, or none.
    pub(super) payloads: Vec<Payloads>,
    /// One for each core table, or none.
    pub(super) intervals: Vec<CoreIntervals>,
}

/// The counters of a run with so many decoders and merge threads, if names are wanted.
pub(super) fn names_counters(
    max_names: Option<usize>,
    decoders: usize,
    merges: usize,
) -> Option<Arc<NamesCounters>> {
    // `reap` ends records too.
    max_names.map(|_| Arc::new(NamesCounters::new(decoders, merges + 1)))
}

impl<'scope> Pipeline<'scope> {
    /// Starts merging into `map` what the core tables publish into the outboxes that are
    /// returned. Ends by itself when all outboxes are gone.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        map: &'env GlobalMap,
        accounts: &'env Accounts,
        dealt: &Dealt<'_, Sink>,
        shape: &Shape<'_>,
    ) -> Result<(Feeds, Self)> {
        let Shape { when_full, cores, features_set, max_names, decoder, .. } = *shape;
        let Shape { intervals: plan, devices, .. } = *shape;
        let sinks = dealt.records;
        let merges = accounts.globals.len() - 1;
        let collector = plan.map(|plan| Collector::new(plan, cores, dealt.intervals, when_full));
        if collector.is_some() && merges > 1 {
            return Err(Error::new("statistics of intervals", "several threads merge")
                .advise("leave it at one merge thread"));
        }
        let (mut collector, intervals) = collector.unzip();
        let mut outboxes = Vec::with_capacity(cores);
        let mut lanes: Vec<Vec<_>> = (0..merges).map(|_| Vec::with_capacity(cores)).collect();
        for _ in 0..cores {
            let (outbox, inboxes) = outbox(merges, RING_BATCHES, BATCH_DELTAS, features_set);
            outboxes.push(outbox);
            lanes.iter_mut().zip(inboxes).for_each(|(lane, inbox)| lane.push(inbox));
        }
        let main = thread::current();
        let running = Arc::new(Running { threads: AtomicUsize::new(0), main });
        let mut threads = Vec::with_capacity(merges + 2);
        let mut start = |name: String, run: Box<dyn FnOnce() + Send + 'scope>| {
            let held = Held::new(&running);
            threads.push(spawn(scope, name, move || {
                let _held = held;
                run();
            })?);
            Ok::<_, Error>(())
        };
        let (mut payloads, mut labellers, mut reader) = (Vec::new(), Vec::new(), None);
        if let (Some(max_names), Some(counters)) = (max_names, &accounts.names_learned) {
            // Packets that can wait do so until all is known.
            let patience = (when_full == WhenFull::Drop).then_some(NAMES_PATIENCE);
            let names = Names::new(counters, max_names, devices, patience);
            reader = Some(names.devices);
            let log = dealt.dns_log.map(|log| log.transactions(when_full));
            let thread = names.thread.with_log(log);
            start("names".to_owned(), Box::new(|| thread.run()))?;
            payloads = Payloads::all(names.senders, decoder, counters);
            labellers = names.labellers;
        }
        let mut labellers = labellers.into_iter();
        let mut finished = Vec::with_capacity(merges);
        for (idx, inboxes) in lanes.into_iter().enumerate() {
            let (to_reap, keys) = ring(FINISHED_KEYS);
            finished.push(keys);
            let merge = Merge {
                inboxes,
                map,
                finished: to_reap,
                ended: Distributor::new(sinks, when_full)
                    .with_labels(labellers.next())
                    .with_intervals(collector.take()),
                counters: &accounts.globals[idx],
            };
            start(format!("merge-{idx}"), Box::new(|| merge.run()))?;
        }
        let reap = Reap {
            finished,
            map,
            ended: Distributor::new(sinks, when_full).with_labels(labellers.next()),
            counters: &accounts.globals[merges],
        };
        start("reap".to_owned(), Box::new(|| reap.run()))?;
        let intervals = intervals.unwrap_or_default();
        Ok((Feeds { outboxes, payloads, intervals }, Self { threads, running, devices: reader }))
    }

    /// What devices there are, if names are learned.
    pub(super) fn devices(&self) -> Option<DevicesReader> {
        self.devices.clone()
    }

    /// Whether every thread is done.
    pub(super) fn is_finished(&self) -> bool {
        // Acquire: pairs with the release in `Held`.
        self.running.threads.load(Ordering::Acquire) == 0
    }

    /// Waits until everything published has been merged, ended and handed to the sinks.
    pub(super) fn join(self) {
        for thread in self.threads {
            thread.join().expect("merge, reap and names do not panic");
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
