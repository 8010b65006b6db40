//! Devices, from packets in a file to records, files of devices and what is kept between two runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use etherparse::PacketBuilder;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

use crate::messages::write_pcap;
use crate::program::{FLOWTAP, flowtap, folder, json_file, json_lines, wait_for};
use crate::{Outcome, captures, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("devices::ends_are_the_devices_of_the_packet_time", attribution),
        Trial::test("devices::what_a_bridge_passes_on_counts_and_is_counted", bridged),
        Trial::test("devices::they_are_kept_between_two_runs", kept),
        Trial::test("devices::two_runs_do_not_keep_them_in_one_folder", one_at_a_time),
        Trial::test("devices::hosts_that_only_speak_tcp_are_devices", by_flows),
        Trial::test("devices::public_addresses_that_are_used_on_the_link_are_local", on_link),
        Trial::test("devices::vendors_are_those_of_the_registries", vendors),
        Trial::test("devices::bad_files_and_flags_are_refused", refused),
    ];
    let with_truth = |file: &PathBuf| {
        let truth = captures::truth_of(file);
        json_file(&truth).is_ok_and(|truth| !said(&truth).is_empty())
    };
    for file in captures::files().into_iter().filter(with_truth) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        trials.push(Trial::test(format!("devices::truth::{name}"), move || truth(&file)));
    }
    trials
}

type Mac = [u8; 6];

const ROUTER: Mac = [0x00, 0x11, 0x22, 0, 0, 0xfe];

/// Of the host with this number: given by its maker if it is even, else a random one.
fn mac(host: u8) -> Mac {
    [if host.is_multiple_of(2) { 0x00 } else { 0x02 }, 0x11, 0x22, 0, 0, host]
}

fn shown(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn local(host: u8) -> [u8; 4] {
    [10, 0, 0, host]
}

/// A datagram between two ends (MAC address, address, port), which arrives with so much to live.
fn udp(from: (Mac, [u8; 4], u16), to: (Mac, [u8; 4], u16), ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(from.0, to.0).ipv4(from.1, to.1, ttl);
    packet.udp(from.2, to.2).write(&mut frame, payload).expect("a vector takes anything");
    frame
}

fn arp(host: u8, address: [u8; 4]) -> Vec<u8> {
    let mut frame =
        [&[0xff; 6][..], &mac(host), &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac(host)].concat();
    frame.extend([&address[..], &[0; 6], &local(254)].concat());
    frame
}

/// A DHCP message of or to a host: operation, kind, more options.
fn dhcp(host: u8, operation: u8, kind: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![operation, 1, 6, 0];
    message.resize(236, 0);
    if operation == 2 {
        message[16..20].copy_from_slice(&local(host));
    }
    message[28..34].copy_from_slice(&mac(host));
    message.extend([99, 130, 83, 99, 53, 1, kind]);
    message.extend(options);
    message.push(255);
    let (from, to) = if operation == 1 { ([0; 4], [255; 4]) } else { (local(254), [255; 4]) };
    let (from_mac, ports) = if operation == 1 { (mac(host), [68, 67]) } else { (ROUTER, [67, 68]) };
    udp((from_mac, from, ports[0]), ([0xff; 6], to, ports[1]), 64, &message)
}

/// A host says its name by multicast DNS, without having been asked.
fn mdns(host: u8, label: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    message.push(u8::try_from(label.len()).expect("labels are short"));
    message.extend(label);
    message.extend(b"\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04");
    message.extend(local(host));
    let group = ([1, 0, 0x5e, 0, 0, 0xfb], [224, 0, 0, 251], 5_353);
    udp((mac(host), local(host), 5_353), group, 255, &message)
}

/// Of what is sent from a port to the world, through the router, it is seen on this side of it, or
/// on the other one, where the frame is the router's.
fn flow(host: u8, port: u16, is_behind: bool) -> Vec<u8> {
    let (from, to, ttl) =
        if is_behind { (ROUTER, [0x00, 9, 9, 9, 9, 9], 63) } else { (mac(host), ROUTER, 64) };
    udp((from, local(host), port), (to, [192, 0, 2, 1], 9_999), ttl, b"data")
}

/// Milliseconds and frames; flows are told apart by their ports.
fn scenario() -> Vec<(u64, Vec<u8>)> {
    vec![
        // Nothing is known of who is behind the router.
        (0, flow(4, 5_000, true)),
        // What an even host's own frame shows.
        (10, flow(6, 5_001, false)),
        (1_000, arp(4, local(4))),
        (1_010, flow(4, 5_002, true)),
        (2_000, dhcp(3, 1, 3, b"\x0c\x03pc3\x37\x03\x01\x03\x06")),
        (2_010, dhcp(3, 2, 5, b"")),
        (2_020, flow(3, 5_003, true)),
        (2_030, flow(3, 5_004, false)),
        (3_000, mdns(4, b"Four")),
        (3_010, flow(4, 5_005, true)),
        // The first one goes on, and is still that of then, when somebody else had the address.
        (4_000, arp(8, local(4))),
        (4_010, flow(4, 5_006, true)),
        (4_020, flow(4, 5_002, true)),
        // The router has an address of its own, and the hosts behind it are not the router.
        (5_000, arp_of_router()),
        (5_010, flow(77, 5_007, true)),
    ]
}

fn arp_of_router() -> Vec<u8> {
    let mut frame = arp(0, local(254));
    frame[6..12].copy_from_slice(&ROUTER);
    frame[22..28].copy_from_slice(&ROUTER);
    frame
}

/// Source port; host, name and source of the initiator's device.
const WANT: [(u64, &str); 8] = [
    (5_000, ""),
    (5_001, "00:11:22:00:00:06 - frame"),
    // Its name was learned while it went on, but another's address was known before.
    (5_002, "00:11:22:00:00:04 four.local mdns"),
    (5_003, "02:11:22:00:00:03 pc3 dhcp"),
    (5_004, "02:11:22:00:00:03 pc3 dhcp"),
    (5_005, "00:11:22:00:00:04 four.local mdns"),
    (5_006, "00:11:22:00:00:08 - arp"),
    (5_007, ""),
];

fn file_of(frames: &[(u64, Vec<u8>)]) -> (TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("scenario.pcap");
    write_pcap(&path, frames.iter().cloned());
    (folder, path)
}

/// A capture in which ends of flows are devices.
pub(crate) fn capture() -> (TempDir, PathBuf) {
    file_of(&scenario())
}

/// The devices of the initiators of all flows to the world, by source port.
fn devices(records: &[Value]) -> Vec<(u64, String)> {
    let mut devices = Vec::new();
    for record in records.iter().filter(|record| record["dst_port"] == 9_999) {
        let device = &record["src_device"];
        let part = |name: &str| device[name].as_str().unwrap_or("-");
        let shown = match device {
            Value::Null => String::new(),
            _ => ["mac", "hostname", "source"].map(part).join(" "),
        };
        devices.push((record["src_port"].as_u64().unwrap_or(0), shown));
    }
    devices.sort();
    devices
}

/// Runs `read` over a file, and gives the devices of its flows.
fn read(file: &Path, more: &[&str]) -> Result<Vec<(u64, String)>, Failed> {
    let arguments = ["read", "-q", "-o", "-"].iter().chain(more).map(PathBuf::from);
    let run = flowtap(arguments.chain([file.to_owned()])).expect(0)?;
    Ok(devices(&json_lines(&run.stdout)?))
}

/// The devices of a capture: the same for any number of workers, as are those of its flows.
fn same_devices(
    folder: &TempDir,
    capture: &Path,
    want: &[(u64, String)],
) -> Result<Vec<Value>, Failed> {
    let kept = folder.path().join("devices.jsonl").display().to_string();
    let mut first = None;
    for workers in ["1", "2", "4"] {
        for dispatch in ["flow", "direction"] {
            let more = ["--workers", workers, "--dispatch", dispatch, "--devices", &kept];
            let got = read(capture, &more)?;
            ensure(got == want, format!("{workers} workers by {dispatch}: {got:#?}"))?;
            let written = fs::read_to_string(&kept)?;
            ensure(*first.get_or_insert(written.clone()) == written, "devices differ")?;
        }
    }
    json_lines(&first.unwrap_or_default())
}

fn attribution() -> Outcome {
    let (folder, capture) = file_of(&scenario());
    let want: Vec<_> = WANT.iter().map(|(port, device)| (*port, (*device).to_owned())).collect();
    let devices = same_devices(&folder, &capture, &want)?;
    let of = |mac| devices.iter().find(|device| device["mac"] == shown(mac));
    let pc = of(mac(3)).ok_or("the DHCP client is missing")?;
    ensure(pc["random_mac"] == true && pc["hostname"] == "pc3", format!("{pc}"))?;
    ensure(pc["dhcp_fingerprint"] == "1,3,6", format!("{pc}"))?;
    let address = &pc["addresses"][0];
    let is_so = address["address"] == "10.0.0.3" && address["source"] == "dhcp";
    ensure(is_so && address["first_seen"] == "2023-11-14T22:13:22.010000000Z", format!("{pc}"))?;
    let router = of(ROUTER).ok_or("the router is missing")?;
    let addresses = router["addresses"].as_array().map(Vec::len);
    ensure(addresses == Some(1), format!("of others it has none: {router}"))
}

/// As a bridge of a wireless network does, in whose frames its stations ask.
fn bridged() -> Outcome {
    let mut asks = arp(4, local(4));
    asks[6..12].copy_from_slice(&mac(2));
    let frames = [(0, asks), (10, flow(4, 5_000, true)), (20, arp(6, local(6)))];
    let (folder, capture) = file_of(&frames);
    let stats = folder.path().join("stats.json");
    let got = read(&capture, &["--stats", &stats.display().to_string()])?;
    ensure(got == [(5_000, "00:11:22:00:00:04 - arp".to_owned())], format!("{got:?}"))?;
    let names = &json_file(&stats)?["names"];
    ensure(names["arp_relayed"] == 1, format!("{names}"))
}

fn kept() -> Outcome {
    let (_one, before) = file_of(&scenario());
    let later = [(900_000, flow(3, 5_010, true)), (900_010, flow(4, 5_011, true))];
    let (folder, after) = file_of(&later);
    let nothing = [(5_010, String::new()), (5_011, String::new())];
    ensure(read(&after, &[])? == nothing, "it cannot know")?;
    let state = folder.path().join("state").display().to_string();
    read(&before, &["--state", &state])?;
    let want = ["02:11:22:00:00:03 pc3 dhcp", "00:11:22:00:00:08 - arp"];
    let want = [(5_010, want[0].to_owned()), (5_011, want[1].to_owned())];
    let got = read(&after, &["--state", &state])?;
    ensure(got == want, format!("{got:?}"))?;
    let shown = flowtap(["devices", "--state", &state]).expect(0)?.stdout;
    let has = |text: &str| ensure(shown.contains(text), format!("no {text}:\n{shown}"));
    has("02:11:22:00:00:03  (random address)          pc3 ")?;
    has("2023-11-14 22:13:22  2023-11-14 22:13:22  10.0.0.3")?;
    // Nothing was seen of them between flows: they are all still there, with the one that only
    // sent something to the world.
    ensure(shown.lines().count() == 6, shown.clone())
}

/// What one run has learned is not overwritten by another that does not know it.
fn one_at_a_time() -> Outcome {
    let (folder, capture) = file_of(&scenario());
    let state = folder.path().join("state").display().to_string();
    let records = folder.path().join("first.jsonl");
    let mut first = Command::new(FLOWTAP)
        .args(["read", "-q", "--state", &state, "-", "-o"])
        .arg(&records)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = first.stdin.take().ok_or("it was piped")?;
    input.write_all(&fs::read(&capture)?)?;
    // Its records are opened when it has the folder.
    let has_begun = wait_for(|| records.with_extension("jsonl.part").exists());
    let arguments = ["read", "-q", "-o", "-", "--state", &state].map(PathBuf::from);
    let refused = flowtap(arguments.into_iter().chain([capture.clone()]));
    drop(input);
    let is_done = first.wait()?.success();
    let said = refused.expect(2)?.stderr;
    let is_told = said.contains("another flowtap keeps its devices there; stop that one, or give");
    ensure(has_begun && is_done && is_told && said.contains(&state), said)?;
    let kept = json_lines(&fs::read_to_string(Path::new(&state).join("devices.jsonl"))?)?;
    ensure(kept.len() == 5, format!("{kept:#?}"))?;
    // It is free then, and one that is refused for another cause leaves nothing behind.
    read(&capture, &["--state", &state])?;
    let other = folder.path().join("other").display().to_string();
    let capture = capture.display().to_string();
    flowtap(["read", "-q", "--state", &other, "--oui", "/no-such", &capture]).expect(2)?;
    ensure(!Path::new(&other).exists(), "a folder is left")
}

/// A segment between two local hosts, or of one behind the router; with so much to live.
fn segment(from: (Mac, u8), to: (Mac, u8), ports: [u16; 2], flags: u8, ttl: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(from.0, to.0).ipv4(local(from.1), local(to.1), ttl);
    let mut packet = packet.tcp(ports[0], ports[1], 1_000, 1_024);
    if flags & 2 != 0 {
        packet = packet.syn();
    }
    if flags & 16 != 0 {
        packet = packet.ack(1);
    }
    packet.write(&mut frame, b"").expect("a vector takes anything");
    frame
}

/// Hosts of which nothing is read: each is known by its frames, from the first packet of a flow to
/// its last, and one behind a router is not. The records of others are what they are without.
fn by_flows() -> Outcome {
    let (one, other) = ((mac(4), 4), (mac(6), 6));
    let behind = (ROUTER, 9);
    let frames = [
        (0, segment(one, other, [5_000, 80], 2, 64)),
        (10, segment(other, one, [80, 5_000], 18, 128)),
        (20, segment(one, other, [5_000, 80], 16, 64)),
        (3_000, segment(one, other, [5_001, 80], 2, 64)),
        // The same host, as a router passes it on; and another one that was never seen here.
        (4_000, segment((ROUTER, 4), other, [5_002, 80], 2, 63)),
        (5_000, segment(behind, other, [5_003, 80], 2, 63)),
    ];
    let (folder, capture) = file_of(&frames);
    let kept = folder.path().join("devices.jsonl");
    let mut first = None;
    for workers in ["1", "2", "4"] {
        for dispatch in ["flow", "direction"] {
            let kept = kept.display().to_string();
            let arguments = ["read", "-q", "-o", "-", "--workers", workers, "--dispatch", dispatch];
            let arguments = [&arguments[..], &["--devices", &kept]].concat();
            let arguments = arguments.iter().map(PathBuf::from);
            let run = flowtap(arguments.chain([capture.clone()])).expect(0)?;
            for record in json_lines(&run.stdout)? {
                let mac = record["src_device"]["mac"].as_str();
                let is_own = [5_000, 5_001].contains(&record["src_port"].as_u64().unwrap_or(0));
                let want = is_own.then(|| shown(one.0));
                ensure(mac == want.as_deref(), format!("{record}"))?;
            }
            let written = fs::read_to_string(&kept)?;
            ensure(*first.get_or_insert(written.clone()) == written, "devices differ")?;
        }
    }
    let devices = json_lines(&first.unwrap_or_default())?;
    ensure(devices.len() == 2, format!("{devices:#?}"))?;
    let time = |ms: u32| format!("2023-11-14T22:13:2{}.{:03}000000Z", ms / 1_000, ms % 1_000);
    for (device, (host, first_seen, last_seen)) in devices.iter().zip([(4, 0, 3_000), (6, 0, 20)]) {
        let address = &device["addresses"][0];
        let is_so = device["mac"] == shown(mac(host))
            && address["address"] == format!("10.0.0.{host}")
            && address["source"] == "frame"
            && [device, address].iter().all(|it| {
                it["first_seen"] == time(first_seen) && it["last_seen"] == time(last_seen)
            });
        ensure(is_so && device["addresses"][1].is_null(), format!("{device}"))?;
    }
    Ok(())
}

/// A host of a network with addresses of all the world, which nobody has named: it is a device from
/// when it speaks to all of its link.
fn on_link() -> Outcome {
    let address = |last| {
        let mut address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        address[15] = last;
        address
    };
    let flow = |port, hops| {
        let mut frame = Vec::new();
        let packet = PacketBuilder::ethernet2(mac(4), ROUTER).ipv6(address(4), address(99), hops);
        packet.udp(port, 9_999).write(&mut frame, b"data").expect("a vector takes anything");
        frame
    };
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb];
    let mut speaks = Vec::new();
    let packet = PacketBuilder::ethernet2(mac(4), [0x33, 0x33, 0, 0, 0, 0xfb]);
    let packet = packet.ipv6(address(4), group, 255).udp(5_353, 5_353);
    packet.write(&mut speaks, &[0; 12]).expect("a vector takes anything");
    // Before it is known, from its own port and behind a router, and on one that goes on.
    let frames = [
        (0, flow(5_000, 64)),
        (10, flow(5_001, 64)),
        (1_000, speaks),
        (1_010, flow(5_001, 64)),
        (2_000, flow(5_002, 64)),
        (2_010, flow(5_003, 63)),
    ];
    let (folder, capture) = file_of(&frames);
    let shown = |source| format!("{} - {source}", shown(mac(4)));
    let want = [
        (5_000, String::new()),
        (5_001, shown("frame")),
        (5_002, shown("frame")),
        (5_003, shown("multicast")),
    ];
    let devices = same_devices(&folder, &capture, &want)?;
    let is_one = devices.len() == 1 && devices[0]["addresses"][0]["source"] == "multicast";
    ensure(is_one, format!("{devices:#?}"))
}

fn vendors() -> Outcome {
    let (folder, capture) = file_of(&[(0, flow(6, 5_000, false)), (0, flow(3, 5_001, false))]);
    let header = "Registry,Assignment,Organization Name,Organization Address\n";
    fs::write(folder.path().join("oui.csv"), format!("{header}MA-L,001122,\"Acme, Inc.\",\n"))?;
    let registry = folder.path().display().to_string();
    let arguments = ["read", "-q", "-o", "-", "--oui", &registry].map(PathBuf::from);
    let run = flowtap(arguments.into_iter().chain([capture])).expect(0)?;
    for record in json_lines(&run.stdout)? {
        let want = if record["src_port"] == 5_000 { "Acme, Inc.".into() } else { Value::Null };
        ensure(record["src_device"]["vendor"] == want, format!("{record}"))?;
    }
    Ok(())
}

fn refused() -> Outcome {
    let (folder, capture) = file_of(&[(0, flow(6, 5_000, false))]);
    let (capture, here) = (capture.display().to_string(), folder.path().display().to_string());
    let refuse = |arguments: &[&str], want: &str| {
        let run = flowtap(arguments).expect(2)?;
        let is_one_line = run.stderr.trim_end().lines().count() == 1;
        ensure(is_one_line && run.stderr.contains(want), format!("{arguments:?}: {}", run.stderr))
    };
    let read = |more: &[&str], want: &str| {
        refuse(&[&["read", "-q", "-o", "-", &capture], more].concat(), want)
    };
    fs::write(folder.path().join("devices.jsonl"), "{\"kind\":\"flow\"}\n")?;
    read(&["--state", &here], "devices.jsonl: line 1: missing field `mac`; name a file that")?;
    refuse(&["devices", "--state", &here], "line 1: missing field `mac`")?;
    refuse(&["devices", "no-such-file"], "no such file")?;
    refuse(&["devices"], "flowtap devices --help")?;
    read(&["--state", "/no-such/folder"], "make /no-such/folder: no such file")?;
    read(&["--devices", &here], "it is a directory; give --devices the name of a file")?;
    read(&["--devices", "d.jsonl", "--names", "off"], "devices are learned with names")?;
    read(&["--local", "10.0.0.0/99"], "is no prefix")?;
    read(&["--oui", "/no-such"], "no vendor is in it")?;
    let twice = ["--devices", "same.json", "--stats", "same.json"];
    read(&twice, "given twice")
}

/// MAC addresses with host names that clients gave DHCP servers, or neighbours by LLDP, as tshark
/// has read them. What a server says of a client, or of itself, is none of a client's words; and a
/// group's address, as fuzzed captures have, is no device.
fn said(truth: &Value) -> Vec<(String, String)> {
    const CLIENTS_WORDS: [&str; 5] = ["1", "3", "4", "7", "8"];
    let rows = |kind: &str| truth["names"][kind].as_array().cloned().unwrap_or_default();
    let text = |row: &Value, field: &str| row[field][0].as_str().unwrap_or_default().to_owned();
    let of_clients = |row: &Value| CLIENTS_WORDS.contains(&&*text(row, "msg"));
    let dhcp = rows("dhcp").into_iter().filter(of_clients);
    let mut said: Vec<_> = dhcp.map(|row| (text(&row, "mac"), text(&row, "hostname"))).collect();
    said.extend(rows("lldp").iter().map(|row| (text(row, "mac"), text(row, "name"))));
    let is_group = |mac: &str| {
        mac.get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .is_none_or(|b| b & 1 != 0)
    };
    said.retain(|(mac, name)| !is_group(mac) && !name.is_empty());
    said
}

/// Each host is known by each name that it gave.
fn truth(file: &Path) -> Outcome {
    let folder = folder();
    let kept = folder.path().join("devices.jsonl");
    let null = folder.path().join("records.csv");
    let arguments = ["read", "-q", "-o"].map(PathBuf::from).into_iter();
    let arguments = arguments.chain([null, "--devices".into(), kept.clone(), file.to_owned()]);
    flowtap(arguments).expect(0)?;
    let devices = json_lines(&fs::read_to_string(kept)?)?;
    for (mac, name) in said(&json_file(&captures::truth_of(file))?) {
        let device = devices.iter().find(|device| device["mac"] == *mac);
        let names = device.and_then(|device| device["names"].as_array());
        let is_known = names.is_some_and(|names| names.iter().any(|one| one["name"] == *name));
        ensure(is_known, format!("{mac} is called {name}, and not only {names:?}"))?;
    }
    Ok(())
}
