//! A queue on disk: entries wait in segment files until whoever they are for takes them, be that in
//! a later run. What an entry is, only the sink that it belongs to knows.
//!
//! # On disk
//!
//! Each sink has a folder of its own below `--spool DIR`, which only its owner may enter, with
//!
//! - `lock`, held by the one process that uses it;
//! - `00000000000000000001.segment` and so on: entries one behind the other, each with its length, a
//!   number of records and checksums, so that a cut or damaged end is noticed and never taken for an
//!   entry. A run begins segments of its own, and changes none that it has found;
//! - `position`: up to where the oldest segment is done with.
//!
//! What is done with is deleted by the segment. So that a process that is killed has lost nothing and
//! sends nothing twice, entries and the position go to the system at once. They get onto the disk when
//! a segment is full and at the end: what a crash of the whole machine takes are the last seconds
//! before it, and some of what was done with may come again.
//!
//! # When it is full
//!
//! The oldest segment goes, a 64th of the limit, and not what comes: when the reader is back it has
//! all of the latest time without a gap, and nobody has to wait.
//!
//! However many there are, as each run while a reader is away leaves some, only that which is written
//! and that which is read are open.

mod folder;
mod segment;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use self::folder::Folder;
use self::segment::{Read, Segment};
use crate::error::Result;
use crate::limits::{SPOOL_BYTES_LEAST, SPOOL_SEGMENTS};

/// The least that a segment may become long: many entries.
const SEGMENT_BYTES_LEAST: u64 = SPOOL_BYTES_LEAST / 8;

/// What is asked of spools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder with a folder for each sink.
    pub folder: PathBuf,
    /// The most bytes that one sink's segments have together.
    pub bytes: u64,
}

impl SpoolOptions {
    /// A file in the folder of the sink with a name.
    pub(super) fn file_of(&self, sink: &str) -> PathBuf {
        folder::path_of(&self.folder, sink).join(folder::LOCK)
    }

    /// Makes the folder of the sink with a name, unless it is there, for `owner` if one is given.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn make_folder(&self, sink: &str, owner: Option<&str>) -> Result<()> {
        folder::make(&self.folder, sink, owner)
    }
}

/// Where an entry is, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of its segment.
    pub(super) segment: u64,
    /// Where the next entry begins there.
    end: u64,
    /// How many records it has, for the account.
    pub(super) records: u32,
    /// Whether an earlier run has spooled it.
    pub(super) is_former: bool,
}

/// An entry that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    pub(super) place: Place,
}

/// Records that nobody will take any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// The segment that they were in.
    pub(super) segment: u64,
    pub(super) records: u64,
    pub(super) is_former: bool,
}

/// Why [`Lost`] records are lost: the oldest made room.
pub(super) const FULL: &str = "spool full";
/// Why records are lost: they cannot be read back as they were written.
pub(super) const DAMAGED: &str = "spool damaged";

/// What was found when a spool was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Records that can be read.
    pub(super) records: u64,
    /// Bytes of cut or damaged ends: nobody knows how many records they were.
    pub(super) damaged_bytes: u64,
}

/// One sink's spool. Its one writer and reader is the thread of that sink.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Folder,
    /// The most bytes of all segments.
    limit: u64,
    /// In order. The last may be written to.
    segments: VecDeque<Segment>,
    /// Whether the last segment takes more.
    is_writing: bool,
    next_number: u64,
    found: Found,
    /// Damaged entries that were met while reading.
    damaged: Vec<Lost>,
}

impl Spool {
    /// Takes over what a former run has left for the sink with this name.
    ///
    /// # Errors
    /// If the folder cannot be made or used, or another process uses it.
    pub(super) fn open(options: &SpoolOptions, sink: &str) -> Result<Self> {
        options.make_folder(sink, None)?;
        let folder = Folder::open(&options.folder, sink)?;
        let done = folder.position();
        let mut spool = Self {
            limit: options.bytes,
            segments: VecDeque::new(),
            is_writing: false,
            next_number: done.0 + 1,
            found: Found::default(),
            damaged: Vec::new(),
            folder,
        };
        for number in spool.folder.segments()? {
            spool.next_number = spool.next_number.max(number.saturating_add(1));
            // What could not be removed when it was done with.
            if number < done.0 {
                spool.folder.remove(number);
                continue;
            }
            let from = if number == done.0 { done.1 } else { 0 };
            let (mut segment, damaged_bytes) = spool.folder.open_segment(number, from)?;
            spool.found.damaged_bytes += damaged_bytes;
            spool.found.records += segment.records_left();
            spool.folder.rest(&mut segment);
            spool.segments.push_back(segment);
        }
        spool.remove_done();
        Ok(spool)
    }

    /// What former runs have left.
    pub(super) fn found(&self) -> Found {
        self.found
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// What must be its user's when privileges are given up.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.folder.files().map(File::as_fd)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Records of former runs that are not done with.
    pub(super) fn former_records(&self) -> u64 {
        let former = self.segments.iter().filter(|segment| segment.is_former);
        former.map(Segment::records_left).sum()
    }

    /// Whether an entry of so many bytes would be beyond the limit.
    pub(super) fn needs_room(&self, bytes: usize) -> bool {
        !self.segments.is_empty() && self.bytes() + Segment::bytes_of(bytes) > self.limit
    }

    /// Gives up the oldest segment. What was read of it already, and is not done with, counts as lost
    /// too.
    pub(super) fn drop_oldest(&mut self) -> Option<Lost> {
        let segment = self.segments.pop_front()?;
        self.is_writing &= !self.segments.is_empty();
        self.folder.remove(segment.number);
        Some(Lost {
            segment: segment.number,
            records: segment.records_left(),
            is_former: segment.is_former,
        })
    }

    /// Puts an entry behind all others. After an error nothing of it is there, and the next one goes
    /// into another segment.
    pub(super) fn append(&mut self, bytes: &[u8], records: u32) -> io::Result<Place> {
        let most = (self.limit / SPOOL_SEGMENTS).max(SEGMENT_BYTES_LEAST);
        let has_room = |last: &Segment| last.bytes() + Segment::bytes_of(bytes.len()) <= most;
        if self.is_writing && !self.segments.back().is_some_and(has_room) {
            self.sync()?;
        }
        if !self.is_writing {
            self.segments.push_back(self.folder.begin_segment(self.next_number)?);
            self.next_number += 1;
            self.is_writing = true;
        }
        let segment = self.segments.back_mut().expect("it was begun");
        match segment.append(bytes, records) {
            Ok(end) => {
                let segment = segment.number;
                Ok(Place { segment, end, records, is_former: false })
            }
            Err(error) => {
                self.is_writing = false;
                if segment.is_empty() {
                    self.folder.remove(segment.number);
                    self.segments.pop_back();
                }
                Err(error)
            }
        }
    }

    /// Whether [`next`](Self::next) may have an entry.
    pub(super) fn has_unread(&self) -> bool {
        self.segments.iter().any(Segment::has_unread)
    }

    /// Whether there is nothing that is not done with.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// What was appended is known to whoever reads.
    pub(super) fn skip_unread(&mut self) {
        self.segments.iter_mut().for_each(Segment::skip_unread);
    }

    /// The next entry, if it can be read now. Damaged ones are skipped, see
    /// [`take_damaged`](Self::take_damaged).
    pub(super) fn next(&mut self) -> Option<Entry> {
        while let Some(idx) = self.segments.iter().position(Segment::has_unread) {
            let is_written = self.is_writing && idx + 1 == self.segments.len();
            let segment = &mut self.segments[idx];
            let (number, is_former) = (segment.number, segment.is_former);
            let read = match self.folder.wake(segment) {
                Ok(()) => segment.next(),
                Err(error) if is_for_now(&error) => return None,
                Err(_) => segment.skip_rest(),
            };
            if !segment.has_unread() && !is_written {
                self.folder.rest(segment);
            }
            match read {
                Read::Entry { bytes, end, records } => {
                    let place = Place { segment: number, end, records, is_former };
                    return Some(Entry { bytes, place });
                }
                Read::Damaged { records } => {
                    self.damaged.push(Lost { segment: number, records, is_former });
                }
            }
            self.remove_done();
        }
        None
    }

    /// What was found damaged since the last call.
    pub(super) fn take_damaged(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.damaged)
    }

    /// An entry is done with; they are so in order. Of one whose segment was given up nothing is left.
    pub(super) fn done(&mut self, place: &Place) {
        let Some(segment) = self.segments.iter_mut().find(|it| it.number == place.segment) else {
            return;
        };
        segment.done(place.records);
        // What cannot be noted is sent again by a later run, which is better than the contrary.
        let _ = self.folder.note_position(place.segment, place.end);
        self.remove_done();
    }

    /// Nobody wants an entry that was read, be those before it done with or not.
    pub(super) fn give_up(&mut self, place: &Place) {
        if let Some(segment) = self.segments.iter_mut().find(|it| it.number == place.segment) {
            segment.done(place.records);
            self.remove_done();
        }
    }

    /// Deletes segments that are done with.
    fn remove_done(&mut self) {
        while self.segments.front().is_some_and(Segment::is_done) {
            let segment = self.segments.pop_front().expect("it is there");
            self.is_writing &= !self.segments.is_empty();
            self.folder.remove(segment.number);
        }
    }

    /// Waits for all to be on the disk. What comes from now on goes into another segment.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_writing) {
            let last = self.segments.back_mut().expect("it was written to");
            last.file().expect("it is open").sync_data()?;
            self.folder.sync()?;
            self.folder.rest(last);
        }
        Ok(())
    }
}

/// Whether a segment may be opened later: of too many open files there may be fewer soon. One that
/// cannot be read holds up no others.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

#[cfg(test)]
mod tests;
