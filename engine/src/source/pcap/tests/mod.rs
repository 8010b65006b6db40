//! Files built byte by byte, and the frames and errors that come out.

mod build;
mod compressed;
mod damage;
mod formats;
mod opening;
mod random;

use std::io::{self, Read};

use super::CaptureFile;
use crate::source::Frame;

/// What a test expects of one frame: bytes, length on the wire, time, link type.
type Packet = (Vec<u8>, u32, Option<i64>, u16);

/// The frames of a file, and the error that ended it.
type Outcome = (Vec<Packet>, Option<String>);

/// Gives at most `step` bytes at once.
struct Slow {
    bytes: io::Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.step);
        self.bytes.read(&mut into[..count])
    }
}

/// Reads a file that comes in pieces of `step` bytes.
fn outcome(file: &[u8], step: usize) -> Outcome {
    outcome_of_some(file, step, usize::MAX)
}

/// The same, where of the frames that are there only the first `at_once` are taken.
fn outcome_of_some(file: &[u8], step: usize, at_once: usize) -> Outcome {
    let read = Slow { bytes: io::Cursor::new(file.to_vec()), step };
    let mut capture = match CaptureFile::from_read("x.pcap".into(), Box::new(read), None) {
        Ok(capture) => capture,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let mut packets = Vec::new();
    let error = loop {
        match capture.frames() {
            Ok(Some(frames)) => {
                let before = packets.len();
                packets.extend(frames.take(at_once).map(owned));
                assert!(packets.len() > before, "there is one");
            }
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    assert_eq!(next(&mut capture), Ok(None), "the end is final");
    let untimed = packets.iter().filter(|(_, _, timestamp, _)| timestamp.is_none()).count();
    assert_eq!(capture.untimed_frames(), untimed as u64);
    if error.is_none() {
        assert_eq!(capture.progress(), (file.len() as u64, None), "all was read");
    }
    (packets, error)
}

fn next(capture: &mut CaptureFile) -> Result<Option<Packet>, String> {
    let frame = capture.next_frame().map_err(|error| error.to_string())?;
    Ok(frame.map(owned))
}

fn owned(frame: Frame<'_>) -> Packet {
    (frame.bytes.to_vec(), frame.wire_len, frame.timestamp, frame.link.0)
}

/// Checks the frames and the error of a file, however its bytes come.
fn check(what: &str, file: &[u8], packets: &[Packet], error: Option<&str>) {
    let expected = (packets.to_vec(), error.map(str::to_owned));
    assert_eq!(outcome(file, usize::MAX), expected, "{what}");
    assert_eq!(outcome(file, 1), expected, "{what}, byte by byte");
    for at_once in 1..3 {
        let some = outcome_of_some(file, usize::MAX, at_once);
        assert_eq!(some, expected, "{what}, {at_once} at once");
    }
    let zipped = outcome(&compressed::gzip(file), usize::MAX);
    assert_eq!(zipped.0, expected.0, "{what}, in gzip");
    assert_eq!(zipped.1.is_some(), error.is_some(), "{what}, in gzip");
}

/// A packet of a microsecond Ethernet file, as [`build::Classic::packet`] writes it.
fn packet(bytes: &[u8], ns: i64) -> Packet {
    (bytes.to_vec(), u32::try_from(bytes.len()).unwrap(), Some(ns), 1)
}
