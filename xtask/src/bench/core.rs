//! `cargo xtask bench core`: what each piece of the packet path costs, in time beside rivals
//! ([`times`]), and in instructions, which nothing else on the machine can move. These are held
//! against `benches/instructions/committed.json` ([`counts`]): more than 5 % above is a failure.

mod counts;
mod times;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use self::counts::{Baseline, Count};
use self::times::Time;
use super::machine::Machine;

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
    /// Where the results go
    #[arg(long, default_value = "target/bench/core.json")]
    output: PathBuf,
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    pub(super) valgrind: String,
    /// Empty where only instructions were asked for.
    pub(super) times: Vec<Time>,
    pub(super) counts: Vec<Count>,
}

/// Measures, prints, compares.
///
/// # Errors
/// If a benchmark cannot be run, or takes more instructions than it may.
pub(super) fn run(args: &Args) -> Result<(), String> {
    let times = if args.instructions { Vec::new() } else { times::measure()? };
    print!("{}", times::table(&times));
    let mut counts = counts::measure()?;
    let machine = Machine::here();
    let valgrind = super::machine::said("valgrind", &["--version"]);
    let now = Baseline::new(&counts, &machine.compiler, &valgrind);
    if args.save_baseline {
        now.write(&args.baseline)?;
    }
    let baseline = Baseline::read(&args.baseline)?;
    baseline.apply_to(&mut counts);
    print!("{}", counts::table(&counts));
    let results = Results { machine, valgrind, times, counts };
    let text = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| format!("write {}: {error}", args.output.display());
    if let Some(folder) = args.output.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(&args.output, text).map_err(failed)?;
    eprintln!("bench: {}", args.output.display());
    baseline.check(&results.counts, &now)
}

/// Runs a benchmark, and returns what it printed.
fn bench(package: &str, name: &str, profile: &str, arguments: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
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
