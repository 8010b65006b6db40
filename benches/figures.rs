//! Figures for programs: what a benchmark writes when it is given `--json FILE`, one JSON object
//! a line, for `cargo xtask bench scale`. Each says in `what` what it is.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The file that figures are wanted in.
pub(crate) fn file() -> Option<PathBuf> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--json").skip(1);
    arguments.next().map(PathBuf::from)
}

/// Writes all figures.
pub(crate) fn write(file: PathBuf, figures: &[Value]) {
    let lines: String = figures.iter().map(|figure| format!("{figure}\n")).collect();
    fs::write(&file, lines).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
}
