//! The part of a capture file that is in memory: one buffer, filled by large reads, in
//! which packets are found and handed out in place.
//!
//! It knows offsets and words errors, and does not know formats.

use std::fmt;
use std::io::{self, Read};

use super::stream::Stream;
use crate::error::{Error, Result};
use crate::limits::{FILE_BLOCK_BYTES, FILE_BUFFER_BYTES, FILE_PACKET_BYTES};

// The buffer grows to the power of two that holds one block or packet record.
const _: () = assert!(FILE_BLOCK_BYTES.is_power_of_two() && FILE_PACKET_BYTES < FILE_BLOCK_BYTES);

/// What to know about a file that breaks in its middle.
const BEFORE: &str = "the packets before it were counted";
/// What to do about a file that is broken from its start.
const ANEW: &str = "fetch or record it anew";

/// A moving window on a [`Stream`].
pub(super) struct Window {
    /// The file's name, for errors.
    subject: String,
    /// Whether the format is still to be found out: no packet was handed out.
    opening: bool,
    stream: Stream,
    bytes: Vec<u8>,
    /// `bytes[start..end]` was read and not yet taken; start <= end <= the buffer's length.
    start: usize,
    end: usize,
    /// The offset of `bytes[0]` in the decompressed file.
    offset: u64,
}

/// What is in a window and not yet taken.
pub(super) struct Rest<'a> {
    bytes: &'a [u8],
    /// Where they begin in the buffer.
    start: &'a mut usize,
}

impl<'a> Rest<'a> {
    #[inline(always)]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes `count` bytes, which must be there.
    #[inline(always)]
    pub(super) fn take(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
        *self.start += count;
    }
}

impl Window {
    pub(super) fn new(subject: String, stream: Stream) -> Window {
        let bytes = vec![0; FILE_BUFFER_BYTES];
        Window { subject, opening: true, stream, bytes, start: 0, end: 0, offset: 0 }
    }

    /// Says that the format is known, and that from now on packets are read.
    pub(super) fn opened(&mut self) {
        self.opening = false;
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What was read and not yet taken.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be taken piece by piece.
    #[inline]
    pub(super) fn rest_to_take(&mut self) -> Rest<'_> {
        Rest { bytes: &self.bytes[self.start..self.end], start: &mut self.start }
    }

    /// `count` bytes that were taken, at `at` in the buffer.
    #[inline]
    pub(super) fn taken(&self, at: usize, count: usize) -> &[u8] {
        &self.bytes[at..at + count]
    }

    /// Whether at least `count` bytes are in the window, after reading more if need be:
    /// if not, the file ends before.
    ///
    /// # Errors
    /// If reading fails. Bytes that came before stay in the window.
    #[inline]
    pub(super) fn holds(&mut self, count: usize) -> Result<bool> {
        if self.end - self.start >= count { Ok(true) } else { self.fill(count) }
    }

    /// Takes `count` bytes, which the window must hold, and returns where they are for
    /// [`Window::taken`]. They stay there until [`Window::holds`] is called.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> usize {
        assert!(count <= self.end - self.start, "only what the window holds is taken");
        let at = self.start;
        self.start += count;
        at
    }

    /// Reads until `count` bytes are there, and no more often: a pipe may have no more to
    /// give for a long time.
    #[cold]
    #[inline(never)]
    fn fill(&mut self, count: usize) -> Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.offset += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        if count > self.bytes.len() {
            assert!(count <= FILE_BLOCK_BYTES, "formats check lengths before they wait");
            self.bytes.resize(count.next_power_of_two(), 0);
        }
        while self.end < count {
            match self.stream.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(more) => self.end += more,
                Err(cause) => return Err(self.unreadable(&cause)),
            }
        }
        Ok(true)
    }

    /// An error for `cause`.
    pub(super) fn error(&self, cause: impl fmt::Display) -> Error {
        let operation = if self.opening { "open" } else { "read" };
        Error::new(format!("{operation} {}", self.subject), cause)
    }

    /// An error for damage in the file.
    pub(super) fn damage(&self, cause: impl fmt::Display) -> Error {
        self.error(cause).advise(if self.opening { ANEW } else { BEFORE })
    }

    /// The error of a file that ends inside `what`, which starts where the window does.
    #[cold]
    pub(super) fn cut(&self, what: &str) -> Error {
        let (start, end) = (self.place(self.start), self.offset + self.end as u64);
        self.damage(format!("the file ends at byte {end}, inside the {what} at {start}"))
    }

    /// The error of `what`, which starts where the window does and of which `cause` is said.
    #[cold]
    pub(super) fn broken(&self, what: &str, cause: &str) -> Error {
        let start = self.place(self.start);
        self.damage(format!("the file is damaged: the {what} at {start} {cause}"))
    }

    fn unreadable(&self, cause: &io::Error) -> Error {
        let place = self.place(self.end);
        // An error with a number is the system's that failed to read, not a decoder's.
        let of_decoder = cause.raw_os_error().is_none();
        match self.stream.compression().filter(|_| of_decoder) {
            None => self.damage(format!("reading fails at {place}: {cause}")),
            Some(compression) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                self.damage(format!("the {compression} data is cut, after {place}"))
            }
            Some(compression) => {
                self.damage(format!("the {compression} data is damaged, after {place} ({cause})"))
            }
        }
    }

    /// Where `at` in the buffer is in the file.
    fn place(&self, at: usize) -> String {
        let offset = self.offset + at as u64;
        match self.stream.compression() {
            None => format!("byte {offset}"),
            Some(_) => format!("byte {offset} of the decompressed data"),
        }
    }
}
