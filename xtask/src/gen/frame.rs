//! Turns a packet of a flow into the bytes of an Ethernet frame, every length and checksum right,
//! and says what it wrote for the truth. Refuses nothing: makers of flows keep to the MTU.

use super::checksum::crc32c;
use super::flow::{Body, Ends, Fragment, Packet, UDP};
use super::header::{Way, finish_lengths, not_zero, write_tcp_header, write_udp_header};
use super::rng::Rng;

/// The shortest frame, without its check sequence.
const MIN_FRAME_LEN: usize = 60;
/// Payload starts at any of so many places of the filler.
const FILLER_STARTS: usize = 0x8000;

/// What a frame adds to its flow.
#[derive(Clone, Copy, Default)]
pub(crate) struct Facts {
    /// IP length; 0 if not IP.
    pub(crate) ip_bytes: u64,
    /// Above the transport header (TCP, UDP: theirs; ICMP echo: 8 bytes; SCTP: 12 bytes).
    pub(crate) payload_bytes: u64,
    /// Fragments but the first of a datagram.
    pub(crate) later_fragments: u64,
    pub(crate) tcp_flags: u8,
}

/// Writes frames; holds the bytes of which payload is made.
pub(crate) struct Framer {
    filler: Vec<u8>,
}

impl Framer {
    /// A framer whose payload bytes depend on `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, u64::MAX);
        let longest = FILLER_STARTS + usize::from(u16::MAX);
        Self { filler: (0..longest.div_ceil(8)).flat_map(|_| rng.bits().to_le_bytes()).collect() }
    }

    /// Replaces `frame` by `packet`, the packet number `index` of a flow between `ends`.
    pub(crate) fn write(
        &self,
        frame: &mut Vec<u8>,
        ends: &Ends,
        packet: &Packet,
        index: u16,
    ) -> Facts {
        frame.clear();
        let facts = match &packet.body {
            Body::Other { to, ether_type, payload } => {
                let from = if packet.from_client { ends.client } else { ends.server };
                frame.extend_from_slice(to);
                frame.extend_from_slice(&from.mac());
                frame.extend_from_slice(&ether_type.to_be_bytes());
                frame.extend_from_slice(payload);
                Facts::default()
            }
            _ => self.write_ip(frame, ends, packet, index),
        };
        if frame.len() < MIN_FRAME_LEN {
            frame.resize(MIN_FRAME_LEN, 0);
        }
        facts
    }

    fn write_ip(&self, frame: &mut Vec<u8>, ends: &Ends, packet: &Packet, index: u16) -> Facts {
        let way = Way::new(ends, packet.from_client);
        way.write_ethernet(frame, ends);
        let ip_at = frame.len();
        way.write_ip_header(frame, ends, packet, index);
        let transport_at = frame.len();
        let mut facts = self.write_transport(frame, &way, ends, packet, index);
        finish_lengths(&mut frame[ip_at..], ends.ipv6);
        facts.ip_bytes = (frame.len() - ip_at) as u64;
        let header_len = match &packet.body {
            Body::Tcp(_) | Body::Opening { .. } => usize::from(frame[transport_at + 12] >> 4) * 4,
            Body::Fragment(part) if part.offset > 0 => 0,
            Body::Sctp { .. } => 12,
            _ => 8,
        };
        facts.payload_bytes = (frame.len() - transport_at - header_len) as u64;
        facts
    }

    /// Writes everything above IP, with its checksum.
    fn write_transport(
        &self,
        frame: &mut Vec<u8>,
        way: &Way,
        ends: &Ends,
        packet: &Packet,
        index: u16,
    ) -> Facts {
        let at = frame.len();
        let mut facts = Facts::default();
        match &packet.body {
            Body::Tcp(segment) => {
                write_tcp_header(frame, way, segment);
                frame.extend_from_slice(self.filler(segment.sequence, segment.len));
                way.finish_checksum(&mut frame[at..], 16, ends.protocol);
                facts.tcp_flags = segment.flags;
            }
            Body::Opening { segment, head } => {
                write_tcp_header(frame, way, segment);
                frame.extend_from_slice(head);
                let rest = usize::from(segment.len) - head.len();
                frame.extend_from_slice(&self.filler(segment.sequence, segment.len)[..rest]);
                way.finish_checksum(&mut frame[at..], 16, ends.protocol);
                facts.tcp_flags = segment.flags;
            }
            Body::Udp { len } => {
                write_udp_header(frame, way, *len);
                frame.extend_from_slice(self.filler(index.into(), *len));
                way.finish_checksum(&mut frame[at..], 6, UDP);
            }
            Body::Message(bytes) => {
                let len = u16::try_from(bytes.len()).expect("a message fits a packet");
                write_udp_header(frame, way, len);
                frame.extend_from_slice(bytes);
                way.finish_checksum(&mut frame[at..], 6, UDP);
            }
            Body::Fragment(part) => {
                self.write_fragment(frame, way, part);
                facts.later_fragments = u64::from(part.offset > 0);
            }
            Body::Echo { request, sequence, len } => {
                let kind = match (ends.ipv6, request) {
                    (false, true) => 8,
                    (false, false) => 0,
                    (true, true) => 128,
                    (true, false) => 129,
                };
                frame.extend_from_slice(&[kind, 0, 0, 0]);
                frame.extend_from_slice(&ends.client_port.to_be_bytes());
                frame.extend_from_slice(&sequence.to_be_bytes());
                frame.extend_from_slice(self.filler((*sequence).into(), *len));
                way.finish_checksum(&mut frame[at..], 2, ends.protocol);
            }
            Body::Sctp { tag, chunks } => {
                frame.extend_from_slice(&way.ports());
                frame.extend_from_slice(&tag.to_be_bytes());
                frame.extend_from_slice(&[0; 4]);
                frame.extend_from_slice(chunks);
                let crc = crc32c(&frame[at..]);
                frame[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
            }
            Body::Other { .. } => unreachable!("frames without IP have no transport"),
        }
        facts
    }

    fn write_fragment(&self, frame: &mut Vec<u8>, way: &Way, part: &Fragment) {
        let payload = self.filler(part.id, part.datagram_len);
        let from = usize::from(part.offset);
        let to = from + usize::from(part.len);
        if from > 0 {
            frame.extend_from_slice(&payload[from - 8..to - 8]);
            return;
        }
        let at = frame.len();
        write_udp_header(frame, way, part.datagram_len);
        // The checksum is over the whole datagram, of which this part has the beginning.
        let sum = way.pseudo_header(u32::from(part.datagram_len) + 8, UDP);
        let checksum = sum.add(&frame[at..]).add(payload).finish();
        frame[at + 6..at + 8].copy_from_slice(&not_zero(checksum).to_be_bytes());
        frame.extend_from_slice(&payload[..to - 8]);
    }

    /// `len` bytes; the same ones for the same `start`, so that a repeated segment is repeated.
    fn filler(&self, start: u32, len: u16) -> &[u8] {
        let start = start as usize % FILLER_STARTS;
        &self.filler[start..start + usize::from(len)]
    }
}
