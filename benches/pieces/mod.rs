//! The packet path in pieces: what is measured in time (`benches/core`) and in instructions
//! (`benches/instructions`), each of which has this module as its own.
//!
//! A piece is made ready, which costs nothing, and then works on [`ITEMS`] packets, deltas or
//! records. It is seeded, so that it does the same in every run; only the decoder's memory of
//! fragments and the overflow aggregates have seeds of their own, which moves 0.2 % at most.

pub(crate) mod decode;
pub(crate) mod exchange;
pub(crate) mod export;
pub(crate) mod frames;
pub(crate) mod global;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod table;

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

use flowtap::flow::{FlowRecord, KeyHasher};
use flowtap::global::Ended;
use flowtap::table::Outlet;

/// What one run of a piece works on: packets, slots, deltas or records.
pub(crate) const ITEMS: usize = 1 << 12;

/// A piece of the path, ready to work.
pub(crate) trait Piece {
    /// Works on [`ITEMS`] items. A sum of what it made, so that it cannot be left out.
    fn run(&mut self) -> u64;
}

/// The engine's hash, with the same seed in every run: keys then meet in the same buckets.
pub(crate) fn hasher() -> KeyHasher {
    KeyHasher::seeded(&BuildHasherDefault::<DefaultHasher>::default())
}

/// Takes deltas or ended records, and adds up the packets in them.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) taken: usize,
    pub(crate) packets: u64,
}

impl Outlet for Sum {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn publish(&mut self, _hash: u64, published: FlowRecord) {
        self.taken += 1;
        // It is made whole, as where it is sent.
        self.packets += black_box(published).total.packets();
    }
}

impl Ended for Sum {
    fn ended(&mut self, record: FlowRecord) {
        self.taken += 1;
        self.packets += record.total.packets();
    }

    /// As the engine's: records stay where they are.
    fn ended_all(&mut self, mut batch: Vec<FlowRecord>) -> Vec<FlowRecord> {
        self.taken += batch.len();
        self.packets += batch.iter().map(|record| record.total.packets()).sum::<u64>();
        batch.clear();
        batch
    }

    fn flush(&mut self) {}
}
