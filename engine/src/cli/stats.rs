//! `--stats FILE`: the ledger as JSON, or as Prometheus' text if the name ends in `.prom`; replaced
//! atomically.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::cli::prometheus;
use crate::error::{Error, Result};
use crate::export::target::{create_anew, part_of};
use crate::ledger::Ledger;

/// Whether the ledger could be written to `path`: better told now than after a day.
///
/// # Errors
/// If it could not.
pub(crate) fn check(path: &Path) -> Result<()> {
    let refuse = |cause: &str| {
        Err(Error::new(format!("write {}", path.display()), cause)
            .advise("give --stats the name of a file"))
    };
    if path == Path::new("-") {
        return refuse("standard output is for records");
    }
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => refuse("it is a directory"),
        Ok(there) if !there.is_file() => Ok(()),
        _ => {
            let part = part_of(path);
            create_anew(&part).map_err(|e| fail(path, e))?;
            fs::remove_file(&part).map_err(|e| fail(path, e))
        }
    }
}

fn fail(path: &Path, error: io::Error) -> Error {
    Error::new(format!("write {}", path.display()), error)
        .advise("give --stats a name in a folder that you may write to")
}

/// Writes the ledger to `path` so that a reader finds the old one or the new one.
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
    // A pipe or a device is written to, not replaced.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(|e| fail(path, e))?;
        return file.write_all(&text).map_err(|e| fail(path, e));
    }
    let part = part_of(path);
    let replace = || {
        let mut file = create_anew(&part)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    replace().map_err(|e| fail(path, e))
}
