//! The folder of one sink's spool: who uses it, which segments it has, and up to where they are done
//! with. Only its owner may look into it, as records tell of people.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{User, chown};
use xxhash_rust::xxh3::xxh3_64;

use super::segment::Segment;
use crate::error::{Error, Result};
use crate::limits::FILE_NAME_BYTES;

/// Whoever holds it uses the folder.
pub(super) const LOCK: &str = "lock";
const POSITION: &str = "position";
const SEGMENT: &str = ".segment";

/// A folder that is ours.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Held as long as it is open.
    lock: File,
    position: File,
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
    for path in [folder, &path_of(folder, sink)] {
        let made = DirBuilder::new().mode(0o700).create(path).map(|()| true);
        let made = made.or_else(|error| match error.kind() {
            // A link to one is none: whoever may write beside it could have it lead anywhere.
            io::ErrorKind::AlreadyExists if path == folder || is_folder(path) => Ok(false),
            _ => Err(error),
        });
        let made = made.and_then(|is_new| match &owner {
            Some(user) if is_new => Ok(chown(path, Some(user.uid), Some(user.gid))?),
            _ => Ok(()),
        });
        made.map_err(|error| {
            Error::new(format!("make the folder {}", path.display()), error)
                .advise("give --spool a folder of yours, or a name for one beside others of yours")
        })?;
    }
    Ok(())
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_dir())
}

impl Folder {
    /// Opens what was made, for this process alone.
    pub(super) fn open(folder: &Path, sink: &str) -> Result<Self> {
        let path = path_of(folder, sink);
        let fail = |name: &str, error: io::Error| {
            Error::new(format!("open {}", path.join(name).display()), error)
                .advise("give --spool a folder that you may read and write")
        };
        let open = |name| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.custom_flags(OFlag::O_NOFOLLOW.bits());
            options.open(path.join(name)).map_err(|error| fail(name, error))
        };
        let lock = open(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    format!("use the spool {}", path.display()),
                    "another flowtap that sends to the same collector uses it",
                )
                .advise("stop that one, or give --spool another folder"));
            }
            Err(TryLockError::Error(error)) => return Err(fail(LOCK, error)),
        }
        let position = open(POSITION)?;
        Ok(Self { path, lock, position })
    }

    /// What must be its user's when privileges are given up.
    pub(super) fn files(&self) -> [&File; 2] {
        [&self.lock, &self.position]
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
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SEGMENT));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}{SEGMENT}"))
    }

    /// Opens one of a former run, see [`Segment::open`].
    pub(super) fn open_segment(&self, number: u64, from: u64) -> Result<(Segment, u64)> {
        let path = self.segment(number);
        let mut options = File::options();
        let file = options.read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
        file.and_then(|file| Segment::open(number, file, from)).map_err(|error| {
            Error::new(format!("read {}", path.display()), error)
                .advise("move it away, or give --spool another folder")
        })
    }

    /// Makes the file of a new one.
    pub(super) fn begin_segment(&self, number: u64) -> io::Result<Segment> {
        let path = self.segment(number);
        let file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Segment::begin(number, file).inspect_err(|_| self.remove(number))
    }

    /// Removes one that is done with or given up. If that fails, the next run finds that it is done
    /// with by [`position`](Self::position).
    pub(super) fn remove(&self, number: u64) {
        let _ = fs::remove_file(self.segment(number));
    }

    /// Waits for its names to be on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
