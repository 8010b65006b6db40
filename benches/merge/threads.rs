//! Merge threads: the real ones, fed through real lanes, with the real `reap` behind them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowtap::flow::{FeaturesSet, FlowRecord};
use flowtap::global::map::GlobalMap;
use flowtap::global::merge::Merge;
use flowtap::global::reap::{FINISHED_KEYS, Reap};
use flowtap::global::{Ended, GlobalCounters, Step};
use flowtap::limits::{BATCH_DELTAS, RING_BATCHES};
use flowtap::sync::ring::ring;
use flowtap::table::Outlet;
use flowtap::table::outbox::outbox;
use serde_json::{Value, json};

use crate::clock::own_ns;
use crate::{Flows, resident};

/// Counts packets and drops records.
struct Count<'a>(&'a AtomicU64);

impl Ended for Count<'_> {
    fn ended(&mut self, record: FlowRecord) {
        // Relaxed: looked at after the threads were joined.
        self.0.fetch_add(record.total.packets(), Ordering::Relaxed);
    }

    fn flush(&mut self) {}
}

/// How flows come to `merge`.
#[derive(Clone, Copy)]
enum Shape {
    /// In one delta: they pass the map by.
    Whole,
    /// In two, with so many other flows between: they go through the map.
    Apart(usize),
}

/// Sends `count` flows through `merges` merge threads. Returns ns of merge threads' own time
/// for each flow, and flows a second by the clock on the wall, `reap` and all.
fn run(merges: usize, shape: Shape, count: usize) -> (f64, f64) {
    let map = GlobalMap::default();
    let counters: Vec<_> = (0..=merges).map(|_| GlobalCounters::default()).collect();
    let packets = AtomicU64::new(0);
    let flows = Flows;
    let start = Instant::now();
    let own: u64 = std::thread::scope(|scope| {
        let mut hints = Vec::new();
        let mut threads = Vec::new();
        for idx in 0..merges {
            let (hint, hinted) = ring(FINISHED_KEYS);
            hints.push(hinted);
            let (flows, map, packets, counters) = (flows.clone(), &map, &packets, &counters[idx]);
            threads.push(scope.spawn(move || {
                let (mut out, inboxes) = outbox(1, RING_BATCHES, BATCH_DELTAS, FeaturesSet::Basic);
                let ended = Count(packets);
                let mut merge = Merge { inboxes, map, finished: hint, ended, counters };
                let mut own = 0;
                let mut step = |merge: &mut Merge<'_, _>| {
                    let before = own_ns();
                    while merge.step() == Step::Worked {}
                    own += own_ns() - before;
                };
                let distance = if let Shape::Apart(between) = shape { between } else { 0 };
                // This thread's share of the flows: every number that leaves the rest `idx`.
                for turn in 0..count / merges + distance {
                    if out.room() < 2 {
                        out.flush();
                        step(&mut merge);
                    }
                    match shape {
                        Shape::Whole => {
                            out.publish(0, flows.delta(turn * merges + idx, true, true))
                        }
                        Shape::Apart(_) => {
                            if turn < count / merges {
                                out.publish(0, flows.delta(turn * merges + idx, true, false));
                            }
                            if let Some(old) = turn.checked_sub(distance) {
                                out.publish(0, flows.delta(old * merges + idx, false, true));
                            }
                        }
                    }
                }
                out.flush();
                step(&mut merge);
                own
            }));
        }
        let reap = Reap {
            finished: hints,
            map: &map,
            ended: Count(&packets),
            counters: &counters[merges],
        };
        scope.spawn(|| reap.run());
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let wall = start.elapsed().as_secs_f64();
    let count = count / merges * merges;
    let each = if matches!(shape, Shape::Whole) { 2 } else { 4 };
    assert_eq!(packets.into_inner(), each * count as u64, "packets are missing");
    assert!(map.is_empty(), "records were left");
    (own as f64 / count as f64, count as f64 / wall)
}

/// One and two merge threads, for flows that go through the map and past it. Returns the same
/// for programs.
pub(crate) fn compare(count: usize) -> Vec<Value> {
    let live = count / 10;
    let mut figures = Vec::new();
    println!("\nmerge threads, {count} flows, median of 3");
    println!("{:46}{:>10}{:>14}{:>14}", "", "own ns", "flows/s each", "flows/s wall");
    for (shape, name) in [
        (Shape::Whole, "whole, past the map".to_owned()),
        (Shape::Apart(BATCH_DELTAS), "two deltas, a batch apart".to_owned()),
        (Shape::Apart(live), format!("two deltas, {live} flows apart")),
    ] {
        for merges in [1, 2] {
            let mut runs: Vec<_> = (0..3).map(|_| run(merges, shape, count)).collect();
            runs.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (own, wall) = runs[1];
            println!("{name:36}{merges:10}{own:10.0}{:14.0}{wall:14.0}", 1e9 / own);
            let deltas = if matches!(shape, Shape::Whole) { 1 } else { 2 };
            figures.push(json!({
                "what": "merge", "shape": name, "deltas": deltas, "threads": merges,
                "own_ns": own, "flows_per_s": wall,
            }));
        }
    }
    figures
}

/// Prints the resident set after `flows` flows and after ten times as many, all of them
/// created, merged and evicted while a reader looks on.
pub(crate) fn leak(flows: usize) {
    const LIVE: usize = 10_000;
    let map = GlobalMap::default();
    let source = Flows;
    let (evict, evicted) = std::sync::mpsc::sync_channel(LIVE);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for key in evicted {
                map.evict(&key, |_| true).expect("nobody else evicts");
            }
            // Relaxed: about itself only.
            is_over.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                map.for_each(|_, total| assert!(total.packets() > 0));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for number in 0..10 * flows {
            let delta = source.delta(number, true, false);
            map.merge(&delta.key, &delta.total, |_| panic!("keys do not meet"));
            let ends = source.delta(number, false, true);
            map.merge(&ends.key, &ends.total, |_| panic!("keys do not meet"));
            evict.send(ends.key).expect("the other thread waits");
            if number + 1 == flows || number + 1 == 10 * flows {
                println!("{}", resident());
            }
        }
        drop(evict);
    });
}
