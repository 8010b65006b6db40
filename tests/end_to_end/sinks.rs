//! Files as others read them: by Python's csv, json and gzip, and by zstd; whole or not
//! there at all.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;

use crate::program::{
    FLOWTAP, Run, flowtap, folder, generate, is_root, json_file, signal, sorted, wait_for,
};
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("sinks::all_formats_hold_the_same_records", all_formats),
        Trial::test("sinks::a_file_has_its_name_when_it_is_complete", part_until_complete),
        Trial::test("sinks::hup_starts_a_new_file", hup),
        Trial::test("sinks::hup_leaves_standard_output_alone", hup_on_stdout),
        Trial::test("sinks::a_run_that_fails_to_start_leaves_older_files_alone", failed_start),
        Trial::test("sinks::what_a_crash_left_is_kept", older_part),
        Trial::test("sinks::a_pipe_that_nobody_reads_is_refused", pipe_without_reader),
        Trial::test("sinks::a_reader_that_goes_away_ends_the_run", closed_pipe),
        Trial::test("sinks::a_full_device_is_told_and_counted", full_device),
    ];
    if is_root() {
        trials.push(Trial::test("sinks::a_full_disk_leaves_no_file_under_its_name", full_disk));
    } else {
        trials.extend(not_here("sinks_as_root", "needs root to mount a small disk"));
    }
    trials
}

/// Reads a CSV file as Python does, and prints JSON lines as `flowtap` would.
const CSV_TO_JSON: &str = r#"
import csv, json, sys
NUMBERS = set("part duration_ns ip_version protocol icmp_type icmp_code".split())
ENDS = tuple("_port _packets _bytes _fragments _tcp_flags _ns _retransmits _out_of_order _zero_windows _ttl_min _ttl_max _dscp".split())
DEVICE = "mac vendor hostname source".split()
for row in csv.DictReader(open(sys.argv[1], newline="")):
    out = {}
    for name, text in row.items():
        if text == "":
            continue
        is_number = name in NUMBERS or name.endswith(ENDS)
        out[name] = int(text) if is_number else [int(v) for v in text.split(";")] if name == "vlan" else text
        if name.endswith("_device"):
            out[name] = {part: value for part, value in zip(DEVICE, text.split(";")) if value}
    print(json.dumps(out, separators=(",", ":")))
"#;

fn python(script: &str, file: &Path) -> Result<String, Failed> {
    Ok(Run::of(Command::new("python3").arg("-c").arg(script).arg(file)).expect(0)?.stdout)
}

fn all_formats() -> Outcome {
    let made = generate(5_000, 300, 5);
    let names = ["a.jsonl", "b.csv", "c.jsonl.gz", "d.jsonl.zst", "e.csv.gz"];
    let path = |name: &str| made.folder.path().join(name);
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "--strict", "-o", "-"]).arg(&made.capture);
    for name in names {
        command.arg("-o").arg(path(name));
    }
    let run = Run::of(&mut command).expect(0)?;
    let want = run.sorted_lines();
    ensure(want.len() > 250, "too few records to say anything")?;

    let gunzip = "import gzip, sys; print(gzip.open(sys.argv[1], 'rt').read(), end='')";
    let zstd = Run::of(Command::new("zstd").arg("-dcq").arg(path("d.jsonl.zst"))).expect(0)?;
    ensure(sorted(&fs::read_to_string(path("a.jsonl"))?) == want, "a.jsonl")?;
    ensure(sorted(&python(CSV_TO_JSON, &path("b.csv"))?) == want, "b.csv")?;
    ensure(sorted(&python(gunzip, &path("c.jsonl.gz"))?) == want, "c.jsonl.gz")?;
    ensure(sorted(&zstd.stdout) == want, "d.jsonl.zst")?;
    let csv = python(gunzip, &path("e.csv.gz"))?;
    ensure(sorted(&csv) == sorted(&fs::read_to_string(path("b.csv"))?), "e.csv.gz")
}

/// A run that waits on its standard input, writing to `out`.
fn waiting_run(out: &Path) -> std::io::Result<std::process::Child> {
    Command::new(FLOWTAP)
        .args(["read", "-q", "-", "-o"])
        .arg(out)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// The header of a pcap file: enough for the program to begin.
fn header() -> Vec<u8> {
    let mut header = vec![0; 24];
    header[..4].copy_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    header[20] = 1;
    header
}

fn part_until_complete() -> Outcome {
    let folder = folder();
    let out = folder.path().join("flows.csv");
    let part = folder.path().join("flows.csv.part");
    fs::write(&out, "an older file")?;
    let mut child = waiting_run(&out)?;
    std::io::Write::write_all(child.stdin.as_mut().expect("it was piped"), &header())?;
    ensure(wait_for(|| part.exists()), "no .part while writing")?;
    ensure(fs::read_to_string(&out)? == "an older file", "replaced before it was complete")?;
    drop(child.stdin.take());
    Run::from(child.wait_with_output()?).expect(0)?;
    ensure(!part.exists(), "the .part is still there")?;
    ensure(fs::read_to_string(&out)?.starts_with("kind,flow_id"), "the new file")
}

fn hup() -> Outcome {
    let folder = folder();
    let out = folder.path().join("flows.csv");
    let moved = folder.path().join("flows.csv.1");
    let mut child = waiting_run(&out)?;
    std::io::Write::write_all(child.stdin.as_mut().expect("it was piped"), &header())?;
    let part = folder.path().join("flows.csv.part");
    ensure(wait_for(|| part.exists()), "no .part while writing")?;
    signal(&child, Signal::SIGHUP);
    ensure(wait_for(|| out.exists()), "the first file is not complete")?;
    fs::rename(&out, &moved)?;
    signal(&child, Signal::SIGHUP);
    ensure(wait_for(|| out.exists()), "the second file is not complete")?;
    // Nobody moves the second one away: the third must not replace it.
    drop(child.stdin.take());
    Run::from(child.wait_with_output()?).expect(0)?;
    for file in [out, moved, folder.path().join("flows-2.csv")] {
        ensure(fs::read_to_string(&file)?.starts_with("kind,flow_id"), file.display().to_string())?;
    }
    Ok(())
}

fn hup_on_stdout() -> Outcome {
    let made = generate(2_000, 100, 12);
    let folder = folder();
    let stats = folder.path().join("stats.json");
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-q", "-", "-o", "-", "--stats-interval", "10ms", "--stats"])
        .arg(&stats)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let capture = fs::read(&made.capture)?;
    let (first, rest) = capture.split_at(capture.len() / 2);
    let mut stdin = child.stdin.take().expect("it was piped");
    std::io::Write::write_all(&mut stdin, first)?;
    let taken = || json_file(&stats).is_ok_and(|l| l["packets"]["delivered"].as_u64() > Some(500));
    ensure(wait_for(taken), "the first half was not taken in")?;
    signal(&child, Signal::SIGHUP);
    std::io::Write::write_all(&mut stdin, rest)?;
    drop(stdin);
    let run = Run::from(child.wait_with_output()?).expect(0)?;
    let read = flowtap(["read".as_ref(), "-q".as_ref(), made.capture.as_os_str()]).expect(0)?;
    let (got, want) = (run.stdout.lines().count(), read.stdout.lines().count());
    ensure(got == want, format!("{got} records, want {want}"))
}

fn failed_start() -> Outcome {
    let made = generate(2_000, 100, 13);
    let old = made.folder.path().join("old.jsonl");
    let old_text = old.display().to_string();
    let capture = made.capture.display().to_string();
    let missing = made.folder.path().join("no/such/x.jsonl").display().to_string();
    fs::write(&old, "an older file")?;
    for arguments in [
        &["-o", &old_text, "-o", &missing][..],
        &["-o", &old_text, "--stats", &old_text],
        &["-o", &old_text, "--stats", &missing],
        &["--stats", &capture],
    ] {
        let arguments = [&["read", "-q", &capture], arguments].concat();
        let run = flowtap(&arguments).expect(2)?;
        ensure(run.stderr.lines().count() == 1, format!("{arguments:?}: {}", run.stderr))?;
        ensure(fs::read_to_string(&old)? == "an older file", format!("{arguments:?}: replaced"))?;
        let part = made.folder.path().join("old.jsonl.part");
        ensure(!part.exists(), format!("{arguments:?}: something was left"))?;
    }
    ensure(fs::metadata(&made.capture)?.len() > 100_000, "the capture was overwritten")
}

fn older_part() -> Outcome {
    let made = generate(2_000, 100, 14);
    let out = made.folder.path().join("flows.jsonl");
    fs::write(made.folder.path().join("flows.jsonl.part"), "left by a crash")?;
    let arguments = ["read".as_ref(), "-q".as_ref(), made.capture.as_os_str(), "-o".as_ref()];
    flowtap(arguments.into_iter().chain([out.as_os_str()])).expect(0)?;
    let kept = fs::read_to_string(made.folder.path().join("flows.jsonl.part.1"))?;
    ensure(kept == "left by a crash", kept)?;
    ensure(out.exists(), "no records")
}

fn pipe_without_reader() -> Outcome {
    let made = generate(2_000, 100, 15);
    let pipe = made.folder.path().join("pipe.jsonl");
    Run::of(Command::new("mkfifo").arg(&pipe)).expect(0)?;
    let arguments = ["read".as_ref(), "-q".as_ref(), made.capture.as_os_str(), "-o".as_ref()];
    let run = flowtap(arguments.into_iter().chain([pipe.as_os_str()])).expect(2)?;
    ensure(run.stderr.contains("nobody reads it"), run.stderr)?;
    // With a reader it is written to in place.
    let reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn()?;
    let opened = || {
        let arguments = ["read".as_ref(), "-q".as_ref(), made.capture.as_os_str(), "-o".as_ref()];
        flowtap(arguments.into_iter().chain([pipe.as_os_str()])).code == Some(0)
    };
    ensure(wait_for(opened), "a pipe with a reader is refused")?;
    let text = Run::from(reader.wait_with_output()?).stdout;
    ensure(text.lines().count() >= 100, "the reader did not get the records")
}

fn closed_pipe() -> Outcome {
    let made = generate(20_000, 2_000, 6);
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-q", "-o", "-"])
        .arg(&made.capture)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let run = Run::from(child.wait_with_output()?).expect(0)?;
    ensure(run.stderr.is_empty(), run.stderr)
}

fn full_device() -> Outcome {
    // What holds for a full disk, without one: /dev/full takes nothing.
    let made = generate(5_000, 500, 7);
    let stats = made.folder.path().join("stats.json");
    let link = made.folder.path().join("full.jsonl");
    let good = made.folder.path().join("good.jsonl");
    std::os::unix::fs::symlink("/dev/full", &link)?;
    let run = flowtap([
        "read".as_ref(),
        "-q".as_ref(),
        made.capture.as_os_str(),
        "-o".as_ref(),
        link.as_os_str(),
        "-o".as_ref(),
        good.as_os_str(),
        "--stats".as_ref(),
        stats.as_os_str(),
    ])
    .expect(2)?;
    ensure(run.stderr.lines().count() == 1 && run.stderr.contains("no space left"), run.stderr)?;
    let ledger = json_file(&stats)?;
    let created = ledger["flows"]["created"].as_u64().unwrap_or(0);
    let lost: u64 = ledger["flows"]["not_sent"]
        .as_object()
        .into_iter()
        .flat_map(|causes| causes.values())
        .filter_map(serde_json::Value::as_u64)
        .sum();
    ensure(created > 0 && lost == created, format!("{ledger}"))?;
    ensure(ledger["residuals"]["flows"] == 0, format!("{ledger}"))?;
    let others = fs::read_to_string(&good)?.lines().count() as u64;
    ensure(others == created, format!("the other sink has {others} of {created}"))
}

/// A small disk that goes when dropped.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn new() -> Result<Self, Failed> {
        Self::with("size=64k")
    }

    /// One that is mounted with such options.
    pub(crate) fn with(options: &str) -> Result<Self, Failed> {
        let folder = folder();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        Run::of(&mut mount).expect(0)?;
        Ok(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn full_disk() -> Outcome {
    let made = generate(20_000, 2_000, 8);
    for name in ["flows.jsonl", "flows.jsonl.gz"] {
        let disk = SmallDisk::new()?;
        let out = disk.path().join(name);
        let arguments = ["read".as_ref(), "-q".as_ref(), made.capture.as_os_str(), "-o".as_ref()];
        let run = flowtap(arguments.into_iter().chain([out.as_os_str()])).expect(2)?;
        ensure(run.stderr.lines().count() == 1, run.stderr.clone())?;
        for word in ["no space left", ".part", "free some space"] {
            ensure(run.stderr.contains(word), format!("no '{word}': {}", run.stderr))?;
        }
        ensure(!out.exists(), "a partial file has the final name")?;
    }
    Ok(())
}
