//! The shunt: what is counted in the kernel, and that it is what the decoder says of the same
//! frames.

use super::frames::*;
use super::*;
use crate::{
    decode::{Decoder, Packet},
    flow::{KeyHasher, SideCounts},
    source::{Frame, LinkType},
    xdp::filter::Action,
};

/// TCP flags.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH_ACK: u8 = 0x18;

/// A TCP header with options, and so many bytes.
fn tcp(numbers: [u16; 2], flags: u8, bytes: usize) -> Vec<u8> {
    let mut segment = vec![0; 32 + bytes];
    segment[..2].copy_from_slice(&numbers[0].to_be_bytes());
    segment[2..4].copy_from_slice(&numbers[1].to_be_bytes());
    segment[12] = 8 << 4;
    segment[13] = flags;
    segment
}

fn udp(numbers: [u16; 2], bytes: usize) -> Vec<u8> {
    let mut datagram = vec![0; 8 + bytes];
    datagram[..2].copy_from_slice(&numbers[0].to_be_bytes());
    datagram[2..4].copy_from_slice(&numbers[1].to_be_bytes());
    datagram
}

const THERE: [&str; 2] = ["10.0.0.1", "192.0.2.9"];
const BACK: [&str; 2] = ["192.0.2.9", "10.0.0.1"];
const THERE_V6: [&str; 2] = ["fd00::1:0:0:1", "fd00::2:0:0:0"];

/// The IPv4 packet, with its length.
fn v4(ends: [&str; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(ends, protocol, payload);
    let len = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet
}

/// The IPv6 packet, with its length.
fn v6(ends: [&str; 2], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv6(ends, next, payload);
    packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet
}

/// Ethernet with tags of these identifiers.
fn tagged(vlans: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(&vec![0x8100; vlans.len()], kind, payload);
    for (idx, vlan) in vlans.iter().enumerate() {
        frame[14 + 4 * idx..16 + 4 * idx].copy_from_slice(&vlan.to_be_bytes());
    }
    frame
}

fn decoded(frame: &[u8]) -> Packet {
    let wire_len = u32::try_from(frame.len()).unwrap();
    let frame = Frame { bytes: frame, wire_len, timestamp: Some(0), link: LinkType::ETHERNET };
    Decoder::new(KeyHasher::default()).decode(&frame).unwrap()
}

/// What the decoder makes of some packets of the frame, as the shunt counts them.
fn sides(frame: &[u8], packets: u64) -> [SideCounts; 2] {
    let packet = decoded(frame);
    let mut sides = [SideCounts::default(); 2];
    sides[packet.direction.idx()] = SideCounts {
        packets,
        bytes: packets * u64::from(packet.bytes),
        frame_bytes: packets * u64::from(packet.frame_bytes),
        payload_bytes: packets * u64::from(packet.payload_bytes),
        tcp_flags: packet.tcp.flags(),
        ..SideCounts::EMPTY
    };
    sides
}

#[test]
fn what_is_counted_is_what_the_decoder_says() {
    let counted = [
        ("tcp", ethernet(&[], IPV4, &v4(THERE, TCP, &tcp([999, 443], PSH_ACK, 100)))),
        ("back", ethernet(&[], IPV4, &v4(BACK, TCP, &tcp([443, 999], PSH_ACK, 0)))),
        ("udp", ethernet(&[], IPV4, &v4(THERE, UDP, &udp([53, 5353], 40)))),
        ("equal ends", ethernet(&[], IPV4, &v4(["10.0.0.1"; 2], UDP, &udp([53, 53], 40)))),
        ("ends by port", ethernet(&[], IPV4, &v4(["10.0.0.1"; 2], UDP, &udp([54, 53], 40)))),
        ("padding", {
            let mut frame = ethernet(&[], IPV4, &v4(THERE, UDP, &udp([53, 5353], 1)));
            frame.resize(60, 0xff);
            frame
        }),
        ("v6", ethernet(&[], IPV6, &v6(THERE_V6, TCP, &tcp([999, 443], PSH_ACK, 7)))),
        ("v6 udp back", {
            let [a, b] = THERE_V6;
            ethernet(&[], IPV6, &v6([b, a], UDP, &udp([1, 65_535], 30)))
        }),
        ("tag", tagged(&[7], IPV4, &v4(THERE, UDP, &udp([1, 2], 20)))),
        ("two tags", tagged(&[7, 8], IPV6, &v6(THERE_V6, UDP, &udp([1, 2], 20)))),
        ("priority tag", tagged(&[0], IPV4, &v4(THERE, UDP, &udp([1, 2], 20)))),
        ("priority tag first", tagged(&[0, 8], IPV4, &v4(THERE, UDP, &udp([1, 2], 20)))),
        ("priority tag last", tagged(&[0xe008, 0], IPV4, &v4(THERE, UDP, &udp([1, 2], 20)))),
        ("jumbo", ethernet(&[], IPV4, &v4(THERE, TCP, &tcp([1, 2], PSH_ACK, 8_900)))),
    ];
    as_root("what_is_counted_is_what_the_decoder_says", || {
        let (bench, mut maps) = Bench::with_shunt(Timestamps::Batch);
        for (number, (name, frame)) in (0..).zip(&counted) {
            let key = decoded(frame).key.words();
            assert_eq!(bench.run(frame, 1), XDP_REDIRECT, "{name}, before");
            maps.insert(&key, number).unwrap();
            let before = crate::xdp::shunt::monotonic_ns();
            // One by one: several at once take long to prepare.
            (0..3).for_each(|_| assert_eq!(bench.run(frame, 1), XDP_DROP, "{name}"));
            let counts = maps.read(number).unwrap().unwrap();
            assert_eq!(counts.sides, sides(frame, 3), "{name}");
            let after = crate::xdp::shunt::monotonic_ns();
            assert!((before..=after).contains(&counts.last_ns), "{name}");
            maps.remove(&key).unwrap();
            assert_eq!(bench.run(frame, 1), XDP_REDIRECT, "{name}, after");
            // Another entry of that number begins from zero.
            maps.insert(&key, number).unwrap();
            assert_eq!(
                maps.read(number).unwrap().unwrap().sides,
                [SideCounts::default(); 2],
                "{name}"
            );
            maps.remove(&key).unwrap();
        }
        let all = counted.len() as u64;
        let verdicts = bench.verdicts();
        assert_eq!(verdicts.shunted_packets, 3 * all);
        assert_eq!(verdicts.redirected_packets, 2 * all);
    });
}

#[test]
fn what_begins_or_ends_comes_up_and_all_behind_it() {
    as_root("what_begins_or_ends_comes_up_and_all_behind_it", || {
        let (bench, mut maps) = Bench::with_shunt(Timestamps::Batch);
        let frame =
            |ends, numbers, flags| ethernet(&[], IPV4, &v4(ends, TCP, &tcp(numbers, flags, 10)));
        let data = frame(THERE, [9, 80], PSH_ACK);
        let key = decoded(&data).key.words();
        for (number, flags) in (0..).zip([FIN | PSH_ACK, SYN, RST, SYN | PSH_ACK]) {
            maps.insert(&key, number).unwrap();
            (0..2).for_each(|_| assert_eq!(bench.run(&data, 1), XDP_DROP));
            assert_eq!(bench.run(&frame(BACK, [80, 9], flags), 1), XDP_REDIRECT, "{flags:#x}");
            assert_eq!(bench.run(&data, 1), XDP_REDIRECT, "behind {flags:#x}");
            assert_eq!(maps.read(number).unwrap().unwrap().sides, sides(&data, 2), "{flags:#x}");
            maps.remove(&key).unwrap();
        }
        // URG, ECE and CWR neither begin nor end anything.
        maps.insert(&key, 9).unwrap();
        assert_eq!(bench.run(&frame(THERE, [9, 80], 0xf8), 1), XDP_DROP);
    });
}

#[test]
fn what_is_not_surely_of_the_flow_comes_up() {
    let data = v4(THERE, UDP, &udp([1, 2], 20));
    let change = |at: usize, to: u8| {
        let mut packet = data.clone();
        packet[at] = to;
        ethernet(&[], IPV4, &packet)
    };
    let mut options = ipv4_of(THERE, UDP, 0, 1, &udp([1, 2], 20));
    options[3] = 52;
    let atomic = [vec![UDP, 0, 0, 0, 0, 0, 0, 1], udp([1, 2], 20)].concat();
    let cases = [
        ("first fragment", change(6, 0x20)),
        ("later fragment", change(7, 1)),
        ("options", ethernet(&[], IPV4, &options)),
        ("no length", change(3, 0)),
        ("too short a length", change(3, 27)),
        ("another protocol", change(9, 136)),
        ("another version", change(0, 0x55)),
        ("another port", change(21, 2)),
        ("a tag", tagged(&[7], IPV4, &data)),
        ("three tags", tagged(&[0, 0, 0], IPV4, &data)),
        ("cut in its header", ethernet(&[], IPV4, &data)[..40].to_vec()),
        ("cut in its ports", ethernet(&[], IPV4, &data)[..37].to_vec()),
        ("not IP", ethernet(&[], ARP, &data)),
        ("IPv6 extension", ethernet(&[], IPV6, &v6(THERE_V6, 44, &atomic))),
    ];
    as_root("what_is_not_surely_of_the_flow_comes_up", || {
        let (mut bench, mut maps) = Bench::with_shunt(Timestamps::Batch);
        let plain = ethernet(&[], IPV4, &data);
        let six = ethernet(&[], IPV6, &v6(THERE_V6, UDP, &udp([1, 2], 20)));
        for (number, frame) in (0..).zip([&plain, &six]) {
            maps.insert(&decoded(frame).key.words(), number).unwrap();
            assert_eq!(bench.run(frame, 1), XDP_DROP);
        }
        for (name, frame) in &cases {
            assert_eq!(bench.run(frame, 1), XDP_REDIRECT, "{name}");
        }
        // What the filter rejects is not counted, and a change of the filter leaves the shunt.
        let nothing = KernelFilter { action: Action::Reject, ..Default::default() };
        bench.program.set_filter(Some(&nothing)).unwrap();
        assert_eq!(bench.run(&plain, 1), XDP_DROP);
        bench.program.set_filter(None).unwrap();
        assert_eq!(bench.run(&plain, 1), XDP_DROP);
        let verdicts = bench.verdicts();
        assert_eq!((verdicts.shunted_packets, verdicts.filtered_packets), (3, 1));
        assert_eq!(maps.read(0).unwrap().unwrap().sides, sides(&plain, 2));
        // Without a socket packets are the host's.
        drop(bench.socket.take());
        assert_eq!(bench.run(&plain, 1), XDP_PASS);
    });
}
