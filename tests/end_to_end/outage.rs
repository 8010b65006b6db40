//! Files that cannot be written for a while: a disk that is full, a folder that is gone or closed,
//! a quota. Nothing is lost, nothing is half written, and it goes on in a new file.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{
    FLOWTAP, Run, feed, flowtap_fed, folder, generate_scan, is_root, json_file, signal, sorted,
    wait_for,
};
use crate::sinks::SmallDisk;
use crate::{Outcome, ensure, not_here};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("outage::a_folder_that_is_removed_loses_nothing", removed_folder),
        Trial::test("outage::a_file_that_is_moved_away_is_completed_there", moved_file),
    ];
    if is_root() {
        trials.extend([
            Trial::test("outage::a_full_disk_is_told_once_and_loses_nothing", full_disk),
            Trial::test("outage::what_a_full_disk_keeps_out_is_counted", || {
                let disk = SmallDisk::with("size=256k")?;
                counted(disk.path(), ["no storage space", "no space left"])
            }),
            Trial::test("outage::a_folder_that_is_closed_loses_nothing", closed_folder),
        ]);
        if has_btrfs() {
            trials.push(Trial::test("outage::a_quota_is_told_once_and_loses_nothing", quota));
            trials.push(Trial::test("outage::what_a_quota_keeps_out_is_counted", || {
                let disk = QuotaDisk::new("512k")?;
                counted(&disk.path(), ["quota exceeded", "disk quota exceeded"])
            }));
        } else {
            let reason = "needs btrfs, loop devices and mkfs.btrfs (scripts/setup)";
            trials.extend(not_here("outage_by_quota", reason));
        }
    } else {
        trials.extend(not_here("outage_as_root", "needs root to mount a small disk"));
    }
    trials
}

/// Whether this machine can have a file system with a quota that holds for root too.
fn has_btrfs() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.ends_with("\tbtrfs"))
        && Path::new("/dev/loop-control").exists()
        && Command::new("mkfs.btrfs").arg("--version").output().is_ok()
}

/// Somebody else than root, whom folders may be closed to.
const NOBODY: u32 = 65_534;

/// A `read` of a capture that comes in two halves.
struct Halves {
    child: Child,
    /// `None` once the second half is on its way.
    stdin: Option<ChildStdin>,
    /// While this is there the input has no end.
    open: Option<mpsc::Sender<()>>,
    second: Vec<u8>,
    /// What a run without trouble says.
    want: Vec<String>,
    work: tempfile::TempDir,
}

impl Halves {
    /// Starts it as it is, or as nobody, and gives it the first half.
    fn start(out: &Path, more: &[&str], is_nobody: bool) -> Result<Self, Failed> {
        let made = generate_scan(20_000);
        let capture = fs::read(&made.capture)?;
        let run = flowtap_fed(&["read", "-q", "-", "--idle-timeout", "1s"], &capture).expect(0)?;
        let want = run.sorted_lines();
        let work = folder();
        let mut command = Command::new(FLOWTAP);
        command.args(["read", "-", "--strict", "--idle-timeout", "1s", "-o"]).arg(out);
        command.arg("--stats").arg(work.path().join("stats.json"));
        command.args(["--stats-interval", "20ms"]).args(more);
        if is_nobody {
            fs::set_permissions(work.path(), fs::Permissions::from_mode(0o777))?;
            command.uid(NOBODY).gid(NOBODY);
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("it was piped");
        let (first, second) = capture.split_at(capture.len() / 2);
        match stdin.write_all(first) {
            // It may have stopped reading: then it has said why.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
        Ok(Self { child, stdin: Some(stdin), open: None, second: second.to_vec(), want, work })
    }

    fn ledger(&self) -> Result<Value, Failed> {
        json_file(&self.work.path().join("stats.json"))
    }

    fn is(&self, field: &str, at_least: u64) -> bool {
        let ledger = self.ledger().unwrap_or_default();
        ledger["sinks"][0][field].as_u64() >= Some(at_least)
    }

    /// Gives it the second half, which may take until something else has happened.
    fn feed(&mut self) {
        if let Some(stdin) = self.stdin.take() {
            self.open = Some(feed(stdin, std::mem::take(&mut self.second)).0);
        }
    }

    /// Waits until the sink has stumbled.
    fn wait_for_trouble(&self) -> Outcome {
        ensure(wait_for(|| self.is("errors", 1)), "nothing has failed")
    }

    /// Gives it the second half. Nothing is lost; the trouble, with this word in it, was told once.
    fn finish(mut self, word: &str) -> Result<Vec<String>, Failed> {
        self.feed();
        drop(self.open);
        let run = Run::from(self.child.wait_with_output()?).expect(0)?;
        let ledger = json_file(&self.work.path().join("stats.json"))?;
        ensure(ledger["flows"]["not_sent"] == serde_json::json!({}), format!("{ledger}"))?;
        let told = |word: &str| run.stderr.lines().filter(|line| line.contains(word)).count();
        ensure(told("trying again") == usize::from(!word.is_empty()), run.stderr.clone())?;
        ensure(word.is_empty() || told(word) == 1, run.stderr.clone())?;
        ensure(told("written again") == usize::from(!word.is_empty()), run.stderr.clone())?;
        Ok(self.want)
    }
}

/// Files with this ending, in the order of their names; none is left unfinished.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Failed> {
    let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut names = names.collect::<Result<Vec<_>, _>>()?;
    names.sort();
    let is_part = |name: &PathBuf| name.to_string_lossy().contains(".part");
    ensure(!names.iter().any(is_part), format!("unfinished: {names:?}"))?;
    names.retain(|name| name.to_string_lossy().ends_with(ending));
    Ok(names)
}

/// What files hold together, in lines.
fn text(files: &[PathBuf]) -> Result<String, Failed> {
    let mut all = String::new();
    for file in files {
        let text = match file.extension().and_then(|it| it.to_str()) {
            Some("zst") => Run::of(Command::new("zstd").arg("-dcq").arg(file)).expect(0)?.stdout,
            Some("gz") => Run::of(Command::new("gzip").arg("-dc").arg(file)).expect(0)?.stdout,
            _ => fs::read_to_string(file)?,
        };
        ensure(text.is_empty() || text.ends_with('\n'), format!("half a line in {file:?}"))?;
        all += &text;
    }
    Ok(all)
}

fn hold(folder: &Path, ending: &str, want: &[String], at_least: usize) -> Outcome {
    let files = files(folder, ending)?;
    ensure(files.len() >= at_least, format!("{files:?}"))?;
    ensure(sorted(&text(&files)?) == want, format!("not the records of one run: {files:?}"))
}

fn full_disk() -> Outcome {
    for name in ["flows.jsonl", "flows.jsonl.zst", "flows.jsonl.gz"] {
        let disk = SmallDisk::with("size=32m")?;
        let out = disk.path().join(name);
        let mut halves = Halves::start(&out, &["--checkpoint", "100ms"], false)?;
        ensure(wait_for(|| halves.is("records", 1_000)), "no records")?;
        let ballast = disk.path().join("ballast");
        ensure(fs::write(&ballast, vec![7; 33 << 20]).is_err(), "it is not full")?;
        halves.feed();
        halves.wait_for_trouble()?;
        fs::remove_file(ballast)?;
        let want = halves.finish("no space left")?;
        hold(disk.path(), name.split_once('.').unwrap_or_default().1, &want, 2)?;
    }
    Ok(())
}

/// A folder that a quota is on; its file system goes when dropped.
struct QuotaDisk(tempfile::TempDir);

impl QuotaDisk {
    fn new(quota: &str) -> Result<Self, Failed> {
        let folder = folder();
        let (image, mounted) = (folder.path().join("image"), folder.path().join("mounted"));
        fs::File::create(&image)?.set_len(256 << 20)?;
        fs::create_dir(&mounted)?;
        Run::of(Command::new("mkfs.btrfs").arg("--quiet").arg(&image)).expect(0)?;
        Run::of(Command::new("mount").args(["-o", "loop"]).args([&image, &mounted])).expect(0)?;
        let this = Self(folder);
        this.btrfs(&["subvolume", "create"], &this.path())?;
        this.btrfs(&["quota", "enable"], &mounted)?;
        this.btrfs(&["qgroup", "limit", quota], &this.path())?;
        Ok(this)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("mounted/out")
    }

    fn btrfs(&self, args: &[&str], path: &Path) -> Outcome {
        Run::of(Command::new("btrfs").args(args).arg(path)).expect(0).map(drop)
    }
}

impl Drop for QuotaDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path().join("mounted")).status();
    }
}

fn quota() -> Outcome {
    let disk = QuotaDisk::new("32M")?;
    let out = disk.path().join("flows.jsonl");
    let mut halves = Halves::start(&out, &["--checkpoint", "100ms"], false)?;
    ensure(wait_for(|| halves.is("records", 1_000)), "no records")?;
    let ballast = disk.path().join("ballast");
    let refused = fs::write(&ballast, vec![7; 33 << 20]);
    let kind = refused.map_err(|error| error.kind());
    ensure(kind == Err(std::io::ErrorKind::QuotaExceeded), format!("{kind:?}"))?;
    halves.feed();
    halves.wait_for_trouble()?;
    fs::remove_file(ballast)?;
    // What was removed counts until then.
    disk.btrfs(&["filesystem", "sync"], &disk.path())?;
    let want = halves.finish("quota")?;
    hold(&disk.path(), "jsonl", &want, 2)
}

/// A disk or quota that stays full: what does not fit is counted by this cause, and told by this
/// word; the rest stands as whole lines.
fn counted(disk: &Path, [cause, word]: [&str; 2]) -> Outcome {
    let out = disk.join("flows.jsonl");
    let mut halves = Halves::start(&out, &["--max-flows", "3000"], false)?;
    halves.feed();
    let Halves { child, work, open, .. } = halves;
    drop(open);
    let run = Run::from(child.wait_with_output()?).expect(2)?;
    let told = run.stderr.lines().filter(|line| line.contains(word)).count();
    ensure(told == 2, format!("not once, and at the end: {}", run.stderr))?;
    let ledger = json_file(&work.path().join("stats.json"))?;
    let lost = ledger["flows"]["not_sent"].as_object().ok_or("no causes")?;
    let cause = format!("{}: {cause}", out.display());
    ensure(lost.len() == 1 && lost.contains_key(&cause), format!("{ledger}"))?;
    let written = ledger["sinks"][0]["records"].as_u64().unwrap_or(0);
    let created = ledger["flows"]["created"].as_u64().unwrap_or(0);
    ensure(lost[&cause].as_u64() == Some(created - written), format!("{ledger}"))?;
    ensure(ledger["residuals"]["flows"] == 0, format!("{ledger}"))?;
    ensure(!out.exists(), "a file that is not complete has its name")?;
    let left = fs::read_to_string(disk.join("flows.jsonl.part"))?;
    // With a quota that is full a file of btrfs cannot be shortened, either: what was half written, and
    // is not counted, stays behind the rest.
    let bytes = ledger["sinks"][0]["bytes"].as_u64().ok_or("no bytes")?;
    let len = if word.contains("quota") { usize::try_from(bytes)? } else { left.len() };
    let left = left.get(..len).ok_or("less is left than was counted")?;
    ensure(left.ends_with('\n'), "half a line is left")?;
    ensure(left.lines().count() as u64 == written && written > 0, format!("{ledger}"))
}

fn removed_folder() -> Outcome {
    let folder = folder();
    let there = folder.path().join("out");
    fs::create_dir(&there)?;
    let halves = Halves::start(&there.join("flows.jsonl"), &["--checkpoint", "50ms"], false)?;
    ensure(wait_for(|| halves.is("records", 1_000)), "no records")?;
    fs::remove_dir_all(&there)?;
    signal(&halves.child, Signal::SIGHUP);
    halves.wait_for_trouble()?;
    fs::create_dir(&there)?;
    let want = halves.finish("no such file")?;
    hold(&there, "jsonl", &want, 2)
}

fn moved_file() -> Outcome {
    let folder = folder();
    let part = folder.path().join("flows.csv.part");
    let moved = folder.path().join("elsewhere.csv");
    let halves = Halves::start(&folder.path().join("flows.csv"), &[], false)?;
    ensure(wait_for(|| halves.is("records", 1_000)), "no records")?;
    fs::rename(part, &moved)?;
    let want = halves.finish("")?;
    let lines = fs::read_to_string(moved)?.lines().count();
    ensure(lines == want.len() + 1, format!("{lines} lines"))
}

fn closed_folder() -> Outcome {
    let folder = folder();
    let there = folder.path().join("out");
    fs::create_dir(&there)?;
    let allow = |mode| fs::set_permissions(&there, fs::Permissions::from_mode(mode));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::chown(&there, Some(NOBODY), Some(NOBODY))?;
    let halves = Halves::start(&there.join("flows.jsonl"), &[], true)?;
    ensure(wait_for(|| halves.is("records", 1_000)), "no records")?;
    allow(0o500)?;
    signal(&halves.child, Signal::SIGHUP);
    halves.wait_for_trouble()?;
    allow(0o700)?;
    let want = halves.finish("permission denied")?;
    hold(&there, "jsonl", &want, 2)
}
