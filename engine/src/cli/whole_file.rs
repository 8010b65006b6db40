//! Files that are replaced atomically: whoever reads one finds all of the old or all of the new.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::export::target::{create_anew, open_special_at, part_of};

/// Whether `path`, which the user gave as `option`, could be written: better told now than after a
/// day.
///
/// # Errors
/// If it could not.
pub(crate) fn check(path: &Path, option: &str) -> Result<()> {
    let refuse = |cause: &str| {
        Err(Error::new(format!("write {}", path.display()), cause)
            .advise(format!("give {option} the name of a file")))
    };
    if path == Path::new("-") {
        return refuse("standard output is for records");
    }
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => refuse("it is a directory"),
        Ok(there) if !there.is_file() => Ok(()),
        _ => {
            let part = part_of(path);
            create_anew(&part).map_err(|e| fail(path, option, e))?;
            fs::remove_file(&part).map_err(|e| fail(path, option, e))
        }
    }
}

fn fail(path: &Path, option: &str, error: io::Error) -> Error {
    Error::new(format!("write {}", path.display()), error)
        .advise(format!("give {option} a name in a folder that you may write to"))
}

/// Writes it, so that a reader finds the old one or the new one.
///
/// # Errors
/// If it cannot be written there.
pub(crate) fn write(path: &Path, text: &[u8], option: &str) -> Result<()> {
    // A pipe or a device is written to, not replaced.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = open_special_at(path)?;
        return file.write_all(text).map_err(|e| fail(path, option, e));
    }
    let part = part_of(path);
    let replace = || {
        let mut file = create_anew(&part)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    replace().map_err(|e| fail(path, option, e))
}
