//! Flows without connections: UDP, DNS, NTP, fragmented UDP, ICMP echo.
//! Each maker gives exactly the number of packets asked for. Called by [`super::mix`].

use super::dns;
use super::flow::{Body, Ends, Fragment, Packet};
use super::host::Host;
use super::number::low16;
use super::rng::Rng;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_EPOCH_OFFSET: u64 = 2_208_988_800;

/// A list of packets with a clock.
struct Talk<'a> {
    rng: &'a mut Rng,
    packets: Vec<Packet>,
    now_ns: u64,
}

impl<'a> Talk<'a> {
    fn new(rng: &'a mut Rng) -> Self {
        Self { rng, packets: vec![], now_ns: 0 }
    }

    fn send(&mut self, from_client: bool, body: Body) {
        self.packets.push(Packet { at_ns: self.now_ns, from_client, body });
    }

    fn wait_us(&mut self, low: u64, high: u64) {
        self.now_ns += self.rng.between(low, high) * MICROSECOND;
    }
}

/// Requests, each with one to three answers.
pub(crate) fn udp(ends: &Ends, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let max_len = ends.tags.mtu() - if ends.ipv6 { 48 } else { 28 };
    let mut talk = Talk::new(rng);
    let mut answers_left = 0;
    for _ in 0..count {
        if answers_left == 0 {
            let len = talk.rng.length(0, 300);
            talk.send(true, Body::Udp { len });
            answers_left = talk.rng.between(1, 3);
            talk.wait_us(1_000, 40_000);
        } else {
            let len = talk.rng.length(1, max_len);
            talk.send(false, Body::Udp { len });
            answers_left -= 1;
            let pause_us = if answers_left == 0 { 20_000 } else { 100 };
            talk.wait_us(20, pause_us);
        }
    }
    talk.packets
}

/// A question about `about` and its answer; with four packets about both its addresses.
pub(crate) fn dns(about: Host, ipv6: bool, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(rng);
    let ttl = 60 * u32::from(talk.rng.length(1, 60));
    let kinds = if count < 4 { vec![ipv6] } else { vec![false, true] };
    let questions: Vec<_> = kinds.iter().map(|&kind| (talk.rng.half_word(), kind)).collect();
    for &(id, kind) in &questions {
        talk.send(true, Body::Message(dns::query(id, about, kind).into()));
        talk.wait_us(10, 60);
    }
    talk.wait_us(500, 15_000);
    for (id, kind) in questions {
        talk.send(false, Body::Message(dns::answer(id, about, kind, ttl).into()));
        talk.wait_us(10, 500);
    }
    talk.packets
}

/// NTP (RFC 5905): requests and answers, by turns. `start_ns` is Unix time.
pub(crate) fn ntp(start_ns: u64, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(rng);
    let mut origin = [0; 8];
    for turn in 0..count {
        let now = ntp_time(start_ns + talk.now_ns);
        let mut message = vec![0; 48];
        if turn % 2 == 0 {
            message[0] = 0x23; // Version 4, client.
            origin = now;
            message[40..48].copy_from_slice(&now);
        } else {
            // Version 4, server; stratum 2, poll 2^6 s, precision 2^-20 s.
            message[..4].copy_from_slice(&[0x24, 2, 6, 0xec]);
            message[12..16].copy_from_slice(&[10, 2, 0, 1]);
            message[16..24].copy_from_slice(&ntp_time(start_ns));
            message[24..32].copy_from_slice(&origin);
            message[32..40].copy_from_slice(&now);
            message[40..48].copy_from_slice(&now);
        }
        talk.send(turn % 2 == 0, Body::Message(message.into()));
        talk.wait_us(1_000, if turn % 2 == 0 { 30_000 } else { 900_000 });
    }
    talk.packets
}

fn ntp_time(unix_ns: u64) -> [u8; 8] {
    let seconds = unix_ns / 1_000_000_000 + NTP_EPOCH_OFFSET;
    let fraction = ((unix_ns % 1_000_000_000) << 32) / 1_000_000_000;
    ((seconds << 32) | fraction).to_be_bytes()
}

/// Echo requests and replies, by turns.
pub(crate) fn echo(count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(rng);
    let len = talk.rng.one_of(&[8, 56, 56, 56, 1_400]);
    for turn in 0..count {
        let request = turn % 2 == 0;
        let sequence = low16(turn / 2);
        talk.send(request, Body::Echo { request, sequence, len });
        talk.wait_us(500, if request { 30_000 } else { 500_000 });
    }
    talk.packets
}

/// How many parts of a datagram there are in a flow made by [`fragmented`].
pub(crate) fn fragment_counts(rng: &mut Rng) -> u64 {
    rng.between(2, 6)
}

/// A small request, and an answer so large that it comes in `count - 1` parts (two or more).
pub(crate) fn fragmented(ends: &Ends, count: u64, rng: &mut Rng) -> Vec<Packet> {
    // What fits behind the IP header (and the fragment header), in units of 8 bytes.
    let part_len = (ends.tags.mtu() - if ends.ipv6 { 48 } else { 20 }) / 8 * 8;
    let mut talk = Talk::new(rng);
    talk.send(true, Body::Udp { len: 80 });
    talk.wait_us(1_000, 30_000);
    // RFC 6864: an identifier is used once; each flow sends one fragmented datagram, and the
    // client's port makes it differ from those of the same two hosts.
    let id = u32::from(ends.client_port) | (talk.rng.word() << 16);
    let parts = u16::try_from(count.saturating_sub(1).clamp(2, 40)).expect("at most 40");
    let last_len = talk.rng.length(1, part_len);
    let datagram_len = (parts - 1) * part_len + last_len - 8;
    for part in 0..parts {
        let len = if part + 1 == parts { last_len } else { part_len };
        let offset = part * part_len;
        talk.send(false, Body::Fragment(Fragment { id, datagram_len, offset, len }));
        talk.wait_us(12, 60);
    }
    talk.packets
}

/// An SCTP association (RFC 9260): set-up, data and acknowledgements by turns, shutdown.
/// At least [`SCTP_MIN_PACKETS`].
pub(crate) fn sctp(count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(rng);
    let (client_tag, server_tag) = (talk.rng.word() | 1, talk.rng.word() | 1);
    let (client_tsn, server_tsn) = (talk.rng.word(), talk.rng.word());
    let init = |tag: u32, tsn: u32| {
        let mut body = tag.to_be_bytes().to_vec();
        body.extend_from_slice(&[0, 1, 0, 0, 0, 10, 0, 10]); // 64 KiB window, 10 streams each way.
        body.extend_from_slice(&tsn.to_be_bytes());
        body
    };
    let cookie = [0x5a; 32];
    let mut init_ack = init(server_tag, server_tsn);
    init_ack.extend_from_slice(&[0, 7, 0, 36]);
    init_ack.extend_from_slice(&cookie);
    let mut tell = |from_client: bool, tag: u32, kind: u8, flags: u8, body: &[u8]| {
        let chunks = sctp_chunk(kind, flags, body).into();
        talk.send(from_client, Body::Sctp { tag, chunks });
        talk.wait_us(1_000, 20_000);
    };
    tell(true, 0, 1, 0, &init(client_tag, client_tsn));
    tell(false, client_tag, 2, 0, &init_ack);
    tell(true, server_tag, 10, 0, &cookie);
    tell(false, client_tag, 11, 0, &[]);
    let mut tsn = client_tsn;
    for turn in 0..count.saturating_sub(SCTP_MIN_PACKETS) {
        if turn % 2 == 0 {
            let mut body = tsn.to_be_bytes().to_vec();
            let [high, low] = low16(turn / 2).to_be_bytes();
            body.extend_from_slice(&[0, 0, high, low, 0, 0, 0, 5]);
            body.extend_from_slice(&[0x42; 100]);
            tell(true, server_tag, 0, 3, &body);
        } else {
            tell(false, client_tag, 3, 0, &sctp_sack(tsn));
            tsn = tsn.wrapping_add(1);
        }
    }
    tell(true, server_tag, 7, 0, &server_tsn.wrapping_sub(1).to_be_bytes());
    tell(false, client_tag, 8, 0, &[]);
    tell(true, server_tag, 14, 0, &[]);
    talk.packets
}

/// Four packets of set-up and three of shutdown.
pub(crate) const SCTP_MIN_PACKETS: u64 = 7;

fn sctp_sack(tsn: u32) -> Vec<u8> {
    let mut body = tsn.to_be_bytes().to_vec();
    body.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    body
}

fn sctp_chunk(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len() + 4).expect("a short chunk");
    let mut chunk = vec![kind, flags];
    chunk.extend_from_slice(&len.to_be_bytes());
    chunk.extend_from_slice(body);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// `count` ARP frames: who has the server's address, and its answer, by turns.
pub(crate) fn arp(ends: &Ends, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(rng);
    let (client, server) = (ends.client, ends.server);
    for turn in 0..count {
        let request = turn % 2 == 0;
        let (from, to) = if request { (client, server) } else { (server, client) };
        let mut payload = vec![0, 1, 8, 0, 6, 4, 0, if request { 1 } else { 2 }];
        payload.extend_from_slice(&from.mac());
        payload.extend_from_slice(&from.ipv4().octets());
        payload.extend_from_slice(&if request { [0; 6] } else { to.mac() });
        payload.extend_from_slice(&to.ipv4().octets());
        let destination = if request { [0xff; 6] } else { to.mac() };
        let payload = payload.into();
        talk.send(request, Body::Other { to: destination, ether_type: 0x0806, payload });
        talk.wait_us(50, 500);
    }
    talk.packets
}

/// `count` LLDP frames (IEEE 802.1AB) of one switch.
pub(crate) fn lldp(ends: &Ends, count: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut talk = Talk::new(rng);
    let mut payload = vec![0x02, 7, 4];
    payload.extend_from_slice(&ends.server.mac());
    payload.extend_from_slice(&[0x04, 4, 5, b'g', b'e', b'1']);
    payload.extend_from_slice(&[0x06, 2, 0, 120]);
    payload.extend_from_slice(&[0x0a, 8]);
    payload.extend_from_slice(b"switch-b");
    payload.extend_from_slice(&[0, 0]);
    for _ in 0..count {
        let to = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
        let payload = payload.clone().into();
        talk.send(false, Body::Other { to, ether_type: 0x88cc, payload });
        talk.now_ns += 1_000 * MILLISECOND;
    }
    talk.packets
}
