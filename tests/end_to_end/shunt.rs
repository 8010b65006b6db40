//! `--shunt` on a live link: what the kernel counts by itself comes home, records are those of
//! the file that was sent, and everything adds up.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::live::{Capture, Net, check_records_but};
use crate::program::{FLOWTAP, Run, json_file, json_lines, wait_for, xtask};
use crate::{Outcome, ensure};

const NAME: &str = "flowtap-shunt";

/// What the kernel does not look at.
const NOT_COUNTED: [&str; 8] = [
    "src_late",
    "dst_late",
    "src_zero_windows",
    "dst_zero_windows",
    "src_ttl_min",
    "src_ttl_max",
    "dst_ttl_min",
    "dst_ttl_max",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("live::shunted_packets_are_all_in_records", || all_in_records(1)),
        Trial::test("live::shunted_packets_of_two_queues_are_all_in_records", || all_in_records(2)),
        Trial::test("live::shunted_packets_add_up_under_overload", overload_adds_up),
        Trial::test("live::shunted_packets_of_a_removed_interface_come_home", removed),
        Trial::test("live::a_shunt_is_refused_where_it_would_be_wrong", refusals),
    ]
}

/// A link under test, and where records and ledger go.
struct Bench {
    net: Net,
    folder: tempfile::TempDir,
    out: PathBuf,
    stats: PathBuf,
}

impl Bench {
    /// With a link of so many queues, up to two.
    fn new(queues: u8) -> Result<Self, Failed> {
        let net = Net::up(NAME)?;
        let queues = queues.to_string();
        // XDP on a veth wants no fewer than its peer sends by.
        Run::of(net.outside("ethtool").args(["-L", "v0", "tx", &queues])).expect(0)?;
        Run::of(net.inside("ethtool").args(["-L", "v1", "rx", &queues])).expect(0)?;
        let folder = crate::program::folder();
        let file = |name: &str| folder.path().join(name);
        let (out, stats) = (file("live.jsonl"), file("s.json"));
        Ok(Self { net, folder, out, stats })
    }

    fn capture(&self, more: &[&str]) -> Result<Capture, Failed> {
        let (out, stats) = (self.out.display().to_string(), self.stats.display().to_string());
        let always = ["-o", &out, "--shunt", "--stats", &stats, "--stats-interval", "50ms"];
        self.net.capture(&[&always[..], more].concat())
    }

    /// Elephants of TCP over three seconds, as a file, and how many frames that is.
    fn elephants(&self) -> Result<(PathBuf, u64), Failed> {
        let [sent, truth] = ["sent.pcap", "t.json"].map(|name| self.folder.path().join(name));
        let mut make = xtask();
        make.args(["gen", "--mix", "elephants", "--packets", "60000", "--flows", "12"]);
        make.args(["--vlan-percent", "20", "--ipv6-percent", "30", "--duration", "3s", "--truth"]);
        make.arg(&truth).arg("-o").arg(&sent);
        Run::of(&mut make).expect(0)?;
        Ok((sent, json_file(&truth)?["frames"].as_u64().unwrap_or(0)))
    }

    /// Waits until the ledger says so of the interface.
    fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Outcome {
        let now = || json_file(&self.stats).unwrap_or_default()["interfaces"][0].clone();
        ensure(wait_for(|| is_so(&now())), format!("waited in vain for {what}: {}", now()))
    }

    /// The final ledger's interface, if all adds up and the records have all that arrived; of
    /// which so many packets were shunted, or more.
    fn interface(&self, shunted: u64) -> Result<Value, Failed> {
        let ledger = json_file(&self.stats)?;
        for residual in ["interface", "packets", "flows"] {
            ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
        }
        let interface = &ledger["interfaces"][0];
        ensure(number(&interface["shunted"]) >= shunted, format!("little was shunted: {ledger}"))?;
        let at_home = &ledger["packets"]["brought_home"];
        ensure(interface["shunted"] == *at_home, format!("not all are home: {ledger}"))?;
        let records = json_lines(&fs::read_to_string(&self.out)?)?;
        let sides = records.iter().flat_map(|r| ["src_packets", "dst_packets"].map(|s| &r[s]));
        let packets: u64 = sides.filter_map(Value::as_u64).sum();
        let arrived = number(&interface["shunted"]) + number(&interface["delivered"]);
        ensure(packets == arrived, format!("{packets} packets in records, want {arrived}"))?;
        Ok(interface.clone())
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Frame by frame as in the file.
fn all_in_records(queues: u8) -> Outcome {
    let bench = Bench::new(queues)?;
    let (sent, frames) = bench.elephants()?;
    let capture = bench.capture(&["--strict"])?;
    bench.net.send(&sent)?;
    bench.wait("all frames", |interface| number(&interface["seen"]) >= frames)?;
    let said = capture.stop(0)?;
    ensure(said.contains("counted in the kernel"), said)?;
    bench.interface(frames / 4)?;
    check_records_but(&sent, &bench.out, &NOT_COUNTED)
}

/// More than a queue can hold, fed to the program itself.
fn overload_adds_up() -> Outcome {
    let bench = Bench::new(1)?;
    let capture = bench.capture(&["--ring-frames", "64"])?;
    let mut send = xtask();
    send.args(["gen", "--mix", "small64", "--packets", "3000000", "--flows", "200", "--to", "v1"]);
    send.args(["--netns", &format!("{NAME}-b"), "--received"]);
    Run::of(&mut send).expect(0)?;
    capture.stop(0)?;
    let interface = bench.interface(1_000_000)?;
    ensure(interface["seen"] == 3_000_000, format!("seen: {interface}"))
}

/// The interface goes away while flows are shunted; another of its name takes its place, and
/// flows are shunted there, too.
fn removed() -> Outcome {
    let bench = Bench::new(2)?;
    let (sent, frames) = bench.elephants()?;
    let capture = bench.capture(&["--keep-privileges"])?;
    let send = || {
        let mut send = xtask();
        send.arg("send").arg(&sent).stderr(Stdio::null());
        send.args(["--to", "v0", "--netns", &format!("{NAME}-a"), "--rate", "20000"]);
        send
    };
    let mut sending = send().spawn()?;
    bench.wait("shunted packets", |interface| number(&interface["shunted"]) > frames / 8)?;
    Run::of(bench.net.inside("ip").args(["link", "del", "v1"])).expect(0)?;
    // It fails where the link has gone.
    sending.wait()?;
    bench.wait("its end", |interface| interface["link"]["state"] == "gone")?;
    let before = json_file(&bench.stats)?["interfaces"][0].clone();
    link(&bench.net)?;
    bench.wait("another", |interface| interface["link"]["reopenings"] == 1)?;
    Run::of(&mut send()).expect(0)?;
    let all = number(&before["seen"]) + frames;
    bench.wait("all frames", |interface| number(&interface["seen"]) >= all)?;
    capture.stop(0)?;
    bench.interface(number(&before["shunted"]) + frames / 4).map(drop)
}

/// Makes a link like that which is there from the start.
fn link(net: &Net) -> Outcome {
    let run = |mut command: Command, arguments: &[&str]| {
        Run::of(command.args(arguments)).expect(0).map(drop)
    };
    let inside = format!("{NAME}-b");
    let queues = ["numrxqueues", "2", "numtxqueues", "2"];
    let ends = [&["link", "add", "v0"][..], &queues, &["type", "veth", "peer"]].concat();
    let ends = [&ends[..], &["name", "v1", "netns", &inside], &queues].concat();
    run(net.outside("ip"), &ends)?;
    run(net.outside("ethtool"), &["-K", "v0", "tx", "off"])?;
    run(net.inside("ethtool"), &["-K", "v1", "tx", "off"])?;
    run(net.outside("ip"), &["link", "set", "dev", "v0", "arp", "off", "up"])?;
    run(net.inside("ip"), &["link", "set", "dev", "v1", "arp", "off", "up"])
}

fn refusals() -> Outcome {
    let net = Net::up(NAME)?;
    for (arguments, words) in [
        (&["--mode", "observe"][..], "--shunt: v1 is observed"),
        (&["--mode", "tap", "--filter", "tcp"], "--filter has not judged"),
        (&["--mode", "tap", "--features-set", "extended"], "statistics would miss"),
        (&["--mode", "tap", "--idle-timeout", "4s"], "--idle-timeout of 5s or more"),
    ] {
        let mut capture = net.inside(FLOWTAP);
        capture.args(["capture", "-i", "v1", "-o", "-", "--shunt", "8"]).args(arguments);
        let said = Run::of(&mut capture).expect(2)?.stderr;
        ensure(said.contains(words), format!("{arguments:?}: {said}"))?;
    }
    Ok(())
}
