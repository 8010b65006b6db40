//! The filter: every kind of term, every header on the way to it, every length at which a
//! frame may be cut.

use std::net::IpAddr;

use super::frames::*;
use super::*;
use crate::xdp::filter::{Action, Ends, Prefix};

/// What the program must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Match,
    NoMatch,
    Unsure,
}
use Want::{Match, NoMatch, Unsure};

const V4: [&str; 2] = ["10.0.0.1", "192.0.2.9"];
const V6: [&str; 2] = ["fd00::1", "2001:db8::9"];

fn prefixes(terms: &[(&str, Ends)]) -> KernelFilter {
    let prefix = |text: &str| {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
    };
    let prefixes = terms.iter().map(|&(text, ends)| (prefix(text), ends)).collect();
    KernelFilter { prefixes, ..KernelFilter::default() }
}

fn ports_of(first: u16, last: u16, ends: Ends) -> KernelFilter {
    KernelFilter { ports: vec![(first..=last, ends)], ..KernelFilter::default() }
}

fn protocols(protocols: &[u8]) -> KernelFilter {
    KernelFilter { protocols: protocols.to_vec(), ..KernelFilter::default() }
}

/// Puts the filter in force with all four combinations of actions, and compares.
fn check(bench: &mut Bench, filter: &KernelFilter, cases: &[(&str, &[u8], Want)]) {
    use Action::{Keep, Reject};
    for (action, unsure) in [(Keep, Keep), (Keep, Reject), (Reject, Keep), (Reject, Reject)] {
        let filter = KernelFilter { action, unsure, ..filter.clone() };
        bench.program.set_filter(Some(&filter)).unwrap();
        for (name, frame, want) in cases {
            let is_kept = match want {
                Match => action == Keep,
                NoMatch => action == Reject,
                Unsure => unsure == Keep,
            };
            let before = bench.verdicts();
            let verdict = bench.run(frame, 1);
            let after = bench.verdicts();
            let what = format!("{name}: want {want:?} of {filter:?}");
            assert_eq!(verdict, if is_kept { XDP_REDIRECT } else { XDP_DROP }, "{what}");
            let filtered = after.filtered_packets - before.filtered_packets;
            let redirected = after.redirected_packets - before.redirected_packets;
            assert_eq!((filtered, redirected), if is_kept { (0, 1) } else { (1, 0) }, "{what}");
        }
    }
}

fn tcp4() -> Vec<u8> {
    ethernet(&[], IPV4, &ipv4(V4, TCP, &ports(40_000, 443)))
}

fn udp6() -> Vec<u8> {
    ethernet(&[], IPV6, &ipv6(V6, UDP, &ports(53, 65_535)))
}

#[test]
fn every_kind_of_term_decides() {
    as_root("every_kind_of_term_decides", || {
        let mut bench = Bench::new();
        let (tcp4, udp6) = (&tcp4()[..], &udp6()[..]);
        let icmp = &ethernet(&[], IPV4, &ipv4(V4, ICMP, &[8, 0, 0, 0]))[..];
        let arp = &ethernet(&[], ARP, &[0; 46])[..];
        let both = |filter: &KernelFilter, of_tcp4, of_udp6| (filter.clone(), [of_tcp4, of_udp6]);
        for (filter, [of_tcp4, of_udp6]) in [
            both(&KernelFilter::default(), Match, Match),
            both(&prefixes(&[("10.0.0.0/8", Ends::Either)]), Match, NoMatch),
            both(&prefixes(&[("10.0.0.0/8", Ends::Source)]), Match, NoMatch),
            both(&prefixes(&[("10.0.0.0/8", Ends::Destination)]), NoMatch, NoMatch),
            both(&prefixes(&[("192.0.2.9/32", Ends::Destination)]), Match, NoMatch),
            both(&prefixes(&[("192.0.2.8/32", Ends::Either)]), NoMatch, NoMatch),
            both(&prefixes(&[("0.0.0.0/0", Ends::Source)]), Match, NoMatch),
            both(&prefixes(&[("::/0", Ends::Source)]), NoMatch, Match),
            both(&prefixes(&[("fd00::/7", Ends::Source)]), NoMatch, Match),
            both(&prefixes(&[("2001:db8::9/128", Ends::Source)]), NoMatch, NoMatch),
            both(&prefixes(&[("2001:db8::9/128", Ends::Either)]), NoMatch, Match),
            // The longest prefix is not all that counts.
            both(
                &prefixes(&[("10.0.0.0/8", Ends::Source), ("10.0.0.0/24", Ends::Destination)]),
                Match,
                NoMatch,
            ),
            both(&ports_of(443, 443, Ends::Either), Match, NoMatch),
            both(&ports_of(443, 443, Ends::Source), NoMatch, NoMatch),
            both(&ports_of(443, 443, Ends::Destination), Match, NoMatch),
            both(&ports_of(0, 53, Ends::Source), NoMatch, Match),
            both(&ports_of(65_535, 65_535, Ends::Destination), NoMatch, Match),
            both(&ports_of(0, 65_535, Ends::Either), Match, Match),
            both(&protocols(&[TCP]), Match, NoMatch),
            both(&protocols(&[TCP, UDP]), Match, Match),
            both(&protocols(&[0, 63, 64, 255]), NoMatch, NoMatch),
            // All kinds must match.
            both(
                &KernelFilter { protocols: vec![UDP], ..ports_of(443, 443, Ends::Either) },
                NoMatch,
                NoMatch,
            ),
            both(
                &KernelFilter {
                    protocols: vec![UDP],
                    ports: vec![(53..=53, Ends::Either)],
                    ..prefixes(&[("fd00::1/128", Ends::Either)])
                },
                NoMatch,
                Match,
            ),
        ] {
            check(&mut bench, &filter, &[("tcp4", tcp4, of_tcp4), ("udp6", udp6, of_udp6)]);
        }
        check(
            &mut bench,
            &ports_of(0, 65_535, Ends::Either),
            &[("icmp has no ports", icmp, NoMatch), ("arp", arp, Unsure)],
        );
        check(&mut bench, &protocols(&[ICMP]), &[("icmp", icmp, Match), ("arp", arp, Unsure)]);
        check(&mut bench, &prefixes(&[("0.0.0.0/0", Ends::Either)]), &[("arp", arp, Unsure)]);
    });
}

#[test]
fn every_protocol_is_told_from_its_neighbours() {
    as_root("every_protocol_is_told_from_its_neighbours", || {
        let mut bench = Bench::new();
        bench.program.set_filter(Some(&protocols(&[1, 6, 63, 64, 127, 128, 255]))).unwrap();
        for protocol in 0..=255 {
            let frame = ethernet(&[], IPV4, &ipv4(V4, protocol, &ports(1, 2)));
            let is_kept = [1, 6, 63, 64, 127, 128, 255].contains(&protocol);
            let want = if is_kept { XDP_REDIRECT } else { XDP_DROP };
            assert_eq!(bench.run(&frame, 1), want, "protocol {protocol}");
        }
        let only = ports_of(7, 7, Ends::Source);
        bench.program.set_filter(Some(&only)).unwrap();
        for protocol in 0..=255 {
            let frame = ethernet(&[], IPV4, &ipv4(V4, protocol, &ports(7, 2)));
            let has_ports = [6, 17, 33, 132, 136].contains(&protocol);
            let want = if has_ports { XDP_REDIRECT } else { XDP_DROP };
            assert_eq!(bench.run(&frame, 1), want, "ports of protocol {protocol}");
        }
    });
}

#[test]
fn headers_on_the_way_are_stepped_over() {
    as_root("headers_on_the_way_are_stepped_over", || {
        let mut bench = Bench::new();
        let port = ports_of(443, 443, Ends::Destination);
        let segment = ports(40_000, 443);
        let v4 = |tags: &[u16]| ethernet(tags, IPV4, &ipv4(V4, TCP, &segment));
        // Extension headers, then TCP.
        let v6 = |headers: &[(u8, u8)]| {
            let mut packet = Vec::new();
            for (idx, &(kind, bytes)) in headers.iter().enumerate() {
                let next = headers.get(idx + 1).map_or(TCP, |&(next, _)| next);
                packet.extend(match kind {
                    44 => fragment(next, 0),
                    _ => extension(kind, next, bytes),
                });
            }
            packet.extend(&segment);
            ethernet(&[], IPV6, &ipv6(V6, headers.first().map_or(TCP, |first| first.0), &packet))
        };
        let options = |words| ethernet(&[], IPV4, &ipv4_of(V4, TCP, 0, words, &segment));
        let later6 =
            ethernet(&[], IPV6, &ipv6(V6, 44, &[fragment(TCP, 185), segment.clone()].concat()));
        let later4 = ethernet(&[], IPV4, &ipv4_of(V4, TCP, 185, 0, &segment));
        let first4 = ethernet(&[], IPV4, &ipv4_of(V4, TCP, 0x2000, 0, &segment));
        let mobile =
            ethernet(&[], IPV6, &ipv6(V6, 135, &[extension(135, 59, 8), segment.clone()].concat()));
        let behind = |header: &[u8]| [header, &ipv4(V4, TCP, &segment)].concat();
        let short = ethernet(&[], IPV4, &{
            let mut packet = ipv4(V4, TCP, &segment);
            packet[0] = 0x44;
            packet
        });
        let frames: &[(&str, Vec<u8>, Want)] = &[
            ("no tag", v4(&[]), Match),
            ("802.1Q", v4(&[0x8100]), Match),
            ("802.1ad and 802.1Q", v4(&[0x88a8, 0x8100]), Match),
            ("three tags", v4(&[0x9100, 0x9200, 0x9300]), Match),
            ("four tags", v4(&[0x8100; 4]), Unsure),
            ("one word of options", options(1), Match),
            ("all options", options(10), Match),
            ("a header too short", short, Unsure),
            (
                "IPv4 that says IPv6",
                ethernet(&[], IPV6, &ipv4(V4, TCP, &ports(1, 2)).repeat(2)),
                Unsure,
            ),
            ("no extension", v6(&[]), Match),
            ("hop by hop", v6(&[(0, 8)]), Match),
            ("routing", v6(&[(43, 24)]), Match),
            ("destination", v6(&[(60, 248)]), Match),
            ("authentication", v6(&[(51, 24)]), Match),
            ("mobility, HIP, Shim6", v6(&[(135, 8), (139, 40), (140, 16)]), Match),
            ("a first fragment", v6(&[(44, 8)]), Match),
            ("six", v6(&[(0, 8), (60, 16), (43, 24), (44, 8), (51, 12), (60, 8)]), Match),
            ("seven", v6(&[(60, 8); 7]), Unsure),
            ("a later fragment of IPv6", later6.clone(), Unsure),
            ("a later fragment of IPv4", later4.clone(), Unsure),
            ("a first fragment of IPv4", first4, Match),
            ("mobility, and nothing", mobile, NoMatch),
            ("no label", ethernet(&[], MPLS, &ipv4(V4, TCP, &segment)), Unsure),
            ("MPLS", ethernet(&[], MPLS, &behind(&[0, 1, 1, 64])), Unsure),
            ("PPPoE", ethernet(&[], PPPOE, &behind(&[0x11, 0, 0, 7, 0, 0, 0, 0x21])), Unsure),
            ("a length instead of an EtherType", ethernet(&[], 46, &[0xaa; 46]), Unsure),
        ];
        let cases: Vec<_> =
            frames.iter().map(|(name, frame, want)| (*name, &frame[..], *want)).collect();
        check(&mut bench, &port, &cases);

        // The protocol and the addresses of later fragments are known, their ports are not.
        let fragments: [(&str, &[u8], Want); 2] =
            [("later4", &later4, Match), ("later6", &later6, Match)];
        check(&mut bench, &protocols(&[TCP]), &fragments);
        check(
            &mut bench,
            &prefixes(&[("10.0.0.0/8", Ends::Source), ("fd00::/8", Ends::Source)]),
            &fragments,
        );

        // What one kind of term cannot tell, another may.
        let with = |prefix: &str| KernelFilter {
            ports: vec![(443..=443, Ends::Either)],
            ..prefixes(&[(prefix, Ends::Source)])
        };
        check(&mut bench, &with("10.0.0.0/8"), &[("later", &later4, Unsure)]);
        check(&mut bench, &with("11.0.0.0/8"), &[("later", &later4, NoMatch)]);
        let udp = KernelFilter { protocols: vec![UDP], ..with("10.0.0.0/8") };
        check(&mut bench, &udp, &[("later", &later4, NoMatch)]);

        // What is not plain is not told, if so wished.
        let plain = KernelFilter { plain_only: true, ..port };
        let cases: Vec<_> = frames
            .iter()
            .map(|(name, frame, want)| {
                let is_plain = matches!(
                    *name,
                    "no tag"
                        | "one word of options"
                        | "all options"
                        | "no extension"
                        | "a first fragment of IPv4"
                );
                (*name, &frame[..], if is_plain { *want } else { Unsure })
            })
            .collect();
        check(&mut bench, &plain, &cases);
    });
}

#[test]
fn cut_frames_are_judged_by_what_they_say() {
    as_root("cut_frames_are_judged_by_what_they_say", || {
        let mut bench = Bench::new();
        let tagged =
            ethernet(&[0x88a8, 0x8100], IPV4, &ipv4_of(V4, TCP, 0, 2, &ports(40_000, 443)));
        let extended = ethernet(
            &[0x8100],
            IPV6,
            &ipv6(
                V6,
                0,
                &[extension(0, 51, 16), extension(51, TCP, 12), ports(40_000, 443)].concat(),
            ),
        );
        // From so many bytes on: addresses (and IPv4's protocol), IPv6's protocol, ports.
        let frames = [
            (tcp4(), [34, 34, 38]),
            (tagged, [42, 42, 54]),
            (udp6(), [54, 54, 58]),
            (extended, [58, 82, 90]),
        ];
        let filters = [
            prefixes(&[("0.0.0.0/0", Ends::Source), ("::/0", Ends::Destination)]),
            protocols(&[TCP, UDP]),
            ports_of(0, 65_535, Ends::Destination),
        ];
        for (idx, filter) in filters.iter().enumerate() {
            let cut = frames.iter().flat_map(|(frame, sure_from)| {
                (14..=frame.len()).map(move |len| {
                    let want = if len < sure_from[idx] { Unsure } else { Match };
                    (format!("{len} bytes of {}", frame.len()), &frame[..len], want)
                })
            });
            let cut: Vec<_> = cut.collect();
            let cases: Vec<_> =
                cut.iter().map(|(name, cut, want)| (&name[..], *cut, *want)).collect();
            check(&mut bench, filter, &cases);
        }
    });
}

#[test]
fn filters_follow_each_other_without_a_trace() {
    as_root("filters_follow_each_other_without_a_trace", || {
        let mut bench = Bench::new();
        let frame = tcp4();
        let other = |n: u32| {
            let host = IpAddr::V4((n << 8).into());
            KernelFilter {
                prefixes: vec![(Prefix::host(host), Ends::Either)],
                ports: vec![(1..=100, Ends::Either)],
                protocols: vec![UDP],
                ..KernelFilter::default()
            }
        };
        let this = prefixes(&[("10.0.0.1/32", Ends::Source)]);
        for round in 0..10 {
            bench.program.set_filter(Some(&this)).unwrap();
            assert_eq!(bench.run(&frame, 1), XDP_REDIRECT, "round {round}");
            bench.program.set_filter(Some(&other(round))).unwrap();
            assert_eq!(bench.run(&frame, 1), XDP_DROP, "round {round}");
        }
        bench.program.set_filter(None).unwrap();
        assert_eq!(bench.run(&frame, 1), XDP_REDIRECT, "no filter");

        // As many prefixes as there is room for, twice, and one in them that counts.
        let full = |first: u32| {
            let count = u32::try_from(MAX_KERNEL_PREFIXES).unwrap();
            let hosts = (first..first + count).map(|n| IpAddr::V4(n.into()));
            let prefixes = hosts.map(|host| (Prefix::host(host), Ends::Source)).collect();
            KernelFilter { prefixes, ..KernelFilter::default() }
        };
        let ten = u32::from_be_bytes([10, 0, 0, 0]);
        for (first, want) in [(ten, XDP_REDIRECT), (ten + 2, XDP_DROP), (ten - 4_000, XDP_REDIRECT)]
        {
            bench.program.set_filter(Some(&full(first))).unwrap();
            assert_eq!(bench.run(&frame, 1), want, "from {first:x}");
        }
        let mut too_many = full(ten + 2);
        too_many.prefixes.push((Prefix::host([9, 9, 9, 9].into()), Ends::Source));
        assert!(bench.program.set_filter(Some(&too_many)).is_err());
        assert_eq!(bench.run(&frame, 1), XDP_REDIRECT, "the one before is still in force");
    });
}
