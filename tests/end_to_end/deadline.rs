//! A deadline for every program that a test starts: one that does not end is ended, and said, so
//! that its test fails and all others run.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Many times what any of them takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A process, and when it was started: the same number may be another's later.
type Process = (i32, String);

/// Watches this process's children for as long as it runs.
pub(crate) fn watch() {
    thread::spawn(|| {
        let mut since = HashMap::new();
        loop {
            since = look(&since, &children());
            thread::park_timeout(LOOK);
        }
    });
}

/// Since when each of `running` has been seen; ends those that are past the deadline.
fn look(before: &HashMap<Process, Instant>, running: &[Process]) -> HashMap<Process, Instant> {
    let mut since = HashMap::new();
    for process in running {
        let seen = before.get(process).copied().unwrap_or_else(Instant::now);
        if seen.elapsed() > DEADLINE {
            let (pid, _) = process;
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            eprintln!("\n*** ENDED after {DEADLINE:?} *** {}\n", words.replace('\0', " "));
            // It may have ended by itself meanwhile.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        since.insert(process.clone(), seen);
    }
    since
}

/// The children of this process that run.
fn children() -> Vec<Process> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let child = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may have anything in it (proc_pid_stat(5)).
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
        (*parent == own && *state != "Z").then(|| (pid, (*started).to_owned()))
    };
    pids.filter_map(child).collect()
}
