//! Opens what a sink writes to: a file under the name that it has while it is written, or a pipe,
//! a device or standard output as they are.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::{Error, Result};
use crate::export::{Target, name};

/// A file that is written under a name of its own until it is complete.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it is now.
    pub(super) part: PathBuf,
    /// Where it goes when complete.
    pub(super) name: PathBuf,
    /// The folder below which folders are made as they are needed.
    pub(super) root: Option<PathBuf>,
}

/// Opens a target for writing; a file of `interfaces`, if it is named by a pattern.
///
/// # Errors
/// If the target cannot be created, or is a folder.
pub(super) fn open(target: &Target, interfaces: &[String]) -> Result<(File, Option<Place>)> {
    match target {
        Target::Stdout => Ok((open_stdout()?, None)),
        Target::File(path) if name::is_pattern(path) => open_named(path, interfaces),
        Target::File(path) => open_file(path),
        Target::Collector(_) | Target::Stream(_) => unreachable!("it has a thread of its own kind"),
    }
}

/// What a file is called while it is written.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// Creates a file that is not there, or anew: never through a link that somebody who may write
/// to the folder has put there for us to follow.
pub(crate) fn create_anew(part: &Path) -> io::Result<File> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().read(true).write(true).create_new(true).open(part),
    }
}

/// Opens a pipe or a device, without waiting for a reader that may never come.
fn open_special(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    // From here on a slow reader may make us wait.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}

/// Moves what an earlier run left unfinished out of the way: it may be all that is left of
/// its records.
fn keep_older(part: &Path) -> io::Result<()> {
    if !fs::metadata(part).is_ok_and(|there| there.is_file() && there.len() > 0) {
        return Ok(());
    }
    let numbered = (1..).map(|number| {
        let mut name = part.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    let free = numbered.into_iter().find(|name| !name.exists());
    fs::rename(part, free.expect("there is always a higher number"))
}

/// Standard output as a file of our own: the one of the standard library keeps some bytes
/// back, and would wait for a stuck reader once more when the program ends.
fn open_stdout() -> Result<File> {
    let ours = io::stdout().as_fd().try_clone_to_owned();
    ours.map(File::from).map_err(|e| Error::new("open standard output", e))
}

/// A file that is begun now, by a pattern.
fn open_named(pattern: &Path, interfaces: &[String]) -> Result<(File, Option<Place>)> {
    let fail = |cause: String| Error::new(format!("create {}", pattern.display()), cause);
    let path = name::name(pattern, interfaces, jiff::Timestamp::now()).map_err(fail)?;
    let root = name::root(pattern);
    let make_folders = || {
        fs::metadata(&root)?;
        name::make_folders(&path)
    };
    make_folders().map_err(|error| {
        Error::new(format!("create the folders of {}", path.display()), error)
            .advise("choose a folder that exists and that you may write to")
    })?;
    let (file, place) = open_file(&path)?;
    Ok((file, place.map(|place| Place { root: Some(root), ..place })))
}

fn open_file(path: &Path) -> Result<(File, Option<Place>)> {
    let fail = |shown: &Path, cause: io::Error| {
        Error::new(format!("create {}", shown.display()), cause)
            .advise("choose a folder that exists and that you may write to")
    };
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            return Err(Error::new(format!("create {}", path.display()), "it is a directory")
                .advise("give the name of a file"));
        }
        // A pipe or a device is written to, not replaced.
        Ok(there) if !there.is_file() => {
            let file = open_special(path).map_err(|e| match Errno::try_from(e) {
                Ok(Errno::ENXIO) => {
                    Error::new(format!("open {}", path.display()), "nobody reads it")
                        .advise("start the reader first")
                }
                Ok(errno) => fail(path, errno.into()),
                Err(other) => fail(path, other),
            })?;
            return Ok((file, None));
        }
        _ => {}
    }
    let part = part_of(path);
    keep_older(&part).map_err(|e| fail(&part, e))?;
    let file = create_anew(&part).map_err(|e| fail(&part, e))?;
    Ok((file, Some(Place { part, name: path.to_owned(), root: None })))
}
