//! Time stamps: what stands in front of a packet when the program is done with it.

use super::*;
use crate::xdp::program::shared::{Stamp, stamp};

/// `struct xdp_md`: where data and its end are, counted from the metadata; and the rest.
type Md = [u32; 6];

const DATA: usize = 0;
const DATA_END: usize = 1;
const DATA_META: usize = 2;

fn bytes_of(md: Md) -> Vec<u8> {
    md.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// What the program makes of a frame with so much metadata of somebody else's: the verdict, the
/// metadata, and the frame behind it.
fn run(bench: &Bench, frame: &[u8], already: u32) -> (u32, Vec<u8>, Vec<u8>) {
    let input = [&vec![0xee; already as usize][..], frame].concat();
    let mut md = Md::default();
    md[DATA] = already;
    md[DATA_END] = u32::try_from(input.len()).unwrap();
    let md = bytes_of(md);
    let (mut out, mut md_out) = (vec![0; 4_096], vec![0; md.len()]);
    let options = TestRunOptions {
        data_in: Some(&input),
        data_out: Some(&mut out),
        ctx_in: Some(&md),
        ctx_out: Some(&mut md_out),
        ..Default::default()
    };
    let verdict = xdp(&bench.program.object).unwrap().test_run(options).unwrap().return_value;
    let place = |idx: usize| {
        let word = md_out[4 * idx..4 * idx + 4].try_into().unwrap();
        u32::from_ne_bytes(word) as usize
    };
    assert_eq!(place(DATA_META), 0);
    let (data, end) = (place(DATA), place(DATA_END));
    (verdict, out[..data].to_vec(), out[data..end].to_vec())
}

fn tai_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_TAI, &raw mut time) }, 0);
    (time.tv_sec * 1_000_000_000 + time.tv_nsec).unsigned_abs()
}

#[test]
fn a_packet_gets_its_time_in_front_of_it() {
    as_root("a_packet_gets_its_time_in_front_of_it", || {
        let bench = Bench::with(64, Timestamps::Packet);
        let mut last = tai_ns();
        // The last takes several buffers.
        for (len, already) in [(60, 0), (1_514, 0), (60, 16), (60, 4), (60, 32), (3_000, 0)] {
            let frame: Vec<u8> = (0..len).map(|n: u16| n.to_le_bytes()[0]).collect();
            let (verdict, metadata, data) = run(&bench, &frame, already);
            let what = format!("{len} bytes, {already} there already");
            assert_eq!((verdict, data), (XDP_REDIRECT, frame), "{what}");
            assert_eq!(metadata.len(), size_of::<Stamp>(), "{what}");
            let [time, mark] =
                [0, 8].map(|at| u64::from_ne_bytes(metadata[at..at + 8].try_into().unwrap()));
            assert_eq!(mark, stamp::KERNEL_TAI, "{what}");
            let now = tai_ns();
            assert!((last..=now).contains(&time), "{what}: {last} <= {time} <= {now}");
            last = time;
        }
    });
}

#[test]
fn a_packet_that_is_not_ours_or_wants_none_gets_none() {
    as_root("a_packet_that_is_not_ours_or_wants_none_gets_none", || {
        for (bench, want) in [(Bench::new(), XDP_REDIRECT), (Bench::without_socket(), XDP_PASS)] {
            let (verdict, metadata, data) = run(&bench, &[0xa5; 60], 0);
            assert_eq!((verdict, metadata.len(), data), (want, 0, vec![0xa5; 60]));
        }
    });
}

#[test]
fn stamps_reach_the_socket_and_say_when() {
    as_root("stamps_reach_the_socket_and_say_when", || {
        let Bench { program, socket } = Bench::with(64, Timestamps::Packet);
        let mut socket = socket.unwrap();
        let start = tai_ns();
        // Frames are used several times over.
        let mut last = start;
        for round in 0..10 {
            // Of a batch; the second in several buffers if a page has no room for it.
            for len in [60, 1_514] {
                let attrs = aya::programs::TestRunAttrs::new().xdp_live_frames(16);
                let frame = vec![round; len];
                let data_in = Some(&frame[..]);
                let options = TestRunOptions { data_in, repeat: 16, attrs, ..Default::default() };
                xdp(&program.object).unwrap().test_run(options).unwrap();
                let mut times = Vec::new();
                socket.receive(64, |bytes, _, time| {
                    assert_eq!(bytes, frame);
                    times.push(time.unwrap());
                });
                let now = tai_ns();
                assert_eq!(times.len(), 16);
                assert!(times.is_sorted() && last <= times[0] && times[15] <= now, "{times:?}");
                assert!(times[0] < times[15], "each has its own: {times:?}");
                last = times[15];
            }
        }
    });
}
