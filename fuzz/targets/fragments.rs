//! Any sequence of fragments, in any order and at any time: a later one has the ports of the latest
//! first one of its own datagram, if that is not too old and not too many have come since, or none;
//! and what is remembered stays bounded in number and in time.
//!
//! An input is a script of six bytes a fragment: kind, identification, ends, offset, port, time.

#![no_main]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use flowtap::decode::{Decoder, Packet};
use flowtap::flow::KeyHasher;
use flowtap::limits::{FRAGMENT_DATAGRAMS, FRAGMENT_LIFE_NS};
use flowtap::source::{Frame, LinkType};
use libfuzzer_sys::fuzz_target;

const UDP: u8 = 17;

/// First fragments of other datagrams at once: what is remembered is full after a few times.
const FLOOD: u16 = 6_000;

/// No more of them once there were so many: an input is to take some milliseconds.
const FLOODED: usize = 40_000;

/// The latest first fragment of a datagram.
struct First {
    port: u8,
    tick: u64,
    /// Of how many first fragments it was the last, when it took its place.
    number: usize,
}

fuzz_target!(|script: &[u8]| {
    let hasher = KeyHasher::seeded(&BuildHasherDefault::<DefaultHasher>::default());
    let mut decoder = Decoder::new(hasher);
    let mut firsts = HashMap::<_, First>::new();
    let (mut time_ns, mut number, mut flooded) = (0_i64, 0, 0_u16);
    for step in script.chunks_exact(6) {
        let &[kind, id, ends, offset, port, time] = step else { unreachable!("six bytes") };
        // By up to two minutes, one way or the other.
        time_ns += i64::from(time.cast_signed()) * 1_000_000_000;
        let (is_v6, is_more) = (kind & 1 != 0, kind & 2 != 0);
        if kind & 252 == 252 && number < FLOODED {
            for _ in 0..FLOOD {
                flooded = flooded.wrapping_add(1);
                decode(&mut decoder, &v4(flooded, [4, 4], 0, true, port), time_ns);
            }
            number += usize::from(FLOOD);
        }
        // Ends are few, so that datagrams meet.
        let (from, to, offset) = (ends & 3, ends >> 2 & 3, offset & 31);
        let bytes = match is_v6 {
            true => v6(id, [from, to], offset, is_more, port),
            false => v4(id.into(), [from, to], offset, is_more, port),
        };
        let packet = decode(&mut decoder, &bytes, time_ns);
        let ports =
            [packet.direction, packet.direction.opposite()].map(|w| packet.key.source_port(w));
        let datagram = (is_v6, id, from, to);
        if offset == 0 {
            assert_eq!(ports, [Some(port.into()), Some(53)], "its own");
            // What is whole is no fragment.
            if is_more {
                number += 1;
                let before = firsts.get(&datagram).filter(|before| before.tick == packet.tick);
                // Of one moment, it has the place of the one before it.
                let number = before.map_or(number, |before| before.number);
                firsts.insert(datagram, First { port, tick: packet.tick, number });
            }
        } else {
            check(ports, firsts.get(&datagram), packet.tick, number);
        }
        assert_eq!(packet.later_fragment, offset != 0);
        let held = decoder.fragmented_datagrams();
        assert!(held <= FRAGMENT_DATAGRAMS, "{held} are remembered");
    }
});

fn decode(decoder: &mut Decoder, bytes: &[u8], time_ns: i64) -> Packet {
    let frame = Frame {
        bytes,
        wire_len: u32::try_from(bytes.len()).expect("short"),
        timestamp: Some(time_ns),
        link: LinkType::RAW,
    };
    decoder.decode(&frame).expect("it is whole")
}

/// Whether these may be the ports of a later fragment, which comes after so many first ones.
fn check(ports: [Option<u16>; 2], first: Option<&First>, tick: u64, number: usize) {
    let in_time = first.filter(|first| tick - first.tick <= FRAGMENT_LIFE_NS);
    match (ports, in_time) {
        ([None, None], None) => {}
        ([None, None], Some(first)) => {
            assert!(number - first.number >= FRAGMENT_DATAGRAMS, "there was room for it");
        }
        (ports, Some(first)) => {
            assert_eq!(ports, [Some(first.port.into()), Some(53)], "of another datagram");
        }
        (ports, None) => panic!("{ports:?} are nobody's, or too old"),
    }
}

/// A UDP header in the first one, and eight bytes in each.
fn payload(offset: u8, port: u8) -> Vec<u8> {
    if offset == 0 { vec![0, port, 0, 53, 0, 16, 0, 0] } else { vec![0; 8] }
}

fn v4(id: u16, [from, to]: [u8; 2], offset: u8, is_more: bool, port: u8) -> Vec<u8> {
    let more = u8::from(is_more) << 5;
    let [high, low] = id.to_be_bytes();
    let header = [0x45, 0, 0, 28, high, low, more, offset, 64, UDP, 0, 0];
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
