//! Folders below open ones, and files in them. Whoever may write to a folder may put anything in the
//! place of what we have made there: so it is opened and given away by what is open, never by its
//! name, and no link is followed; on the way there those that others cannot have put there are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{
    AT_FDCWD, AtFlags, OFlag, RenameFlags, open, openat, readlinkat, renameat, renameat2,
};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

/// To make something in it, a folder need not be readable.
const TO_ENTER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The folder of this name, wherever that leads: somebody has given it.
pub(super) fn at(folder: &Path) -> io::Result<OwnedFd> {
    Ok(open(folder, TO_ENTER, Mode::empty())?)
}

/// A folder that is there, and no link to one; to make something in it.
pub(super) fn enter(at: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    openat(at, name, TO_ENTER | OFlag::O_NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
        Errno::ENOTDIR | Errno::ELOOP => {
            let text = format!("{} is a symbolic link, or no directory", name.display());
            io::Error::new(io::ErrorKind::NotADirectory, text)
        }
        errno => errno.into(),
    })
}

/// Creates a file that is not there, or anew: what is there is removed, and no link followed.
pub(super) fn create_at(at: impl AsFd, name: &Path) -> io::Result<File> {
    match unlinkat(&at, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    create_new_at(at, name)
}

/// Creates a file that is not there.
pub(super) fn create_new_at(at: impl AsFd, name: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    Ok(openat(at, name, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o666))?.into())
}

/// Gives a file another name, which nothing has yet: where the kernel sees to that, also if another
/// process is about to give that name.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if something has it.
pub(super) fn rename_anew_at(at: impl AsFd, from: &Path, to: &Path) -> io::Result<()> {
    let tried = renameat2(&at, from, &at, to, RenameFlags::RENAME_NOREPLACE);
    or_by_looking(tried, at, from, to)
}

/// The same of paths.
pub(super) fn rename_anew(from: &Path, to: &Path) -> io::Result<()> {
    rename_anew_at(AT_FDCWD, from, to)
}

/// What was tried; or what can be done about it where the file system cannot do it.
fn or_by_looking(tried: nix::Result<()>, at: impl AsFd, from: &Path, to: &Path) -> io::Result<()> {
    match tried {
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            match fstatat(&at, to, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(Errno::ENOENT) => Ok(renameat(&at, from, &at, to)?),
                Err(errno) => Err(errno.into()),
            }
        }
        tried => Ok(tried?),
    }
}

/// As many links on one way as the kernel follows.
const LINKS: usize = 40;

/// What a path leads to, without a link that somebody else than root and we may have put there. It can
/// be used to open what is in it.
pub(super) fn find(path: &Path) -> io::Result<File> {
    // Who may not enter the working directory can still say where a folder is from the root.
    let start = Path::new(if path.is_absolute() { "/" } else { "." });
    find_at(look_at(AT_FDCWD, start)?, path, &mut 0)
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
        if !is_ours(&fstat(&next)?, &fstat(&at)?) {
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
pub(super) fn is_ours(link: &FileStat, around: &FileStat) -> bool {
    let is_ours = |it: &FileStat| [0, Uid::effective().as_raw()].contains(&it.st_uid);
    let (all_write, only_own) = (around.st_mode & 0o022 != 0, around.st_mode & 0o1000 != 0);
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

/// So that after a crash a folder has the names that it has now. Not every file system can do it.
pub(super) fn sync(folder: impl AsFd) {
    if let Ok(folder) = open_at(folder, Path::new(".")) {
        let _ = folder.sync_all();
    }
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
        assert!(enter(&at, Path::new("made")).is_ok());
        let refusal = enter(&at, Path::new("link")).unwrap_err().to_string();
        assert_eq!(refusal, "link is a symbolic link, or no directory");
    }

    #[test]
    fn a_file_is_created_in_the_place_of_a_link() {
        let around = tempfile::tempdir().unwrap();
        let [secret, part] = ["secret", "a.part"].map(|name| around.path().join(name));
        fs::write(&secret, "kept").unwrap();
        symlink("secret", &part).unwrap();
        create_at(at(around.path()).unwrap(), Path::new("a.part")).unwrap();
        assert!(fs::symlink_metadata(part).unwrap().is_file());
        assert_eq!(fs::read(secret).unwrap(), b"kept");
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_replaced() {
        let around = tempfile::tempdir().unwrap();
        let tried = Err(Errno::EINVAL);
        let to = around.path().join("b".repeat(300));
        let refusal = or_by_looking(tried, AT_FDCWD, &around.path().join("a"), &to).unwrap_err();
        // There is no `a`: to rename it would have failed otherwise.
        assert_eq!(refusal.raw_os_error(), Some(Errno::ENAMETOOLONG as i32));
    }

    /// Also where the file system has no such flag.
    #[test]
    fn a_new_name_replaces_nothing() {
        let around = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| around.path().join(name));
        for errno in [None, Some(Errno::EINVAL), Some(Errno::ENOSYS)] {
            let rename = |from: &Path, to: &Path| match errno {
                None => rename_anew(from, to),
                Some(errno) => or_by_looking(Err(errno), AT_FDCWD, from, to),
            };
            fs::write(&a, "a").unwrap();
            rename(&a, &b).unwrap();
            fs::write(&a, "later").unwrap();
            let refusal = rename(&a, &b).unwrap_err();
            assert_eq!(refusal.kind(), io::ErrorKind::AlreadyExists, "{errno:?}");
            assert_eq!(fs::read(&b).unwrap(), b"a");
            fs::remove_file(&b).unwrap();
            // A link that leads nowhere is something, too.
            symlink("nowhere", &b).unwrap();
            assert!(rename(&a, &b).is_err());
            fs::remove_file(&b).unwrap();
        }
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
