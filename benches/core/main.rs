//! The packet path beside rivals, in small pieces: filter and decode a frame, hash a key, pass a
//! packet on to another core, count it, go round with the hand, merge, evict, find the busiest
//! flows, encode a record. `benches/table` and `benches/merge` look closer at their parts.
//!
//! `cargo xtask bench core` runs it in full and says what an item costs; the tests run each
//! once. Rivals do the same work in the same group: only ratios mean anything. What ours is
//! called after `ours`, its rivals are called too. Every benchmark returns a sum of what it
//! made, so that none can be optimised away. With `--json FILE` it writes what
//! `cargo xtask bench scale` asks for instead.

#[path = "../clock.rs"]
mod clock;
mod decode;
mod evict;
mod exchange;
mod export;
#[path = "../figures.rs"]
mod figures;
mod filter;
mod hand;
mod hash;
mod locked;
mod merge;
mod names;
mod path;
#[path = "../pieces/mod.rs"]
mod pieces;
#[path = "../table/rivals.rs"]
mod rivals;
#[path = "../rounds.rs"]
mod rounds;
mod table;
mod view;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::decode::Packet;
use serde_json::json;

use crate::pieces::decode::Decode;
use crate::pieces::exchange::PassOn;
use crate::pieces::export::Encode;
use crate::pieces::frames::straight;
use crate::pieces::{ITEMS, Piece};

// The program's: whoever merges allocates and frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    match figures::file() {
        Some(file) => figures::write(file, &figures()),
        None => divan::main(),
    }
}

/// What decoding, passing on and encoding cost, for programs.
fn figures() -> Vec<serde_json::Value> {
    const ROUNDS: usize = 31;
    fn ns(mut piece: impl Piece) -> f64 {
        rounds::ns_each(ROUNDS, ITEMS, || piece.run())
    }
    let mut figures = vec![json!({"what": "decode", "ns": ns(Decode::new(straight()))})];
    for cores in exchange::CORES {
        figures.push(json!({"what": "pass_on", "cores": cores, "ns": ns(PassOn::new(cores))}));
    }
    for format in export::FORMATS {
        let bytes = Encode::new(format).run() as f64 / ITEMS as f64;
        let format_name = format!("{format:?}");
        let ns = ns(Encode::new(format));
        figures.push(json!({"what": "export", "format": format_name, "ns": ns, "bytes": bytes}));
    }
    figures
}

/// Something that counts packets.
trait Meter {
    /// Counts a batch.
    fn count(&mut self, packets: &[Packet]);
    /// Packets that it has counted.
    fn packets(&self) -> u64;
}

/// Runs one piece again and again.
fn again(bencher: Bencher<'_, '_>, mut piece: impl Piece) {
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| piece.run());
}

/// Runs each piece once, as it is another one after that.
fn once<P: Piece>(bencher: Bencher<'_, '_>, make: impl Fn() -> P) {
    let bencher = bencher.counter(ItemsCount::new(ITEMS));
    bencher.with_inputs(make).bench_local_refs(Piece::run);
}
