//! What a report says of where it was made.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, and the state of the project.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    /// The processor's features, as the kernel names them.
    pub(super) flags: String,
    pub(super) compiler: String,
    pub(super) commit: String,
    /// Whether there are changes on top of that.
    pub(super) is_changed: bool,
    pub(super) date: String,
}

impl Machine {
    /// As they are now: to be asked before anything is built of it, which takes its time.
    pub(super) fn here() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let of_cpu = |name: &str| field(&cpu, name);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = field(&memory, "MemTotal");
        let kilobytes = memory.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        Self {
            processor: of_cpu("model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes.unwrap_or(0) * 1_024,
            kernel: said("uname", &["-sr"]),
            flags: of_cpu("flags"),
            compiler: said("rustc", &["--version"]),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            is_changed: !said("git", &["status", "--porcelain"]).is_empty(),
            date: said("date", &["-u", "+%Y-%m-%d"]),
        }
    }
}

impl Machine {
    /// In a sentence or two.
    pub(super) fn about(&self) -> String {
        format!(
            "{} processors ({}), {} GB, {}, {}; flowtap at {}{}, {}.",
            self.processors,
            self.processor,
            self.memory_bytes / 1_000_000_000,
            self.kernel,
            self.compiler,
            self.commit,
            if self.is_changed { " with changes" } else { "" },
            self.date,
        )
    }
}

/// The first value of `name` in lines of `name: value`.
fn field(text: &str, name: &str) -> String {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
    values.next().unwrap_or_default().to_owned()
}

/// What a command says, or nothing.
pub(super) fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}
