//! What can be said on the command line of `cargo xtask gen`. Called by [`super::run`].

use std::path::PathBuf;

use super::deal::Budget;
use super::plan::{Traffic, find_mix};
use super::stream::{Sizes, Wishes};
use crate::live::feed::Way;
use crate::live::link::Target;
use crate::live::pace::Rate;

const SECOND_NS: u64 = 1_000_000_000;
/// From a millisecond to a week.
const DURATIONS_NS: std::ops::RangeInclusive<u64> = 1_000_000..=604_800 * SECOND_NS;

/// What to generate. There are exactly so many frames (those of no flow included) and flows.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What kind of traffic: demo (a bit of everything), dns-heavy, tls-mix, web
    /// (sessions with names, after a look-up); imix, small64, elephants,
    /// attack (a SYN flood beside imix); scan (flows of one packet beside a thousand long ones)
    #[arg(long, default_value = "demo", value_parser = find_mix)]
    pub(super) mix: Traffic,
    /// Frames in the file, exactly
    #[arg(long, default_value_t = 20_000)]
    pub(super) packets: u64,
    /// Flows in the file, exactly
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) flows: u64,
    /// Another seed makes other traffic
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// imix, small64, elephants, attack: how unlike flows are, by the exponent of Zipf's law;
    /// 0 = all alike
    #[arg(long, value_parser = parse_hundredths)]
    pub(super) zipf: Option<u32>,
    /// The same: share of flows with IPv6
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    pub(super) ipv6_percent: u32,
    /// The same: share of flows with a VLAN tag
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    pub(super) vlan_percent: u32,
    /// The same: packets of a thousand that got lost on their way to us
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=500))]
    pub(super) loss_permille: u32,
    /// The same: packets of a thousand that come after their successor
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=500))]
    pub(super) reorder_permille: u32,
    /// The same: frame lengths instead of the mix's own, without check sequence: 60, or with
    /// weights 60:7,590:4,1514:1; headers take what they need
    #[arg(long, value_parser = parse_sizes)]
    pub(super) frame_bytes: Option<Sizes>,
    /// From the first packet to the last, at most: 500ms, 15s, 5m, 1h [default: 10s]
    #[arg(long, value_parser = parse_duration, conflicts_with = "rate")]
    pub(super) duration: Option<u64>,
    /// Instead: packets a second (20000, 50kpps, 1.5Mpps), evenly in the streamed mixes, on
    /// average in others; or bits a second of frames (100Mbps, 2Gbps), in the streamed mixes
    #[arg(long, value_parser = parse_rate)]
    pub(super) rate: Option<Rate>,
    /// The capture to write (classic pcap, nanoseconds); - is standard output
    #[arg(short, long, required_unless_present = "to", conflicts_with = "to")]
    pub(super) output: Option<PathBuf>,
    /// Send on this interface instead: small64, imix, attack and scan by live frames that the
    /// kernel makes (one way only: UDP, or the SYNs), others frame by frame as in the file; as
    /// fast as it goes without --rate or --duration
    #[arg(long, value_name = "IF")]
    pub(super) to: Option<String>,
    /// The network namespace of the interface (`ip netns`)
    #[arg(long, requires = "to")]
    netns: Option<String>,
    /// Also send on an interface that is not a veth
    #[arg(long, requires = "to")]
    any_interface: bool,
    /// Send those four mixes frame by frame as well: slower, and as in the file
    #[arg(long, requires = "to")]
    pub(super) frame_by_frame: bool,
    /// Give live frames to the XDP program of the interface, or to the host if it has none, as if
    /// it had received them on its first queue: several times as many as come over a link
    #[arg(long, requires = "to", conflicts_with = "frame_by_frame")]
    received: bool,
    /// Where to write the truth (JSON): each flow, or of live frames and scans what they add up to
    #[arg(long)]
    pub(super) truth: Option<PathBuf>,
}

impl Args {
    /// How much of it.
    ///
    /// # Errors
    /// If packets at that rate would take too long or no time.
    pub(super) fn budget(&self) -> Result<Budget, String> {
        let (packets, flows, seed) = (self.packets, self.flows, self.seed);
        let duration_ns = match (self.rate, self.duration) {
            (Some(Rate::Packets(rate)), _) => {
                let ns = u128::from(packets) * u128::from(SECOND_NS) / u128::from(rate);
                u64::try_from(ns).ok().filter(|ns| DURATIONS_NS.contains(ns)).ok_or_else(|| {
                    format!("{packets} packets at {rate} a second: not from 1ms to 168h")
                })?
            }
            (_, duration) => duration.unwrap_or(10 * SECOND_NS),
        };
        Ok(Budget { packets, flows, seed, duration_ns })
    }

    /// Where to send it, if it is to be sent.
    pub(super) fn target(&self) -> Option<Target> {
        let interface = self.to.clone()?;
        Some(Target { interface, netns: self.netns.clone(), any_interface: self.any_interface })
    }

    /// Which way frames go on it.
    pub(super) fn way(&self) -> Way {
        if self.received { Way::In } else { Way::Out }
    }

    /// How fast to send: as fast as it goes, if nothing is said of time.
    pub(super) fn live_rate(&self) -> Option<Rate> {
        let by_duration = |ns: u64| {
            let rate = u128::from(self.packets) * u128::from(SECOND_NS) / u128::from(ns);
            Rate::Packets(u64::try_from(rate).unwrap_or(u64::MAX).max(1))
        };
        self.rate.or(self.duration.map(by_duration))
    }

    /// What it should be like.
    pub(super) fn wishes(&self) -> Wishes {
        Wishes {
            zipf: self.zipf,
            ipv6_percent: self.ipv6_percent,
            vlan_percent: self.vlan_percent,
            loss_permille: self.loss_permille,
            reorder_permille: self.reorder_permille,
            sizes: self.frame_bytes.clone(),
            bits_per_second: match self.rate {
                Some(Rate::Bits(rate)) => Some(rate),
                _ => None,
            },
        }
    }
}

/// `1.1` as 110: from 0 to 3.
fn parse_hundredths(text: &str) -> Result<u32, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=3.0).contains(number));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 300")]
    number.map(|number| (number * 100.0).round() as u32).ok_or_else(|| "from 0 to 3".into())
}

/// `500ms`, `15s`, `5m`, `1h` in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<u64, String> {
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
    duration_ns.filter(|ns| DURATIONS_NS.contains(ns)).ok_or_else(|| "from 1ms to 168h".into())
}

/// `20000`, `1.5Mpps`, `100Mbps`.
pub(super) fn parse_rate(text: &str) -> Result<Rate, String> {
    let wrong =
        || "a number and one of pps, kpps, Mpps, kbps, Mbps, Gbps, such as 1.5Mpps".to_owned();
    let digits = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (factor, make): (f64, fn(u64) -> Rate) = match unit {
        "" | "pps" => (1.0, Rate::Packets),
        "kpps" => (1e3, Rate::Packets),
        "Mpps" => (1e6, Rate::Packets),
        "kbps" => (1e3, Rate::Bits),
        "Mbps" => (1e6, Rate::Bits),
        "Gbps" => (1e9, Rate::Bits),
        _ => return Err(wrong()),
    };
    let rate = number.parse::<f64>().map_err(|_| wrong())? * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in its range")]
    if (1.0..=1e12).contains(&rate) { Ok(make(rate.round() as u64)) } else { Err(wrong()) }
}

/// `60`, `60:7,590:4,1514:1`.
pub(super) fn parse_sizes(text: &str) -> Result<Sizes, String> {
    let parse = |part: &str| {
        let (len, weight) = part.split_once(':').unwrap_or((part, "1"));
        let len = len.parse().ok().filter(|len| (60..=9_014).contains(len))?;
        let weight = weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight))?;
        Some((len, weight))
    };
    text.split(',')
        .map(parse)
        .collect::<Option<Vec<_>>>()
        .map(Sizes)
        .ok_or_else(|| "lengths from 60 to 9014, with weights from 1: 60:7,590:4,1514:1".into())
}
