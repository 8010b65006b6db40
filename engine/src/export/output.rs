//! A file while it is written: `NAME.part`, renamed to `NAME` when it is complete. What is taken
//! is kept until it is written whole: a write that fails is as if it had not been tried, and may
//! be tried again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::export::completed::{Chosen, Completed};
use crate::export::compress::Compressor;
use crate::export::part::Older;
use crate::export::queue::Progress;
use crate::export::target::{Place, create_anew, open};
use crate::export::{Compression, SinkSpec, folders, name, part};
use crate::sync::Arc;

/// Bytes that a compressor has given and that are written at once.
const BUFFER_BYTES: usize = 1 << 16;

/// Bytes written at once to what is not a file. A pipe takes all of a write before that
/// returns, so a larger one would hide for long that a slow reader does read.
const PIPE_BYTES: usize = 1 << 14;

/// How often another may take the name that was free a moment before, until that is a fault.
const RENAME_TRIES: u32 = 100;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Why something could not be written.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may be tried again: nothing is lost yet.
    Later(io::Error),
    /// What was written before may not be there.
    Broken(io::Error),
}

impl Fault {
    /// What the system has said.
    pub(crate) fn error(&self) -> &io::Error {
        match self {
            Self::Later(error) | Self::Broken(error) => error,
        }
    }

    /// Of a write: want of room passes.
    fn of_write(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Later(error),
            _ => Self::Broken(error),
        }
    }
}

/// Where a file is that has been written for a while.
#[derive(Debug, PartialEq, Eq)]
enum Presence {
    /// Where it was made.
    There,
    /// Somebody has moved it, or put something else in its place.
    Elsewhere,
    /// Nowhere: what is written to it is lost when it is closed.
    Gone,
}

/// An open output.
pub(crate) struct Output {
    file: File,
    /// `None` if it is written in place.
    place: Option<Place>,
    compressor: Compressor,
    /// What was taken, and compressed, and is not written yet.
    pending: Vec<u8>,
    /// Written.
    bytes: u64,
    /// Whether its folder knows of it after a crash.
    is_listed: bool,
    progress: Arc<Progress>,
}

impl Output {
    /// Opens the sink's target for writing, or a file of `interfaces` by its pattern; `progress` is
    /// told whenever that takes something.
    ///
    /// # Errors
    /// If the target cannot be created, or is a folder.
    pub(crate) fn open(
        spec: &SinkSpec,
        interfaces: &[String],
        progress: &Arc<Progress>,
    ) -> Result<Self> {
        let (file, place) = open(&spec.target, interfaces)?;
        let compressor = Compressor::new(spec.compression)
            .map_err(|e| Error::new(format!("compress {}", spec.name()), e))?;
        let (pending, progress) = (Vec::new(), Arc::clone(progress));
        Ok(Self { file, place, compressor, pending, bytes: 0, is_listed: false, progress })
    }

    /// Creates a file, which must not be there, for what is no sink.
    ///
    /// # Errors
    /// If it is there, or cannot be created.
    pub(super) fn create(name: &Path, compression: Compression) -> io::Result<Self> {
        if fs::symlink_metadata(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut part = name.as_os_str().to_owned();
        part.push(".new");
        let part = PathBuf::from(part);
        let file = create_anew(&part)?;
        let place = Some(Place { part, name: name.to_owned(), older: None, root: None });
        let (compressor, progress) = (Compressor::new(compression)?, Arc::new(Progress::new()));
        let pending = Vec::new();
        Ok(Self { file, place, compressor, pending, bytes: 0, is_listed: false, progress })
    }

    /// The name that bytes are written under now, of a file.
    pub(crate) fn current_name(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| place.part.as_path())
    }

    /// The file that has that name.
    pub(crate) fn part_file(&self) -> Option<BorrowedFd<'_>> {
        self.place.as_ref().map(|_| self.file.as_fd())
    }

    /// Bytes that have left for the target so far, compressed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes bytes: they are written with [`write_due`](Self::write_due) and its like.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.compressor.take(bytes, &mut self.pending);
    }

    /// Whether something that was taken is not with the system: a compressor keeps some until
    /// its frame ends.
    pub(crate) fn holds_back(&self) -> bool {
        self.compressor.holds_back() || !self.pending.is_empty()
    }

    /// Writes what was taken; of what is compressed only larger pieces.
    pub(crate) fn write_due(&mut self) -> std::result::Result<(), Fault> {
        if self.compressor.holds_back() { self.write_some() } else { self.write_pending() }
    }

    /// Writes what was taken once it is much.
    pub(super) fn write_some(&mut self) -> std::result::Result<(), Fault> {
        if self.pending.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.write_pending()
    }

    /// Brings all that was taken to where it can be read: with the system, and on the disk.
    pub(crate) fn checkpoint(&mut self) -> std::result::Result<(), Fault> {
        self.compressor.end_frame(&mut self.pending);
        self.write_pending()?;
        match &self.place {
            Some(place) if self.presence(place) == Presence::Gone => Err(Fault::Later(removed())),
            Some(place) => {
                self.sync()?;
                if !std::mem::replace(&mut self.is_listed, true) {
                    sync_folder(&place.part);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// All or nothing, of a file.
    fn write_pending(&mut self) -> std::result::Result<(), Fault> {
        let is_file = self.place.is_some();
        let mut written = 0;
        while written < self.pending.len() {
            let rest = &self.pending[written..];
            let done = if is_file {
                self.file.write_at(rest, self.bytes + written as u64)
            } else {
                self.file.write(&rest[..rest.len().min(PIPE_BYTES)])
            };
            match done {
                Ok(0) => return Err(self.take_back(written, io::ErrorKind::WriteZero.into())),
                Ok(some) => {
                    written += some;
                    self.progress.note();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.take_back(written, error)),
            }
        }
        self.bytes += written as u64;
        self.pending.clear();
        Ok(())
    }

    /// A write has failed after so many bytes.
    fn take_back(&mut self, written: usize, error: io::Error) -> Fault {
        if self.place.is_some() {
            // A half record at the end would stay if nothing is written any more. If this fails,
            // what comes next is written over it.
            let _ = self.file.set_len(self.bytes);
        } else {
            self.bytes += written as u64;
            self.pending.drain(..written);
        }
        Fault::of_write(error)
    }

    fn sync(&self) -> std::result::Result<(), Fault> {
        self.progress.set_syncing(true);
        let synced = self.file.sync_all();
        self.progress.set_syncing(false);
        // After that the system has forgotten what it could not write.
        synced.map_err(Fault::Broken)
    }

    /// Gives the file up before anything was exported: as if it had not been opened.
    pub(crate) fn discard(self) {
        if let Some(place) = &self.place
            && self.presence(place) == Presence::There
        {
            // A leftover `.part` is no harm.
            let _ = fs::remove_file(&place.part);
        }
    }

    /// Completes the file and gives it its final name, which is returned; there is none if it has
    /// no other, was moved away, or took so long that it no longer `is_wanted`. May be tried again.
    ///
    /// `completed` are files that this run has completed before: they are not replaced, and
    /// this one gets a number into its name instead.
    pub(crate) fn finish(
        &mut self,
        completed: &mut Completed,
        is_wanted: impl FnOnce() -> bool,
    ) -> std::result::Result<Option<PathBuf>, Fault> {
        self.compressor.end_file(&mut self.pending);
        self.write_pending()?;
        let Some(place) = &self.place else { return Ok(None) };
        let mut presence = self.presence(place);
        if presence == Presence::Gone {
            let (copy, part) = self.copy_to(place).map_err(Fault::Later)?;
            self.file = copy;
            self.place.as_mut().expect("it was there just now").part = part;
            presence = Presence::There;
        }
        // On the disk before it has its name: a crash leaves no half file under it.
        self.sync()?;
        let Some(place) = &self.place else { return Ok(None) };
        if presence == Presence::Elsewhere || !is_wanted() {
            return Ok(None);
        }
        // What a pattern has named may be of a run before, of the same day; and what came while this
        // was written is of another run.
        let is_older = place.older.is_some() && place.older == Older::find(&place.name);
        let keeps_all = place.root.is_some() || !is_older;
        let name = rename(&place.part, &place.name, completed, keeps_all).map_err(Fault::Later)?;
        sync_folder(&name);
        Ok(Some(name))
    }

    /// Completes a file that was [created](Self::create), and says its name if nobody moved it.
    pub(super) fn finish_new(mut self) -> std::result::Result<Option<PathBuf>, Fault> {
        self.finish(&mut Completed::default(), || true)
    }

    /// Whether somebody has removed the file: what was written to it is nowhere.
    pub(crate) fn is_gone(&self) -> bool {
        self.place.as_ref().is_some_and(|place| self.presence(place) == Presence::Gone)
    }

    fn presence(&self, place: &Place) -> Presence {
        match (self.file.metadata(), fs::symlink_metadata(&place.part)) {
            (Err(_), _) => Presence::There,
            // Whoever has its name now.
            (Ok(ours), _) if ours.nlink() == 0 => Presence::Gone,
            (Ok(ours), Ok(there)) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                Presence::There
            }
            _ => Presence::Elsewhere,
        }
    }

    /// Makes the file anew from what nobody else can read any more.
    fn copy_to(&self, place: &Place) -> io::Result<(File, PathBuf)> {
        let part = &place.part;
        let folder = match &place.root {
            Some(root) => name::make_folders(root, part)?,
            None => folders::at(name::folder_of(part))?,
        };
        let (copy, part) = part::make(&folder, part)?;
        let mut chunk = vec![0; COPY_BYTES];
        let copied = (0..self.bytes).step_by(COPY_BYTES).try_for_each(|offset| {
            let left = usize::try_from(self.bytes - offset).unwrap_or(COPY_BYTES);
            let chunk = &mut chunk[..left.min(COPY_BYTES)];
            self.file.read_exact_at(chunk, offset)?;
            self.progress.note();
            copy.write_all_at(chunk, offset)
        });
        match copied {
            Ok(()) => Ok((copy, part)),
            Err(error) => {
                // It will be tried again.
                let _ = fs::remove_file(&part);
                Err(error)
            }
        }
    }
}

/// Gives a file its name, or one with a number: that of another which is not to be replaced is
/// found in use by looking, or if somebody was faster, by trying.
fn rename(
    part: &Path,
    name: &Path,
    completed: &mut Completed,
    keeps_all: bool,
) -> io::Result<PathBuf> {
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    for _ in 0..RENAME_TRIES {
        let Chosen { name, replaces } = completed.choose(name, keeps_all, is_there);
        let done = match replaces {
            true => fs::rename(part, &name),
            false => folders::rename_anew(part, &name),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn removed() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it or its folder was removed")
}

/// So that after a crash the name is there too.
fn sync_folder(name: &Path) {
    if let Ok(folder) = folders::at(name::folder_of(name)) {
        folders::sync(folder);
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    /// Those of the runs, and of a run before what none of them may replace.
    #[test]
    fn of_several_that_complete_one_name_at_once_all_stay() {
        const ALL: usize = 8;
        let folder = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let name = folder.path().join(format!("{round}.csv"));
            if round % 2 == 0 {
                fs::write(&name, "of an earlier run").unwrap();
            }
            let spec = SinkSpec::parse(name.to_str().unwrap()).unwrap();
            let start = std::sync::Barrier::new(ALL);
            let complete = &|which: usize| {
                let mut output = open_output(&spec);
                output.take(which.to_string().as_bytes());
                start.wait();
                output.finish(&mut Completed::default(), || true).unwrap().unwrap()
            };
            std::thread::scope(|scope| {
                let all: Vec<_> =
                    (0..ALL).map(|which| scope.spawn(move || complete(which))).collect();
                for (which, thread) in all.into_iter().enumerate() {
                    let name = thread.join().unwrap();
                    assert_eq!(fs::read_to_string(name).unwrap(), which.to_string());
                }
            });
            assert_ne!(fs::read_to_string(&name).unwrap(), "of an earlier run");
        }
    }

    fn open_output(spec: &SinkSpec) -> Output {
        Output::open(spec, &[], &Arc::new(Progress::new())).unwrap()
    }

    #[test]
    fn what_was_removed_is_written_anew_though_another_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let [name, part] = ["a.csv", "a.csv.part"].map(|name| folder.path().join(name));
        let mut output = open_output(&SinkSpec::parse(name.to_str().unwrap()).unwrap());
        output.take(b"ours");
        fs::remove_file(&part).unwrap();
        fs::write(&part, "another's").unwrap();
        let finished = output.finish(&mut Completed::default(), || true).unwrap().unwrap();
        assert_eq!(fs::read(finished).unwrap(), b"ours");
        assert_eq!(fs::read(part.with_extension("part.1")).unwrap(), b"another's");
    }

    #[test]
    fn want_of_room_passes_and_damage_does_not() {
        for (errno, passes) in [
            (Errno::ENOSPC, true),
            (Errno::EDQUOT, true),
            (Errno::EIO, false),
            (Errno::EFBIG, false),
        ] {
            let fault = Fault::of_write(errno.into());
            assert_eq!(matches!(fault, Fault::Later(_)), passes, "{errno}");
        }
    }
}
