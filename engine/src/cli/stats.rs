//! `--stats FILE` of the ledger: as JSON, or as Prometheus' text if the name ends in `.prom`.
//! Statistics of intervals are the engine's ([`crate::export::intervals`]).

use std::path::Path;

use crate::cli::{prometheus, whole_file};
use crate::error::Result;
use crate::ledger::Ledger;

const OPTION: &str = "--stats";

/// Whether the ledger could be written to `path`.
///
/// # Errors
/// If it could not.
pub(crate) fn check(path: &Path) -> Result<()> {
    whole_file::check(path, OPTION)
}

/// Writes the ledger to `path`.
///
/// # Errors
/// If it cannot be written there.
pub(crate) fn write(path: &Path, ledger: &Ledger) -> Result<()> {
    let mut text = if path.extension().is_some_and(|ending| ending == "prom") {
        prometheus::text(ledger).into_bytes()
    } else {
        serde_json::to_vec_pretty(ledger).expect("the ledger is plain data")
    };
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    whole_file::write(path, &text, OPTION)
}
