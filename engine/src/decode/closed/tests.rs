//! What is in tunnels that stay closed, whole and in fragments.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, PacketBuilder};

use super::*;
use crate::flow::KeyHasher;
use crate::source::LinkType;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const SEQUENCE: u32 = 70_000;
const GTP_U: [u8; 8] = [0x30, 0xff, 0, 0, 0, 0, 0, 1];
const MORE: usize = 4;

/// A request in TCP and IP.
fn inside() -> Vec<u8> {
    let builder =
        PacketBuilder::ipv4([10, 0, 0, 1], [192, 0, 2, 80], 64).tcp(40_000, 80, SEQUENCE, 1_000);
    let mut packet = Vec::new();
    builder.write(&mut packet, REQUEST).unwrap();
    packet
}

/// The same in GTP-U and UDP.
fn datagram() -> Vec<u8> {
    let inside = inside();
    let length = u16::try_from(16 + inside.len()).unwrap();
    let udp = [2_152, 2_152, length, 0].map(u16::to_be_bytes).concat();
    [&udp[..], &GTP_U, &inside].concat()
}

/// A fragment of what protocol `holds`, from `start` on, in a frame.
fn fragment(holds: u8, datagram: &[u8], [start, end]: [usize; 2]) -> Vec<u8> {
    let piece = &datagram[start..end];
    let length = u16::try_from(piece.len()).unwrap();
    let (from, to) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let mut header = Ipv4Header::new(length, 64, IpNumber(holds), from, to).unwrap();
    header.identification = 9;
    header.more_fragments = end < datagram.len();
    header.fragment_offset = IpFragOffset::try_new(u16::try_from(start / 8).unwrap()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    let mut frame = [&[2; 12][..], &[8, 0]].concat();
    header.write(&mut frame).unwrap();
    frame.extend_from_slice(piece);
    frame.extend_from_slice(&[0xee; 6]);
    frame
}

/// Sequence number and bytes of what is found in each frame, of which so much was captured.
fn look(tunnels: Tunnels, frames: &[Vec<u8>], captured: usize) -> Vec<(u32, Vec<u8>)> {
    look_at(tunnels, frames.iter().map(|frame| (5, &frame[..], true)), captured)
}

/// The same of frames that come at these times, and are wanted or not.
fn look_at<'a>(
    tunnels: Tunnels,
    frames: impl IntoIterator<Item = (i64, &'a [u8], bool)>,
    captured: usize,
) -> Vec<(u32, Vec<u8>)> {
    let mut decoder = Decoder::new(KeyHasher::default()).with_tunnels(tunnels);
    let mut closed = ClosedTunnels::of(&decoder);
    let mut found = Vec::new();
    for (time, frame, is_picked) in frames {
        let wire_len = u32::try_from(frame.len()).unwrap();
        let bytes = &frame[..frame.len().min(captured)];
        let frame = Frame { bytes, wire_len, timestamp: Some(time), link: LinkType::ETHERNET };
        let mut packet = Packet::NONE;
        let payload = decoder.decode_to(&frame, &mut packet).unwrap();
        if !closed.may_be(&packet.key) {
            continue;
        }
        let (inside, bytes) = if packet.later_fragment {
            let Some(rest) = closed.rest(&packet, &frame, payload) else { continue };
            rest
        } else {
            let Some((_, bytes)) = closed.open(&packet, &frame, payload) else { continue };
            if !is_picked && !closed.is_wanted() {
                continue;
            }
            (closed.want(), bytes)
        };
        assert_eq!(inside.key.source_port(inside.direction), Some(40_000));
        assert_eq!((inside.timestamp, inside.ordinal), (Some(time), packet.ordinal));
        let is_whole = bytes.len() == inside.payload_bytes as usize;
        assert!(is_whole || captured < usize::MAX, "of what was captured all is there");
        found.push((inside.tcp.payload_sequence(), bytes.to_vec()));
    }
    found
}

#[test]
fn a_whole_packet_is_found_where_its_tunnel_is_closed() {
    let whole = datagram();
    let frames = [fragment(17, &whole, [0, whole.len()]), fragment(41, b"no IP", [0, 5])];
    let want = [(SEQUENCE, REQUEST.to_vec())];
    assert_eq!(look(Tunnels::Outer, &frames, usize::MAX), want);
    assert_eq!(look(Tunnels::Inner(TunnelPorts::default()), &frames, usize::MAX), []);
    let bare = inside();
    let frames = [fragment(4, &bare, [0, bare.len()])];
    assert_eq!(look(Tunnels::Outer, &frames, usize::MAX), want);
}

#[test]
fn what_fragments_have_of_a_segment_is_a_segment_each() {
    let whole = datagram();
    for tunnels in [Tunnels::Outer, Tunnels::Inner(TunnelPorts::default())] {
        for first in (64..whole.len()).step_by(8) {
            for second in (first..whole.len()).step_by(8).skip(1) {
                let cuts = [[0, first], [first, second], [second, whole.len()]];
                let frames = cuts.map(|cut| fragment(17, &whole, cut));
                let mut all = Vec::new();
                for (sequence, bytes) in look(tunnels, &frames, usize::MAX) {
                    assert_eq!(sequence as usize - SEQUENCE as usize, all.len(), "{cuts:?}");
                    all.extend(bytes);
                }
                assert_eq!(all, REQUEST, "{cuts:?}");
            }
        }
    }
}

#[test]
fn of_a_segment_that_was_not_captured_whole_there_is_no_rest() {
    let whole = datagram();
    let cuts = [[0, 80], [80, whole.len()]];
    let frames = cuts.map(|cut| fragment(17, &whole, cut));
    let captured = frames[0].len() - 6 - MORE;
    let found = look(Tunnels::Outer, &frames, captured);
    assert_eq!(found, [(SEQUENCE, REQUEST[..80 - 56 - MORE].to_vec())]);
    let swapped = [frames[1].clone(), frames[0].clone()];
    assert_eq!(look(Tunnels::Outer, &swapped, usize::MAX).len(), 1, "it comes too early");
}

#[test]
fn the_rest_is_of_the_same_datagram() {
    let whole = datagram();
    let [first, rest] = [[0, 80], [80, whole.len()]].map(|cut| fragment(17, &whole, cut));
    let mut other = whole.clone();
    // Another sequence number.
    other[8 + 8 + 20 + 7] ^= 1;
    let other = fragment(17, &other, [0, 80]);
    let late = i64::try_from(FRAGMENT_LIFE_NS).unwrap() + 1;
    let (first, rest, other) = (&first[..], &rest[..], &other[..]);
    let outer = Tunnels::Outer;
    let count =
        |frames: &[(i64, &[u8], bool)]| look_at(outer, frames.iter().copied(), usize::MAX).len();
    assert_eq!(count(&[(0, first, true), (0, rest, true)]), 2);
    assert_eq!(count(&[(0, first, false), (0, rest, true)]), 0, "it is not wanted");
    assert_eq!(count(&[(0, first, true), (0, other, false), (0, rest, true)]), 1, "of another");
    assert_eq!(count(&[(0, first, true), (late, rest, true)]), 1, "too late");
    assert_eq!(count(&[(0, first, true), (0, rest, true), (0, rest, true)]), 2, "it is whole");
    let again = {
        let mut frame = first.to_vec();
        // Another identification.
        frame[14 + 5] ^= 1;
        frame
    };
    let mut rest_again = rest.to_vec();
    rest_again[14 + 5] ^= 1;
    let frames = [(0, first, true), (0, &again[..], false), (0, &rest_again[..], true)];
    assert_eq!(count(&frames), 3, "it was sent again, as its rest was lost");
}

#[test]
fn the_same_in_two_tunnels_is_told_apart() {
    let inside = inside();
    let open = |tunnels: Tunnels, from: [u8; 4]| {
        let mut frame = fragment(4, &inside, [0, inside.len()]);
        frame[14 + 12..][..4].copy_from_slice(&from);
        let wire_len = u32::try_from(frame.len()).unwrap();
        let link = LinkType::ETHERNET;
        let frame = Frame { bytes: &frame, wire_len, timestamp: Some(0), link };
        let mut decoder = Decoder::new(KeyHasher::default());
        let mut packet = Packet::NONE;
        let payload = decoder.decode_to(&frame, &mut packet).unwrap();
        let mut closed = ClosedTunnels::of(&decoder.with_tunnels(tunnels));
        let (inside, _) = closed.open(&packet, &frame, payload).expect("a tunnel");
        inside.key
    };
    let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 3]];
    assert_eq!(open(Tunnels::Outer, one), open(Tunnels::Outer, one));
    assert_ne!(open(Tunnels::Outer, one), open(Tunnels::Outer, other));
    let opened = Tunnels::Inner(TunnelPorts::default());
    assert_eq!(open(opened, one), open(opened, other), "as it is where tunnels are opened");
}
