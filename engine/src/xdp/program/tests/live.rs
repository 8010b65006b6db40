//! Filters that change while packets come: frames that the kernel makes by itself run through
//! the program and on to its socket.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::programs::TestRunAttrs;

use super::frames::*;
use super::*;
use crate::xdp::filter::{Action, Ends, Prefix};

/// In all, in runs of so many; a run of live frames takes some milliseconds to begin.
const FRAMES: u64 = 1 << 20;
const RUN: u32 = 1 << 17;

/// Two filters that judge the test frame by different maps.
fn by_address(action: Action) -> KernelFilter {
    let prefixes = vec![(Prefix::new([10, 0, 0, 0].into(), 8).unwrap(), Ends::Source)];
    KernelFilter { action, prefixes, ..KernelFilter::default() }
}

fn by_port(action: Action) -> KernelFilter {
    KernelFilter { action, ports: vec![(443..=443, Ends::Either)], ..KernelFilter::default() }
}

/// What was counted while the filters took turns.
struct Counted {
    verdicts: Verdicts,
    received: u64,
    lost: u64,
    changes: u32,
}

fn feed(xdp: &Xdp, frame: &[u8]) {
    for _ in 0..FRAMES / u64::from(RUN) {
        let attrs = TestRunAttrs::new().xdp_live_frames(64);
        let options =
            TestRunOptions { data_in: Some(frame), repeat: RUN, attrs, ..Default::default() };
        xdp.test_run(options).unwrap();
    }
}

/// Feeds frames while the filters take turns and the socket is emptied.
fn take_turns(filters: &[Option<KernelFilter>]) -> Counted {
    let Bench { mut program, socket } = Bench::with_frames(4096);
    let mut socket = socket.unwrap();
    let frame = ethernet(&[], IPV4, &ipv4(["10.0.0.1", "192.0.2.9"], TCP, &ports(40_000, 443)));
    program.set_filter(filters[0].as_ref()).unwrap();
    let (is_fed, is_counted) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut received, mut changes) = (0, 0);
    let object = std::mem::replace(&mut program.object, Ebpf::load(OBJECT).unwrap());
    thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            feed(xdp(&object).unwrap(), &frame);
            is_fed.store(true, Ordering::Release);
        });
        let receiver = scope.spawn(|| {
            loop {
                let is_last = is_counted.load(Ordering::Acquire);
                let came = socket.receive(64, |bytes, _, _| assert_eq!(bytes, frame)) as u64;
                received += came;
                if came == 0 {
                    if is_last {
                        break;
                    }
                    thread::sleep(Duration::from_micros(20));
                }
            }
        });
        for filter in filters.iter().cycle().skip(1) {
            if is_fed.load(Ordering::Acquire) {
                break;
            }
            program.set_filter(filter.as_ref()).unwrap();
            changes += 1;
        }
        feeder.join().unwrap();
        is_counted.store(true, Ordering::Release);
        receiver.join().unwrap();
    });
    let losses = socket.losses().unwrap();
    let lost = losses.rx_ring_full + losses.fill_ring_empty + losses.oversize + losses.invalid;
    Counted { verdicts: program.verdicts().unwrap(), received, lost, changes }
}

#[test]
fn a_change_of_filters_loses_no_packet_and_judges_each_by_one_of_them() {
    use Action::{Keep, Reject};
    as_root("a_change_of_filters_loses_no_packet_and_judges_each_by_one_of_them", || {
        for (name, filters, kept) in [
            ("both keep it", vec![Some(by_address(Keep)), Some(by_port(Keep))], Some(FRAMES)),
            (
                "with none between",
                vec![Some(by_address(Keep)), None, Some(by_port(Keep))],
                Some(FRAMES),
            ),
            ("both reject it", vec![Some(by_address(Reject)), Some(by_port(Reject))], Some(0)),
            ("one keeps it", vec![Some(by_address(Keep)), Some(by_port(Reject))], None),
        ] {
            let Counted { verdicts, received, lost, changes } = take_turns(&filters);
            let what = format!("{name}: {verdicts:?}, {received} received, {lost} lost");
            assert!(changes > 2, "{what}, {changes} changes");
            assert_eq!(verdicts.seen_packets, FRAMES, "{what}");
            assert_eq!(verdicts.redirected_packets + verdicts.filtered_packets, FRAMES, "{what}");
            assert_eq!(verdicts.redirected_packets, received + lost, "{what}");
            match kept {
                Some(kept) => assert_eq!(verdicts.redirected_packets, kept, "{what}"),
                None => assert!((1..FRAMES).contains(&verdicts.redirected_packets), "{what}"),
            }
        }
    });
}
