//! Packets in, whether they are picked out.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::*;
use crate::decode::TcpHeader;
use crate::flow::{Endpoint, FlowKey, KeyHasher, PortKind};

const HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
const REST: &[u8] = b"\xffrest of it";

fn packet(protocol: u8, ports: [u16; 2], payload: &[u8]) -> Packet {
    let end = |last, port| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 0, 2, last]);
        Endpoint { address, port }
    };
    let (from, to) = (end(1, ports[0]), end(2, ports[1]));
    let (key, direction) = FlowKey::canonical(from, to, 4, protocol, PortKind::Ports, [0; 2]);
    let hash = KeyHasher::seeded(&BuildHasherDefault::<DefaultHasher>::default()).hash(&key);
    let payload_bytes = u32::try_from(payload.len()).unwrap();
    Packet { key, direction, hash, payload_bytes, ..Packet::NONE }
}

/// Which segments of one direction are picked: flags and payloads, in their order.
fn check(port: u16, segments: &[(u8, &[u8])], want: &[bool]) {
    let mut next = u32::MAX;
    let segments = segments.iter().map(|&(flags, bytes)| {
        let sequence = next;
        let len = if flags & SYN != 0 { 1 } else { u32::try_from(bytes.len()).unwrap() };
        next = next.wrapping_add(len);
        (flags, sequence, bytes)
    });
    check_at(port, &segments.collect::<Vec<_>>(), want);
}

/// The same with sequence numbers.
fn check_at(port: u16, segments: &[(u8, u32, &[u8])], want: &[bool]) {
    // It is the same where others are counted at every hash.
    for others in [0, u8::MAX] {
        let mut picks = Picks::default();
        picks.expected.fill(others);
        let picked = segments.iter().map(|&(flags, sequence, bytes)| {
            let tcp = TcpHeader::new(flags, sequence, 0, 1);
            let packet = Packet { tcp, ..packet(TCP, [40_000, port], bytes) };
            picks.may_pick(&packet, bytes) && picks.picks(&packet, bytes)
        });
        assert_eq!(picked.collect::<Vec<_>>(), want, "{others} others");
    }
}

#[test]
fn what_is_repeated_is_not_picked_again_but_in_another_recording() {
    let mut picks = Picks::default();
    let mut is_picked = |hour: i64, tick| {
        let tcp = TcpHeader::new(0, 100, 0, 1);
        let timestamp = Some(hour * 3_600 * 1_000_000_000);
        picks.picks(&Packet { tcp, timestamp, tick, ..packet(TCP, [40_000, 443], HELLO) }, HELLO)
    };
    let seen = [(5, 0), (5, 1), (4, 2), (4, 3)].map(|(hour, tick)| is_picked(hour, tick));
    assert_eq!(seen, [true, false, true, false]);
}

#[test]
fn datagrams_are_asked_for_one_by_one() {
    let picks =
        |port, bytes: &[u8]| Picks::default().picks(&packet(UDP, [40_000, port], bytes), bytes);
    assert!(picks(53, b"x"));
    assert!(!picks(53, &[0, 0, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0]), "an update");
    assert!(picks(443, &[0xc3, 0, 0, 0, 1, 8]), "QUIC");
    assert!(!picks(443, &[0x40, 0, 0, 0, 1, 8]), "a short header");
}

#[test]
fn later_fragments_are_picked_for_name_services_and_few_for_all() {
    let mut picks = Picks::default();
    let mut check = |packet: Packet, want: bool, name: &str| {
        let later = Packet { later_fragment: true, ..packet };
        let is_picked = picks.may_pick(&later, b"x") && picks.picks(&later, b"x");
        assert_eq!(is_picked, want, "{name}");
        assert!(!want || Picks::is_joined(&later), "{name}");
    };
    for (port, want) in [(53, true), (5_353, true), (5_355, true), (137, false), (443, false)] {
        check(packet(UDP, [40_000, port], b"x"), want, &format!("of port {port}"));
    }
    let end = |last| Endpoint { address: [last; 16], port: 0 };
    let key = |protocol| FlowKey::canonical(end(1), end(2), 4, protocol, PortKind::None, [0; 2]).0;
    let lone = |tick| Packet { key: key(UDP), payload_bytes: 1, tick, ..Packet::NONE };
    for tick in [5, SECOND_NS + 5] {
        (0..LONE_FRAGMENTS).for_each(|_| check(lone(tick), true, "of a service not known"));
        check(lone(tick), false, "too many in a second");
    }
    check(Packet { key: key(TCP), ..lone(3 * SECOND_NS) }, false, "of TCP");
    assert_eq!(picks.lone_refused(), 2);
    assert!(!Picks::is_joined(&packet(UDP, [40_000, 137], b"x")));
}

/// Of each service and each first byte of a version that is known.
#[test]
fn datagrams_that_may_not_be_picked_would_not_be() {
    let mut picks = Picks::default();
    let (mut picked, mut not_looked_at) = (0, 0);
    let versions: [&[u8]; 7] = [
        b"\0\0\0\x01",
        b"\x6b\x33\x43\xcf",
        b"\xff\0\0\x1d",
        b"\xfa\xce\xb0\x02",
        b"T051",
        b"Q046",
        b"\x08id-of-itQ043",
    ];
    for port in [53, 67, 68, 137, 443, 546, 547, 1_900, 5_353, 5_355, 0x3535, 40_001] {
        for (first, rest) in (0..=u8::MAX).flat_map(|first| versions.map(|rest| (first, rest))) {
            let datagram = [&[first], rest, &[0; 16]].concat();
            let packet = packet(UDP, [port, 40_000], &datagram);
            let may = picks.may_pick(&packet, &datagram);
            let does = picks.picks(&packet, &datagram);
            assert!(may || !does, "port {port}, {datagram:02x?}");
            (picked, not_looked_at) = (picked + u32::from(does), not_looked_at + u32::from(!may));
        }
    }
    assert!(picked > 13_000 && not_looked_at > 1_200, "{picked} picked, {not_looked_at} passed by");
}

#[test]
fn neighbours_are_picked_and_no_other_icmp() {
    let picks = |kind, ttl| {
        let icmp = Packet { icmp: Some((kind, 0)), ttl, ..packet(ICMPV6, [0; 2], b"") };
        Picks::default().picks(&icmp, b"")
    };
    assert!(picks(135, 255) && picks(133, 255));
    assert!(!picks(135, 254), "from afar");
    assert!(!picks(128, 255), "an echo");
}

#[test]
fn what_follows_a_beginning_is_picked() {
    check(9_999, &[(SYN, b""), (0, HELLO), (0, b""), (0, REST)], &[false, true, false, true]);
    check(9_999, &[(0, REST), (0, HELLO), (0, REST)], &[false, true, true]);
    let mut segments = vec![(0, HELLO)];
    segments.resize(100, (0, REST));
    let followed = NAME_PAYLOADS as usize;
    let want: Vec<_> = (0..100).map(|n| n < followed).collect();
    check(9_999, &segments, &want);
}

#[test]
fn what_may_have_overtaken_is_picked_and_what_follows_and_begins_nothing_is_not() {
    let syn: (u8, u32, &[u8]) = (SYN, 99, b"");
    let picks = |segments: &[_], want: &[bool]| {
        check_at(443, &[&[syn], segments].concat(), &[&[false], want].concat());
    };
    picks(&[(0, 100, REST), (0, 111, REST)], &[false, false]);
    picks(&[(0, 106, REST), (0, 100, HELLO), (0, 117, REST)], &[true, true, true]);
    picks(&[(0, 100, REST), (0, 122, REST), (0, 111, HELLO)], &[false, true, true]);
    // So little tells nothing; and what follows may begin something.
    picks(&[(0, 100, b"\x16"), (0, 101, b"\x03\x01\0")], &[true, true]);
    picks(&[(0, 100, REST), (0, 111, b"GET / HTTP/1.1")], &[false, true]);
    picks(&[(0, 100, REST), (0, 111, REST), (0, 122, HELLO)], &[false, false, true]);
}

/// No port is needed for that: where the SYN was seen the gap shows.
#[test]
fn what_has_overtaken_a_beginning_is_picked_on_any_port() {
    let syn: (u8, u32, &[u8]) = (SYN, 99, b"");
    for port in [443, 8_444, 9_001] {
        check_at(
            port,
            &[syn, (0, 106, REST), (0, 100, HELLO), (0, 117, REST)],
            &[false, true, true, true],
        );
    }
    // Nothing is known of a connection that is under way.
    check_at(8_444, &[(0, 106, REST), (0, 100, HELLO)], &[false, true]);
    // Behind a greeting a handshake may begin, and what has overtaken that.
    let greeting: (u8, u32, &[u8]) = (0, 100, b"220 mail ESMTP\r\n");
    let words: [(u8, u32, &[u8]); 2] = [(0, 116, REST), (0, 127, REST)];
    let handshake = [(0, 144, REST), (0, 138, HELLO), (0, 155, REST)];
    check_at(
        25,
        &[&[syn, greeting][..], &words, &handshake].concat(),
        &[false, true, false, false, true, true, true],
    );
}

/// A retransmission, or a mirror port that sends what comes and what goes.
#[test]
fn what_repeats_what_came_is_not_picked_and_leaves_room_for_what_follows() {
    let mut segments: Vec<(u8, u32, &[u8])> = vec![(SYN, 99, b""), (0, 100, HELLO)];
    segments.extend((0..3).map(|n| (0, 106 + 11 * n, REST)));
    let segments: Vec<_> = segments.into_iter().flat_map(|segment| [segment; 2]).collect();
    let want = [[false; 2], [true, false], [true, false], [true, false], [true, false]];
    check_at(443, &segments, want.as_flattened());
    // Some of it is new.
    let more = [(SYN, 99, &b""[..]), (0, 100, HELLO), (0, 104, REST), (0, 115, REST)];
    check_at(443, &more, &[false, true, true, true]);
    // Far behind the last one there is another connection, of which the SYN was not seen.
    let behind = |bytes: u32| 106_u32.wrapping_sub(REPEATED.cast_unsigned().into()) - bytes;
    check_at(443, &[(0, 100, HELLO), (0, behind(0), HELLO)], &[true, false]);
    check_at(443, &[(0, 100, HELLO), (0, behind(1), HELLO)], &[true, true]);
}

/// It asks whether the other end is there, with the byte before the next one.
#[test]
fn a_keep_alive_is_not_picked() {
    let row: (u32, &[u8]) = (100, b"\0\x17row of DNS");
    let segments =
        [(SYN, 99, &b""[..]), (0, 99, b"\0"), (0, row.0, row.1), (0, 111, b"\0"), (0, 112, b"\0")];
    check_at(53, &segments, &[false, false, true, false, true]);
    check_at(53, &[(0, 99, b"\0"), (0, row.0, row.1)], &[false, true]);
}

#[test]
fn where_a_direction_begins_is_said_with_its_first_payload() {
    let begins_at = |segments: &[(u8, u32, &[u8])]| {
        let mut picks = Picks::default();
        let said = segments.iter().map(|&(flags, sequence, bytes)| {
            let tcp = TcpHeader::new(flags, sequence, 0, 1);
            let packet = Packet { tcp, ..packet(TCP, [40_000, 53], bytes) };
            picks.picks(&packet, bytes).then(|| picks.begins_at()).flatten()
        });
        said.collect::<Vec<_>>()
    };
    let syn: (u8, u32, &[u8]) = (SYN, u32::MAX - 3, b"");
    let (first, second) = (u32::MAX - 2, 8);
    let all = [syn, (0, second, REST), (0, first, REST)];
    assert_eq!(begins_at(&all), [None, Some(first), None]);
    assert_eq!(begins_at(&[syn, (0, first, REST)]), [None, Some(first)]);
    assert_eq!(begins_at(&all[1..]), [None, None], "its SYN was not seen");
    assert_eq!(begins_at(&[(SYN, 99, REST), (0, 111, REST)]), [Some(100), None]);
}

#[test]
fn behind_a_whole_hello_nothing_is_looked_at_until_the_next_connection() {
    let client: &[u8] = b"\x16\x03\x01\0\x04\x01\0\0\0";
    let mut server = [&b"\x16\x03\x03\0\x2c\x02\0\0\x28\x03\x03"[..], &[0; 38]].concat();
    for (cipher, follow_ups) in [(0x13, 0), (0xc0, 3)] {
        server[5 + 4 + 35] = cipher;
        for (hello, left) in [(client, 0), (&server, follow_ups)] {
            let segments = [(SYN, b"".as_slice()), (0, hello), (0, REST), (0, REST), (0, REST)];
            let again = [(0, hello), (SYN, b""), (0, hello)];
            let rest = [false, true, left > 0, left > 0, left > 0, left > 0, false, true];
            check(443, &[&segments[..], &again].concat(), &rest);
        }
    }
}

#[test]
fn data_on_a_syn_is_picked_and_not_again_where_the_server_did_not_take_it() {
    check_at(9_999, &[(SYN, 99, HELLO), (0, 106, REST)], &[true, true]);
    check_at(9_999, &[(SYN, 99, HELLO), (0, 100, HELLO)], &[true, false]);
    check_at(9_999, &[(SYN, 99, REST), (0, 111, REST)], &[false, false]);
}

/// Places are few, and flows meet in them: they do so alike in each run.
#[test]
fn a_place_does_not_depend_on_the_run() {
    let here = packet(TCP, [40_000, 443], b"");
    let hashed_otherwise = Packet { hash: !here.hash, ..here };
    assert_eq!(place_and_tag(&here), place_and_tag(&hashed_otherwise));
    let ports = 1_000..5_000_u16;
    let places = ports.clone().map(|port| place_and_tag(&packet(TCP, [port, 443], b"")));
    let places: HashSet<_> = places.map(|[place, _]| usize::from(place) % PICK_PLACES).collect();
    // By chance 3,150 of 8,192.
    assert!(places.len() > 2_900, "{} places of {} flows", places.len(), ports.len());
}

#[test]
fn behind_a_greeting_only_a_handshake_is_picked() {
    let words: [(u8, &[u8]); 3] = [(0, b"EHLO me\r\n"), (0, b"NOOP\r\n"), (0, b"STARTTLS\r\n")];
    let handshake = [(0, HELLO), (0, REST), (0, REST), (0, REST), (0, REST)];
    let segments = [&[(SYN, b"".as_slice())], &words[..], &handshake].concat();
    let want = [false, true, false, false, true, true, true, true, false];
    check(25, &segments, &want);
}

#[test]
fn after_so_many_payloads_nothing_is_looked_at_until_the_next_connection() {
    // What does not look as if it began a handshake is not looked at.
    let mut segments = vec![(SYN, b"".as_slice())];
    segments.extend(vec![(0, REST); 2 * NAME_LOOKS as usize]);
    let mut want = vec![false; segments.len()];
    check(9_999, &[&segments[..], &[(0, HELLO)]].concat(), &[&want[..], &[true]].concat());
    segments.extend(vec![(0, b"\x16rest of it".as_slice()); NAME_LOOKS as usize]);
    segments.extend([(0, HELLO), (SYN, b"".as_slice()), (0, HELLO)]);
    want.resize(segments.len(), false);
    *want.last_mut().unwrap() = true;
    check(9_999, &segments, &want);
    check(53, &[(0, REST); 100], &[true; 100]);
}
