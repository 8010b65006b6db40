//! What one process took. The kernel adds all children of a process up and keeps the largest
//! one's memory, so each is run by a process of its own: this program again.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::wait;
use nix::unistd::{Pid, getpgrp, getpid, getppid};
use serde::{Deserialize, Serialize};

/// How long a process may take: the slowest take some minutes, and one that waits for a child of
/// its own which has died takes for ever.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often it is looked whether that is over.
const LOOK: Duration = Duration::from_millis(200);

/// What a process took, its children included.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// From start to end, in seconds.
    pub(crate) wall_s: f64,
    /// Processor time of all threads, in seconds.
    pub(crate) cpu_s: f64,
    /// The most resident memory, in bytes.
    pub(crate) rss_bytes: u64,
}

/// What to run, and where to say what it took.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    to: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command, as this process's only child, and waits for all that it has started.
pub(super) fn run(args: &Args) -> Result<(), String> {
    let (program, rest) = args.command.split_first().ok_or("no command")?;
    let failed = |error: std::io::Error| format!("run {program}: {error}");
    // What a meter leaves behind to write its results comes to us when it ends.
    set_child_subreaper(true).map_err(|errno| failed(errno.into()))?;
    if getpgrp() == getpid() {
        let parent = getppid();
        thread::spawn(move || end_in_time(parent));
    }
    let start = Instant::now();
    let status = Command::new(program).args(rest).status().map_err(failed)?;
    while !matches!(wait(), Err(Errno::ECHILD)) {}
    let wall_s = start.elapsed().as_secs_f64();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|errno| errno.to_string())?;
    #[expect(clippy::cast_precision_loss, reason = "seconds and microseconds of a run")]
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = Usage {
        wall_s,
        cpu_s: seconds(used.user_time()) + seconds(used.system_time()),
        // getrusage(2): in kilobytes.
        rss_bytes: u64::try_from(used.max_rss()).unwrap_or(0) * 1_024,
    };
    let text = serde_json::to_string(&usage).map_err(|error| error.to_string())?;
    std::fs::write(&args.to, text).map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}")) }
}

/// Ends this process and all that it has started when it takes too long, or its parent is gone.
fn end_in_time(parent: Pid) {
    let since = Instant::now();
    while since.elapsed() < PATIENCE && getppid() == parent {
        thread::sleep(LOOK);
    }
    // It ends with this.
    let _ = killpg(getpgrp(), Signal::SIGKILL);
}

/// Runs `command` on the processors `cpus` (`0`, `0,1`), in `folder`, and returns what it took
/// and all that it said.
///
/// # Errors
/// If it cannot be run, fails or does not end; with the end of what it said.
pub(super) fn measure(
    command: &[String],
    cpus: &str,
    folder: &Path,
) -> Result<(Usage, String), String> {
    let (to, said) = (folder.join("usage.json"), folder.join("said.txt"));
    let failed = |error: &dyn std::fmt::Display| format!("run {}: {error}", command[0]);
    let out = File::create(&said).map_err(|error| failed(&error))?;
    let err = out.try_clone().map_err(|error| failed(&error))?;
    let this = std::env::current_exe().map_err(|error| failed(&error))?;
    let status = Command::new(this)
        .args(["bench", "measure", "--to"])
        .arg(&to)
        .args(["--", "taskset", "-c", cpus])
        .args(command)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .status()
        .map_err(|error| failed(&error))?;
    if status.signal() == Some(Signal::SIGKILL as i32) {
        return Err(failed(&format!("ended after {} s", PATIENCE.as_secs())));
    }
    let text = std::fs::read(&said).map_err(|error| failed(&error))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    if !status.success() {
        let end: Vec<_> = text.lines().rev().take(3).collect();
        return Err(failed(&end.join(" | ")));
    }
    let usage = std::fs::read(&to).map_err(|error| failed(&error))?;
    Ok((serde_json::from_slice(&usage).map_err(|error| failed(&error))?, text))
}
