//! The bytes of a capture file, decompressed if they need it.
//!
//! Compression is recognised by its magic number. Nothing is read ahead beyond what one
//! `read` returns, so that a live pipe delivers packets as they come.

mod gzip;

use std::fmt;
use std::io::{self, BufReader, Read};

use zstd::stream::read::Decoder as ZstdDecoder;

use self::gzip::Members;
use crate::limits::{FILE_DECOMPRESS_BYTES, FILE_ZSTD_WINDOW_LOG};

/// Compressed bytes that are read at once.
const COMPRESSED_BYTES: usize = 128 << 10;

/// How the bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}

/// A source of bytes that may be stored compressed.
pub(crate) enum Stream {
    Plain(Stored),
    /// One or more gzip members.
    Gzip(Box<Members<BufReader<Stored>>>),
    /// One or more Zstandard frames.
    Zstd(Box<ZstdDecoder<'static, BufReader<Stored>>>),
}

impl Stream {
    /// Reads as many bytes as it takes to tell the compression.
    pub(crate) fn new(read: Box<dyn Read + Send>) -> io::Result<Stream> {
        let mut stored = Stored { read, start: [0; 4], start_len: 0, start_given: 0, bytes: 0 };
        stored.read_start()?;
        match stored.compression() {
            None => Ok(Stream::Plain(stored)),
            Some(Compression::Gzip) => {
                let stored = BufReader::with_capacity(COMPRESSED_BYTES, stored);
                Ok(Stream::Gzip(Box::new(Members::new(stored))))
            }
            Some(Compression::Zstd) => {
                let stored = BufReader::with_capacity(COMPRESSED_BYTES, stored);
                let mut decoder = ZstdDecoder::with_buffer(stored)?;
                decoder.window_log_max(FILE_ZSTD_WINDOW_LOG)?;
                Ok(Stream::Zstd(Box::new(decoder)))
            }
        }
    }

    pub(super) fn compression(&self) -> Option<Compression> {
        match self {
            Stream::Plain(_) => None,
            Stream::Gzip(_) => Some(Compression::Gzip),
            Stream::Zstd(_) => Some(Compression::Zstd),
        }
    }

    /// Bytes that were read as they are stored.
    pub(super) fn stored_bytes(&self) -> u64 {
        match self {
            Stream::Plain(stored) => stored.bytes,
            Stream::Gzip(members) => members.get_ref().map_or(0, |stored| stored.get_ref().bytes),
            Stream::Zstd(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // Decoders drop what they decompressed in the call that meets damage.
        let small = into.len().min(FILE_DECOMPRESS_BYTES);
        match self {
            Stream::Plain(stored) => stored.read(into),
            Stream::Gzip(members) => members.read(&mut into[..small]),
            Stream::Zstd(decoder) => decoder.read(&mut into[..small]),
        }
    }
}

/// The file itself: its first bytes can be looked at before they are read.
pub(crate) struct Stored {
    read: Box<dyn Read + Send>,
    start: [u8; 4],
    /// Bytes in `start`; fewer than 4 only if the file has no more.
    start_len: usize,
    /// Bytes of `start` that were read again; at most `start_len`.
    start_given: usize,
    bytes: u64,
}

impl Stored {
    fn read_start(&mut self) -> io::Result<()> {
        while self.start_len < self.start.len() {
            match self.read.read(&mut self.start[self.start_len..]) {
                Ok(0) => break,
                Ok(count) => self.start_len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn compression(&self) -> Option<Compression> {
        match &self.start[..self.start_len] {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            // A frame (RFC 8878 section 3.1.1), or a skippable frame (3.1.2) before one.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Compression::Zstd),
            _ => None,
        }
    }
}

impl Read for Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut start = &self.start[self.start_given..self.start_len];
        let count = if start.is_empty() {
            loop {
                match self.read.read(into) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            }
        } else {
            let count = start.read(into)?;
            self.start_given += count;
            count
        };
        self.bytes += count as u64;
        Ok(count)
    }
}
