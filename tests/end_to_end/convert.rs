//! `flowtap convert`: what a run wrote in one format, made of what it wrote in another; and the
//! golden files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::program::{
    FLOWTAP, Run, flowtap, flowtap_fed, folder, generate, generate_scan, generate_with, xtask,
};
use crate::{Outcome, ensure, ipfix};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("convert::json_lines_come_back_from_every_format", || {
            every_format(&generate(5_000, 300, 5).capture, &[])?;
            every_format(&generate(5_000, 300, 6).capture, &["--max-flows", "40"])
        }),
        Trial::test("convert::json_lines_come_back_with_statistics_and_names", || {
            let made = generate_with("tls-mix", 6_000, 200, 7, &[]);
            every_format(&made.capture, &["--features-set", "extended"])
        }),
        Trial::test("convert::several_row_groups", || {
            from_each(&["a.jsonl", "a.parquet"], &generate_scan(125_000).capture, &[])
        }),
        Trial::test("convert::tshark_reads_what_was_converted", for_tshark),
        Trial::test("convert::what_was_cut_is_converted_up_to_there", cut),
        Trial::test("convert::what_is_wrong_leaves_nothing", wrong),
        Trial::test("convert::what_a_full_disk_did_not_take_is_not_said_to_be_there", full),
        Trial::test("golden::files_are_what_is_committed", || {
            let mut command = xtask();
            Run::of(command.args(["golden", "--check", "--program", FLOWTAP])).expect(0).map(drop)
        }),
    ]
}

/// From each format that has all fields.
fn every_format(capture: &Path, arguments: &[&str]) -> Outcome {
    let names = ["a.jsonl", "a.csv", "a.parquet", "a.arrow", "a.csv.gz", "a.jsonl.zst"];
    from_each(&names, capture, arguments)
}

/// Directly and by way of another format; from pipes and to them.
fn from_each(names: &[&str], capture: &Path, arguments: &[&str]) -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict"]).args(arguments).arg(capture);
    names.iter().for_each(|name| _ = command.arg("-o").arg(path(name)));
    Run::of(&mut command).expect(0)?;
    let lines = fs::read_to_string(path("a.jsonl"))?;
    for name in names {
        let mut command = Command::new(FLOWTAP);
        command.args(["convert", "-q"]).arg(path(name));
        for between in ["b.jsonl", "b.parquet", "b.arrow", "b.csv"] {
            command.arg("-o").arg(path(between));
        }
        Run::of(&mut command).expect(0)?;
        let back = fs::read_to_string(path("b.jsonl"))?;
        ensure(back == lines, format!("{name} gives others"))?;
    }
    for between in ["b.parquet", "b.arrow", "b.csv"] {
        let input = path(between);
        let back = flowtap(["convert".as_ref(), "-q".as_ref(), input.as_os_str()]).expect(0)?;
        ensure(back.stdout == lines, format!("{between} gives others"))?;
        let fed = match between {
            "b.parquet" => continue,
            _ => flowtap_fed(&["convert", "-q", "-"], &fs::read(input)?).expect(0)?,
        };
        ensure(fed.stdout == lines, format!("{between} gives others from a pipe"))?;
    }
    Ok(())
}

fn for_tshark() -> Outcome {
    ensure(ipfix::has_tshark(), "needs tshark (scripts/setup installs it)")?;
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let made = generate(5_000, 300, 5);
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q"]).arg(&made.capture).arg("-o").arg(path("a.jsonl"));
    Run::of(&mut command).expect(0)?;
    let mut command = Command::new(FLOWTAP);
    command.args(["convert", "-q"]).arg(path("a.jsonl")).arg("-o").arg(path("a.ipfix"));
    Run::of(&mut command).expect(0)?;
    ipfix::agree(&path("a.ipfix"), &path("a.jsonl"), 250)
}

fn cut() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let made = generate_scan(20_000);
    let names = ["a.jsonl.gz", "a.csv", "a.ipfix", "a.arrow"];
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "--strict"]).arg(&made.capture);
    names.iter().for_each(|name| _ = command.arg("-o").arg(path(name)));
    Run::of(&mut command).expect(0)?;
    for name in names {
        let whole = fs::read(path(name))?;
        fs::write(path("cut"), &whole[..whole.len() * 3 / 4])?;
        let mut command = Command::new(FLOWTAP);
        command.arg("convert").arg(path("cut")).arg("-o").arg(path("b.jsonl"));
        let run = Run::of(&mut command).expect(2)?;
        let says = ["line ", "offset ", "row "].iter().any(|place| run.stderr.contains(place));
        ensure(says && run.stderr.contains("cut: "), format!("{name}: {}", run.stderr))?;
        let lines = fs::read_to_string(path("b.jsonl"))?.lines().count();
        let is_right = (5_000..20_000).contains(&lines);
        ensure(is_right, format!("{name}: {lines} records: {}", run.stderr))?;
        ensure(run.stderr.contains(&format!("{lines} records read")), run.stderr)?;
    }
    Ok(())
}

fn wrong() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.jsonl"), "{\"kind\":\"flow\"}\n")?;
    fs::write(path("other"), "no records\n")?;
    for (input, output, says) in [
        ("missing", "b.csv", "no such file"),
        ("other", "b.csv", "no column is a field"),
        ("a.jsonl", "b.txt", "unknown format"),
        ("a.jsonl", "no/b.csv", "no such file"),
        ("a.jsonl", "a.jsonl", "is read"),
    ] {
        let (input, output) = (path(input), path(output));
        let mut command = Command::new(FLOWTAP);
        let run = Run::of(command.arg("convert").arg(input).arg("-o").arg(&output)).expect(2)?;
        ensure(run.stderr.contains(says), format!("{says}: {}", run.stderr))?;
        ensure(!path("b.csv").exists() && !path("b.csv.part").exists(), "a file is left")?;
    }
    let run = flowtap([
        "convert".as_ref(),
        path("a.jsonl").as_os_str(),
        "-o".as_ref(),
        "ipfix+udp://h".as_ref(),
    ]);
    ensure(run.expect(2)?.stderr.contains("name a file"), "a collector is taken")
}

/// The other output has all.
fn full() -> Outcome {
    let made = generate(2_000, 300, 41);
    let path = |name: &str| made.folder.path().join(name);
    let [jsonl, csv, link] = ["a.jsonl", "b.csv", "full.csv"].map(path);
    flowtap([
        OsStr::new("read"),
        "-q".as_ref(),
        "-o".as_ref(),
        jsonl.as_ref(),
        made.capture.as_ref(),
    ])
    .expect(0)?;
    // A device that takes nothing, as a disk that is full.
    symlink("/dev/full", &link)?;
    let mut command = Command::new(FLOWTAP);
    command.arg("convert").arg(&jsonl).arg("-o").arg(&link).arg("-o").arg(&csv);
    let run = Run::of(&mut command).expect(2)?;
    let records = fs::read_to_string(&jsonl)?.lines().count();
    for says in
        ["no space left", "full.csv: 0 records, 0 bytes", &format!("b.csv: {records} records")]
    {
        ensure(run.stderr.contains(says), format!("{says}: {}", run.stderr))?;
    }
    ensure(fs::read_to_string(&csv)?.lines().count() == records + 1, "not all are there")
}
