//! Jumbo frames on a live link: they take several buffers, and count by their whole length.

use std::fs;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::live::{Net, check_ledger, timeless};
use crate::program::{Run, flowtap, folder, is_root, json_file, json_lines, wait_for};
use crate::{Outcome, ensure};

/// An IP packet's largest length on the link.
const MTU: u16 = 9_000;

/// Lengths of IP packets: around those of one buffer, two and three, and in between.
fn lengths() -> Vec<u16> {
    let buffer = 4_096 - 256;
    let around = [1, 2, 3].map(|n| n * buffer - 14).map(|edge| edge - 3..=edge + 3);
    let edges = around.into_iter().flatten().filter(|&len| len <= MTU);
    (46..=MTU).step_by(97).chain(edges).chain([MTU]).collect()
}

pub(crate) fn trials() -> Vec<Trial> {
    if !is_root() {
        // `live` has said why.
        return Vec::new();
    }
    vec![
        Trial::test("live::jumbo_frames_count_by_their_whole_length", jumbo_frames),
        Trial::test("live::jumbo_frames_without_room_are_lost_by_the_book", jumbo_overload),
    ]
}

/// An IPv4 packet in a frame: UDP, from a port of its own.
pub(crate) fn frame(len: u16, port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let mut packet = vec![0x5a; usize::from(len)];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[4..12].copy_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    packet[22..24].copy_from_slice(&9_u16.to_be_bytes());
    packet[24..26].copy_from_slice(&(len - 20).to_be_bytes());
    frame.extend(packet);
    frame
}

/// A capture of the frames, a millisecond apart (pcap, microseconds).
pub(crate) fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let words = |file: &mut Vec<u8>, words: &[u32]| {
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    words(&mut file, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for (frame, second) in frames.iter().zip(0_u32..) {
        let len = u32::try_from(frame.len()).expect("frames are short");
        words(&mut file, &[1_700_000_000 + second / 1_000, second % 1_000 * 1_000, len, len]);
        file.extend(frame);
    }
    file
}

/// A link that takes jumbo frames.
fn link() -> Result<Net, Failed> {
    let net = Net::up("flowtap-jumbo")?;
    let mtu = MTU.to_string();
    for (mut ip, interface) in [(net.outside("ip"), "v0"), (net.inside("ip"), "v1")] {
        Run::of(ip.args(["link", "set", interface, "mtu", &mtu])).expect(0)?;
    }
    Ok(net)
}

fn jumbo_frames() -> Outcome {
    let lengths = lengths();
    let frames: Vec<_> = (0..3)
        .flat_map(|_| lengths.iter().zip(1_000..).map(|(&len, port)| frame(len, port)))
        .collect();
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let (capture_file, out, stats) = (file("a.pcap"), file("live.jsonl"), file("s.json"));
    fs::write(&capture_file, pcap(&frames))?;

    let net = link()?;
    let (out_text, stats_text) = (out.display().to_string(), stats.display().to_string());
    let arguments =
        ["-o", &out_text, "--stats", &stats_text, "--stats-interval", "50ms", "--strict"];
    let capture = net.capture(&arguments)?;
    net.send(&capture_file)?;
    let count = frames.len() as u64;
    let said = capture.stop_after(count, &stats)?;
    ensure(said.contains("everything adds up"), said)?;
    check_ledger(&stats, count)?;

    let read = flowtap(["read", "-q", "-o", "-", &capture_file.display().to_string()]);
    let want = json_lines(&read.expect(0)?.stdout)?;
    ensure(want.len() == lengths.len(), format!("{} records", want.len()))?;
    let live = json_lines(&fs::read_to_string(&out)?)?;
    for record in &live {
        let port = record["src_port"].as_u64().unwrap_or(0);
        let len = lengths.get(usize::try_from(port - 1_000)?).copied().unwrap_or(0);
        let bytes = record["src_frame_bytes"].as_u64().unwrap_or(0);
        ensure(bytes == 3 * (u64::from(len) + 14), format!("{len}: {record}"))?;
    }
    ensure(timeless(&live) == timeless(&want), "live and read differ")
}

/// A capture that stands still loses what its buffers do not hold, and knows how much.
fn jumbo_overload() -> Outcome {
    // Three buffers each, where two queues have 4,096.
    let frames: Vec<_> = (1_000..5_000).map(|port| frame(MTU, port)).collect();
    let count = frames.len() as u64;
    let folder = folder();
    let (capture_file, stats) = (folder.path().join("a.pcap"), folder.path().join("s.json"));
    fs::write(&capture_file, pcap(&frames))?;
    let net = link()?;
    let (stats_text, nowhere) = (stats.display().to_string(), folder.path().join("live.csv"));
    let nowhere = nowhere.display().to_string();
    let arguments =
        ["-o", &nowhere, "--stats", &stats_text, "--stats-interval", "50ms", "--strict"];
    let capture = net.capture(&arguments)?;
    capture.signal(Signal::SIGSTOP);
    net.send(&capture_file)?;
    capture.signal(Signal::SIGCONT);
    let seen = || json_file(&stats).is_ok_and(|ledger| ledger["interfaces"][0]["seen"] == count);
    ensure(wait_for(seen), "not all frames were seen")?;
    // Lost frames are what --strict is about.
    let said = capture.stop(1)?;
    let ledger = json_file(&stats)?;
    let interface = &ledger["interfaces"][0];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let dropped = &interface["dropped"];
    let lost = number(&dropped["fill_ring_empty"]) + number(&dropped["rx_ring_full"]);
    ensure(lost > 0, format!("nothing lost: {said}"))?;
    ensure(number(&interface["delivered"]) + lost == count, format!("{interface}"))?;
    ensure(ledger["residuals"]["interface"] == 0, format!("residual: {ledger}"))
}
