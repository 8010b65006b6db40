//! `--timestamps` on a live link: packets that wait in the rings while flowtap stands still have
//! the time at which they came, or the one at which it went on.

use std::fs;

use jiff::Timestamp;
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::jumbo::{frame, pcap};
use crate::live::{Net, receive_queues};
use crate::program::{Run, folder, is_root, json_file, json_lines, xtask};
use crate::{Outcome, ensure};

/// Packets, each a flow of its own; fewer than a batch has on two queues.
const PACKETS: u16 = 60;

pub(crate) fn trials() -> Vec<Trial> {
    if !is_root() {
        // `live` has said why.
        return Vec::new();
    }
    vec![Trial::test("live::time_stamps_are_those_of_packets_or_of_batches", time_stamps)]
}

fn time_stamps() -> Outcome {
    for (mode, timestamps, clock) in [
        ("native", "packet", "tai, kernel, per packet"),
        ("generic", "packet", "tai, kernel, per packet"),
        ("native", "batch", "realtime, batch"),
    ] {
        let what = format!("{mode}, {timestamps}");
        let (sent, starts, ledger) = captured(mode, timestamps)?;
        let interface = &ledger["interfaces"][0];
        ensure(interface["clock"] == clock, format!("{what}: {interface}"))?;
        ensure(interface["batch_timed"] == 0, format!("{what}: {interface}"))?;
        let text = format!("{what}: sent from {} to {}, came at {starts:?}", sent[0], sent[1]);
        if timestamps == "batch" {
            // After all had been sent; one time for each queue.
            let mut times = starts.clone();
            times.sort();
            times.dedup();
            ensure(starts.iter().all(|start| *start >= sent[1]) && times.len() <= 4, text)?;
            continue;
        }
        ensure(starts.iter().all(|start| (sent[0]..=sent[1]).contains(start)), &*text)?;
        // One millisecond apart, whichever queue they came by; a processor that is busy elsewhere
        // makes up for it later.
        let in_order = starts.windows(2).all(|pair| ns_between(pair[0], pair[1]) > -1_000_000);
        let span = ns_between(starts[0], starts[starts.len() - 1]);
        ensure(in_order && span > i128::from(PACKETS - 1) * 800_000, text)?;
    }
    Ok(())
}

fn ns_between(from: Timestamp, to: Timestamp) -> i128 {
    to.as_nanosecond() - from.as_nanosecond()
}

/// Sends packets a millisecond apart while the capture stands still. From when to when they were
/// sent, when the records in that order begin, and the ledger.
fn captured(
    mode: &str,
    timestamps: &str,
) -> Result<([Timestamp; 2], Vec<Timestamp>, Value), Failed> {
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let (sent_file, out, stats) = (file("a.pcap"), file("live.jsonl"), file("s.json"));
    let frames: Vec<_> = (1_000..1_000 + PACKETS).map(|port| frame(100, port)).collect();
    fs::write(&sent_file, pcap(&frames))?;
    let net = Net::up("flowtap-stamps")?;
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let capture = net.capture(
        &[
            ["-o", &out_text, "--stats", &stats_text, "--stats-interval", "50ms", "--strict"]
                .as_slice(),
            &["--xdp-mode", mode, "--timestamps", timestamps],
        ]
        .concat(),
    )?;
    capture.signal(Signal::SIGSTOP);
    let before = Timestamp::now();
    let mut send = xtask();
    send.arg("send").arg(&sent_file);
    send.args(["--to", "v0", "--netns", "flowtap-stamps-a", "--rate", "1000"]);
    Run::of(&mut send).expect(0)?;
    let sent = [before, Timestamp::now()];
    capture.signal(Signal::SIGCONT);
    if mode == "native" {
        let queues = receive_queues(&net, "v1")?;
        ensure(queues.iter().all(|&packets| packets > 0), format!("by queue: {queues:?}"))?;
    }
    capture.stop_after(PACKETS.into(), &stats)?;
    let mut records = json_lines(&fs::read_to_string(&out)?)?;
    ensure(records.len() == usize::from(PACKETS), format!("{} records", records.len()))?;
    records.sort_by_key(|record| record["src_port"].as_u64());
    let start = |record: &Value| record["start"].as_str().unwrap_or_default().parse();
    let starts: Result<Vec<Timestamp>, _> = records.iter().map(start).collect();
    Ok((sent, starts?, json_file(&stats)?))
}
