//! What counting a packet costs our table, for programs: over flows, over the share of packets
//! that begin a flow, and with more and more workers side by side.
//!
//! Packet time goes at the pace of `packets_per_s`, and every second of it the hand goes round:
//! its visits for each packet are the slots in use over that rate. Both are in each figure.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use flowtap::decode::Packet;
use flowtap::flow::{FeaturesSet, FlowRecord, KeyHasher, Timeouts};
use flowtap::limits::SWEEP_SLOTS;
use flowtap::table::{CoreTable, Outlet, Pace, TableConfig, TableCounters};
use flowtap::time::SECOND_NS;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::clock::own_ns;
use crate::traffic::Turnover;
use crate::{Meter, Size, median, time};

/// Packets a second of one core that receives at its limit, or close to it.
const BUSY_PER_S: usize = 10_000_000;

/// Packets of the flows that turn over: the share of packets that begin a flow is one in so
/// many. None is flows without an end.
const LIVES: [Option<u32>; 6] = [None, Some(1_000), Some(100), Some(10), Some(2), Some(1)];

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// Flows that are in the table at one time, about.
    flows: usize,
    life: Option<u32>,
    /// Of packet time.
    packets_per_s: usize,
    workers: usize,
}

/// All figures, up to so many flows.
pub(crate) fn figures(size: Size) -> Vec<Value> {
    let flows = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000];
    let flows = || flows.into_iter().filter(|&flows| flows <= size.flows);
    let still = |flows| Case { flows, life: None, packets_per_s: BUSY_PER_S, workers: 1 };
    let mut cases: Vec<_> = flows().map(still).collect();
    // A packet a second in each flow, so that many begin and end while the time runs.
    for flows in flows().step_by(2).filter(|&flows| flows < BUSY_PER_S) {
        let cases_of = LIVES.map(|life| Case { life, packets_per_s: flows, ..still(flows) });
        cases.extend(cases_of);
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    for flows in flows().step_by(2).take(3) {
        let more = (2..=available).filter(|n| n.is_power_of_two() || *n == available);
        cases.extend(more.map(|workers| Case { workers, ..still(flows) }));
    }
    cases.into_iter().map(|case| case.measure(size)).collect()
}

/// What one worker found.
struct Found {
    /// Of each round.
    ns: Vec<f64>,
    /// Flows begun in the rounds.
    begun: usize,
    /// The most slots in use.
    used: usize,
    counters: TableCounters,
}

/// Takes deltas, and counts flows that have ended.
#[derive(Default)]
struct Ends(usize);

impl Outlet for Ends {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn publish(&mut self, _hash: u64, published: FlowRecord) {
        self.0 += usize::from(black_box(published).total.end.is_some());
    }
}

struct Busy<'a> {
    table: CoreTable<'a>,
    counters: &'a TableCounters,
    ends: Ends,
}

impl Meter for Busy<'_> {
    fn count(&mut self, packets: &[Packet]) {
        self.table.count(packets, &mut self.ends);
    }

    fn packets(&self) -> u64 {
        self.counters.in_flows.get()
    }
}

impl Case {
    /// With room for those that are over and that the hand has not come to yet.
    fn slots(&self) -> usize {
        if self.life.is_some() { 3 * self.flows } else { self.flows }
    }

    fn measure(self, size: Size) -> Value {
        eprintln!("bench: {self:?}");
        let barrier = Barrier::new(self.workers);
        let found: Vec<Found> = std::thread::scope(|scope| {
            let start = |worker| {
                scope.spawn({
                    let barrier = &barrier;
                    move || self.work(worker, barrier, size)
                })
            };
            let threads: Vec<_> = (0..self.workers).map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let sum = |count: fn(&Found) -> u64| found.iter().map(count).sum::<u64>();
        let packets = (self.workers * size.rounds * size.packets) as f64;
        let mut each: Vec<_> = found.iter().map(|found| median(&mut found.ns.clone())).collect();
        let memory = *found[0].counters.memory.get().expect("the table is made");
        json!({
            "what": "table",
            "flows": self.flows,
            "workers": self.workers,
            "packets_per_s": self.packets_per_s,
            "new_share": found.iter().map(|found| found.begun).sum::<usize>() as f64 / packets,
            "used": found[0].used,
            "ns": median(&mut each),
            "slots": memory.slots,
            "bytes": memory.bytes,
            "pages": format!("{:?}", memory.pages),
            "given_up": sum(|found| found.counters.given_up.get()),
            "in_overflow": sum(|found| found.counters.in_overflow.get()),
        })
    }

    fn work(self, worker: usize, barrier: &Barrier, size: Size) -> Found {
        let mut set = CpuSet::new();
        set.set(worker).expect("few processors");
        // Without it the figure is only less steady.
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
        let hasher = KeyHasher::default();
        let counters = TableCounters::default();
        let mut traffic = Turnover::new(self.flows, self.life, &hasher, self.packets_per_s);
        let config = TableConfig {
            capacity: self.slots(),
            timeouts: Timeouts { linger_ns: SECOND_NS, ..Timeouts::default() },
            pace: Pace::LIVE,
            sweep_slots: SWEEP_SLOTS,
            is_populated: true,
            features_set: FeaturesSet::Basic,
        };
        let table = CoreTable::new(config, hasher, &counters).expect("there is memory");
        let mut busy = Busy { table, counters: &counters, ends: Ends::default() };
        let mut found =
            Found { ns: Vec::new(), begun: 0, used: 0, counters: TableCounters::default() };
        while let Some(packets) = traffic.firsts(size.packets) {
            time(&mut busy, &packets);
        }
        // Until as many end as begin: what is over lingers for a second.
        let settling = if self.life.is_some() { 3 * self.flows } else { 0 };
        for _ in 0..settling.div_ceil(size.packets) {
            time(&mut busy, &traffic.some(size.packets));
        }
        let before = traffic.begun();
        for _ in 0..size.rounds {
            let packets = traffic.some(size.packets);
            barrier.wait();
            let (start, own) = (Instant::now(), own_ns());
            let ns = time(&mut busy, &packets);
            // Without the time that others had the processor: they use this machine too.
            let had = (own_ns() - own) as f64 / (start.elapsed().as_secs_f64() * 1e9);
            found.ns.push(ns * had.min(1.0));
            found.used = found.used.max(traffic.begun() - busy.ends.0);
        }
        found.begun = traffic.begun() - before;
        drop(busy);
        Found { counters, ..found }
    }
}
