//! The packet path beside rivals: decoding a frame, and counting packets into flows.
//!
//! `cargo bench` runs it in full; the tests run each once. Rivals count the same packets in
//! the same run: only ratios mean anything. Every benchmark returns a sum of what it
//! counted, so that none can be optimised away and all can be compared.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::decode::{Decoder, Packet};
use flowtap::flow::{FlowKey, KeyHasher, Published, Timeouts};
use flowtap::limits::BATCH_PACKETS;
use flowtap::source::{Frame, LinkType};
use flowtap::table::{CoreTable, Outlet, TableConfig, TableCounters};

/// Packets that one iteration counts.
const PACKETS: usize = 1 << 16;

/// Numbers of flows.
const FLOWS: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    divan::main();
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

fn packets(flows: usize) -> Vec<Packet> {
    let mut decoder = Decoder::new(KeyHasher::default());
    let packets = frames(flows);
    packets.iter().map(|bytes| decoder.decode(&frame(bytes)).expect("well-formed")).collect()
}

/// Takes deltas and forgets them.
struct Nowhere;

impl Outlet for Nowhere {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn publish(&mut self, published: Published) {
        black_box(published);
    }
}

/// What a rival counts of a flow.
type Counts = [u64; 4];

fn add(counts: &mut Counts, packet: &Packet) {
    counts[0] += 1;
    counts[1] += u64::from(packet.bytes);
    counts[2] += u64::from(packet.frame_bytes);
    counts[3] += u64::from(packet.payload_bytes);
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let frames = frames(1_000);
    let mut decoder = Decoder::new(KeyHasher::default());
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        let decoded = frames.iter().filter_map(|bytes| decoder.decode(&frame(bytes)).ok());
        decoded.fold(0, |sum, packet| sum ^ packet.hash)
    });
}

#[divan::bench]
fn decode_etherparse(bencher: Bencher<'_, '_>) {
    let frames = frames(1_000);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        let sliced = frames.iter().filter_map(|b| etherparse::SlicedPacket::from_ethernet(b).ok());
        sliced.filter(|packet| packet.transport.is_some()).count()
    });
}

#[divan::bench(args = FLOWS)]
fn count_core_table(bencher: Bencher<'_, '_>, flows: usize) {
    let packets = packets(flows);
    let counters = TableCounters::default();
    let config = TableConfig { capacity: 2 * flows, timeouts: Timeouts::default(), core: 0 };
    let mut table = CoreTable::new(config, hasher, &counters).expect("there is memory");
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        packets.chunks(BATCH_PACKETS).for_each(|batch| table.count(batch, &mut Nowhere));
        counters.in_flows.get()
    });
}

#[divan::bench(args = FLOWS)]
fn count_hash_map(bencher: Bencher<'_, '_>, flows: usize) {
    let packets = packets(flows);
    let mut map: HashMap<FlowKey, Counts, ahash::RandomState> = HashMap::default();
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        packets.iter().for_each(|packet| add(map.entry(packet.key).or_default(), packet));
        map.len()
    });
}

#[divan::bench(args = FLOWS)]
fn count_locked_hash_map(bencher: Bencher<'_, '_>, flows: usize) {
    let packets = packets(flows);
    let map: Mutex<HashMap<FlowKey, Counts, ahash::RandomState>> = Mutex::default();
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        for packet in &packets {
            add(map.lock().expect("not poisoned").entry(packet.key).or_default(), packet);
        }
        map.lock().expect("not poisoned").len()
    });
}
