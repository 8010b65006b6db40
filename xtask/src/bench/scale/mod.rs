//! `cargo xtask bench scale`: what a packet costs as flows, new flows and workers grow, what
//! merging and exporting cost, memory; and what that says of 100 GbE.
//!
//! [`measure`] runs the micro-benchmarks and the program, which gives [`figure`]s; [`model`]
//! fits a cost to those by [`fit`]; [`result`] tells what was measured, [`outlook`] how well the
//! model fits, and [`line_rate`] what it says of 100 GbE, by [`needs`].

mod figure;
mod fit;
mod line_rate;
mod measure;
mod model;
mod needs;
mod outlook;
pub(super) mod result;
#[cfg(test)]
mod tests;

use super::form::Form;
use super::machine::Machine;
use super::report::{Measured, Report};
use figure::Caches;
use needs::Receive;
use result::Scale;

/// How much to run, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    form: Form,
    /// What receiving a packet of 64 bytes costs a core, driver and all, in nanoseconds; without
    /// it an assumption
    #[arg(long, value_name = "NS")]
    receive_ns: Option<f64>,
}

/// What one size of this benchmark runs.
struct Size {
    /// The most flows of a core table.
    flows: &'static str,
    /// Flows that merge threads take.
    merged: &'static str,
    /// Packets and flows of each capture.
    captures: &'static [[u64; 2]],
    rounds: usize,
}

const SMALL: Size = Size {
    flows: "10000",
    merged: "20000",
    captures: &[[100_000, 2_000], [100_000, 20_000]],
    rounds: 1,
};

const USUAL: Size = Size {
    flows: "1000000",
    merged: "1000000",
    captures: &[[2_000_000, 10_000], [2_000_000, 100_000], [2_000_000, 1_000_000]],
    rounds: 3,
};

const LONG: Size = Size {
    flows: "10000000",
    merged: "5000000",
    captures: &[
        [20_000_000, 10_000],
        [20_000_000, 100_000],
        [20_000_000, 1_000_000],
        [20_000_000, 10_000_000],
    ],
    rounds: 3,
};

/// Measures everything and writes it into the report.
///
/// # Errors
/// If something does not build or fails, or the report cannot be written.
pub(super) fn run(args: &Args) -> Result<(), String> {
    let size = match (args.form.small, args.form.long) {
        (true, _) => SMALL,
        (_, true) => LONG,
        _ => USUAL,
    };
    Report::expect(&args.form.output)?;
    let machine = Machine::here();
    let build = args.form.build();
    let flowtap = build.flowtap()?;
    let folder = args.form.work_folder()?;
    std::fs::create_dir_all(&folder.0)
        .map_err(|error| format!("create {}: {error}", folder.0.display()))?;
    let mut table = vec!["--flows", size.flows];
    if args.form.small {
        table.push("--small");
    }
    let mut figures = measure::bench(build, "table", &table, &folder.0)?;
    for (name, args) in [("core", &[][..]), ("merge", &[size.merged])] {
        figures.extend(measure::bench(build, name, args, &folder.0)?);
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let is_run = |workers: &usize| workers.is_power_of_two() || *workers == available;
    let workers: Vec<_> = (1..=available).filter(is_run).collect();
    let mut programs = Vec::new();
    for &capture in size.captures {
        let runs = measure::programs(&flowtap, capture, &workers, size.rounds, &folder.0)?;
        programs.extend(runs);
    }
    let receive = args.receive_ns.map_or_else(Receive::assumed, Receive::given);
    let found = Scale { caches: Caches::here(), receive, available, figures, programs };
    println!("{}", found.text());
    let found = Measured::on(machine, found);
    Report::change(&args.form.output, |report| report.scale = Some(found))
}
