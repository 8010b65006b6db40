//! Any bytes as a capture file: frames within bounds or an error, which is final.

#![no_main]

use std::io::Cursor;

use flowtap::limits::FILE_PACKET_BYTES;
use flowtap::source::pcap::CaptureFile;
use libfuzzer_sys::fuzz_target;

/// Frames that are read at most: a few compressed bytes can hold millions.
const FRAMES: usize = 100_000;

fuzz_target!(|bytes: &[u8]| {
    let size = Some(bytes.len() as u64);
    let read = Box::new(Cursor::new(bytes.to_vec()));
    let Ok(mut file) = CaptureFile::from_read("input".to_owned(), read, size) else { return };
    for _ in 0..FRAMES {
        match file.next_frame() {
            Ok(Some(frame)) => assert!(frame.bytes.len() <= FILE_PACKET_BYTES),
            Ok(None) | Err(_) => {
                assert!(matches!(file.next_frame(), Ok(None)), "the end is the end");
                assert!(file.progress().0 <= bytes.len() as u64, "no more than there is");
                return;
            }
        }
    }
});
