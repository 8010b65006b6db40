//! `capture`: live interfaces, one `rx` thread for each receive queue.
//!
//! An `rx` thread owns its queue's socket, a decoder and a core table; it receives, decodes
//! and counts a batch at a time, and never waits for the threads behind it. With several
//! queues the two directions of a flow may arrive on different ones: each thread passes what
//! it has decoded on to the core that counts the flow ([`crate::table::exchange`]).

mod clock;
mod rx;

use std::time::{Duration, Instant};

use crate::engine::pipeline::{Pipeline, Shape, spawn};
use crate::engine::stage::with_times;
use crate::engine::{Control, Observer, Outcome, Settings, TICK, Watch, conclude};
use crate::error::{Error, Result};
use crate::export::{Patience, Sink, WhenFull};
use crate::flow::KeyHasher;
use crate::global::map::GlobalMap;
use crate::ledger::{Accounts, Timing};
use crate::limits::{MAX_CORES, SWEEP_SLOTS};
use crate::source::afxdp::{Tap, TapConfig};
use crate::sync::{Arc, Ordering, thread};
use crate::table::{CoreTable, Pace, TableConfig};
use crate::view::Views;
use crate::xdp::interface::Interface;
use rx::{Queue, Stages, make_threads};

/// How long after detaching the last frames may take to come out of the kernel.
const SETTLE: Duration = Duration::from_millis(500);

/// Captures from `interfaces` until told to stop.
///
/// # Errors
/// If an interface cannot be tapped or a sink cannot be opened. An interface that vanishes
/// later is an error of the [`Outcome`], which has all that came before.
pub fn capture(
    settings: &Settings,
    interfaces: &[String],
    force: bool,
    control: &Control,
    views: &Views,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let start = Instant::now();
    let names: Arc<[String]> = interfaces.iter().cloned().collect();
    // Before any interface is taken over: a sink may refuse, or make us wait.
    let sinks = Sink::start_all(&settings.sinks, &names)?;
    let cores = count_queues(settings, interfaces)?;
    let accounts = Accounts::new(
        names,
        cores,
        cores,
        settings.merges,
        sinks.iter().map(|sink| sink.account()).collect(),
    );
    let map = GlobalMap::default();
    let stages = Stages::default();
    let hasher = KeyHasher::default();
    // Before any packet comes to us: the memory of large tables takes its time to arrive.
    let tables = make_tables(settings, &accounts, &hasher)?;
    let (mut taps, queues) = open_taps(interfaces, force, cores)?;
    for tap in &taps {
        observer.notice(&format!("capturing on {}: {}", tap.interface(), tap.description()));
    }

    let patience = Patience::default();
    let (errors, batches, end) = thread::scope(|scope| {
        let shape = Shape { when_full: WhenFull::Drop, cores };
        let (outboxes, pipeline) = Pipeline::start(scope, &map, &accounts, &sinks, &shape)?;
        let rx_threads = make_threads(&accounts, &hasher, queues, tables, outboxes);
        let mut receivers = Vec::with_capacity(cores);
        for (core, rx) in rx_threads.into_iter().enumerate() {
            let receiver = spawn(scope, format!("rx-{core}"), || rx.run(&stages));
            receivers.push(receiver.inspect_err(|_| {
                // Those that run must end.
                stop_sources(&accounts, &mut taps);
                stages.drained.store(true, Ordering::Release);
            })?);
        }
        let mut watch =
            Watch { control, accounts: &accounts, map: &map, views, start, last_view: None };
        let mut errors = Vec::new();
        while !should_stop(&watch, settings, &stages) {
            if control.take_reopen() {
                sinks.iter().for_each(|sink| sink.reopen());
            }
            note_counters(&accounts, &taps, &mut errors);
            watch.tick(None, observer);
            thread::park_timeout(TICK);
        }
        errors.extend(stop_sources(&accounts, &mut taps));
        // All flows end now, more than a queue holds, and no packet suffers if that takes time.
        let since = Instant::now();
        sinks.iter().for_each(Sink::last_call);
        // Release: pairs with the acquire in `Rx::run`; what stopped before is seen there.
        stages.drained.store(true, Ordering::Release);
        while !pipeline.is_finished() {
            sinks.iter().for_each(|sink| _ = sink.give_up_if_stuck(since, &patience));
            thread::park_timeout(TICK);
        }
        let mut batches = None;
        for receiver in receivers {
            let (times, error) = receiver.join().expect("rx threads do not panic");
            errors.extend(error);
            batches = Some(with_times(batches, times));
        }
        pipeline.join();
        Ok::<_, Error>((errors, batches, since))
    })?;
    Sink::finish_all(sinks, &patience, || Some(end));
    Ok(conclude(&accounts, start, batches.as_ref().map(Timing::of), errors))
}

/// How many queues all interfaces have.
fn count_queues(settings: &Settings, interfaces: &[String]) -> Result<usize> {
    let mut queues = 0;
    for (idx, interface) in interfaces.iter().enumerate() {
        if interfaces[..idx].contains(interface) {
            return Err(Error::new(format!("capture on {interface}"), "given twice")
                .advise("name each interface once"));
        }
        queues += Interface::find(interface)?.rx_queues() as usize;
    }
    if queues > MAX_CORES {
        let cause = format!("{queues} queues on all interfaces together");
        return Err(Error::new("capture", cause).advise(format!(
            "reduce them to {MAX_CORES} with ethtool -L, or name fewer interfaces"
        )));
    }
    if settings.workers.is_some_and(|workers| workers != queues) {
        let cause = format!("the interfaces have {queues} queues");
        return Err(Error::new("--workers", cause).advise("leave it out: each queue has a worker"));
    }
    Ok(queues)
}

/// Taps every interface, and opens all their queues, of which there are `cores`.
fn open_taps(interfaces: &[String], force: bool, cores: usize) -> Result<(Vec<Tap>, Vec<Queue>)> {
    let mut taps = Vec::with_capacity(interfaces.len());
    let mut queues = Vec::new();
    for (idx, interface) in interfaces.iter().enumerate() {
        let config = TapConfig { force, ..TapConfig::new(interface) };
        let (tap, more) = Tap::open(&config)?;
        taps.push(tap);
        let number =
            u16::try_from(idx).map_err(|_| Error::new("capture", "too many interfaces"))?;
        queues.extend(more.into_iter().map(|queue| (number, queue)));
    }
    if queues.len() != cores {
        let cause = "the number of queues changed meanwhile";
        return Err(Error::new("capture", cause).advise("start it again"));
    }
    Ok((taps, queues))
}

fn should_stop(watch: &Watch<'_>, settings: &Settings, stages: &Stages) -> bool {
    let received = || -> u64 {
        watch.accounts.receives.iter().flatten().map(|counters| counters.received.get()).sum()
    };
    watch.should_stop(settings)
        || settings.count.is_some_and(|count| received() >= count)
        // Relaxed: a request is about itself only.
        || stages.failed.load(Ordering::Relaxed)
}

/// Takes over what the kernel has counted.
fn note_counters(accounts: &Accounts, taps: &[Tap], errors: &mut Vec<Error>) {
    for (source, tap) in accounts.sources.iter().zip(taps) {
        match tap.counters() {
            Ok(counters) => {
                source.nic_rx.set(counters.nic_rx.unwrap_or(u64::MAX));
                source.seen.set(counters.seen);
                source.passed.set(counters.passed);
                source.aborted.set(counters.aborted);
            }
            Err(error) if errors.is_empty() => errors.push(error),
            Err(_) => {}
        }
    }
}

/// Detaches the interfaces, and waits until everything that was redirected has been
/// received or counted as lost.
fn stop_sources(accounts: &Accounts, taps: &mut [Tap]) -> Vec<Error> {
    let mut errors: Vec<_> = taps.iter_mut().filter_map(|tap| tap.detach().err()).collect();
    let end = Instant::now() + SETTLE;
    loop {
        note_counters(accounts, taps, &mut errors);
        let ledger = crate::ledger::Ledger::collect(accounts, 0, false);
        if ledger.residuals.interface == 0 || Instant::now() >= end {
            return errors;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// One for each queue.
fn make_tables<'a>(
    settings: &Settings,
    accounts: &'a Accounts,
    hasher: &KeyHasher,
) -> Result<Vec<CoreTable<'a>>> {
    let config = TableConfig {
        capacity: settings.max_flows.div_ceil(accounts.tables.len()),
        timeouts: settings.timeouts,
        pace: Pace::LIVE,
        sweep_slots: SWEEP_SLOTS,
        is_populated: true,
    };
    accounts
        .tables
        .iter()
        .map(|counters| CoreTable::new(config, hasher.clone(), counters))
        .collect()
}
