//! How many instructions each piece of the hot path takes, as callgrind counts them: what no
//! other load on the machine can move. `cargo xtask bench core` holds the counts against
//! `committed.json` beside this.

#![expect(missing_docs, reason = "what the macros make has none")]

#[path = "../pieces/mod.rs"]
mod pieces;

use std::hint::black_box;

use flowtap::export::Format;
use gungraun::{
    Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};

use crate::pieces::Piece;
use crate::pieces::decode::{Decode, Hash};
use crate::pieces::exchange::PassOn;
use crate::pieces::export::Encode;
use crate::pieces::frames::{general, straight};
use crate::pieces::global::{Busiest, Evict, PublishAndMerge};
use crate::pieces::names::{Label, Learn, Pick};
use crate::pieces::path::Path;
use crate::pieces::table::{Count, Find, Round};

// The program's: it is built from the same source everywhere, where the system's is not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Given back, so that freeing it is not counted.
type Made = Box<dyn Piece>;

fn made(piece: impl Piece + 'static) -> Made {
    Box::new(piece)
}

fn run(mut piece: Made) -> Made {
    black_box(piece.run());
    piece
}

#[library_benchmark]
#[bench::straight(made(Decode::new(straight())))]
#[bench::general(made(Decode::new(general())))]
fn decode(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::key(made(Hash::new()))]
fn hash(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::pass_on_2(made(PassOn::new(2)))]
#[bench::pass_on_8(made(PassOn::new(8)))]
fn exchange(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::uniform(made(Count::known(10_000, false)))]
#[bench::zipf(made(Count::known(10_000, true)))]
#[bench::new_flows(made(Count::new_flows()))]
#[bench::without_room(made(Count::without_room(32)))]
fn table(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::dirty(made(Round::new(Find::Dirty)))]
#[bench::clean(made(Round::new(Find::Clean)))]
#[bench::over(made(Round::new(Find::Over)))]
fn hand(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::whole(made(PublishAndMerge::whole()))]
#[bench::new_record(made(PublishAndMerge::new_records()))]
#[bench::fold(made(PublishAndMerge::fold()))]
#[bench::last(made(PublishAndMerge::last()))]
fn merge(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::finished(made(Evict::new()))]
fn evict(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::busiest(made(Busiest::new()))]
fn view(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::jsonl(made(Encode::new(Format::JsonLines)))]
#[bench::csv(made(Encode::new(Format::Csv)))]
#[bench::ipfix(made(Encode::new(Format::Ipfix)))]
#[bench::table(made(Encode::new(Format::Table)))]
fn export(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::pick(made(Pick::new()))]
#[bench::learn(made(Learn::new()))]
#[bench::label(made(Label::new()))]
fn names(piece: Made) -> Made {
    run(piece)
}

#[library_benchmark]
#[bench::bare(made(Path::bare()))]
#[bench::names(made(Path::with_names(drop)))]
fn path(piece: Made) -> Made {
    run(piece)
}

library_benchmark_group!(
    name = core,
    benchmarks = [decode, hash, exchange, table, hand, merge, evict, view, export, names, path]
);

main!(
    // Caches are not simulated: that takes longer, and says little of the processors of today.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = core
);
