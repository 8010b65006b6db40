//! A file that is read back: opened, decompressed, and recognised by its first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

#[cfg(feature = "columnar")]
use super::columnar::{ARROW, Columnar, is_parquet};
use super::csv::Csv;
use super::ipfix::Messages;
use super::jsonl::JsonLines;
use super::{Bytes, Reader};
use crate::error::{Error, Result};
use crate::export::values::Places;
use crate::source::pcap::Stream;
use crate::sync::Arc;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 16;

/// Opens a file of any of our formats, or of IPFIX or NetFlow version 9 messages; `-` is standard
/// input.
///
/// # Errors
/// If it cannot be read, or is none.
pub(super) fn open(path: &Path, places: &Arc<Places>) -> Result<Box<dyn Reader>> {
    let subject = match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => path.display().to_string(),
    };
    let fail = |cause: io::Error| Error::new(format!("open {subject}"), cause);
    let file = match path.to_str() {
        Some("-") => File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?),
        _ => File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => fail(error).advise("check the name"),
            _ => fail(error),
        })?,
    };
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(Error::new(format!("open {subject}"), "it is a directory")
            .advise("give the files in it"));
    }
    #[cfg(feature = "columnar")]
    if metadata.is_file() && is_parquet(&file).map_err(fail)? {
        return Ok(Box::new(Columnar::parquet(&subject, file, places)?));
    }
    let stream = Stream::new(Box::new(file)).map_err(fail)?;
    let bytes: Bytes = BufReader::with_capacity(BUFFER_BYTES, Box::new(stream));
    recognise(&subject, bytes, places)
}

/// What comes as a stream.
pub(super) fn recognise(
    subject: &str,
    mut bytes: Bytes,
    places: &Arc<Places>,
) -> Result<Box<dyn Reader>> {
    let fail = |cause: io::Error| Error::new(format!("read {subject}"), cause);
    let start = bytes.fill_buf().map_err(fail)?;
    Ok(match start {
        [b'{', ..] => Box::new(JsonLines::new(bytes, places)),
        // No record at all.
        [] => Box::new(JsonLines::new(bytes, places)),
        [0, 9 | 10, ..] => Box::new(Messages::new(bytes, places)),
        // At least four bytes are there if the file has so many.
        #[cfg(feature = "columnar")]
        _ if start.starts_with(&ARROW[..4]) => {
            Box::new(Columnar::arrow_file(subject, bytes, places)?)
        }
        #[cfg(feature = "columnar")]
        [0xff, 0xff, 0xff, 0xff, ..] => Box::new(Columnar::arrow(subject, bytes, false, places)?),
        #[cfg(feature = "columnar")]
        _ if start.starts_with(b"PAR1") => {
            return Err(Error::new(format!("read {subject}"), "Parquet is read from its end")
                .advise("give it as a file, not compressed as a whole"));
        }
        #[cfg(not(feature = "columnar"))]
        [b'A', b'R', b'R', b'O', ..]
        | [b'P', b'A', b'R', b'1', ..]
        | [0xff, 0xff, 0xff, 0xff, ..] => {
            let cause = "this flowtap was built without Parquet and Arrow";
            return Err(Error::new(format!("read {subject}"), cause));
        }
        _ if start[0].is_ascii_graphic() => Box::new(Csv::new(subject, bytes, places)?),
        _ => {
            return Err(Error::new(format!("read {subject}"), "unknown format").advise(
                "give JSON lines, CSV, Parquet, Arrow, or messages of IPFIX or NetFlow version 9",
            ));
        }
    })
}
