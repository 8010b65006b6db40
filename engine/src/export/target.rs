//! Opens what a sink writes to: a file under the name that it has while it is written, or a pipe,
//! a device or standard output as they are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::export::part::Older;
use crate::export::{Target, folders, name, part};

/// A file that is written under a name of its own until it is complete.
#[derive(Debug)]
pub(super) struct Place {
    /// Where it is now.
    pub(super) part: PathBuf,
    /// Where it goes when complete.
    pub(super) name: PathBuf,
    /// What the complete file replaces.
    pub(super) older: Option<Older>,
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
    folders::create_at(folders::at(name::folder_of(part))?, file_name(part))
}

/// The last part of a path.
pub(super) fn file_name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

/// Whether it is a file, and no link, folder, pipe or device.
pub(super) fn is_regular(stat: &FileStat) -> bool {
    kind_of(stat) == SFlag::S_IFREG
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Opens a pipe or a device; with `O_NONBLOCK` without waiting for a reader that may never come. Root
/// is not led to one by a link that somebody else has put there, or may.
fn open_special(folder: &OwnedFd, name: &Path, waiting: OFlag) -> io::Result<File> {
    let (around, there) = (fstat(folder)?, fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?);
    let is_ours = folders::is_ours(&there, &around);
    let is_link = kind_of(&there) == SFlag::S_IFLNK;
    let mut flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | waiting;
    flags.set(OFlag::O_NOFOLLOW, geteuid().is_root() && !(is_link && is_ours));
    let file = openat(folder, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::ELOOP if is_link && !is_ours => {
            io::Error::other("it is a symbolic link that others may have put there")
        }
        errno => errno.into(),
    })?;
    // From here on a slow reader may make us wait.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file.into())
}

/// Opens what has this name and is no file; a pipe once somebody reads it.
///
/// # Errors
/// If it cannot be written to, or is a link that others may have put there.
pub(crate) fn open_special_at(path: &Path) -> Result<File> {
    let folder = folders::at(name::folder_of(path));
    let opened = folder.and_then(|folder| open_special(&folder, file_name(path), OFlag::empty()));
    opened.map_err(|error| not_opened(path, &error))
}

fn not_opened(path: &Path, error: &io::Error) -> Error {
    let (cause, advice) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENXIO) => ("nobody reads it".to_owned(), "start the reader first"),
        Some(_) => (error.to_string(), "see that you may write to it"),
        // Our own refusal.
        None => (error.to_string(), "name the pipe or device itself, and not the link"),
    };
    Error::new(format!("open {}", path.display()), cause).advise(advice)
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
    let folder = name::make_folders(&root, &path).map_err(|error| {
        Error::new(format!("create the folders of {}", path.display()), error)
            .advise("choose a folder that exists and that you may write to")
    })?;
    let (file, place) = open_in(&folder, &path)?;
    Ok((file, place.map(|place| Place { root: Some(root), ..place })))
}

fn open_file(path: &Path) -> Result<(File, Option<Place>)> {
    let folder = folders::at(name::folder_of(path)).map_err(|error| {
        Error::new(format!("create {}", part_of(path).display()), error)
            .advise("choose a folder that exists and that you may write to")
    })?;
    open_in(&folder, path)
}

/// A path in its folder.
fn open_in(folder: &OwnedFd, path: &Path) -> Result<(File, Option<Place>)> {
    let fail = |shown: &Path, cause: io::Error| {
        Error::new(format!("create {}", shown.display()), cause)
            .advise("choose a folder that exists and that you may write to")
    };
    let name = file_name(path);
    match fstatat(folder, name, AtFlags::empty()).as_ref().map(kind_of) {
        Ok(SFlag::S_IFDIR) => {
            return Err(Error::new(format!("create {}", path.display()), "it is a directory")
                .advise("give the name of a file"));
        }
        // A pipe or a device is written to, not replaced.
        Ok(kind) if kind != SFlag::S_IFREG => {
            let file =
                open_special(folder, name, OFlag::O_NONBLOCK).map_err(|e| not_opened(path, &e))?;
            return Ok((file, None));
        }
        _ => {}
    }
    let part = part_of(path);
    let (file, made) = part::make(folder, &part).map_err(|e| fail(&part, e))?;
    // Who writes with a number leaves the name's file to the one that writes without.
    let older = if made == part { Older::find(path) } else { None };
    Ok((file, Some(Place { part: made, name: path.to_owned(), older, root: None })))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn root_follows_no_link_that_others_may_have_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        symlink("/dev/null", &link).unwrap();
        for (mode, is_followed) in [(0o755, true), (0o1777, true), (0o777, false), (0o775, false)] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            let opened = open_special_at(&link);
            assert_eq!(opened.is_ok(), is_followed || !geteuid().is_root(), "{mode:o}");
            if let Err(error) = opened {
                assert!(error.to_string().contains("and not the link"), "{error}");
            }
        }
    }
}
