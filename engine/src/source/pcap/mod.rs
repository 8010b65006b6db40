//! Capture files: pcap and pcapng, plain or compressed with gzip or Zstandard.
//!
//! [`CaptureFile`] reads a file or a pipe as a stream, from its beginning to its end or
//! its first damage, and hands out frames in place in its buffer. It never seeks, trusts
//! no length before checking it, and does not look into frames. The thread that
//! reads a recording calls it.
//!
//! The way of the bytes: `stream` reads and decompresses, `window` buffers, and `classic`
//! or `pcapng` (with `interface`) find the packets in the window, which `frames` hands out.
//! Formats: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html> and
//! <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>.

mod classic;
mod frames;
mod interface;
mod order;
mod pcapng;
mod pipe;
mod stream;
#[cfg(test)]
mod tests;
mod window;

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

use self::classic::RecordFormat;
pub use self::frames::Frames;
use self::order::Order;
use self::pcapng::Pcapng;
use self::pipe::Pipe;
pub(crate) use self::stream::Stream;
use self::window::Window;
use crate::error::{Error, Result};
use crate::source::{Frame, LinkType};
use crate::sync::StopRequest;
use crate::time::Timestamp;

/// What to give instead of a file that is no capture.
const GIVE: &str = "give a capture made by tcpdump, Wireshark or dumpcap";

/// An open capture file.
pub struct CaptureFile {
    window: Window,
    format: Format,
    size: Option<u64>,
    untimed: u64,
}

/// How packets are found in the window.
enum Format {
    Classic(RecordFormat),
    Pcapng(Pcapng),
    /// The end was reached, or damage.
    Ended,
}

/// What comes next.
enum Next {
    Records(RecordFormat),
    Found(Found),
}

/// A packet that was found in the window and taken from it.
struct Found {
    /// Where its bytes are in the window's buffer.
    at: usize,
    captured: usize,
    wire_len: u32,
    timestamp: Option<Timestamp>,
    link: LinkType,
}

impl CaptureFile {
    /// Opens a pcap or pcapng file, plain or compressed with gzip or Zstandard, which its
    /// first bytes tell and not its name. `-` is standard input, and any pipe is read as
    /// it comes, until `stop` is requested.
    ///
    /// # Errors
    /// If it cannot be read or is not a capture file.
    pub fn open(path: &Path, stop: &StopRequest) -> Result<CaptureFile> {
        if path == Path::new("-") {
            return Self::open_stdin(stop);
        }
        let subject = path.display().to_string();
        let failed = |cause: io::Error| {
            let error = Error::new(format!("open {subject}"), &cause);
            match cause.kind() {
                io::ErrorKind::NotFound => error.advise("check the name"),
                io::ErrorKind::PermissionDenied => {
                    error.advise("run as a user who may read it, or change its permissions")
                }
                _ => error,
            }
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::new(format!("open {subject}"), "it is a directory")
                .advise("give the capture files in it"));
        }
        let size = metadata.is_file().then_some(metadata.len());
        let read: Box<dyn Read + Send> = if metadata.is_file() {
            Box::new(file)
        } else {
            Box::new(Pipe { file, stop: stop.clone() })
        };
        Self::from_read(subject, read, size)
    }

    fn open_stdin(stop: &StopRequest) -> Result<CaptureFile> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Error::new("open stdin", "it is a terminal")
                .advise("pipe a capture into it, or give a file"));
        }
        // A descriptor of our own reads without the standard library's small buffer.
        let own = stdin.as_fd().try_clone_to_owned().map_err(|e| Error::new("open stdin", e))?;
        let pipe = Pipe { file: File::from(own), stop: stop.clone() };
        Self::from_read("stdin".to_owned(), Box::new(pipe), None)
    }

    /// A capture that comes from `read`; `subject` names it in errors, and `size` is how many
    /// bytes will come, if that is known.
    ///
    /// # Errors
    /// If it cannot be read or is not a capture.
    pub fn from_read(
        subject: String,
        read: Box<dyn Read + Send>,
        size: Option<u64>,
    ) -> Result<CaptureFile> {
        let stream = Stream::new(read).map_err(|e| Error::new(format!("open {subject}"), e))?;
        let mut window = Window::new(subject, stream);
        let format = identify(&mut window)?;
        window.opened();
        Ok(CaptureFile { window, format, size, untimed: 0 })
    }

    /// The next frames, in place in the reader's buffer: at least one of them, and no more than are
    /// there; `None` at the proper end.
    ///
    /// # Errors
    /// At damage, or if reading fails: every frame before it was handed out. An error is
    /// final; after it the file has ended.
    pub fn frames(&mut self) -> Result<Option<Frames<'_>>> {
        let found = match &mut self.format {
            Format::Classic(record) => record
                .fill(&mut self.window)
                .map(|is_there| is_there.then_some(Next::Records(*record))),
            Format::Pcapng(pcapng) => {
                pcapng.next(&mut self.window).map(|found| found.map(Next::Found))
            }
            Format::Ended => Ok(None),
        };
        match found {
            Ok(Some(Next::Records(record))) => {
                Ok(Some(Frames::of_records(record, self.window.rest_to_take())))
            }
            Ok(Some(Next::Found(Found { at, captured, wire_len, timestamp, link }))) => {
                self.untimed += u64::from(timestamp.is_none());
                let bytes = self.window.taken(at, captured);
                Ok(Some(Frames::of_one(Frame { bytes, wire_len, timestamp, link })))
            }
            Ok(None) => {
                self.format = Format::Ended;
                Ok(None)
            }
            Err(error) => {
                self.format = Format::Ended;
                Err(error)
            }
        }
    }

    /// The next one alone, where the rate does not matter.
    ///
    /// # Errors
    /// As [`CaptureFile::frames`].
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        Ok(self.frames()?.and_then(|mut frames| frames.next()))
    }

    /// Whether the next frame is surely had without waiting for whoever writes to a pipe.
    #[inline]
    #[must_use]
    pub fn is_next_here(&self) -> bool {
        let is_whole = |bytes: usize| self.window.rest().len() >= bytes;
        self.size.is_some()
            || match &self.format {
                Format::Classic(record) => record.bytes(&self.window).is_some_and(is_whole),
                Format::Pcapng(pcapng) => {
                    pcapng.packet_block_bytes(&self.window).is_some_and(is_whole)
                }
                Format::Ended => true,
            }
    }

    /// The link type of all its frames; `None` if each interface has its own.
    #[must_use]
    pub fn link(&self) -> Option<LinkType> {
        match &self.format {
            Format::Classic(record) => Some(record.link()),
            Format::Pcapng(_) | Format::Ended => None,
        }
    }

    /// Bytes that were read from the file so far (as stored: compressed if it is), and its
    /// size if that is known, as it is for a regular file.
    #[must_use]
    pub fn progress(&self) -> (u64, Option<u64>) {
        (self.window.stream().stored_bytes(), self.size)
    }

    /// How many of the frames so far had no timestamp, or one that does not fit.
    #[must_use]
    pub fn untimed_frames(&self) -> u64 {
        self.untimed
    }
}

/// Finds out the format by the file's first bytes.
fn identify(window: &mut Window) -> Result<Format> {
    let known = window.holds(4)?;
    let start = window.rest();
    if start.is_empty() {
        return Err(window.error("it is empty").advise(GIVE));
    }
    let magic = start.first_chunk::<4>().copied().filter(|_| known);
    if magic == Some(pcapng::SECTION_HEADER.to_le_bytes()) {
        return if window.holds(12)? && Order::of_section(window.rest()).is_some() {
            Ok(Format::Pcapng(Pcapng::new()))
        } else {
            Err(window.error("the pcapng section header at its start is damaged").advise(GIVE))
        };
    }
    if let Some(magic) = magic.filter(|&magic| classic::is_magic(magic)) {
        return Ok(Format::Classic(RecordFormat::open(magic, window)?));
    }
    Err(not_a_capture(window))
}

/// Says what a file that is no capture seems to be.
fn not_a_capture(window: &Window) -> Error {
    let within = match window.stream().compression() {
        Some(compression) => format!(" inside {compression}"),
        None => String::new(),
    };
    let start: Vec<String> = window.rest().iter().take(4).map(|b| format!("{b:02x}")).collect();
    let cause = format!("not a pcap or pcapng file{within} (it starts with {})", start.join(" "));
    let advice = match window.rest() {
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed twice; unpack it once",
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', ..] | [0x04, 0x22, 0x4d, 0x18, ..] => {
            "unpack it first: of compressed files gzip and zstd are read"
        }
        [b's', b'n', b'o', b'o', ..] => "convert it with `editcap -F pcapng`",
        _ => GIVE,
    };
    window.error(cause).advise(advice)
}
