//! Names of flows, from packets in a file to records: a table in, a table out.

mod apps;
pub(crate) mod flood;
mod fragments;

use std::path::{Path, PathBuf};

use etherparse::PacketBuilder;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

use crate::messages::{client, dns, server, udp, write_pcap};
use crate::program::{flowtap, folder, generate_with, json_file, json_lines};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("names::a_flow_is_named_as_of_its_first_packet", attribution),
        Trial::test("names::any_number_of_workers_gives_the_same_names", workers_agree),
        Trial::test("names::recordings_of_the_same_hours_are_told_apart", same_hours),
        Trial::test("names::a_flow_that_goes_on_keeps_its_name", long_flow),
        Trial::test("names::an_address_with_many_names_has_the_one_of_the_time", many_names),
        Trial::test("names::a_flood_costs_names_and_nothing_else", flood::flood),
        Trial::test("names::answers_in_fragments_are_joined", fragments::joined),
        Trial::test("names::a_flood_of_fragments_hides_no_answer", fragments::flood),
        Trial::test("names::nothing_is_learned_where_names_are_off", off),
        Trial::test("names::few_may_be_kept", few),
        Trial::test("names::applications_are_known_by_payload_or_port", apps::by_payload_or_port),
        Trial::test("names::each_flow_of_many_shows_what_it_speaks", apps::many),
        Trial::test("names::what_is_spoken_for_days_is_known_of_each_flow", apps::for_days),
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
    // What the flow says itself comes first, written as all names are.
    (84_000, Requests(1, 5_008, 9, "Web.Example.:8080")),
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

/// Two recordings of the same hours, which name the same addresses otherwise: each flow is named by
/// what was read before it, in whatever order threads run.
fn same_hours() -> Outcome {
    let (folder, first) = capture();
    let second = folder.path().join("second.pcap");
    let other = |event: &Event| match *event {
        Asks(who, id, _) => Asks(who, id, "other.example"),
        Answers(who, id, _, address, ttl) => Answers(who, id, "other.example", address, ttl),
        Sends(who, port, to) => Sends(who, port + 500, to),
        Requests(who, port, to, _) => Requests(who, port, to, "second.example"),
    };
    write_pcap(&second, CAPTURE.iter().map(|(ms, event)| (*ms, frame(&other(event)))));
    let want: Vec<_> = WANT.iter().map(|(port, name)| (*port, (*name).to_owned())).collect();
    let mut one = None;
    for workers in ["1", "2", "4", "16"] {
        for dispatch in ["flow", "direction"] {
            let mut arguments = vec!["read", "-q", "-o", "-", "--workers", workers];
            arguments.extend(["--dispatch", dispatch, "--idle-timeout", "2s"]);
            let arguments = arguments.into_iter().map(PathBuf::from);
            let run = flowtap(arguments.chain([first.clone(), second.clone()])).expect(0)?;
            let records = json_lines(&run.stdout)?;
            let (of_first, of_second): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|record| record["interface"] == "scenario.pcap");
            let of_first = distinct(names(&of_first));
            ensure(of_first == want, format!("{workers} workers: {of_first:#?}"))?;
            let hosts: Vec<_> =
                names(&of_second).into_iter().filter(|(port, _)| *port < 5_500).collect();
            let named = |port| (port, "second.example http_host".to_owned());
            ensure(hosts == [5_008, 5_009].map(named), format!("{hosts:?}"))?;
            let lines = run.sorted_lines();
            let first = one.get_or_insert_with(|| lines.clone());
            ensure(*first == lines, format!("{workers} workers differ, by {dispatch}"))?;
        }
    }
    Ok(())
}

/// Flows that were cut in two are there twice.
fn distinct(mut names: Vec<Named>) -> Vec<Named> {
    names.dedup_by_key(|(port, _)| *port);
    names
}

/// A client asks again and again while a flow goes on: its record, which is written at its end,
/// still has the name of its beginning.
fn long_flow() -> Outcome {
    let folder = folder();
    let file = folder.path().join("made.pcap");
    let mut events = vec![(0, Asks(1, 1, "a.example")), (10, Answers(1, 1, "a.example", 9, 10))];
    events.push((500, Sends(1, 5_000, 9)));
    for second in 1..=5_000 {
        let id = u16::try_from(second).expect("it is small");
        let name = if second < 4_900 { "a.example" } else { "b.example" };
        events.push((second * 1_000, Asks(1, id, name)));
        events.push((second * 1_000 + 10, Answers(1, id, name, 9, 10)));
        events.push((second * 1_000 + 500, Sends(1, 5_000, 9)));
    }
    events.push((5_000_600, Sends(1, 5_001, 9)));
    write_pcap(&file, events.iter().map(|(ms, event)| (*ms, frame(event))));
    let records = records(&file, &[])?;
    let mut got = names(&json_lines(&records.join("\n"))?);
    // It has parts.
    got.dedup();
    let want = [(5_000, "a.example dns 490"), (5_001, "b.example dns 590")];
    let want = want.map(|(port, name)| (port, name.to_owned()));
    ensure(got == want, format!("{got:?}"))?;
    let names = &ledger(&file, &[])?["names"];
    ensure(names["evicted"] == 0, format!("{names}"))?;
    ensure(names["merged"].as_u64().is_some_and(|n| n > 800), format!("{names}"))
}

/// A client asks for another name of one address each second, and sends there each time; and one
/// flow goes on all the while, in parts.
fn many_names() -> Outcome {
    const LONG: u16 = 5_900;
    let folder = folder();
    let file = folder.path().join("made.pcap");
    let (mut events, mut want) = (Vec::new(), Vec::new());
    for second in 1..=400 {
        let name: &'static str = format!("{second}.example").leak();
        let ms = u64::from(second) * 1_000;
        events.push((ms, Asks(1, second, name)));
        events.push((ms + 10, Answers(1, second, name, 9, 60)));
        events.push((ms + 500, Sends(1, 5_000 + second, 9)));
        events.push((ms + 600, Sends(1, LONG, 9)));
        let doubt = if second == 1 { "" } else { " ambiguous" };
        want.push((5_000 + u64::from(second), format!("{name} dns 490{doubt}")));
    }
    write_pcap(&file, events.iter().map(|(ms, event)| (*ms, frame(event))));
    for workers in ["1", "8"] {
        let more = ["--workers", workers, "--active-timeout", "60s"];
        let got = names(&json_lines(&records(&file, &more)?.join("\n"))?);
        let (parts, got): (Vec<_>, Vec<_>) =
            got.into_iter().partition(|(port, _)| *port == u64::from(LONG));
        ensure(got == want, format!("{workers} workers: {got:?}"))?;
        let is_first = |(_, name): &Named| name == "1.example dns 590";
        ensure(parts.len() == 7 && parts.iter().all(is_first), format!("{parts:?}"))?;
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
