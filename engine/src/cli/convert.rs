//! `flowtap convert`: files of records into files of other formats.

use std::collections::BTreeMap;

use crate::cli::FAILED;
use crate::cli::args::ConvertArguments;
use crate::cli::console::say;
use crate::error::Result;
use crate::export::convert;

/// Converts, and says what came of it. The exit code.
///
/// # Errors
/// If an output cannot be opened; then nothing is written.
pub(super) fn run(arguments: &ConvertArguments) -> Result<u8> {
    let sinks = arguments.options().sinks()?.records;
    let converted = convert(&arguments.files, &sinks, arguments.features_set())?;
    for error in &converted.errors {
        say(&error.to_string());
    }
    for (name, values) in &converted.left_out {
        say(&format!("{name}: no field of a record has {}", counts(values)));
    }
    if !arguments.quiet {
        say(&format!("{} records read", converted.records));
        for (name, records, bytes) in &converted.outputs {
            say(&format!("{name}: {records} records, {bytes} bytes"));
        }
    }
    Ok(if converted.errors.is_empty() { 0 } else { FAILED })
}

/// `colour (3), element 10 (4)`
fn counts(values: &BTreeMap<String, u64>) -> String {
    let counts = values.iter().map(|(name, count)| {
        let name = name.escape_debug();
        format!("{name} ({count})")
    });
    counts.collect::<Vec<_>>().join(", ")
}
