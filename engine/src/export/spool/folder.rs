//! The folder of one sink's spool: who uses it, which segments it has, and up to where they are done
//! with. Only its owner may look into it, as records tell of people. That may be the user to whom a
//! process that runs as root changes later, and who may put anything there before.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, User, unlinkat};
use xxhash_rust::xxh3::xxh3_64;

use super::segment::Segment;
use crate::error::{Error, Result};
use crate::export::folders;
use crate::limits::FILE_NAME_BYTES;

/// Whoever holds it uses the folder.
pub(super) const LOCK: &str = "lock";
const POSITION: &str = "position";
const SEGMENT: &str = ".segment";

/// A folder that is ours.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// What its files are opened by. Another one may stand under its name when that is looked up again.
    folder: File,
    /// Held as long as it is open.
    lock: File,
    position: File,
    /// Which of these two this run has made.
    are_new: [bool; 2],
}

/// Where the spool of the sink with a name is: with the name's letters, so that people find it, and
/// a hash, as names that differ may have the same.
pub(super) fn path_of(folder: &Path, sink: &str) -> PathBuf {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || ".+-".contains(it);
    let plain = sink.chars().map(|it| if is_plain(it) { it } else { '_' });
    let plain: String = plain.take(FILE_NAME_BYTES).collect();
    folder.join(format!("{plain}-{:08x}", xxh3_64(sink.as_bytes()) >> 32))
}

/// Makes it and the one around it, unless they are there; what was made is `owner`'s.
pub(super) fn make(folder: &Path, sink: &str, owner: Option<&str>) -> Result<()> {
    let owner = owner.and_then(|name| User::from_name(name).ok().flatten());
    let make = |at: &File, name: &Path| {
        let (made, is_new) = folders::make_at(at, name, Mode::S_IRWXU)?;
        match &owner {
            Some(user) if is_new => folders::give(&made, user.uid, user.gid)?,
            _ => {}
        }
        io::Result::Ok(made)
    };
    let path = path_of(folder, sink);
    let fail = |path: &Path, error: io::Error| {
        Error::new(format!("make the folder {}", path.display()), error).advise(
            "give --spool a folder of yours that is no link, or a name for one beside others of yours",
        )
    };
    let (way, name) = split(folder);
    let around = folders::find(way).and_then(|at| make(&at, name));
    let around = around.map_err(|error| fail(folder, error))?;
    make(&around, name_in(&path)).map_err(|error| fail(&path, error))?;
    Ok(())
}

/// The way to a folder, and its name there, if it has one. A slash at the end, which would have a link
/// followed, is no part of it.
fn split(folder: &Path) -> (&Path, &Path) {
    let its = folder.parent().zip(folder.file_name());
    its.map_or((folder, Path::new(".")), |(way, name)| (way, Path::new(name)))
}

/// Its name in the folder around it.
fn name_in(path: &Path) -> &Path {
    Path::new(path.file_name().expect("a sink's folder has a name"))
}

/// Opens the folder itself, and the one around it.
fn open_folder(path: &Path) -> io::Result<File> {
    let around = path.parent().expect("a sink's folder is in another");
    let (way, name) = split(around);
    folders::open_at(folders::open_at(folders::find(way)?, name)?, name_in(path))
}

/// Opens one of its files, and nothing else.
fn open_file(folder: &File, name: &str, flags: OFlag) -> io::Result<File> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file")),
    }
}

/// A file that has no other name, by which it would be somebody else's.
fn only_ours(file: File) -> io::Result<File> {
    match file.metadata()?.nlink() {
        0 | 1 => Ok(file),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it has another name too")),
    }
}

/// Opens one of its files to write to, which is made unless it is there. Whether it was.
fn make_file(folder: &File, name: &str) -> io::Result<(File, bool)> {
    let new = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
    match open_file(folder, name, new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((only_ours(open_file(folder, name, OFlag::O_RDWR)?)?, false))
        }
        made => Ok((made?, true)),
    }
}

fn segment(number: u64) -> String {
    format!("{number:020}{SEGMENT}")
}

impl Folder {
    /// Opens what was made, for this process alone.
    pub(super) fn open(folder: &Path, sink: &str) -> Result<Self> {
        let path = path_of(folder, sink);
        let fail = |path: &Path, error: io::Error| {
            Error::new(format!("open {}", path.display()), error)
                .advise("give --spool a folder that you may read and write")
        };
        let folder = open_folder(&path).map_err(|error| fail(&path, error))?;
        let open = |name| make_file(&folder, name).map_err(|error| fail(&path.join(name), error));
        let (lock, lock_is_new) = open(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    format!("use the spool {}", path.display()),
                    "another flowtap that sends to the same collector uses it",
                )
                .advise("stop that one, or give --spool another folder"));
            }
            Err(TryLockError::Error(error)) => return Err(fail(&path.join(LOCK), error)),
        }
        let (position, position_is_new) = open(POSITION)?;
        Ok(Self { path, folder, lock, position, are_new: [lock_is_new, position_is_new] })
    }

    /// What must be its user's when privileges are given up: what this run has made. What it has found
    /// stays whose it is, as somebody may have put it there.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        let files = [&self.lock, &self.position].into_iter().zip(self.are_new);
        files.filter_map(|(file, is_new)| is_new.then_some(file))
    }

    /// The oldest segment that is not done with, and up to where it is: 0 if that is not known.
    pub(super) fn position(&self) -> (u64, u64) {
        let mut bytes = [0; 24];
        if self.position.read_exact_at(&mut bytes, 0).is_err() {
            return (0, 0);
        }
        let [segment, end, checksum] =
            [0, 8, 16].map(|at| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])));
        if checksum == xxh3_64(&bytes[..16]) { (segment, end) } else { (0, 0) }
    }

    /// Notes it.
    pub(super) fn note_position(&self, segment: u64, end: u64) -> io::Result<()> {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&end.to_le_bytes());
        let checksum = xxh3_64(&bytes[..16]);
        bytes[16..].copy_from_slice(&checksum.to_le_bytes());
        self.position.write_all_at(&bytes, 0)
    }

    /// The numbers of all segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<u64>> {
        let fail = |error| Error::new(format!("read {}", self.path.display()), error);
        let number = |name: String| name.strip_suffix(SEGMENT)?.parse::<u64>().ok();
        let mut numbers: Vec<_> =
            folders::names(&self.folder).map_err(fail)?.filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens one of a former run, see [`Segment::open`].
    pub(super) fn open_segment(&self, number: u64, from: u64) -> Result<(Segment, u64)> {
        let file = self.open_again(number).and_then(only_ours);
        file.and_then(|file| Segment::open(number, file, from)).map_err(|error| {
            let path = self.path.join(segment(number));
            Error::new(format!("read {}", path.display()), error)
                .advise("move it away, or give --spool another folder")
        })
    }

    fn open_again(&self, number: u64) -> io::Result<File> {
        open_file(&self.folder, &segment(number), OFlag::O_RDONLY)
    }

    /// Opens a segment to read it, unless it is open.
    pub(super) fn wake(&self, segment: &mut Segment) -> io::Result<()> {
        if segment.file().is_none() {
            segment.reopen(self.open_again(segment.number)?);
        }
        Ok(())
    }

    /// Closes a segment until somebody reads it; unless it could not be opened then: it was removed, or
    /// is somebody else's, and privileges may be given up.
    pub(super) fn rest(&self, segment: &mut Segment) {
        let found = segment.file().and_then(|file| file.metadata().ok());
        let owner = self.folder.metadata().map(|it| it.uid()).ok();
        if found.is_some_and(|it| it.nlink() > 0 && Some(it.uid()) == owner) {
            segment.close();
        }
    }

    /// Makes the file of a new one.
    pub(super) fn begin_segment(&mut self, number: u64) -> io::Result<Segment> {
        let new = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = match open_file(&self.folder, &segment(number), new) {
            // It was removed; there may be another.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folder = open_folder(&self.path)?;
                open_file(&self.folder, &segment(number), new)?
            }
            made => made?,
        };
        Segment::begin(number, file).inspect_err(|_| self.remove(number))
    }

    /// Removes one that is done with or given up. If that fails, the next run finds that it is done
    /// with by [`position`](Self::position).
    pub(super) fn remove(&self, number: u64) {
        let _ = unlinkat(&self.folder, segment(number).as_str(), UnlinkatFlags::NoRemoveDir);
    }

    /// Waits for its names to be on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}
