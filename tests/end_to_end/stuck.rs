//! Slow sinks: a pipe that nobody reads and a disk that is full, beside a file that must
//! have everything. What is lost is counted, and nothing waits without end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::live::Net;
use crate::program::{
    FLOWTAP, Generated, Run, generate, generate_scan, json_file, json_lines, signal, wait_for,
};
use crate::sinks::SmallDisk;
use crate::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("stuck::read_waits_and_ends_when_told", read_waits_and_ends_when_told),
        Trial::test("stuck::hup_is_not_forgotten", hup_is_not_forgotten),
    ]
}

/// Need the network; run one after the other.
pub(crate) fn live_trials() -> Vec<Trial> {
    vec![
        Trial::test("live::a_pipe_that_nobody_reads_slows_nothing", live_pipe),
        Trial::test("live::a_full_disk_slows_nothing", live_full_disk),
    ]
}

/// The records that wait for one sink at most (`limits::SINK_RECORDS`), and the same in `read`
/// (`limits::SINK_RECORDS_READ`).
const QUEUE: u64 = 65_536;
const QUEUE_READ: u64 = 2_048;

/// From the signal to the end with a stuck sink: 5 s of patience, and a busy machine.
const END: Duration = Duration::from_secs(25);

/// A named pipe, and one end that keeps it open and reads nothing.
fn unread_pipe(folder: &Path, name: &str) -> Result<(PathBuf, File), Failed> {
    let path = folder.join(name);
    Run::of(Command::new("mkfifo").arg(&path)).expect(0)?;
    let hold = File::options().read(true).write(true).open(&path)?;
    Ok((path, hold))
}

fn lines(path: &Path) -> Result<u64, Failed> {
    Ok(BufReader::new(File::open(path)?).lines().count() as u64)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// What the first sink lost, all causes together, if the ledger adds up.
fn lost(ledger: &Value, causes: &[&str]) -> Result<u64, Failed> {
    for residual in ["interface", "packets", "flows"] {
        ensure(ledger["residuals"][residual] == 0, format!("residual {residual}: {ledger}"))?;
    }
    let not_sent = ledger["flows"]["not_sent"].as_object().ok_or("no causes")?;
    let name = ledger["sinks"][0]["name"].as_str().ok_or("no sink")?;
    for cause in causes {
        let count = not_sent.get(&format!("{name}: {cause}")).map_or(0, number);
        ensure(count > 0, format!("nothing for '{cause}': {ledger}"))?;
    }
    ensure(not_sent.len() == causes.len(), format!("other causes: {ledger}"))?;
    Ok(not_sent.values().map(number).sum())
}

/// A `read` of more records than a queue takes, into an unread pipe and a file.
struct Waiting {
    child: Child,
    folder: tempfile::TempDir,
    pipe: PathBuf,
    hold: File,
}

impl Waiting {
    /// Starts it, and waits until the pipe has stopped it.
    fn start() -> Result<Self, Failed> {
        let made = generate_scan(10 * QUEUE_READ);
        let (pipe, hold) = unread_pipe(made.folder.path(), "pipe.csv")?;
        let child = Command::new(FLOWTAP)
            .args(["read", "-q", "--strict", "--max-flows", "5000", "-o"])
            .arg(&pipe)
            .arg("-o")
            .arg(made.folder.path().join("flows.csv"))
            .arg("--stats")
            .arg(made.folder.path().join("stats.json"))
            .args(["--stats-interval", "50ms"])
            .arg(&made.capture)
            .stderr(Stdio::piped())
            .spawn()?;
        let waiting = Self { child, folder: made.folder, pipe, hold };
        let written = |ledger: Value| number(&ledger["sinks"][1]["records"]);
        let stands = || waiting.ledger().is_ok_and(|ledger| written(ledger) >= QUEUE_READ);
        ensure(wait_for(stands), "the pipe's queue is not full")?;
        Ok(waiting)
    }

    fn ledger(&self) -> Result<Value, Failed> {
        json_file(&self.folder.path().join("stats.json"))
    }
}

fn read_waits_and_ends_when_told() -> Outcome {
    let mut waiting = Waiting::start()?;
    ensure(waiting.child.try_wait()?.is_none(), "it did not wait")?;
    let told = Instant::now();
    signal(&waiting.child, Signal::SIGTERM);
    let stderr = waiting.child.stderr.take().ok_or("no standard error")?;
    let said: Vec<_> = BufReader::new(stderr).lines().collect::<Result<_, _>>()?;
    let status = waiting.child.wait()?;
    let took = told.elapsed();
    ensure(took < END, format!("it took {took:?} to end"))?;
    ensure(status.code() == Some(1), format!("exit {status}: {said:?}"))?;
    ensure(said.len() == 2 && said[0].contains("its reader takes nothing"), format!("{said:?}"))?;

    let ledger = waiting.ledger()?;
    let created = number(&ledger["flows"]["created"]);
    let lost = lost(&ledger, &["stuck"])?;
    ensure(lost + number(&ledger["sinks"][0]["records"]) == created, format!("{ledger}"))?;
    let file = lines(&waiting.folder.path().join("flows.csv"))?;
    ensure(file == created + 1, format!("the file has {file} lines for {created} records"))
}

fn hup_is_not_forgotten() -> Outcome {
    let waiting = Waiting::start()?;
    signal(&waiting.child, Signal::SIGHUP);
    let first = waiting.folder.path().join("flows.csv");
    ensure(wait_for(|| first.exists()), "the file was not completed")?;
    // The pipe is closed and opened again in between: this end keeps it from ending.
    let Waiting { child, folder, pipe, hold } = waiting;
    let reader = std::thread::spawn(move || -> std::io::Result<(u64, u64)> {
        let (mut names, mut records) = (0, 0);
        for line in BufReader::new(File::open(pipe)?).lines() {
            *(if line?.starts_with("kind,") { &mut names } else { &mut records }) += 1;
        }
        Ok((names, records))
    });
    let run = Run::from(child.wait_with_output()?).expect(0);
    drop(hold);
    let (names, records) = reader.join().map_err(|_| "the reader has panicked")??;
    run?;
    let ledger = json_file(&folder.path().join("stats.json"))?;
    let created = number(&ledger["flows"]["created"]);
    ensure(records == created, format!("{records} records of {created} were read"))?;
    ensure(names == 2, format!("the pipe was begun {names} times"))?;
    let files = lines(&first)? + lines(&folder.path().join("flows-2.csv"))?;
    ensure(files == created + 2, format!("{files} lines in the files, {created} records"))
}

/// A live capture of `made` into `slow` and a file, stopped by TERM when all frames are
/// in. Returns the ledger, what was said, and how many lines the file has.
fn capture_beside(
    made: &Generated,
    slow: &Path,
    code: i32,
) -> Result<(Value, String, u64), Failed> {
    let text = |path: &Path| path.display().to_string();
    let folder = made.folder.path();
    let frames = &json_file(&made.truth)?["frames"];
    let (file, stats) = (folder.join("flows.jsonl"), folder.join("stats.json"));
    let (slow, file_text, stats_text) = (text(slow), text(&file), text(&stats));
    let net = Net::up("flowtap-slow")?;
    let running = net.capture(&[
        "-o",
        &slow,
        "-o",
        &file_text,
        "--max-flows",
        "4000",
        "--stats",
        &stats_text,
        "--stats-interval",
        "50ms",
    ])?;
    net.send(&made.capture)?;
    let arrived = || json_file(&stats).is_ok_and(|l| l["interfaces"][0]["delivered"] == *frames);
    let all = wait_for(arrived);
    let told = Instant::now();
    let said = running.stop(code)?;
    let took = told.elapsed();
    let ledger = json_file(&stats)?;
    ensure(all, format!("not all {frames} frames were taken in: {ledger}"))?;
    ensure(took < END, format!("it took {took:?} to end"))?;
    let drops = ledger["interfaces"][0]["dropped"].as_object().ok_or("no causes")?;
    ensure(drops.values().all(|count| count == 0), format!("packets were lost: {ledger}"))?;
    let records = lines(&file)?;
    ensure(ledger["flows"]["created"] == records, format!("{records} records in file: {ledger}"))?;
    ensure(ledger["sinks"][1]["records"] == records, format!("{records} in file: {ledger}"))?;
    Ok((ledger, said, records))
}

fn live_pipe() -> Outcome {
    let made = generate_scan(QUEUE + 10_000);
    let (pipe, _hold) = unread_pipe(made.folder.path(), "pipe.jsonl")?;
    let (ledger, said, records) = capture_beside(&made, &pipe, 0)?;
    ensure(records > QUEUE, format!("{records} records fill no queue: {ledger}"))?;
    ensure(said.contains("its reader takes nothing"), said)?;
    let lost = lost(&ledger, &["queue full", "stuck"])?;
    ensure(lost + number(&ledger["sinks"][0]["records"]) == records, format!("{ledger}"))
}

fn live_full_disk() -> Outcome {
    let made = generate(20_000, 2_000, 15);
    let disk = SmallDisk::new()?;
    let out = disk.path().join("flows.jsonl");
    let (ledger, said, records) = capture_beside(&made, &out, 2)?;
    ensure(said.contains("no space left") && said.contains(".part"), said)?;
    ensure(!out.exists() && disk.path().join("flows.jsonl.part").exists(), "the .part is kept")?;
    let lost = lost(&ledger, &["failed before", "no storage space"])
        .or_else(|_| lost(&ledger, &["no storage space"]))?;
    ensure(lost + number(&ledger["sinks"][0]["records"]) == records, format!("{ledger}"))?;
    let kept = json_lines(&fs::read_to_string(disk.path().join("flows.jsonl.part"))?)?.len() as u64;
    ensure(number(&ledger["sinks"][0]["records"]) == kept, format!("{kept} are kept: {ledger}"))
}
