//! Programs to be measured: ours, built as users build them, and peers where they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Builds flowtap as users do, and returns where it is.
pub(super) fn flowtap_program() -> Result<PathBuf, String> {
    build("flowtap", &["build", "--release", "--bin", "flowtap"])
}

/// Builds one of flowtap's benchmarks, and returns where it is.
pub(super) fn bench_program(name: &str) -> Result<PathBuf, String> {
    build(name, &["bench", "--no-run", "--bench", name])
}

fn build(name: &str, args: &[&str]) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(args)
        .args(["--locked", "--package", "flowtap"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("build flowtap: {error}"))?;
    if !output.status.success() {
        return Err("build flowtap: cargo failed".into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ours = messages.filter(|message| message["target"]["name"] == name);
    let program = ours.find_map(|message| message["executable"].as_str().map(Into::into));
    program.ok_or_else(|| format!("build {name}: cargo did not say where it is"))
}

/// pmacctd's, with room for so many flows. What is not said here it writes several times over,
/// or loses on the way to itself.
pub(super) fn pmacctd_config(flows: u64) -> String {
    format!(
        "plugins: print\nprint_output: csv\nprint_output_file: flows.csv\n\
         print_output_file_append: true\nprint_refresh_time: 3600\nprint_cache_entries: {}\n\
         plugin_pipe_size: 256000000\nplugin_buffer_size: 256000\n\
         aggregate: src_host, dst_host, src_port, dst_port, proto\n",
        4 * flows + 1
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
