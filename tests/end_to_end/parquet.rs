//! Parquet and Arrow files as pyarrow and DuckDB read them, field for field beside the JSON lines
//! of the same run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::program::{FLOWTAP, Run, folder, generate, generate_scan, signal, wait_for};
use crate::{Outcome, ensure, not_here};

/// Reads both and compares.
const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/parquet.py");

/// The Python that has the readers.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin/python");

pub(crate) fn trials() -> Vec<Trial> {
    if !Path::new(PYTHON).exists() {
        return not_here("parquet", "needs pyarrow and DuckDB (scripts/setup-python)");
    }
    vec![
        Trial::test("parquet::others_read_what_json_lines_say", || {
            compare(&generate(5_000, 300, 5).capture, &[], 250)
        }),
        Trial::test("parquet::others_read_overflow_aggregates_and_parts", || {
            compare(&generate(5_000, 300, 6).capture, &["--max-flows", "40"], 40)?;
            compare(&generate(5_000, 300, 6).capture, &["--active-timeout", "1s"], 300)
        }),
        Trial::test("parquet::others_read_several_row_groups", || {
            compare(&generate_scan(150_000).capture, &[], 150_000)
        }),
        Trial::test("parquet::others_read_a_file_without_records", || {
            let folder = folder();
            let capture = folder.path().join("empty.pcap");
            let header = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1];
            fs::write(&capture, header.map(u32::to_le_bytes).as_flattened())?;
            compare(&capture, &[], 0)
        }),
        Trial::test("parquet::hup_completes_a_file_and_begins_another", hup),
        Trial::test("parquet::records_are_in_the_part_after_a_checkpoint", checkpoint),
    ]
}

/// The records of a run in each format; there are at least so many.
fn compare(capture: &Path, arguments: &[&str], at_least: usize) -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let outputs = ["a.parquet", "a.arrow", "a.jsonl"].map(path);
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict"]).args(arguments);
    outputs.iter().for_each(|output| _ = command.arg("-o").arg(output));
    Run::of(command.arg(capture)).expect(0)?;
    agree(&outputs[..1], &outputs[2], at_least)?;
    agree(&outputs[1..2], &outputs[2], at_least)
}

/// Whether others read in `files` together what stands in the JSON lines.
fn agree(files: &[PathBuf], jsonl: &Path, at_least: usize) -> Outcome {
    let run = Run::of(Command::new(PYTHON).arg(COMPARE).arg(jsonl).args(files)).expect(0)?;
    let records: usize = run.stdout.trim().parse()?;
    ensure(records >= at_least, format!("{records} records, fewer than {at_least}"))
}

/// Reads a capture from a pipe, of which so many bytes come, then what `meanwhile` does, then the
/// rest.
fn read_in_two(
    outputs: &[PathBuf],
    arguments: &[&str],
    meanwhile: impl FnOnce(&std::process::Child) -> Outcome,
) -> Outcome {
    let capture = fs::read(generate_scan(20_000).capture)?;
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "-", "--idle-timeout", "1s"]).args(arguments);
    outputs.iter().for_each(|output| _ = command.arg("-o").arg(output));
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    let (first, second) = capture.split_at(capture.len() / 2);
    stdin.write_all(first)?;
    meanwhile(&child)?;
    stdin.write_all(second)?;
    drop(stdin);
    ensure(child.wait()?.success(), "exit code")
}

fn hup() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let outputs = ["a.parquet", "a.arrow", "a.jsonl"].map(path);
    read_in_two(&outputs, &["--checkpoint", "10ms"], |child| {
        let is_written = wait_for(|| path("a.jsonl.part").metadata().is_ok_and(|it| it.len() > 0));
        ensure(is_written, "no record was written")?;
        signal(child, Signal::SIGHUP);
        ensure(wait_for(|| outputs.iter().all(|output| output.exists())), "no file was completed")
    })?;
    let lines = ["a.jsonl", "a-2.jsonl"].map(|name| fs::read_to_string(path(name)));
    let [first, second] = lines.map(Result::unwrap_or_default);
    fs::write(path("both"), first + &second)?;
    for kind in ["parquet", "arrow"] {
        let files = ["a", "a-2"].map(|name| path(&format!("{name}.{kind}")));
        agree(&files, &path("both"), 20_000)?;
    }
    Ok(())
}

/// What was written up to a checkpoint is in the file, though nothing more comes.
fn checkpoint() -> Outcome {
    let folder = folder();
    let outputs = ["a.parquet", "a.arrow"].map(|name| folder.path().join(name));
    read_in_two(&outputs, &["--checkpoint", "10ms"], |_| {
        let is_written = |name: &str| {
            let part = folder.path().join(name);
            // More than what comes before the first record: magic bytes, and Arrow's schema.
            wait_for(|| part.metadata().is_ok_and(|it| it.len() > 20_000))
        };
        ensure(is_written("a.parquet.part"), "nothing in the Parquet file")?;
        ensure(is_written("a.arrow.part"), "nothing in the Arrow file")
    })
}
