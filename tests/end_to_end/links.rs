//! Live, about interfaces that change while they are captured from: removed under load, down
//! and up, renamed, made anew, with another number of queues. By each way of capturing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::live::{Capture, Net};
use crate::program::{Generated, Run, generate, json_file, json_lines, wait_for, xtask};
use crate::{Outcome, ensure};

const NAME: &str = "flowtap-links";

/// Modes, with what goes with them.
const WAYS: [(&str, &[&str]); 4] = [
    ("tap", &["--xdp-mode", "native"]),
    ("tap", &["--xdp-mode", "generic"]),
    ("observe", &["--workers", "2"]),
    ("observe", &["--observe-by", "xdp"]),
];

pub(crate) fn trials() -> Vec<Trial> {
    let each = |name: &str, test: fn(&str, &[&str]) -> Outcome| {
        Trial::test(format!("links::{name}"), move || {
            WAYS.into_iter().try_for_each(|(mode, flags)| {
                test(mode, flags).map_err(|error| {
                    let said = error.message().unwrap_or_default();
                    format!("{mode} {flags:?}: {said}").into()
                })
            })
        })
    };
    vec![
        each("one_removed_under_load_does_not_end_the_other", one_removed),
        each("down_and_up_again_it_goes_on", down_and_up),
        each("renamed_it_goes_on", renamed),
        each("made_anew_it_is_opened_anew", made_anew),
        each("made_anew_it_stays_away_without_privileges", made_anew_without_privileges),
        Trial::test("links::packets_of_new_queues_are_counted", more_queues),
    ]
}

/// A link under test: what is sent, and where records and ledger go.
struct Bench {
    net: Net,
    made: Generated,
    frames: u64,
    out: PathBuf,
    stats: PathBuf,
}

impl Bench {
    fn new() -> Result<Self, Failed> {
        let made = generate(3_000, 150, 17);
        let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
        let file = |name: &str| made.folder.path().join(name);
        let (out, stats) = (file("live.jsonl"), file("s.json"));
        Ok(Self { net: Net::up(NAME)?, made, frames, out, stats })
    }

    /// Starts a capture on v1, and on what `more` says.
    fn start(&self, mode: &str, flags: &[&str], more: &[&str]) -> Result<Capture, Failed> {
        let (out, stats) = (self.out.display().to_string(), self.stats.display().to_string());
        let always = ["-o", &out, "--stats", &stats, "--stats-interval", "50ms"];
        let arguments = [&always[..], flags, more].concat();
        self.net.capture_by(mode, &arguments).map(|(capture, _)| capture)
    }

    /// A command in a namespace, that of the sender or that of the tap ports.
    fn run(&self, side: &str, command: &[&str]) -> Outcome {
        let netns = format!("{NAME}-{side}");
        let mut all = Command::new("ip");
        Run::of(all.args(["netns", "exec", &netns]).args(command)).expect(0).map(drop)
    }

    /// Makes a link between two ports like that which is there from the start.
    fn link(&self, from: &str, to: &str) -> Outcome {
        let (a, b) = (format!("{NAME}-a"), format!("{NAME}-b"));
        let queues = ["numrxqueues", "2", "numtxqueues", "2"];
        let mut add = Command::new("ip");
        add.args(["link", "add", from, "netns", &a]).args(queues).args(["type", "veth", "peer"]);
        Run::of(add.args(["name", to, "netns", &b]).args(queues)).expect(0)?;
        for (side, port) in [("a", from), ("b", to)] {
            self.run(side, &["ethtool", "-K", port, "tx", "off"])?;
            self.run(side, &["ip", "link", "set", "dev", port, "arp", "off", "up"])?;
        }
        Ok(())
    }

    fn send(&self, port: &str, rate: &str) -> Command {
        let mut send = xtask();
        send.arg("send").arg(&self.made.capture).stderr(Stdio::null());
        send.args(["--to", port, "--netns", &format!("{NAME}-a"), "--rate", rate]);
        send
    }

    fn send_all(&self, port: &str) -> Outcome {
        Run::of(&mut self.send(port, "20000")).expect(0).map(drop)
    }

    /// Waits until the ledger says so of the interface with this number.
    fn wait(&self, idx: usize, what: &str, is_so: impl Fn(&Value) -> bool) -> Outcome {
        let now = || json_file(&self.stats).unwrap_or_default()["interfaces"].get(idx).cloned();
        let now = || now().unwrap_or_default();
        ensure(wait_for(|| is_so(&now())), format!("waited in vain for {what}: {}", now()))
    }

    fn wait_for_state(&self, state: &str) -> Outcome {
        self.wait(0, state, |interface| interface["link"]["state"] == state)
    }

    fn wait_for_frames(&self, idx: usize, frames: u64) -> Outcome {
        self.wait(idx, "all frames", |interface| interface["delivered"] == frames)
    }

    /// The final ledger, if it adds up and the records are of all that it says.
    fn ledger(&self) -> Result<Value, Failed> {
        let ledger = json_file(&self.stats)?;
        for residual in ["interface", "packets", "flows"] {
            ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
        }
        let records = json_lines(&fs::read_to_string(&self.out)?)?;
        let sides =
            records.iter().flat_map(|record| [&record["src_packets"], &record["dst_packets"]]);
        let sum: u64 = sides.filter_map(Value::as_u64).sum();
        ensure(ledger["packets"]["in_flows"] == sum, format!("{sum} in records: {ledger}"))?;
        let is_named =
            |record: &Value| ["v1", "w1"].iter().any(|name| record["interface"] == *name);
        ensure(records.iter().all(is_named), "a record has another interface's name")?;
        Ok(ledger)
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

fn says_once(said: &str, words: &str) -> Outcome {
    let times = said.matches(words).count();
    ensure(times == 1, format!("{words:?} was said {times} times: {said}"))
}

fn one_removed(mode: &str, flags: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    bench.link("w0", "w1")?;
    let mut capture = bench.start(mode, flags, &["-i", "w1"])?;
    let mut sending = bench.send("v0", "3000").spawn()?;
    let some = bench.frames / 4;
    bench.wait(0, "some frames", |v1| (some..some * 3).contains(&number(&v1["delivered"])))?;
    bench.run("b", &["ip", "link", "del", "v1"])?;
    // It fails where the link has gone.
    sending.wait()?;
    bench.wait_for_state("gone")?;
    bench.send_all("w0")?;
    bench.wait_for_frames(1, bench.frames)?;
    // The last one ends it.
    bench.run("b", &["ip", "link", "del", "w1"])?;
    let said = capture.finish(2)?;
    says_once(&said, "v1 is gone")?;
    says_once(&said, "capture on v1, w1: all of them are gone; --keep-privileges")?;
    let ledger = bench.ledger()?;
    let [v1, w1] = [0, 1].map(|idx| &ledger["interfaces"][idx]);
    ensure(number(&v1["delivered"]) >= some, format!("v1: {v1}"))?;
    ensure(w1["delivered"] == bench.frames && w1["nic_rx"] == bench.frames, format!("w1: {w1}"))?;
    ensure(v1["link"]["removals"] == 1 && v1["link"]["state"] == "gone", format!("v1: {v1}"))
}

fn down_and_up(mode: &str, flags: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    let capture = bench.start(mode, flags, &["--strict"])?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, bench.frames)?;
    // The port itself, then what is at the other end of the line.
    for (side, port) in [("b", "v1"), ("a", "v0")] {
        bench.run(side, &["ip", "link", "set", port, "down"])?;
        bench.wait_for_state("down")?;
        bench.run(side, &["ip", "link", "set", port, "up"])?;
        bench.wait_for_state("up")?;
    }
    bench.send_all("v0")?;
    bench.wait_for_frames(0, 2 * bench.frames)?;
    let said = capture.stop(0)?;
    ensure(said.matches("v1 is down").count() == 2, format!("down: {said}"))?;
    ensure(said.matches("v1 is up again").count() == 2, format!("up: {said}"))?;
    let ledger = bench.ledger()?;
    let v1 = &ledger["interfaces"][0];
    ensure(v1["seen"] == 2 * bench.frames, format!("seen: {v1}"))?;
    ensure(v1["nic_rx"] == 2 * bench.frames, format!("NIC: {v1}"))?;
    ensure(v1["link"]["downs"] == 2 && v1["link"]["removals"] == 0, format!("link: {v1}"))
}

fn renamed(mode: &str, flags: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    let capture = bench.start(mode, flags, &["--strict"])?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, bench.frames)?;
    bench.run("b", &["ip", "link", "set", "v1", "name", "mirror"])?;
    bench.wait(0, "the new name", |v1| v1["link"]["renames"] == 1)?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, 2 * bench.frames)?;
    let said = capture.stop(0)?;
    says_once(&said, "v1 is called mirror now; records keep v1")?;
    let ledger = bench.ledger()?;
    let v1 = &ledger["interfaces"][0];
    ensure(v1["name"] == "v1" && v1["nic_rx"] == 2 * bench.frames, format!("NIC: {v1}"))
}

fn made_anew(mode: &str, flags: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    let capture = bench.start(mode, flags, &["--strict", "--keep-privileges"])?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, bench.frames)?;
    // So that what the driver has counted is asked for once more before it goes.
    bench.wait(0, "the NIC's count", |v1| v1["nic_rx"] == bench.frames)?;
    bench.run("b", &["ip", "link", "del", "v1"])?;
    bench.wait_for_state("gone")?;
    bench.link("v0", "v1")?;
    bench.wait_for_state("up")?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, 2 * bench.frames)?;
    let said = capture.stop(0)?;
    says_once(&said, "v1 is gone")?;
    says_once(&said, "v1 is there again: ")?;
    let ledger = bench.ledger()?;
    let v1 = &ledger["interfaces"][0];
    ensure(v1["seen"] == 2 * bench.frames, format!("seen: {v1}"))?;
    ensure(v1["nic_rx"] == 2 * bench.frames, format!("NIC: {v1}"))?;
    ensure(v1["link"]["reopenings"] == 1 && v1["link"]["state"] == "up", format!("link: {v1}"))
}

fn made_anew_without_privileges(mode: &str, flags: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    bench.link("w0", "w1")?;
    let capture = bench.start(mode, flags, &["-i", "w1"])?;
    bench.run("b", &["ip", "link", "del", "v1"])?;
    bench.wait_for_state("gone")?;
    bench.link("v0", "v1")?;
    bench.send_all("w0")?;
    bench.wait_for_frames(1, bench.frames)?;
    let said = capture.stop(0)?;
    says_once(&said, "v1 is there again, but not captured from: flowtap has given up")?;
    ensure(bench.ledger()?["interfaces"][0]["seen"] == 0, "v1 was captured from")
}

fn more_queues() -> Outcome {
    for place in ["native", "generic"] {
        let bench = Bench::new()?;
        let set =
            |side, port, which, count| bench.run(side, &["ethtool", "-L", port, which, count]);
        // A driver that has an XDP program wants as many as the other end sends on.
        set("a", "v0", "tx", "1")?;
        set("b", "v1", "rx", "1")?;
        let capture = bench.start("tap", &["--xdp-mode", place], &["--strict"])?;
        set("b", "v1", "rx", "2")?;
        set("a", "v0", "tx", "2")?;
        bench.wait(0, "the number of queues", |v1| v1["link"]["queue_changes"] == 1)?;
        bench.send_all("v0")?;
        bench.wait(0, "all frames", |v1| v1["nic_rx"] == bench.frames)?;
        let said = capture.stop(0)?;
        says_once(&said, "v1 has 2 receive queues now, not 1; packets of those beyond 1 pass on")?;
        let ledger = bench.ledger()?;
        let v1 = &ledger["interfaces"][0];
        let [nic, seen, delivered] = ["nic_rx", "seen", "delivered"].map(|name| number(&v1[name]));
        // veth runs a native program on queues only that were there when it was attached: what
        // comes to others is the host's, and only the NIC's count tells. To a generic one all
        // that comes over a veth comes by the first.
        let is_right = if place == "native" { 0 < seen && seen < nic } else { seen == nic };
        ensure(is_right && delivered == seen && nic == bench.frames, format!("{place}: {v1}"))?;
    }
    Ok(())
}
