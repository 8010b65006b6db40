//! The packet path beside rivals, in small pieces: decoding a frame, hashing a key, passing a
//! packet on to another core, counting what finds no room. What counting costs otherwise is
//! in `benches/table`.
//!
//! `cargo bench` runs it in full; the tests run each once. Rivals do the same work in the
//! same run: only ratios mean anything. Every benchmark returns a sum of what it made, so
//! that none can be optimised away and all can be compared. With `--json FILE` it writes what
//! `cargo xtask bench scale` asks for instead: decoding, and passing on among more and more
//! cores.

#[path = "clock.rs"]
mod clock;
#[path = "figures.rs"]
mod figures;
#[path = "rounds.rs"]
mod rounds;

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::decode::{Decoder, Packet};
use flowtap::flow::{FlowKey, KeyHasher, Published, Timeouts};
use flowtap::limits::{BATCH_PACKETS, EXCHANGE_BATCH, EXCHANGE_PACKETS};
use flowtap::source::{Frame, LinkType};
use flowtap::table::exchange::{Exchange, Order, exchange};
use flowtap::table::{CoreTable, Outlet, Pace, TableConfig, TableCounters};

/// Packets that one iteration counts.
const PACKETS: usize = 1 << 16;

/// Cores that packets are passed on among.
const CORES: [usize; 3] = [2, 8, 64];

fn main() {
    match figures::file() {
        Some(file) => figures::write(file, &figures()),
        None => divan::main(),
    }
}

/// What decoding and passing on cost, for programs.
fn figures() -> Vec<serde_json::Value> {
    const ROUNDS: usize = 31;
    let (frames, mut decoder) = (frames(1_000), Decoder::new(KeyHasher::default()));
    let ns = rounds::ns_each(ROUNDS, PACKETS, || decode_all(&mut decoder, &frames));
    let mut figures = vec![serde_json::json!({"what": "decode", "ns": ns})];
    let packets = packets();
    for cores in CORES {
        let mut exchanges = exchange_of(cores);
        let ns = rounds::ns_each(ROUNDS, PACKETS, || pass_all(&mut exchanges, &packets));
        figures.push(serde_json::json!({"what": "pass_on", "cores": cores, "ns": ns}));
    }
    figures
}

/// Frames of `flows` UDP flows, in an order that mixes them.
fn frames(flows: usize) -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    (0..PACKETS)
        .map(|_| {
            // A linear congruential generator (Knuth): the same sequence in every run.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let flow = u32::try_from((state >> 33) % flows as u64).expect("below 2^31");
            let [a, b, c, d] = flow.to_be_bytes();
            let mut frame = vec![0; 60];
            frame[12..14].copy_from_slice(&[0x08, 0x00]);
            frame[14..34].copy_from_slice(&[
                0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, a, b, c, 192, 0, 2, 1,
            ]);
            frame[34..42].copy_from_slice(&[4, d, 0, 53, 0, 26, 0, 0]);
            frame
        })
        .collect()
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    Frame { bytes, wire_len: 60, timestamp: Some(1), link: LinkType::ETHERNET }
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let frames = frames(1_000);
    let mut decoder = Decoder::new(KeyHasher::default());
    let bencher = bencher.counter(ItemsCount::new(PACKETS));
    bencher.bench_local(|| decode_all(&mut decoder, &frames));
}

fn decode_all(decoder: &mut Decoder, frames: &[Vec<u8>]) -> u64 {
    let decoded = frames.iter().filter_map(|bytes| decoder.decode(&frame(bytes)).ok());
    decoded.fold(0, |sum, packet| sum ^ packet.hash)
}

#[divan::bench]
fn decode_etherparse(bencher: Bencher<'_, '_>) {
    let frames = frames(1_000);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        let sliced = frames.iter().filter_map(|b| etherparse::SlicedPacket::from_ethernet(b).ok());
        sliced.filter(|packet| packet.transport.is_some()).count()
    });
}

fn packets() -> Vec<Packet> {
    let mut decoder = Decoder::new(KeyHasher::default());
    frames(1_000).iter().map(|bytes| decoder.decode(&frame(bytes)).expect("well-formed")).collect()
}

/// What it costs that a packet is passed on among so many cores and taken in its order. One
/// thread plays all of them, so the way from one cache to another is not in it.
#[divan::bench(args = CORES)]
fn pass_on(bencher: Bencher<'_, '_>, cores: usize) {
    let (packets, mut exchanges) = (packets(), exchange_of(cores));
    let bencher = bencher.counter(ItemsCount::new(PACKETS));
    bencher.bench_local(|| pass_all(&mut exchanges, &packets));
}

fn exchange_of(cores: usize) -> Vec<Exchange> {
    let batches = (EXCHANGE_PACKETS / EXCHANGE_BATCH / cores).max(4);
    exchange(cores, Order::Time, batches, EXCHANGE_BATCH)
}

fn pass_all(exchanges: &mut [Exchange], packets: &[Packet]) -> u64 {
    let mut sum = 0;
    // Every core passes on a batch, then every core takes what has come for it.
    for turn in packets.chunks(exchanges.len() * BATCH_PACKETS) {
        for (batch, exchange) in turn.chunks(BATCH_PACKETS).zip(exchanges.iter_mut()) {
            batch.iter().for_each(|packet| assert!(exchange.send(packet), "there is room"));
        }
        exchanges.iter_mut().for_each(|exchange| exchange.rest());
        for exchange in exchanges.iter_mut() {
            loop {
                let taken = exchange.receive(BATCH_PACKETS);
                if taken.is_empty() {
                    break;
                }
                sum = taken.iter().fold(sum, |sum, packet| sum ^ packet.hash);
            }
        }
    }
    sum
}

/// Takes what is published and forgets it.
struct Nowhere;

impl Outlet for Nowhere {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn publish(&mut self, published: Published) {
        black_box(published);
    }
}

/// What a packet costs for which there is no room, with so many destination prefixes.
#[divan::bench(args = [1, 32, 255, 1_000])]
fn overflow(bencher: Bencher<'_, '_>, prefixes: usize) {
    let config = TableConfig {
        capacity: 1,
        timeouts: Timeouts::default(),
        pace: Pace::LIVE,
        sweep_slots: 0,
        is_populated: true,
    };
    let counters = TableCounters::default();
    let hasher = KeyHasher::default();
    let mut table = CoreTable::new(config, hasher.clone(), &counters).expect("room for one flow");
    let mut decoder = Decoder::new(hasher);
    let mut packets = Vec::with_capacity(PACKETS);
    for (number, mut bytes) in frames(PACKETS).into_iter().enumerate() {
        let prefix = u16::try_from(number % prefixes).expect("few prefixes");
        bytes[30..32].copy_from_slice(&prefix.to_be_bytes());
        packets.push(decoder.decode(&frame(&bytes)).expect("well-formed"));
    }
    // The one slot is taken by a flow that is not given up.
    table.count(&[packets[0], packets[0]], &mut Nowhere);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        packets.chunks(BATCH_PACKETS).for_each(|batch| table.count(batch, &mut Nowhere));
        counters.in_overflow.get()
    });
}

fn keys() -> Vec<FlowKey> {
    let mut decoder = Decoder::new(KeyHasher::default());
    let frames = frames(1_000);
    frames.iter().map(|bytes| decoder.decode(&frame(bytes)).expect("well-formed").key).collect()
}

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    let (keys, hasher) = (keys(), KeyHasher::default());
    bencher
        .counter(ItemsCount::new(PACKETS))
        .bench_local(|| keys.iter().fold(0, |sum, key| sum ^ hasher.hash(key)));
}

#[divan::bench(types = [ahash::RandomState, foldhash::fast::RandomState, RandomState])]
fn hash_rivals<S: BuildHasher + Default>(bencher: Bencher<'_, '_>) {
    let (keys, hasher) = (keys(), S::default());
    bencher
        .counter(ItemsCount::new(PACKETS))
        .bench_local(|| keys.iter().fold(0, |sum, key| sum ^ hasher.hash_one(key)));
}
