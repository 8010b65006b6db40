//! The program as the kernel runs it, on frames made by hand (BPF_PROG_TEST_RUN).

use aya::programs::{TestRun, TestRunOptions};

use super::*;
use crate::xdp::is_root;

const XDP_PASS: u32 = 2;
/// Records of a header, 8 + 24 bytes, and `SMALL_BYTES`.
const SMALL_RECORD: u64 = 96;
const RING: u32 = 64 << 10;

struct Bench {
    program: ObserverProgram,
    ring: RingBuffer,
    counters: CopyCounters,
}

impl Bench {
    /// `None`, and said so, without root.
    fn new(test: &str, snap_bytes: u32) -> Option<Self> {
        if !is_root(test) {
            return None;
        }
        let lo = Interface::find("lo").unwrap();
        let (program, ring, counters) = ObserverProgram::load(lo, snap_bytes, RING).unwrap();
        Some(Self { program, ring, counters })
    }

    /// Has the program see a frame; it goes on as it is, whatever happens.
    fn run(&self, frame: &[u8]) {
        let mut out = vec![0; frame.len()];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..Default::default() };
        let result = xdp(&self.program.object).unwrap().test_run(options).unwrap();
        assert_eq!(result.return_value, XDP_PASS, "{} bytes", frame.len());
        assert_eq!(out, frame, "it goes on as it came");
    }

    fn take(&mut self) -> Vec<(RecordHeader, Vec<u8>)> {
        let mut taken = Vec::new();
        self.ring.receive_packets(usize::MAX, |record| {
            let record = record.expect("a whole record");
            taken.push((record.header, record.bytes.to_vec()));
        });
        assert!(!self.ring.is_broken());
        taken
    }
}

fn frame(len: usize) -> Vec<u8> {
    (0..len).map(|idx| u8::try_from(idx % 251).unwrap()).collect()
}

#[test]
fn a_copy_goes_up_cut_to_the_snap_length() {
    for snap in [64, 72, 256, 4096] {
        let test = "a_copy_goes_up_cut_to_the_snap_length";
        let Some(mut bench) = Bench::new(test, snap) else { return };
        // The last take several buffers.
        let lens = [14, 60, 64, 65, 72, 73, 255, 256, 257, 1_514, 4_096, 5_000, 9_014];
        lens.iter().for_each(|len| bench.run(&frame(*len)));
        let taken = bench.take();
        assert_eq!(taken.len(), lens.len());
        let mut last = 0;
        for (len, (header, bytes)) in lens.into_iter().zip(taken) {
            let kept = len.min(snap as usize);
            assert_eq!(header.wire_len as usize, len);
            assert_eq!(bytes, frame(len)[..kept], "{len} bytes, snap {snap}");
            assert_eq!(header.queue, 0);
            assert!(header.tai_ns > last, "times go on");
            last = header.tai_ns;
        }
        let n = lens.len() as u64;
        let want = Copies { seen_packets: n, copied_packets: n, ..Copies::default() };
        assert_eq!(bench.counters.sum().unwrap(), want);
    }
}

#[test]
fn what_finds_no_room_passes_on_and_is_counted() {
    let test = "what_finds_no_room_passes_on_and_is_counted";
    let Some(mut bench) = Bench::new(test, 256) else { return };
    // One byte of a ring is never used.
    let room = (u64::from(RING) - 1) / SMALL_RECORD;
    for round in 1..=3 {
        (0..room + 5).for_each(|_| bench.run(&frame(60)));
        let counted = bench.counters.sum().unwrap();
        assert_eq!(bench.take().len() as u64, room, "round {round}: {counted:?}");
        let want = Copies {
            seen_packets: round * (room + 5),
            copied_packets: round * room,
            ring_full_packets: round * 5,
            unreadable_packets: 0,
        };
        assert_eq!(counted, want);
    }
}

#[test]
fn records_that_are_cut_are_none() {
    let header = [[0; 8], [60, 0, 0, 0, 40, 0, 0, 0], [0; 8]].concat();
    let record = |len: usize| parse(&[&header[..], &vec![7; len]].concat()).map(|r| r.bytes.len());
    assert_eq!([record(40), record(64), record(39)], [Some(40), Some(40), None]);
    assert!(parse(&header[..23]).is_none());
    let longer_than_the_packet = [[0; 8], [60, 0, 0, 0, 61, 0, 0, 0], [0; 8]].concat();
    assert!(parse(&[&longer_than_the_packet[..], &[0; 64]].concat()).is_none());
}
