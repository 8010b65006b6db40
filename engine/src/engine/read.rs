//! `read`: capture files in, as fast as the flow tables take them.
//!
//! With one worker, one thread reads, decodes and counts. With more, it reads and decodes,
//! and deals the packets out by key hash, so that each flow is wholly on one worker.
//! Everything that decides about flows is a function of the packets in their order, so
//! the records are the same with any number of workers, as long as the table has room.
//!
//! Packets may also be dealt by direction ([`Dispatch::Direction`]), as network cards deal
//! them whose hash is not symmetric; then workers pass them on as `capture` does.
//!
//! `files` has the thread that reads, and `packets` where it puts what it has read.

mod files;
mod packets;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::decode::{Decoder, Packet};
use crate::engine::pipeline::{Feeds, Pipeline, Shape, names_counters, spawn};
use crate::engine::stage::{Core, PacketBatch, with_times};
use crate::engine::{
    Control, Dispatch, Observer, Outcome, Settings, TICK, Watch, all_are_counted, conclude, tell,
};
use crate::error::{Error, Result};
use crate::export::intervals::CoreIntervals;
use crate::export::{Context, Patience, Sink, WhenFull};
use crate::flow::{Encapsulations, KeyHasher, Sampling};
use crate::global::map::GlobalMap;
use crate::ledger::{Accounts, Timing};
use crate::limits::{BATCH_PACKETS, DEALT_BATCHES, RING_BATCHES};
use crate::source::pcap::CaptureFile;
use crate::sync::{Arc, AtomicU64, Ordering, StopRequest, thread};
use crate::table::exchange::{Exchange, Incoming, Order, exchange, senders};
use crate::table::{CoreTable, Pace, TableConfig};
use crate::time::Tick;
use crate::view::Views;
use files::Reader;
use packets::{Counting, Dealing};

/// How long the reader sleeps when a worker has no room, or a worker when it has nothing.
const WAIT: Duration = Duration::from_micros(50);

/// Reads `files` in their order into flow records.
///
/// # Errors
/// If the first file or a sink cannot be opened, or the filter does not suit that file. Damage in
/// a file, and a later file that cannot be opened, are errors of the [`Outcome`]: what could be
/// read is.
pub fn read(
    settings: &Settings,
    files: &[PathBuf],
    control: &Control,
    views: &Views,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let start = Instant::now();
    let workers = settings.workers.unwrap_or(1);
    let first = open_inputs(files, &control.stop)?;
    if let (Some(filter), Some(link)) = (&settings.filter, first.link()) {
        // Before anything is written.
        filter.for_link(link, &files[0].display().to_string())?;
    }
    let names: Arc<[String]> = files.iter().map(|file| shown_name(file)).collect();
    let shared = Shared::new(files, &control.stop);
    let context = Context {
        interfaces: Arc::clone(&names),
        interface_indexes: Arc::from([]),
        encapsulations: Arc::clone(&shared.encapsulations),
        sampling: Sampling::ALL,
        features_set: settings.features_set,
        ignored_packets: Arc::default(),
    };
    let sinks = Sink::start_all(&settings.all_sinks(), &context)?;
    let dealt = settings.deal(&sinks);
    let mut accounts = Accounts::new(
        names,
        1,
        workers,
        settings.merges,
        dealt.records.iter().map(Sink::account).collect(),
    );
    accounts.dns_log = dealt.dns_log.map(Sink::account);
    accounts.intervals = dealt.intervals.iter().map(Sink::account).collect();
    // One thread decodes.
    accounts.names_learned = names_counters(settings.max_names, 1, settings.merges);
    accounts.ignored_packets = Arc::clone(&context.ignored_packets);
    let map = GlobalMap::default();
    // What is read is not lost.
    let plan = settings.intervals.plan(0);
    let patience = Patience::default();
    // When the run was told to stop: until then a slow sink may make it wait.
    let mut stopped = None;
    let mut ends_since =
        || control.stop.is_made().then(|| *stopped.get_or_insert_with(Instant::now));

    let (errors, batches, devices) = thread::scope(|scope| {
        let Settings { max_names, features_set, ref devices, .. } = *settings;
        let (when_full, cores, intervals) = (WhenFull::Wait, workers, plan.as_ref());
        let hasher = KeyHasher::default();
        let decoder = &Decoder::new(hasher.clone()).with_tunnels(settings.tunnels);
        let shape =
            Shape { when_full, cores, features_set, max_names, intervals, devices, decoder };
        let (feeds, pipeline) = Pipeline::start(scope, &map, &accounts, &dealt, &shape)?;
        let reader = Reader {
            settings,
            accounts: &accounts,
            shared: &shared,
            files,
            hasher,
            intervals: plan.as_deref(),
        };
        let running = start_workers(scope, reader, feeds, first)?;

        let devices = pipeline.devices();
        let mut watch = Watch::new(control, &accounts, &map, views, devices.as_ref(), start);
        while !pipeline.is_finished() {
            // What is read from here on would not be written.
            let is_in_vain = !sinks.is_empty() && sinks.iter().all(Sink::takes_nothing);
            if is_in_vain || watch.should_stop(settings) {
                control.stop.make();
            }
            if control.take_reopen() {
                sinks.iter().for_each(|sink| sink.reopen());
            }
            if let Some(since) = ends_since() {
                sinks.iter().for_each(|sink| _ = sink.give_up_if_stuck(since, &patience));
            }
            watch.tick(shared.progress(), observer);
            thread::park_timeout(TICK);
        }
        let (errors, mut batches) = running.reader.join().expect("the reader does not panic");
        for worker in running.workers {
            let times = worker.join().expect("workers do not panic");
            batches = Some(with_times(batches, times));
        }
        pipeline.join();
        Ok::<_, Error>((errors, batches, devices))
    })?;
    all_are_counted(&accounts);
    Sink::finish_all(sinks, &patience, || {
        tell(&accounts, observer);
        ends_since()
    });
    tell(&accounts, observer);
    let batch_ns = batches.as_ref().map(Timing::of);
    Ok(conclude(&accounts, start, batch_ns, devices.as_ref(), errors))
}

/// What the reader tells the other threads.
struct Shared {
    stop: StopRequest,
    taken_bytes: AtomicU64,
    total_bytes: Option<u64>,
    /// The packet clock at the end of the input.
    end: OnceLock<Tick>,
    /// All packets before this tick are with the workers, where that matters, and the place of the
    /// last of them is no more than this.
    dealt_until: AtomicU64,
    dealt_place: AtomicU64,
    encapsulations: Arc<Encapsulations>,
}

impl Shared {
    fn new(files: &[PathBuf], stop: &StopRequest) -> Self {
        let sizes = files.iter().map(|file| match std::fs::metadata(file) {
            Ok(there) if there.is_file() => Some(there.len()),
            _ => None,
        });
        Self {
            stop: stop.clone(),
            taken_bytes: AtomicU64::new(0),
            total_bytes: sizes.sum(),
            end: OnceLock::new(),
            dealt_until: AtomicU64::new(0),
            dealt_place: AtomicU64::new(0),
            encapsulations: Arc::default(),
        }
    }

    fn progress(&self) -> Option<(u64, u64)> {
        // Relaxed: for show.
        Some((self.taken_bytes.load(Ordering::Relaxed), self.total_bytes?))
    }
}

/// Opens the first file, and sees that the others are there.
fn open_inputs(files: &[PathBuf], stop: &StopRequest) -> Result<CaptureFile> {
    let (first, rest) = files.split_first().ok_or_else(|| {
        Error::new("read", "no file given").advise("name a capture file, or - for standard input")
    })?;
    let first = CaptureFile::open(first, stop)?;
    for file in rest.iter().filter(|file| file.as_os_str() != "-") {
        std::fs::metadata(file).map_err(|e| {
            Error::new(format!("open {}", file.display()), e).advise("check the name")
        })?;
    }
    Ok(first)
}

fn shown_name(file: &std::path::Path) -> String {
    match file.file_name() {
        Some(name) if name != "-" => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}

struct Running<'scope> {
    /// Errors, and the batch times if the reader counts by itself.
    reader: ScopedJoinHandle<'scope, (Vec<Error>, Option<Histogram<u64>>)>,
    workers: Vec<ScopedJoinHandle<'scope, Histogram<u64>>>,
}

fn start_workers<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    reader: Reader<'env>,
    Feeds { outboxes, mut payloads, intervals }: Feeds,
    first: CaptureFile,
) -> Result<Running<'scope>> {
    let Reader { settings, accounts, shared, .. } = reader;
    let capacity = settings.max_flows.div_ceil(outboxes.len());
    let mut intervals = intervals.into_iter();
    let grid = intervals.as_slice().first().map(CoreIntervals::grid);
    let mut cores: Vec<_> = outboxes
        .into_iter()
        .zip(&accounts.tables)
        .map(|(outbox, counters)| {
            let config = TableConfig {
                capacity,
                timeouts: settings.timeouts,
                pace: Pace::REPLAY,
                sweep_slots: capacity,
                is_populated: false,
                features_set: settings.features_set,
            };
            let table = CoreTable::new(config, reader.hasher.clone(), counters)?;
            Ok(Core::new(table, outbox).with_intervals(intervals.next()))
        })
        .collect::<Result<_>>()?;

    if std::thread::available_parallelism().is_ok_and(|there| there.get() > cores.len()) {
        for (idx, core) in cores.iter().enumerate() {
            let ahead = core.ahead();
            // It ends when the core's table does.
            spawn(scope, format!("memory-{idx}"), move || ahead.run())?;
        }
    }

    if cores.len() == 1 {
        let core = cores.remove(0);
        let payloads = payloads.pop();
        let reader = spawn(scope, "rx-0".to_owned(), move || {
            let mut counting = Counting { core, batch: PacketBatch::new(), payloads };
            let (errors, end) = reader.run(first, &mut counting);
            counting.flush();
            (errors, Some(counting.core.finish(end)))
        })?;
        return Ok(Running { reader, workers: Vec::new() });
    }

    let (to_workers, incoming) = senders(cores.len(), Order::Place, DEALT_BATCHES, BATCH_PACKETS);
    let by_direction = settings.dispatch == Dispatch::Direction;
    let mut exchanges = Vec::new();
    if by_direction {
        exchanges = exchange(cores.len(), Order::Place, RING_BATCHES, BATCH_PACKETS);
    }
    let mut dealing = Dealing {
        payloads: payloads.pop(),
        to_workers,
        packet: Packet::NONE,
        workers: cores.len(),
        by_direction,
        last: 0,
        end: 0,
        intervals: grid.map(|grid| (grid, 0)),
        shared,
    };
    let mut workers = Vec::with_capacity(cores.len());
    let mut exchanges = exchanges.into_iter();
    for (idx, (core, incoming)) in cores.into_iter().zip(incoming).enumerate() {
        let exchange = exchanges.next();
        let run = move || match exchange {
            None => work(core, incoming, shared),
            Some(exchange) => work_and_pass_on(core, incoming, exchange, shared),
        };
        workers.push(spawn(scope, format!("rx-{idx}"), run)?);
    }
    let reader = spawn(scope, "read".to_owned(), move || {
        let (errors, end) = reader.run(first, &mut dealing);
        dealing.finish(end);
        (errors, None)
    })?;
    Ok(Running { reader, workers })
}

/// A worker: counts what it is dealt.
fn work(mut core: Core<'_>, mut reader: Incoming, shared: &Shared) -> Histogram<u64> {
    while !reader.is_finished() {
        // Acquire: pairs with the release in `Dealing::end_interval`. Loaded before looking: then all
        // packets before this are seen.
        let dealt_until = shared.dealt_until.load(Ordering::Acquire);
        if !reader.receive(|batch| core.count_with_room(batch)) {
            core.idle_until(dealt_until);
            core.flush();
            thread::park_timeout(WAIT);
        }
    }
    // Set before the lane was closed.
    core.finish(*shared.end.wait())
}

/// A worker that gets packets of any flow: passes them on, and counts what is passed on to it.
fn work_and_pass_on(
    mut core: Core<'_>,
    mut reader: Incoming,
    mut exchange: Exchange,
    shared: &Shared,
) -> Histogram<u64> {
    while !exchange.is_finished() {
        // Acquire: pairs with the release in `Dealing::end_interval`. Loaded before looking, and the
        // place after the tick that it belongs to: it may be that of a later one.
        let dealt_until = shared.dealt_until.load(Ordering::Acquire);
        // Relaxed: ordered by the load before.
        let place = shared.dealt_place.load(Ordering::Relaxed);
        let mut any = exchange.forward(&mut reader);
        let has_all = exchange.has_all_up_to(place);
        let packets = exchange.receive(BATCH_PACKETS);
        if !packets.is_empty() {
            core.count_with_room(packets);
            any = true;
        }
        if !any {
            if has_all {
                core.idle_until(dealt_until);
            }
            core.flush();
            thread::park_timeout(WAIT);
        }
    }
    core.finish(*shared.end.wait())
}
