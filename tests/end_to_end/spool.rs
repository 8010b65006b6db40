//! Records that wait on disk for a collector: it comes later, goes away for long, does not come at
//! all before the run ends or is killed; the disk is full. Each record comes once and in order, or is
//! counted.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::ipfix::{PEN, agree, has_tshark};
use crate::program::{
    FLOWTAP, Generated, Run, accept, flowtap, folder, generate, generate_scan, is_root, json_file,
    json_lines, signal, wait_for,
};
use crate::sinks::SmallDisk;
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("spool::a_collector_that_comes_later_gets_all", comes_later),
        Trial::test("spool::one_that_is_away_for_long_gets_all", away_for_long),
        Trial::test("spool::one_that_takes_nothing_for_a_while_gets_all", takes_nothing),
        Trial::test("spool::a_run_that_is_killed_leaves_all_to_the_next", killed),
        Trial::test("spool::a_run_that_ends_leaves_all_to_the_next", left_at_the_end),
        Trial::test("spool::what_finds_no_room_is_counted", limit),
        Trial::test("spool::a_damaged_end_is_told_and_never_sent", damaged),
        Trial::test("spool::two_do_not_use_one_folder", two_at_a_time),
        Trial::test("spool::what_cannot_be_is_refused", refused),
    ];
    if has_tshark() {
        trials.extend([
            Trial::test("spool::tshark_reads_what_an_earlier_run_has_left", || next_run(&[], 1)),
            // The same numbers stand for other templates.
            Trial::test("spool::tshark_reads_it_though_templates_differ", || {
                next_run(&["--pen", PEN], 2)
            }),
        ]);
    } else {
        trials.extend(not_here("spool_tshark", "needs tshark (scripts/setup installs it)"));
    }
    if is_root() {
        trials.extend([
            Trial::test("spool::a_full_disk_is_told_once_and_loses_nothing", full_disk),
            Trial::test("spool::a_capture_without_privileges_spools", capture),
            Trial::test("spool::a_link_of_somebody_else_on_the_way_is_not_followed", hostile_link),
        ]);
    } else {
        trials.extend(not_here("spool_as_root", "needs root to mount a small disk"));
    }
    trials
}

/// A port that was free a moment ago, and is not given out again soon.
fn free_address() -> Result<SocketAddr, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Takes one connection after the other, each to its end.
struct Collector {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start(address: SocketAddr) -> Result<Self, Failed> {
        let listener = TcpListener::bind(address)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut all = Vec::new();
                loop {
                    let mut connection = accept(&listener)?;
                    let mut received = Vec::new();
                    connection.read_to_end(&mut received)?;
                    // Our own connection has nothing; flowtap's may be looked at as late as that.
                    if received.is_empty() && is_over.load(Ordering::Acquire) {
                        return Ok(all);
                    }
                    all.push(received);
                }
            }
        });
        Ok(Self { address, is_over, thread })
    }

    /// What came over each connection.
    fn finish(self) -> Result<Vec<Vec<u8>>, Failed> {
        self.is_over.store(true, Ordering::Release);
        TcpStream::connect(self.address)?;
        Ok(self.thread.join().expect("it does not panic")?)
    }
}

/// A `read` with a spool, of what it is fed.
struct Feeding {
    child: Child,
    stdin: Option<ChildStdin>,
    feeder: Option<JoinHandle<ChildStdin>>,
    work: TempDir,
}

impl Feeding {
    fn start(address: SocketAddr, spool: &Path, more: &[&str]) -> Result<Self, Failed> {
        let work = folder();
        let mut child = Command::new(FLOWTAP)
            .args(["read", "-", "--strict", "--idle-timeout", "1s", "--stats-interval", "20ms"])
            .args(["-o", &format!("ipfix+tcp://{address}"), "--spool"])
            .arg(spool)
            .args(more)
            .arg("--stats")
            .arg(work.path().join("stats.json"))
            .arg("-o")
            .arg(work.path().join("a.jsonl"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, feeder: None, work })
    }

    fn feed(&mut self, bytes: &[u8]) {
        if let Some(feeder) = self.feeder.take() {
            self.stdin = Some(feeder.join().expect("it does not panic"));
        }
        let mut stdin = self.stdin.take().expect("it is fed");
        let bytes = bytes.to_vec();
        self.feeder = Some(thread::spawn(move || {
            // It may have been killed.
            let _ = stdin.write_all(&bytes);
            stdin
        }));
    }

    fn sink(&self) -> Value {
        let ledger = json_file(&self.work.path().join("stats.json")).unwrap_or_default();
        ledger["sinks"][0].clone()
    }

    fn has_spooled(&self, records: u64) -> Outcome {
        let is_so = || self.sink()["spooled"].as_u64() >= Some(records);
        ensure(wait_for(is_so), format!("not spooled: {}", self.sink()))
    }

    /// Waits until nothing has changed for a while.
    fn rests(&self) -> Outcome {
        let (mut last, mut same) = (Value::Null, 0);
        let rests = || {
            let now = self.sink();
            let counts = [&now["spooled"], &now["records"], &now["spool"]["sent"]];
            let now = serde_json::json!(counts);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            same > 100
        };
        ensure(wait_for(rests), "it does not come to rest")
    }

    /// Ends it by the end of its input. The ledger, what was said, and the records.
    fn finish(mut self) -> Result<(Value, String, Vec<Value>), Failed> {
        drop(self.stdin.take());
        drop(self.feeder.take().map(|feeder| feeder.join().expect("it does not panic")));
        let run = Run::from(self.child.wait_with_output()?);
        let ledger = json_file(&self.work.path().join("stats.json"))?;
        let records = json_lines(&fs::read_to_string(self.work.path().join("a.jsonl"))?)?;
        for residual in ["interface", "packets", "flows"] {
            ensure(ledger["residuals"][residual] == 0, ledger["residuals"].to_string())?;
        }
        ensure(run.code.is_some_and(|code| code < 2), format!("{:?}: {}", run.code, run.stderr))?;
        Ok((ledger, run.stderr, records))
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// The identifiers of flows in order.
fn ids(records: &[Value]) -> Vec<String> {
    let id = |record: &Value| record["flow_id"].as_str().unwrap_or_default().to_owned();
    records.iter().map(id).collect()
}

/// Those of the flows that a collector was sent, one connection after the other.
fn received(streams: &[Vec<u8>]) -> Result<Vec<String>, Failed> {
    let folder = folder();
    let mut command = Command::new(FLOWTAP);
    command.args(["convert", "-o", "-"]);
    for (idx, stream) in streams.iter().enumerate() {
        sequence(stream)?;
        let path = folder.path().join(format!("{idx}.ipfix"));
        fs::write(&path, stream)?;
        command.arg(path);
    }
    Ok(ids(&json_lines(&Run::of(&mut command).expect(0)?.stdout)?))
}

/// Whether messages have the numbers that follow from those before them: only sets of data have
/// records, and of these only templates say how many. So it is held against the next one.
fn sequence(stream: &[u8]) -> Outcome {
    let (mut rest, mut last) = (stream, 0);
    while rest.len() >= 16 {
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let sequence = u32::from_be_bytes(rest[8..12].try_into()?);
        ensure(sequence >= last && sequence - last <= 300, format!("{sequence} after {last}"))?;
        last = sequence;
        rest = rest.get(len..).ok_or("a message is cut")?;
    }
    ensure(rest.is_empty(), "half a header")
}

/// The same flows, each once, and as far as messages go in the same order.
fn same(sent: &[String], received: &[String]) -> Outcome {
    let places: BTreeMap<_, _> = sent.iter().zip(0_usize..).collect();
    ensure(places.len() == sent.len(), "flows have parts")?;
    let text = format!("{} records of {}", received.len(), sent.len());
    ensure(sent.len() == received.len(), text)?;
    let mut is_there = vec![false; sent.len()];
    for (place, id) in received.iter().enumerate() {
        let wanted = *places.get(id).ok_or("an unknown flow")?;
        ensure(!std::mem::replace(&mut is_there[wanted], true), "a record came twice")?;
        ensure(place.abs_diff(wanted) < 512, format!("record {wanted} is number {place}"))?;
    }
    Ok(())
}

/// Segments in all folders of a spool.
fn segments(spool: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    for folder in fs::read_dir(spool)? {
        for file in fs::read_dir(folder?.path())? {
            found.push(file?.path());
        }
    }
    found.retain(|path| path.extension().is_some_and(|it| it == "segment"));
    found.sort();
    Ok(found)
}

fn nothing_is_left(spool: &Path) -> Outcome {
    let left = segments(spool)?;
    ensure(left.is_empty(), format!("{left:?} are left"))
}

fn halves(made: &Generated) -> Result<(Vec<u8>, Vec<u8>), Failed> {
    let mut first = fs::read(&made.capture)?;
    let second = first.split_off(first.len() / 2);
    Ok((first, second))
}

fn comes_later() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let spool = folder.path().join("spool");
    let (first, second) = halves(&generate_scan(20_000))?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&first);
    feeding.has_spooled(1_000)?;
    let mode = fs::metadata(&spool)?.permissions().mode() & 0o777;
    ensure(mode == 0o700, format!("mode {mode:o}"))?;
    let collector = Collector::start(address)?;
    feeding.feed(&second);
    let (ledger, said, records) = feeding.finish()?;
    same(&ids(&records), &received(&collector.finish()?)?)?;
    let sink = &ledger["sinks"][0];
    ensure(number(&sink["records"]) == records.len() as u64, sink.to_string())?;
    ensure(sink["spooled"] == 0 && sink["spool"]["bytes"] == 0, sink.to_string())?;
    ensure(said.matches("trying again").count() == 1, said)?;
    nothing_is_left(&spool)
}

/// Takes what comes until nothing has for a second, as then nothing is on its way.
fn take_a_while(listener: &TcpListener) -> Result<Vec<u8>, Failed> {
    let mut connection = accept(listener)?;
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut received, mut piece) = (Vec::new(), [0; 65_536]);
    while let Ok(len @ 1..) = connection.read(&mut piece) {
        received.extend_from_slice(&piece[..len]);
    }
    Ok(received)
}

/// More comes meanwhile than 16 MiB of messages and a sink's queue hold.
fn away_for_long() -> Outcome {
    let folder = folder();
    let spool = folder.path().join("spool");
    let made = generate_scan(600_000);
    let capture = fs::read(&made.capture)?;
    let (first, second) = capture.split_at(capture.len() / 10);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(first);
    let mut streams = vec![take_a_while(&listener)?];
    ensure(!streams[0].is_empty(), "nothing came before the end of the collector")?;
    drop(listener);
    feeding.feed(second);
    feeding.has_spooled(200_000)?;
    let on_disk = number(&feeding.sink()["spool"]["bytes"]);
    ensure(on_disk > 16 << 20, format!("{on_disk} bytes"))?;
    let collector = Collector::start(address)?;
    let is_sent = || feeding.sink()["spooled"] == 0;
    ensure(wait_for(is_sent), feeding.sink().to_string())?;
    let (ledger, _, records) = feeding.finish()?;
    streams.extend(collector.finish()?);
    ensure(ledger["flows"]["not_sent"] == serde_json::json!({}), ledger["flows"].to_string())?;
    same(&ids(&records), &received(&streams)?)?;
    nothing_is_left(&spool)
}

/// It is there, and reads nothing until it is too late to begin.
fn takes_nothing() -> Outcome {
    let folder = folder();
    let spool = folder.path().join("spool");
    let made = generate_scan(400_000);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&fs::read(&made.capture)?);
    let mut connection = accept(&listener)?;
    feeding.rests()?;
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        connection.read_to_end(&mut received).map(|_| received)
    });
    let (ledger, _, records) = feeding.finish()?;
    let stream = reader.join().expect("it does not panic")?;
    ensure(ledger["flows"]["not_sent"] == serde_json::json!({}), ledger["flows"].to_string())?;
    same(&ids(&records), &received(&[stream])?)?;
    nothing_is_left(&spool)
}

/// A run that ends without a collector, and a next one, with arguments of its own, that has one. Over
/// so many connections its records come.
fn next_run(more: &[&str], connections: usize) -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let path = |name: &str| folder.path().join(name);
    let url = format!("ipfix+tcp://{address}");
    let run = |capture: &Path, name: &str, more: &[&str]| -> Result<Value, Failed> {
        let stats = path("stats.json");
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "--strict", "-o", &url, "--spool"]).arg(path("spool")).args(more);
        command.arg("--stats").arg(&stats).arg("-o").arg(path(name)).arg(capture);
        Run::of(&mut command).expect(0)?;
        let ledger = json_file(&stats)?;
        ensure(ledger["residuals"]["flows"] == 0, ledger.to_string())?;
        Ok(ledger)
    };
    let first = run(&generate(5_000, 300, 41).capture, "a.jsonl", &[])?;
    let sink = &first["sinks"][0];
    ensure(sink["spooled"] == first["flows"]["created"], sink.to_string())?;
    ensure(sink["records"] == 0 && number(&sink["spool"]["bytes"]) > 10_000, sink.to_string())?;
    let collector = Collector::start(address)?;
    let second = run(&generate(4_000, 200, 42).capture, "b.jsonl", more)?;
    let (next, spool) = (&second["sinks"][0], &second["sinks"][0]["spool"]);
    ensure(
        spool["found"] == sink["spooled"] && spool["sent"] == sink["spooled"],
        next.to_string(),
    )?;
    ensure(next["records"] == second["flows"]["created"] && spool["left"] == 0, next.to_string())?;
    let streams = collector.finish()?;
    ensure(streams.len() == connections, format!("{} connections", streams.len()))?;
    if let [first, second] = &streams[..] {
        // What came over one connection is not known over the other.
        for (name, stream, at_least) in [("a", first, 250), ("b", second, 150)] {
            fs::write(path("a.ipfix"), stream)?;
            agree(&path("a.ipfix"), &path(&format!("{name}.jsonl")), at_least)?;
        }
    } else {
        let both = [fs::read(path("a.jsonl"))?, fs::read(path("b.jsonl"))?].concat();
        fs::write(path("all.jsonl"), both)?;
        fs::write(path("all.ipfix"), streams.concat())?;
        agree(&path("all.ipfix"), &path("all.jsonl"), 450)?;
    }
    nothing_is_left(&path("spool"))
}

fn killed() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let spool = folder.path().join("spool");
    let (first, _) = halves(&generate_scan(40_000))?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&first);
    feeding.has_spooled(2_000)?;
    feeding.rests()?;
    let spooled = number(&feeding.sink()["spooled"]);
    signal(&feeding.child, Signal::SIGKILL);
    feeding.child.wait()?;
    let collector = Collector::start(address)?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    // No more than a capture's header.
    feeding.feed(&first[..24]);
    let is_sent = || number(&feeding.sink()["spool"]["sent"]) == spooled;
    ensure(wait_for(is_sent), format!("want {spooled}: {}", feeding.sink()))?;
    let (ledger, said, _) = feeding.finish()?;
    let state = &ledger["sinks"][0]["spool"];
    ensure(state["found"] == spooled && state["left"] == 0, state.to_string())?;
    ensure(said.contains(&format!("{spooled} records of earlier runs")), said)?;
    let mut all = received(&collector.finish()?)?;
    ensure(all.len() as u64 == spooled, format!("{} records of {spooled}", all.len()))?;
    all.sort();
    all.dedup();
    ensure(all.len() as u64 == spooled, "a record came twice")?;
    nothing_is_left(&spool)
}

/// Its collector is not there, and is for the next one, which has records of its own.
fn left_at_the_end() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let spool = folder.path().join("spool");
    let run = |made: &Generated| -> Result<(Value, String, Vec<Value>), Failed> {
        let mut feeding = Feeding::start(address, &spool, &[])?;
        feeding.feed(&fs::read(&made.capture)?);
        feeding.finish()
    };
    let (ledger, said, first) = run(&generate_scan(20_000))?;
    let (sink, flows) = (&ledger["sinks"][0], &ledger["flows"]);
    let left = first.len() as u64;
    ensure(left > 10_000 && sink["spooled"] == left && sink["records"] == 0, sink.to_string())?;
    ensure(flows["not_sent"] == serde_json::json!({}), flows.to_string())?;
    ensure(said.contains(&format!("{left} records are spooled for the next run")), said)?;
    let collector = Collector::start(address)?;
    let (ledger, _, second) = run(&generate(2_000, 100, 48))?;
    let (sink, state) = (&ledger["sinks"][0], &ledger["sinks"][0]["spool"]);
    ensure(state["found"] == left && state["sent"] == left, sink.to_string())?;
    ensure(state["left"] == 0 && state["not_sent"] == serde_json::json!({}), sink.to_string())?;
    let is_sent = number(&sink["records"]) == second.len() as u64 && sink["spooled"] == 0;
    ensure(is_sent, sink.to_string())?;
    let all = [ids(&first), ids(&second)].concat();
    same(&all, &received(&collector.finish()?)?)?;
    nothing_is_left(&spool)
}

fn limit() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let spool = folder.path().join("spool");
    let mut feeding = Feeding::start(address, &spool, &["--spool-size", "1M"])?;
    feeding.feed(&fs::read(generate_scan(50_000).capture)?);
    let (ledger, said, records) = feeding.finish()?;
    let sink = &ledger["sinks"][0];
    let cause = format!("ipfix+tcp://{address}: spool full");
    let lost = number(&ledger["flows"]["not_sent"][cause]);
    let spooled = number(&sink["spooled"]);
    ensure(lost > 10_000 && spooled > 5_000, ledger["flows"].to_string())?;
    ensure(lost + spooled == records.len() as u64, sink.to_string())?;
    ensure(said.matches("the oldest records make room").count() == 1, said)?;
    let on_disk: u64 = segments(&spool)?.iter().flat_map(fs::metadata).map(|it| it.size()).sum();
    ensure(
        on_disk == number(&sink["spool"]["bytes"]) && on_disk <= 1_000_000,
        on_disk.to_string(),
    )?;
    // The latest are there.
    let collector = Collector::start(address)?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&fs::read(generate(100, 10, 43).capture)?);
    let (_, _, more) = feeding.finish()?;
    let kept = [&ids(&records)[usize::try_from(lost)?..], &ids(&more)].concat();
    same(&kept, &received(&collector.finish()?)?)
}

fn damaged() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let spool = folder.path().join("spool");
    let capture = fs::read(generate_scan(5_000).capture)?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&capture);
    let (first, _, _) = feeding.finish()?;
    let segment = segments(&spool)?.pop().ok_or("no segment")?;
    let bytes = fs::read(&segment)?;
    fs::write(&segment, &bytes[..bytes.len() - 7])?;
    let collector = Collector::start(address)?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&capture[..24]);
    let (ledger, said, _) = feeding.finish()?;
    let state = &ledger["sinks"][0]["spool"];
    let found = number(&state["found"]);
    ensure(number(&state["damaged_bytes"]) > 0 && found > 4_000, state.to_string())?;
    ensure(found < number(&first["sinks"][0]["spooled"]), state.to_string())?;
    ensure(said.contains("bytes are cut or damaged"), said)?;
    let all = received(&collector.finish()?)?;
    ensure(all.len() as u64 == found, format!("{} of {found}", all.len()))?;
    nothing_is_left(&spool)
}

fn two_at_a_time() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    let spool = folder.path().join("spool");
    let made = generate(200, 10, 44);
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&fs::read(&made.capture)?);
    let has_begun = || !feeding.sink().is_null();
    ensure(wait_for(has_begun), "it does not begin")?;
    let url = format!("ipfix+tcp://{address}");
    let arguments = ["read", "-q", "-o", &url, "--spool"].map(str::to_owned);
    let files = [&spool, &made.capture].map(|path| path.display().to_string());
    let run = flowtap(arguments.into_iter().chain(files)).expect(2)?;
    ensure(run.stderr.contains("another flowtap"), run.stderr)?;
    feeding.finish().map(drop)
}

fn refused() -> Outcome {
    let made = generate(200, 10, 45);
    let capture = made.capture.display().to_string();
    for (arguments, word) in [
        (&["-o", "a.jsonl", "--spool", "spool"][..], "no output is a collector"),
        (&["-o", "ipfix+tcp://127.0.0.1:9", "--spool-size", "1G"], "--spool"),
        (
            &["-o", "ipfix+tcp://127.0.0.1:9", "--spool", "spool", "--spool-size", "10k"],
            "1 M is the least",
        ),
        (&["-o", "ipfix+tcp://127.0.0.1:9", "--spool", "/proc/spool"], "make the folder"),
    ] {
        let run = flowtap(["read", "-q"].iter().chain(arguments).chain([&&*capture])).expect(2)?;
        ensure(run.stderr.contains(word), format!("no '{word}': {}", run.stderr))?;
    }
    Ok(())
}

/// What the disk does not take stays in memory, and comes behind what it has taken.
fn full_disk() -> Outcome {
    let address = free_address()?;
    let disk = SmallDisk::with("size=1m")?;
    let spool = disk.path().join("spool");
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&fs::read(generate_scan(40_000).capture)?);
    feeding.has_spooled(5_000)?;
    let is_full = || number(&feeding.sink()["errors"]) > 0;
    ensure(wait_for(is_full), "nothing has failed")?;
    feeding.rests()?;
    let collector = Collector::start(address)?;
    let (ledger, said, records) = feeding.finish()?;
    ensure(said.matches("no space left").count() == 1, said)?;
    ensure(ledger["flows"]["not_sent"] == serde_json::json!({}), ledger["flows"].to_string())?;
    same(&ids(&records), &received(&collector.finish()?)?)?;
    nothing_is_left(&spool)
}

/// Somebody else than root.
const NOBODY: u32 = 65_534;

/// In a folder like `/tmp`, where anybody may put a link, but nobody change another's.
fn hostile_link() -> Outcome {
    let folder = folder();
    let [open, elsewhere] = ["open", "elsewhere"].map(|name| folder.path().join(name));
    fs::create_dir(&open)?;
    fs::create_dir(&elsewhere)?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777))?;
    let link = open.join("link");
    symlink(&elsewhere, &link)?;
    let made = generate(200, 10, 49);
    let capture = made.capture.display().to_string();
    let url = format!("ipfix+tcp://{}", free_address()?);
    let spool = link.join("spool").display().to_string();
    let run = || flowtap(["read", "-q", "-o", &url, "--spool", &spool, &capture]);
    lchown(&link, Some(NOBODY), Some(NOBODY))?;
    let refused = run().expect(2)?;
    let is_said = refused.stderr.contains("link is a link that others may have put there");
    ensure(is_said && refused.stderr.contains("give --spool"), refused.stderr)?;
    ensure(fs::read_dir(&elsewhere)?.next().is_none(), "something was made elsewhere")?;
    // Root's own is followed.
    lchown(&link, Some(0), Some(0))?;
    run().expect(0)?;
    ensure(!segments(&elsewhere.join("spool"))?.is_empty(), "nothing was made")
}

/// As another user, and with few folders to write to; on the loopback interface of a namespace of its
/// own, where nobody listens.
fn capture() -> Outcome {
    let (folder, address) = (folder(), free_address()?);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    let [spool, stats] = ["spool", "stats.json"].map(|name| folder.path().join(name));
    let stats_text = stats.display();
    let script = format!(
        "ip link set lo up
        {FLOWTAP} capture -i lo --mode observe --strict --user nobody -o ipfix+tcp://{address} \
            --spool {} --stats {stats_text} --stats-interval 20ms & pid=$!
        until [ -s {stats_text} ] || ! kill -0 $pid; do sleep 0.05; done
        for n in 1 2 3 4 5 6 7 8 9; do echo $n > /dev/udp/127.0.0.1/$((8000 + n)); sleep 0.2; done
        kill -TERM $pid
        wait $pid",
        spool.display(),
    );
    let mut command = Command::new("unshare");
    let run = Run::of(command.args(["-n", "bash", "-c", &script])).expect(0)?;
    let ledger = json_file(&stats)?;
    let sink = &ledger["sinks"][0];
    let spooled = number(&sink["spooled"]);
    ensure(spooled > 3 && sink["spooled"] == ledger["flows"]["created"], run.stderr)?;
    let segments = segments(&spool)?;
    ensure(!segments.is_empty(), "no segments")?;
    for path in fs::read_dir(segments[0].parent().ok_or("no folder")?)? {
        let path = path?.path();
        ensure(fs::metadata(&path)?.uid() == NOBODY, path.display().to_string())?;
    }
    let collector = Collector::start(address)?;
    let mut feeding = Feeding::start(address, &spool, &[])?;
    feeding.feed(&fs::read(generate(100, 10, 46).capture)?);
    let (ledger, _, _) = feeding.finish()?;
    let state = &ledger["sinks"][0]["spool"];
    ensure(state["found"] == spooled && state["sent"] == spooled, state.to_string())?;
    collector.finish().map(drop)
}
