//! `capture`: live interfaces, one `rx` thread for each receive queue.
//!
//! An `rx` thread owns its queue's socket, a decoder and a core table; it receives, decodes
//! and counts a batch at a time, and never waits for the threads behind it.

use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use crate::decode::Decoder;
use crate::engine::pipeline::{Pipeline, Shape, spawn};
use crate::engine::stage::{Core, PacketBatch, decode, with_times};
use crate::engine::{Control, Observer, Outcome, Settings, TICK, Watch, conclude};
use crate::error::{Error, Result};
use crate::export::{Patience, Sink, WhenFull};
use crate::flow::{KeyHasher, Timeouts};
use crate::global::map::GlobalMap;
use crate::ledger::{Accounts, ReceiveCounters, Timing};
use crate::limits::{BATCH_PACKETS, MAX_CORES, SWEEP_SLOTS};
use crate::source::afxdp::{Tap, TapConfig, TapQueue};
use crate::source::{Frame, LinkType};
use crate::sync::{Arc, AtomicBool, Ordering, thread};
use crate::table::outbox::Outbox;
use crate::table::{CoreTable, TableConfig};
use crate::time::Timestamp;
use crate::view::Views;

/// How long an `rx` thread sleeps in poll(2) when its queue is empty: also how often its
/// hand moves then.
const IDLE: Duration = Duration::from_millis(10);

/// How often published deltas are sent on under load, and lost packets are looked up.
const FLUSH_NS: u64 = 100_000_000;

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
    let (mut taps, queues) = open_taps(settings, interfaces, force)?;
    for tap in &taps {
        observer.notice(&format!("capturing on {}: {}", tap.interface(), tap.description()));
    }
    let cores = queues.len();
    let accounts = Accounts::new(
        names,
        cores,
        cores,
        settings.merges,
        sinks.iter().map(|sink| sink.account()).collect(),
    );
    let map = GlobalMap::default();
    // Told to the rx threads when the interfaces are detached and their queues drained.
    let drained = AtomicBool::new(false);

    let (errors, batches) = thread::scope(|scope| {
        let shape = Shape {
            when_full: WhenFull::Drop,
            cores,
            // The two directions of a flow may arrive on different queues.
            symmetric: cores == 1,
            active_ns: settings.timeouts.active_ns,
        };
        let (outboxes, pipeline) = Pipeline::start(scope, &map, &accounts, &sinks, &shape)?;
        let hasher = KeyHasher::default();
        let rx_threads = queues
            .into_iter()
            .zip(outboxes)
            .enumerate()
            .map(|(core, (queue, outbox))| {
                Rx::new(settings, &accounts, core, cores, queue, outbox, &hasher)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut receivers = Vec::with_capacity(cores);
        for (core, rx) in rx_threads.into_iter().enumerate() {
            let receiver = spawn(scope, format!("rx-{core}"), || rx.run(&drained));
            receivers.push(receiver.inspect_err(|_| {
                // Those that run must end.
                stop_sources(&accounts, &mut taps);
                drained.store(true, Ordering::Release);
            })?);
        }
        let mut watch =
            Watch { control, accounts: &accounts, map: &map, views, start, last_view: None };
        let mut errors = Vec::new();
        while !should_stop(&watch, settings, &receivers) {
            if control.take_reopen() {
                sinks.iter().for_each(|sink| sink.reopen());
            }
            note_counters(&accounts, &taps, &mut errors);
            watch.tick(None, observer);
            thread::park_timeout(TICK);
        }
        errors.extend(stop_sources(&accounts, &mut taps));
        // Release: pairs with the acquire in `Rx::run`; what stopped before is seen there.
        drained.store(true, Ordering::Release);
        let mut batches = None;
        for receiver in receivers {
            let (times, error) = receiver.join().expect("rx threads do not panic");
            errors.extend(error);
            batches = Some(with_times(batches, times));
        }
        pipeline.join();
        Ok::<_, Error>((errors, batches))
    })?;
    let end = Instant::now();
    Sink::finish_all(sinks, &Patience::default(), || Some(end));
    Ok(conclude(&accounts, start, batches.as_ref().map(Timing::of), errors))
}

/// A queue with the number of its interface.
type Queue = (u16, TapQueue);

/// Taps every interface, and opens all their queues.
fn open_taps(
    settings: &Settings,
    interfaces: &[String],
    force: bool,
) -> Result<(Vec<Tap>, Vec<Queue>)> {
    let mut taps = Vec::with_capacity(interfaces.len());
    let mut queues = Vec::new();
    for (idx, interface) in interfaces.iter().enumerate() {
        if interfaces[..idx].contains(interface) {
            return Err(Error::new(format!("capture on {interface}"), "given twice")
                .advise("name each interface once"));
        }
        let config = TapConfig { force, ..TapConfig::new(interface) };
        let (tap, more) = Tap::open(&config)?;
        taps.push(tap);
        let number =
            u16::try_from(idx).map_err(|_| Error::new("capture", "too many interfaces"))?;
        queues.extend(more.into_iter().map(|queue| (number, queue)));
    }
    if queues.len() > MAX_CORES {
        let cause = format!("{} queues on all interfaces together", queues.len());
        return Err(Error::new("capture", cause).advise(format!(
            "reduce them to {MAX_CORES} with ethtool -L, or name fewer interfaces"
        )));
    }
    if settings.workers.is_some_and(|workers| workers != queues.len()) {
        let cause = format!("the interfaces have {} queues", queues.len());
        return Err(Error::new("--workers", cause).advise("leave it out: each queue has a worker"));
    }
    Ok((taps, queues))
}

fn should_stop<T>(
    watch: &Watch<'_>,
    settings: &Settings,
    receivers: &[ScopedJoinHandle<'_, T>],
) -> bool {
    let received = || -> u64 {
        watch.accounts.receives.iter().flatten().map(|counters| counters.received.get()).sum()
    };
    watch.should_stop(settings)
        || settings.count.is_some_and(|count| received() >= count)
        // One ends by itself only when its interface is gone.
        || receivers.iter().any(ScopedJoinHandle::is_finished)
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

/// One `rx` thread.
struct Rx<'a> {
    queue: TapQueue,
    decoder: Decoder,
    core: Core<'a>,
    batch: PacketBatch,
    counters: &'a ReceiveCounters,
    last_flush: Timestamp,
}

impl<'a> Rx<'a> {
    fn new(
        settings: &Settings,
        accounts: &'a Accounts,
        core: usize,
        cores: usize,
        (interface, queue): Queue,
        outbox: Outbox,
        hasher: &KeyHasher,
    ) -> Result<Self> {
        let mut timeouts = settings.timeouts;
        if cores > 1 {
            // `reap` cuts long flows, which may have halves on several cores.
            timeouts.active_ns = Timeouts::NEVER;
        }
        let config = TableConfig {
            capacity: settings.max_flows.div_ceil(cores),
            timeouts,
            symmetric: cores == 1,
            sweep_slots: SWEEP_SLOTS,
            core: u8::try_from(core).expect("bounded by MAX_CORES"),
        };
        let table = CoreTable::new(config, hasher.clone(), &accounts.tables[core])?;
        let mut decoder = Decoder::new(hasher.clone());
        decoder.set_interface(interface);
        Ok(Self {
            queue,
            decoder,
            core: Core::new(table, outbox),
            batch: PacketBatch::new(),
            counters: &accounts.receives[core][usize::from(interface)],
            last_flush: 0,
        })
    }

    /// Runs until the sources have stopped and the queue is empty, or the interface is
    /// gone. Then ends every flow. Returns how long batches took, and what failed.
    fn run(mut self, drained: &AtomicBool) -> (Histogram<u64>, Option<Error>) {
        let mut failure = None;
        loop {
            // Acquire: pairs with the release in `capture`: nothing comes after it.
            let is_last = drained.load(Ordering::Acquire);
            let now = now();
            if self.receive(now) > 0 {
                if now.abs_diff(self.last_flush) >= FLUSH_NS {
                    self.last_flush = now;
                    self.core.flush();
                    failure = self.note_drops().err();
                }
            } else {
                let tick = self.decoder.idle_until(now);
                self.core.idle(tick);
                failure = self.note_drops().err().or(failure);
                if is_last {
                    break;
                }
                failure = self.queue.wait(IDLE).err().or(failure);
            }
            if failure.is_some() {
                break;
            }
        }
        let end = self.decoder.tick();
        (self.core.finish(end), failure)
    }

    /// Receives, decodes and counts one batch. Returns the number of frames.
    fn receive(&mut self, now: Timestamp) -> usize {
        let (decoder, batch, counters) = (&mut self.decoder, &mut self.batch, self.counters);
        let received = self.queue.receive(BATCH_PACKETS, |bytes| {
            let frame = Frame {
                bytes,
                wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                timestamp: Some(now),
                link: LinkType::ETHERNET,
            };
            if let Some(packet) = decode(decoder, &frame, counters) {
                batch.push(packet);
            }
        });
        counters.received.add(received as u64);
        if !batch.packets().is_empty() {
            self.core.count(batch.packets());
            batch.clear();
        }
        received
    }

    /// Takes over what the socket has lost.
    fn note_drops(&self) -> Result<()> {
        let drops = self.queue.drops()?;
        self.counters.rx_ring_full.set(drops.rx_ring_full);
        self.counters.fill_ring_empty.set(drops.fill_ring_empty);
        self.counters.oversize.set(drops.oversize);
        self.counters.invalid.set(drops.invalid);
        Ok(())
    }
}

/// The time that packets of a batch get, in ns.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::try_from(since.as_nanos()).unwrap_or(Timestamp::MAX)
}
