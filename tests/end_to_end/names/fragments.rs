//! Answers of name servers in IP fragments: what is named by them, and what becomes of the rest.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::messages::{client, dns, server, udp, write_pcap};
use crate::program::{flowtap, folder, json_file, json_lines};
use crate::{Outcome, ensure};

/// Addresses of the name: those in the first fragment, and in all.
const IN_FIRST: u8 = 58;
const IN_ALL: u8 = 150;
/// Bytes of the datagram in each fragment.
const FRAGMENT: usize = 976;

/// An answer with the addresses of `server(1)` to the last.
fn answer(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = dns(id, name, Some((server(1), 60)));
    bytes[7] = IN_ALL;
    for last in 2..=IN_ALL {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(server(last));
    }
    bytes
}

/// The fragment of a datagram in a frame that begins at `from`, of IPv4 or IPv6.
fn fragment(frame: &[u8], from: usize, is_v6: bool, id: u8) -> Vec<u8> {
    let (link, rest) = frame.split_at(14);
    let (header, datagram) = rest.split_at(20);
    let to = datagram.len().min(from / FRAGMENT * FRAGMENT + FRAGMENT);
    let (piece, is_last) = (&datagram[from..to], to == datagram.len());
    let bytes = |number: usize| u16::try_from(number).expect("16 bits").to_be_bytes();
    if is_v6 {
        let [high, low] = bytes(from | usize::from(!is_last));
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(bytes(8 + piece.len()));
        packet.extend([44, 64]);
        for address in [&header[12..16], &header[16..]] {
            packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
            packet.extend(address);
        }
        packet.extend([17, 0, high, low, 0, 0, 0, id]);
        return [&link[..12], &[0x86, 0xdd], &packet, piece].concat();
    }
    let mut header = header.to_vec();
    header[2..4].copy_from_slice(&bytes(20 + piece.len()));
    header[4..6].copy_from_slice(&[0, id]);
    let (offset, more) = (from / 8, usize::from(!is_last) << 13);
    header[6..8].copy_from_slice(&bytes(offset | more));
    [link, &header, piece].concat()
}

/// A datagram of IPv4 in a frame, or the same of IPv6.
fn whole(frame: Vec<u8>, is_v6: bool) -> Vec<u8> {
    if !is_v6 {
        return frame;
    }
    // Of a fragment that is all, the header is taken out.
    let mut packet = fragment(&frame, 0, true, 0);
    let length = u8::try_from(packet.len() - 14 - 48).expect("it is short");
    packet[14 + 5] = length;
    packet[14 + 6] = 17;
    packet.drain(14 + 40..14 + 48);
    packet
}

/// A question, its answer in fragments that begin there, and a datagram to the last address of it.
fn capture(begins: &[usize], is_v6: bool) -> (TempDir, PathBuf) {
    let folder = folder();
    let file = folder.path().join("fragments.pcap");
    let (asks, resolver) = ((client(1), 40_000), (server(53), 53));
    let answer = udp(resolver, asks, &answer(7, "many.example"));
    let mut frames = vec![(0, whole(udp(asks, resolver, &dns(7, "many.example", None)), is_v6))];
    for (ms, from) in (10..).zip(begins) {
        frames.push((ms, fragment(&answer, *from, is_v6, 9)));
    }
    // It is sent to by IPv4, as the answer says.
    frames.push((30, udp((client(1), 5_000), (server(IN_ALL), 4_433), b"some data")));
    frames.push((40, udp((client(1), 5_001), (server(2), 4_433), b"some data")));
    write_pcap(&file, frames);
    (folder, file)
}

/// Records and transactions of a file, and what names say in the ledger.
fn read(file: &Path, more: &[&str]) -> Result<(Vec<Value>, Vec<Value>, Value), Failed> {
    let folder = folder();
    let [log, stats] = ["log.jsonl", "stats.json"].map(|name| folder.path().join(name));
    let arguments = ["read", "-q", "--strict", "-o", "-"].iter().chain(more).map(PathBuf::from);
    let outputs = ["--dns-log".into(), log.clone(), "--stats".into(), stats.clone()];
    let run = flowtap(arguments.chain(outputs).chain([file.to_owned()])).expect(0)?;
    let log = std::fs::read_to_string(log)?;
    Ok((json_lines(&run.stdout)?, json_lines(&log)?, json_file(&stats)?["names"].take()))
}

/// How many addresses the log has; the names of the flows to one of the last addresses and to one
/// of the first; and what was not read.
fn shown(records: &[Value], log: &[Value], names: &Value) -> String {
    let mut shown = String::new();
    for line in log {
        let answers = line["answers"].as_array().map_or(0, Vec::len);
        let sort = ["unanswered", "unsolicited"].into_iter().find(|it| !line[it].is_null());
        let _ = write!(shown, "{} {answers}; ", sort.unwrap_or("answered"));
    }
    for port in [5_000, 5_001] {
        let record = records.iter().find(|record| record["src_port"] == port);
        let name = record.and_then(|record| record["name"].as_str());
        let _ = write!(shown, "{}; ", name.unwrap_or("-"));
    }
    let unread = names["unread"].as_object().into_iter().flatten();
    for (cause, count) in unread.filter(|(_, count)| **count != 0) {
        let _ = write!(shown, "{cause} {count}");
    }
    shown
}

pub(super) fn joined() -> Outcome {
    let [second, third] = [FRAGMENT, 2 * FRAGMENT];
    let whole = format!("answered {IN_ALL}; many.example; many.example; ");
    let begun = format!("answered {IN_FIRST}; -; many.example; ");
    for (name, begins, want) in [
        ("in order", vec![0, second, third], whole.clone()),
        ("the other way round", vec![third, second, 0], whole.clone()),
        ("the last one first", vec![third, 0, second], whole.clone()),
        ("each twice", vec![0, 0, second, second, third, third], whole),
        ("one is missing", vec![0, third], format!("{begun}unfinished 1")),
        ("only the first", vec![0], format!("{begun}unfinished 1")),
        (
            "the first one is missing",
            vec![second, third],
            "unanswered 0; -; -; fragments_alone 2".into(),
        ),
        ("one overlaps", vec![0, second - 8, second, third], format!("{begun}overlaps 1")),
    ] {
        for is_v6 in [false, true] {
            let (_folder, file) = capture(&begins, is_v6);
            let mut one = None;
            for workers in ["1", "2", "4", "16"] {
                for dispatch in ["flow", "direction"] {
                    let more = ["--workers", workers, "--dispatch", dispatch];
                    let (mut records, log, names) = read(&file, &more)?;
                    let got = shown(&records, &log, &names);
                    ensure(got == want, format!("{name}, IPv6 {is_v6}: {got}"))?;
                    records.sort_by_key(Value::to_string);
                    let all = (records, log);
                    let first = one.get_or_insert_with(|| all.clone());
                    ensure(*first == all, format!("{name}: {workers} workers differ"))?;
                }
            }
        }
    }
    Ok(())
}

/// More than there is room for, of three sorts: first fragments of answers, later ones of anything,
/// and an answer among them that is whole.
pub(super) fn flood() -> Outcome {
    let folder = folder();
    let file = folder.path().join("flood.pcap");
    let floods = 20_000_u32;
    let answer = |id| udp((server(53), 53), (client(1), 40_000), &answer(id, "many.example"));
    let (asked, not_asked) = (answer(7), answer(8));
    let from = |number: u32, begin: usize| {
        let mut frame = fragment(&not_asked, begin, false, 9);
        frame[14 + 4..14 + 6].copy_from_slice(&number.to_be_bytes()[2..]);
        frame
    };
    let question = udp((client(1), 40_000), (server(53), 53), &dns(7, "many.example", None));
    let mut frames = vec![(0, question)];
    for number in 0..floods {
        frames.push((u64::from(number / 20), from(number, 0)));
        frames.push((u64::from(number / 20), from(floods + number, FRAGMENT)));
    }
    for begin in 0..3 {
        frames.push((1_001, fragment(&asked, begin * FRAGMENT, false, 9)));
    }
    write_pcap(&file, frames);
    let (_, log, names) = read(&file, &[])?;
    let answered = log.iter().find(|line| line["latency_ns"].is_number());
    let answers = answered.and_then(|line| line["answers"].as_array());
    ensure(answers.map(Vec::len) == Some(IN_ALL.into()), "the answer is not whole")?;
    let unread = &names["unread"];
    let count = |cause: &str| unread[cause].as_u64().unwrap_or(0);
    let all = u64::from(floods);
    let firsts = count("no_room") + count("unfinished");
    ensure(firsts == all && count("no_room") > 10_000, format!("{unread}"))?;
    ensure(count("fragments_alone") == all, format!("{unread}"))?;
    ensure(names["dropped"] == json!({"ring_full": 0}), format!("{names}"))
}
