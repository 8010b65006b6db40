//! The rules of flows as tables of text: packets in, records out (`tests/rules`, whose README
//! says how to write them). Each case is a test of its own: a capture is made of its packets and
//! read by the program, with one worker and with several.

mod frame;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::program::{flowtap, folder, json_lines};
use crate::{Outcome, ensure};

/// Where the tables are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/rules");

/// Any time that is not near 0, so that packets may also be earlier.
const EPOCH_NS: i64 = 1_000_000 * 1_000_000_000;

/// How each case is read: what decides about flows must not depend on this.
const WORKERS: [&[&str]; 3] =
    [&["--workers", "1"], &["--workers", "3"], &["--workers", "3", "--dispatch", "direction"]];

/// Names of fields and what they hold, as they stand in a table.
type Fields = Vec<(String, String)>;

/// One rule: packets in, records out.
#[derive(Debug, Default)]
struct Case {
    name: String,
    /// The line that it begins in, from 1.
    line: usize,
    options: Vec<String>,
    packets: Vec<Packet>,
    records: Vec<Fields>,
}

#[derive(Debug)]
struct Packet {
    time_ns: i64,
    frame: frame::Made,
}

/// A test for each case; one that fails for each table that cannot be read.
pub(crate) fn trials() -> Vec<Trial> {
    let files = fs::read_dir(FOLDER).expect("the tables are part of the project");
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "no tables in {FOLDER}");
    let own = Trial::test("rules::a_wrong_row_is_seen", a_wrong_row_is_seen);
    paths.iter().flat_map(|path| trials_of(path)).chain([own]).collect()
}

fn trials_of(path: &Path) -> Vec<Trial> {
    let table = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("a table is text");
    match cases(&text) {
        Ok(cases) => cases
            .into_iter()
            .map(|case| {
                let (name, table) = (case.name.replace(' ', "_"), table.clone());
                Trial::test(format!("rules::{table}::{name}"), move || case.check(&table))
            })
            .collect(),
        Err(error) => {
            let error = format!("tests/rules/{table}.txt:{error}");
            vec![Trial::test(format!("rules::{table}"), move || Err(error.into()))]
        }
    }
}

/// The cases of a table, or a line's number and what is wrong there.
fn cases(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        if word == "case" {
            cases.push(Case { name: rest.to_owned(), line: idx + 1, ..Case::default() });
        } else if !word.is_empty() && !word.starts_with('#') {
            let case = cases.last_mut().ok_or("it stands before the first case".to_owned());
            case.and_then(|case| case.add(word, rest))
                .map_err(|error| format!("{}: {error}", idx + 1))?;
        }
    }
    let mut names = BTreeSet::new();
    for case in &cases {
        if !names.insert(&case.name) || case.packets.is_empty() {
            return Err(format!("{}: the name stands twice, or no packet", case.line));
        }
    }
    Ok(cases)
}

impl Case {
    /// Another line: options, a record that is wanted, or a packet.
    fn add(&mut self, word: &str, rest: &str) -> Result<(), String> {
        match word {
            "read" => self.options.extend(rest.split_whitespace().map(str::to_owned)),
            "=" => self.records.push(fields(rest)?),
            time => {
                let last_ns = self.packets.last().map_or(EPOCH_NS, |packet| packet.time_ns);
                let from_ns = if time.starts_with(['+', '-']) { last_ns } else { EPOCH_NS };
                let frame = frame::make(rest)?;
                self.packets.push(Packet { time_ns: from_ns + nanoseconds(time)?, frame });
            }
        }
        Ok(())
    }

    /// Reads the packets in every way, and compares the records.
    fn check(&self, table: &str) -> Outcome {
        let folder = folder();
        let capture = folder.path().join("case.pcap").display().to_string();
        fs::write(&capture, pcap(&self.packets))?;
        for workers in WORKERS {
            let mut arguments = vec!["read", "-q", "--strict", "--max-flows", "10000", "-o", "-"];
            arguments.extend(workers);
            arguments.extend(self.options.iter().map(String::as_str));
            arguments.push(&capture);
            let records = json_lines(&flowtap(arguments).expect(0)?.stdout)?;
            let place = format!("tests/rules/{table}.txt:{}, {}", self.line, workers.join(" "));
            self.compare(&place, records)?;
        }
        Ok(())
    }

    fn compare(&self, place: &str, mut records: Vec<Value>) -> Outcome {
        records.sort_by_key(order);
        let all: BTreeSet<_> = self.records.iter().flatten().map(|(name, _)| name).collect();
        let mut known = Vec::new();
        let mut difference = String::new();
        for idx in 0..records.len().max(self.records.len()) {
            let (want, got) = (self.records.get(idx), records.get(idx));
            let got = got.map(|record| match want {
                Some(want) => {
                    named(taken(record, want.iter().map(|field| &field.0)), want, &mut known)
                }
                None => taken(record, all.iter().copied()),
            });
            let sign = if want == got.as_ref() { ' ' } else { '!' };
            let mut show = |what: &str, fields: Option<&Fields>| {
                let shown = fields.map_or(" no record".to_owned(), shown);
                writeln!(difference, "{sign} {what} ={shown}").expect("text takes everything");
            };
            show("want", want);
            if sign == '!' {
                show("got ", got.as_ref());
            }
        }
        ensure(!difference.contains('!'), format!("{place}\ncase {}\n{difference}", self.name))
    }
}

/// `name=value ...`
fn fields(text: &str) -> Result<Fields, String> {
    let field = |word: &str| {
        let (name, value) = word.split_once('=').ok_or(format!("'{word}' is no name=value"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    text.split_whitespace().map(field).collect()
}

fn shown(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

/// These fields of a record; a dot leads into an object, and `-` is nothing.
fn taken<'a>(record: &Value, names: impl Iterator<Item = &'a String>) -> Fields {
    let value = |name: &str| match name.split('.').fold(record, |value, part| &value[part]) {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    names.map(|name| (name.clone(), value(name))).collect()
}

/// The same with `$word` for each value that is wanted as such: the same word for the same value
/// in all of a case, and another one for another.
fn named(mut got: Fields, want: &Fields, known: &mut Fields) -> Fields {
    for ((_, value), (_, word)) in got.iter_mut().zip(want).filter(|(_, w)| w.1.starts_with('$')) {
        match known.iter().find(|(_, other)| other == value) {
            Some((other, _)) => value.clone_from(other),
            None if known.iter().any(|(other, _)| other == word) => {}
            None => {
                known.push((word.clone(), value.clone()));
                value.clone_from(word);
            }
        }
    }
    got
}

/// Records stand in the order of their start, then their part, then their source and target.
fn order(record: &Value) -> impl Ord + use<> {
    let number = |name: &str| record[name].as_u64();
    let text = |name: &str| record[name].as_str().map(str::to_owned);
    (
        text("start"),
        number("part"),
        text("src_ip"),
        number("src_port"),
        text("dst_ip"),
        number("dst_port"),
        record["vlan"].to_string(),
    )
}

/// A time with its unit: `1.5s`, `10ms`, `-3s`.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is no time as 2s, +10ms, -3s, 7us, 1ns");
    let (digits, unit_ns) = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)]
        .iter()
        .find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, *ns)))
        .ok_or_else(wrong)?;
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_ns).ok_or_else(wrong)
}

/// A pcap file of Ethernet frames, with nanoseconds.
fn pcap(packets: &[Packet]) -> Vec<u8> {
    let word = |value: i64| u32::try_from(value).expect("a table's numbers are small");
    let mut file = Vec::new();
    for value in [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, 262_144, 1] {
        file.extend(word(value).to_le_bytes());
    }
    for Packet { time_ns, frame } in packets {
        let seconds = time_ns.div_euclid(1_000_000_000);
        let kept = i64::try_from(frame.bytes.len()).expect("a frame is short");
        for value in [seconds, time_ns.rem_euclid(1_000_000_000), kept, frame.wire_len] {
            file.extend(word(value).to_le_bytes());
        }
        file.extend(&frame.bytes);
    }
    file
}

/// That each kind of difference is seen: without this a table could say anything.
fn a_wrong_row_is_seen() -> Outcome {
    let right = "case x\n0s udp 10.0.0.1:1 > 10.0.0.2:2\n= src_packets=1 end_reason=forced\n";
    let fails = |text: &str| -> Result<bool, Failed> {
        let cases = cases(text)?;
        Ok(cases.iter().any(|case| case.check("self").is_err()))
    };
    ensure(!fails(right)?, "the right row")?;
    ensure(fails(&right.replace("packets=1", "packets=2"))?, "another value")?;
    ensure(fails(&right.replace("= src", "= dst_port=1 src"))?, "another field")?;
    ensure(fails(&format!("{right}= src_packets=1\n"))?, "a record that is not there")?;
    ensure(fails(right.split('=').next().unwrap_or_default())?, "a record that is not wanted")?;
    ensure(cases(&right.replace("udp", "udb")).is_err(), "a word that is none")?;
    ensure(cases(&right.replace(":2\n", ":2 ltn=1\n")).is_err(), "a name that is none")
}
