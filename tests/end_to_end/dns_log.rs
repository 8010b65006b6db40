//! Transactions of name services (`--dns-log`), from packets in a file to their lines.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use crate::captures;
use crate::messages::{client, dns, server, udp, write_pcap};
use crate::program::{Run, flowtap, folder, generate_with, json_file, json_lines};
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("dns_log::each_transaction_is_a_line", lines),
        Trial::test("dns_log::names_are_escaped", hostile),
        Trial::test("dns_log::any_number_of_workers_writes_the_same", workers_agree),
        Trial::test("dns_log::files_are_compressed_and_rotated", files),
        Trial::test("dns_log::what_cannot_be_is_refused", refused),
    ];
    if captures::files().is_empty() {
        trials.extend(not_here("dns_log", "there is no folder of captures with truth"));
    } else {
        trials.push(Trial::test("dns_log::has_every_pair_of_the_truth", pairs_of_truth));
    }
    trials
}

/// Reads a file with these arguments, its records in CSV and its transactions where they say.
fn read(file: &Path, more: &[&str], code: i32) -> Result<Run, Failed> {
    let folder = folder();
    let arguments = ["read", "-q", "--strict", "-o"].map(PathBuf::from).into_iter();
    let arguments = arguments.chain([folder.path().join("records.csv")]);
    flowtap(arguments.chain(more.iter().map(PathBuf::from)).chain([file.to_owned()])).expect(code)
}

/// A message with its answer's name replaced, in lengths that fit.
fn renamed(message: Vec<u8>, name: &[u8; 9]) -> Vec<u8> {
    let at =
        message.windows(9).position(|window| window == b"\x01a\x07exampl").expect("it is there");
    let mut message = message;
    message[at + 1..at + 2].copy_from_slice(&name[..1]);
    message[at + 3..at + 10].copy_from_slice(&name[2..]);
    message
}

/// A question and its answer 12 ms later, a question twice that nobody answers, and an answer that
/// nobody asked for.
fn lines() -> Outcome {
    let folder = folder();
    let file = folder.path().join("made.pcap");
    let (asks, resolver) = ((client(1), 40_000), (server(53), 53));
    let answer = |id, name| dns(id, name, Some((server(9), 60)));
    write_pcap(
        &file,
        [
            (0, udp(asks, resolver, &dns(7, "A.example", None))),
            (12, udp(resolver, asks, &answer(7, "A.example"))),
            (20, udp(asks, resolver, &dns(8, "b.example", None))),
            (5_020, udp(asks, resolver, &dns(8, "b.example", None))),
            (60_000, udp(resolver, asks, &answer(9, "c.example"))),
        ],
    );
    let stats = folder.path().join("stats.json");
    let run = read(&file, &["--dns-log", "-", "--stats", &stats.to_string_lossy()], 0)?;
    let lines = json_lines(&run.stdout)?;
    let records = json!([
        {"section": "answer", "name": "a.example", "type": "A", "ttl": 60, "data": "198.51.100.9"}
    ]);
    let community_id = lines[0]["community_id"].clone();
    ensure(community_id.as_str().is_some_and(|id| id.starts_with("1:")), "no community id")?;
    let want = json!({
        "start": "2023-11-14T22:13:20.000000000Z", "client_ip": "192.0.2.1", "client_port": 40_000,
        "server_ip": "198.51.100.53", "server_port": 53, "protocol": "udp",
        "community_id": community_id, "service": "dns", "id": 7, "question": "a.example",
        "qtype": "A", "qclass": "IN", "rcode": "NOERROR", "aa": false, "tc": false, "rd": true,
        "ra": true, "answers": records, "latency_ns": 12_000_000,
    });
    ensure(lines[0] == want, format!("{:#}", lines[0]))?;
    let rest = lines[1..].iter().map(|line| {
        [&line["id"], &line["unanswered"], &line["repeats"], &line["unsolicited"], &line["rcode"]]
    });
    let (none, yes) = (Value::Null, json!(true));
    let want = [
        [&json!(8), &yes, &json!(1), &none, &none],
        [&json!(9), &none, &none, &yes, &json!("NOERROR")],
    ];
    ensure(rest.collect::<Vec<_>>() == want, format!("{lines:#?}"))?;
    let log = &json_file(&stats)?["names"]["dns_log"];
    let is_whole = log["transactions"] == 3 && log["records"] == 3 && log["not_sent"] == json!({});
    ensure(is_whole, format!("{log}"))
}

/// Formulas, quotes, terminal escapes and what is no UTF-8.
fn hostile() -> Outcome {
    let folder = folder();
    let (asks, resolver) = ((client(1), 40_000), (server(53), 53));
    let names: [(&[u8; 9], &str); 5] = [
        (b"-.\xf3\xa0\x81\x81\xef\xbb\xbf", "-.\u{e0041}\u{feff}"),
        (b"+.\xe2\x80\x8b1\xc2\xada", "+.\u{200b}1\u{ad}a"),
        (b"=.\",;()|\\", r#"=.",;()|\\"#),
        (b"@.\x1b[31m\x07\xff", r"@.\027[31m\007\255"),
        (b"+.\xe2\x80\xae\xc2\x9b\n ", "+.\u{202e}\\194\\155\\010\\032"),
    ];
    for (name, shown) in names {
        let file = folder.path().join("made.pcap");
        let message = |answer| renamed(dns(7, "a.example", answer), name);
        let question = udp(asks, resolver, &message(None));
        let answer = udp(resolver, asks, &message(Some((server(9), 60))));
        write_pcap(&file, [(0, question), (5, answer)]);
        let run = read(&file, &["--dns-log", "-"], 0)?;
        ensure(!run.stdout.contains(is_harmful), format!("{:?}", run.stdout))?;
        let line = &json_lines(&run.stdout)?[0];
        ensure(line["question"] == *shown, format!("{line}"))?;
        ensure(line["answers"][0]["name"] == *shown, format!("{line}"))?;

        let log = folder.path().join("log.csv");
        read(&file, &["--dns-log", &log.to_string_lossy()], 0)?;
        let text = fs::read_to_string(&log)?;
        ensure(!text.contains(is_harmful), format!("{text:?}"))?;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers()?.clone();
        let row = reader.records().next().ok_or("no line")??;
        let of =
            |column: &str| columns.iter().position(|it| it == column).map(|at| row[at].to_owned());
        let escaped =
            |c: char| if is_harmful(c) { c.escape_unicode().to_string() } else { c.into() };
        let in_csv = format!("'{}", shown.chars().map(escaped).collect::<String>());
        ensure(of("question").as_deref() == Some(&in_csv), &*text)?;
        let answer = format!("{in_csv} 60 A 198.51.100.9");
        ensure(of("answers").as_deref() == Some(&answer), &*text)?;
        ensure(of("latency_ns").as_deref() == Some("5000000"), &*text)?;
        ensure(of("ra").as_deref() == Some("true"), &*text)?;
    }
    Ok(())
}

/// What does something to a terminal.
fn is_harmful(character: char) -> bool {
    let is_unseen =
        matches!(character, '\u{202e}' | '\u{200b}' | '\u{feff}' | '\u{ad}' | '\u{e0041}');
    character != '\n' && (character.is_control() || is_unseen)
}

fn workers_agree() -> Outcome {
    let made = generate_with("dns-heavy", 60_000, 2_000, 5, &["--duration", "120s"]);
    let mut one = None;
    for workers in ["1", "2", "4", "8"] {
        for dispatch in ["flow", "direction"] {
            let more = ["--dns-log", "-", "--workers", workers, "--dispatch", dispatch];
            let log = read(&made.capture, &more, 0)?.stdout;
            ensure(log.contains("\"answers\":"), "there is no answer")?;
            let first = one.get_or_insert_with(|| log.clone());
            ensure(*first == log, format!("{workers} workers differ, by {dispatch}"))?;
        }
    }
    Ok(())
}

fn files() -> Outcome {
    let made = generate_with("dns-heavy", 20_000, 2_000, 5, &["--duration", "60s"]);
    let plain = read(&made.capture, &["--dns-log", "-"], 0)?.stdout;
    let folder = folder();
    for (ending, unpack) in [("jsonl.gz", "gzip"), ("jsonl.zst", "zstd")] {
        let log = folder.path().join("log").with_extension(ending);
        read(&made.capture, &["--dns-log", &log.to_string_lossy()], 0)?;
        let mut unpacking = std::process::Command::new(unpack);
        let unpacked = Run::of(unpacking.arg("-dc").arg(&log)).expect(0)?.stdout;
        ensure(unpacked == plain, format!("{ending} has other lines"))?;
        fs::remove_file(&log)?;
    }
    let log = folder.path().join("log.jsonl");
    read(&made.capture, &["--rotate-size", "100k", "--dns-log", &log.to_string_lossy()], 0)?;
    let mut lines = 0;
    let mut files = 0;
    for entry in fs::read_dir(folder.path())? {
        let path = entry?.path();
        ensure(path.extension().is_some_and(|it| it == "jsonl"), format!("{path:?}"))?;
        lines += fs::read_to_string(path)?.lines().count();
        files += 1;
    }
    ensure(files > 2, format!("{files} files"))?;
    ensure(lines == plain.lines().count(), format!("{lines} lines in {files} files"))
}

fn refused() -> Outcome {
    for (more, said) in [
        (vec!["--dns-log", "log.parquet"], ".jsonl or .csv"),
        (vec!["--dns-log", "log.csv", "--names", "off"], "--names off"),
        (vec!["--dns-log", "-", "-o", "-"], "given twice"),
    ] {
        let run = flowtap([&["read", "no.pcap"], &more[..]].concat()).expect(2)?;
        ensure(run.stderr.contains(said), run.stderr)?;
    }
    Ok(())
}

/// Every pair of a name and an address that the truth has.
fn pairs_of_truth() -> Outcome {
    let (mut held, mut missing) = (0, Vec::new());
    for file in captures::files() {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let truth = json_file(&captures::truth_of(Path::new(&name)))?;
        let Some(rows) = truth["names"]["dns"].as_array() else { continue };
        let folder = folder();
        let log = folder.path().join("log.jsonl");
        let run = flowtap(["read", "-q", "-o"].map(PathBuf::from).into_iter().chain([
            folder.path().join("records.csv"),
            "--dns-log".into(),
            log.clone(),
            file,
        ]));
        // Some are damaged, and what stands before that counts.
        ensure(matches!(run.code, Some(0 | 2)), run.stderr)?;
        let lines = json_lines(&fs::read_to_string(&log)?)?;
        let answers = lines.iter().filter_map(|line| line["answers"].as_array()).flatten();
        let pairs: HashSet<(String, String)> = answers
            .filter_map(|it| Some((it["name"].as_str()?.into(), it["data"].as_str()?.into())))
            .collect();
        for row in rows {
            let text = |field: &str| row[field].as_str().unwrap_or_default();
            let address: IpAddr = text("addr").parse()?;
            let pair = (text("name").to_lowercase().replace(' ', r"\032"), address.to_string());
            held += 1;
            if !pairs.contains(&pair) {
                missing.push(format!("{name}: {pair:?} of frame {}", row["frame"]));
            }
        }
    }
    ensure(missing.is_empty(), format!("{} of {held}:\n{}", missing.len(), missing.join("\n")))?;
    ensure(held > 300, format!("{held} pairs"))
}
