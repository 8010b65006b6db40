//! Flags, bad input and signals: each refusal is one clear line that names what to do.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{
    FLOWTAP, Run, flowtap, flowtap_fed, folder, generate, is_root, json_file, json_lines, signal,
    wait_for,
};
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("cli::bad_input_is_refused_in_one_line", bad_input),
        Trial::test("cli::a_cut_gzip_keeps_what_came_before", cut_gzip),
        Trial::test("cli::a_damaged_file_does_not_stop_the_next", damaged_then_good),
        Trial::test("cli::an_empty_capture_gives_no_records", empty_capture),
        Trial::test("cli::help_and_version_are_data", help_and_version),
        Trial::test("cli::count_stops_after_so_many_packets", count),
        Trial::test("cli::standard_input_is_read_as_it_comes", standard_input),
        Trial::test("cli::term_finalises_every_flow", || stop_by(Signal::SIGTERM)),
        Trial::test("cli::int_finalises_every_flow", || stop_by(Signal::SIGINT)),
        Trial::test("cli::usr1_prints_the_ledger", usr1),
        Trial::test("cli::idle_timeouts_cut_where_they_say", idle_timeouts),
        Trial::test("cli::steps_back_in_time_are_counted_and_said", steps_back),
    ];
    if is_root() {
        trials.push(Trial::test("cli::live_bad_input_is_refused_in_one_line", live_bad_input));
        trials.push(Trial::test("cli::not_root_is_told_so", not_root));
    } else {
        trials.extend(not_here("cli_as_root", "needs root"));
    }
    trials
}

/// The program refuses with exit 2 and one line that has all of `words`.
fn check_refused(run: Run, words: &[&str]) -> Outcome {
    let run = run.expect(2)?;
    ensure(run.stdout.is_empty(), format!("standard output: {}", run.stdout))?;
    let lines: Vec<_> = run.stderr.lines().collect();
    ensure(lines.len() == 1, format!("want one line:\n{}", run.stderr))?;
    ensure(lines[0].starts_with("flowtap: "), lines[0])?;
    for word in words {
        ensure(lines[0].contains(word), format!("no '{word}' in: {}", lines[0]))?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> String {
    fs::write(path, bytes).expect("the temporary folder takes files");
    path.display().to_string()
}

fn bad_input() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let empty = write(&path("empty"), b"");
    let text = write(&path("notes.txt"), b"hello, this is no capture at all\n");
    let good = write(&path("good.pcap"), &pcap(&[]));
    let here = folder.path().display().to_string();
    let missing = path("missing.pcap").display().to_string();
    let in_missing = path("no/such/folder/x.jsonl").display().to_string();
    fs::create_dir(path("folder.jsonl")).expect("the temporary folder takes folders");
    let on_folder = path("folder.jsonl").display().to_string();

    let refused = |arguments: &[&str], words: &[&str]| check_refused(flowtap(arguments), words);
    refused(&["read", &missing], &["missing.pcap", "no such file", ";"])?;
    refused(&["read", &here], &[&here, "directory"])?;
    refused(&["read", &empty], &["empty", ";"])?;
    refused(&["read", &text], &["notes.txt", "not a pcap", ";"])?;
    refused(&["read", &good, &missing], &["missing.pcap", "no such file"])?;
    refused(&["read", &good, "-o", &in_missing], &["no/such/folder", "no such file", "folder"])?;
    refused(&["read", &good, "-o", &on_folder], &["folder.jsonl", "directory"])?;
    refused(&["read", &good, "-o", "x.txt"], &["x.txt", ".jsonl"])?;
    refused(&["read", &good, "-o", "-", "-o", "-"], &["twice"])?;
    refused(&["read", &good, "--no-such-flag"], &["--no-such-flag", "--help"])?;
    refused(&["read", &good, "--idle-timeout", "soon"], &["soon", "15s"])?;
    refused(&["read", &good, "--workers", "0"], &["--workers", "1 to"])?;
    refused(&["read", &good, "--max-flows", "0"], &["--max-flows"])?;
    refused(&["read", &good, "--max-flows", "999999999999"], &["--max-flows"])?;
    refused(&["read", &good, "--stats", &here], &["directory"])?;
    refused(&["read"], &["FILE", "--help"])?;
    refused(&["frobnicate"], &["frobnicate", "--help"])?;
    refused(&[], &["--help"])?;
    refused(&["capture"], &["--interface", "--help"])?;
    check_refused(flowtap_fed(&["read", "-"], b"garbage that is no capture"), &["not a pcap"])?;

    let left: Vec<_> = fs::read_dir(folder.path())?.flatten().map(|e| e.file_name()).collect();
    ensure(left.len() == 4, format!("something was left behind: {left:?}"))
}

fn live_bad_input() -> Outcome {
    let refused = |arguments: &[&str], words: &[&str]| check_refused(flowtap(arguments), words);
    refused(&["capture", "-i", "no-such-if", "--mode", "tap"], &["no-such-if", "no such", ";"])?;
    refused(&["capture", "-i", "lo", "--mode", "tap"], &["lo", "--force"])?;
    refused(
        &["capture", "-i", "no-such-if", "--mode", "observe"],
        &["no-such-if", "no such", ";"],
    )?;
    let observe = |more: [&str; 2], words: [&str; 2]| {
        refused(&[&["capture", "-i", "lo", "--mode", "observe"], &more[..]].concat(), &words)
    };
    observe(["--busy-poll", "50"], ["--busy-poll", "leave it out"])?;
    observe(["--zero-copy", "off"], ["--zero-copy off", "leave it out"])?;
    observe(["--ring-frames", "100"], ["power of two", "64"])?;
    observe(["--cpus", "3-1"], ["3-1", "0-3,8"])?;
    observe(["--cpus", "1023"], ["processor 1023", "it may on"])?;
    observe(["--workers", "65"], ["--workers 65", "1 to 64"])
}

fn not_root() -> Outcome {
    use std::os::unix::process::CommandExt;
    // A copy where everybody may run it.
    let folder = folder();
    let copy = folder.path().join("flowtap");
    fs::copy(FLOWTAP, &copy)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open)?;
    let nobody = 65_534;
    let mut command = Command::new(&copy);
    command.args(["capture", "-i", "lo", "--force"]).uid(nobody).gid(nobody);
    check_refused(Run::of(&mut command), &["root"])
}

/// A little-endian nanosecond pcap of Ethernet frames.
fn pcap(frames: &[(u64, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_3c4d_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (ns, frame) in frames {
        let seconds = u32::try_from(ns / 1_000_000_000).expect("a short time");
        let rest = u32::try_from(ns % 1_000_000_000).expect("below a second");
        let len = u32::try_from(frame.len()).expect("a short frame");
        for word in [seconds, rest, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(*frame);
    }
    file
}

/// A UDP packet in an Ethernet frame.
fn udp(source_port: u16) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(source_port, 9);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"hello").expect("a vector takes everything");
    frame
}

/// Packets at these seconds, one flow.
fn packets_at(seconds: &[u64]) -> Vec<u8> {
    let frame = udp(7);
    let frames: Vec<_> = seconds.iter().map(|s| (s * 1_000_000_000, frame.as_slice())).collect();
    pcap(&frames)
}

fn cut_gzip() -> Outcome {
    let made = generate(2_000, 100, 4);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&fs::read(&made.capture)?)?;
    let gzip = gzip.finish()?;
    let whole = made.folder.path().join("whole.pcap.gz");
    let cut = made.folder.path().join("cut.pcap.gz");
    fs::write(&whole, &gzip)?;
    fs::write(&cut, &gzip[..gzip.len() / 2])?;
    let out = made.folder.path().join("out.jsonl");
    let run = |file: &Path| {
        let arguments = ["read".as_ref(), "-q".as_ref(), file.as_os_str(), "-o".as_ref()];
        flowtap(arguments.into_iter().chain([out.as_os_str()]))
    };
    run(&whole).expect(0)?;
    let all = fs::read_to_string(&out)?.lines().count();
    let cut = run(&cut).expect(2)?;
    ensure(cut.stderr.lines().count() == 1 && cut.stderr.contains("is cut"), cut.stderr.clone())?;
    let some = fs::read_to_string(&out)?.lines().count();
    ensure(some > 0 && some < all, format!("{some} records of {all}"))
}

fn damaged_then_good() -> Outcome {
    let folder = folder();
    let mut bytes = packets_at(&[1, 2, 3]);
    bytes.truncate(bytes.len() - 3);
    let damaged = write(&folder.path().join("damaged.pcap"), &bytes);
    let good = write(&folder.path().join("good.pcap"), &packets_at(&[4, 5]));
    let stats = folder.path().join("stats.json").display().to_string();
    let run = flowtap(["read", "-q", "-o", "-", "--stats", &stats, &damaged, &good]).expect(2)?;
    let records = json_lines(&run.stdout)?;
    ensure(records.len() == 1 && records[0]["src_packets"] == 4, format!("{records:?}"))?;
    let ledger = json_file(Path::new(&stats))?;
    ensure(ledger["interfaces"][0]["file_errors"] == 1, format!("{ledger}"))?;
    ensure(ledger["interfaces"][0]["seen"] == 2, format!("{ledger}"))?;
    ensure(ledger["interfaces"][1]["seen"] == 2, format!("{ledger}"))
}

fn empty_capture() -> Outcome {
    let folder = folder();
    let file = write(&folder.path().join("none.pcap"), &pcap(&[]));
    let run = flowtap(["read", "--strict", "-o", "-", &file]).expect(0)?;
    ensure(run.stdout.is_empty(), run.stdout)
}

fn help_and_version() -> Outcome {
    for arguments in [&["--help"][..], &["read", "--help"], &["capture", "--help"], &["--version"]]
    {
        let run = flowtap(arguments).expect(0)?;
        ensure(run.stdout.contains("flowtap") && run.stderr.is_empty(), format!("{run:?}"))?;
    }
    Ok(())
}

fn count() -> Outcome {
    let folder = folder();
    let file = write(&folder.path().join("five.pcap"), &packets_at(&[1, 2, 3, 4, 5]));
    let run = flowtap(["read", "--count", "3", "--strict", "-o", "-", &file]).expect(0)?;
    let records = json_lines(&run.stdout)?;
    ensure(records.len() == 1 && records[0]["src_packets"] == 3, format!("{records:?}"))
}

fn standard_input() -> Outcome {
    let run = flowtap_fed(&["read", "-", "-o", "-", "--strict"], &packets_at(&[1, 2])).expect(0)?;
    let records = json_lines(&run.stdout)?;
    ensure(records.len() == 1 && records[0]["interface"] == "stdin", format!("{records:?}"))
}

/// A run that waits on standard input, with two packets taken in.
fn waiting_run(stats: &str) -> std::io::Result<std::process::Child> {
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-", "-o", "-", "--stats", stats, "--stats-interval", "10ms"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.as_mut().expect("it was piped");
    stdin.write_all(&packets_at(&[1, 2]))?;
    stdin.flush()?;
    Ok(child)
}

fn has_taken_two(stats: &str) -> bool {
    json_file(Path::new(stats)).is_ok_and(|ledger| ledger["packets"]["delivered"] == 2)
}

fn stop_by(stop: Signal) -> Outcome {
    let folder = folder();
    let stats = folder.path().join("stats.json").display().to_string();
    let mut child = waiting_run(&stats)?;
    ensure(wait_for(|| has_taken_two(&stats)), "the packets were not taken in")?;
    signal(&child, stop);
    // The program must end although standard input stays open.
    let stdin = child.stdin.take();
    let run = Run::from(child.wait_with_output()?).expect(0)?;
    drop(stdin);
    let records = json_lines(&run.stdout)?;
    ensure(records.len() == 1, format!("{records:?}"))?;
    ensure(records[0]["end_reason"] == "forced", format!("{records:?}"))?;
    ensure(records[0]["src_packets"] == 2, format!("{records:?}"))?;
    ensure(json_file(Path::new(&stats))?["complete"] == true, "the final ledger")
}

fn usr1() -> Outcome {
    let folder = folder();
    let stats = folder.path().join("stats.json").display().to_string();
    let mut child = waiting_run(&stats)?;
    ensure(wait_for(|| has_taken_two(&stats)), "the packets were not taken in")?;
    signal(&child, Signal::SIGUSR1);
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("it was piped"));
    std::io::BufRead::read_line(&mut stderr, &mut said)?;
    drop(child.stdin.take());
    Run::from(child.wait_with_output()?).expect(0)?;
    ensure(said.contains("packets") && said.contains('2'), said)
}

fn idle_timeouts() -> Outcome {
    let folder = folder();
    let parts = |seconds: &[u64], timeouts: &[&str]| -> Result<Vec<Value>, libtest_mimic::Failed> {
        let file = write(&folder.path().join("gaps.pcap"), &packets_at(seconds));
        let arguments = [&["read", "-q", "-o", "-", &file], timeouts].concat();
        json_lines(&flowtap(arguments).expect(0)?.stdout)
    };
    let check = |seconds: &[u64], timeouts: &[&str], want: &[(u64, &str)]| -> Outcome {
        let mut records = parts(seconds, timeouts)?;
        records.sort_by_key(|record| record["start"].to_string());
        let got: Vec<_> = records
            .iter()
            .map(|r| {
                (r["src_packets"].as_u64().unwrap_or(0), r["end_reason"].as_str().unwrap_or(""))
            })
            .collect();
        ensure(got == want, format!("{seconds:?} {timeouts:?}: got {got:?}, want {want:?}"))
    };
    // UDP: 30 s unless told otherwise.
    check(&[0, 30, 60], &[], &[(3, "forced")])?;
    check(&[0, 31, 60], &[], &[(1, "idle"), (2, "forced")])?;
    check(&[0, 31, 60], &["--idle-timeout", "31s"], &[(3, "forced")])?;
    check(&[0, 9, 20], &["--idle-timeout", "10s"], &[(2, "idle"), (1, "forced")])?;
    check(&[0, 5_000], &["--idle-timeout", "off"], &[(1, "active"), (1, "forced")])?;
    let never = ["--idle-timeout", "off", "--active-timeout", "off"];
    check(&[0, 5_000], &never, &[(2, "forced")])?;
    let active = ["--active-timeout", "10s"];
    check(&[0, 5, 10, 11, 21, 22], &active, &[(3, "active"), (2, "active"), (1, "forced")])?;
    let records = parts(&[0, 5, 10, 11, 21, 22], &active)?;
    let ids: std::collections::BTreeSet<_> =
        records.iter().map(|r| r["flow_id"].to_string()).collect();
    ensure(ids.len() == 1, format!("parts of one flow have one id: {ids:?}"))?;
    let mut numbers: Vec<_> = records.iter().map(|r| r["part"].as_u64()).collect();
    numbers.sort();
    ensure(numbers == [Some(0), Some(1), Some(2)], format!("{numbers:?}"))
}

fn steps_back() -> Outcome {
    let folder = folder();
    let stats = folder.path().join("stats.json");
    for (seconds, want) in [(&[100, 40, 100][..], 0), (&[100, 165, 100, 166, 101], 2)] {
        let file = write(&folder.path().join("steps.pcap"), &packets_at(seconds));
        let stats_text = stats.display().to_string();
        let run = flowtap(["read", "-o", "-", "--stats", &stats_text, &file]).expect(0)?;
        let packets = &json_file(&stats)?["packets"];
        ensure(packets["steps_back"] == want, format!("{seconds:?}: {packets:#}"))?;
        let is_said = run.stderr.contains("steps back");
        ensure(is_said == (want > 0), format!("{seconds:?}: {}", run.stderr))?;
    }
    Ok(())
}
