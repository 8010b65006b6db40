//! Programs to be measured: ours, built as users build them, and peers where they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// How what is measured is built.
#[derive(Clone, Copy)]
pub(super) enum Build {
    /// As users build it.
    Release,
    /// With all that `scripts/test` builds, so that nothing is built twice: what shows that a
    /// benchmark works, and gives no figure to quote.
    Tests,
}

impl Build {
    /// Builds flowtap, and returns where it is.
    pub(super) fn flowtap(self) -> Result<PathBuf, String> {
        self.program("bin", "flowtap", &["build", "--release", "--bin", "flowtap"])
    }

    /// Builds one of flowtap's benchmarks, and returns where it is.
    pub(super) fn benchmark(self, name: &str) -> Result<PathBuf, String> {
        self.program("bench", name, &["bench", "--no-run", "--bench", name])
    }

    fn program(self, kind: &str, name: &str, release: &[&str]) -> Result<PathBuf, String> {
        let (which, package) = match self {
            Self::Release => (release, &["--package", "flowtap"][..]),
            Self::Tests => (&["build", "--quiet", "--all-targets"][..], &["--workspace"][..]),
        };
        let output = cargo()
            .args(which)
            .args(package)
            .args(["--locked", "--message-format", "json-render-diagnostics"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("build {name}: {error}"))?;
        if !output.status.success() {
            return Err(format!("build {name}: cargo failed"));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        // A program has tests of its own, which are called as it is.
        let is_it = |message: &Value| {
            let target = &message["target"];
            let is_tests = kind == "bin" && message["profile"]["test"] == true;
            target["kind"][0] == kind && target["name"] == name && !is_tests
        };
        let mut ours = messages.filter(is_it);
        let program = ours.find_map(|message| message["executable"].as_str().map(Into::into));
        program.ok_or_else(|| format!("build {name}: cargo did not say where it is"))
    }
}

/// Cargo, as a shell starts it. The one that runs us has said in the environment which package we
/// are; a build script that looks at what is said there of its own (ring's does) would run again,
/// and all that stands on it would be built again, each time that this changes.
pub(super) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| text.starts_with(start)) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Flows one way for each bucket of pmacctd's cache. It takes 4 kB for a bucket, at its start, and
/// has room for ten flows to each in chains; if that is filled, packets are lost.
const PMACCTD_CHAIN: u64 = 8;

/// The most buckets. If its start takes too long, it ends before it has read anything.
const PMACCTD_BUCKETS: u64 = 500_000;

/// pmacctd's, for so many flows both ways. What is not said here it writes several times over,
/// or loses on the way to itself.
pub(super) fn pmacctd_config(flows: u64) -> String {
    format!(
        "plugins: print\nprint_output: csv\nprint_output_file: flows.csv\n\
         print_output_file_append: true\nprint_refresh_time: 3600\nprint_cache_entries: {}\n\
         plugin_pipe_size: 256000000\nplugin_buffer_size: 256000\n\
         aggregate: src_host, dst_host, src_port, dst_port, proto\n",
        (2 * flows / PMACCTD_CHAIN + 1).min(PMACCTD_BUCKETS)
    )
}

/// Arguments of a command.
pub(super) fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// A program on PATH, or where Debian keeps those for root.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// The line of what a program says to `argument` that has `text` in it.
pub(super) fn said_version(program: &Path, [argument, text]: [&str; 2]) -> String {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&output).into_owned();
    let line = said.lines().find(|line| line.contains(text));
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pmacctd_takes_no_more_memory_than_there_is() {
        for (flows, buckets) in [(1_000, 251), (5_000_000, 500_000)] {
            let config = pmacctd_config(flows);
            assert!(config.contains(&format!("print_cache_entries: {buckets}\n")), "{config}");
        }
    }
}
