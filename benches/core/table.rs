//! Packets into flows.

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::decode::Packet;
use flowtap::limits::BATCH_PACKETS;

use crate::pieces::table::Count;
use crate::pieces::{ITEMS, decode, frames};
use crate::rivals::{Concurrent, Locked, OpenAddressing, Plain};
use crate::{Meter, once};

const FLOWS: [usize; 3] = [1_000, 10_000, 100_000];

#[divan::bench(args = FLOWS)]
fn ours_uniform(bencher: Bencher<'_, '_>, flows: usize) {
    once(bencher, || Count::known(flows, false));
}

#[divan::bench(args = FLOWS)]
fn ours_zipf(bencher: Bencher<'_, '_>, flows: usize) {
    once(bencher, || Count::known(flows, true));
}

#[divan::bench]
fn ours_new_flows(bencher: Bencher<'_, '_>) {
    once(bencher, Count::new_flows);
}

#[divan::bench(args = [1, 32, 255, 1_000])]
fn ours_without_room(bencher: Bencher<'_, '_>, prefixes: usize) {
    once(bencher, || Count::without_room(prefixes));
}

#[divan::bench(args = FLOWS)]
fn open_addressing_uniform(bencher: Bencher<'_, '_>, flows: usize) {
    rival(bencher, flows, OpenAddressing::new);
}

#[divan::bench(args = FLOWS)]
fn hashbrown_uniform(bencher: Bencher<'_, '_>, flows: usize) {
    rival(bencher, flows, Plain::new);
}

#[divan::bench(args = FLOWS)]
fn mutex_hashbrown_uniform(bencher: Bencher<'_, '_>, flows: usize) {
    rival(bencher, flows, Locked::new);
}

#[divan::bench(args = FLOWS)]
fn dashmap_uniform(bencher: Bencher<'_, '_>, flows: usize) {
    rival(bencher, flows, Concurrent::new);
}

/// A table where each flow has counted a packet, and packets of any of them.
fn rival<M: Meter>(bencher: Bencher<'_, '_>, flows: usize, make: fn(usize) -> M) {
    let each = decode::packets(&frames::of_flows(0..flows));
    let some = decode::packets(&frames::of_flows(frames::some(flows, false)));
    let count = |meter: &mut M, packets: &[Packet]| {
        packets.chunks(BATCH_PACKETS).for_each(|batch| meter.count(batch));
    };
    let bencher = bencher.counter(ItemsCount::new(ITEMS)).with_inputs(|| {
        let mut meter = make(flows);
        count(&mut meter, &each);
        meter
    });
    bencher.bench_local_refs(|meter| {
        count(meter, &some);
        meter.packets()
    });
}
