//! Ethernet frames, as they come and as they seldom come.

use flowtap::source::{Frame, LinkType};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

use super::ITEMS;
use super::names::message;

/// Ten million packets a second.
const GAP_NS: i64 = 100;

/// Flags of TCP (RFC 9293 section 3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A frame and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    pub(crate) timestamp: i64,
}

impl Captured {
    /// Padded to this length.
    fn sized(mut bytes: Vec<u8>, length: usize, number: usize) -> Self {
        assert!(bytes.len() <= length, "frames are padded, and not cut");
        bytes.resize(length, 0);
        Self { bytes, timestamp: timestamp(number) }
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame {
            bytes: &self.bytes,
            wire_len: u32::try_from(self.bytes.len()).expect("a frame is short"),
            timestamp: Some(self.timestamp),
            link: LinkType::ETHERNET,
        }
    }
}

fn timestamp(number: usize) -> i64 {
    i64::try_from(number).expect("few frames") * GAP_NS + 1
}

/// Frames of a thousand flows, of the lengths of the simple IMIX (7 : 4 : 1): of eight one is
/// IPv6 and one has a VLAN tag, half are TCP. The decoder reads all of them straight.
pub(crate) fn straight() -> Vec<Captured> {
    let mut random = SmallRng::seed_from_u64(1);
    let frame = |number| {
        let length = match random.random_range(0..12) {
            0..7 => 78,
            7..11 => 594,
            _ => 1_518,
        };
        let flow = random.random_range(0..1_000);
        let protocol = if flow % 2 == 0 { TCP } else { UDP };
        let data = transport(protocol, flow, length - 78);
        let bytes = match flow % 8 {
            0 => ethernet(&[], &ipv6(flow, protocol, &data)),
            1 => ethernet(&[7], &ipv4(flow, protocol, [0; 4], &[], &data)),
            _ => ethernet(&[], &ipv4(flow, protocol, [0; 4], &[], &data)),
        };
        Captured::sized(bytes, length, number)
    };
    (0..ITEMS).map(frame).collect()
}

/// Frames that the decoder leaves to its general path, an eighth each: three VLAN tags, and over
/// TCP; IPv6 with an extension header; the first fragment of a datagram, and a later one; ICMP
/// of both versions; IPv4 options.
pub(crate) fn general() -> Vec<Captured> {
    let frame = |number| {
        let (flow, datagram) = (number % 1_000, u16::try_from(number / 8).expect("few frames"));
        let [high, low] = datagram.to_be_bytes();
        let (tcp, udp) = (transport(TCP, flow, 20), transport(UDP, flow, 20));
        // Hop-by-hop options, of padding only (RFC 8200 section 4.3).
        let extended = [&[TCP, 0, 1, 4, 0, 0, 0, 0], tcp.as_slice()].concat();
        let bytes = match number % 8 {
            0 => ethernet(&[7, 9, 11], &ipv4(flow, UDP, [0; 4], &[], &udp)),
            1 => ethernet(&[7, 9, 11], &ipv4(flow, TCP, [0; 4], &[], &tcp)),
            2 => ethernet(&[], &ipv6(flow, 0, &extended)),
            3 => ethernet(&[], &ipv4(number - 3, UDP, [high, low, 0x20, 0], &[], &udp)),
            4 => ethernet(&[], &ipv4(number - 4, UDP, [high, low, 0, 4], &[], &[0; 32])),
            5 => ethernet(&[], &ipv4(flow, ICMP, [0; 4], &[], &[8, 0, 0, 0, high, low, 0, 1])),
            6 => ethernet(&[], &ipv6(flow, ICMPV6, &[128, 0, 0, 0, high, low, 0, 1])),
            // Four times "no operation" (RFC 791 section 3.1).
            _ => ethernet(&[], &ipv4(flow, TCP, [0; 4], &[1; 4], &tcp)),
        };
        Captured::sized(bytes, 110, number)
    };
    (0..ITEMS).map(frame).collect()
}

/// Sessions of TLS, under way together: of forty packets of each, two are of a look-up of its name,
/// and two shake hands.
pub(crate) fn web() -> Vec<Captured> {
    const PACKETS: usize = 40;
    let mut random = SmallRng::seed_from_u64(2);
    let mut all: Vec<_> = (0..ITEMS).map(|item| (item / PACKETS, item % PACKETS)).collect();
    // A session begins when the one before is at its fourth packet.
    all.sort_by_key(|(session, nth)| session * 3 + nth);
    let packet = |(number, (session, nth)): (usize, (usize, usize))| {
        let (at, [client, server]) = (timestamp(number), ends(session));
        let port = u16::try_from(20_000 + session).expect("few sessions").to_be_bytes();
        let (https, resolver, dns) = ([1, 187], [198, 51, 100, 53], [0, 53]);
        let mut data = |len: usize| (0..len).map(|_| random.random()).collect::<Vec<u8>>();
        let (from_client, flags, sequence, data) = match nth {
            0 => return datagram([client, resolver], [port, dns], &message(session, None), at),
            1 => {
                let answer = message(session, Some(server));
                return datagram([resolver, client], [dns, port], &answer, at);
            }
            2 => (true, SYN, 0, Vec::new()),
            3 => (false, SYN | ACK, 0, Vec::new()),
            4 => (true, ACK, 1, hello(1, &data(300))),
            5 => (false, ACK, 1, server_hello(session, &data(100))),
            39 => (true, FIN | ACK, 310, Vec::new()),
            // One acknowledges two.
            _ if nth % 3 == 2 => (true, ACK, 310, Vec::new()),
            _ => (false, ACK, 110 + 1_400 * (nth - 6 - (nth - 6) / 3), data(1_400)),
        };
        let (ends, ports) = match from_client {
            true => ([client, server], [port, https]),
            false => ([server, client], [https, port]),
        };
        let mut segment = ports.concat();
        segment.extend(u32::try_from(sequence).expect("few bytes").to_be_bytes());
        segment.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(data);
        let bytes = ethernet(&[], &ipv4_between(ends, TCP, [0; 4], &[], &segment));
        Captured { bytes, timestamp: at }
    };
    all.into_iter().enumerate().map(packet).collect()
}

/// A ServerHello of these bytes: in four sessions of five it is of TLS 1.3, which shows in its
/// cipher suite.
fn server_hello(session: usize, random: &[u8]) -> Vec<u8> {
    let cipher = if session.is_multiple_of(5) { [0xc0, 0x2f] } else { [0x13, 0x01] };
    let mut body = random.to_vec();
    // Behind the version and the random bytes, an identifier of 32 bytes; and two extensions.
    body[..2].copy_from_slice(&[3, 3]);
    body[34] = 32;
    body[67..72].copy_from_slice(&[cipher[0], cipher[1], 0, 0, 28]);
    body[72..76].copy_from_slice(&[0, 51, 0, 18]);
    body[94..].copy_from_slice(&[0, 43, 0, 2, 3, 4]);
    if cipher[0] != 0x13 {
        body[95] = 0xff;
    }
    hello(2, &body)
}

/// A record of TLS with one message of this type (RFC 8446 sections 4 and 5.1).
fn hello(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).expect("it is short").to_be_bytes();
    let ([a, b], [c, d]) = (length(body.len() + 4), length(body.len()));
    [&[22, 3, 3, a, b, kind, 0, c, d], body].concat()
}

/// One TCP frame of each of these flows, all of 60 bytes.
pub(crate) fn of_flows(flows: impl IntoIterator<Item = usize>) -> Vec<Captured> {
    let frame = |(number, flow)| {
        let packet = ipv4(flow, TCP, [0; 4], &[], &transport(TCP, flow, 0));
        Captured::sized(ethernet(&[], &packet), 60, number)
    };
    flows.into_iter().enumerate().map(frame).collect()
}

/// Some of these flows, each as likely as any other; or few most of the time.
pub(crate) fn some(flows: usize, is_zipf: bool) -> Vec<usize> {
    let mut random = SmallRng::seed_from_u64(1);
    if !is_zipf {
        return (0..ITEMS).map(|_| random.random_range(0..flows)).collect();
    }
    let zipf = Zipf::new(flows as f64, 1.1).expect("there are flows");
    let mut rank = || {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number, and small")]
        let rank = zipf.sample(&mut random) as usize - 1;
        // Neighbours in rank are not neighbours in memory.
        rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) % flows
    };
    (0..ITEMS).map(|_| rank()).collect()
}

/// An Ethernet header, VLAN tags, and an IP packet.
fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(packet);
    frame
}

/// Client and server of a flow: the one has a byte of its own in its port too.
fn ends(flow: usize) -> [[u8; 4]; 2] {
    let [a, b, c, ..] = flow.to_le_bytes();
    [[10, c, b, a], [192, 0, 2, a % 16]]
}

/// A UDP datagram over IPv4, from one address and port to the other, at a Unix time in
/// nanoseconds.
pub(crate) fn datagram(
    ends: [[u8; 4]; 2],
    ports: [[u8; 2]; 2],
    data: &[u8],
    timestamp: i64,
) -> Captured {
    let length = u16::try_from(8 + data.len()).expect("a datagram is short").to_be_bytes();
    let data = [&ports.concat(), &length[..], &[0, 0], data].concat();
    let bytes = ethernet(&[], &ipv4_between(ends, UDP, [0; 4], &[], &data));
    Captured { bytes, timestamp }
}

/// An IPv4 packet of a flow with `fragment` as the third and fourth field of 16 bits.
fn ipv4(flow: usize, protocol: u8, fragment: [u8; 4], options: &[u8], data: &[u8]) -> Vec<u8> {
    ipv4_between(ends(flow), protocol, fragment, options, data)
}

fn ipv4_between(
    [source, destination]: [[u8; 4]; 2],
    protocol: u8,
    fragment: [u8; 4],
    options: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).expect("few options");
    let total = u16::try_from(20 + options.len() + data.len()).expect("a packet is short");
    let mut packet = vec![0x40 | words, 0];
    packet.extend(total.to_be_bytes());
    packet.extend(fragment);
    packet.extend([64, protocol, 0, 0]);
    [&source, &destination, options, data].iter().for_each(|part| packet.extend(*part));
    packet
}

fn ipv6(flow: usize, next: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a packet is short");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next, 64]);
    for end in ends(flow) {
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend(end);
    }
    packet
}

/// A TCP or UDP header over so many bytes.
fn transport(protocol: u8, flow: usize, payload_bytes: usize) -> Vec<u8> {
    let [a, b, ..] = flow.to_le_bytes();
    let mut data = vec![4 + (b & 3), a, 1, 187];
    if protocol == TCP {
        // Sequence number, acknowledgement, 20 bytes of header, ACK.
        data.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        let length = u16::try_from(8 + payload_bytes).expect("a datagram is short");
        data.extend(length.to_be_bytes());
        data.extend([0, 0]);
    }
    data.resize(data.len() + payload_bytes, 0);
    data
}
