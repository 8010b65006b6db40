//! Live: two network namespaces joined by a veth pair with two queues; a generated capture
//! is sent into one end, and the program taps the other through AF_XDP.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use crate::program::{
    FLOWTAP, Generated, Run, flowtap, generate, is_root, json_file, json_lines, signal, wait_for,
    xtask,
};
use crate::{Outcome, ensure, not_here};

/// Packets a second that the test sends: far below what the machine can, as this is about
/// counting and not about speed.
const RATE: &str = "20000";

pub(crate) fn trials() -> Vec<Trial> {
    if !is_root() {
        return not_here("live", "needs root for network namespaces and AF_XDP");
    }
    // One after the other: they would disturb each other's timing.
    let mut trials = vec![
        Trial::test("live::a_tap_sees_every_packet", every_packet_on_both_queues),
        Trial::test("live::what_gen_sends_is_what_arrives", what_gen_sends_is_what_arrives),
        Trial::test("live::killed_it_leaves_nothing_attached", killed_leaves_nothing_attached),
        Trial::test(
            "live::a_vanished_interface_keeps_what_came_before",
            a_vanished_interface_keeps_what_came_before,
        ),
    ];
    trials.extend(crate::observe::trials());
    trials.extend(crate::observe_xdp::trials());
    trials.extend(crate::ways::trials());
    trials.extend(crate::stuck::live_trials());
    trials.extend(crate::filter::live_trials());
    trials.extend(crate::sample::trials());
    trials.extend(crate::shunt::trials());
    trials.extend(crate::jumbo::trials());
    trials.extend(crate::links::trials());
    trials.extend(crate::stamps::trials());
    trials.extend(crate::nats::live_trials());
    trials.extend(crate::host::live_trials());
    trials.extend(crate::tune::trials());
    trials.extend(crate::intervals::live_trials());
    trials
}

/// Two namespaces that go when dropped.
pub(crate) struct Net(String);

impl Net {
    pub(crate) fn up(name: &str) -> Result<Self, Failed> {
        Run::of(xtask().args(["net", "up", "--name", name])).expect(0)?;
        Ok(Self(name.to_owned()))
    }

    /// A command in the namespace of the tap port.
    pub(crate) fn inside(&self, program: &str) -> Command {
        self.at("b", program)
    }

    /// A command in the namespace of the sender.
    pub(crate) fn outside(&self, program: &str) -> Command {
        self.at("a", program)
    }

    fn at(&self, side: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{side}", self.0), program]);
        command
    }

    /// Starts a tap on the tap port, and waits until it runs.
    pub(crate) fn capture(&self, arguments: &[&str]) -> Result<Capture, Failed> {
        self.capture_by("tap", arguments).map(|(capture, _)| capture)
    }

    /// Starts a capture on the tap port by this mode, and waits until it runs. What it said.
    pub(crate) fn capture_by(
        &self,
        mode: &str,
        arguments: &[&str],
    ) -> Result<(Capture, String), Failed> {
        let mut child = self
            // Before whatever else this machine does: no packet may be lost for that.
            .inside("nice")
            .args(["-n", "-15", FLOWTAP, "capture", "-i", "v1", "--mode", mode])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = BufReader::new(child.stderr.take().expect("it was piped"));
        let mut capture = Capture { child, stderr };
        let said = capture.hear("capturing on v1")?;
        Ok((capture, said))
    }

    /// Sends a capture file through the link.
    pub(crate) fn send(&self, file: &Path) -> Result<(), Failed> {
        self.send_at(file, RATE)
    }

    /// The same, at so many packets a second.
    pub(crate) fn send_at(&self, file: &Path, rate: &str) -> Result<(), Failed> {
        let netns = format!("{}-a", self.0);
        let mut send = xtask();
        send.arg("send").arg(file).args(["--to", "v0", "--netns", &netns, "--rate", rate]);
        Run::of(&mut send).expect(0).map(drop)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = xtask().args(["net", "down", "--name", &self.0]).output();
    }
}

pub(crate) struct Capture {
    pub(crate) child: Child,
    pub(crate) stderr: BufReader<std::process::ChildStderr>,
}

impl Capture {
    /// Waits until `frames` frames are taken in, stops by TERM, and waits for the end.
    pub(crate) fn stop_after(mut self, frames: u64, stats: &Path) -> Result<String, Failed> {
        let arrived = || {
            let ledger = json_file(stats);
            ledger.is_ok_and(|l| l["interfaces"][0]["delivered"].as_u64() >= Some(frames))
        };
        let all = wait_for(arrived);
        signal(&self.child, Signal::SIGTERM);
        let said = self.finish(0)?;
        ensure(all, format!("not all {frames} frames arrived:\n{said}"))?;
        Ok(said)
    }

    pub(crate) fn signal(&self, what: Signal) {
        signal(&self.child, what);
    }

    /// Waits for a line with this word in it. Returns what was said before, and it.
    pub(crate) fn hear(&mut self, word: &str) -> Result<String, Failed> {
        let mut said = String::new();
        while !said.contains(word) {
            ensure(self.stderr.read_line(&mut said)? > 0, format!("no '{word}' in:\n{said}"))?;
        }
        Ok(said)
    }

    /// Stops by TERM, and waits for the end. Returns what was said.
    pub(crate) fn stop(mut self, code: i32) -> Result<String, Failed> {
        signal(&self.child, Signal::SIGTERM);
        self.finish(code)
    }

    /// Waits for the end. Returns what was said.
    pub(crate) fn finish(&mut self, code: i32) -> Result<String, Failed> {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut said)?;
        let status = self.child.wait()?;
        ensure(status.code() == Some(code), format!("exit {status}, want {code}:\n{said}"))?;
        Ok(said)
    }
}

/// What depends on when and where packets were seen; so does which answers came before a flow, and
/// what was known of devices by then.
const TIMELY: [&str; 14] = [
    "flow_id",
    "interface",
    "start",
    "end",
    "duration_ns",
    "end_reason",
    "rtt_server_ns",
    "rtt_client_ns",
    "name",
    "name_source",
    "name_age_ns",
    "name_doubt",
    "src_device",
    "dst_device",
];

/// Records without what depends on when and where: how often each came. Of flows whose
/// packets' order is a matter of time, what all records of a key add up to.
pub(crate) fn timeless(records: &[Value]) -> BTreeMap<String, i64> {
    timeless_but(records, &[])
}

/// The same without some more fields.
fn timeless_but(records: &[Value], left_out: &[&str]) -> BTreeMap<String, i64> {
    let mut count = BTreeMap::new();
    for record in records {
        let mut record = record.as_object().cloned().unwrap_or_default();
        for field in TIMELY {
            record.remove(field);
        }
        // Which of the two a late segment was is a matter of how late it was.
        for side in ["src", "dst"] {
            let [again, late] = ["retransmits", "out_of_order"]
                .map(|name| record.remove(&format!("{side}_{name}")).and_then(|it| it.as_u64()));
            if let (Some(again), Some(late)) = (again, late) {
                record.insert(format!("{side}_late"), (again + late).into());
            }
        }
        left_out.iter().for_each(|&field| _ = record.remove(field));
        if has_batch_order(&record) {
            let record = lower_end_first(record);
            for field in ["src_packets", "src_bytes", "dst_packets", "dst_bytes"] {
                let sum = record.get(field).and_then(Value::as_i64).unwrap_or(0);
                let key = ["community_id", "vlan"].map(|name| record.get(name).cloned());
                *count.entry(format!("{key:?} {field}")).or_default() += sum;
            }
        } else {
            *count.entry(Value::from(record).to_string()).or_default() += 1;
        }
    }
    count
}

/// Whether the flow's packets came by both queues. The kernel spreads fragments, and IPv4
/// behind a VLAN tag, without regard to the flow; its packets then have batch time stamps of
/// two threads, and what is sent within a scheduling delay of each other (the test sends ten
/// seconds' traffic in one) may seem to come in another order.
pub(crate) fn has_batch_order(record: &Map<String, Value>) -> bool {
    let number = |name: &str| record.get(name).and_then(Value::as_u64).unwrap_or(0);
    let is_tagged = record.contains_key("vlan") && number("ip_version") == 4;
    is_tagged || number("src_fragments") + number("dst_fragments") > 0
}

/// The record with the lower end as its source.
fn lower_end_first(record: Map<String, Value>) -> Map<String, Value> {
    let end = |side: &str| {
        let field = |name: &str| record.get(&format!("{side}_{name}")).map(Value::to_string);
        (field("ip"), field("port"))
    };
    if end("src") <= end("dst") {
        return record;
    }
    let swapped = |name: String| match name.split_once('_') {
        Some(("src", rest)) => format!("dst_{rest}"),
        Some(("dst", rest)) => format!("src_{rest}"),
        _ => name,
    };
    record.into_iter().map(|(name, value)| (swapped(name), value)).collect()
}

/// Of so many frames, all of which the NIC has counted.
pub(crate) fn check_ledger(stats: &Path, frames: u64) -> Outcome {
    check_ledger_and_nic(stats, frames, frames)
}

fn check_ledger_and_nic(stats: &Path, frames: u64, by_nic: u64) -> Outcome {
    let ledger = json_file(stats)?;
    let interface = &ledger["interfaces"][0];
    ensure(interface["seen"] == frames, format!("seen: {interface}"))?;
    ensure(interface["delivered"] == frames, format!("delivered: {interface}"))?;
    ensure(interface["nic_rx"] == by_nic, format!("NIC: {interface}"))?;
    for residual in ["interface", "packets", "flows"] {
        ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
    }
    Ok(())
}

fn every_packet_on_both_queues() -> Outcome {
    let made: Generated = generate(20_000, 1_000, 10);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    ensure(frames >= 10_000, "the capture is too small")?;
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());

    let net = Net::up("flowtap-test")?;
    let arguments =
        ["-o", &out_text, "--stats", &stats_text, "--stats-interval", "50ms", "--strict"];
    let capture = net.capture(&arguments)?;
    net.send(&made.capture)?;
    let queues = receive_queues(&net, "v1")?;
    ensure(queues.len() == 2, "want two receive queues")?;
    ensure(queues.iter().all(|&packets| packets > 0), format!("packets by queue: {queues:?}"))?;
    capture.stop_after(frames, &stats)?;
    check_ledger(&stats, frames)?;

    check_records(&made.capture, &out)
}

/// Whether the records of a live capture are those of the file that was sent.
pub(crate) fn check_records(sent: &Path, out: &Path) -> Outcome {
    check_records_but(sent, out, &[])
}

/// The same, but for some fields.
pub(crate) fn check_records_but(sent: &Path, out: &Path, left_out: &[&str]) -> Outcome {
    let read =
        flowtap(["read".as_ref(), "-q".as_ref(), "-o".as_ref(), "-".as_ref(), sent.as_os_str()]);
    let want = timeless_but(&json_lines(&read.expect(0)?.stdout)?, left_out);
    let mut difference = timeless_but(&json_lines(&fs::read_to_string(out)?)?, left_out);
    for (record, count) in want {
        *difference.entry(record).or_default() -= count;
    }
    difference.retain(|_, count| *count != 0);
    let first: Vec<_> = difference.iter().take(4).collect();
    ensure(
        difference.is_empty(),
        format!("live (+) and read (-) differ in {} records: {first:#?}", difference.len()),
    )
}

/// `gen --to`, by live frames that the kernel makes, over the link or without it, and frame by
/// frame.
fn what_gen_sends_is_what_arrives() -> Outcome {
    for (mix, flows, more) in [
        ("imix", 1_000, &["40kpps"][..]),
        ("scan", 3_000, &["40kpps"]),
        ("imix", 1_000, &["20kpps", "--frame-by-frame"]),
        ("tls-mix", 600, &["20kpps"]),
        ("imix", 1_000, &["40kpps", "--received"]),
    ] {
        let is_received = more.contains(&"--received");
        let [to, netns] =
            if is_received { ["v1", "flowtap-test-b"] } else { ["v0", "flowtap-test-a"] };
        let net = Net::up("flowtap-test")?;
        let folder = crate::program::folder();
        let file = |name: &str| folder.path().join(name);
        let (out, stats, truth) = (file("live.jsonl"), file("s.json"), file("t.json"));
        let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
        let arguments =
            ["-o", &out_text, "--stats", &stats_text, "--stats-interval", "50ms", "--strict"];
        let capture = net.capture(&arguments)?;
        let mut send = xtask();
        send.args(["gen", "--mix", mix, "--packets", "20000", "--flows", &flows.to_string()])
            .args(["--to", to, "--netns", netns, "--truth"])
            .arg(&truth)
            .arg("--rate")
            .args(more);
        let said = Run::of(&mut send).expect(0)?.stderr;
        ensure(said.contains("sent 20000 frames") && said.contains("counted 20000"), said)?;
        capture.stop_after(20_000, &stats)?;
        check_ledger_and_nic(&stats, 20_000, if is_received { 0 } else { 20_000 })?;
        let records = json_lines(&fs::read_to_string(&out)?)?;
        let sum = |field: &str| -> u64 {
            let values = records.iter().flat_map(|r| {
                ["src", "dst"].map(|side| r[format!("{side}_{field}")].as_u64().unwrap_or(0))
            });
            values.sum()
        };
        let (truth, found) = (json_file(&truth)?, [sum("packets"), sum("bytes")]);
        let want = ["packets", "bytes"].map(|name| truth["totals"][name].as_u64().unwrap_or(0));
        ensure(found == want, format!("{mix}: packets and bytes {found:?}, want {want:?}"))?;
        ensure(records.len() == flows, format!("{mix}: {} records, want {flows}", records.len()))?;
    }
    Ok(())
}

/// Packets by receive queue of a tap port, as the driver counts them.
pub(crate) fn receive_queues(net: &Net, port: &str) -> Result<Vec<u64>, Failed> {
    let run = Run::of(net.inside("ethtool").args(["-S", port])).expect(0)?;
    let queue = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        (name.starts_with("rx_queue_") && name.ends_with("_xdp_packets"))
            .then(|| value.parse().ok())?
    };
    Ok(run.stdout.lines().filter_map(queue).collect())
}

fn killed_leaves_nothing_attached() -> Outcome {
    let net = Net::up("flowtap-test")?;
    let mut capture = net.capture(&["-o", "-"])?;
    let has_program = || {
        let link = Run::of(net.inside("ip").args(["-details", "link", "show", "v1"]));
        link.stdout.contains("xdp")
    };
    ensure(has_program(), "no program while it runs")?;
    capture.child.kill()?;
    capture.child.wait()?;
    // The kernel lets go of a dead process's descriptors in its own time.
    ensure(wait_for(|| !has_program()), "a killed process has left its program attached")
}

fn a_vanished_interface_keeps_what_came_before() -> Outcome {
    let made = generate(2_000, 100, 11);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let (out, stats) = (made.folder.path().join("live.jsonl"), made.folder.path().join("s.json"));
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let net = Net::up("flowtap-test")?;
    let arguments = ["-o", &out_text, "--stats", &stats_text, "--stats-interval", "50ms"];
    let mut capture = net.capture(&arguments)?;
    net.send(&made.capture)?;
    let arrived = || json_file(&stats).is_ok_and(|l| l["interfaces"][0]["delivered"] == frames);
    ensure(wait_for(arrived), "not all frames arrived")?;
    Run::of(net.inside("ip").args(["link", "del", "v1"])).expect(0)?;
    let said = capture.finish(2)?;
    ensure(said.contains("v1"), format!("no word of the interface: {said}"))?;
    let records = json_lines(&fs::read_to_string(&out)?)?;
    let sum: u64 = records
        .iter()
        .flat_map(|r| [&r["src_packets"], &r["dst_packets"]])
        .filter_map(Value::as_u64)
        .sum();
    let ledger = json_file(&stats)?;
    ensure(ledger["packets"]["in_flows"] == sum, format!("{sum} packets in records: {ledger}"))
}
