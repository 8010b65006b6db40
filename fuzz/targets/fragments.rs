//! Any sequence of fragments, in any order and at any time: a later one has the ports of a first
//! one of its own datagram, or none; and what is remembered stays bounded.
//!
//! An input is a script of six bytes a fragment: kind, identification, ends, offset, port, time.

#![no_main]

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};

use flowtap::decode::Decoder;
use flowtap::flow::KeyHasher;
use flowtap::source::{Frame, LinkType};
use libfuzzer_sys::fuzz_target;

const UDP: u8 = 17;

fuzz_target!(|script: &[u8]| {
    let hasher = KeyHasher::seeded(&BuildHasherDefault::<DefaultHasher>::default());
    let mut decoder = Decoder::new(hasher);
    let mut firsts = HashSet::new();
    let mut time_ns = 0_i64;
    for step in script.chunks_exact(6) {
        let &[kind, id, ends, offset, port, time] = step else { unreachable!("six bytes") };
        // By up to two minutes, one way or the other.
        time_ns += i64::from(time.cast_signed()) * 1_000_000_000;
        let (is_v6, is_more) = (kind & 1 != 0, kind & 2 != 0);
        // Ends are few, so that datagrams meet.
        let (from, to, offset) = (ends & 3, ends >> 2 & 3, offset & 31);
        let packet = if is_v6 { v6 } else { v4 };
        let bytes = packet(id, [from, to], offset, is_more, port);
        let frame = Frame {
            bytes: &bytes,
            wire_len: u32::try_from(bytes.len()).expect("short"),
            timestamp: Some(time_ns),
            link: LinkType::RAW,
        };
        let packet = decoder.decode(&frame).expect("it is whole");
        let ports =
            [packet.direction, packet.direction.opposite()].map(|w| packet.key.source_port(w));
        let datagram = (is_v6, id, from, to);
        if offset == 0 {
            assert_eq!(ports, [Some(port.into()), Some(53)], "its own");
            firsts.insert((datagram, port));
        } else if let [Some(known), _] = ports {
            let known = u8::try_from(known).expect("a port of ours");
            assert!(firsts.contains(&(datagram, known)), "of another datagram");
        }
        assert_eq!(packet.later_fragment, offset != 0);
    }
});

/// A UDP header in the first one, and eight bytes in each.
fn payload(offset: u8, port: u8) -> Vec<u8> {
    if offset == 0 { vec![0, port, 0, 53, 0, 16, 0, 0] } else { vec![0; 8] }
}

fn v4(id: u8, [from, to]: [u8; 2], offset: u8, is_more: bool, port: u8) -> Vec<u8> {
    let more = u8::from(is_more) << 5;
    let header = [0x45, 0, 0, 28, 0, id, more, offset, 64, UDP, 0, 0];
    [&header[..], &[10, 0, 0, from, 10, 0, 1, to], &payload(offset, port)].concat()
}

fn v6(id: u8, ends: [u8; 2], offset: u8, is_more: bool, port: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 16, 44, 64];
    for (net, host) in [1, 2].into_iter().zip(ends) {
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    packet.extend([UDP, 0, 0, offset << 3 | u8::from(is_more), 0, 0, 0, id]);
    packet.extend(payload(offset, port));
    packet
}
