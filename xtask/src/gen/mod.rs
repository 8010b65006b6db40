//! `cargo xtask gen`: writes a capture of made-up traffic, the same bytes for the same seed and
//! arguments on every machine, and the truth about it; or sends it ([`live`]), on a veth.
//!
//! The path: [`args`] says what is asked for and [`plan`] whether it can be; [`mix`] says what
//! there is, [`deal`] gives each flow its ends, start and number of packets, [`tcp`], [`session`]
//! and [`datagram`] make its packets when its time comes, [`schedule`] puts all flows in the
//! order of time, [`frame`] makes bytes, [`pcap`] and [`truth`] write them down. The mix [`scan`]
//! has a path of its own, which holds nothing of a flow once it is written; so have the mixes of
//! [`stream`], which draw one packet after the other and hold little.

mod args;
mod checksum;
mod datagram;
mod deal;
mod dns;
mod flow;
mod frame;
mod header;
mod host;
pub(crate) mod live;
mod mix;
mod number;
pub(crate) mod pcap;
mod plan;
mod rng;
mod scan;
mod schedule;
mod session;
pub(crate) mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod truth;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use args::Args;
use deal::Budget;
use plan::{Plan, find_mix};
use stream::Wishes;
use truth::Truth;

use crate::live::feed::Way;
use crate::live::link::Target;

/// Writes the files or sends the frames, and says on standard error what they are.
///
/// # Errors
/// If the budget is too small, a file cannot be written, or the interface takes nothing.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let began = Instant::now();
    let (keep_flows, wishes) = (args.truth.is_some(), args.wishes());
    let truth = match (args.target(), &args.output) {
        (Some(target), _) => send(args, &target, keep_flows, wishes)?,
        (None, Some(path)) => {
            // Before the file of that name is gone.
            let plan = Plan::new(&args.mix, wishes, args.budget()?)?;
            let truth = write_file(&plan, keep_flows, path)?;
            eprintln!(
                "gen: {} frames, {} bytes, {} flows in {:.2} s",
                truth.frames,
                truth.frame_bytes,
                args.flows,
                began.elapsed().as_secs_f64()
            );
            truth
        }
        (None, None) => unreachable!("one of them is required"),
    };
    if let Some(path) = &args.truth {
        let mut out = create(path)?;
        truth
            .write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn send(args: &Args, target: &Target, keep_flows: bool, wishes: Wishes) -> Result<Truth, String> {
    let feed = live::feed(&args.mix, &wishes).filter(|_| !args.frame_by_frame);
    let (truth, sent) = match feed {
        Some(feed) => feed.by(args.way()).send(
            target,
            args.packets,
            args.flows,
            args.seed,
            args.live_rate(),
        )?,
        None if args.way() == Way::In => {
            return Err("--received: only live frames can be; not of this mix, and not with its \
                        options"
                .into());
        }
        None => {
            let plan = Plan::new(&args.mix, wishes, args.budget()?)?;
            live::send_frames(target, &plan, keep_flows, args.live_rate().is_some())?
        }
    };
    let seconds = sent.elapsed.as_secs_f64();
    eprintln!(
        "gen: sent {} frames, {} bytes, {} flows on {} in {seconds:.2} s ({:.0} frames/s); the \
         interface counted {}",
        sent.frames,
        sent.frame_bytes,
        args.flows,
        target.interface,
        per_second(sent.frames, sent.elapsed),
        sent.counted
    );
    Ok(truth)
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "to be read by people")]
    let count = count as f64;
    count / elapsed.as_secs_f64().max(1e-9)
}

/// Writes a capture of a mix by name, 20 seconds long, for benchmarks. Returns packets in flows,
/// their bytes by IP length, and bytes of all frames.
///
/// # Errors
/// If there is no such mix, the budget is too small, or the file cannot be written.
pub(crate) fn write(
    mix: &str,
    packets: u64,
    flows: u64,
    seed: u64,
    path: &Path,
) -> Result<(u64, u64, u64), String> {
    let budget = Budget { packets, flows, seed, duration_ns: 20_000_000_000 };
    let plan = Plan::new(&find_mix(mix)?, Wishes::default(), budget)?;
    let truth = write_file(&plan, false, path)?;
    Ok((truth.totals.packets, truth.totals.bytes, truth.frame_bytes))
}

fn write_file(plan: &Plan, keep_flows: bool, path: &Path) -> Result<Truth, String> {
    plan.write(keep_flows, &mut create(path)?)
        .map_err(|error| format!("write {}: {error}", path.display()))
}

fn create(path: &Path) -> Result<Box<dyn Write>, String> {
    const BUFFER_BYTES: usize = 1 << 20;
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, std::io::stdout())));
    }
    let file = File::create(path).map_err(|error| format!("create {}: {error}", path.display()))?;
    Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, file)))
}
