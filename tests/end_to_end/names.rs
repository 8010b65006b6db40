//! Names of flows, from packets in a file to records: a table in, a table out.

use std::fs;
use std::path::{Path, PathBuf};

use etherparse::PacketBuilder;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{flowtap, folder, generate_with, json_file, json_lines};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("names::a_flow_is_named_as_of_its_first_packet", attribution),
        Trial::test("names::any_number_of_workers_gives_the_same_names", workers_agree),
        Trial::test("names::nothing_is_learned_where_names_are_off", off),
        Trial::test("names::few_may_be_kept", few),
    ]
}

/// What happens in a capture.
enum Event {
    /// A client asks for a name.
    Asks(u8, u16, &'static str),
    /// The server answers: client, identifier, name, last byte of the address, seconds to live.
    Answers(u8, u16, &'static str, u8, u32),
    /// A datagram from a client's port to an address.
    Sends(u8, u16, u8),
    /// An HTTP request to an address.
    Requests(u8, u16, u8, &'static str),
}

use Event::{Answers, Asks, Requests, Sends};

/// Milliseconds and what happens then. Two clients, and one who never asks; one address that serves
/// three names; an answer that nobody asked for.
const CAPTURE: [(u64, Event); 24] = [
    // Before its answer.
    (0, Sends(1, 5_000, 9)),
    (1_000, Asks(1, 7, "A.example")),
    (1_010, Answers(1, 7, "A.example", 9, 60)),
    (2_000, Sends(1, 5_001, 9)),
    (3_000, Asks(2, 7, "b.example")),
    (3_010, Answers(2, 7, "b.example", 9, 60)),
    (3_010, Sends(2, 5_002, 9)),
    (5_000, Sends(3, 5_003, 9)),
    (6_000, Asks(2, 8, "own.example")),
    (6_010, Answers(2, 8, "own.example", 10, 60)),
    (7_000, Sends(3, 5_004, 10)),
    // Its life is over, and it still counts.
    (71_011, Sends(1, 5_005, 9)),
    (80_000, Asks(1, 9, "c.example")),
    (80_010, Answers(1, 9, "c.example", 9, 60)),
    (81_000, Sends(1, 5_006, 9)),
    // The flow of before goes on, and is still named as of then.
    (81_500, Sends(1, 5_005, 9)),
    // Not asked for; and an answer to another question.
    (82_000, Answers(1, 10, "forged.example", 9, 60)),
    (82_100, Asks(1, 11, "d.example")),
    (82_110, Answers(1, 11, "forged.example", 9, 60)),
    (83_000, Sends(1, 5_007, 9)),
    // What the flow says itself comes first.
    (84_000, Requests(1, 5_008, 9, "web.example")),
    (84_100, Requests(3, 5_009, 77, "other.example")),
    // A name server is an address without a name.
    (85_000, Asks(3, 12, "e.example")),
    // Long over.
    (900_000, Sends(1, 5_010, 9)),
];

/// Source port of a flow; name, source, age in milliseconds, doubt.
type Named = (u64, String);

const WANT: [(u64, &str); 11] = [
    (5_000, ""),
    (5_001, "a.example dns 990"),
    (5_002, "b.example dns 0"),
    (5_003, "b.example dns 1990 ambiguous"),
    (5_004, "own.example dns 990 other_client"),
    (5_005, "a.example dns 70001 stale"),
    (5_006, "c.example dns 990"),
    (5_007, "c.example dns 2990"),
    (5_008, "web.example http_host"),
    (5_009, "other.example http_host"),
    (5_010, ""),
];

pub(crate) fn client(last: u8) -> [u8; 4] {
    [192, 0, 2, last]
}

pub(crate) fn server(last: u8) -> [u8; 4] {
    [198, 51, 100, last]
}

/// A question for an address, or the answer with one, and how many seconds it is good for.
pub(crate) fn dns(id: u16, name: &str, answer: Option<([u8; 4], u32)>) -> Vec<u8> {
    let flags = if answer.is_some() { 0x8180_u16 } else { 0x0100 };
    let mut bytes = [id.to_be_bytes(), flags.to_be_bytes(), [0, 1]].concat();
    bytes.extend([0, u8::from(answer.is_some()), 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    if let Some((address, ttl)) = answer {
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address);
    }
    bytes
}

/// A datagram in a frame.
pub(crate) fn udp(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.0, to.0, 64);
    packet.udp(from.1, to.1).write(&mut frame, payload).expect("a vector takes anything");
    frame
}

fn frame(event: &Event) -> Vec<u8> {
    let resolver = (server(53), 53);
    match *event {
        Asks(who, id, name) => udp((client(who), 40_000), resolver, &dns(id, name, None)),
        Answers(who, id, name, address, ttl) => {
            let answer = Some((server(address), ttl));
            udp(resolver, (client(who), 40_000), &dns(id, name, answer))
        }
        Sends(who, port, to) => udp((client(who), port), (server(to), 4_433), b"some data"),
        Requests(who, port, to, host) => {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4(client(who), server(to), 64)
                .tcp(port, 80, 1_000, 1_024)
                .write(&mut frame, request.as_bytes())
                .expect("a vector takes anything");
            frame
        }
    }
}

/// Frames at milliseconds as a capture file.
pub(crate) fn write_pcap(path: &Path, frames: impl IntoIterator<Item = (u64, Vec<u8>)>) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (ms, frame) in frames {
        let seconds = u32::try_from(1_700_000_000 + ms / 1_000).expect("until 2106");
        let micros = u32::try_from(ms % 1_000 * 1_000).expect("below a second");
        let len = u32::try_from(frame.len()).expect("frames are short");
        for word in [seconds, micros, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("a file can be written");
}

/// The scenario as a capture file.
fn capture() -> (TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join("scenario.pcap");
    write_pcap(&path, CAPTURE.iter().map(|(ms, event)| (*ms, frame(event))));
    (folder, path)
}

fn named(record: &Value) -> Named {
    let port = record["src_port"].as_u64().unwrap_or(0);
    let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
    let age = record["name_age_ns"].as_u64().map(|ns| (ns / 1_000_000).to_string());
    let shown = [text("name"), text("name_source"), age.unwrap_or_default(), text("name_doubt")];
    (port, shown.join(" ").trim().to_owned())
}

/// The names of all flows but those to the resolver, by source port.
fn names(records: &[Value]) -> Vec<Named> {
    let mut names: Vec<_> =
        records.iter().map(named).filter(|(port, _)| (5_000..6_000).contains(port)).collect();
    names.sort();
    names
}

fn attribution() -> Outcome {
    let (_folder, capture) = capture();
    let want: Vec<_> = WANT.iter().map(|(port, name)| (*port, (*name).to_owned())).collect();
    for workers in ["1", "2", "4", "8"] {
        for dispatch in ["flow", "direction"] {
            let mut arguments = vec!["read", "-q", "-o", "-", "--workers", workers];
            arguments.extend(["--dispatch", dispatch]);
            let arguments = arguments.into_iter().map(PathBuf::from);
            let run = flowtap(arguments.chain([capture.clone()])).expect(0)?;
            let got = names(&json_lines(&run.stdout)?);
            ensure(got == want, format!("{workers} workers: {got:#?}"))?;
        }
    }
    Ok(())
}

/// Every record of a file, sorted.
fn records(file: &Path, more: &[&str]) -> Result<Vec<String>, Failed> {
    let arguments = ["read", "-q", "-o", "-"].iter().chain(more).map(PathBuf::from);
    Ok(flowtap(arguments.chain([file.to_owned()])).expect(0)?.sorted_lines())
}

fn workers_agree() -> Outcome {
    for mix in ["dns-heavy", "tls-mix"] {
        let made = generate_with(mix, 60_000, 2_000, 5, &["--duration", "60s"]);
        let one = records(&made.capture, &["--workers", "1"])?;
        let has_names = one.iter().any(|line| line.contains("\"name\""));
        ensure(has_names, format!("{mix}: no record has a name"))?;
        for workers in ["2", "4", "8"] {
            for dispatch in ["flow", "direction"] {
                let more = ["--workers", workers, "--dispatch", dispatch];
                let these = records(&made.capture, &more)?;
                ensure(these == one, format!("{mix}: {workers} workers differ, by {dispatch}"))?;
            }
        }
    }
    Ok(())
}

/// The ledger of a run over a file.
fn ledger(file: &Path, more: &[&str]) -> Result<Value, Failed> {
    let folder = folder();
    let stats = folder.path().join("stats.json");
    let records = folder.path().join("records.csv");
    let arguments = ["read", "-q", "--strict"].iter().chain(more).map(PathBuf::from);
    let outputs = ["-o".into(), records, "--stats".into(), stats.clone()];
    flowtap(arguments.chain(outputs).chain([file.to_owned()])).expect(0)?;
    json_file(&stats)
}

fn off() -> Outcome {
    let (_folder, capture) = capture();
    let lines = records(&capture, &["--names", "off"])?;
    ensure(lines.iter().all(|line| !line.contains("\"name")), format!("{lines:?}"))?;
    let off = ledger(&capture, &["--names", "off"])?;
    ensure(off.get("names").is_none(), format!("{off}"))?;
    let names = &ledger(&capture, &[])?["names"];
    ensure(names["payloads"] == names["read"] && names["read"] != 0, format!("{names}"))?;
    ensure(names["answered"] == 4 && names["unsolicited"] == 2, format!("{names}"))?;
    ensure(names["dropped"]["ring_full"] == 0 && names["late"] == 0, format!("{names}"))
}

/// With room for few, the others are evicted and counted, and nothing else changes.
fn few() -> Outcome {
    let made = generate_with("dns-heavy", 20_000, 4_000, 5, &["--duration", "60s"]);
    let ledger = ledger(&made.capture, &["--max-names", "10"])?;
    let names = &ledger["names"];
    ensure(names["answers"].as_u64().is_some_and(|n| n <= 10), format!("{names}"))?;
    ensure(names["evicted"].as_u64().is_some_and(|n| n > 0), format!("{names}"))
}
