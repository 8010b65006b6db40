//! Files that follow each other, by size and by the clock, named by pattern: together they hold
//! what one file holds.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::program::{
    FLOWTAP, Run, flowtap, flowtap_fed, folder, generate_scan, json_file, json_lines, sorted,
    wait_for,
};
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("rotation::by_size", by_size),
        Trial::test("rotation::by_the_clock_into_folders", by_the_clock),
        Trial::test("rotation::what_is_not_to_be_kept_is_removed", kept),
        Trial::test("rotation::a_pattern_that_is_none_is_refused", refused),
        Trial::test("rotation::the_schema_has_all_columns", schema),
    ]
}

/// All files below a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether files together have the records that a run has written to standard output.
fn hold(files: &[PathBuf], run: &Run) -> Outcome {
    let all: String = files.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
    ensure(sorted(&all) == run.sorted_lines(), "not the records of one file")
}

fn by_size() -> Outcome {
    let made = generate_scan(20_000);
    let run = flowtap(["read".as_ref(), "-q".as_ref(), made.capture.as_os_str()]).expect(0)?;
    let folder = folder();
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict", "--rotate-size", "500k", "-o"]);
    Run::of(command.arg(folder.path().join("flows.jsonl")).arg(&made.capture)).expect(0)?;
    let files = files(folder.path())?;
    ensure(files.len() > 10, format!("{} files", files.len()))?;
    let is_short = |file: &&PathBuf| file.metadata().is_ok_and(|it| it.len() < 500_000);
    let short: Vec<_> = files.iter().filter(is_short).collect();
    ensure(short.len() <= 1, format!("too short: {short:?}"))?;
    for name in ["flows.jsonl", "flows-2.jsonl", "flows-10.jsonl"] {
        ensure(folder.path().join(name).exists(), format!("no {name}: {files:?}"))?;
    }
    hold(&files, &run)
}

fn by_the_clock() -> Outcome {
    let capture = fs::read(generate_scan(20_000).capture)?;
    let run = flowtap_fed(&["read", "-q", "-"], &capture).expect(0)?;
    let folder = folder();
    let mut child = Command::new(FLOWTAP)
        .args(["read", "-q", "-", "--strict", "--rotate", "100ms", "-o"])
        .arg(folder.path().join("{start:%Y/%m-%d}/{start:%H%M%S%.3f}.jsonl"))
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    let (first, second) = capture.split_at(capture.len() / 2);
    stdin.write_all(first)?;
    let are_done = |most: usize| {
        let done = |file: &&PathBuf| file.extension().is_some_and(|it| it == "jsonl");
        files(folder.path()).is_ok_and(|files| files.iter().filter(done).count() >= most)
    };
    ensure(wait_for(|| are_done(3)), "no three files within a minute")?;
    stdin.write_all(second)?;
    drop(stdin);
    ensure(child.wait()?.success(), "exit code")?;
    let files = files(folder.path())?;
    hold(&files, &run)
}

/// Files of an earlier run by the same pattern count, and others are left alone.
fn kept() -> Outcome {
    let made = generate_scan(20_000);
    let folder = folder();
    let make = |name: &str| -> std::io::Result<PathBuf> {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
        fs::write(&path, [0; 1_000])?;
        Ok(path)
    };
    let old = make("2020/02-29/f-235959.jsonl")?;
    let others = [
        make("2020/02-29/f-235959.jsonl.part")?,
        make("2020/03-01/g-235959.jsonl")?,
        make("f-235959.jsonl")?,
    ];
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "--rotate-size", "500k", "--keep", "3M", "--keep", "7d", "-o"]);
    command.arg(folder.path().join("{start:%Y/%m-%d}/f-{start:%H%M%S}.jsonl"));
    command.arg("--stats").arg(made.folder.path().join("stats.json")).arg(&made.capture);
    let run = Run::of(&mut command).expect(0)?;
    ensure(!old.exists(), "the oldest is still there")?;
    ensure(others.iter().all(|other| other.exists()), "somebody else's was removed")?;
    let mut files = files(folder.path())?;
    files.retain(|file| !others.contains(file));
    let bytes = |file: &PathBuf| file.metadata().map_or(0, |it| it.len());
    let all: u64 = files.iter().map(bytes).sum();
    ensure((2_400_000..=3_000_000).contains(&all), format!("{all} bytes: {files:?}"))?;
    let ledger = json_file(&made.folder.path().join("stats.json"))?;
    let removed = ledger["sinks"][0]["removed_files"].as_u64().unwrap_or(0);
    ensure(removed > 10, format!("{ledger}"))?;
    ensure(run.stderr.contains("removed (--keep)"), run.stderr)?;
    // The last that were written are those that stay.
    let last = fs::read_to_string(files.last().ok_or("no files")?)?;
    ensure(last.ends_with('\n'), "the last file")?;
    let plain = folder.path().join("plain.jsonl");
    let arguments = ["read", "--keep", "3M", "-o"].map(AsRef::as_ref);
    let arguments = arguments.into_iter().chain([plain.as_os_str(), made.capture.as_os_str()]);
    let run = flowtap(arguments).expect(2)?;
    ensure(run.stderr.contains("which day"), run.stderr)
}

fn refused() -> Outcome {
    for wrong in ["{.jsonl", "{what}.jsonl", "{start}.jsonl"] {
        let run = flowtap(["read", "no.pcap", "-o", wrong]).expect(2)?;
        ensure(run.stderr.contains("{start:%Y%m%dT%H%M%S}"), run.stderr)?;
    }
    Ok(())
}

fn schema() -> Outcome {
    let made = generate_scan(100);
    let csv = made.folder.path().join("a.csv");
    let arguments = ["read", "-q", "--features-set", "extended", "-o"].map(AsRef::as_ref);
    let arguments = arguments.into_iter().chain([csv.as_os_str()]);
    flowtap(arguments.chain([made.capture.as_os_str()])).expect(0)?;
    let header = fs::read_to_string(&csv)?;
    let columns: Vec<_> = header.lines().next().unwrap_or_default().split(',').collect();
    let json = flowtap(["schema", "--format", "json"]).expect(0)?.stdout;
    let fields: serde_json::Value = serde_json::from_str(&json)?;
    let fields = fields.as_array().ok_or("no array")?;
    let names: Vec<_> = fields.iter().filter_map(|field| field["name"].as_str()).collect();
    ensure(names == columns, format!("{names:?}"))?;
    let table = flowtap(["schema"]).expect(0)?.stdout;
    ensure(table.lines().count() == columns.len() + 2, table)?;
    // As the records themselves have them.
    let out = flowtap(["read".as_ref(), "-q".as_ref(), made.capture.as_os_str()]).expect(0)?.stdout;
    let record = &json_lines(&out)?[0];
    for field in fields {
        let text = |name: &str| field[name].as_str().unwrap_or_default();
        let (value, kind) = (&record[text("name")], text("type"));
        let fits = match kind.split(',').next() {
            _ if value.is_null() => true,
            Some("integer") => value.is_u64(),
            Some("string") => value.is_string(),
            Some("object") => value.is_object(),
            _ => value.is_array(),
        };
        ensure(fits, format!("{field}: {value}"))?;
    }
    Ok(())
}
