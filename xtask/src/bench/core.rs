//! `cargo xtask bench core`: what each piece of the packet path costs, in time beside rivals
//! ([`times`]), and in instructions, which nothing else on the machine can move. These are held
//! against `benches/instructions/committed.json` ([`counts`]): more than 5 % above is a failure.

mod counts;
mod times;

use std::path::PathBuf;
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use self::counts::{Baseline, Count};
use self::times::Time;
use super::document::{self, Block};
use super::machine::Machine;
use super::programs::cargo;
use super::report::{Findings, Measured, Report};

/// What one run of a benchmark works on: `ITEMS` of `benches/pieces`.
const ITEMS: f64 = 4_096.0;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only count instructions, and compare them: half a minute, whatever else is running
    #[arg(long)]
    instructions: bool,
    /// Write the counts as what later ones are held against
    #[arg(long)]
    save_baseline: bool,
    /// What counts are held against
    #[arg(long, default_value = "benches/instructions/committed.json")]
    baseline: PathBuf,
    /// Where the report goes: report.json and report.html
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pieces {
    valgrind: String,
    /// Empty where only instructions were asked for.
    times: Vec<Time>,
    counts: Vec<Count>,
}

/// Measures, prints, compares.
///
/// # Errors
/// If a benchmark cannot be run, or takes more instructions than it may.
pub(super) fn run(args: &Args) -> Result<(), String> {
    Report::expect(&args.output)?;
    let machine = Machine::here();
    let times = if args.instructions { Vec::new() } else { times::measure()? };
    let mut counts = counts::measure()?;
    if !args.save_baseline && Baseline::read(&args.baseline)?.is_exceeded_by(&counts) {
        // Hashes have another seed in each run, and now and then a map is caught while it grows.
        counts = counts::fewest(counts, &counts::measure()?);
    }
    let valgrind = super::machine::said("valgrind", &["--version"]);
    let compiler = super::machine::said("rustc", &["--version"]);
    let now = Baseline::new(&counts, &compiler, &valgrind);
    if args.save_baseline {
        now.write(&args.baseline)?;
    }
    let baseline = Baseline::read(&args.baseline)?;
    baseline.apply_to(&mut counts);
    let pieces = Pieces { valgrind, times, counts };
    print!("{}", document::text(&pieces.tables()));
    let mut found = Measured::on(machine, pieces.clone());
    Report::change(&args.output, |report| {
        if let Some(before) = report.core.take().filter(|_| args.instructions) {
            // They were not measured anew.
            found.result.times = before.result.times;
        }
        report.core = Some(found);
    })?;
    baseline.check(&pieces.counts, &now)
}

impl Pieces {
    fn tables(&self) -> Vec<Block> {
        let times = (!self.times.is_empty()).then(|| times::shown(&self.times));
        times.into_iter().chain([counts::shown(&self.counts)]).collect()
    }
}

impl Findings for Pieces {
    const TITLE: &'static str = "Pieces of the packet path";

    fn blocks(&self) -> Vec<Block> {
        let text = format!(
            "An item is a packet, slot, delta or record. Times beside rivals that do the same in \
             the same run; a rival above 1.00 is slower than ours. Instructions as callgrind \
             ({}) counts them, which no other load can move: `scripts/test` fails on more than \
             5 % above those that are committed.",
            self.valgrind
        );
        [Block::Text(text)].into_iter().chain(self.tables()).collect()
    }

    fn losses(&self) -> Vec<String> {
        let is_faster = |time: &&Time| time.ratio.is_some_and(|ratio| ratio < 1.0);
        let faster: Vec<_> = self.times.iter().filter(is_faster).collect();
        let name = |time: &&Time| format!("{}, {}", time.group, time.name);
        if faster.is_empty() {
            return Vec::new();
        }
        let names = faster.iter().map(name).collect::<Vec<_>>().join("; ");
        vec![format!("Pieces whose rivals do what they do (often less) in less time: {names}.")]
    }

    fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if self.times.is_empty() {
            gaps.push("Times of pieces: only instructions were counted.".into());
        }
        gaps
    }
}

/// Runs a benchmark, and returns what it printed.
fn bench(package: &str, name: &str, profile: &str, arguments: &[&str]) -> Result<String, String> {
    let output = cargo()
        .args(["bench", "--quiet", "--locked", "--profile", profile, "--package", package])
        .args(["--bench", name, "--"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("run benchmark {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("run benchmark {name}: {}; it says why above", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_benchmarks_have_as_many_items() {
        let pieces = include_str!("../../../benches/pieces/mod.rs");
        assert!(pieces.contains("const ITEMS: usize = 1 << 12;"), "{pieces}");
        assert!((super::ITEMS - f64::from(1 << 12)).abs() < 0.5);
    }
}
