//! What the kernel is given of expressions, on real and on made-up frames: it never rejects what
//! libpcap accepts.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::frames::*;
use super::*;
use crate::filter::Filter;
use crate::source::pcap::CaptureFile;
use crate::source::{Frame, LinkType};
use crate::sync::StopRequest;

#[path = "../../../../../tests/end_to_end/filter/expressions.rs"]
mod expressions;

/// More that the kernel decides something about.
const MORE: [&str; 27] = [
    "host 10.0.0.1 or host 192.0.2.9",
    "tcp port 443 and not net 10.0.0.0/8",
    "udp portrange 0-1023 or tcp portrange 0-1023",
    "src net 10.0.0.0/8 and dst net 192.0.0.0/8",
    "ip and port 53",
    "ip6 and port 53",
    "src 10.0.0.1 and dst port 443",
    "dst host 2001:db8::9 or src host fd00::1",
    "ip proto 17 or ip6 proto 17",
    "proto 6 and portrange 1-50000",
    "icmp and host 10.0.0.1",
    "icmp6",
    "igmp or sctp",
    "net 0.0.0.0/1 and (udp or sctp)",
    "not tcp",
    "not ip6",
    "not icmp",
    "not icmp6",
    "not igmp and not sctp",
    "not port 53",
    "not src port 443 and not dst port 443",
    "not host 10.0.0.1",
    "not net 10.0.0.0/8 and not net fd00::/8",
    "not (host 10.0.0.1 and port 53)",
    "not (tcp port 80 or udp port 53)",
    "not tcp or not portrange 0-1023",
    "not ip proto 17 and not (ip6 and proto 6)",
];

/// The kernel looks at no more of a frame, and no test run takes fewer bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 14..=256;

/// Of one capture; the rest of a longer one is more of the same.
const FRAMES_OF_ONE: usize = 200;

/// Ethernet frames of all captures, each once.
fn captured() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures/pcap");
    let mut frames = Vec::new();
    for path in folder.read_dir().into_iter().flatten().flatten() {
        let Ok(mut file) = CaptureFile::open(&path.path(), &StopRequest::default()) else {
            continue;
        };
        let mut left = FRAMES_OF_ONE;
        while let Ok(Some(frame)) = file.next_frame() {
            if frame.link == LinkType::ETHERNET && frame.bytes.len() >= *LENGTHS.start() {
                frames.push(frame.bytes[..frame.bytes.len().min(*LENGTHS.end())].to_vec());
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
    }
    frames.sort();
    frames.dedup();
    frames
}

/// All that the kernel decides something about: their filter and libpcap's.
fn decided() -> Vec<(&'static str, Filter, KernelFilter)> {
    let all = expressions::EXPRESSIONS.into_iter().chain(MORE);
    let decided = |text| {
        let filter = Filter::new(text).unwrap();
        let in_kernel = filter.in_kernel()?;
        Some((text, filter, in_kernel))
    };
    all.filter_map(decided).collect()
}

/// How many frames the filter in force keeps and libpcap accepts.
fn check(bench: &Bench, text: &str, filter: &Filter, frames: &[Vec<u8>]) -> [usize; 2] {
    let compiled = filter.for_link(LinkType::ETHERNET, "a test").unwrap();
    let [mut kept, mut accepted] = [0; 2];
    for bytes in frames {
        let wire_len = u32::try_from(bytes.len()).unwrap();
        let frame = Frame { bytes, wire_len, timestamp: None, link: LinkType::ETHERNET };
        let is_accepted = filter.accepts_by_libpcap(&compiled, &frame);
        let verdict = bench.run(bytes, 1);
        assert!(
            verdict == XDP_REDIRECT || !is_accepted,
            "'{text}' accepts what the kernel rejects: {bytes:02x?}"
        );
        kept += usize::from(verdict == XDP_REDIRECT);
        accepted += usize::from(is_accepted);
    }
    [kept, accepted]
}

#[test]
fn the_kernel_never_rejects_what_an_expression_accepts_in_captures() {
    as_root("the_kernel_never_rejects_what_an_expression_accepts_in_captures", || {
        let frames = captured();
        if frames.is_empty() {
            eprintln!("SKIPPED: there is no folder of captures");
            return;
        }
        let mut bench = Bench::new();
        let mut decided_something = 0;
        for (text, filter, in_kernel) in decided() {
            bench.program.set_filter(Some(&in_kernel)).unwrap();
            let [kept, accepted] = check(&bench, text, &filter, &frames);
            assert!(kept >= accepted);
            decided_something += usize::from(kept < frames.len());
        }
        assert!(decided_something >= 25, "only {decided_something} expressions reject anything");
    });
}

/// Headers upon headers with values at which expressions look, some broken, cut anywhere.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let v4 = prop::sample::select(vec!["10.0.0.1", "192.0.2.9", "192.168.1.1", "10.0.0.2"]);
    let v6 = prop::sample::select(vec!["fd00::1", "2001:db8::9", "fe80::1", "2001:db8::1"]);
    let port = || prop::sample::select(vec![0_u16, 22, 53, 80, 443, 1_023, 5_353, 40_000, 65_535]);
    let protocol = || {
        prop_oneof![
            4 => prop::sample::select(vec![1_u8, 2, 6, 17, 58, 132]),
            2 => prop::sample::select(vec![0_u8, 43, 44, 51, 60, 135, 136, 33, 47, 4, 41]),
            1 => any::<u8>(),
        ]
    };
    let tags = prop::sample::select(vec![vec![], vec![], vec![0x8100], vec![0x88a8, 0x8100]]);
    let kind = prop_oneof![4 => Just(IPV4), 4 => Just(IPV6), 1 => Just(ARP), 1 => any::<u16>()];
    let ends = ((v4.clone(), v4), (v6.clone(), v6));
    let inside = (protocol(), protocol(), 0_u16..3, 0_u8..4, prop::bool::weighted(0.3));
    let damage = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    let cut = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (tags, kind, ends, inside, (port(), port()), damage, cut).prop_map(
        |(tags, kind, (v4, v6), inside, numbers, damage, cut)| {
            let (first, second, offset, options, has_extension) = inside;
            let mut payload = ports(numbers.0, numbers.1);
            let packet = if kind == IPV6 {
                if has_extension {
                    let header = match first {
                        44 => fragment(second, offset),
                        kind => extension(kind, second, 8 * (1 + options % 2)),
                    };
                    payload = [header, payload].concat();
                }
                ipv6(v6.into(), first, &payload)
            } else {
                ipv4_of(v4.into(), first, offset / 2, options, &payload)
            };
            let mut frame = ethernet(&tags, kind, &packet);
            if let Some((place, byte)) = damage {
                let place = place.index(frame.len());
                frame[place] = byte;
            }
            let len = cut.map_or(frame.len(), |cut| 14 + cut.index(frame.len() - 13));
            frame.truncate(len);
            frame
        },
    )
}

#[test]
fn the_kernel_never_rejects_what_an_expression_accepts_of_anything() {
    as_root("the_kernel_never_rejects_what_an_expression_accepts_of_anything", || {
        let mut bench = Bench::new();
        let mut runner = TestRunner::new(Config::with_cases(400));
        for (text, filter, in_kernel) in decided() {
            bench.program.set_filter(Some(&in_kernel)).unwrap();
            runner
                .run(&frame(), |frame| {
                    check(&bench, text, &filter, &[frame]);
                    Ok(())
                })
                .unwrap();
        }
    });
}
