//! The straight line: what almost all frames are (Ethernet, up to two VLAN tags, IPv4 without
//! options or IPv6 without extension headers, TCP or UDP, no fragment, headers captured whole),
//! read without a loop and with few looks at lengths.
//!
//! Everything else, and everything odd, is left to the general path, which says the same of
//! these frames too: the tests hold one against the other.

use crate::decode::ip::v6_dscp;
use crate::decode::{Packet, TcpHeader, Tunnels};
use crate::flow::protocol::{TCP, UDP};
use crate::flow::{Endpoint, FlowKey, PortKind};
use crate::limits::KEY_VLANS;

const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const IPV4_BYTES: u32 = 20;
const IPV6_BYTES: u32 = 40;
const UDP_BYTES: u32 = 8;
/// Without options: as much of what follows the IP header as is looked at.
const TCP_BYTES: u32 = 20;

/// What is read of a transport header.
type Transport = [u8; TCP_BYTES as usize];

/// EtherTypes as they stand in a frame.
mod ether_type {
    pub(super) const IPV4: [u8; 2] = [0x08, 0x00];
    pub(super) const IPV6: [u8; 2] = [0x86, 0xdd];
    pub(super) const VLAN: [u8; 2] = [0x81, 0x00];
    /// The outer of two tags (IEEE 802.1ad).
    pub(super) const SERVICE_VLAN: [u8; 2] = [0x88, 0xa8];
}

/// Where the IP header is behind no tag, behind one, and behind two.
const UNTAGGED: usize = ETHERNET_BYTES;
const TAGGED: usize = UNTAGGED + TAG_BYTES;
const TAGGED_TWICE: usize = TAGGED + TAG_BYTES;

/// Reads an Ethernet frame, and writes what it says to `packet`. Returns where its IP header
/// begins; `None` leaves it to the general path.
#[inline]
pub(super) fn parse(frame: &[u8], tunnels: &Tunnels, packet: &mut Packet) -> Option<usize> {
    let header = frame.first_chunk::<TAGGED_TWICE>()?;
    match ether_type_at(header, UNTAGGED) {
        ether_type::VLAN | ether_type::SERVICE_VLAN => tagged(frame, header, tunnels, packet),
        _ => ip::<UNTAGGED>(frame, header, [0; 2], tunnels, packet),
    }
}

/// The same behind one tag or two.
#[inline]
fn tagged(
    frame: &[u8],
    header: &[u8; TAGGED_TWICE],
    tunnels: &Tunnels,
    packet: &mut Packet,
) -> Option<usize> {
    let [outer, inner] = [TAGGED, TAGGED_TWICE]
        .map(|at| u16::from_be_bytes([header[at - 4], header[at - 3]]) & 0x0fff);
    match ether_type_at(header, TAGGED) {
        // An outer tag that names no VLAN gives its place to the inner one: that is left.
        ether_type::VLAN if outer != 0 => {
            ip::<TAGGED_TWICE>(frame, header, [outer, inner], tunnels, packet)
        }
        _ => ip::<TAGGED>(frame, header, [outer, 0], tunnels, packet),
    }
}

/// The EtherType of what begins at `at`.
#[inline]
fn ether_type_at(header: &[u8; TAGGED_TWICE], at: usize) -> [u8; 2] {
    [header[at - 2], header[at - 1]]
}

/// Whatever IP header is at `AT`.
#[inline]
fn ip<const AT: usize>(
    frame: &[u8],
    header: &[u8; TAGGED_TWICE],
    vlans: [u16; KEY_VLANS],
    tunnels: &Tunnels,
    packet: &mut Packet,
) -> Option<usize> {
    match ether_type_at(header, AT) {
        ether_type::IPV4 => ipv4::<AT>(frame, vlans, tunnels, packet),
        ether_type::IPV6 => ipv6::<AT>(frame, vlans, tunnels, packet),
        _ => None,
    }
}

/// An IPv4 header at `AT`, and a transport header of which enough was captured.
#[inline]
fn ipv4<const AT: usize>(
    frame: &[u8],
    vlans: [u16; KEY_VLANS],
    tunnels: &Tunnels,
    packet: &mut Packet,
) -> Option<usize> {
    let header: &[u8; (IPV4_BYTES + TCP_BYTES) as usize] = frame.get(AT..)?.first_chunk()?;
    let total = u16::from_be_bytes([header[2], header[3]]);
    // No options; neither an offset nor more fragments.
    if header[0] != 0x45 || (header[6] & 0x3f) | header[7] != 0 {
        return None;
    }
    let transport = header.last_chunk()?;
    let above_ip = u32::from(total).checked_sub(IPV4_BYTES)?;
    (packet.payload_bytes, packet.tcp) = read_transport(transport, header[9], above_ip)?;
    let address = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let [from, to] = ports(transport);
    if packet.tcp.is_none() && may_be_tunnel(tunnels, [from, to]) {
        return None;
    }
    (packet.key, packet.direction) =
        FlowKey::canonical_v4((address(12), from), (address(16), to), header[9], vlans);
    packet.bytes = total.into();
    (packet.ttl, packet.dscp) = (header[8], header[1] >> 2);
    packet.macs = macs(frame)?;
    Some(AT)
}

/// The same for IPv6.
#[inline]
fn ipv6<const AT: usize>(
    frame: &[u8],
    vlans: [u16; KEY_VLANS],
    tunnels: &Tunnels,
    packet: &mut Packet,
) -> Option<usize> {
    let header: &[u8; (IPV6_BYTES + TCP_BYTES) as usize] = frame.get(AT..)?.first_chunk()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let transport = header.last_chunk()?;
    let above_ip = u32::from(u16::from_be_bytes([header[4], header[5]]));
    (packet.payload_bytes, packet.tcp) = read_transport(transport, header[6], above_ip)?;
    let [from, to] = ports(transport);
    if packet.tcp.is_none() && may_be_tunnel(tunnels, [from, to]) {
        return None;
    }
    let end = |at: usize, port| Some(Endpoint { address: *header[at..].first_chunk()?, port });
    let (source, destination) = (end(8, from)?, end(24, to)?);
    (packet.key, packet.direction) =
        FlowKey::canonical(source, destination, 6, header[6], PortKind::Ports, vlans);
    packet.bytes = IPV6_BYTES + above_ip;
    (packet.ttl, packet.dscp) = (header[7], v6_dscp(header[0], header[1]));
    packet.macs = macs(frame)?;
    Some(AT)
}

/// Whether UDP between these ports may have another IP header in it.
#[inline]
fn may_be_tunnel(tunnels: &Tunnels, ports: [u16; 2]) -> bool {
    match tunnels {
        Tunnels::Outer => false,
        Tunnels::Inner(known) => known.may_be(ports),
    }
}

fn ports(transport: &Transport) -> [u16; 2] {
    let [a, b, c, d, ..] = *transport;
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// The length of the payload, and what counts of TCP's header; `None` if the IP length leaves no
/// room for the header, or for another protocol.
#[inline]
fn read_transport(
    transport: &Transport,
    protocol: u8,
    above_ip: u32,
) -> Option<(u32, Option<TcpHeader>)> {
    match protocol {
        TCP if above_ip >= TCP_BYTES => {
            let header_bytes = u32::from(transport[12] >> 4) * 4;
            let [_, _, _, _, a, b, c, d, e, f, g, h, _, flags, i, j, ..] = *transport;
            let tcp = TcpHeader {
                flags,
                sequence: u32::from_be_bytes([a, b, c, d]),
                acknowledgment: u32::from_be_bytes([e, f, g, h]),
                window: u16::from_be_bytes([i, j]),
            };
            Some((above_ip.saturating_sub(header_bytes), Some(tcp)))
        }
        UDP => Some((above_ip.checked_sub(UDP_BYTES)?, None)),
        _ => None,
    }
}

/// Source and destination.
fn macs(frame: &[u8]) -> Option<[Option<[u8; 6]>; 2]> {
    let [destination, source] = *frame.as_chunks::<6>().0.first_chunk::<2>()?;
    Some([Some(source), Some(destination)])
}
