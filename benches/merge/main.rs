//! The global map beside rivals, in time and memory; what merging costs and of what; and
//! that nothing leaks.
//!
//! `cargo bench --bench merge` runs it in full; the tests run it small; with `--json FILE FLOWS`
//! it writes what `cargo xtask bench scale` asks for: merge threads and so many flows. Rivals
//! take turns in one run, and the median of each is shown: only ratios mean anything. All of them
//! end with the same sum of packets, which is asserted and printed.
//!
//! Memory is the growth of the resident set of a process of its own, so it has everything in
//! it: nodes, tables, cells, records, garbage that waits, and what the allocator adds, which
//! is the program's.

#![expect(clippy::print_stdout, reason = "that is what a benchmark is for")]

#[path = "../clock.rs"]
mod clock;
#[path = "../figures.rs"]
mod figures;
mod rivals;
mod threads;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use flowtap::flow::{
    Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, Opening, PortKind,
};
use flowtap::global::cell::FlowCell;
use flowtap::global::map::GlobalMap;
use flowtap::global::map::cells::Papaya;

use crate::clock::own_ns;
use crate::rivals::{Array, Dash, Flurry, PapayaRecords, Scc, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The most that a live flow may cost.
const BYTES_PER_FLOW: u64 = 400;

/// How much more may be resident after ten times as many flows: garbage that happens to wait,
/// where a leak of one record a flow is ten times as much.
const SLACK_BYTES: u64 = 16 << 20;

/// Makes the deltas of flow after flow.
#[derive(Clone)]
pub(crate) struct Flows;

impl Flows {
    /// The key of flow `number`, below 2^24.
    fn key(number: usize) -> FlowKey {
        let [_, a, b, c] = u32::try_from(number).expect("below 2^24").to_be_bytes();
        let end = |first: [u8; 4], port| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&first);
            Endpoint { address, port }
        };
        let (client, server) = (end([10, a, b, c], 4_321), end([192, 0, 2, 1], 443));
        FlowKey::canonical(client, server, 4, 6, PortKind::Ports, [0; 2]).0
    }

    /// What a core says of a flow: one packet each way, and that it begins or ends.
    pub(crate) fn delta(&self, number: usize, opens: bool, closes: bool) -> FlowRecord {
        let mut delta = Delta::EMPTY;
        for side in &mut delta.sides {
            (side.packets, side.bytes, side.frame_bytes) = (1, 60, 74);
        }
        (delta.first, delta.last) = (1, 2);
        if opens {
            delta.opening = Some(Opening {
                flow_start: Some(1),
                ordinal: u32::try_from(number).expect("below 2^32"),
                initiator: Direction::Forward,
                macs: [None; 2],
                first_packet: Direction::Forward,
                icmp: None,
                interface: 0,
                encapsulation: None,
            });
        }
        if closes {
            delta.end = Some(EndReason::EndDetected);
        }
        let key = Self::key(number);
        FlowRecord::flow(key, delta)
    }
}

/// What one store took, in ns for each flow, and the packets of all it has seen.
#[derive(Debug, Default, Clone, Copy)]
struct Times {
    fill: f64,
    churn: f64,
    read: f64,
    churn_read: f64,
    packets: u64,
}

/// Begins flows 0 to `live`.
fn fill(store: &impl Store, flows: &Flows, live: usize) {
    (0..live).for_each(|number| store.merge(&flows.delta(number, true, false)));
}

/// Begins `count` flows from `from` on, and for each ends the one that is `live` older: each
/// is created, merged once more and evicted. The packets of those evicted.
#[inline(never)]
fn churn(store: &impl Store, flows: &Flows, live: usize, from: usize, count: usize) -> u64 {
    let mut packets = 0;
    for number in from..from + count {
        store.merge(&flows.delta(number, true, false));
        let ends = flows.delta(number - live, false, true);
        store.merge(&ends);
        let record = store.evict(&ends.key).expect("it is complete");
        packets += record.total.packets();
    }
    packets
}

fn measure(store: &impl Store, live: usize, is_read: bool) -> Times {
    let flows = Flows;
    let mut times = Times::default();
    // As many as are live: long enough to see what maps pay for removed places.
    let count = live;
    // A thread's own time, as far as nobody is waited for: others use this machine too.
    let mut since = own_ns();
    let mut each = |count: usize| {
        let before = std::mem::replace(&mut since, own_ns());
        (since - before) as f64 / count as f64
    };
    fill(store, &flows, live);
    times.fill = each(live);
    times.packets += churn(store, &flows, live, live, count);
    times.churn = each(count);
    if is_read {
        times.packets += store.read();
        times.read = each(live);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Relaxed: about itself only.
            let reader = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(store.read() >= live as u64, "records are missing");
                }
            });
            let from = live + count;
            // Few: where readers hold up writers this takes long.
            let count = count.min(20_000);
            let start = Instant::now();
            times.packets += churn(store, &flows, live, from, count);
            times.churn_read = start.elapsed().as_secs_f64() * 1e9 / count as f64;
            is_over.store(true, Ordering::Relaxed);
            reader.join().expect("the reader saw all");
        });
    }
    times
}

/// A store to measure.
struct Candidate {
    name: &'static str,
    /// Measures times with so many live flows.
    times: fn(usize) -> Times,
    /// Bytes that so many live flows take; `None` where there is no map.
    grown: Option<fn(usize) -> u64>,
}

const CANDIDATES: &[Candidate] = &[
    Candidate {
        name: "ours: papaya",
        times: |live| measure(&GlobalMap::over(Papaya::default()), live, true),
        grown: Some(|live| grown(&GlobalMap::over(Papaya::default()), live)),
    },
    Candidate {
        name: "flurry",
        times: |live| measure(&GlobalMap::over(Flurry::default()), live, true),
        grown: Some(|live| grown(&GlobalMap::over(Flurry::default()), live)),
    },
    Candidate {
        name: "dashmap",
        times: |live| measure(&GlobalMap::over(Dash::default()), live, true),
        grown: Some(|live| grown(&GlobalMap::over(Dash::default()), live)),
    },
    Candidate {
        name: "scc",
        times: |live| measure(&GlobalMap::over(Scc::default()), live, true),
        grown: Some(|live| grown(&GlobalMap::over(Scc::default()), live)),
    },
    Candidate {
        name: "papaya, no cell",
        times: |live| measure(&PapayaRecords::default(), live, true),
        grown: Some(|live| grown(&PapayaRecords::default(), live)),
    },
    Candidate {
        name: "no map",
        times: |live| measure(&GlobalMap::over(Array::<FlowCell>::new(live)), live, false),
        grown: None,
    },
    Candidate {
        name: "no map, no epochs",
        times: |live| measure(&Array::<Box<Delta>>::new(live), live, false),
        grown: None,
    },
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(live: usize, rounds: usize) {
    let mut runs = vec![Vec::new(); CANDIDATES.len()];
    for _ in 0..rounds {
        for (candidate, times) in CANDIDATES.iter().zip(&mut runs) {
            times.push((candidate.times)(live));
        }
    }
    println!("\n{live} live flows, ns a flow, median of {rounds}; bytes a live flow");
    println!("{:20}{:>8}{:>8}{:>8}{:>12}{:>8}", "", "fill", "churn", "read", "churn+read", "bytes");
    for (Candidate { name, grown, .. }, times) in CANDIDATES.iter().zip(&runs) {
        let of = |value: fn(&Times) -> f64| median(times.iter().map(value).collect());
        let (fill, churn) = (of(|t| t.fill), of(|t| t.churn));
        print!("{name:20}{fill:8.0}{churn:8.0}");
        if grown.is_some() {
            let bytes = bytes_of(name, live);
            println!("{:8.1}{:12.0}{bytes:8}", of(|t| t.read), of(|t| t.churn_read));
            let same = times.iter().all(|t| t.packets == runs[0][0].packets);
            assert!(same, "{name} counts otherwise");
        } else {
            println!();
        }
    }
    println!("packets seen by each: {}", runs[0][0].packets);
}

/// The resident set, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).expect("the second field");
    pages.parse::<u64>().expect("a number") * 4_096
}

/// By how much the process grows with `live` flows, each merged once after its creation.
fn grown(store: &impl Store, live: usize) -> u64 {
    let flows = Flows;
    let before = resident();
    fill(store, &flows, live);
    for number in 0..live {
        store.merge(&flows.delta(number, false, false));
    }
    assert_eq!(store.read(), 4 * live as u64);
    resident() - before
}

/// Bytes for each of `live` flows in a store, found by a process of its own.
fn bytes_of(name: &str, live: usize) -> u64 {
    child(&["bytes", name, &live.to_string()])[0] / live as u64
}

/// Runs this program again and reads the numbers that it prints.
fn child(args: &[&str]) -> Vec<u64> {
    let program = std::env::current_exe().expect("Linux knows");
    let output = Command::new(program).args(args).output().expect("it ran before");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

/// What a child process does: says how much it grew.
fn run_child(args: &[&str]) {
    match args {
        ["bytes", name, live] => {
            let candidate = CANDIDATES.iter().find(|candidate| candidate.name == *name);
            let grown = candidate.and_then(|candidate| candidate.grown).expect("a map");
            println!("{}", grown(live.parse().expect("a number")));
        }
        // By itself, for a profiler.
        ["times", name, live] => {
            let candidate = CANDIDATES.iter().find(|candidate| candidate.name == *name);
            let times = candidate.expect("a candidate").times;
            println!("{:?}", times(live.parse().expect("a number")));
        }
        ["leak", flows] => threads::leak(flows.parse().expect("a number")),
        _ => panic!("unknown arguments: {args:?}"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_full = args.iter().any(|arg| arg == "--bench");
    if let Some(file) = figures::file() {
        // Merge threads alone, with so many flows.
        let count = args.iter().find_map(|arg| arg.parse().ok());
        let count = count.expect("--json FILE, and flows");
        let mut figures = threads::compare(count);
        figures.push(serde_json::json!({
            "what": "global",
            "live": count,
            "bytes": bytes_of("ours: papaya", count),
            "delta_bytes": size_of::<FlowRecord>(),
            "record_bytes": size_of::<FlowRecord>(),
        }));
        return figures::write(file, &figures);
    }
    let rest: Vec<&str> = args.iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    if !rest.is_empty() && !is_full {
        return run_child(&rest);
    }
    let wants = |group: &str| rest.is_empty() || rest.contains(&group);
    if wants("maps") {
        let sizes: &[usize] = if is_full { &[100_000, 1_000_000] } else { &[2_000] };
        sizes.iter().for_each(|&live| compare(live, if is_full { 3 } else { 1 }));
    }
    if wants("threads") {
        let _ = threads::compare(if is_full { 2_000_000 } else { 2_000 });
    }
    if wants("memory") {
        let live = if is_full { 1_000_000 } else { 100_000 };
        let bytes = bytes_of("ours: papaya", live);
        println!("\n{bytes} bytes a live flow, with {live} of them");
        assert!(bytes <= BYTES_PER_FLOW, "a live flow costs {bytes} bytes");
        let flows = if is_full { 1_000_000 } else { 100_000 };
        let sizes = child(&["leak", &flows.to_string()]);
        println!(
            "resident after {flows} flows: {}, after ten times as many: {}",
            sizes[0], sizes[1]
        );
        assert!(sizes[1] <= sizes[0] + SLACK_BYTES, "memory grows: {sizes:?}");
    }
}
