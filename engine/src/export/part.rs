//! The file that is written until it is complete. Whoever writes one holds a lock on it, so that
//! another flowtap with the same name neither moves nor removes it, but takes one with a number.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::export::folders;
use crate::export::target::{file_name, is_regular};

/// How often another may take the name that was free a moment before, until we leave it to them.
const TRIES: u32 = 100;

/// Makes a file in `folder` that is called `part`, or while another flowtap writes under that, has a
/// number behind it; and what it is called.
pub(super) fn make(folder: &OwnedFd, part: &Path) -> io::Result<(File, PathBuf)> {
    let name = file_name(part);
    for _ in 0..TRIES {
        if !clear(folder, name)? {
            break;
        }
        if let Some(file) = make_anew(folder, name)? {
            return Ok((file, part.to_owned()));
        }
    }
    for number in 1_u64.. {
        let part = numbered(part, number);
        if let Some(file) = make_anew(folder, file_name(&part))? {
            return Ok((file, part));
        }
    }
    unreachable!("there is always a higher number")
}

/// `None` if somebody was faster.
fn make_anew(folder: &OwnedFd, name: &Path) -> io::Result<Option<File>> {
    let file = match folders::create_new_at(folder, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        made => made?,
    };
    // Where the file system has no locks, others cannot lock it either, and leave it alone. Before
    // we had the lock they may have taken it for one that nobody writes, and removed it.
    let is_theirs = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    Ok((!is_theirs && file.metadata()?.nlink() > 0).then_some(file))
}

/// Moves what an earlier run left unfinished out of the way: it may be all that is left of its
/// records. Whether the name is free then; what may still be written by others has it on.
fn clear(folder: &OwnedFd, name: &Path) -> io::Result<bool> {
    let look = || fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    let Ok(there) = look() else { return Ok(true) };
    if !is_regular(&there) {
        return Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir).map(|()| true)?);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(older) = openat(folder, name, flags, Mode::empty()).map(File::from) else {
        return Ok(look().is_err());
    };
    if older.try_lock().is_err() {
        return Ok(false);
    }
    let ours = older.metadata()?;
    if !look().is_ok_and(|there| (there.st_dev, there.st_ino) == (ours.dev(), ours.ino())) {
        // Somebody else has cleared it away.
        return Ok(true);
    }
    if ours.len() == 0 {
        return Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir).map(|()| true)?);
    }
    let mut moves =
        (1..).map(|number| folders::rename_anew_at(folder.as_fd(), name, &numbered(name, number)));
    let is_taken = |done: &io::Result<()>| {
        done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
    };
    let moved = moves.find(|done| !is_taken(done)).expect("there is always a higher number");
    moved.map(|()| true)
}

fn numbered(part: &Path, number: u64) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// A file that had a name before another is completed under it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Older {
    device: u64,
    inode: u64,
    /// Another may have the number of one that was removed.
    modified: SystemTime,
}

impl Older {
    /// What has the name now.
    pub(super) fn find(name: &Path) -> Option<Self> {
        let there = fs::symlink_metadata(name).ok()?;
        let (device, inode) = (there.dev(), there.ino());
        Some(Self { device, inode, modified: there.modified().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_writes_stays_and_what_a_crash_left_is_moved() {
        let around = tempfile::tempdir().unwrap();
        let (at, part) = (folders::at(around.path()).unwrap(), around.path().join("a.part"));
        let has = |name: &str| fs::read_to_string(around.path().join(name)).ok();
        let (first, name) = make(&at, &part).unwrap();
        assert_eq!(name, part);
        let (second, name) = make(&at, &part).unwrap();
        assert_eq!(name, around.path().join("a.part.1"));
        fs::write(&part, "first").unwrap();
        let (third, name) = make(&at, &part).unwrap();
        assert_eq!(name, around.path().join("a.part.2"));
        assert!([&first, &second, &third].iter().all(|it| it.metadata().unwrap().nlink() == 1));
        drop(first);
        assert_eq!(make(&at, &part).unwrap().1, part);
        assert_eq!(has("a.part.3").as_deref(), Some("first"));
        // Nothing was written to that one.
        assert_eq!(make(&at, &part).unwrap().1, part);
        assert_eq!(has("a.part.4"), None);
    }
}
