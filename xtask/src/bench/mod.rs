//! `cargo xtask bench`: flowtap beside its peers in the same run, and a report that anyone can
//! make again; and its pieces beside rivals and beside what they took before ([`core`]).
//!
//! The path: [`offline`] makes captures and runs every meter on them by turns, each through
//! [`usage`], which measures one process; [`live`] does so on a link. [`scale`] runs the
//! micro-benchmarks for what they say of larger machines. [`report`] keeps what the benchmarks
//! found, each in its part, and [`document`] is how that is shown, as a page and as text.

mod core;
mod document;
mod form;
mod ipfix;
mod live;
mod machine;
mod offline;
mod programs;
mod report;
mod scale;
mod usage;

use std::path::PathBuf;

/// Benchmarks beside peers.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Capture files to flow files, beside every peer that is installed
    Offline(offline::Args),
    /// Packets from a link to a flow file, beside a bare receiver and every peer (as root)
    Live(live::Args),
    /// What a packet costs as flows, new flows and workers grow, and what 100 GbE would need
    Scale(scale::Args),
    /// Pieces of the packet path: times beside rivals, instructions beside committed counts
    Core(core::Args),
    /// Write BENCHMARKS.md from the last report
    Text(TextArgs),
    /// Run a command and say what it took; for `offline`
    #[command(hide = true)]
    Measure(usage::Args),
    /// Walk a capture's headers and hash their keys; the ceiling of `offline`
    #[command(hide = true)]
    Walk(offline::WalkArgs),
}

/// Where the report is and where the text goes.
#[derive(clap::Args)]
pub(crate) struct TextArgs {
    /// The report of the benchmarks
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
        Args::Live(args) => live::run(args),
        Args::Scale(args) => scale::run(args),
        Args::Core(args) => core::run(args),
        Args::Measure(args) => usage::run(args),
        Args::Walk(args) => offline::walk(args),
        Args::Text(args) => {
            let report = report::Report::read(&args.report)?;
            std::fs::write(&args.output, report.text())
                .map_err(|error| format!("write {}: {error}", args.output.display()))
        }
    }
}

/// The one in the middle; of two, the larger.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
