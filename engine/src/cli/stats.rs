//! `--stats FILE`: the ledger as JSON, replaced atomically.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::ledger::Ledger;

/// Writes the ledger to `path` so that a reader finds the old one or the new one.
///
/// # Errors
/// If it cannot be written there.
pub(crate) fn write(path: &Path, ledger: &Ledger) -> Result<()> {
    let fail = |error: io::Error| {
        Error::new(format!("write {}", path.display()), error)
            .advise("give --stats a name in a folder that you may write to")
    };
    let text = serde_json::to_vec_pretty(ledger).expect("the ledger is plain data");
    // A pipe or a device is written to, not replaced.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return File::options()
            .write(true)
            .open(path)
            .and_then(|mut f| f.write_all(&text))
            .map_err(fail);
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let replace = || {
        let mut file = File::create(&part)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    replace().map_err(fail)
}
