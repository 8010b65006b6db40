//! Runs the program and the project's own tools, and reads what they wrote.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

/// The built program.
pub(crate) const FLOWTAP: &str = env!("CARGO_BIN_EXE_flowtap");

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `flowtap` with these arguments.
pub(crate) fn flowtap<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    Run::of(Command::new(FLOWTAP).args(arguments).stdin(Stdio::null()))
}

/// Runs `flowtap` with these bytes on standard input.
pub(crate) fn flowtap_fed(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(FLOWTAP)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it was piped");
    let input = input.to_vec();
    // The program may end before it has read everything.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let run = Run::from(child.wait_with_output().expect("the program ends"));
    feeder.join().expect("feeding does not panic");
    run
}

/// Feeds a program from another thread. Its input has no end while the first of what this returns is
/// there: how long a run waits at its end is not what is tested then.
pub(crate) fn feed(
    mut stdin: ChildStdin,
    bytes: Vec<u8>,
) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (open, is_open) = mpsc::channel();
    let feeder = thread::spawn(move || {
        // It may have stopped reading.
        let _ = stdin.write_all(&bytes);
        let _ = is_open.recv();
    });
    (open, feeder)
}

/// `cargo xtask`'s program, which is built beside `flowtap`.
pub(crate) fn xtask() -> Command {
    let beside = Path::new(FLOWTAP).with_file_name("xtask");
    assert!(
        beside.exists(),
        "{} is missing: build the whole workspace first (cargo build --workspace)",
        beside.display()
    );
    Command::new(beside)
}

/// A finished program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}")).into()
    }

    /// This run, if it ended with `code` and did not panic.
    pub(crate) fn expect(self, code: i32) -> Result<Self, Failed> {
        if self.code == Some(code) && !self.stderr.contains("panicked") {
            return Ok(self);
        }
        Err(format!("want exit {code}, got {:?}\n{}", self.code, self.stderr).into())
    }

    /// The records on standard output, each line as it is, sorted.
    pub(crate) fn sorted_lines(&self) -> Vec<String> {
        sorted(&self.stdout)
    }
}

/// The lines of a text in order.
pub(crate) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// JSON lines as values.
pub(crate) fn json_lines(text: &str) -> Result<Vec<Value>, Failed> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// A JSON file.
pub(crate) fn json_file(path: &Path) -> Result<Value, Failed> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// A folder that goes when dropped.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A generated capture with its truth.
pub(crate) struct Generated {
    pub(crate) folder: TempDir,
    pub(crate) capture: PathBuf,
    pub(crate) truth: PathBuf,
}

/// Makes a capture of about `packets` packets and `flows` flows.
pub(crate) fn generate(packets: u32, flows: u32, seed: u32) -> Generated {
    generate_mix("demo", u64::from(packets), u64::from(flows), seed)
}

/// Makes a scan of `flows` flows in all, a thousand of which live long.
pub(crate) fn generate_scan(flows: u64) -> Generated {
    generate_mix("scan", flows + flows / 3, flows, 1)
}

fn generate_mix(mix: &str, packets: u64, flows: u64, seed: u32) -> Generated {
    generate_with(mix, packets, flows, seed, &["--duration", "10s"])
}

/// Makes a mix as `more` wishes it.
pub(crate) fn generate_with(
    mix: &str,
    packets: u64,
    flows: u64,
    seed: u32,
    more: &[&str],
) -> Generated {
    let folder = folder();
    let (capture, truth) = (folder.path().join("made.pcap"), folder.path().join("truth.json"));
    let run = Run::of(
        xtask()
            .args(["gen", "--mix", mix])
            .args(more)
            .args(["--packets", &packets.to_string(), "--flows", &flows.to_string()])
            .args(["--seed", &seed.to_string()])
            .arg("-o")
            .arg(&capture)
            .arg("--truth")
            .arg(&truth),
    );
    assert_eq!(run.code, Some(0), "xtask gen: {}", run.stderr);
    Generated { folder, capture, truth }
}

/// Waits until `is_so`; false if that takes too long.
pub(crate) fn wait_for(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        // Polls another process, which cannot wake us.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// The next connection; an error if there is none for too long.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let mut accepted = None;
    let is_there = || match listener.accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        result => {
            accepted = Some(result);
            true
        }
    };
    if !wait_for(is_there) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has connected"));
    }
    accepted.expect("it is there").map(|(connection, _)| connection)
}

/// Whether we are root. Tests that need it say so.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Sends a signal to a process that a test has started.
pub(crate) fn signal(child: &std::process::Child, signal: nix::sys::signal::Signal) {
    let pid = i32::try_from(child.id()).expect("a pid is a positive i32");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("the child is there");
}
