//! One `rx` thread: receives, decodes, passes on and counts a batch at a time, until its
//! queue has nothing more to give.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::clock::Clock;
use super::cpus;
use super::filters::QueueFilter;
use super::handover::Passing;
use super::line::Line;
use super::settings::{CaptureSettings, Wait};
use super::shunt::Shunt;
use super::waiting::{Next, Waiting};
use crate::decode::{Decoder, Packet};
use crate::engine::payloads::Payloads;
use crate::engine::pipeline::Feeds;
use crate::engine::stage::{Core, PacketBatch, admit, decode, note};
use crate::error::{Error, Result};
use crate::ledger::{Accounts, ReceiveCounters};
use crate::limits::{BATCH_PACKETS, DRAIN_NS, EXCHANGE_BATCH, EXCHANGE_PACKETS};
use crate::source::live::Source;
use crate::sync::bell::Bell;
use crate::sync::{Arc, AtomicBool, Ordering, thread};
use crate::table::CoreTable;
use crate::table::exchange::{Exchange, Order, exchange};
use crate::time::Tick;
use crate::xdp::shunt::ShuntMaps;

/// How long an `rx` thread sleeps in poll(2) when its queue is empty: also how often its
/// hand moves then.
const IDLE: Duration = Duration::from_millis(10);

/// The same, where other queues may have packets for its core, for which it is woken only when
/// there are many: at first.
const IDLE_BETWEEN: Duration = Duration::from_millis(1);

/// By how much the longest sleep grows with each thread there is, so that all together wake no more
/// than 250 times a second, as long as they are 25 or fewer: each time costs some 20 us (measured:
/// eight that woke 250 times each took 4 % of a core).
const IDLE_EACH: Duration = Duration::from_millis(4);

/// The longest there is; and that of a thread without a queue.
const IDLE_LONGEST: Duration = Duration::from_millis(100);

/// Batches of other queues' packets that are counted before the own queue is looked at again,
/// when that is busy: it must not run full for them.
const BATCHES_BETWEEN: usize = 2;

/// How long packets may wait for their batch to be full, on their way to their flow's core.
const PASS_ON_NS: u64 = 50_000;

/// How long a thread that has nothing more to receive waits for others to pass on the rest.
const WAIT: Duration = Duration::from_micros(50);

/// How often published deltas are sent on under load, and lost packets are looked up.
const FLUSH_NS: u64 = 100_000_000;

/// What `main` and the `rx` threads tell each other.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// The interfaces are detached, and what comes is in the queues.
    pub(super) drained: AtomicBool,
    /// A thread cannot go on.
    pub(super) failed: AtomicBool,
}

/// What one `rx` thread is given of interfaces.
pub(super) struct Inlet {
    /// The number of the one that it receives from.
    pub(super) interface: u16,
    pub(super) line: Line,
    /// Of all whose packets its core may count, with their numbers.
    pub(super) shunts: Vec<(u16, ShuntMaps)>,
}

/// One `rx` thread.
pub(super) struct Rx<'a> {
    /// The number of the interface.
    interface: u16,
    line: Line,
    /// The processor that it runs on, if that was said.
    cpu: Option<usize>,
    /// How it waits once there are more queues than at the start.
    wait: Wait,
    waiting: Waiting,
    filter: Option<QueueFilter>,
    decoder: Decoder,
    core: Core<'a>,
    batch: PacketBatch,
    /// With the other queues, if there are any.
    exchange: Option<Exchange>,
    /// What the kernel counts by itself, of each interface, if it does.
    shunts: Vec<Shunt<ShuntMaps>>,
    /// To the `names` thread, if there is one.
    payloads: Option<Payloads>,
    counters: &'a ReceiveCounters,
    clock: Clock,
    last_flush: Tick,
    /// When packets were last passed on.
    last_sent: Tick,
}

/// One for each inlet, with its filter (of all or of none), a table and what feeds the threads
/// behind it; none runs yet. The packet clock begins at a moment. Flows are counted by the first
/// `cores`, who have these bells; the others have no queue yet.
pub(super) fn make_threads<'a>(
    accounts: &'a Accounts,
    first: &Decoder,
    live: &CaptureSettings,
    mut filters: impl Iterator<Item = QueueFilter>,
    (cores, inlets, bells): (usize, Vec<Inlet>, &[Arc<Bell>]),
    (tables, feeds, start): (Vec<CoreTable<'a>>, Feeds, Instant),
) -> Vec<Rx<'a>> {
    let mut exchanges = Vec::new();
    if cores > 1 {
        exchanges = exchange(cores, Order::Time, lane_batches(cores), EXCHANGE_BATCH);
    }
    let mut exchanges = exchanges.into_iter().map(|exchange| exchange.with_bells(bells));
    // Where threads share processors, looking again takes time from one that has packets
    // (measured with two on one: up to 12 % of the rate).
    let wait_of = |threads: usize| match live.wait {
        Wait::Adaptive if threads > live.processors() => Wait::Poll,
        how => how,
    };
    let wait = wait_of(inlets.len());
    let waiting = |number: usize| {
        if number >= cores {
            return Waiting::new(Wait::Poll, [IDLE_LONGEST; 2]);
        }
        Waiting::new(wait_of(cores), if cores > 1 { idle_among(cores) } else { [IDLE; 2] })
    };
    let mut intervals = feeds.intervals.into_iter();
    let cores = tables.into_iter().zip(feeds.outboxes);
    let cores =
        cores.map(|(table, outbox)| Core::new(table, outbox).with_intervals(intervals.next()));
    let mut payloads = feeds.payloads.into_iter();
    let make = |(number, (inlet, core)): (usize, (Inlet, Core<'a>))| {
        let Inlet { interface, line, shunts } = inlet;
        let clock = Clock::since(start);
        let packets = live.shunt.unwrap_or_default();
        let payloads = payloads.next();
        let (tunnels, learns_names) = (first.tunnels(), payloads.is_some());
        let shunt = |(of, maps)| Shunt::new(maps, packets, of, tunnels, learns_names, &clock);
        let shunts = shunts.into_iter().map(shunt).collect();
        let mut decoder = first.for_queue(number);
        decoder.set_interface(interface);
        Rx {
            interface,
            line,
            cpu: live.cpus.as_ref().map(|cpus| cpus.of_thread(number)),
            wait,
            waiting: waiting(number),
            filter: filters.next(),
            decoder,
            core,
            batch: PacketBatch::new(),
            exchange: exchanges.next(),
            shunts,
            payloads,
            counters: &accounts.receives[number][usize::from(interface)],
            clock,
            last_flush: 0,
            last_sent: 0,
        }
    };
    inlets.into_iter().zip(cores).enumerate().map(make).collect()
}

/// Batches that the lane from one of so many threads has room for.
pub(super) fn lane_batches(threads: usize) -> usize {
    (EXCHANGE_PACKETS / EXCHANGE_BATCH / threads).max(4)
}

/// From which to which length one of so many threads sleeps.
fn idle_among(threads: usize) -> [Duration; 2] {
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    let longest = IDLE_EACH.saturating_mul(threads).clamp(IDLE, IDLE_LONGEST);
    [IDLE_BETWEEN, longest]
}

impl Rx<'_> {
    /// Has packets come to its queue from now on: it must run.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub(super) fn begin(&self, sources: &mut [Source]) -> Result<()> {
        let source = &mut sources[usize::from(self.interface)];
        self.line.queue().map_or(Ok(()), |queue| source.begin(queue))
    }

    /// Runs until the sources have stopped and the queue is empty. Then ends every flow. Returns
    /// how long batches took, and what failed.
    pub(super) fn run(mut self, stages: &Stages) -> (Histogram<u64>, Option<Error>) {
        let failure = self.cpu.map_or(Ok(()), cpus::pin).and_then(|()| self.receive_all(stages));
        let mut failure = failure.err();
        if failure.is_some() {
            // Relaxed: a request is about itself only.
            stages.failed.store(true, Ordering::Relaxed);
        }
        if let Err(error) = self.bring_all_home(stages) {
            failure.get_or_insert(error);
        }
        (self.finish(), failure)
    }

    /// Takes what the kernel has counted by itself, for the last time.
    fn bring_all_home(&mut self, stages: &Stages) -> Result<()> {
        let now = self.decoder.tick();
        let cap = self.table_tick(now);
        for mut shunt in std::mem::take(&mut self.shunts) {
            // Acquire: pairs with the release in `capture`; the program has been detached.
            while !stages.drained.load(Ordering::Acquire) {
                thread::park_timeout(WAIT);
            }
            while !shunt.finish(cap, &mut self.core, &self.clock)? {
                self.core.flush();
                thread::park_timeout(WAIT);
            }
        }
        Ok(())
    }

    /// Where the clock of this core's table may stand at `now`: behind packets that may still
    /// come from other queues.
    fn table_tick(&self, now: Tick) -> Tick {
        self.exchange.as_ref().map_or(now, Exchange::newest)
    }

    fn receive_all(&mut self, stages: &Stages) -> Result<()> {
        let mut last = None;
        let mut is_behind = false;
        loop {
            // Acquire: pairs with the release in `capture`: nothing comes after it.
            let is_last = stages.drained.load(Ordering::Acquire);
            let now = self.clock.tick();
            self.decoder.set_tick(now);
            let received = self.receive()?;
            self.hand_over(received, now);
            self.pass_on(received, now);
            let taken = self.take(received)?;
            let cap = self.table_tick(now);
            for shunt in &mut self.shunts {
                shunt.turn(now, cap, received == 0, &mut self.core, &self.clock)?;
            }
            let is_quiet = received == 0 && !taken;
            if is_behind && is_quiet && !is_last && now - self.last_flush < FLUSH_NS {
                // What one step has left is made up for as long as no packet comes.
                is_behind = self.idle(now);
                continue;
            }
            let next = if is_quiet {
                self.waiting.next(now)
            } else {
                self.waiting.found();
                Next::Look
            };
            if matches!(next, Next::Sleep(_)) || now - self.last_flush >= FLUSH_NS {
                self.last_flush = now;
                if !taken {
                    is_behind = self.idle(now);
                }
                self.core.flush();
                self.clock.set_by_wall();
                while let Some(passing) = self.line.follow_orders(received, now)? {
                    self.reroute(passing, now);
                }
                self.line.set_by_wall();
                self.note_counts()?;
                self.line.tell_if_closed();
            }
            let Next::Sleep(longest) = next else { continue };
            if is_behind && !is_last {
                continue;
            }
            if is_last {
                let since = *last.get_or_insert(now);
                if self.line.is_drained()? || now - since > DRAIN_NS {
                    return self.note_counts();
                }
            }
            if self.line.wait(longest) {
                self.waiting.woken(self.clock.tick() - now);
            }
        }
    }

    /// Moves the hand where no packets do. See [`Core::idle`].
    fn idle(&mut self, now: Tick) -> bool {
        self.core.idle(self.exchange.as_mut().map_or(now, |exchange| exchange.now(now)))
    }

    /// Hands over the payloads of what was received, and lets nobody wait for more where nothing
    /// was.
    fn hand_over(&mut self, received: usize, now: Tick) {
        if let Some(payloads) = &mut self.payloads {
            payloads.reach(if received == 0 { Tick::MAX } else { now });
        }
    }

    /// Waits for what other queues have for this core, and ends every flow.
    fn finish(mut self) -> Histogram<u64> {
        if let Some(mut payloads) = self.payloads.take() {
            payloads.flush_all();
        }
        let mut end = self.decoder.tick();
        while self.exchange.as_ref().is_some_and(|exchange| !exchange.is_finished()) {
            let taken = self.take(0).expect("no shunt is left, and nothing else fails");
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

    /// Passes on and takes packets another way.
    fn reroute(&mut self, passing: Passing, now: Tick) {
        match passing {
            Passing::On(exchange) => {
                assert!(self.exchange.is_none(), "nothing is under way by another");
                self.exchange = Some(exchange.since(now));
            }
            Passing::From(incoming) => {
                self.exchange.as_mut().expect("it was given before").join(*incoming);
            }
        }
        let threads = self.exchange.as_ref().map_or(1, Exchange::cores);
        self.waiting = Waiting::new(self.wait, idle_among(threads));
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
    ///
    /// # Errors
    /// If a shunt fails.
    fn take(&mut self, received: usize) -> Result<bool> {
        let Some(exchange) = &mut self.exchange else { return Ok(false) };
        let mut any = false;
        // As many as are received at a time from each queue, before it is looked at again.
        let is_busy = received == BATCH_PACKETS;
        let most = exchange.cores();
        for _ in 0..if is_busy { most.min(BATCHES_BETWEEN) } else { most } {
            let packets = exchange.receive(BATCH_PACKETS);
            if packets.is_empty() {
                break;
            }
            count(packets, &mut self.core, &mut self.shunts, &self.clock)?;
            any = true;
        }
        Ok(any)
    }

    /// Receives, decodes and counts one batch. Returns the number of frames.
    ///
    /// # Errors
    /// If a shunt fails.
    fn receive(&mut self) -> Result<usize> {
        let now = self.clock.wall(self.decoder.tick());
        let Self { filter, decoder, batch, counters, exchange, payloads, core, .. } = self;
        let filter = filter.as_mut().map(QueueFilter::latest);
        let received = self.line.receive(BATCH_PACKETS, now, |frame| {
            let accepts = filter.as_ref().is_none_or(|filter| filter.accepts(frame));
            if !admit(accepts, counters) {
                return;
            }
            let payload = match decode(decoder, frame, counters, batch.next()) {
                Ok(payload) => payload,
                Err(cause) => {
                    if let Some(payloads) = payloads {
                        payloads.offer_announcement(frame, cause, decoder.tick());
                    }
                    return;
                }
            };
            if let Some(payloads) = payloads {
                payloads.offer(batch.next(), frame, payload);
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
        if !batch.packets().is_empty() {
            count(batch.packets(), core, &mut self.shunts, &self.clock)?;
            batch.clear();
        }
        note(decoder, counters);
        Ok(received)
    }

    /// Takes over what the queue has counted and lost.
    fn note_counts(&mut self) -> Result<()> {
        let counts = self.line.counts()?;
        let counters = self.counters;
        counters.seen.set(counts.seen);
        counters.rx_ring_full.set(counts.rx_ring_full);
        counters.fill_ring_empty.set(counts.fill_ring_empty);
        counters.oversize.set(counts.oversize);
        counters.invalid.set(counts.invalid);
        counters.kernel.set(counts.kernel);
        counters.freezes.set(counts.freezes);
        counters.outgoing.set(counts.outgoing);
        counters.above_mtu.set(counts.above_mtu);
        counters.batch_timed.set(counts.batch_timed);
        Ok(())
    }
}

/// Counts a batch of this core's packets, and what the kernel has counted before of flows that
/// begin or end in it.
fn count(
    packets: &[Packet],
    core: &mut Core<'_>,
    shunts: &mut [Shunt<ShuntMaps>],
    clock: &Clock,
) -> Result<()> {
    for shunt in &mut *shunts {
        shunt.before(packets, core, clock)?;
    }
    core.count(packets);
    shunts.iter_mut().try_for_each(|shunt| shunt.after(packets, core))
}
