//! `capture`: live interfaces, one `rx` thread for each receive queue.
//!
//! An `rx` thread owns its queue's socket, a decoder and a core table; it receives, decodes
//! and counts a batch at a time, and never waits for the threads behind it. With several
//! queues the two directions of a flow may arrive on different ones: each thread passes what
//! it has decoded on to the core that counts the flow ([`crate::table::exchange`]).

use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use crate::decode::Decoder;
use crate::engine::pipeline::{Pipeline, Shape, spawn};
use crate::engine::stage::{Core, PacketBatch, decode, with_times};
use crate::engine::{Control, Observer, Outcome, Settings, TICK, Watch, conclude};
use crate::error::{Error, Result};
use crate::export::{Patience, Sink, WhenFull};
use crate::flow::KeyHasher;
use crate::global::map::GlobalMap;
use crate::ledger::{Accounts, ReceiveCounters, Timing};
use crate::limits::{BATCH_PACKETS, EXCHANGE_BATCH, EXCHANGE_PACKETS, MAX_CORES, SWEEP_SLOTS};
use crate::source::afxdp::{Tap, TapConfig, TapQueue};
use crate::source::{Frame, LinkType};
use crate::sync::{Arc, AtomicBool, Ordering, thread};
use crate::table::exchange::{Exchange, Order, exchange};
use crate::table::outbox::Outbox;
use crate::table::{CoreTable, Pace, TableConfig};
use crate::time::{Tick, Timestamp};
use crate::view::Views;
use crate::xdp::interface::Interface;

/// How long an `rx` thread sleeps in poll(2) when its queue is empty: also how often its
/// hand moves then.
const IDLE: Duration = Duration::from_millis(10);

/// The same, where other queues may have packets for its core: nobody wakes it for them.
const IDLE_BETWEEN: Duration = Duration::from_millis(1);

/// Batches of other queues' packets that are counted before the own queue is looked at again,
/// when that is busy: it must not run full for them.
const BATCHES_BETWEEN: usize = 2;

/// How long packets may wait for their batch to be full, on their way to their flow's core.
const PASS_ON_NS: u64 = 50_000;

/// How long a thread that has nothing more to receive waits for others to pass on the rest.
const WAIT: Duration = Duration::from_micros(50);

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

/// A queue with the number of its interface.
type Queue = (u16, TapQueue);

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

/// What `main` and the `rx` threads tell each other.
#[derive(Debug, Default)]
struct Stages {
    /// The interfaces are detached, and what comes is in the queues.
    drained: AtomicBool,
    /// A queue has nothing more to give: its interface is gone.
    failed: AtomicBool,
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
    /// With the other queues, if there are any.
    exchange: Option<Exchange>,
    counters: &'a ReceiveCounters,
    clock: Clock,
    last_flush: Tick,
    /// When packets were last passed on.
    last_sent: Tick,
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

/// One for each queue; none runs yet.
fn make_threads<'a>(
    accounts: &'a Accounts,
    hasher: &KeyHasher,
    queues: Vec<Queue>,
    tables: Vec<CoreTable<'a>>,
    outboxes: Vec<Outbox>,
) -> Vec<Rx<'a>> {
    let cores = queues.len();
    let start = Instant::now();
    let batches = (EXCHANGE_PACKETS / EXCHANGE_BATCH / cores).max(4);
    let mut exchanges = Vec::new();
    if cores > 1 {
        exchanges = exchange(cores, Order::Time, batches, EXCHANGE_BATCH);
    }
    let mut exchanges = exchanges.into_iter();
    let cores = tables.into_iter().zip(outboxes).map(|(table, outbox)| Core::new(table, outbox));
    let make = |(number, ((interface, queue), core)): (usize, (Queue, Core<'a>))| {
        let mut decoder = Decoder::of_queue(hasher.clone(), number);
        decoder.set_interface(interface);
        Rx {
            queue,
            decoder,
            core,
            batch: PacketBatch::new(),
            exchange: exchanges.next(),
            counters: &accounts.receives[number][usize::from(interface)],
            clock: Clock::since(start),
            last_flush: 0,
            last_sent: 0,
        }
    };
    queues.into_iter().zip(cores).enumerate().map(make).collect()
}

impl Rx<'_> {
    /// Runs until the sources have stopped and the queue is empty, or the interface is
    /// gone. Then ends every flow. Returns how long batches took, and what failed.
    fn run(mut self, stages: &Stages) -> (Histogram<u64>, Option<Error>) {
        let mut failure = None;
        while failure.is_none() {
            // Acquire: pairs with the release in `capture`: nothing comes after it.
            let is_last = stages.drained.load(Ordering::Acquire);
            let now = self.clock.tick();
            self.decoder.set_tick(now);
            let received = self.receive();
            self.pass_on(received, now);
            let taken = self.take(received);
            let is_idle = received == 0 && !taken;
            if is_idle || now - self.last_flush >= FLUSH_NS {
                self.last_flush = now;
                if !taken {
                    self.idle(now);
                }
                self.core.flush();
                self.clock.set_by_wall();
                failure = self.note_drops().err();
            }
            if !is_idle {
                continue;
            }
            if is_last {
                break;
            }
            let wait = if self.exchange.is_some() { IDLE_BETWEEN } else { IDLE };
            failure = failure.or(self.queue.wait(wait).err());
        }
        if failure.is_some() {
            // Relaxed: a request is about itself only.
            stages.failed.store(true, Ordering::Relaxed);
        }
        (self.finish(), failure)
    }

    /// Moves the hand where no packets do.
    fn idle(&mut self, now: Tick) {
        self.core.idle(self.exchange.as_mut().map_or(now, |exchange| exchange.now(now)));
    }

    /// Waits for what other queues have for this core, and ends every flow.
    fn finish(mut self) -> Histogram<u64> {
        let mut end = self.decoder.tick();
        while self.exchange.as_ref().is_some_and(|exchange| !exchange.is_finished()) {
            let taken = self.take(0);
            let exchange = self.exchange.as_mut().expect("just seen");
            exchange.close();
            end = end.max(exchange.newest());
            if !taken {
                self.core.flush();
                thread::park_timeout(WAIT);
            }
        }
        self.core.finish(end)
    }

    /// Sends on what was received for any core, when it is time.
    fn pass_on(&mut self, received: usize, now: Tick) {
        let Some(exchange) = &mut self.exchange else { return };
        if received == 0 {
            exchange.rest();
            // What comes next is sent on at once: until then nobody waits for it.
            self.last_sent = 0;
        } else if now - self.last_sent >= PASS_ON_NS {
            self.last_sent = now;
            exchange.flush(now);
        }
    }

    /// Counts packets that were passed on to this core, after so many were received. Whether
    /// there were any.
    fn take(&mut self, received: usize) -> bool {
        let Some(exchange) = &mut self.exchange else { return false };
        let mut any = false;
        // As many as are received at a time from each queue, before it is looked at again.
        let is_busy = received == BATCH_PACKETS;
        let most = exchange.cores();
        for _ in 0..if is_busy { most.min(BATCHES_BETWEEN) } else { most } {
            let packets = exchange.receive(BATCH_PACKETS);
            if packets.is_empty() {
                break;
            }
            self.core.count(packets);
            any = true;
        }
        any
    }

    /// Receives, decodes and counts one batch. Returns the number of frames.
    fn receive(&mut self) -> usize {
        let now = self.clock.wall(self.decoder.tick());
        let Self { decoder, batch, counters, exchange, core, .. } = self;
        let received = self.queue.receive(BATCH_PACKETS, |bytes| {
            let frame = Frame {
                bytes,
                wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                timestamp: Some(now),
                link: LinkType::ETHERNET,
            };
            if !decode(decoder, &frame, counters, batch.next()) {
                return;
            }
            match exchange {
                None => _ = batch.keep(),
                Some(exchange) => {
                    let packet = batch.next();
                    if !exchange.send(packet) {
                        core.count_not_passed_on(packet);
                    }
                }
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

/// One clock for order and timeouts, which nobody can put back and on which all queues agree;
/// and how far the wall's is from it, for time stamps.
struct Clock {
    start: Instant,
    /// What the wall's clock said at the start, in ns.
    wall_start: Timestamp,
}

impl Clock {
    fn since(start: Instant) -> Self {
        let mut clock = Self { start, wall_start: 0 };
        clock.set_by_wall();
        clock
    }

    /// Time since the start, in ns.
    fn tick(&self) -> Tick {
        Tick::try_from(self.start.elapsed().as_nanos()).unwrap_or(Tick::MAX)
    }

    /// Follows the wall's clock where that was put forward or back.
    fn set_by_wall(&mut self) {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp::try_from(wall.as_nanos()).unwrap_or(Timestamp::MAX);
        self.wall_start = wall.saturating_sub_unsigned(self.tick());
    }

    /// What the wall's clock says at `tick`.
    fn wall(&self, tick: Tick) -> Timestamp {
        self.wall_start.saturating_add_unsigned(tick)
    }
}
