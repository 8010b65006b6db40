//! Any bytes as a capture file: frames within bounds or an error, which is final.

#![no_main]

use std::io::Cursor;

use flowtap::limits::FILE_PACKET_BYTES;
use flowtap::source::Frame;
use flowtap::source::pcap::CaptureFile;
use libfuzzer_sys::fuzz_target;

/// Frames that are read at most: a few compressed bytes can hold millions.
const FRAMES: usize = 100_000;

fuzz_target!(|bytes: &[u8]| {
    let size = Some(bytes.len() as u64);
    let read = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut file) = CaptureFile::from_read("input".to_owned(), read, size) else { return };
    let mut read = 0;
    while read < FRAMES {
        match file.frames() {
            Ok(Some(frames)) => {
                let is_within = |frame: Frame<'_>| frame.bytes.len() <= FILE_PACKET_BYTES;
                // Of some that are there only the first ones are taken.
                let lengths: Vec<_> = frames.take(read % 3 + 1).map(is_within).collect();
                assert!(!lengths.is_empty() && !lengths.contains(&false));
                read += lengths.len();
            }
            Ok(None) | Err(_) => {
                assert!(matches!(file.frames(), Ok(None)), "the end is the end");
                assert!(file.progress().0 <= bytes.len() as u64, "no more than there is");
                return;
            }
        }
    }
});
