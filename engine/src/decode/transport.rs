//! What stands above IP: ports, TCP header, ICMP type and identifier, payload length.

use std::hint::select_unpredictable;

use crate::decode::fragments::Ports;
use crate::decode::ip::IpHeader;
use crate::decode::{Cause, TcpHeader, be16, be32};
use crate::flow::{PortKind, protocol};

/// What a transport header said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) ports: Ports,
    pub(crate) payload_bytes: u32,
    pub(crate) tcp: TcpHeader,
    pub(crate) icmp: Option<(u8, u8)>,
}

pub(super) const UDP_BYTES: u32 = 8;
/// Without options.
pub(super) const TCP_BYTES: u32 = 20;

/// What TCP's or UDP's header said.
pub(super) struct Usual {
    /// Source and destination.
    pub(super) ports: [u16; 2],
    pub(super) payload_bytes: u32,
    pub(super) tcp: TcpHeader,
}

/// Reads TCP's or UDP's header, which begins with these bytes, `above_ip` on the wire.
///
/// Which of the two it is does not decide where it goes on: of mixed traffic that could not be
/// foretold.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two halves are meant")]
pub(super) fn usual(bytes: &[u8; TCP_BYTES as usize], is_tcp: bool, above_ip: u32) -> Usual {
    let [a, b, c, d, rest @ .., _, _, _, _] = bytes;
    let ports = u32::from_be_bytes([*a, *b, *c, *d]);
    let header_bytes = select_unpredictable(is_tcp, u32::from(bytes[12] >> 4) * 4, UDP_BYTES);
    Usual {
        ports: [(ports >> 16) as u16, ports as u16],
        payload_bytes: above_ip.saturating_sub(header_bytes),
        tcp: TcpHeader::read(rest, is_tcp),
    }
}

/// Reads the transport header behind `header`, as far as it was captured.
///
/// # Errors
/// [`Cause::L4Short`] if the protocol has ports and they were not captured.
#[inline(always)]
pub(crate) fn parse(frame: &[u8], header: &IpHeader) -> Result<Segment, Cause> {
    let above_ip = header.length.saturating_sub(header.header_bytes);
    let mut segment =
        Segment { ports: Ports::NONE, payload_bytes: above_ip, tcp: TcpHeader::NONE, icmp: None };
    if header.is_later_fragment() {
        return Ok(segment);
    }
    // Padding behind the IP packet is not part of it.
    let end = frame.len().min(header.offset.saturating_add(header.length as usize));
    let bytes = frame.get(header.end()..end).unwrap_or_default();

    let is_tcp = header.protocol == protocol::TCP;
    if is_tcp | (header.protocol == protocol::UDP)
        && let Some(bytes) = bytes.first_chunk()
    {
        let Usual { ports: [source, destination], payload_bytes, tcp } =
            usual(bytes, is_tcp, above_ip);
        let ports = Ports { kind: PortKind::Ports, source, destination };
        return Ok(Segment { ports, payload_bytes, tcp, icmp: None });
    }
    match header.protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            segment.icmp = bytes.first_chunk().map(|&[kind, code]| (kind, code));
            segment.ports = icmp_ports(header.protocol, bytes);
            segment.payload_bytes =
                above_ip.saturating_sub(transport_header_bytes(header.protocol, bytes));
        }
        protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP | protocol::SCTP => {
            let (source, destination) = be16(bytes, 0).zip(be16(bytes, 2)).ok_or(Cause::L4Short)?;
            segment.ports = Ports { kind: PortKind::Ports, source, destination };
            segment.payload_bytes =
                above_ip.saturating_sub(transport_header_bytes(header.protocol, bytes));
            if is_tcp {
                segment.tcp = tcp_header(bytes).unwrap_or(TcpHeader::NONE);
            }
        }
        _ => {}
    }
    Ok(segment)
}

/// What counts of a TCP header (RFC 9293 section 3.1), if it was captured up to its flags.
fn tcp_header(bytes: &[u8]) -> Option<TcpHeader> {
    let window = be16(bytes, 14).unwrap_or(u16::MAX);
    Some(TcpHeader::new(*bytes.get(13)?, be32(bytes, 4)?, be32(bytes, 8)?, window))
}

/// The length of the header in bytes; 0 where the byte that says it was not captured.
fn transport_header_bytes(protocol: u8, bytes: &[u8]) -> u32 {
    let words = |at: usize| bytes.get(at).map_or(0, |&byte| u32::from(byte));
    match protocol {
        protocol::TCP => (words(12) >> 4) * 4,
        // ICMP: type, code, checksum, and four bytes that belong to the type.
        protocol::UDP | protocol::UDP_LITE | protocol::ICMP | protocol::ICMPV6 => 8,
        protocol::DCCP => words(4) * 4,
        protocol::SCTP => 12,
        _ => 0,
    }
}

/// The identifier that a query and its reply share, if the message has one.
fn icmp_ports(protocol: u8, bytes: &[u8]) -> Ports {
    let has_identifier = match (protocol, bytes.first()) {
        // Echo, timestamp (RFC 792), information and address mask (RFC 950).
        (protocol::ICMP, Some(kind)) => matches!(kind, 0 | 8 | 13..=18),
        (protocol::ICMPV6, Some(kind)) => matches!(kind, 128 | 129),
        _ => false,
    };
    match be16(bytes, 4) {
        Some(identifier) if has_identifier => {
            Ports { kind: PortKind::IcmpId, source: identifier, destination: identifier }
        }
        _ => Ports::NONE,
    }
}
