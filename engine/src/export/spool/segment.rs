//! A file of entries, one behind the other.
//!
//! It begins with a line that says what it is. Before each entry stand its length and its number of
//! records (four bytes each, little-endian), a checksum of it and one of all this: XXH3, of 64 bits,
//! seeded by the segment and the place, so that an old entry is not taken for a new one.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::{FileExt, MetadataExt};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::limits::SPOOL_ENTRY_BYTES;

/// What a segment begins with; the last figure is the version of what follows.
const MAGIC: &[u8; 16] = b"flowtap spool 1\n";
const MAGIC_BYTES: u64 = MAGIC.len() as u64;
/// The same without the version.
const ANY_VERSION: &[u8] = b"flowtap spool ";

/// Bytes before each entry.
const HEADER: usize = 24;

/// What stands before an entry.
struct Header {
    len: u32,
    records: u32,
    checksum: u64,
}

impl Header {
    fn of(bytes: &[u8], records: u32, seed: u64) -> Self {
        let len = u32::try_from(bytes.len()).expect("an entry has a limit");
        Self { len, records, checksum: xxh3_64_with_seed(bytes, seed) }
    }

    fn write(&self, seed: u64) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&self.len.to_le_bytes());
        out[4..8].copy_from_slice(&self.records.to_le_bytes());
        out[8..16].copy_from_slice(&self.checksum.to_le_bytes());
        let all = xxh3_64_with_seed(&out[..16], seed);
        out[16..].copy_from_slice(&all.to_le_bytes());
        out
    }

    /// `None` if it is damaged.
    fn read(bytes: &[u8; HEADER], seed: u64) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let this = Self { len: word(0), records: word(4), checksum: long(8) };
        let is_right = long(16) == xxh3_64_with_seed(&bytes[..16], seed);
        (is_right && this.len as usize <= SPOOL_ENTRY_BYTES).then_some(this)
    }
}

fn seed(segment: u64, at: u64) -> u64 {
    segment.rotate_left(40) ^ at
}

/// A segment that was opened.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Whether a former run has written it.
    pub(super) is_former: bool,
    /// `None` while nobody reads or writes it.
    file: Option<File>,
    /// Bytes that are on disk.
    bytes: u64,
    /// Where good entries end.
    end: u64,
    /// Up to where it was read.
    read: u64,
    /// In it, but for what was done with before it was opened.
    all: Count,
    was_read: Count,
    is_done: Count,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    entries: u64,
    records: u64,
}

impl Count {
    fn add(&mut self, records: u32) {
        self.entries += 1;
        self.records += u64::from(records);
    }
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Entry {
        bytes: Vec<u8>,
        end: u64,
        records: u32,
    },
    /// So many records are lost.
    Damaged {
        records: u64,
    },
}

impl Segment {
    /// Bytes that an entry takes.
    pub(super) fn bytes_of(entry: usize) -> u64 {
        (HEADER + entry) as u64
    }

    fn new(number: u64, is_former: bool, file: File, bytes: u64, end: u64) -> Self {
        let (all, was_read, is_done) = Default::default();
        let (file, read, scratch) = (Some(file), end, Vec::new());
        Self { number, is_former, file, bytes, end, read, all, was_read, is_done, scratch }
    }

    /// An empty one, in an empty file.
    pub(super) fn begin(number: u64, file: File) -> io::Result<Self> {
        file.write_all_at(MAGIC, 0)?;
        Ok(Self::new(number, false, file, MAGIC_BYTES, MAGIC_BYTES))
    }

    /// One of a former run, of which everything before `from` is done with. Also tells how many bytes
    /// at its end are no entries.
    ///
    /// # Errors
    /// If it cannot be read, or is of another version.
    pub(super) fn open(number: u64, file: File, from: u64) -> io::Result<(Self, u64)> {
        let bytes = file.metadata()?.len();
        let mut reader = BufReader::new(&file);
        let mut magic = [0; MAGIC.len()];
        let is_ours = bytes >= MAGIC_BYTES && {
            reader.read_exact(&mut magic)?;
            &magic == MAGIC
        };
        if !is_ours {
            if magic.starts_with(ANY_VERSION) {
                let text = "it was written by another version of flowtap";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            return Ok((Self::new(number, true, file, bytes, MAGIC_BYTES), bytes));
        }
        let (mut end, mut all) = (from.max(MAGIC_BYTES), Count::default());
        let start = end;
        if end > bytes {
            return Ok((Self::new(number, true, file, bytes, end), 0));
        }
        reader.seek_relative((end - MAGIC_BYTES).cast_signed())?;
        let mut header = [0; HEADER];
        while bytes - end >= HEADER as u64 {
            reader.read_exact(&mut header)?;
            let Some(header) = Header::read(&header, seed(number, end)) else { break };
            let next = end + HEADER as u64 + u64::from(header.len);
            if next > bytes {
                break;
            }
            reader.seek_relative(header.len.into())?;
            end = next;
            all.add(header.records);
        }
        let this = Self { end, all, ..Self::new(number, true, file, bytes, start) };
        Ok((this, bytes - end))
    }

    /// The file, unless it is closed.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Closes it: what was done with one segment after the other has few open at a time.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Takes the file to read from.
    pub(super) fn reopen(&mut self, file: File) {
        self.file = Some(file);
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it has no entry at all.
    pub(super) fn is_empty(&self) -> bool {
        self.all.entries == 0
    }

    pub(super) fn has_unread(&self) -> bool {
        self.read < self.end
    }

    /// Whether all of it is done with.
    pub(super) fn is_done(&self) -> bool {
        !self.has_unread() && self.is_done.entries == self.all.entries
    }

    /// Records that are not done with.
    pub(super) fn records_left(&self) -> u64 {
        self.all.records - self.is_done.records
    }

    /// Puts an entry at the end, and returns where that is then.
    pub(super) fn append(&mut self, entry: &[u8], records: u32) -> io::Result<u64> {
        let file = self.file.as_ref().expect("it is written to");
        // What is written to a file without a name would be lost with this process.
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed"));
        }
        let seed = seed(self.number, self.end);
        self.scratch.clear();
        self.scratch.extend_from_slice(&Header::of(entry, records, seed).write(seed));
        self.scratch.extend_from_slice(entry);
        if let Err(error) = file.write_all_at(&self.scratch, self.end) {
            // What is left of it all the same has no right checksum.
            let _ = file.set_len(self.end);
            return Err(error);
        }
        self.end += self.scratch.len() as u64;
        self.bytes = self.end;
        self.all.add(records);
        Ok(self.end)
    }

    /// All of it counts as read.
    pub(super) fn skip_unread(&mut self) {
        (self.read, self.was_read) = (self.end, self.all);
    }

    /// Reads the next entry; there is one, and it is open.
    pub(super) fn next(&mut self) -> Read {
        let seed = seed(self.number, self.read);
        let mut header = [0; HEADER];
        let Some(file) = &self.file else { return self.skip_rest() };
        let is_read = file.read_exact_at(&mut header, self.read).is_ok();
        let Some(header) = Header::read(&header, seed).filter(|_| is_read) else {
            return self.skip_rest();
        };
        let mut bytes = vec![0; header.len as usize];
        let is_read = file.read_exact_at(&mut bytes, self.read + HEADER as u64).is_ok();
        self.read += Self::bytes_of(bytes.len());
        self.was_read.add(header.records);
        if is_read && xxh3_64_with_seed(&bytes, seed) == header.checksum {
            return Read::Entry { bytes, end: self.read, records: header.records };
        }
        self.is_done.add(header.records);
        Read::Damaged { records: header.records.into() }
    }

    /// Where the next entry begins is not known, or all of it is gone: no further one is found.
    pub(super) fn skip_rest(&mut self) -> Read {
        let records = self.all.records - self.was_read.records;
        self.is_done.entries += self.all.entries - self.was_read.entries;
        self.is_done.records += records;
        self.skip_unread();
        Read::Damaged { records }
    }

    /// An entry that was read is done with.
    pub(super) fn done(&mut self, records: u32) {
        self.is_done.add(records);
    }
}
