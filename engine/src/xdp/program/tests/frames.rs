//! Frames made by hand, header by header, for programs that look at every byte.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
pub(super) const MPLS: u16 = 0x8847;
pub(super) const PPPOE: u16 = 0x8864;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;

/// Ethernet, with tags by their EtherType.
pub(super) fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet whose fragment offset is `offset` times 8, with so many words of options.
pub(super) fn ipv4_of(
    ends: [&str; 2],
    protocol: u8,
    offset: u16,
    options: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0; 20 + 4 * usize::from(options)];
    packet[0] = 0x45 + options;
    packet[6..8].copy_from_slice(&offset.to_be_bytes());
    packet[9] = protocol;
    for (at, end) in [12, 16].into_iter().zip(ends) {
        packet[at..at + 4].copy_from_slice(&end.parse::<Ipv4Addr>().unwrap().octets());
    }
    packet.extend(payload);
    packet
}

pub(super) fn ipv4(ends: [&str; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_of(ends, protocol, 0, 0, payload)
}

pub(super) fn ipv6(ends: [&str; 2], next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[6] = next;
    for (at, end) in [8, 24].into_iter().zip(ends) {
        packet[at..at + 16].copy_from_slice(&end.parse::<Ipv6Addr>().unwrap().octets());
    }
    packet.extend(payload);
    packet
}

/// An extension header of so many bytes, by the rule that its `kind` has for its length.
pub(super) fn extension(kind: u8, next: u8, bytes: u8) -> Vec<u8> {
    let mut header = vec![0; usize::from(bytes)];
    header[0] = next;
    header[1] = if kind == 51 { bytes / 4 - 2 } else { bytes / 8 - 1 };
    header
}

/// A fragment header; `offset` counts eights.
pub(super) fn fragment(next: u8, offset: u16) -> Vec<u8> {
    let [high, low] = (offset << 3 | 1).to_be_bytes();
    vec![next, 0, high, low, 0, 0, 0, 9]
}

/// The first bytes of any transport header with ports.
pub(super) fn ports(source: u16, destination: u16) -> Vec<u8> {
    let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    header.extend([0; 16]);
    header
}
