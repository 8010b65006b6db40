//! Arbitrary frames; and frames that etherparse built, against etherparse's own parser.
//! A failure prints its input, and proptest its seed.

use etherparse::{
    IpDscp, IpFragOffset, IpHeaders, Ipv4Extensions, Ipv4Header, Ipv4Options, Ipv6Extensions,
    Ipv6Header, PacketBuilder, VlanId, ip_number,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::second::agrees;
use super::{ethernet, udp4, udp6, v6};
use crate::decode::{Cause, Decoder, Macs, Packet, TcpHeader, TunnelPorts, Tunnels};
use crate::flow::{Direction, KeyHasher};
use crate::source::{Frame, LinkType};

fn decode(link: LinkType, bytes: &[u8], wire_len: usize) -> Result<Packet, Cause> {
    decode_with(Tunnels::Outer, link, bytes, wire_len)
}

fn decode_with(
    tunnels: Tunnels,
    link: LinkType,
    bytes: &[u8],
    wire_len: usize,
) -> Result<Packet, Cause> {
    let wire_len = u32::try_from(wire_len).unwrap();
    let frame = Frame { bytes, wire_len, timestamp: Some(0), link };
    Decoder::new(KeyHasher::default()).with_tunnels(tunnels).decode(&frame)
}

/// A packet with something in every field that can be left as it was.
fn written_over() -> Packet {
    Packet {
        hash: 1,
        direction: Direction::Reverse,
        timestamp: Some(1),
        tick: 1,
        ordinal: u64::MAX,
        interface: 1,
        bytes: 1,
        frame_bytes: 1,
        payload_bytes: 1,
        later_fragment: true,
        ttl: 1,
        dscp: 1,
        tcp: TcpHeader::new(1, 1, 1, 1),
        icmp: Some((1, 1)),
        macs: Macs::new([Some([1; 6]), None]),
        ..Packet::NONE
    }
}

fn tunnels() -> impl Strategy<Value = Tunnels> {
    // One of the frames' ports, one with the same lower byte as another of them, and the last one.
    let given = TunnelPorts::with_vxlan(&[80, 0x0101, u16::MAX]).unwrap();
    let inner = [TunnelPorts::default(), given].map(Tunnels::Inner);
    prop::sample::select(vec![Tunnels::Outer, inner[0], inner[1]])
}

fn link_type() -> impl Strategy<Value = LinkType> {
    let known = [
        0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 192, 204, 219, 226, 228, 229, 239,
        276,
    ]
    .map(LinkType);
    prop_oneof![9 => prop::sample::select(known.to_vec()), 1 => any::<u16>().prop_map(LinkType)]
}

/// Bytes that often get past the link layer.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let tags = vec![
        vec![],
        vec![0, 7, 0x08, 0],
        vec![0, 7, 0x81, 0, 0, 9, 0x86, 0xdd],
        vec![0, 0, 0x11, 64],
        vec![0x11, 0, 0, 1, 0, 9, 0, 0x21],
    ];
    let kinds = vec![0x0800, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8864, 40];
    let start = prop_oneof![
        vec(any::<u8>(), 0..24),
        (prop::sample::select(kinds), prop::sample::select(tags))
            .prop_map(|(kind, tags)| ethernet(kind, &tags)),
    ];
    let packet = prop_oneof![Just(udp4()), Just(udp6()), Just(vec![])];
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (start, packet, vec(any::<u8>(), 0..80), changes).prop_map(|(start, packet, rest, changes)| {
        let mut bytes = [start, packet, rest].concat();
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        bytes
    })
}

/// An Ethernet frame with an IP packet, built by etherparse.
fn built() -> impl Strategy<Value = Vec<u8>> {
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>(), 0usize..11, any::<u8>());
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u8>());
    let ip = prop_oneof![
        v4.prop_map(|(source, destination, words, ttl)| {
            let mut header = Ipv4Header::new(0, ttl, ip_number::UDP, source, destination).unwrap();
            header.dscp = IpDscp::try_new(ttl >> 2).unwrap();
            header.options = Ipv4Options::try_from(&vec![1; words * 4][..]).unwrap();
            header.fragment_offset = IpFragOffset::ZERO;
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        }),
        v6.prop_map(|(source, destination, hop_limit)| {
            let traffic_class = !hop_limit;
            let header = Ipv6Header {
                source,
                destination,
                hop_limit,
                traffic_class,
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(header, Ipv6Extensions::default())
        }),
    ];
    let vlans = vec(1u16..4096, 0..3);
    let transport = (0u8..4, any::<u16>(), any::<u16>(), any::<u32>(), any::<u16>());
    (vlans, ip, transport, vec(any::<u8>(), 0..60)).prop_map(|(vlans, ip, transport, payload)| {
        let vlan = |id: u16| VlanId::try_new(id).unwrap();
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let step = match vlans[..] {
            [] => link.ip(ip),
            [one] => link.single_vlan(vlan(one)).ip(ip),
            [one, two, ..] => link.double_vlan(vlan(one), vlan(two)).ip(ip),
        };
        let mut bytes = Vec::new();
        let (kind, source, destination, sequence, window) = transport;
        match kind {
            0 => step.udp(source, destination).write(&mut bytes, &payload),
            1 => step.tcp(source, destination, sequence, window).write(&mut bytes, &payload),
            2 => step
                .tcp(source, destination, sequence, window)
                .syn()
                .options_raw(&[1; 12])
                .unwrap()
                .write(&mut bytes, &payload),
            _ => step.icmpv4_echo_request(source, destination).write(&mut bytes, &payload),
        }
        .unwrap();
        bytes
    })
}

/// IPv6 extension headers in any order, whole and not, and fragments, before UDP or what is none.
fn chained() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![0u8, 43, 44, 51, 60, 135, 139, 140]);
    let last = prop::sample::select(vec![6u8, 17, 58, 59, 47, 132]);
    let headers = vec((kinds, 0u8..3, 0u8..4), 0..4);
    (headers, last, vec(any::<u8>(), 0..40)).prop_map(|(headers, last, payload)| {
        let nexts = headers.iter().skip(1).map(|(kind, ..)| *kind).chain([last]);
        let mut chain = Vec::new();
        for ((kind, len, low), next) in headers.iter().zip(nexts) {
            let bytes = match kind {
                44 => 8,
                51 => (usize::from(*len) + 2) * 4,
                _ => (usize::from(*len) + 1) * 8,
            };
            chain.extend([next, *len, 0, *low]);
            chain.resize(chain.len() + bytes - 4, 7);
        }
        let first = headers.first().map_or(last, |(kind, ..)| *kind);
        ethernet(0x86dd, &v6(first, &[chain, payload].concat()))
    })
}

/// A frame as most are, for the straight line.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    let kinds = (any::<bool>(), 0..3, 0u16..2, any::<bool>());
    (kinds, 0usize..30).prop_map(|((is_v6, tags, outer, is_tcp), payload)| {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let ip = if is_v6 {
            let header = Ipv6Header { source: [3; 16], hop_limit: 9, ..Ipv6Header::default() };
            IpHeaders::Ipv6(header, Ipv6Extensions::default())
        } else {
            let header = Ipv4Header::new(0, 9, ip_number::UDP, [10, 0, 0, 1], [10, 0, 0, 2]);
            IpHeaders::Ipv4(header.unwrap(), Ipv4Extensions::default())
        };
        // The outer one may say no VLAN.
        let [outer, inner] = [outer, 7].map(|id| VlanId::try_new(id).unwrap());
        let step = match tags {
            0 => link.ip(ip),
            1 => link.single_vlan(inner).ip(ip),
            _ => link.double_vlan(outer, inner).ip(ip),
        };
        let (mut bytes, payload) = (Vec::new(), vec![0; payload]);
        if is_tcp {
            step.tcp(80, 1_025, 7, 9).write(&mut bytes, &payload)
        } else {
            step.udp(53, 1_025).write(&mut bytes, &payload)
        }
        .unwrap();
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The straight line is only faster than the general path.
    #[test]
    fn the_general_path_agrees(
        frame in prop_oneof![4 => plain(), 1 => built(), 1 => bytes()],
        flips in vec((0usize..60, 0u32..8), 0..3), padding in 0usize..40,
        cut in any::<prop::sample::Index>(), tunnels in tunnels(),
    ) {
        let mut frame = [frame, vec![0; padding]].concat();
        let len = frame.len();
        flips.iter().filter(|(at, _)| *at < len).for_each(|(at, bit)| frame[*at] ^= 1 << bit);
        // With IPv4 in it: a later fragment, which goes where the first one did.
        let mut later = frame.clone();
        later.get_mut(21).into_iter().for_each(|offset| *offset = 1);
        let one = Decoder::new(KeyHasher::default()).with_tunnels(tunnels);
        let (mut straight, mut general) = (one.for_queue(0), one);
        for bytes in [&frame[..], &later, &frame[..cut.index(len + 1)]] {
            let wire_len = u32::try_from(len).unwrap();
            let frame = Frame { bytes, wire_len, timestamp: Some(0), link: LinkType::ETHERNET };
            let mut packet = Packet::NONE;
            let want = general.decode_general(&frame, &mut packet).map(|payload| (packet, payload));
            let mut packet = written_over();
            let got = straight.decode_to(&frame, &mut packet).map(|payload| (packet, payload));
            prop_assert_eq!(got, want);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_are_a_packet_or_a_cause(
        link in link_type(), bytes in bytes(), more in 0usize..100_000, tunnels in tunnels(),
    ) {
        if let Ok(packet) = decode_with(tunnels, link, &bytes, bytes.len() + more) {
            prop_assert!(packet.payload_bytes <= packet.bytes, "{packet:?}");
            prop_assert!(packet.bytes >= 20, "{packet:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_second_decoder_agrees(
        frame in prop_oneof![2 => built(), 1 => plain(), 2 => chained(), 1 => bytes()],
        flips in vec((0usize..80, 0u32..8), 0..3), padding in 0usize..20,
        cut in any::<prop::sample::Index>(), is_cut: bool,
    ) {
        let mut frame = [frame, vec![0; padding]].concat();
        let len = frame.len();
        flips.iter().filter(|(at, _)| *at < len).for_each(|(at, bit)| frame[*at] ^= 1 << bit);
        frame.truncate(if is_cut { cut.index(len + 1) } else { len });
        let ours = decode(LinkType::ETHERNET, &frame, len);
        if let Err(difference) = agrees(&frame, &ours) {
            return Err(TestCaseError::fail(format!("{difference}: {frame:02x?}")));
        }
    }
}
