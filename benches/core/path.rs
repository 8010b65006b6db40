//! The packet path of one core, on sessions of TLS and the look-ups before them.

use std::io::Write;
use std::thread;

use divan::Bencher;
use flowtap::names::NamesThread;
use flowtap::source::pcap::CaptureFile;
use flowtap::sync::StopRequest;
use tempfile::NamedTempFile;

use crate::again;
use crate::pieces::Piece;
use crate::pieces::frames::{Captured, web};
use crate::pieces::path::{Counting, Path};

/// With names, which another thread reads. The frames lie in the processor's caches.
#[divan::bench]
fn ours_web(bencher: Bencher<'_, '_>) {
    again(bencher, Path::with_names(beside));
}

/// What names cost there.
#[divan::bench]
fn without_names_web(bencher: Bencher<'_, '_>) {
    again(bencher, Path::bare());
}

/// As `read` does it, from a file that the system has in memory.
#[divan::bench]
fn ours_file(bencher: Bencher<'_, '_>) {
    again(bencher, FromFile::new(Counting::with_names(beside)));
}

/// What names cost there: the packet path keeps so much of its rate.
#[divan::bench]
fn without_names_file(bencher: Bencher<'_, '_>) {
    again(bencher, FromFile::new(Counting::new(None)));
}

fn beside(names: NamesThread) {
    thread::spawn(move || names.run());
}

/// Frames that are read before they are counted.
struct FromFile {
    file: NamedTempFile,
    counting: Counting,
}

impl FromFile {
    fn new(counting: Counting) -> Self {
        let mut file = NamedTempFile::new().expect("there is a folder for temporary files");
        file.write_all(&capture(&web())).expect("there is room");
        Self { file, counting }
    }
}

impl Piece for FromFile {
    fn run(&mut self) -> u64 {
        let stop = StopRequest::default();
        let mut file = CaptureFile::open(self.file.path(), &stop).expect("it is there");
        while let Some(frames) = file.frames().expect("it is whole") {
            frames.for_each(|frame| self.counting.take(&frame));
        }
        self.counting.finish()
    }
}

/// A capture file of these frames, with times in nanoseconds (draft-ietf-opsawg-pcap).
fn capture(frames: &[Captured]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut file: Vec<u8> = words(&[0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1]);
    for Captured { bytes, timestamp } in frames {
        let time = [timestamp / 1_000_000_000, timestamp % 1_000_000_000];
        let [seconds, rest] = time.map(|part| u32::try_from(part).expect("early"));
        let len = u32::try_from(bytes.len()).expect("a frame is short");
        file.extend::<Vec<u8>>(words(&[seconds, rest, len, len]));
        file.extend(bytes);
    }
    file
}
