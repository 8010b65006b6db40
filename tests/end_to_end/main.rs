//! End to end: the built program on real files, pipes, disks, terminals and interfaces.
//!
//! The harness is libtest-mimic, so that each capture is a test of its own and a test that
//! cannot run is listed as ignored, loudly, instead of passing. With `CI` set in the
//! environment nothing may be left out.

mod captures;
mod carried;
mod cli;
mod collector;
mod convert;
mod crash;
mod deadline;
mod devices;
mod dns_log;
mod features;
mod filter;
mod foreign;
mod generated;
mod handshakes;
mod host;
mod intervals;
mod ipfix;
mod jumbo;
mod links;
mod live;
mod messages;
mod names;
mod nats;
mod nfacctd;
mod observe;
mod observe_xdp;
mod outage;
mod parquet;
mod planted;
mod program;
mod prometheus;
mod rotation;
mod rules;
mod sample;
mod scan;
mod shunt;
mod sinks;
mod spool;
mod stamps;
mod stuck;
mod terminal;
mod tls;
mod tune;
mod ways;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test: an error is a failure with its text.
type Outcome = Result<(), Failed>;

/// Fails with a text unless `ok`.
fn ensure(ok: bool, text: impl Into<String>) -> Outcome {
    if ok { Ok(()) } else { Err(text.into().into()) }
}

/// Tests that need what is not here: ignored, with the reason said; a failure in CI.
fn not_here(group: &str, what: &str) -> Vec<Trial> {
    let reason = format!("{group}: cannot run: {what}");
    if std::env::var_os("CI").is_some() {
        return vec![Trial::test(format!("{group}::all"), move || Err(reason.into()))];
    }
    eprintln!("\n*** NOT RUN *** {reason}\n");
    vec![Trial::test(format!("{group}::all"), || Ok(())).with_ignored_flag(true)]
}

fn main() {
    let arguments = Arguments::from_args();
    deadline::watch();
    let mut trials = Vec::new();
    trials.extend(captures::trials());
    trials.extend(carried::trials());
    trials.extend(generated::trials());
    trials.extend(rules::trials());
    trials.extend(cli::trials());
    trials.extend(features::trials());
    trials.extend(names::trials());
    trials.extend(dns_log::trials());
    trials.extend(handshakes::trials());
    trials.extend(devices::trials());
    trials.extend(filter::trials());
    trials.extend(sinks::trials());
    trials.extend(ipfix::trials());
    trials.extend(parquet::trials());
    trials.extend(foreign::trials());
    trials.extend(convert::trials());
    trials.extend(collector::trials());
    trials.extend(nfacctd::trials());
    trials.extend(tls::trials());
    trials.extend(spool::trials());
    trials.extend(nats::trials());
    trials.extend(rotation::trials());
    trials.extend(outage::trials());
    trials.extend(planted::trials());
    trials.extend(crash::trials());
    trials.extend(prometheus::trials());
    trials.extend(intervals::trials());
    trials.extend(scan::trials());
    trials.extend(stuck::trials());
    trials.extend(terminal::trials());
    let most = libtest_mimic::run(&arguments, trials);
    // Live tests come alone and at the end: what runs beside them could make them lose packets.
    let one_by_one = Arguments { test_threads: Some(1), ..arguments };
    let live = libtest_mimic::run(&one_by_one, live::trials());
    most.exit_if_failed();
    live.exit();
}
