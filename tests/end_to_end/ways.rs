//! A link's packets by each way that they come, in number, in overload, and however threads wait.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};

use crate::live::{Net, check_ledger, check_records, check_records_but};
use crate::messages::write_pcap;
use crate::names::flood;
use crate::observe::overload;
use crate::program::{Run, folder, generate, generate_with, json_file};
use crate::{Outcome, ensure};

const LINK: &str = "flowtap-ways";

/// Packets a second: far more than other tests send, and far less than there may be.
const RATE: &str = "60000";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("live::a_million_packets_lose_none", a_million),
        Trial::test("live::what_a_tap_has_no_room_for_is_counted", overload_is_exact),
        Trial::test("live::a_flood_of_name_services_costs_names_only", name_flood),
        Trial::test("live::a_tap_counts_frames_above_the_mtu", above_mtu),
        Trial::test("live::however_threads_wait_they_see_every_packet", waits),
        Trial::test("live::threads_run_where_they_are_told_to", processors),
        Trial::test("live::threads_that_receive_go_first", priorities),
    ]
}

/// Short frames, of IPv6 and with VLAN tags among them: the records are those of reading what was
/// sent.
fn a_million() -> Outcome {
    let ways: [(u64, &str, &[&str]); 4] = [
        (1_000_000, "tap", &["--ring-frames", "16384"]),
        (200_000, "tap", &["--xdp-mode", "generic", "--ring-frames", "16384"]),
        (200_000, "observe", &[]),
        (200_000, "observe", &["--observe-by", "xdp"]),
    ];
    for (packets, mode, flags) in ways {
        let more = ["--duration", "15s", "--ipv6-percent", "30", "--vlan-percent", "20"];
        let made = generate_with("small64", packets, packets / 50, 21, &more);
        let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
        ensure(frames >= packets, format!("{frames} frames"))?;
        let file = |name: &str| made.folder.path().join(name);
        let (out, stats) = (file("live.jsonl"), file("s.json"));
        let texts = [&out, &stats].map(|path| path.display().to_string());
        let arguments =
            ["-o", &texts[0], "--stats", &texts[1], "--stats-interval", "50ms", "--strict"];
        let net = Net::up(LINK)?;
        let (capture, _) = net.capture_by(mode, &[&arguments[..], flags].concat())?;
        net.send_at(&made.capture, RATE)?;
        let what = |failed: Failed| format!("{mode} {flags:?}: {failed:?}");
        capture.stop_after(frames, &stats).map_err(what)?;
        check_ledger(&stats, frames).map_err(what)?;
        check_records(&made.capture, &out).map_err(what)?;
    }
    Ok(())
}

/// Datagrams that the peer leaves to its card to cut: generic XDP gets each as one frame.
fn above_mtu() -> Outcome {
    const SEND: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
for _ in range(20): s.sendto(bytes(3000), ('10.9.0.2', 7000))
for _ in range(5): s.sendto(bytes(900), ('10.9.0.2', 7000))
";
    let made = folder();
    let stats = made.path().join("s.json");
    let net = Net::up(LINK)?;
    let cut = ["-K", "v0", "tx", "on", "tx-udp-segmentation", "on"];
    Run::of(net.outside("ethtool").args(cut)).expect(0)?;
    let address = ["address", "add", "10.9.0.1/24", "dev", "v0"];
    Run::of(net.outside("ip").args(address)).expect(0)?;
    let stats_text = stats.display().to_string();
    let flags = ["--xdp-mode", "generic", "-o", "-", "--stats", &stats_text];
    let (capture, _) = net.capture_by("tap", &flags)?;
    Run::of(net.outside("python3").args(["-c", SEND])).expect(0)?;
    capture.stop(0)?;
    let ledger = json_file(&stats)?;
    let interface = &ledger["interfaces"][0];
    ensure(interface["frames_above_mtu"] == 20, format!("want 20: {interface}"))
}

/// While the program is stopped its sockets' rings run full.
fn overload_is_exact() -> Outcome {
    for mode in ["native", "generic"] {
        let interface = overload(LINK, "tap", &["--xdp-mode", mode])?;
        let lost = |cause: &str| interface["dropped"][cause].as_u64().unwrap_or(0);
        let by_socket = lost("rx_ring_full") + lost("fill_ring_empty");
        ensure(by_socket > 0, format!("{mode}: {interface}"))?;
    }
    Ok(())
}

/// Records are those of reading what was sent, but for names; and each payload was read, or is
/// counted as one for which there was no room.
fn name_flood() -> Outcome {
    const NAMED: [&str; 6] =
        ["app", "app_source", "name", "name_source", "name_age_ns", "name_doubt"];
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let (sent, out, stats) = (file("sent.pcap"), file("live.jsonl"), file("s.json"));
    let made = flood::frames(120_000);
    let frames = made.len() as u64;
    write_pcap(&sent, made);
    let offered = flood::payloads(&sent)?;
    let texts = [&out, &stats].map(|path| path.display().to_string());
    let arguments = ["-o", &texts[0], "--stats", &texts[1], "--stats-interval", "50ms", "--strict"];
    let net = Net::up(LINK)?;
    let capture = net.capture(&[&arguments[..], &["--max-names", "1000"]].concat())?;
    net.send_at(&sent, "200000")?;
    capture.stop_after(frames, &stats)?;
    check_ledger(&stats, frames)?;
    check_records_but(&sent, &out, &NAMED)?;
    let names = &json_file(&stats)?["names"];
    let count = |count: &serde_json::Value| count.as_u64().unwrap_or(0);
    let all = count(&names["payloads"]) + count(&names["dropped"]["ring_full"]);
    ensure(all == offered && offered > 100_000, format!("{offered} were offered: {names}"))
}

/// What is captured with these flags, held against what was sent; `look` is at the process.
fn captured(flags: &[&str], look: impl FnOnce(u32) -> Outcome) -> Outcome {
    let made = generate(5_000, 300, 22);
    let frames = json_file(&made.truth)?["frames"].as_u64().unwrap_or(0);
    let file = |name: &str| made.folder.path().join(name);
    let (out, stats) = (file("live.jsonl"), file("s.json"));
    let texts = [&out, &stats].map(|path| path.display().to_string());
    let arguments = ["-o", &texts[0], "--stats", &texts[1], "--stats-interval", "50ms", "--strict"];
    let net = Net::up(LINK)?;
    let capture = net.capture(&[&arguments[..], flags].concat())?;
    look(capture.child.id())?;
    net.send(&made.capture)?;
    let what = |failed: Failed| format!("{flags:?}: {failed:?}");
    capture.stop_after(frames, &stats).map_err(what)?;
    check_ledger(&stats, frames).map_err(what)?;
    Ok(check_records(&made.capture, &out).map_err(what)?)
}

fn waits() -> Outcome {
    for flags in [
        &["--wait", "spin"][..],
        &["--wait", "adaptive"],
        &["--wait", "poll"],
        &["--busy-poll", "50"],
        &["--ring-frames", "65536"],
    ] {
        captured(flags, |_| Ok(()))?;
    }
    Ok(())
}

/// Each thread that receives has the next processor of the list.
fn processors() -> Outcome {
    for (list, want) in [("0", ["0", "0"]), ("1,0", ["1", "0"]), ("0-1", ["0", "1"])] {
        captured(&["--cpus", list], |pid| {
            let want: BTreeMap<_, _> = ["rx-0", "rx-1"]
                .map(str::to_owned)
                .into_iter()
                .zip(want.map(str::to_owned))
                .collect();
            // They may be about to begin.
            let mut found = BTreeMap::new();
            let are_there = crate::program::wait_for(|| {
                found = receiving_on(pid).unwrap_or_default();
                found == want
            });
            ensure(are_there, format!("--cpus {list}: {found:?}"))
        })?;
    }
    Ok(())
}

/// The processors that the threads which receive may run on.
pub(crate) fn receiving_on(pid: u32) -> Result<BTreeMap<String, String>, Failed> {
    let mut found = BTreeMap::new();
    for folder in threads(pid)? {
        let status = fs::read_to_string(folder.join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let name = field("Name");
        if name.starts_with("rx-") {
            found.insert(name, field("Cpus_allowed_list"));
        }
    }
    Ok(found)
}

/// Those that receive have the priority that the program was started with, and all others a lower
/// one.
fn priorities() -> Outcome {
    captured(&[], |pid| {
        let found = || -> Result<BTreeMap<String, i32>, Failed> {
            let of = |folder: &PathBuf| {
                // `pid (name) state`, and 16 fields more before it.
                let stat = fs::read_to_string(folder.join("stat"))?;
                let (head, rest) = stat.rsplit_once(')').ok_or("no name")?;
                let name = head.split_once('(').map_or("", |(_, name)| name);
                Ok((name.to_owned(), rest.split_whitespace().nth(16).ok_or("no nice")?.parse()?))
            };
            threads(pid)?.iter().map(of).collect()
        };
        let are_right = |found: &BTreeMap<String, i32>| {
            let are_there =
                ["rx-0", "rx-1", "merge-0", "names"].map(|name| found.get(name).copied());
            are_there == [Some(-15), Some(-15), Some(-5), Some(-5)]
                && found.iter().all(|(name, nice)| *nice == -5 || name.starts_with("rx-"))
        };
        let is_so = crate::program::wait_for(|| found().is_ok_and(|found| are_right(&found)));
        ensure(is_so, format!("{:?}", found()))
    })
}

/// What the system says of each thread.
fn threads(pid: u32) -> Result<Vec<PathBuf>, Failed> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(threads.flatten().map(|thread| thread.path()).collect())
}
