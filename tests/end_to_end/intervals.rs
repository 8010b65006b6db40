//! Statistics of intervals (`--stats FILE.jsonl`, `.csv`, `.hlog`), beside the records and the
//! ledger of the same run.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::program::{
    FLOWTAP, Run, flowtap, folder, generate, generate_with, json_file, json_lines, wait_for,
};
use crate::{Outcome, captures, ensure, not_here};

/// The Python that reads logs of histograms.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin/python");

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("intervals::add_up_to_ledger_and_records", adds_up),
        Trial::test("intervals::any_number_of_workers_writes_the_same", workers_agree),
        Trial::test("intervals::recordings_of_the_same_hour_have_lines_each", recordings),
        Trial::test("intervals::lines_come_while_packets_do", early),
        Trial::test("intervals::long_flows_count_where_they_are", long_flows),
        Trial::test("intervals::a_scan_is_bounded_and_says_how_well", scan),
        Trial::test("intervals::files_are_compressed_and_refused", files),
    ];
    let has_reader = Command::new(PYTHON).args(["-c", "import hdrh.log"]).output();
    if has_reader.is_ok_and(|run| run.status.success()) {
        trials.push(Trial::test("intervals::hdrhistogram_reads_the_log", log));
    } else {
        trials.extend(not_here("intervals", "needs hdrhistogram (scripts/setup-python)"));
    }
    trials
}

/// What a run has written.
struct Read {
    lines: Vec<Value>,
    rows: Vec<BTreeMap<String, String>>,
    ledger: Value,
    records: Vec<Value>,
    /// Each histogram's line.
    log: String,
    folder: tempfile::TempDir,
}

fn read(files: &[&Path], more: &[&str]) -> Result<Read, Failed> {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let names = ["a.jsonl", "a.csv", "a.json", "a.hlog"];
    let mut arguments: Vec<PathBuf> = ["read", "-q", "--strict", "-o"].map(PathBuf::from).into();
    arguments.push(path("records.jsonl"));
    names.iter().for_each(|name| arguments.extend(["--stats".into(), path(name)]));
    arguments.extend(more.iter().map(PathBuf::from));
    arguments.extend(files.iter().map(|file| file.to_path_buf()));
    // What is lost at the end of a broken capture is no matter of this.
    let run = flowtap(&arguments);
    ensure(matches!(run.code, Some(0 | 2)), format!("{:?} {}", run.code, run.stderr))?;
    let mut rows = csv::Reader::from_path(path("a.csv"))?;
    let read = Read {
        lines: json_lines(&fs::read_to_string(path("a.jsonl"))?)?,
        rows: rows.deserialize().collect::<Result<_, _>>()?,
        ledger: json_file(&path("a.json"))?,
        records: json_lines(&fs::read_to_string(path("records.jsonl"))?)?,
        log: fs::read_to_string(path("a.hlog"))?,
        folder,
    };
    let parts = fs::read_dir(read.folder.path())?.flatten();
    let left = parts.filter(|it| it.path().extension().is_some_and(|it| it == "part")).count();
    ensure(left == 0, "a part is left")?;
    Ok(read)
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_default()
}

/// What of a record is the key of a group.
type KeyOf = fn(&Value) -> String;

/// The sum of a column over the lines of a group, by key.
fn sums(lines: &[Value], group: &str, column: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in lines.iter().filter(|line| line["group"] == group) {
        let key = line["key"].as_str().unwrap_or_default().to_owned();
        *sums.entry(key).or_default() += number(line, column);
    }
    sums
}

/// The same over records, by what `key` makes of each.
fn by(records: &[Value], key: impl Fn(&Value) -> String, column: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for record in records {
        let both =
            number(record, &format!("src_{column}")) + number(record, &format!("dst_{column}"));
        *sums.entry(key(record)).or_default() += both;
    }
    sums
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn vlan_of(record: &Value) -> String {
    let vlans = record["vlan"].as_array().cloned().unwrap_or_default();
    let vlans: Vec<_> = vlans.iter().map(Value::to_string).collect();
    if vlans.is_empty() { "none".to_owned() } else { vlans.join(";") }
}

/// Captures with what matters here: names, VLANs, tunnels, several flows, fragments.
fn some_captures() -> Vec<PathBuf> {
    let mut files = captures::files();
    files.retain(|file| file.metadata().is_ok_and(|it| it.len() < 3_000_000));
    // All kinds, from both ends of the list and between.
    files.into_iter().step_by(4).collect()
}

fn check_sums(files: &[&Path], every: &str) -> Outcome {
    let read = read(files, &["--stats-interval", every, "--top", "16384"])?;
    let Read { lines, rows, ledger, records, .. } = &read;
    let name = || format!("{files:?} every {every}");
    // CSV says what JSON lines say.
    ensure(rows.len() == lines.len(), format!("{}: {} rows", name(), rows.len()))?;
    for (row, line) in rows.iter().zip(lines) {
        for (column, value) in row {
            let shown = match &line[column] {
                Value::Null => String::new(),
                value => text(value),
            };
            let is_text = column == "key";
            let is_same = *value == shown || is_text && value.trim_start_matches('\'') == shown;
            let is_escaped = is_text && value.contains("\\u{");
            ensure(is_same || is_escaped, format!("{}: {column}: {value} {line}", name()))?;
        }
    }
    // The total is the ledger's, and each group's is the total.
    let packets = &ledger["packets"];
    let in_all = number(packets, "in_flows") + number(packets, "in_overflow");
    let total = |column: &str| sums(lines, "total", column).values().sum::<u64>();
    ensure(total("packets") == in_all, format!("{}: {} of {in_all}", name(), total("packets")))?;
    for group in ["interface", "protocol", "vlan"] {
        for column in [
            "packets",
            "bytes",
            "src_packets",
            "dst_packets",
            "src_bytes",
            "dst_bytes",
            "flows_begun",
            "flows_ended",
        ] {
            let sum: u64 = sums(lines, group, column).values().sum();
            ensure(sum == total(column), format!("{}: {group} {column}: {sum}", name()))?;
        }
    }
    // And the records'.
    let keys: [(&str, KeyOf); 3] = [
        ("interface", |record| text(&record["interface"])),
        ("protocol", |record| text(&record["protocol"])),
        ("vlan", vlan_of),
    ];
    for (group, key) in keys {
        for column in ["packets", "bytes"] {
            let (is, want) = (sums(lines, group, column), by(records, key, column));
            ensure(is == want, format!("{}: {group} {column}: {is:?}, not {want:?}", name()))?;
        }
    }
    for way in ["src", "dst"] {
        for what in ["packets", "bytes"] {
            let column = format!("{way}_{what}");
            let want: u64 = records.iter().map(|record| number(record, &column)).sum();
            ensure(total(&column) == want, format!("{}: {column}", name()))?;
        }
    }
    let flows: HashSet<_> =
        records.iter().filter_map(|record| record["flow_id"].as_str()).collect();
    let flows = flows.len() as u64;
    let (begun, ended) = (total("flows_begun"), total("flows_ended"));
    ensure((begun, ended) == (flows, flows), format!("{}: {begun}, {ended} of {flows}", name()))?;
    // Who talks: each flow counts at both ends.
    let mut talkers = BTreeMap::new();
    for record in records.iter().filter(|record| record["kind"] == "flow") {
        let (source, destination) = (text(&record["src_ip"]), text(&record["dst_ip"]));
        let both = number(record, "src_bytes") + number(record, "dst_bytes");
        let ends: HashSet<_> = [source, destination].into();
        ends.into_iter().for_each(|end| *talkers.entry(end).or_default() += both);
    }
    let is = sums(lines, "talker", "bytes");
    ensure(is == talkers, format!("{}: talkers {is:?}, not {talkers:?}", name()))?;
    let errors: u64 = lines.iter().map(|line| number(line, "error_bytes")).sum();
    ensure(errors == 0, format!("{}: {errors} bytes may be missing", name()))
}

fn adds_up() -> Outcome {
    let made = generate(20_000, 1_000, 3);
    let vlans =
        generate_with("imix", 20_000, 2_000, 4, &["--duration", "30s", "--vlan-percent", "30"]);
    for every in ["100ms", "1s", "7s", "1h"] {
        check_sums(&[&made.capture], every)?;
        check_sums(&[&vlans.capture], every)?;
        // Two recordings of the same hours.
        check_sums(&[&made.capture, &vlans.capture, &made.capture], every)?;
    }
    for file in some_captures() {
        check_sums(&[&file], "1s")?;
        check_sums(&[&file], "1h")?;
    }
    Ok(())
}

/// Whoever counts; and each interval is one, in the order of time.
fn workers_agree() -> Outcome {
    let made = generate(20_000, 1_000, 3);
    let mut files = some_captures();
    files.push(made.capture.clone());
    for file in files {
        let lines = |workers: &str, dispatch: &str| -> Result<_, Failed> {
            let more = ["--stats-interval", "1s", "--workers", workers, "--dispatch", dispatch];
            let read = read(&[&file], &more)?;
            let log: Vec<_> = read.log.lines().map(str::to_owned).collect();
            // How long batches take is not the packets'.
            let of_packets = |line: &String| !line.starts_with("Tag=batch_time_ns");
            Ok((read.lines, log.into_iter().filter(of_packets).collect::<Vec<_>>()))
        };
        let one = lines("1", "flow")?;
        let totals = one.0.iter().filter(|line| line["group"] == "total");
        let start = |line: &Value| (number(line, "recording"), text(&line["start"]));
        let starts: Vec<_> = totals.map(start).collect();
        ensure(starts.is_sorted(), format!("{}: not in the order of time", file.display()))?;
        let distinct: HashSet<_> = starts.iter().collect();
        ensure(distinct.len() == starts.len(), format!("{}: twice the same", file.display()))?;
        for (workers, dispatch) in [("2", "flow"), ("8", "flow"), ("3", "direction")] {
            let many = lines(workers, dispatch)?;
            let what = || format!("{}: {workers} workers differ by {dispatch}", file.display());
            ensure(many.0 == one.0, what())?;
            ensure(many.1 == one.1, format!("{} in histograms", what()))?;
        }
    }
    Ok(())
}

/// Where packet time steps back over the beginning of an hour, what comes then is not of the hour
/// that has begun; and what follows of that has lines of its own, which say so.
fn recordings() -> Outcome {
    use crate::messages::{client, server, udp, write_pcap};
    let folder = folder();
    let file = folder.path().join("made.pcap");
    // After 22:13:20: 23:01:20, 22:59:40, 23:00:05, 23:02:00, and late 23:01:50.
    let ms = [2_880, 2_780, 2_805, 2_920, 2_910].map(|second| 1_000 * second);
    let packets =
        (1..).zip(ms).map(|(last, ms)| (ms, udp((client(last), 5), (server(9), 6), &[0; 9])));
    write_pcap(&file, packets);
    for workers in ["1", "3"] {
        let more = ["--stats-interval", "1h", "--workers", workers];
        let read = read(&[&file, &file], &more)?;
        let totals = read.lines.iter().filter(|line| line["group"] == "total");
        let totals: Vec<_> = totals
            .map(|line| (number(line, "recording"), text(&line["start"]), number(line, "packets")))
            .collect();
        let hour = |recording, hour: &str, packets| {
            (recording, format!("2023-11-14T{hour}:00:00.000000000Z"), packets)
        };
        // The second file begins less than a minute back: that packet is late.
        let want = [
            hour(0, "23", 1),
            hour(1, "22", 1),
            hour(1, "23", 4),
            hour(2, "22", 1),
            hour(2, "23", 3),
        ];
        ensure(totals == want, format!("{workers} workers: {totals:#?}"))?;
        let in_all: u64 = totals.iter().map(|(.., packets)| packets).sum();
        ensure(number(&read.ledger["packets"], "in_flows") == in_all, "not the ledger's")?;
        let csv = read.rows.iter().filter(|row| row["group"] == "total");
        let csv: Vec<_> = csv.map(|row| row["recording"].as_str()).collect();
        ensure(csv == ["", "1", "1", "2", "2"], format!("{csv:?}"))?;
    }
    Ok(())
}

/// An interval is written when it is over, also where most workers never get a packet.
fn early() -> Outcome {
    use std::io::Write as _;

    use crate::messages::{client, server, udp, write_pcap};
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (made, sums_file) = (path("made.pcap"), path("sums.jsonl"));
    let one = |second: u64| (1_000 * second, udp((client(1), 5), (server(9), 6), &[0; 9]));
    write_pcap(Path::new(&made), (0..300).map(one));
    for dispatch in ["flow", "direction"] {
        let mut child = Command::new(FLOWTAP)
            .args(["read", "-q", "-", "-o", &path("r.jsonl"), "--stats", &sums_file])
            .args(["--stats-interval", "1s", "--workers", "4", "--dispatch", dispatch])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().expect("it was piped");
        stdin.write_all(&fs::read(&made)?)?;
        let part = format!("{sums_file}.part");
        let totals = || {
            let text = fs::read_to_string(&part).unwrap_or_default();
            text.matches("\"group\":\"total\"").count()
        };
        let is_early = wait_for(|| totals() > 250);
        let found = totals();
        drop(stdin);
        ensure(child.wait()?.success(), "exit code")?;
        ensure(is_early, format!("by {dispatch}: {found} of 300 before the end"))?;
    }
    Ok(())
}

/// What comes in an interval counts there, and not where its flow ends.
fn long_flows() -> Outcome {
    use crate::messages::{client, dns, server, udp, write_pcap};
    let folder = folder();
    let file = folder.path().join("made.pcap");
    let (asks, resolver) = ((client(1), 40_000), (server(53), 53));
    let (one, other) = ((client(1), 1_000), (server(9), 2_000));
    // A flow of 50 s with a packet each second to a host with a name; it begins at a full second
    // of 1,700,000,000.
    let answer = dns(7, "a.example", Some((server(9), 600)));
    let names =
        [(0, udp(asks, resolver, &dns(7, "a.example", None))), (10, udp(resolver, asks, &answer))];
    let packets = (0..50).map(|second| (1_000 * second + 500, udp(one, other, &[0; 100])));
    write_pcap(&file, names.into_iter().chain(packets).collect::<Vec<_>>());
    let read = read(&[&file], &["--stats-interval", "10s"])?;
    let column = |group: &str, column: &str| -> Vec<u64> {
        let lines = read.lines.iter().filter(|line| line["group"] == group);
        lines.map(|line| number(line, column)).collect()
    };
    let is =
        [column("total", "packets"), column("total", "flows_begun"), column("name", "packets")];
    let want = [vec![12, 10, 10, 10, 10], vec![2, 0, 0, 0, 0], vec![10; 5]];
    ensure(is == want, format!("{is:?}"))?;
    let ended = column("total", "flows_ended");
    // The questions' after 30 s, the other when the file ends.
    ensure(ended == [0, 0, 0, 1, 1], format!("{ended:?}"))?;
    let name = &read.lines.iter().find(|line| line["group"] == "name").ok_or("no name")?;
    let want = ("a.example", "2023-11-14T22:13:20.000000000Z", "2023-11-14T22:13:30.000000000Z");
    let is = (text(&name["key"]), text(&name["start"]), text(&name["end"]));
    ensure((is.0.as_str(), is.1.as_str(), is.2.as_str()) == want, format!("{is:?}"))
}

/// More talkers than there is room for: those with the most stay, and what may be missing is said.
fn scan() -> Outcome {
    use crate::messages::{client, server, udp, write_pcap};
    let folder = folder();
    let file = folder.path().join("scan.pcap");
    // 40,000 addresses with a packet or two each; and one that sends one in 101 all along.
    let packets = (0..40_000_u32).flat_map(|number| {
        let [_, high, middle, low] = number.to_be_bytes();
        let from = ([10, high, middle, low], 1_000);
        let to = (server(9), 2_000);
        let heavy = (number % 100 == 0).then(|| udp((client(1), 5), (client(2), 6), &[0; 1_000]));
        let again = (number % 3 == 0).then(|| udp(from, to, &[0; 30]));
        let all = [Some(udp(from, to, &[0; 20])), again, heavy];
        all.into_iter().flatten().map(move |packet| (u64::from(number) / 1_000, packet))
    });
    write_pcap(&file, packets.collect::<Vec<_>>());
    let more = ["--stats-interval", "1h", "--names", "off", "--top", "16384"];
    let read = read(&[&file], &more)?;
    let mut exact = BTreeMap::new();
    for record in &read.records {
        let both = number(record, "src_bytes") + number(record, "dst_bytes");
        for end in ["src_ip", "dst_ip"] {
            *exact.entry(text(&record[end])).or_insert(0) += both;
        }
    }
    let in_all: u64 = exact.values().sum();
    let talkers: Vec<_> = read.lines.iter().filter(|line| line["group"] == "talker").collect();
    ensure((1_000..=16_384).contains(&talkers.len()), format!("{} talkers", talkers.len()))?;
    let is_full = talkers.iter().any(|line| number(line, "error_bytes") > 0);
    ensure(is_full, "there was room for all of them")?;
    for line in &talkers {
        let (key, bytes, error) =
            (text(&line["key"]), number(line, "bytes"), number(line, "error_bytes"));
        let is = exact.get(&key).copied().unwrap_or_default();
        ensure(bytes <= is && is <= bytes + error, format!("{line}: {is}"))?;
        ensure(error <= in_all / 8_192, format!("{line}: of {in_all}"))?;
    }
    let heaviest = exact.iter().max_by_key(|(_, bytes)| **bytes).map(|(key, _)| key.clone());
    ensure(heaviest == Some(text(&talkers[0]["key"])), format!("{heaviest:?}: {}", talkers[0]))
}

fn files() -> Outcome {
    let made = generate(5_000, 300, 5);
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (capture, records) = (made.capture.to_string_lossy().into_owned(), path("r.jsonl"));
    let (packed, plain) = (path("s.jsonl.gz"), path("s.jsonl"));
    let read = |more: &[&str]| -> Run {
        flowtap(["read", "-q", "-o", &records].iter().chain(more).chain(&[capture.as_str()]))
    };
    read(&["--stats", &packed, "--stats", &plain, "--stats-interval", "1s"]).expect(0)?;
    let unpacked = Run::of(Command::new("gzip").args(["-dc", &packed])).expect(0)?;
    ensure(unpacked.stdout == fs::read_to_string(&plain)?, "not the same")?;
    let refused = |more: &[&str], says: &str| -> Outcome {
        let run = read(more).expect(2)?;
        ensure(run.stderr.contains(says), format!("{more:?}: {}", run.stderr))
    };
    refused(&["--stats", &plain, "--stats-interval", "50ms"], "100ms or more")?;
    refused(&["--stats", &plain, "--stats", &plain], "given twice")?;
    refused(&["--stats", &plain, "--top", "100000"], "up to 16384")?;
    refused(&["--stats", &path("no/such/folder.csv")], "no/such")
}

/// What another reader of the format finds is what records say.
fn log() -> Outcome {
    let mut files = some_captures();
    let made = generate(20_000, 1_000, 3);
    files.push(made.capture.clone());
    for file in files {
        let read = read(&[&file], &["--stats-interval", "1s"])?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/hlog.py");
        let log = read.folder.path().join("a.hlog");
        let found = Run::of(Command::new(PYTHON).arg(script).arg(log)).expect(0)?;
        let found: Value = serde_json::from_str(&found.stdout)?;
        let what = |text: &str| format!("{}: {text}: {found:#}", file.display());
        let of = |tag: &str| found[tag].as_array().cloned().unwrap_or_default();
        let count = |tag: &str| of(tag).iter().map(|it| number(it, "count")).sum::<u64>();
        let packets = &read.ledger["packets"];
        let in_all = number(packets, "in_flows") + number(packets, "in_overflow");
        ensure(count("packet_size_bytes") == in_all, what("sizes"))?;
        // Values are within a thousandth.
        let near = |is: f64, want: f64| (is - want).abs() <= want / 500.0;
        let sum = |tag: &str| -> f64 {
            let each = of(tag).into_iter();
            each.map(|it| it["mean"].as_f64().unwrap_or_default() * number(&it, "count") as f64)
                .sum()
        };
        let bytes: u64 = by(&read.records, |_| String::new(), "bytes").values().sum();
        ensure(near(sum("packet_size_bytes"), bytes as f64), what("bytes"))?;
        for series in ["rtt_server_ns", "rtt_client_ns"] {
            let parts = read.records.iter().filter(|record| record["part"] == 0);
            let known: Vec<_> = parts.filter_map(|record| record[series].as_u64()).collect();
            ensure(count(series) == known.len() as u64, what(series))?;
            let want: u64 = known.iter().sum();
            ensure(near(sum(series), want as f64), what(series))?;
        }
        ensure(in_all == 0 || count("batch_time_ns") > 0, what("batches"))?;
        // Sizes are of the intervals that lines are of, and so many.
        let sizes = of("packet_size_bytes");
        let totals: Vec<_> = read.lines.iter().filter(|line| line["group"] == "total").collect();
        let packets: Vec<_> =
            totals.iter().map(|line| number(line, "packets")).filter(|&it| it > 0).collect();
        let is: Vec<_> = sizes.iter().map(|it| number(it, "count")).collect();
        ensure(is == packets, what(&format!("{packets:?}")))?;
    }
    Ok(())
}

pub(crate) fn live_trials() -> Vec<Trial> {
    vec![Trial::test("live::intervals_are_of_the_walls_clock", live)]
}

/// Packets of a second or so, on two queues, at first to a capture that is stopped and loses some:
/// in the intervals in which they came, which are complete long before their flows are over.
fn live() -> Outcome {
    use nix::sys::signal::Signal;
    let made = generate(20_000, 1_000, 10);
    let path = |name: &str| made.folder.path().join(name).display().to_string();
    let (records, stats) = (path("live.jsonl"), path("s.json"));
    let (sums_file, log) = (path("sums.jsonl"), path("times.hlog"));
    let net = crate::live::Net::up("flowtap-sums")?;
    let mut arguments = vec!["-o", &records, "--stats-interval", "100ms", "--ring-frames", "64"];
    [&stats, &sums_file, &log].into_iter().for_each(|file| arguments.extend(["--stats", file]));
    let (capture, _) = net.capture_by("observe", &arguments)?;
    let before = std::time::SystemTime::now();
    crate::program::signal(&capture.child, Signal::SIGSTOP);
    net.send(&made.capture)?;
    crate::program::signal(&capture.child, Signal::SIGCONT);
    net.send(&made.capture)?;
    let part = format!("{sums_file}.part");
    let written = || fs::read_to_string(&part).unwrap_or_default();
    let is_written = crate::program::wait_for(|| written().lines().count() > 20);
    // Idle timeouts are longer than this takes.
    let records_before = fs::read_to_string(format!("{records}.part")).unwrap_or_default();
    capture.stop(0)?;
    ensure(is_written, format!("no interval is written: {}", written()))?;
    let all = fs::read_to_string(&records)?;
    let is_early = records_before.lines().count() < all.lines().count();
    ensure(is_early, "flows were over before their intervals were written")?;
    let (lines, ledger) =
        (json_lines(&fs::read_to_string(&sums_file)?)?, json_file(Path::new(&stats))?);
    let total = |column: &str| sums(&lines, "total", column).values().sum::<u64>();
    let packets = &ledger["packets"];
    let in_all = number(packets, "in_flows") + number(packets, "in_overflow");
    ensure(total("packets") == in_all, format!("{} of {in_all}", total("packets")))?;
    let dropped = ledger["interfaces"][0]["dropped"].as_object().into_iter().flatten();
    let dropped: u64 = dropped.filter_map(|(_, count)| count.as_u64()).sum();
    let lost = sums(&lines, "interface", "lost_packets").values().sum::<u64>();
    ensure(dropped > 0 && lost == dropped, format!("{lost} of {dropped} lost"))?;
    ensure(total("lost_packets") == dropped, format!("{} in all", total("lost_packets")))?;
    // The second time they came over a second.
    let totals: Vec<_> = lines.iter().filter(|line| line["group"] == "total").collect();
    let with_packets = totals.iter().filter(|line| number(line, "packets") > 0).count();
    ensure((8..60).contains(&with_packets), format!("{with_packets} intervals"))?;
    let since = before.duration_since(std::time::UNIX_EPOCH)?.as_secs();
    for line in &totals {
        let start: jiff::Timestamp = text(&line["start"]).parse()?;
        ensure(start.as_nanosecond() % 100_000_000 == 0, format!("not aligned: {line}"))?;
        let second = u64::try_from(start.as_second())?;
        ensure((since - 1..since + 120).contains(&second), format!("not now: {line}"))?;
    }
    let starts: Vec<_> = totals.iter().map(|line| text(&line["start"])).collect();
    ensure(starts.is_sorted(), "not in the order of time")?;
    ensure(fs::read_to_string(&log)?.contains("Tag=packet_size_bytes,"), "no sizes")
}
