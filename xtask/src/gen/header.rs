//! The headers of a packet that goes one way between the ends of a flow, and their checksums.
//! Called by [`super::frame`] only, which puts them in order.

use std::net::IpAddr;

use super::checksum::Sum;
use super::flow::{Body, Ends, ICMP, Options, Packet, Segment, Tags, UDP};

/// One direction of a flow.
pub(super) struct Way {
    from: IpAddr,
    to: IpAddr,
    from_mac: [u8; 6],
    to_mac: [u8; 6],
    from_port: u16,
    to_port: u16,
    ttl: u8,
}

impl Way {
    pub(super) fn new(ends: &Ends, from_client: bool) -> Self {
        let (client, server) = (ends.client, ends.server);
        let way = Self {
            from: client.ip(ends.ipv6),
            to: server.ip(ends.ipv6),
            from_mac: client.mac(),
            to_mac: server.mac(),
            from_port: ends.client_port,
            to_port: ends.server_port,
            ttl: 64 - (client.number % 3) as u8,
        };
        if from_client {
            return way;
        }
        Self {
            from: way.to,
            to: way.from,
            from_mac: way.to_mac,
            to_mac: way.from_mac,
            from_port: way.to_port,
            to_port: way.from_port,
            ttl: 59 - (server.number % 11) as u8,
        }
    }

    pub(super) fn ports(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.from_port.to_be_bytes(), self.to_port.to_be_bytes());
        [a, b, c, d]
    }

    pub(super) fn write_ethernet(&self, frame: &mut Vec<u8>, ends: &Ends) {
        frame.extend_from_slice(&self.to_mac);
        frame.extend_from_slice(&self.from_mac);
        let tags = match ends.tags {
            Tags::None => [None, None],
            Tags::Vlan(id) => [Some((0x8100u16, id)), None],
            Tags::Qinq(outer, inner) => [Some((0x88a8, outer)), Some((0x8100, inner))],
        };
        for (ether_type, id) in tags.into_iter().flatten() {
            frame.extend_from_slice(&ether_type.to_be_bytes());
            frame.extend_from_slice(&id.to_be_bytes());
        }
        let ether_type = if ends.ipv6 { 0x86dd_u16 } else { 0x0800 };
        frame.extend_from_slice(&ether_type.to_be_bytes());
    }

    /// The IP header; its lengths and checksum are still to be finished.
    pub(super) fn write_ip_header(
        &self,
        frame: &mut Vec<u8>,
        ends: &Ends,
        packet: &Packet,
        index: u16,
    ) {
        let part = match &packet.body {
            Body::Fragment(part) => Some(part),
            _ => None,
        };
        // A few servers are served first.
        let dscp: u8 = if ends.server.number.is_multiple_of(16) { 46 } else { 0 };
        match (self.from, self.to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                // Servers reflect the flow label (RFC 7690), so both ways hash alike.
                let label = u32::from(ends.client_port) * u32::from(ends.client.number % 2) * 13;
                let first = (6 << 28) | (u32::from(dscp) << 22) | (label & 0xf_ffff);
                let next = if part.is_some() { 44 } else { ends.protocol };
                frame.extend_from_slice(&first.to_be_bytes());
                frame.extend_from_slice(&[0, 0, next, self.ttl]);
                frame.extend_from_slice(&from.octets());
                frame.extend_from_slice(&to.octets());
                if let Some(part) = part {
                    frame.extend_from_slice(&[ends.protocol, 0]);
                    frame.extend_from_slice(&(part.offset | u16::from(part.more())).to_be_bytes());
                    frame.extend_from_slice(&part.id.to_be_bytes());
                }
            }
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (id, fragment) = match part {
                    Some(part) => {
                        let more = if part.more() { 0x2000 } else { 0 };
                        ((part.id & 0xffff) as u16, more | (part.offset / 8))
                    }
                    None => (ends.client_port.wrapping_mul(31).wrapping_add(index), 0x4000),
                };
                frame.extend_from_slice(&[0x45, dscp << 2, 0, 0]);
                frame.extend_from_slice(&id.to_be_bytes());
                frame.extend_from_slice(&fragment.to_be_bytes());
                frame.extend_from_slice(&[self.ttl, ends.protocol, 0, 0]);
                frame.extend_from_slice(&from.octets());
                frame.extend_from_slice(&to.octets());
            }
            _ => unreachable!("both ends of a flow have the same IP version"),
        }
    }

    pub(super) fn pseudo_header(&self, len: u32, protocol: u8) -> Sum {
        let sum = match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Sum::default().add(&from.octets()).add(&to.octets())
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Sum::default().add(&from.octets()).add(&to.octets())
            }
            _ => unreachable!("both ends of a flow have the same IP version"),
        };
        sum.add(&len.to_be_bytes()).add_number(protocol.into())
    }

    /// Writes the checksum over `transport` at `at`; ICMP has no pseudo header.
    pub(super) fn finish_checksum(&self, transport: &mut [u8], at: usize, protocol: u8) {
        let sum = if protocol == ICMP {
            Sum::default()
        } else {
            self.pseudo_header(u32::try_from(transport.len()).expect("a packet"), protocol)
        };
        let checksum = sum.add(transport).finish();
        let checksum = if protocol == UDP { not_zero(checksum) } else { checksum };
        transport[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Zero means "no checksum" in UDP.
pub(super) fn not_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

pub(super) fn write_udp_header(frame: &mut Vec<u8>, way: &Way, payload_len: u16) {
    frame.extend_from_slice(&way.ports());
    frame.extend_from_slice(&(payload_len + 8).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
}

pub(super) fn write_tcp_header(frame: &mut Vec<u8>, way: &Way, segment: &Segment) {
    let at = frame.len();
    frame.extend_from_slice(&way.ports());
    frame.extend_from_slice(&segment.sequence.to_be_bytes());
    frame.extend_from_slice(&segment.acknowledged.to_be_bytes());
    frame.extend_from_slice(&[0, segment.flags]);
    frame.extend_from_slice(&segment.window.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    match segment.options {
        Options::None => {}
        Options::Syn { mss, stamps } => {
            frame.extend_from_slice(&[2, 4]);
            frame.extend_from_slice(&mss.to_be_bytes());
            frame.extend_from_slice(if stamps.is_some() { &[4, 2] } else { &[1, 1, 4, 2] });
            if let Some((value, echo)) = stamps {
                write_stamps(frame, value, echo);
            }
            frame.extend_from_slice(&[1, 3, 3, 7]);
        }
        Options::Stamps(value, echo) => {
            frame.extend_from_slice(&[1, 1]);
            write_stamps(frame, value, echo);
        }
    }
    let words = (frame.len() - at) / 4;
    frame[at + 12] = u8::try_from(words << 4).expect("at most 15 words");
}

fn write_stamps(frame: &mut Vec<u8>, value: u32, echo: u32) {
    frame.extend_from_slice(&[8, 10]);
    frame.extend_from_slice(&value.to_be_bytes());
    frame.extend_from_slice(&echo.to_be_bytes());
}

/// Writes the length (and for IPv4 the checksum) of the packet that is all of `ip`.
pub(super) fn finish_lengths(ip: &mut [u8], ipv6: bool) {
    let len = u16::try_from(ip.len()).expect("a packet fits the MTU");
    if ipv6 {
        ip[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    } else {
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        let checksum = Sum::default().add(&ip[..20]).finish();
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}
