//! Live, about interfaces that change while they are captured from: removed under load, down
//! and up, renamed, made anew, with another number of queues. By each way of capturing.

use std::fs;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::live::{Capture, Net, receive_queues};
use crate::program::{FLOWTAP, Generated, Run, generate, json_file, json_lines, wait_for, xtask};
use crate::ways::receiving_on;
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
            let mut ways = WAYS.into_iter();
            ways.try_for_each(|(mode, flags)| with(mode, flags, test(mode, flags)))
        })
    };
    vec![
        each("one_removed_under_load_does_not_end_the_other", one_removed),
        each("down_and_up_again_it_goes_on", down_and_up),
        each("renamed_it_goes_on", renamed),
        each("frames_are_held_against_the_mtu_as_it_is", another_mtu),
        each("made_anew_it_is_opened_anew", made_anew),
        each("made_anew_it_stays_away_without_privileges", made_anew_without_privileges),
        each("held_by_another_nobody_waits_for_it", held_by_another),
        each("in_another_namespace_it_is_let_go", moved_away),
        Trial::test("links::moved_away_and_back_nothing_is_lost_unseen", moved_and_back),
        Trial::test("links::a_tap_that_the_host_comes_to_use_is_let_go", comes_to_be_used),
        Trial::test("links::packets_of_new_queues_are_counted", more_queues),
        Trial::test("links::a_queue_that_is_added_is_opened", || {
            let more: [&[&str]; 5] = [
                &["--xdp-mode", "native", "--cpus", "1,0"],
                &["--xdp-mode", "generic"],
                &["--filter", "ip and not port 53"],
                &["--sample", "4"],
                &["--shunt", "16"],
            ];
            more.into_iter().try_for_each(|more| with("tap", more, added_queues("v1", 2, more)))
        }),
        Trial::test("links::queues_that_are_added_beside_others_are_opened", || {
            added_queues("w1", 4, &["-i", "w1"])
        }),
    ]
}

/// An outcome, with which way it was.
fn with(mode: &str, flags: &[&str], outcome: Outcome) -> Outcome {
    outcome.map_err(|error| {
        let said = error.message().unwrap_or_default();
        format!("{mode} {flags:?}: {said}").into()
    })
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
        self.link_of(from, to, "2")
    }

    /// The same with so many queues each way.
    fn link_of(&self, from: &str, to: &str, queues: &str) -> Outcome {
        let (a, b) = (format!("{NAME}-a"), format!("{NAME}-b"));
        let queues = ["numrxqueues", queues, "numtxqueues", queues];
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
    let mut sending = bench.send("v0", "1000").spawn()?;
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

fn moved_away(mode: &str, flags: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    bench.link("w0", "w1")?;
    let capture = bench.start(mode, flags, &["-i", "w1", "--strict"])?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, bench.frames)?;
    bench.run("b", &["ip", "link", "set", "v1", "netns", &format!("{NAME}-a")])?;
    bench.wait_for_state("gone")?;
    bench.run("a", &["ip", "link", "set", "v1", "up"])?;
    let netns = format!("{NAME}-a");
    let mut show = Command::new("ip");
    let shown = Run::of(show.args(["-n", &netns, "-d", "link", "show", "v1"])).expect(0)?.stdout;
    ensure(!shown.contains("xdp"), format!("the program is still attached: {shown}"))?;
    bench.send_all("v0")?;
    bench.send_all("w0")?;
    bench.wait_for_frames(1, bench.frames)?;
    let said = capture.stop(0)?;
    says_once(&said, "v1 is gone")?;
    let ledger = bench.ledger()?;
    let v1 = &ledger["interfaces"][0];
    ensure(v1["seen"] == bench.frames && v1["link"]["removals"] == 1, format!("v1: {v1}"))
}

/// While nobody looks, all packets go nowhere.
fn moved_and_back() -> Outcome {
    for place in ["native", "generic"] {
        let bench = Bench::new()?;
        bench.link("w0", "w1")?;
        let capture = bench.start("tap", &["--xdp-mode", place], &["-i", "w1"])?;
        capture.signal(Signal::SIGSTOP);
        let (a, b) = (format!("{NAME}-a"), format!("{NAME}-b"));
        bench.run("b", &["ip", "link", "set", "v1", "netns", &a])?;
        bench.run("a", &["ip", "link", "set", "v1", "netns", &b])?;
        bench.run("b", &["ip", "link", "set", "v1", "up"])?;
        bench.send_all("v0")?;
        capture.signal(Signal::SIGCONT);
        bench.wait_for_state("gone")?;
        capture.stop(0)?;
        let ledger = bench.ledger()?;
        let v1 = &ledger["interfaces"][0];
        let are_lost = v1["seen"] == bench.frames && v1["dropped"]["unbound"] == bench.frames;
        ensure(are_lost, format!("{place}: {v1}"))?;
    }
    Ok(())
}

fn comes_to_be_used() -> Outcome {
    for keeps in [true, false] {
        let bench = Bench::new()?;
        bench.link("w0", "w1")?;
        let more = if keeps { &["-i", "w1", "--keep-privileges"][..] } else { &["-i", "w1"] };
        let capture = bench.start("tap", more, &["--strict"])?;
        bench.run("b", &["ip", "address", "add", "192.0.2.1/24", "dev", "v1"])?;
        bench.wait_for_state("released")?;
        bench.send_all("v0")?;
        bench.send_all("w0")?;
        bench.wait_for_frames(1, bench.frames)?;
        let mut frames = 0;
        bench.run("b", &["ip", "address", "del", "192.0.2.1/24", "dev", "v1"])?;
        if keeps {
            bench.wait_for_state("up")?;
            bench.send_all("v0")?;
            frames = bench.frames;
            bench.wait_for_frames(0, frames)?;
        }
        let said = capture.stop(0)?;
        says_once(&said, "v1 is let go, and its packets pass on to the host: it has the address")?;
        let ledger = bench.ledger()?;
        let v1 = &ledger["interfaces"][0];
        ensure(v1["seen"] == frames && v1["link"]["releases"] == 1, format!("v1: {v1}"))?;
    }
    Ok(())
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

/// Frames that were several on the wire by the MTU that it had at first.
fn another_mtu(mode: &str, flags: &[&str]) -> Outcome {
    const SEND: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('v0', 0))
for _ in range(20): s.send(bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb6]) + bytes(2000))
";
    let bench = Bench::new()?;
    let mut capture = bench.start(mode, flags, &[])?;
    for (side, port) in [("a", "v0"), ("b", "v1")] {
        bench.run(side, &["ip", "link", "set", port, "mtu", "3000"])?;
    }
    capture.hear("v1 has an MTU of 3000 now, not 1500")?;
    bench.run("a", &["python3", "-c", SEND])?;
    bench.wait_for_frames(0, 20)?;
    capture.stop(0)?;
    let ledger = bench.ledger()?;
    let v1 = &ledger["interfaces"][0];
    ensure(v1["frames_above_mtu"] == 0, format!("above the MTU: {v1}"))
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

/// What has come back has another program's, which lets go of it later: until then all goes on.
fn held_by_another(mode: &str, flags: &[&str]) -> Outcome {
    if mode == "observe" {
        // Packet sockets are in nobody's way; by XDP each try also loads a program, which takes as
        // long as it takes.
        return Ok(());
    }
    let bench = Bench::new()?;
    let mut capture = bench.start(mode, flags, &["--keep-privileges"])?;
    bench.run("b", &["ip", "link", "del", "v1"])?;
    bench.wait_for_state("gone")?;
    bench.link("v0", "x1")?;
    let mut other = bench.net.inside(FLOWTAP);
    other.args(["capture", "-i", "x1", "--mode", "tap", "-o", "-"]);
    other.args(["--xdp-mode", if flags.contains(&"generic") { "generic" } else { "native" }]);
    let mut other = other.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = other.stderr.take().expect("it was piped");
    let mut other = Capture { child: other, stderr: BufReader::new(stderr) };
    other.hear("capturing on x1")?;
    bench.run("b", &["ip", "link", "set", "x1", "name", "v1"])?;
    let mut said = capture.hear("v1 is there again, but not captured from: ")?;
    // Two more tries, in which `main` writes the ledger all the time.
    let (start, mut last, mut longest) = (Instant::now(), 0, 0);
    let is_seen = wait_for(|| {
        let now = json_file(&bench.stats).unwrap_or_default()["wall_ns"].as_u64().unwrap_or(last);
        longest = longest.max(if last > 0 { now - last } else { 0 });
        last = now;
        start.elapsed() > Duration::from_millis(2_500)
    });
    ensure(is_seen && longest < 700_000_000, format!("nothing was written for {longest} ns"))?;
    other.stop(0)?;
    bench.wait_for_state("up")?;
    bench.send_all("v0")?;
    bench.wait_for_frames(0, bench.frames)?;
    said += &capture.stop(0)?;
    says_once(&said, "v1 is there again, but not captured from: ")?;
    let ledger = bench.ledger()?;
    let v1 = &ledger["interfaces"][0];
    ensure(v1["link"]["reopenings"] == 1 && v1["seen"] == bench.frames, format!("v1: {v1}"))
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

/// A port that has one queue is given more under traffic, which it keeps.
fn added_queues(port: &str, queues: usize, more: &[&str]) -> Outcome {
    let bench = Bench::new()?;
    let (from, idx) = if port == "v1" { ("v0", 0) } else { ("w0", 1) };
    let all = queues.to_string();
    if idx > 0 {
        bench.link_of(from, port, &all)?;
    }
    let set = |side, port, which, count| bench.run(side, &["ethtool", "-L", port, which, count]);
    set("a", from, "tx", "1")?;
    set("b", port, "rx", "1")?;
    let capture = bench.start("tap", &["--strict", "--keep-privileges"], more)?;
    let mut sending = bench.send(from, "1000").spawn()?;
    let seen = |interface: &Value| number(&interface["seen"]);
    let some = bench.frames / 4;
    bench.wait(idx, "some frames", |it| (some..some * 3).contains(&seen(it)))?;
    set("b", port, "rx", &all)?;
    bench.wait(idx, "sockets", |it| it["link"]["queues_added"] == queues - 1)?;
    // Now, as nothing else had the program run on them.
    set("a", from, "tx", &all)?;
    ensure(sending.wait()?.success(), "not all was sent")?;
    bench.send_all(from)?;
    // The kernel takes none away that has a socket.
    ensure(set("b", port, "rx", "1").is_err(), "a queue with a socket was taken away")?;
    bench.send_all(from)?;
    let frames = 3 * bench.frames;
    bench.wait(idx, "all frames", |it| seen(it) == frames)?;
    let by_queue = receive_queues(&bench.net, port)?;
    let runs_on = receiving_on(capture.child.id())?.remove("rx-1");
    let is_pinned = !more.contains(&"--cpus") || runs_on.as_deref() == Some("0");
    ensure(is_pinned, format!("rx-1 runs on {runs_on:?}"))?;
    let said = capture.stop(0)?;
    let what = format!("{port} has {queues} receive queues now, not 1; they are opened");
    says_once(&said, &what)?;
    says_once(&said, &format!("{queues} queues of {port} are captured from: tap, "))?;
    let ledger = bench.ledger()?;
    let it = &ledger["interfaces"][idx];
    let used = by_queue.iter().filter(|&&packets| packets > 0).count();
    // To a generic program all that comes over a veth comes by the first queue.
    let is_used = used == queues || more.contains(&"generic");
    ensure(is_used, format!("packets by queue: {by_queue:?}"))?;
    ensure(seen(it) == frames && it["nic_rx"] == frames, format!("not all: {it}"))?;
    ensure(it["passed"] == 0 && it["link"]["queue_changes"] == 1, format!("queues: {it}"))?;
    let is_whole = more.iter().all(|flag| !["--filter", "--sample", "--shunt"].contains(flag));
    ensure(!is_whole || it["delivered"] == frames, format!("delivered: {it}"))?;
    ensure(ledger["packets"]["not_passed_on"] == 0, format!("passed on: {ledger}"))
}
