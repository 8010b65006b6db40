//! Conservation and exactly-once, under a seeded simulation: the real core tables, lanes,
//! `merge` and `reap`, their sizes, their packets and their schedule decided by a seed.
//!
//! `cargo test` runs 10,000 seeds. More of them, or one again, step by step:
//!
//! ```text
//! cargo test --release -p flowtap --test simulation -- --seeds 5000000 [--from SEED]
//! cargo test -p flowtap --test simulation -- --seed SEED [--packets N]
//! ```

mod books;
mod checks;
mod cleanup;
mod fault;
mod reference;
mod rng;
mod seeds;
mod segments;
mod setting;
mod sink;
mod threads;
mod traffic;
mod world;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::fault::Fault;
use crate::seeds::{Sweep, faults_found, replay, replays, sweep};

/// Seeds that `cargo test` runs, and in how many trials.
const SEEDS: u64 = 10_000;
const TRIALS: u64 = 4;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        let value = arguments.get(place + 1).and_then(|value| value.parse().ok());
        Some(value.unwrap_or_else(|| panic!("{name} takes a number")))
    };
    if let Some(seed) = number("--seed") {
        let packets = number("--packets").and_then(|packets| usize::try_from(packets).ok());
        return outcome(replay(seed, packets));
    }
    if let Some(seeds) = number("--seeds") {
        let from = number("--from").unwrap_or(0);
        let start = Instant::now();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let sweep = sweep(from..from.saturating_add(seeds), threads);
        let seconds = start.elapsed().as_secs_f64();
        println!("{}\n{seeds} seeds in {seconds:.1} s", sweep.summary());
        return outcome(sweep.failed == 0);
    }
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}

fn outcome(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trials() -> Vec<Trial> {
    let part = SEEDS / TRIALS;
    let seeds = (0..TRIALS).map(|trial| {
        let range = trial * part..(trial + 1) * part;
        let name = format!("simulation::seeds_{}_to_{}", range.start, range.end - 1);
        Trial::test(name, move || as_outcome(&sweep(range, 1)))
    });
    let faults = Fault::ALL.map(|fault| {
        let name = format!("simulation::a_fault_is_found::{fault:?}");
        Trial::test(name, move || faults_found(fault).map_err(Failed::from))
    });
    let replays = Trial::test("simulation::a_seed_replays", || replays().map_err(Failed::from));
    seeds.chain(faults).chain([replays]).collect()
}

fn as_outcome(sweep: &Sweep) -> Result<(), Failed> {
    if sweep.failed > 0 {
        return Err(sweep.summary().into());
    }
    match sweep.met.0.iter().find(|(_, seeds)| *seeds == 0) {
        Some((situation, _)) => Err(format!("no seed was {situation}: this proves little").into()),
        None => Ok(()),
    }
}
