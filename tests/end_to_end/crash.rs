//! Runs that are killed: every finished file is whole, and what is left of others can be repaired.
//! `FLOWTAP_KILLS=100` kills as often, and `FLOWTAP_SEED` does it at the same moments again.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{FLOWTAP, Run, flowtap, folder, generate_scan, signal};
use crate::{Outcome, ensure, not_here};

/// Reads all there is.
const READ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/end_to_end/crash.py");

/// The Python that has the readers.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python/bin/python");

const FORMATS: [&str; 6] = ["jsonl", "jsonl.zst", "csv.gz", "ipfix", "parquet", "arrow"];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("crash::what_is_no_part_is_refused", refused)];
    if Path::new(PYTHON).exists() {
        trials.extend([
            Trial::test("crash::what_was_written_before_a_checkpoint_survives", checkpoint),
            Trial::test("crash::runs_that_are_killed_leave_whole_files", killed),
            Trial::test("crash::files_that_are_cut_anywhere_are_repaired", cut),
        ]);
    } else {
        trials.extend(not_here("crash", "needs pyarrow (scripts/setup-python)"));
    }
    trials
}

/// Starts a `read` of standard input into files of all formats.
fn start(folder: &Path, more: &[&str]) -> Result<Child, Failed> {
    let mut command = Command::new(FLOWTAP);
    command.args(["read", "-q", "-", "--idle-timeout", "1s", "--checkpoint", "20ms"]).args(more);
    for format in FORMATS {
        command.arg("-o").arg(folder.join(format!("flows.{format}")));
    }
    Ok(command.stdin(Stdio::piped()).spawn()?)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Repairs what is unfinished. How many files were repaired, and how many had nothing in them.
fn repair_all(folder: &Path) -> Result<(usize, usize), Failed> {
    let (mut repaired, mut empty) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let part = entry?.path();
        let text = part.display().to_string();
        let Some(name) = text.strip_suffix(".part") else { continue };
        // Another one may have the name already.
        let out = name.replacen("flows", "repaired", 1);
        let run = flowtap(["repair", &text, "-o", &out]);
        match run.code {
            Some(0) => repaired += 1,
            Some(2) if run.stderr.contains("no whole record") => empty += 1,
            _ => return Err(format!("{text}: {}", run.stderr).into()),
        }
        ensure(run.stdout.is_empty() && run.stderr.lines().count() == 1, run.stderr)?;
        fs::remove_file(part)?;
    }
    Ok((repaired, empty))
}

/// Records of each format in a folder, as others read them.
fn read_all(folder: &Path) -> Result<Value, Failed> {
    let run = Run::of(Command::new(PYTHON).arg(READ).arg(folder)).expect(0)?;
    Ok(serde_json::from_str(&run.stdout)?)
}

/// After the first half has been in for longer than a checkpoint takes, all of it is there.
fn checkpoint() -> Outcome {
    let capture = fs::read(generate_scan(20_000).capture)?;
    let folder = folder();
    let mut child = start(folder.path(), &[])?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(&capture[..capture.len() / 2])?;
    let lines = || fs::read(folder.path().join("flows.jsonl.part")).unwrap_or_default().len();
    let mut before = 0;
    // Until nothing more comes.
    while before == 0 || lines() != before {
        before = lines();
        std::thread::park_timeout(Duration::from_secs(2));
    }
    signal(&child, Signal::SIGKILL);
    child.wait()?;
    drop(stdin);
    let (repaired, _) = repair_all(folder.path())?;
    ensure(repaired == FORMATS.len(), format!("{repaired} files were repaired"))?;
    let counts = read_all(folder.path())?;
    let want = number(&counts["jsonl"]);
    ensure(want > 2_000, format!("{counts}"))?;
    for format in FORMATS.into_iter().filter(|format| *format != "ipfix") {
        ensure(number(&counts[format]) == want, format!("{format}: {counts}"))?;
    }
    // The last message's own are not in its sequence number.
    let ipfix = number(&counts["ipfix"]);
    ensure(ipfix <= want && ipfix + 256 >= want, format!("ipfix: {counts}"))
}

fn killed() -> Outcome {
    let from = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let kills = from("FLOWTAP_KILLS").unwrap_or(10);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = from("FLOWTAP_SEED").unwrap_or(now.as_secs());
    let mut random = seed;
    let capture = fs::read(generate_scan(20_000).capture)?;
    let mut most = 0;
    for kill in 0..kills {
        let at = || format!("FLOWTAP_SEED={seed}, kill {kill}");
        // Numerical Recipes' constants; the upper bits are as good as any.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis(20 + (random >> 33) % 2_000);
        let folder = folder();
        let mut child = start(folder.path(), &["--rotate-size", "400k"])?;
        let mut stdin = child.stdin.take().ok_or("no standard input")?;
        let bytes = capture.clone();
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        std::thread::sleep(wait);
        signal(&child, Signal::SIGKILL);
        child.wait()?;
        feeder.join().map_err(|_| "feeding has panicked")?;
        repair_all(folder.path()).map_err(|error| format!("{}: {error:?}", at()))?;
        let counts = read_all(folder.path()).map_err(|error| format!("{}: {error:?}", at()))?;
        most = most.max(number(&counts["jsonl"]));
    }
    ensure(most > 0, format!("nothing was ever written: FLOWTAP_SEED={seed}"))
}

/// A file as a crash may leave it, at any length.
fn cut() -> Outcome {
    let capture = fs::read(generate_scan(3_000).capture)?;
    let whole = folder();
    let mut child = start(whole.path(), &[])?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    for piece in capture.chunks(capture.len() / 5 + 1) {
        stdin.write_all(piece)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stdin);
    ensure(child.wait()?.success(), "exit code")?;
    let counts = read_all(whole.path())?;
    for format in FORMATS {
        let name = format!("flows.{format}");
        let bytes = fs::read(whole.path().join(&name))?;
        let mut before = 0;
        for tenth in 1..=10 {
            let folder = folder();
            let part = folder.path().join(format!("{name}.part.7"));
            fs::write(&part, &bytes[..bytes.len() * tenth / 10])?;
            let run = flowtap(["repair".as_ref(), part.as_os_str()]);
            if run.code == Some(2) && run.stderr.contains("no whole record") {
                ensure(tenth < 10, format!("{name}: nothing of the whole file"))?;
                continue;
            }
            let run = run.expect(0)?;
            ensure(fs::read(&part)?.len() == bytes.len() * tenth / 10, "the part was touched")?;
            fs::remove_file(part)?;
            let records = number(&read_all(folder.path())?[format]);
            let told = format!(": {}{records} records of", if tenth == 10 { "all " } else { "" });
            ensure(format == "ipfix" || run.stderr.contains(&told), run.stderr)?;
            ensure(records >= before, format!("{name}: {records} after {before}"))?;
            before = records;
        }
        ensure(before == number(&counts[format]), format!("{name}: {before}, {counts}"))?;
    }
    Ok(())
}

fn refused() -> Outcome {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let refuse = |arguments: &[PathBuf], word: &str| {
        let arguments = arguments.iter().map(|it| it.as_os_str());
        let run =
            flowtap([std::ffi::OsStr::new("repair")].into_iter().chain(arguments)).expect(2)?;
        ensure(run.stderr.lines().count() == 1 && run.stderr.contains(word), run.stderr)
    };
    fs::write(path("a.csv"), "names\nrecord\n")?;
    fs::write(path("a.csv.part"), "names\nrecord\nhalf")?;
    fs::write(path("b.parquet.part"), "PAR1 and then nothing of the kind PAR1")?;
    fs::write(path("c.arrow.part"), "ARROW1\0\0 and then nothing of the kind")?;
    fs::write(path("d.jsonl.zst.part"), "not compressed at all\n")?;
    fs::write(path("e.ipfix.part"), [0, 10, 0, 3])?;
    refuse(&[path("a.csv")], "no .part file")?;
    refuse(&[path("a.csv.part")], "already exists")?;
    refuse(&[path("none.csv.part")], "no such file")?;
    refuse(&[path("a.csv.part"), "-o".into(), path("a.parquet")], "the formats differ")?;
    for part in ["b.parquet.part", "c.arrow.part", "d.jsonl.zst.part", "e.ipfix.part"] {
        refuse(&[path(part)], "no whole record")?;
    }
    let out = path("new.csv.gz");
    let arguments = [path("a.csv.part"), "-o".into(), out.clone()];
    let arguments = arguments.iter().map(|it| it.as_os_str());
    flowtap([std::ffi::OsStr::new("repair")].into_iter().chain(arguments)).expect(0)?;
    let text = Run::of(Command::new("gzip").arg("-dc").arg(out)).expect(0)?.stdout;
    ensure(text == "names\nrecord\n", text)
}
