//! `capture`: live interfaces, one `rx` thread for each receive queue or ring.
//!
//! [`settings`] is what it is told; `open` decides by which way each interface is captured from,
//! and opens it; `rx` is the thread, `waiting` how it waits, `cpus` where it runs, `priority` that
//! it goes first; `links` follows interfaces that change meanwhile, and by `handover` a thread's
//! `line` gets another queue; `filters` has another filter take over; `shunt` brings home what the
//! XDP program has counted by itself.
//!
//! An `rx` thread owns its queue's socket, a decoder and a core table; it receives, decodes
//! and counts a batch at a time, and never waits for the threads behind it. With several
//! queues the two directions of a flow may arrive on different ones: each thread passes what
//! it has decoded on to the core that counts the flow ([`crate::table::exchange`]).

mod clock;
mod cpus;
mod filters;
mod handover;
mod line;
mod links;
mod open;
mod priority;
mod rx;
pub mod settings;
mod shunt;
mod waiting;

pub use cpus::CpuList;

use std::time::{Duration, Instant};

use crate::decode::Decoder;
use crate::engine::pipeline::{Pipeline, Shape, names_counters, spawn};
use crate::engine::stage::with_times;
use crate::engine::{
    Control, Observer, Outcome, Settings, TICK, Watch, all_are_counted, conclude, note_losses, tell,
};
use crate::error::{Error, Result};
use crate::export::intervals::WallWatch;
use crate::export::{Context, OpenSink, Patience, Sink, WhenFull};
use crate::flow::KeyHasher;
use crate::global::map::GlobalMap;
use crate::ledger::{Accounts, Ledger, Timing};
use crate::limits::{SHUNT_IDLE_NS, SWEEP_SLOTS};
use crate::privileges::confine;
use crate::source::live::Source;
use crate::sync::{Arc, Ordering, thread};
use crate::table::{CoreTable, Pace, TableConfig};
use crate::view::Views;
use crate::xdp::shunt::ShuntMaps;
use filters::Filters;
use handover::handover;
use line::Line;
use links::Watched;
use open::InKernel;
use rx::{Inlet, Stages, make_threads};
use settings::{CaptureSettings, Wait};

/// How long after detaching the last frames may take to come out of the kernel.
const SETTLE: Duration = Duration::from_millis(500);

/// Captures from the interfaces of `live` until told to stop. Threads that do not receive get a
/// lower priority (10 nicer), also those of the process that are not its own, and keep it.
///
/// # Errors
/// If an interface cannot be captured from or a sink cannot be opened. If all vanish later, and
/// none can come back, that is an error of the [`Outcome`], which has all that came before.
pub fn capture(
    settings: &Settings,
    live: &CaptureSettings,
    control: &Control,
    views: &Views,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let start = Instant::now();
    if let Some(cpus) = &live.cpus {
        cpus.check()?;
    }
    check_shunt(settings, live)?;
    let names: Arc<[String]> = live.interfaces.iter().cloned().collect();
    // Before any interface is taken over: a sink may refuse, or make us wait.
    let sinks = OpenSink::open_all(&settings.all_sinks(), &names)?;
    let plans = open::plan(live, settings.workers)?;
    let cores: usize = plans.iter().map(|plan| plan.cores).sum();
    let spares = open::spares(&plans);
    let threads = cores + spares.len();
    let interface_indexes = plans.iter().map(|plan| plan.index).collect();
    let opened = settings.deal(&sinks);
    let mut accounts = Accounts::new(
        Arc::clone(&names),
        threads,
        threads,
        settings.merges,
        opened.records.iter().map(OpenSink::account).collect(),
    );
    accounts.dns_log = opened.dns_log.map(OpenSink::account);
    accounts.intervals = opened.intervals.iter().map(OpenSink::account).collect();
    accounts.sampling = live.sampling;
    accounts.counting_tables = cores;
    accounts.names_learned = names_counters(settings.max_names, threads, settings.merges);
    let map = GlobalMap::default();
    let stages = Stages::default();
    let hasher = KeyHasher::default();
    // Before any packet comes to us: the memory of large tables takes its time to arrive.
    let tables = make_tables(settings, &accounts, &hasher, cores)?;
    let in_kernel = settings.filter.as_ref().and_then(|filter| filter.in_kernel());
    let given = InKernel { filter: in_kernel.as_ref(), tunnels: settings.tunnels };
    let (mut sources, queues, notices) = open::open(plans, live, given)?;
    let encapsulations = Arc::default();
    let decoder =
        Decoder::new(hasher).with_tunnels(settings.tunnels).with_encapsulations(&encapsulations);
    for (counters, source) in accounts.sources.iter().zip(&sources) {
        // Nobody else sets it.
        let _ = counters.clock.set(source.clock());
    }
    let shunts = deal_shunts(&mut sources, cores);
    let with_queue = queues.into_iter().map(|(number, queue)| (number, Some(queue)));
    // What is observed after all gets no more queues.
    let spares = spares.into_iter().filter(|of| sources[usize::from(*of)].is_by_queue());
    let queues: Vec<_> = with_queue.chain(spares.map(|of| (of, None))).collect();
    let threads = queues.len();
    let mut filters = Filters::new(settings, live, &queues, in_kernel)?;
    // All that needs privilege is open, and no thread runs that would keep them.
    if let Some(confinement) = &live.confinement {
        observer.detail(&confine(confinement, sinks.iter().flat_map(OpenSink::files))?);
    }
    let context = Context {
        interfaces: Arc::clone(&names),
        interface_indexes,
        encapsulations: Arc::clone(&encapsulations),
        sampling: live.sampling,
        features_set: settings.features_set,
        ignored_packets: Arc::clone(&accounts.ignored_packets),
    };
    let sinks = OpenSink::start_all(sinks, &context)?;

    let plan = settings.intervals.plan(names.len());
    let patience = Patience::default();
    let (errors, batches, devices, end) = thread::scope(|scope| {
        let Settings { max_names, features_set, ref devices, .. } = *settings;
        let (when_full, intervals) = (WhenFull::Drop, plan.as_ref());
        let shape = Shape {
            when_full,
            cores: threads,
            features_set,
            max_names,
            intervals,
            devices,
            decoder: &decoder,
        };
        let dealt = settings.deal(&sinks);
        let (feeds, pipeline) = Pipeline::start(scope, &map, &accounts, &dealt, &shape)?;
        let clock_start = Instant::now();
        let mut wall = plan.as_ref().map(|plan| WallWatch::begin(plan, clock_start));
        // What the kernel counts comes home to where flows are counted.
        let shunts = shunts.into_iter().chain(std::iter::repeat_with(Vec::new));
        let inlets = queues.into_iter().zip(shunts).map(|((interface, queue), shunts)| {
            let (giver, taker) = handover().map_err(|cause| {
                Error::new("make a descriptor to wake a thread by", cause)
                    .advise("raise the limit of open files (ulimit -n)")
            })?;
            Ok(((interface, giver), Inlet { interface, line: Line::new(queue, taker), shunts }))
        });
        let (givers, inlets): (Vec<_>, Vec<_>) =
            inlets.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let bells: Vec<_> =
            givers.iter().take(cores).map(|(_, giver)| Arc::clone(giver.bell())).collect();
        let mut watched =
            Watched::new(&accounts, &sources, (cores, givers), (live.reopens, live.force));
        let given = (tables, feeds, clock_start);
        let asked = filters.iter().flat_map(Filters::of_threads);
        let rx_threads =
            make_threads(&accounts, &decoder, live, asked, (cores, inlets, &bells), given);
        let mut receivers = Vec::with_capacity(threads);
        // Who never sleeps would leave them too little, as long as no packets come, too.
        let goes_first = live.wait != Wait::Spin;
        if goes_first {
            priority::put_others_behind();
        }
        for (number, rx) in rx_threads.into_iter().enumerate() {
            // Not before: on a busy link packets fill a queue in less time than all else takes.
            let begun = rx.begin(&mut sources);
            let receiver =
                begun.and_then(|()| spawn(scope, format!("rx-{number}"), || rx.run(&stages)));
            receivers.push(receiver.inspect_err(|_| {
                // Those that run must end.
                stop_sources(&accounts, &mut sources);
                stages.drained.store(true, Ordering::Release);
            })?);
        }
        if goes_first {
            priority::go_behind();
        }
        // Once packets come: who reads it may rely on that.
        notices.iter().for_each(|text| observer.notice(text));
        filters.iter().for_each(|filters| filters.tell(&sources, observer));
        let devices = pipeline.devices();
        let mut watch = Watch::new(control, &accounts, &map, views, devices.as_ref(), start);
        watch.intervals = plan.as_deref();
        let mut errors = Vec::new();
        while !should_stop(&watch, settings, &stages) {
            if control.take_reopen() {
                sinks.iter().for_each(|sink| sink.reopen());
                filters.iter_mut().for_each(Filters::reload);
            }
            filters.iter_mut().for_each(|filters| filters.tick(&mut sources, observer));
            note_counters(&accounts, &sources, &mut errors);
            sources.iter().for_each(Source::wait_for_runs);
            watched.tick(&mut sources, &mut |text| observer.notice(text));
            wall.iter_mut().for_each(WallWatch::look);
            if let Some(end) = watched.end() {
                errors.push(end);
                break;
            }
            watch.tick(None, observer);
            thread::park_timeout(TICK);
        }
        errors.extend(stop_sources(&accounts, &mut sources));
        if let Some(plan) = &plan {
            // Before the last interval is closed.
            note_losses(&Ledger::collect(&accounts, 0, false), plan);
        }
        // All flows end now, more than a queue holds, and no packet suffers if that takes time.
        let since = Instant::now();
        sinks.iter().for_each(Sink::last_call);
        // Release: pairs with the acquire in `Rx::run`; what stopped before is seen there.
        stages.drained.store(true, Ordering::Release);
        while !pipeline.is_finished() {
            sinks.iter().for_each(|sink| _ = sink.give_up_if_stuck(since, &patience));
            tell(&accounts, observer);
            thread::park_timeout(TICK);
        }
        let mut batches = None;
        for receiver in receivers {
            let (times, error) = receiver.join().expect("rx threads do not panic");
            errors.extend(error);
            batches = Some(with_times(batches, times));
        }
        watched.conclude();
        pipeline.join();
        Ok::<_, Error>((errors, batches, devices, since))
    })?;
    all_are_counted(&accounts);
    Sink::finish_all(sinks, &patience, || {
        tell(&accounts, observer);
        Some(end)
    });
    tell(&accounts, observer);
    let batch_ns = batches.as_ref().map(Timing::of);
    Ok(conclude(&accounts, start, batch_ns, devices.as_ref(), errors))
}

/// Refuses what a shunt would make wrong.
fn check_shunt(settings: &Settings, live: &CaptureSettings) -> Result<()> {
    if live.shunt.is_none() {
        return Ok(());
    }
    let refuse = |cause: &str, advice: &str| Err(Error::new("--shunt", cause).advise(advice));
    if settings.filter.is_some() {
        let cause = "the kernel would count packets that --filter has not judged";
        return refuse(cause, "leave one of the two out");
    }
    if settings.features_set.is_extended() {
        let cause = "statistics would miss the packets that the kernel counts";
        return refuse(cause, "leave --features-set extended out, or --shunt");
    }
    let timeouts = &settings.timeouts;
    if timeouts.idle_ns.min(timeouts.datagram_idle_ns) < SHUNT_IDLE_NS {
        let cause = "counts may take three seconds to come home";
        return refuse(cause, "give an --idle-timeout of 5s or more");
    }
    Ok(())
}

/// For each core the maps of the shunts of all interfaces, with the interface's number: a flow
/// that it counts may come by any of them.
fn deal_shunts(sources: &mut [Source], cores: usize) -> Vec<Vec<(u16, ShuntMaps)>> {
    let mut dealt: Vec<Vec<_>> = (0..cores).map(|_| Vec::new()).collect();
    for (interface, source) in (0..).zip(sources) {
        for (core, maps) in dealt.iter_mut().zip(source.take_shunts()) {
            core.push((interface, maps));
        }
    }
    dealt
}

fn should_stop(watch: &Watch<'_>, settings: &Settings, stages: &Stages) -> bool {
    let received = || -> u64 {
        let counters = watch.accounts.receives.iter().flatten();
        let by_us = counters.map(|counters| counters.received.get() + counters.filtered.get());
        // What the kernel has filtered and counted is known as of a moment ago.
        let in_kernel = watch.accounts.sources.iter();
        let in_kernel = in_kernel.map(|source| source.filtered.get() + source.shunted.get());
        by_us.chain(in_kernel).sum()
    };
    watch.should_stop(settings)
        || settings.count.is_some_and(|count| received() >= count)
        // Relaxed: a request is about itself only.
        || stages.failed.load(Ordering::Relaxed)
}

/// Takes over what the kernel has counted.
fn note_counters(accounts: &Accounts, sources: &[Source], errors: &mut Vec<Error>) {
    for (counters, source) in accounts.sources.iter().zip(sources) {
        match source.counts() {
            Ok(counts) => {
                counters.nic_rx.set(counts.nic.map_or(u64::MAX, |nic| nic.received));
                counters.nic_missed.set(counts.nic.map_or(0, |nic| nic.missed));
                counters.seen.set(counts.seen);
                counters.passed.set(counts.passed);
                counters.aborted.set(counts.aborted);
                counters.filtered.set(counts.filtered);
                counters.sampled_out.set(counts.sampled_out);
                counters.shunted.set(counts.shunted);
            }
            Err(error) if errors.is_empty() => errors.push(error),
            Err(_) => {}
        }
    }
}

/// Detaches the interfaces, and waits until everything that was redirected has been
/// received or counted as lost.
fn stop_sources(accounts: &Accounts, sources: &mut [Source]) -> Vec<Error> {
    let mut errors: Vec<_> =
        sources.iter_mut().filter_map(|source| source.detach().err()).collect();
    let end = Instant::now() + SETTLE;
    loop {
        note_counters(accounts, sources, &mut errors);
        let ledger = Ledger::collect(accounts, 0, false);
        if ledger.residuals.interface == 0 || Instant::now() >= end {
            return errors;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// One for each thread; that of one beyond the first `cores` counts only what finds no room on its
/// way to these.
fn make_tables<'a>(
    settings: &Settings,
    accounts: &'a Accounts,
    hasher: &KeyHasher,
    cores: usize,
) -> Result<Vec<CoreTable<'a>>> {
    let config = TableConfig {
        capacity: settings.max_flows.div_ceil(cores),
        timeouts: settings.timeouts,
        pace: Pace::LIVE,
        sweep_slots: SWEEP_SLOTS,
        is_populated: true,
        features_set: settings.features_set,
    };
    let make = |(number, counters)| {
        let capacity = if number < cores { config.capacity } else { 1 };
        CoreTable::new(TableConfig { capacity, ..config }, hasher.clone(), counters)
    };
    accounts.tables.iter().enumerate().map(make).collect()
}
