//! Sampling: by flow, the same for both directions; by packet; behind the filter.

use super::frames::*;
use super::*;
use crate::xdp::filter::Action;

#[path = "../../../../../ebpf/src/hash.rs"]
mod hash;

fn frame_of(flow: u16, is_back: bool, is_v6: bool) -> Vec<u8> {
    let (mut ends, mut numbers) = (["10.0.0.1", "192.0.2.9"], [1_000 + flow, 443]);
    if is_v6 {
        ends = ["fd00::1", "2001:db8::9"];
    }
    if is_back {
        ends.reverse();
        numbers.reverse();
    }
    let segment = ports(numbers[0], numbers[1]);
    match is_v6 {
        false => ethernet(&[], IPV4, &ipv4(ends, TCP, &segment)),
        true => ethernet(&[], IPV6, &ipv6(ends, TCP, &segment)),
    }
}

#[test]
fn flows_are_kept_whole_or_not_at_all() {
    as_root("flows_are_kept_whole_or_not_at_all", || {
        let mut bench = Bench::new();
        bench.program.set_sampling("8".parse().unwrap()).unwrap();
        let mut kept = 0;
        for flow in 0..4_000 {
            let is_v6 = flow % 2 == 1;
            let there = bench.run(&frame_of(flow, false, is_v6), 1);
            let back = bench.run(&frame_of(flow, true, is_v6), 1);
            assert_eq!(there, back, "flow {flow}");
            kept += u32::from(there == XDP_REDIRECT);
        }
        // 500 are expected, with a standard deviation of 21.
        assert!((395..=605).contains(&kept), "{kept} of 4000 flows kept");
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.redirected_packets, u64::from(kept) * 2);
        assert_eq!(verdicts.sampled_out_packets, u64::from(4_000 - kept) * 2);

        // What is in a tunnel goes by the tunnel's ends, whichever ports they send from.
        let mut kept = 0;
        for end in 0..200 {
            // Its own port, and one that was given.
            let port = [4_789, 8_472][end % 2];
            let tunnel = |from: u16, is_back: bool| {
                let address = format!("10.1.0.{end}");
                let mut ends = [address.as_str(), "192.0.2.9"];
                if is_back {
                    ends.reverse();
                }
                let datagram = ipv4(ends, UDP, &ports(from, port));
                bench.run(&ethernet(&[], IPV4, &datagram), 1)
            };
            let verdict = tunnel(50_000, false);
            assert_eq!([tunnel(50_001, false), tunnel(60_000, true)], [verdict; 2], "end {end}");
            kept += u32::from(verdict == XDP_REDIRECT);
        }
        assert!((5..=60).contains(&kept), "{kept} of 200 tunnels kept");

        // Tags do not tear a flow apart, and frames without IP and cut ones are drawn as well.
        for flow in 0..50 {
            let plain = frame_of(flow, false, false);
            let tagged = ethernet(&[0x8100], IPV4, &plain[14..]);
            assert_eq!(bench.run(&plain, 1), bench.run(&tagged, 1), "flow {flow}");
        }
        let verdict = |station: u8| {
            let mut frame = ethernet(&[], ARP, &[0; 46]);
            frame[11] = station;
            bench.run(&frame, 1)
        };
        let kept = (0..=255).filter(|&station| verdict(station) == XDP_REDIRECT).count();
        assert!((10..=60).contains(&kept), "{kept} of 256 stations kept");
    });
}

#[test]
fn what_carries_ip_tears_no_flow_apart() {
    as_root("what_carries_ip_tears_no_flow_apart", || {
        let mut bench = Bench::new();
        bench.program.set_sampling("4".parse().unwrap()).unwrap();
        let packet = |flow, is_back, is_v6| frame_of(flow, is_back, is_v6)[14..].to_vec();
        let mpls = |labels: &[u32], payload: Vec<u8>| {
            let bottom = labels.len() - 1;
            let entry = |(at, label): (usize, &u32)| {
                (label << 12 | u32::from(at == bottom) << 8 | 64).to_be_bytes()
            };
            let stack: Vec<u8> = labels.iter().enumerate().flat_map(entry).collect();
            [stack, payload].concat()
        };
        let ppp = |protocol: u16, payload: Vec<u8>| {
            let [high, low] = protocol.to_be_bytes();
            [vec![0x11, 0, 0, 7, 0, 0, high, low], payload].concat()
        };
        type Carry<'a> = (&'a str, Box<dyn Fn(u16, bool) -> Vec<u8> + 'a>);
        let carriers: [Carry<'_>; 6] = [
            // A label is one direction's.
            (
                "MPLS",
                Box::new(|flow, is_back| {
                    let labels: &[u32] = if is_back { &[100] } else { &[20, 30, 40, 50, 60] };
                    ethernet(&[], MPLS, &mpls(labels, packet(flow, is_back, false)))
                }),
            ),
            (
                "MPLS, IPv6",
                Box::new(|flow, is_back| {
                    ethernet(&[0x8100], MPLS, &mpls(&[16, 17], packet(flow, is_back, true)))
                }),
            ),
            (
                "a pseudowire",
                Box::new(|flow, is_back| {
                    let frame = [vec![0; 4], frame_of(flow, is_back, false)].concat();
                    ethernet(&[], MPLS, &mpls(&[16], frame))
                }),
            ),
            (
                "PPPoE",
                Box::new(|flow, is_back| {
                    ethernet(&[], PPPOE, &ppp(0x0021, packet(flow, is_back, false)))
                }),
            ),
            (
                "PPPoE, IPv6",
                Box::new(|flow, is_back| {
                    ethernet(&[0x8100], PPPOE, &ppp(0x0057, packet(flow, is_back, true)))
                }),
            ),
            (
                "MPLS over PPPoE",
                Box::new(|flow, is_back| {
                    ethernet(&[], PPPOE, &ppp(0x0281, mpls(&[16], packet(flow, is_back, false))))
                }),
            ),
        ];
        for (name, carry) in carriers {
            let mut kept = 0;
            for flow in 0..200 {
                let is_v6 = name.ends_with("v6");
                let bare = bench.run(&frame_of(flow, false, is_v6), 1);
                let both = [false, true].map(|is_back| bench.run(&carry(flow, is_back), 1));
                assert_eq!(both, [bare; 2], "flow {flow} by {name}");
                kept += usize::from(bare == XDP_REDIRECT);
            }
            // 50 are expected, with a standard deviation of 6.
            assert!((20..=80).contains(&kept), "{kept} of 200 flows kept by {name}");
        }
        // What is none of these, and what is cut, is drawn by its stations.
        let by_stations = bench.run(&ethernet(&[], ARP, &[0; 46]), 1);
        for (kind, payload) in [
            (MPLS, mpls(&[16; 6], packet(1, false, false))),
            (MPLS, mpls(&[16], vec![0x50; 40])),
            (PPPOE, ppp(0xc021, vec![0; 40])),
            (PPPOE, vec![0x11]),
            (0x88e5, vec![0; 40]),
        ] {
            let verdict = bench.run(&ethernet(&[], kind, &payload), 1);
            assert_eq!(verdict, by_stations, "{kind:04x} {payload:02x?}");
        }
    });
}

#[test]
fn packets_are_counted_off() {
    as_root("packets_are_counted_off", || {
        let mut bench = Bench::new();
        // The count is each CPU's, and a test run stays where it is.
        bench.program.set_sampling("10:packet".parse().unwrap()).unwrap();
        bench.run(&frame_of(0, false, false), 1_000);
        let want = Verdicts {
            seen_packets: 1_000,
            redirected_packets: 100,
            sampled_out_packets: 900,
            ..Verdicts::default()
        };
        assert_eq!(bench.verdicts(), want);
    });
}

#[test]
fn only_what_the_filter_keeps_is_drawn() {
    as_root("only_what_the_filter_keeps_is_drawn", || {
        let mut bench = Bench::new();
        bench.program.set_sampling("10:packet".parse().unwrap()).unwrap();
        let nothing = KernelFilter { action: Action::Reject, ..KernelFilter::default() };
        bench.program.set_filter(Some(&nothing)).unwrap();
        bench.run(&frame_of(0, false, false), 500);
        assert_eq!(bench.verdicts().filtered_packets, 500);
        // A change of the filter leaves sampling as it is, and its count too.
        bench.program.set_filter(None).unwrap();
        bench.run(&frame_of(0, false, false), 500);
        let verdicts = bench.verdicts();
        assert_eq!((verdicts.redirected_packets, verdicts.sampled_out_packets), (50, 450));
        bench.program.set_sampling(Sampling::ALL).unwrap();
        bench.run(&frame_of(0, false, false), 500);
        assert_eq!(bench.verdicts().redirected_packets, 550);
    });
}

#[test]
fn the_hash_spreads_what_differs_in_little() {
    for every in [2, 10, 1_000] {
        let count = 200_000;
        let kept = (0..count)
            .filter(|&n| {
                let hash =
                    hash::flow_hash([0x0a00_0000 + (n >> 4)], 1_000 + (n & 15) as u16, [1], 80, 6);
                hash::is_kept(hash, every)
            })
            .count();
        let (mean, kept) = (f64::from(count) / f64::from(every), kept as f64);
        assert!((kept - mean).abs() < 5.0 * mean.sqrt(), "one in {every}: {kept}, not {mean}");
    }
}
