//! Folders below open ones. Whoever may write to a folder may put anything in the place of what we
//! have made there: so it is opened and given away by what is open, never by its name, and no link
//! is followed.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

/// A folder that is there, and no link to one.
pub(super) fn open_at(at: impl AsFd, name: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?.into())
}

/// The same; it is made unless it is there. Whether it was.
pub(super) fn make_at(at: impl AsFd, name: &Path, mode: Mode) -> io::Result<(File, bool)> {
    let is_new = match mkdirat(&at, name, mode) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno.into()),
    };
    Ok((open_at(at, name)?, is_new))
}

/// Gives a folder away that was made just now: it is ours and empty, or somebody has put another
/// there.
pub(super) fn give(folder: &File, uid: Uid, gid: Gid) -> io::Result<()> {
    if folder.metadata()?.uid() != Uid::effective().as_raw() || names(folder)?.next().is_some() {
        let text = "somebody else has put another folder there";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(fchown(folder, Some(uid), Some(gid))?)
}

/// What is in a folder.
pub(super) fn names(folder: &File) -> io::Result<impl Iterator<Item = String>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let entries = Dir::openat(folder, ".", flags, Mode::empty())?.into_iter();
    let names: Vec<_> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<nix::Result<_>>()?;
    Ok(names.into_iter().filter(|name| name != "." && name != ".."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whoever owns the folder around may do all of it between two system calls of ours.
    #[test]
    fn what_was_put_in_its_place_is_not_given_away() {
        let around = tempfile::tempdir().unwrap();
        let at = File::open(around.path()).unwrap();
        let make = |name: &str| make_at(&at, Path::new(name), Mode::S_IRWXU);
        let give_to_ourselves = |folder: &File| give(folder, Uid::effective(), Gid::effective());
        let (made, is_new) = make("made").unwrap();
        assert!(is_new && give_to_ourselves(&made).is_ok());
        assert!(!make("made").unwrap().1);
        symlink("made", around.path().join("link")).unwrap();
        assert!(make("link").is_err());
        fs::write(around.path().join("made/secret"), "").unwrap();
        assert!(give_to_ourselves(&made).is_err());
        assert_eq!(names(&made).unwrap().collect::<Vec<_>>(), ["secret"]);
    }
}
