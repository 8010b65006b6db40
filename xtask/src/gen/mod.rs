//! `cargo xtask gen`: writes a capture of made-up traffic, the same bytes for the same seed and
//! arguments on every machine, and the truth about it. Refuses to touch any network.
//!
//! The path: [`mix`] says what there is, [`deal`] gives each flow its ends, start and number of
//! packets, [`tcp`], [`session`] and [`datagram`] make its packets when its time comes, [`schedule`] puts all
//! flows in the order of time, [`frame`] makes bytes, [`pcap`] and [`truth`] write them down.
//! The mix [`scan`] has a path of its own, which holds nothing of a flow once it is written; so
//! have the mixes of [`stream`], which draw one packet after the other and hold little.

mod checksum;
mod datagram;
mod deal;
mod dns;
mod flow;
mod frame;
mod header;
mod host;
mod mix;
mod number;
pub(crate) mod pcap;
mod rng;
mod scan;
mod schedule;
mod session;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod truth;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use deal::Budget;
use frame::Framer;
use mix::{Draft, MIXES, Mix};
use stream::{SHAPES, Shape, Wishes};
use truth::Truth;

/// What to generate. There are exactly so many frames (those of no flow included) and flows.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What kind of traffic: demo (a bit of everything), dns-heavy, tls-mix
    /// (sessions with names, after a look-up); imix, small64, elephants,
    /// attack (a SYN flood beside imix); scan (flows of one packet beside a thousand long ones)
    #[arg(long, default_value = "demo", value_parser = find_mix)]
    mix: Traffic,
    /// Frames in the file, exactly
    #[arg(long, default_value_t = 20_000)]
    packets: u64,
    /// Flows in the file, exactly
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u64).range(1..))]
    flows: u64,
    /// Another seed makes other traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// imix, small64, elephants, attack: how unlike flows are, by the exponent of Zipf's law;
    /// 0 = all alike
    #[arg(long, value_parser = parse_hundredths)]
    zipf: Option<u32>,
    /// The same: share of flows with IPv6
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    ipv6_percent: u32,
    /// The same: share of flows with a VLAN tag
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    vlan_percent: u32,
    /// The same: packets of a thousand that got lost on their way to us
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=500))]
    loss_permille: u32,
    /// The same: packets of a thousand that come after their successor
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=500))]
    reorder_permille: u32,
    /// From the first packet to the last, at most: 500ms, 15s, 5m, 1h
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: u64,
    /// The capture to write (classic pcap, nanoseconds); - is standard output
    #[arg(short, long)]
    output: PathBuf,
    /// Where to write the truth (JSON)
    #[arg(long)]
    truth: Option<PathBuf>,
}

/// Writes the files and says on standard error what is in them.
///
/// # Errors
/// If the budget is too small, or a file cannot be written.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let began = Instant::now();
    let budget = Budget {
        packets: args.packets,
        flows: args.flows,
        seed: args.seed,
        duration_ns: args.duration,
    };
    let wishes = Wishes {
        zipf: args.zipf,
        ipv6_percent: args.ipv6_percent,
        vlan_percent: args.vlan_percent,
        loss_permille: args.loss_permille,
        reorder_permille: args.reorder_permille,
    };
    // Before the file of that name is gone.
    let plan = Plan::new(&args.mix, wishes, budget)?;
    let truth = plan.write_file(args.truth.is_some(), &args.output)?;
    if let Some(path) = &args.truth {
        let mut out = create(path)?;
        truth
            .write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    eprintln!(
        "gen: {} frames, {} bytes, {} flows in {:.2} s",
        truth.frames,
        truth.frame_bytes,
        args.flows,
        began.elapsed().as_secs_f64()
    );
    Ok(())
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
    let truth = Plan::new(&find_mix(mix)?, Wishes::default(), budget)?.write_file(false, path)?;
    Ok((truth.totals.packets, truth.totals.bytes, truth.frame_bytes))
}

/// What there is to generate.
#[derive(Clone)]
enum Traffic {
    Mix(&'static Mix),
    Stream(&'static Shape),
    Scan,
}

/// A capture that can be: its budget suffices.
struct Plan {
    course: Course,
    budget: Budget,
}

/// What makes the packets.
enum Course {
    Drafts(Vec<Draft>),
    Stream(&'static Shape, Wishes),
    Scan,
}

impl Plan {
    fn new(traffic: &Traffic, wishes: Wishes, budget: Budget) -> Result<Self, String> {
        let course = match traffic {
            Traffic::Mix(mix) => Course::Drafts(deal::drafts(mix, &budget)?),
            Traffic::Stream(shape) => {
                stream::check(&budget)?;
                Course::Stream(shape, wishes)
            }
            Traffic::Scan => {
                scan::check(&budget)?;
                Course::Scan
            }
        };
        Ok(Self { course, budget })
    }

    /// Gives every frame with its Unix time in nanoseconds to `sink` and returns the truth, with
    /// its flows if `keep_flows`.
    fn play<E>(
        &self,
        keep_flows: bool,
        sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Truth, E> {
        let budget = &self.budget;
        match &self.course {
            Course::Drafts(drafts) => {
                schedule::play(drafts, &Framer::new(budget.seed), keep_flows, sink)
            }
            Course::Stream(shape, wishes) => stream::play(shape, wishes, budget, keep_flows, sink),
            Course::Scan => scan::play(budget, sink),
        }
    }

    /// Writes a capture and returns the truth, as [`Plan::play`] does.
    fn write(&self, keep_flows: bool, out: &mut impl Write) -> io::Result<Truth> {
        pcap::write_header(out)?;
        let truth = self.play(keep_flows, |at_ns, frame| pcap::write_frame(out, at_ns, frame))?;
        out.flush()?;
        Ok(truth)
    }

    fn write_file(&self, keep_flows: bool, path: &Path) -> Result<Truth, String> {
        self.write(keep_flows, &mut create(path)?)
            .map_err(|error| format!("write {}: {error}", path.display()))
    }
}

fn create(path: &Path) -> Result<Box<dyn Write>, String> {
    const BUFFER_BYTES: usize = 1 << 20;
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, std::io::stdout())));
    }
    let file = File::create(path).map_err(|error| format!("create {}: {error}", path.display()))?;
    Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, file)))
}

fn find_mix(name: &str) -> Result<Traffic, String> {
    if name == scan::NAME {
        return Ok(Traffic::Scan);
    }
    let shape = SHAPES.iter().find(|shape| shape.name == name).map(Traffic::Stream);
    let mix = || MIXES.iter().find(|mix| mix.name == name).map(Traffic::Mix);
    shape.or_else(mix).ok_or_else(|| {
        let names = MIXES.iter().map(|mix| mix.name).chain(SHAPES.iter().map(|shape| shape.name));
        let names: Vec<_> = names.chain([scan::NAME]).collect();
        format!("no such mix; there is {}", names.join(", "))
    })
}

/// `1.1` as 110: from 0 to 3.
fn parse_hundredths(text: &str) -> Result<u32, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=3.0).contains(number));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 300")]
    number.map(|number| (number * 100.0).round() as u32).ok_or_else(|| "from 0 to 3".into())
}

/// `500ms`, `15s`, `5m`, `1h` in nanoseconds: from a millisecond to a week.
fn parse_duration(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ns: u64 = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err("a number and one of ms, s, m, h".into()),
    };
    let duration_ns = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_ns));
    duration_ns
        .filter(|ns| (1_000_000..=604_800_000_000_000).contains(ns))
        .ok_or_else(|| "from 1ms to 168h".into())
}
