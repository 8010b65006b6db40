//! IP headers, extension headers and fragments.

use super::{
    ETHERNET, RAW, UDP, UDP4, UDP6, check, check_sequence, check_with, ethernet, udp4, udp6, v4, v6,
};
use crate::decode::{TunnelPorts, Tunnels};
use crate::source::LinkType;

fn with(mut packet: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

#[test]
fn ipv4_headers_and_their_lies() {
    let options = [&[0x46, 0, 0, 37][..], &udp4()[4..20], &[1; 4], UDP].concat();
    let ends =
        |bytes, payload| format!("17 10.0.0.1:1000 > 10.0.0.2:53 bytes {bytes} payload {payload}");
    let rows: [(&str, Vec<u8>, String); 11] = [
        ("plain", udp4(), UDP4.into()),
        ("options", options, ends(37, 5)),
        ("padding is not counted", [udp4(), vec![0; 20]].concat(), UDP4.into()),
        ("total length 0: the wire's", with(udp4(), 2, &[0, 0]), UDP4.into()),
        ("total length beyond", with(udp4(), 2, &[1, 0]), ends(256, 228)),
        ("total length below the header", with(udp4(), 2, &[0, 19]), "bad_ip".into()),
        ("total length within the ports", with(udp4(), 2, &[0, 23]), "l4_short".into()),
        ("header length 16", with(udp4(), 0, &[0x44]), "bad_ip".into()),
        ("header length beyond", with(udp4(), 0, &[0x4f]), "bad_ip".into()),
        ("cut", udp4()[..19].to_vec(), "bad_ip".into()),
        ("don't fragment", with(udp4(), 6, &[0x40, 0]), UDP4.into()),
    ];
    for (name, packet, want) in rows {
        check(name, RAW, &packet, &want);
    }
    // Segmentation offload: the length that the header leaves open is the wire's.
    let offload = ethernet(0x0800, &with(udp4(), 2, &[0, 0]));
    let want = "17 10.0.0.1:1000 > 10.0.0.2:53 bytes 2986 payload 2958 mac 1 > 2";
    check_sequence("offload, cut", ETHERNET, &[(&offload, 3_000, want)]);
    let padded = ethernet(0x0800, &[udp4(), vec![0; 13]].concat());
    check("padded to 60 bytes", ETHERNET, &padded, &format!("{UDP4} mac 1 > 2"));
}

#[test]
fn ipv6_extension_headers() {
    // Each of 8 bytes, but the 16 of an authentication header with a length of 2.
    let extension = |next: u8, len: u8| {
        let mut bytes = vec![next, len];
        bytes.resize(if len == 2 { 16 } else { 8 + usize::from(len) * 8 }, 0);
        bytes
    };
    let udp = |n: usize| format!("17 2001:db8::1:1000 > 2001:db8::2:53 bytes {n} payload 5");
    let rows: [(&str, u8, Vec<u8>, String); 17] = [
        ("none", 17, UDP.to_vec(), UDP6.into()),
        ("hop-by-hop", 0, [extension(17, 0), UDP.into()].concat(), udp(61)),
        ("routing", 43, [extension(17, 1), UDP.into()].concat(), udp(69)),
        ("destination", 60, [extension(17, 0), UDP.into()].concat(), udp(61)),
        ("authentication", 51, [extension(17, 2), UDP.into()].concat(), udp(69)),
        ("HIP", 139, [extension(17, 0), UDP.into()].concat(), udp(61)),
        ("shim6", 140, [extension(17, 0), UDP.into()].concat(), udp(61)),
        (
            "hop-by-hop after others",
            60,
            [extension(0, 0), extension(17, 1), UDP.into()].concat(),
            { udp(77) },
        ),
        (
            "all of them, the other way round",
            140,
            [
                extension(139, 0),
                extension(135, 0),
                extension(51, 0),
                // Its authentication data is 0 here: 4 * (0 + 2) bytes.
                extension(60, 0),
                extension(43, 0),
                extension(0, 1),
                extension(17, 0),
                UDP.into(),
            ]
            .concat(),
            udp(53 + 8 * 8),
        ),
        (
            "an atomic fragment among them",
            60,
            [
                vec![44, 0, 1, 4, 0, 0, 0, 0],
                vec![60, 0, 0, 0, 0, 0, 0, 9],
                extension(17, 0),
                UDP.into(),
            ]
            .concat(),
            udp(77),
        ),
        (
            "ESP hides what follows",
            60,
            [extension(50, 0), vec![7; 16]].concat(),
            "50 2001:db8::1 > 2001:db8::2 bytes 64 payload 16".into(),
        ),
        (
            "a length behind the end",
            60,
            [vec![17, 200], vec![0; 6], UDP.into()].concat(),
            "l4_short".into(),
        ),
        ("mobility, with data", 135, [extension(17, 0), UDP.into()].concat(), udp(61)),
        (
            "mobility",
            135,
            extension(59, 0),
            "135 2001:db8::1 > 2001:db8::2 bytes 48 payload 8".into(),
        ),
        (
            "several",
            0,
            [extension(43, 0), extension(60, 0), extension(17, 0), UDP.into()].concat(),
            udp(77),
        ),
        (
            "no next header",
            0,
            extension(59, 0),
            "59 2001:db8::1 > 2001:db8::2 bytes 48 payload 0".into(),
        ),
        ("ports behind the end", 60, extension(17, 0), "l4_short".into()),
    ];
    for (name, next, payload, want) in rows {
        check(name, RAW, &v6(next, &payload), &want);
    }
    check("cut", RAW, &udp6()[..39], "bad_ip");
}

#[test]
fn more_extension_headers_than_are_walked_are_bad_ip() {
    let chain = |n: usize| {
        let mut bytes = [60, 0, 1, 4, 0, 0, 0, 0].repeat(n - 1);
        bytes.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        bytes.extend(UDP);
        v6(60, &bytes)
    };
    let want = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 565 payload 5";
    check("64", RAW, &chain(64), want);
    check("65", RAW, &chain(65), "bad_ip");
}

#[test]
fn lengths_that_ipv6_leaves_open_are_the_wires() {
    // RFC 2675: payload length 0, a jumbo option of 100,000 in the hop-by-hop header.
    let jumbo = [&[17, 0, 0xc2, 4, 0, 1, 0x86, 0xa0][..], UDP].concat();
    let jumbo = with(v6(0, &jumbo), 4, &[0, 0]);
    let want = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 100040 payload 99984";
    check_sequence("jumbogram", RAW, &[(&jumbo, 100_040, want)]);
    let big = with(udp6(), 4, &[0, 0]);
    let want = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 100040 payload 99992";
    check_sequence("BIG TCP", RAW, &[(&big, 100_040, want)]);
    // Segmentation offload: what the frame has, also behind extension headers.
    check("offload", RAW, &big, UDP6);
    check("offload, padded", ETHERNET, &ethernet(0x86dd, &big), &format!("{UDP6} mac 1 > 2"));
    let behind = with(v6(60, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], UDP].concat()), 4, &[0, 0]);
    check("offload, destination", RAW, &behind, &UDP6.replace("bytes 53", "bytes 61"));
    let inside = [&[0, 0, 0x86, 0xdd][..], &big].concat();
    let want = format!("{UDP6} gre");
    check_with(
        Tunnels::Inner(TunnelPorts::default()),
        "offload, in a tunnel",
        RAW,
        &v4(47, &inside),
        &want,
    );
    // What may have nothing above it has nothing, whatever the frame is padded with.
    for next in [59, 58, 89] {
        let empty = ethernet(0x86dd, &[v6(next, &[]), vec![0; 6]].concat());
        let want = format!("{next} 2001:db8::1 > 2001:db8::2 bytes 40 payload 0 mac 1 > 2");
        check("nothing, padded", ETHERNET, &empty, &want);
    }
    // A hop-by-hop header and length 0 without the jumbo option: what Linux wrote for BIG TCP.
    let hop = with(v6(0, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], UDP].concat()), 4, &[0, 0]);
    let want = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 70000 payload 69944";
    check_sequence("BIG TCP, hop-by-hop", RAW, &[(&hop, 70_000, want)]);
    // The longest that is no BIG TCP: 40 and 65,535.
    let want = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 65575 payload 65527";
    check_sequence("not longer than 16 bits", RAW, &[(&big, 40 + 65_535, want)]);
}

/// A length that the header states stands, whatever the frame's is.
#[test]
fn lengths_that_lie() {
    let ends = |bytes, payload| {
        format!("17 2001:db8::1:1000 > 2001:db8::2:53 bytes {bytes} payload {payload}")
    };
    let lying = |len: u16| with(udp6(), 4, &len.to_be_bytes());
    let rows: [(&str, Vec<u8>, usize, String); 6] = [
        ("IPv6, beyond", lying(1_000), 53, ends(1_040, 992)),
        ("IPv6, the most there is", lying(65_535), 53, ends(65_575, 65_527)),
        ("IPv6, within the payload", lying(10), 53, ends(50, 2)),
        ("IPv6, within the ports", lying(3), 53, "l4_short".into()),
        ("IPv6, in a longer frame", udp6(), 9_000, ends(53, 5)),
        ("IPv4, in a longer frame", udp4(), 9_000, UDP4.into()),
    ];
    for (name, packet, wire_len, want) in rows {
        check_sequence(name, RAW, &[(&packet, wire_len, &want)]);
    }
    // Segmentation offload: IPv4's length 0 is the wire's, also where that is short of 16 bits.
    let open = with(udp4(), 2, &[0, 0]);
    for (wire_len, payload) in [(33, 5), (65_535, 65_507), (150_000, 149_972)] {
        let want = format!("17 10.0.0.1:1000 > 10.0.0.2:53 bytes {wire_len} payload {payload}");
        check_sequence("IPv4, 0", RAW, &[(&open, wire_len, &want)]);
    }
    // IPv6's too, but for padding, into which no header fits.
    let open = with(udp6(), 4, &[0, 0]);
    for (wire_len, want) in [(53, ends(53, 5)), (9_000, ends(9_000, 8_952))] {
        check_sequence("IPv6, 0", RAW, &[(&open, wire_len, &want)]);
    }
    for (protocol, padding) in [(6, 6), (17, 6), (6, 19)] {
        let padded = v6(protocol, &[]).into_iter().chain(vec![0; padding]).collect::<Vec<_>>();
        check("IPv6, 0, padded", RAW, &padded, "l4_short");
    }
}

#[test]
fn frames_without_bytes() {
    let known = [
        (0, "short"),
        (1, "short"),
        (9, "short"),
        (12, "bad_ip"),
        (14, "bad_ip"),
        (50, "short"),
        (51, "pppoe"),
        (101, "bad_ip"),
        (104, "short"),
        (105, "short"),
        (108, "short"),
        (113, "short"),
        (127, "short"),
        (147, "link_type"),
        (192, "short"),
        (204, "short"),
        (219, "short"),
        (226, "short"),
        (228, "bad_ip"),
        (229, "bad_ip"),
        (239, "short"),
        (276, "short"),
    ];
    for (link, want) in known {
        for wire_len in [0, 60, 1_500] {
            check_sequence("no bytes", LinkType(link), &[(&[], wire_len, want)]);
        }
    }
}

/// Wherever a frame is cut, it says what it says whole once the headers are there.
#[test]
fn cuts_anywhere() {
    let tcp = [&[0x03, 0xe8, 0, 80][..], &[0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0]];
    let hop = v6(0, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], UDP].concat());
    let udp6 = |rest: &str| format!("17 2001:db8::1:1000 > 2001:db8::2:53 bytes 61 {rest}");
    let tcp4 = |rest: &str| format!("6 10.0.0.1:1000 > 10.0.0.2:80 bytes 40 {rest}");
    let mac = |text: &str| format!("{text} mac 1 > 2");
    // From so many bytes on.
    type Row = (&'static str, Vec<u8>, Vec<(usize, String)>);
    let rows: [Row; 3] = [
        (
            "VLAN, IPv4, UDP",
            ethernet(0x8100, &[&[0, 7, 8, 0][..], &udp4()].concat()),
            vec![
                (0, "short".into()),
                (18, "bad_ip".into()),
                (38, "l4_short".into()),
                (42, format!("{UDP4} vlan 7 [0] mac 1 > 2")),
            ],
        ),
        (
            "IPv4, TCP",
            ethernet(0x0800, &v4(6, &tcp.concat())),
            vec![
                (0, "short".into()),
                (14, "bad_ip".into()),
                (34, "l4_short".into()),
                (38, mac(&tcp4("payload 20"))),
                (47, mac(&tcp4("payload 0"))),
                (48, mac(&tcp4("payload 0")) + " flags 0x12 seq 9 ack 0 window 65535"),
                (50, mac(&tcp4("payload 0")) + " flags 0x12 seq 9 ack 0 window 0"),
            ],
        ),
        (
            "IPv6, hop-by-hop, UDP",
            ethernet(0x86dd, &hop),
            vec![
                (0, "short".into()),
                (14, "bad_ip".into()),
                (54, mac("0 2001:db8::1 > 2001:db8::2 bytes 61 payload 21")),
                (62, "l4_short".into()),
                (66, mac(&udp6("payload 5"))),
            ],
        ),
    ];
    for (name, frame, said) in rows {
        for cut in 0..=frame.len() {
            let (_, want) = said.iter().rfind(|(from, _)| *from <= cut).unwrap();
            let name = format!("{name}, cut at {cut}");
            check_sequence(&name, ETHERNET, &[(&frame[..cut], frame.len(), want)]);
        }
    }
}

/// A fragment of datagram `identification`: `offset` in units of 8 bytes.
fn fragment4(identification: u8, offset: u8, more: bool, payload: &[u8]) -> Vec<u8> {
    with(v4(17, payload), 4, &[0, identification, u8::from(more) << 5, offset])
}

fn fragment6(identification: u8, offset: u8, more: bool, payload: &[u8]) -> Vec<u8> {
    let header = [17, 0, 0, offset << 3 | u8::from(more), 0, 0, 0, identification];
    v6(44, &[&header, payload].concat())
}

#[test]
fn later_fragments_belong_to_their_first() {
    let later4 = "17 10.0.0.1:1000 > 10.0.0.2:53 bytes 28 payload 8 fragment";
    let alone4 = "17 10.0.0.1 > 10.0.0.2 bytes 28 payload 8 fragment";
    let last4 = fragment4(7, 2, false, &[9; 8]);
    let first4 = fragment4(7, 0, true, UDP);
    let middle4 = fragment4(7, 1, true, &[9; 8]);
    let other4 = fragment4(8, 2, false, &[9; 8]);
    check_sequence(
        "IPv4",
        RAW,
        &[
            (&last4, 28, alone4),
            (&first4, 33, UDP4),
            (&middle4, 28, later4),
            (&last4, 28, later4),
            (&other4, 28, alone4),
        ],
    );
    let later6 = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 56 payload 8 fragment";
    let alone6 = "17 2001:db8::1 > 2001:db8::2 bytes 56 payload 8 fragment";
    let first6 = fragment6(7, 0, true, UDP);
    let last6 = fragment6(7, 2, false, &[9; 8]);
    let other6 = fragment6(8, 2, false, &[9; 8]);
    // What it says that the datagram holds is not asked of it.
    let says59 = with(fragment6(7, 1, true, &[9; 8]), 40, &[59]);
    check_sequence(
        "IPv6",
        RAW,
        &[
            (&last6, 56, alone6),
            (&first6, 61, &UDP6.replace("53 payload", "61 payload")),
            (&says59, 56, later6),
            (&last6, 56, later6),
            (&other6, 56, alone6),
        ],
    );
}

/// Overlapping ones count like any other, and a second first one counts from then on.
#[test]
fn fragments_that_overlap() {
    let later = "17 10.0.0.1:1000 > 10.0.0.2:53 bytes 28 payload 8 fragment";
    let first = fragment4(7, 0, true, UDP);
    let inside = fragment4(7, 1, true, &[9; 8]);
    let mut other = UDP.to_vec();
    other[1] = 0xe9;
    let other = fragment4(7, 0, true, &other);
    check_sequence(
        "overlaps",
        RAW,
        &[
            (&first, 33, UDP4),
            (&inside, 28, later),
            (&inside, 28, later),
            (&other, 33, &UDP4.replace(":1000", ":1001")),
            (&inside, 28, &later.replace(":1000", ":1001")),
        ],
    );
    // A first one that is too short for its ports, and one behind it that has them.
    let tiny = fragment4(9, 0, true, &UDP[..2]);
    let behind = fragment4(9, 1, false, UDP);
    let alone = "17 10.0.0.1 > 10.0.0.2 bytes 33 payload 13 fragment";
    check_sequence("too short", RAW, &[(&tiny, 22, "l4_short"), (&behind, 33, alone)]);
}

/// Extension headers before and behind the fragment header.
#[test]
fn fragments_of_ipv6_among_other_headers() {
    let parts = |offset: u8, payload: &[u8]| {
        let more = u8::from(offset == 0);
        let chain = [44, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, offset << 3 | more, 0, 0, 0, 7];
        v6(60, &[&chain, payload].concat())
    };
    let first = parts(0, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], UDP].concat());
    let later = parts(3, &[9; 8]);
    // The protocol behind the headers of the first one is not in a later one.
    let alone = "60 2001:db8::1 > 2001:db8::2 bytes 64 payload 8 fragment";
    let of_first = "17 2001:db8::1:1000 > 2001:db8::2:53 bytes 64 payload 8 fragment";
    check_sequence(
        "chain",
        RAW,
        &[
            (&later, 64, alone),
            (&first, 77, &UDP6.replace("bytes 53", "bytes 77")),
            (&later, 64, of_first),
        ],
    );
}

#[test]
fn an_atomic_fragment_is_a_whole_datagram() {
    let atomic = fragment6(7, 0, false, UDP);
    let later = fragment6(7, 2, false, &[9; 8]);
    check_sequence(
        "atomic",
        RAW,
        &[
            (&atomic, 61, &UDP6.replace("53 payload", "61 payload")),
            (&later, 56, "17 2001:db8::1 > 2001:db8::2 bytes 56 payload 8 fragment"),
        ],
    );
}

#[test]
fn fragments_on_another_vlan_are_of_another_datagram() {
    let first = ethernet(0x8100, &[&[0, 7, 8, 0][..], &fragment4(7, 0, true, UDP)].concat());
    let there = ethernet(0x8100, &[&[0, 7, 8, 0][..], &fragment4(7, 2, false, &[9; 8])].concat());
    let elsewhere = ethernet(0x0800, &fragment4(7, 2, false, &[9; 8]));
    check_sequence(
        "VLAN",
        ETHERNET,
        &[
            (&first, 51, &format!("{UDP4} vlan 7 [0] mac 1 > 2")),
            (
                &there,
                46,
                "17 10.0.0.1:1000 > 10.0.0.2:53 bytes 28 payload 8 vlan 7 [0] mac 1 > 2 fragment",
            ),
            (&elsewhere, 42, "17 10.0.0.1 > 10.0.0.2 bytes 28 payload 8 mac 1 > 2 fragment"),
        ],
    );
}
