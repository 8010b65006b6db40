//! `cargo xtask bench`: flowtap beside its peers in the same run, and a report that anyone can
//! make again. Micro-benchmarks are `cargo bench`.
//!
//! The path: [`offline`] makes captures and runs every [`meter`] on them by turns, each through
//! [`usage`], which measures one process; [`report`] keeps every run's figures and writes them
//! as JSON, as a page and as text.

mod machine;
mod meter;
mod offline;
mod report;
mod usage;

use std::path::PathBuf;

/// Benchmarks beside peers.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Capture files to flow files, beside every peer that is installed
    Offline(offline::Args),
    /// Write BENCHMARKS.md from the last report
    Text(TextArgs),
    /// Run a command and say what it took; for `offline`
    #[command(hide = true)]
    Measure(usage::Args),
}

/// Where the report is and where the text goes.
#[derive(clap::Args)]
pub(crate) struct TextArgs {
    /// A report of `bench offline`
    #[arg(long, default_value = "target/bench/report.json")]
    report: PathBuf,
    /// The text to write
    #[arg(short, long, default_value = "BENCHMARKS.md")]
    output: PathBuf,
}

/// Runs a benchmark.
///
/// # Errors
/// If a capture cannot be made, flowtap fails, or a report cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    match args {
        Args::Offline(args) => offline::run(args),
        Args::Measure(args) => usage::run(args),
        Args::Text(args) => {
            let report = report::Report::read(&args.report)?;
            std::fs::write(&args.output, report.text())
                .map_err(|error| format!("write {}: {error}", args.output.display()))
        }
    }
}
