//! Runs what is measured: micro-benchmarks, and the program on captures.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::programs::Build;
use crate::bench::usage;

use super::figure::{Figure, Program};

/// Runs one of the micro-benchmarks with `args`, and returns its figures.
///
/// # Errors
/// If it does not build or fails.
pub(super) fn bench(
    build: Build,
    name: &str,
    args: &[&str],
    folder: &Path,
) -> Result<Vec<Figure>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("run benchmark {name}: {error}");
    let file = folder.join("figures.json");
    let status = Command::new(build.benchmark(name)?)
        .args(["--bench", "--json"])
        .arg(&file)
        .args(args)
        .stdout(std::process::Stdio::null())
        .status()
        .map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&status));
    }
    let text = fs::read_to_string(&file).map_err(|error| failed(&error))?;
    let figures = text.lines().map(serde_json::from_str);
    figures.collect::<Result<_, _>>().map_err(|error| failed(&error))
}

/// Runs flowtap on a capture of so many packets and flows, by turns with each number of
/// workers.
///
/// # Errors
/// If there is no room for the capture, or flowtap fails.
pub(super) fn programs(
    flowtap: &Path,
    [packets, flows]: [u64; 2],
    workers: &[usize],
    rounds: usize,
    folder: &Path,
) -> Result<Vec<Program>, String> {
    let capture = folder.join("scale.pcap");
    crate::r#gen::write("small64", packets, flows, 1, &capture)?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) - 1;
    let mut programs: Vec<_> = workers
        .iter()
        .map(|&workers| Program { packets, flows, workers, runs: Vec::new() })
        .collect();
    for _ in 0..rounds {
        for program in &mut programs {
            eprintln!("bench: flowtap, {packets} packets, {flows} flows, {}", program.workers);
            let mut command = vec![flowtap.display().to_string()];
            command.extend(["read", "--quiet", "--strict", "-o", "flows.csv"].map(str::to_owned));
            command.extend(["--max-flows".into(), flows.to_string(), "--workers".into()]);
            command.extend([program.workers.to_string(), capture.display().to_string()]);
            let (usage, _) = usage::measure(&command, &format!("0-{cpus}"), folder)?;
            program.runs.push(usage);
            fs::remove_file(folder.join("flows.csv")).map_err(|error| error.to_string())?;
        }
    }
    fs::remove_file(&capture).map_err(|error| error.to_string())?;
    Ok(programs)
}
