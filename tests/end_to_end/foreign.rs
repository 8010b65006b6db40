//! Zeek's `conn.log` and Suricata's events as Python and jq read them, field for field beside the
//! JSON lines of the same run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::program::{FLOWTAP, Run, folder, generate, generate_with, signal, wait_for};
use crate::{Outcome, ensure, not_here};

/// Reads both and compares.
const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/foreign.py");

pub(crate) fn trials() -> Vec<Trial> {
    if Command::new("jq").arg("--version").output().is_err() {
        return not_here("foreign", "needs jq (scripts/setup installs it)");
    }
    vec![
        Trial::test("foreign::others_read_what_json_lines_say", || {
            compare(&generate(5_000, 300, 5).capture, &[], 250)
        }),
        Trial::test("foreign::others_read_overflow_aggregates_and_parts", || {
            compare(&generate(5_000, 300, 6).capture, &["--max-flows", "40"], 40)?;
            compare(&generate(5_000, 300, 6).capture, &["--active-timeout", "1s"], 300)
        }),
        Trial::test("foreign::others_read_names", || {
            let made = generate_with("tls-mix", 6_000, 200, 7, &[]);
            compare(&made.capture, &[], 200)
        }),
        Trial::test("foreign::each_file_has_its_header", hup),
    ]
}

/// The records of a run in each format, compressed and not; there are at least so many.
fn compare(capture: &Path, arguments: &[&str], at_least: usize) -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict"]).args(arguments).arg("-o").arg(path("a.jsonl"));
    let kinds = ["zeek", "zeek-json", "eve"];
    command.arg("-o").arg(path("conn.log"));
    for kind in kinds {
        command.arg("-o").arg(format!("{kind}:{}", path(kind).display()));
        command.arg("-o").arg(format!("{kind}:{}.gz", path(kind).display()));
    }
    Run::of(command.arg(capture)).expect(0)?;
    for kind in kinds {
        agree(kind, &path("a.jsonl"), &[&path(kind)], at_least)?;
        agree(kind, &path("a.jsonl"), &[&path(&format!("{kind}.gz"))], at_least)?;
    }
    agree("zeek", &path("a.jsonl"), &[&path("conn.log")], at_least)
}

/// Whether others read in files of a kind together what stands in the JSON lines.
fn agree(kind: &str, jsonl: &Path, files: &[&Path], at_least: usize) -> Outcome {
    let mut command = Command::new("python3");
    let run = Run::of(command.arg(COMPARE).arg(kind).arg(jsonl).args(files)).expect(0)?;
    let records: usize = run.stdout.trim().parse()?;
    ensure(records >= at_least, format!("{kind}: {records} records, fewer than {at_least}"))
}

/// HUP completes a file with its last line, and the next one begins with the header.
fn hup() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let capture = fs::read(generate(20_000, 2_000, 5).capture)?;
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-q", "-", "--idle-timeout", "100ms", "-o"])
        .args([path("conn.log"), "-o".into(), path("a.jsonl")])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    let (first, second) = capture.split_at(capture.len() / 2);
    std::io::Write::write_all(&mut stdin, first)?;
    let has_records = || path("a.jsonl.part").metadata().is_ok_and(|it| it.len() > 0);
    ensure(wait_for(has_records), "no record was written")?;
    signal(&child, Signal::SIGHUP);
    let outputs = ["conn.log", "a.jsonl"].map(path);
    ensure(wait_for(|| outputs.iter().all(|it| it.exists())), "no file was completed")?;
    std::io::Write::write_all(&mut stdin, second)?;
    drop(stdin);
    ensure(child.wait()?.success(), "exit code")?;
    let lines = ["a.jsonl", "a-2.jsonl"].map(|name| fs::read_to_string(path(name)));
    let [first, second] = lines.map(Result::unwrap_or_default);
    fs::write(path("both"), first + &second)?;
    agree("zeek", &path("both"), &[&path("conn.log"), &path("conn-2.log")], 1_000)
}
