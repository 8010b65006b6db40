//! `cargo xtask bench live`: how many packets a second each meter takes from a link before it
//! loses any, and how many it loses beyond. Two network namespaces with a veth between them;
//! the kernel makes the frames (`gen --to`) and delivers them on one processor, the meter has
//! another for all that it does. They are fed without the link as well, which gives them several
//! times as many (`gen --received`).
//!
//! The path: [`run`] sets each rate for each meter by turns, [`meter`] starts and stops it and
//! reads what it has counted, [`result`] says what that comes to.

mod meter;
pub(super) mod result;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use meter::{Meter, Place};
use result::{Live, Run, Series};

use super::document;
use super::form::Form;
use super::machine::Machine;
use super::report::{Measured, Report};
use crate::r#gen::live::receiver;
use crate::net::{Link, ip};

/// How much to run, and where.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    form: Form,
    /// Without peers
    #[arg(long)]
    alone: bool,
    /// Another seed makes other traffic
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Of the kinds of traffic those with this in their name: "without a link", "elephants"
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// The namespaces: `flowtap-bench-a` sends, `flowtap-bench-b` receives.
const LINK: &str = "flowtap-bench";

/// What is sent.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    frame_bytes: &'static str,
    flows: u64,
    way: Way,
    /// Whether they are for the receiver's host, by MAC and IP address, so that it gets them as
    /// well, unless they are taken from it.
    to_host: bool,
}

/// A MAC address that no frame is sent to.
const OTHER_MAC: &str = "02:00:00:ff:ff:ff";

/// Whether frames come over the link, or from the kernel as if the interface had received them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Link,
    Fed,
}

/// Flows that are shunted, if that is asked for.
const ELEPHANTS: u64 = 8;

const CASES: [Case; 8] = [
    case("60 bytes, 10 k flows", "60", 10_000, Way::Link),
    case("60 bytes, 1 M flows", "60", 1_000_000, Way::Link),
    case("508 bytes, 10 k flows", "508", 10_000, Way::Link),
    to_host(case("60 bytes, 10 k flows, to the host itself", "60", 10_000, Way::Link)),
    case("60 bytes, 10 k flows, without a link", "60", 10_000, Way::Fed),
    case("60 bytes, 1 M flows, without a link", "60", 1_000_000, Way::Fed),
    to_host(case(
        "60 bytes, 10 k flows, to the host itself, without a link",
        "60",
        10_000,
        Way::Fed,
    )),
    case("60 bytes, 8 elephants, without a link", "60", ELEPHANTS, Way::Fed),
];

const fn case(name: &'static str, frame_bytes: &'static str, flows: u64, way: Way) -> Case {
    Case { name, frame_bytes, flows, way, to_host: false }
}

const fn to_host(case: Case) -> Case {
    Case { to_host: true, ..case }
}

/// As fast as the kernel makes frames: it takes its time to look at the clock, too.
const UNPACED: u64 = u64::MAX;

/// What that is about, to know for how many frames to ask.
const UNPACED_ABOUT: u64 = 6_000_000;

/// Before the first frame, for meters that say too early that they are ready.
const WARM: Duration = Duration::from_millis(500);

/// After the last frame, for those that are behind, or get packets in blocks of a second.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Rates over the link and without it, for how long, and how often each.
struct Plan {
    rates: [Vec<u64>; 2],
    seconds: f64,
    rounds: usize,
}

impl Args {
    fn plan(&self) -> Plan {
        const K: u64 = 1_000;
        if self.form.small {
            let rates = vec![20 * K];
            return Plan { rates: [rates.clone(), rates], seconds: 0.5, rounds: 1 };
        }
        let link = [100, 200, 300, 450, 600, 800, 1_000, 1_300, 1_600, 2_000];
        let fed = [500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000, 6_500];
        let rates = [&link[..], &fed].map(|rates| rates.iter().map(|rate| rate * K));
        if self.form.long {
            let [link, fed] = rates.map(Vec::from_iter);
            let rates = [link, [fed, vec![UNPACED]].concat()];
            return Plan { rates, seconds: 3.0, rounds: 3 };
        }
        let [link, fed] = rates.map(|rates| Vec::from_iter(rates.skip(1).step_by(2)));
        Plan { rates: [link, [fed, vec![UNPACED]].concat()], seconds: 1.5, rounds: 1 }
    }
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let is_wanted = |case: &Case| case.name.contains(&args.only);
    let cases: Vec<_> = CASES.into_iter().filter(is_wanted).collect();
    if cases.is_empty() {
        let names = CASES.map(|case| case.name).join("; ");
        return Err(format!(
            "--only {}: no kind of traffic is called so; there are: {names}",
            args.only
        ));
    }
    Report::expect(&args.form.output)?;
    let machine = Machine::here();
    let _link = Link::up(LINK)?;
    let build = args.form.build();
    let (meters, missing) = meter::all(&build.flowtap()?, &build.benchmark("receive")?, args.alone);
    let folder = args.form.work_folder()?;
    let plan = args.plan();
    let told = |meter: &Meter| (meter.name.to_owned(), meter.version());
    let mut found = Live {
        seconds: plan.seconds,
        rounds: plan.rounds,
        versions: meters.iter().map(told).collect(),
        missing: missing.into_iter().map(str::to_owned).collect(),
        series: Vec::new(),
    };
    for mut case in cases {
        if args.form.small {
            // Every flow has a packet.
            case.flows = case.flows.min(5_000);
        }
        let is_for = |meter: &&Meter| case.flows <= ELEPHANTS || !meter.is_for_elephants;
        let takers: Vec<_> = meters.iter().filter(is_for).collect();
        let mut runs = Vec::new();
        for round in 0..plan.rounds {
            for &rate in &plan.rates[case.way as usize] {
                for turn in 0..takers.len() {
                    let meter = takers[(turn + round) % takers.len()];
                    let job = Job { case, rate, seconds: plan.seconds, seed: args.seed };
                    runs.push(run_once(meter, &job, &folder.0)?);
                }
            }
        }
        let one = Series { name: case.name.to_owned(), runs };
        println!("{}", document::text(&one.blocks()));
        found.series.push(one);
        // What comes later may fail.
        let found = Measured::on(machine.clone(), found.clone());
        Report::change(&args.form.output, |report| report.live = Some(found))?;
    }
    Ok(())
}

/// What is sent.
struct Job {
    case: Case,
    rate: u64,
    seconds: f64,
    seed: u64,
}

fn run_once(meter: &Meter, job: &Job, folder: &Path) -> Result<Run, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(failed)?;
    set_gro(LINK, !meter.is_xdp)?;
    set_receiver(LINK, job.case.to_host)?;
    let place = Place { netns: format!("{LINK}-b"), folder, flows: job.case.flows };
    let (counted, sent, seconds) = match meter.start(&place) {
        Err(error) => (Err(error), 1, 1.0),
        Ok(running) => {
            thread::sleep(WARM);
            let (sent, seconds) = send(job)?;
            thread::sleep(SETTLE);
            (running.stop(meter, &place), sent, seconds)
        }
    };
    let (counted, error) = match counted {
        Ok(counted) => (counted, String::new()),
        Err(error) if meter.is_ours() => return Err(format!("{}: {error}", meter.name)),
        Err(error) => (0, error),
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of packets of some seconds")]
    let offered = sent as f64 / seconds;
    eprintln!("bench: {} at {:.2} M/s: {counted} of {sent} {error}", meter.name, offered / 1e6);
    Ok(Run { meter: meter.name.to_owned(), rate: job.rate, offered, sent, counted, error })
}

/// A veth takes frames that come by XDP only where a program is attached, or GRO is on; that
/// is how the receivers that have none get them.
fn set_gro(link: &str, on: bool) -> Result<(), String> {
    let on = if on { "on" } else { "off" };
    let status = Command::new("ip")
        .args(["netns", "exec", &format!("{link}-b"), "ethtool", "-K", "v1", "gro", on])
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("switch gro of v1 {on} by ethtool: {other:?}; install ethtool")),
    }
}

/// Has the receiver's host be who the frames are for, or not: their MAC and IP address are its
/// own. It has no way back to who sends, so it answers nothing, and must not mind that.
fn set_receiver(link: &str, is_host: bool) -> Result<(), String> {
    let netns = format!("{link}-b");
    let (mac, address) = receiver();
    let mac = if is_host { mac } else { OTHER_MAC.to_owned() };
    let set = format!("link set dev v1 address {mac}");
    let route = if is_host {
        format!("route replace local {address} dev lo")
    } else {
        format!("route flush table local {address}")
    };
    for command in [&set, "link set dev lo up", &route] {
        let words: Vec<_> = ["-n", &netns].into_iter().chain(command.split(' ')).collect();
        ip(&words)?;
    }
    // Of all and of the interface's own, the stricter one holds.
    let trust = "for each in all v1; do echo 0 > /proc/sys/net/ipv4/conf/$each/rp_filter; done";
    ip(&["netns", "exec", &netns, "sh", "-ec", trust]).map(drop)
}

/// Sends on processor 1, and says how much, and how long that took in seconds.
fn send(job: &Job) -> Result<(u64, f64), String> {
    let about = if job.rate == UNPACED { UNPACED_ABOUT } else { job.rate };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some millions"
    )]
    let packets = ((about as f64 * job.seconds) as u64).max(job.case.flows);
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("taskset")
        .args(["-c", "1"])
        .arg(this)
        .args(["gen", "--mix", "small64", "--frame-bytes", job.case.frame_bytes])
        .args(["--packets", &packets.to_string(), "--flows", &job.case.flows.to_string()])
        .args((job.rate != UNPACED).then(|| format!("--rate={}", job.rate)))
        .args(["--seed", &job.seed.to_string()])
        .args(match job.case.way {
            Way::Link => ["--to=v0".to_owned(), format!("--netns={LINK}-a")],
            Way::Fed => ["--to=v1".to_owned(), format!("--netns={LINK}-b")],
        })
        .args((job.case.way == Way::Fed).then_some("--received"))
        .output()
        .map_err(|error| format!("run taskset: {error}; install util-linux"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(said.trim().to_owned());
    }
    // "gen: sent N frames, … in S s (…)"
    let word_after = |word: &str| {
        let mut words = said.split_whitespace().skip_while(|at| *at != word).skip(1);
        words.next().and_then(|number| number.parse::<f64>().ok())
    };
    let sent = word_after("sent").ok_or_else(|| format!("gen said {said}"))?;
    let seconds = word_after("in").ok_or_else(|| format!("gen said {said}"))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    Ok((sent as u64, seconds.max(1e-3)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::r#gen::live::Feed;
    use crate::r#gen::stream::Sizes;
    use crate::live::feed;
    use crate::live::link::Target;

    /// What the receiver's network stack has counted, by `table` and `name`.
    fn counted(netns: &str, table: &str, name: &str) -> u64 {
        let said = ip(&["netns", "exec", netns, "cat", "/proc/net/snmp"]).unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        let mut lines = said.lines().filter(|line| line.starts_with(&format!("{table}: ")));
        let names = lines.next().unwrap().split(' ');
        let mut both = names.zip(lines.next().unwrap().split(' '));
        both.find(|(known, _)| *known == name).unwrap().1.parse().unwrap()
    }

    #[test]
    fn frames_to_the_host_reach_it_and_are_not_answered() {
        const LINK: &str = "flowtap-host";
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "namespaces need root, which CI promises");
            eprintln!("*** NOT RUN *** namespaces need root");
            return;
        }
        let _link = Link::up(LINK).unwrap();
        let netns = format!("{LINK}-b");
        set_gro(LINK, true).unwrap();
        let over_link = ("v0", format!("{LINK}-a"), feed::Way::Out);
        let without = ("v1", netns.clone(), feed::Way::In);
        for (is_host, (interface, from, way), reach) in [
            (false, &over_link, 0),
            (true, &over_link, 20),
            (true, &without, 40),
            (false, &without, 40),
            (false, &over_link, 40),
        ] {
            set_receiver(LINK, is_host).unwrap();
            let target = Target {
                interface: (*interface).into(),
                netns: Some(from.clone()),
                any_interface: false,
            };
            let feed = Feed::udp(Sizes(vec![(60, 1)])).by(*way);
            feed.send(&target, 20, 5, 1, None).unwrap();
            // The receiver's softirq may come a little later.
            let since = Instant::now();
            while counted(&netns, "Udp", "NoPorts") < reach && since.elapsed() < SETTLE {
                thread::yield_now();
            }
            assert_eq!(counted(&netns, "Udp", "NoPorts"), reach, "{is_host}");
            assert_eq!(counted(&netns, "Icmp", "OutMsgs"), 0, "{is_host}");
            assert_eq!(counted(&netns, "Ip", "OutRequests"), 0, "{is_host}");
        }
    }
}
