//! Folders below open ones. Whoever may write to a folder may put anything in the place of what we
//! have made there: so it is opened and given away by what is open, never by its name, and no link
//! is followed; on the way there those that others cannot have put there are.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

/// As many links on one way as the kernel follows.
const LINKS: usize = 40;

/// What a path leads to, without a link that somebody else than root and we may have put there. It can
/// be used to open what is in it.
pub(super) fn find(path: &Path) -> io::Result<File> {
    find_at(look_at(AT_FDCWD, Path::new("."))?, path, &mut 0)
}

fn find_at(mut at: File, path: &Path, links: &mut usize) -> io::Result<File> {
    for part in path.components() {
        let name = match part {
            Component::Prefix(_) | Component::CurDir => continue,
            part => Path::new(part.as_os_str()),
        };
        let next = look_at(&at, name)?;
        let found = next.metadata()?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        *links += 1;
        if *links > LINKS {
            return Err(Errno::ELOOP.into());
        }
        if !is_ours(&found, &at.metadata()?) {
            let text = format!(
                "{} is a link that others may have put there; give the path without it",
                name.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        // Of what is open, whatever has its name now.
        let target = readlinkat(&next, "")?;
        at = find_at(at, Path::new(&target), links)?;
    }
    Ok(at)
}

/// Whatever has a name, and be it a link.
fn look_at(at: impl AsFd, name: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?.into())
}

/// Whether nobody but root and we can have put a link into the folder around it, or taken another's
/// place there: where all may write, but each change only their own, its owner says so.
fn is_ours(link: &Metadata, around: &Metadata) -> bool {
    let is_ours = |it: &Metadata| [0, Uid::effective().as_raw()].contains(&it.uid());
    let (all_write, only_own) = (around.mode() & 0o022 != 0, around.mode() & 0o1000 != 0);
    is_ours(link) && is_ours(around) && (!all_write || only_own)
}

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
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

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

    #[test]
    fn a_link_on_the_way_is_followed_where_others_cannot_have_put_it() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("there/deep")).unwrap();
        fs::create_dir(path("around")).unwrap();
        symlink("../there", path("around/link")).unwrap();
        symlink(path("around/link"), path("around/second")).unwrap();
        symlink("loop", path("around/loop")).unwrap();
        let inode = |found: io::Result<File>| found.and_then(|it| Ok(it.metadata()?.ino())).ok();
        let want = inode(find(&path("there/deep")));
        assert!(want.is_some());
        for (mode, is_followed) in [(0o755, true), (0o1777, true), (0o777, false), (0o775, false)] {
            fs::set_permissions(path("around"), Permissions::from_mode(mode)).unwrap();
            for way in ["around/link/deep", "around/second/deep", "around/link/deep/../deep/"] {
                let found = inode(find(&path(way)));
                assert_eq!(found, want.filter(|_| is_followed), "{way} in a folder {mode:o}");
            }
            assert_eq!(inode(find(&path("around/../there/deep"))), want);
            assert!(find(&path("around/loop")).is_err());
        }
        let error = find(&path("around/link")).unwrap_err().to_string();
        assert!(error.contains("give the path without it"), "{error}");
    }
}
