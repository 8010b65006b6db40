//! The core table beside rivals: what counting a packet costs as flows go from ten thousand
//! to ten million, uniform and Zipf-distributed; what a scan costs; how long the longest
//! batches take; and what an attack does to a small table.
//!
//! `cargo bench --bench table` runs it in full (4 minutes, 12 GB), `-- --flows N` up to so many
//! flows, `-- compare scan batches attack` these parts of it, and `-- --json FILE` what
//! `cargo xtask bench scale` asks for ([`scale`]); the tests run it small. In each round all meters
//! count the same packets one after the other, in an order that rotates; medians are compared.
//! A sum of what was counted is held against the others' and printed.

#[path = "../clock.rs"]
mod clock;
#[path = "../figures.rs"]
mod figures;
mod rivals;
mod scale;
mod traffic;

use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use flowtap::decode::{Decoder, Packet};
use flowtap::flow::{FeaturesSet, FlowRecord, KeyHasher, Timeouts};
use flowtap::limits::{BATCH_PACKETS, SWEEP_SLOTS};
use flowtap::source::{Frame, LinkType};
use flowtap::table::{CoreTable, Outlet, Pace, TableConfig, TableCounters};
use hdrhistogram::Histogram;

use crate::rivals::{Concurrent, Locked, OpenAddressing, Plain};
use crate::traffic::{Load, Traffic};

/// Something that counts packets.
trait Meter {
    /// Counts a batch.
    fn count(&mut self, packets: &[Packet]);
    /// Packets that it has counted.
    fn packets(&self) -> u64;
}

/// Takes deltas, and adds up what they have counted.
#[derive(Default)]
struct Sum(u64);

impl Outlet for Sum {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn publish(&mut self, _hash: u64, published: FlowRecord) {
        self.0 += black_box(published).total.packets();
    }
}

/// Ours: everything that an `rx` thread does with decoded packets, the hand and publishing
/// included, which no rival does.
struct Core<'a> {
    table: CoreTable<'a>,
    counters: &'a TableCounters,
    published: Sum,
}

impl<'a> Core<'a> {
    fn new(capacity: usize, hasher: &KeyHasher, counters: &'a TableCounters) -> Self {
        let timeouts = Timeouts::default();
        let config = TableConfig {
            capacity,
            timeouts,
            pace: Pace::LIVE,
            sweep_slots: SWEEP_SLOTS,
            is_populated: true,
            features_set: FeaturesSet::Basic,
        };
        let table = CoreTable::new(config, hasher.clone(), counters).expect("there is memory");
        Self { table, counters, published: Sum::default() }
    }
}

impl Meter for Core<'_> {
    fn count(&mut self, packets: &[Packet]) {
        self.table.count(packets, &mut self.published);
    }

    fn packets(&self) -> u64 {
        self.counters.in_flows.get()
    }
}

/// How much is run.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Flows at most.
    flows: usize,
    /// Packets of one round.
    packets: usize,
    rounds: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let is_bench = arguments.iter().any(|argument| argument == "--bench");
    if is_bench && std::env::var_os("GLIBC_TUNABLES").is_none() {
        // Huge pages for the rivals too: glibc then asks for them, as our table does.
        let program = std::env::current_exe().expect("this program has a name");
        let mut again = Command::new(program);
        again.args(&arguments[1..]).env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
        panic!("start again: {}", again.exec());
    }
    let most = arguments.iter().position(|argument| argument == "--flows");
    let most = most.map(|at| arguments[at + 1].parse().expect("--flows takes a number"));
    let size = if is_bench {
        Size { flows: most.unwrap_or(10_000_000), packets: 1 << 20, rounds: 7 }
    } else {
        Size { flows: 1_000, packets: 1 << 12, rounds: 1 }
    };
    if let Some(file) = figures::file() {
        let is_small = arguments.iter().any(|argument| argument == "--small");
        let rounds = if is_small { 3 } else { size.rounds };
        return figures::write(file, &scale::figures(Size { rounds, ..size }));
    }
    let wants = |part: &str| {
        let parts = ["compare", "scan", "batches", "attack"];
        let mut named = arguments.iter().filter(|name| parts.contains(&name.as_str())).peekable();
        named.peek().is_none() || named.any(|name| name == part)
    };
    println!("nanoseconds a packet, medians; in brackets: times of ours\n");
    println!(
        "{:>20} {:>8} {:>16} {:>16} {:>16} {:>16}",
        "flows", "ours", "open addressing", "HashMap", "Mutex<HashMap>", "DashMap"
    );
    for flows in [1_000, 10_000, 100_000, 1_000_000, 5_000_000, 10_000_000] {
        if flows <= size.flows && wants("compare") {
            compare(Load::Uniform, flows, size);
            compare(Load::Zipf, flows, size);
        }
    }
    if wants("scan") {
        scan(size.flows.min(5_000_000));
    }
    if wants("batches") {
        longest_batches(size.flows.min(1_000_000), size);
    }
    if wants("attack") {
        attack(size.flows.min(100_000), size);
    }
}

/// Times all meters on the same packets, `rounds` times.
fn compare(load: Load, flows: usize, size: Size) {
    let hasher = KeyHasher::default();
    let counters = TableCounters::default();
    let mut meters = meters(flows, &hasher, &counters);
    let mut traffic = Traffic::new(load, flows, &hasher);
    // Every flow once, so that none begins while the time runs.
    for first in (0..flows).step_by(size.packets) {
        let packets = traffic.each_of(first..flows.min(first + size.packets));
        for meter in &mut meters {
            time(meter.as_mut(), &packets);
        }
    }
    let mut times = vec![Vec::new(); meters.len()];
    for round in 0..size.rounds {
        let packets = traffic.some(size.packets);
        for turn in 0..meters.len() {
            let meter = (turn + round) % meters.len();
            times[meter].push(time(meters[meter].as_mut(), &packets));
        }
    }
    let expected = (flows + size.rounds * size.packets) as u64;
    show(&format!("{flows} {load:?}"), times, &meters, expected);
}

/// Two packets in each of `flows` flows, the second some time after the first.
fn scan(flows: usize) {
    let hasher = KeyHasher::default();
    let mut times = vec![Vec::new(); 5];
    let mut last = Vec::new();
    for round in 0..3 {
        let counters = TableCounters::default();
        let mut meters = meters(flows, &hasher, &counters);
        for turn in 0..meters.len() {
            let meter = (turn + round) % meters.len();
            let mut traffic = Traffic::new(Load::Uniform, flows, &hasher);
            let mut ns = 0.0;
            let step = 1 << 18;
            let steps = (0..flows).step_by(step);
            for first in steps.clone() {
                let packets = traffic.pairs(first..flows.min(first + step));
                ns += time(meters[meter].as_mut(), &packets) / steps.len() as f64;
            }
            times[meter].push(ns);
        }
        last = meters.iter().map(|meter| meter.packets()).collect();
        assert!(last.iter().all(|&packets| packets == 2 * flows as u64), "{last:?}");
    }
    print_row(&format!("{flows} of two packets"), times);
    println!("{:>20} {}", "packets counted", last[0]);
}

/// The times of batches while the hand goes round a full table, all of whose flows are busy.
fn longest_batches(flows: usize, size: Size) {
    let hasher = KeyHasher::default();
    let counters = TableCounters::default();
    let mut core = Core::new(flows, &hasher, &counters);
    let mut traffic = Traffic::new(Load::Uniform, flows, &hasher);
    let mut batch_ns = Histogram::<u64>::new(3).expect("three digits are possible");
    for first in (0..flows).step_by(size.packets) {
        core.count_all(&traffic.each_of(first..flows.min(first + size.packets)));
    }
    for _ in 0..2 * size.rounds {
        for batch in traffic.some(size.packets).chunks(BATCH_PACKETS) {
            let start = Instant::now();
            core.count(batch);
            let ns = u64::try_from(start.elapsed().as_nanos()).expect("not so long");
            batch_ns.record(ns).expect("it grows as needed");
        }
    }
    let at = |quantile| batch_ns.value_at_quantile(quantile);
    println!(
        "\nbatches of {BATCH_PACKETS} packets, {flows} flows, table full: \
         median {} ns, p99 {} ns, p99.9 {} ns, longest {} ns",
        at(0.5),
        at(0.99),
        at(0.999),
        batch_ns.max()
    );
}

/// Half of the packets in long flows, which fill half of the table; the others at rest in
/// long flows too, and in an attack each in a flow of its own. Frames are decoded, as the
/// question is what the packet path still takes.
fn attack(capacity: usize, size: Size) {
    let hasher = KeyHasher::default();
    let counters = TableCounters::default();
    let mut core = Core::new(capacity, &hasher, &counters);
    let mut traffic = Traffic::new(Load::Uniform, capacity / 2, &hasher);
    let memory = counters.memory.get().expect("the table is made");
    let mut decoder = Decoder::new(hasher.clone());
    time_path(&mut decoder, &mut core, &traffic.each_of(0..capacity / 2));
    let (mut rest, mut attack) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        rest.push(time_path(&mut decoder, &mut core, &traffic.some(size.packets)));
        attack.push(time_path(&mut decoder, &mut core, &traffic.attacked(size.packets)));
    }
    let (rest, attack) = (median(&mut rest), median(&mut attack));
    println!(
        "\nscan into {capacity} slots: at rest {rest:.1} ns a packet, attacked {attack:.1} ns: \
         {:.2} of the throughput; {} flows given up, {} packets in overflow aggregates, \
         {:.1} bytes a flow",
        rest / attack,
        counters.given_up.get(),
        counters.in_overflow.get(),
        memory.bytes as f64 / memory.slots as f64,
    );
}

impl Core<'_> {
    fn count_all(&mut self, packets: &[Packet]) {
        packets.chunks(BATCH_PACKETS).for_each(|batch| self.count(batch));
    }
}

fn meters<'a>(
    flows: usize,
    hasher: &KeyHasher,
    counters: &'a TableCounters,
) -> Vec<Box<dyn Meter + 'a>> {
    vec![
        Box::new(Core::new(flows, hasher, counters)),
        Box::new(OpenAddressing::new(flows)),
        Box::new(Plain::new(flows)),
        Box::new(Locked::new(flows)),
        Box::new(Concurrent::new(flows)),
    ]
}

/// Nanoseconds for each packet. Each batch lies in the cache, where a decoder would have left
/// it; only counting is timed.
fn time(meter: &mut dyn Meter, packets: &[Packet]) -> f64 {
    let mut decoded = Vec::with_capacity(BATCH_PACKETS);
    let mut ns = 0;
    for batch in packets.chunks(BATCH_PACKETS) {
        decoded.clear();
        decoded.extend_from_slice(batch);
        let start = Instant::now();
        meter.count(black_box(&decoded));
        ns += start.elapsed().as_nanos();
    }
    ns as f64 / packets.len() as f64
}

/// The same from frames on: they are decoded, and counted.
fn time_path(decoder: &mut Decoder, core: &mut Core<'_>, packets: &[Packet]) -> f64 {
    let mut batch = Vec::with_capacity(BATCH_PACKETS);
    let mut ns = 0;
    for packets in packets.chunks(BATCH_PACKETS) {
        let frames: Vec<_> = packets.iter().map(traffic::frame).collect();
        let start = Instant::now();
        batch.clear();
        for (bytes, packet) in black_box(&frames).iter().zip(packets) {
            let link = LinkType::ETHERNET;
            let frame = Frame { bytes, wire_len: 60, timestamp: packet.timestamp, link };
            batch.push(decoder.decode(&frame).expect("well-formed"));
        }
        core.count(&batch);
        ns += start.elapsed().as_nanos();
    }
    ns as f64 / packets.len() as f64
}

fn show(name: &str, times: Vec<Vec<f64>>, meters: &[Box<dyn Meter + '_>], expected: u64) {
    for meter in meters {
        assert_eq!(meter.packets(), expected, "all count the same");
    }
    print_row(name, times);
}

fn print_row(name: &str, mut times: Vec<Vec<f64>>) {
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    print!("{name:>20} {:>8.1}", medians[0]);
    for rival in &medians[1..] {
        print!(" {:>8.1} ({:>4.2}x)", rival, rival / medians[0]);
    }
    println!();
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
