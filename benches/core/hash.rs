//! Keys into hashes.

use std::hash::{BuildHasher, RandomState};

use divan::Bencher;
use divan::counter::ItemsCount;
use xxhash_rust::xxh3::xxh3_64;

use crate::again;
use crate::pieces::ITEMS;
use crate::pieces::decode::{Hash, keys};

#[divan::bench]
fn ours(bencher: Bencher<'_, '_>) {
    again(bencher, Hash::new());
}

#[divan::bench]
fn ahash(bencher: Bencher<'_, '_>) {
    rival(bencher, ahash::RandomState::new());
}

#[divan::bench]
fn foldhash(bencher: Bencher<'_, '_>) {
    rival(bencher, foldhash::fast::RandomState::default());
}

#[divan::bench]
fn siphash(bencher: Bencher<'_, '_>) {
    rival(bencher, RandomState::new());
}

fn rival(bencher: Bencher<'_, '_>, hasher: impl BuildHasher) {
    let keys = keys();
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| keys.iter().fold(0, |sum, key| sum ^ hasher.hash_one(key)));
}

/// Without a seed.
#[divan::bench]
fn xxh3(bencher: Bencher<'_, '_>) {
    let keys = keys();
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| keys.iter().fold(0, |sum, key| sum ^ xxh3_64(&key.stable_bytes())));
}
