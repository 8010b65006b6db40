//! The straight line: what almost all frames are (Ethernet, up to two VLAN tags, IPv4 without
//! options or IPv6 without extension headers, TCP or UDP, no fragment, headers captured whole),
//! read without a loop and with few looks at lengths.
//!
//! Everything else, and everything odd, is left to the general path, which says the same of
//! these frames too: the tests hold one against the other.

use crate::decode::ip::v6_dscp;
use crate::decode::transport::{self, TCP_BYTES, UDP_BYTES};
use crate::decode::{Macs, Packet, Tunnels};
use crate::flow::protocol::{TCP, UDP};
use crate::flow::{Endpoint, FlowKey, PortKind};
use crate::limits::KEY_VLANS;

const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const IPV4_BYTES: u32 = 20;
const IPV6_BYTES: u32 = 40;

/// What is read of the two headers together.
const V4_BYTES: usize = (IPV4_BYTES + TCP_BYTES) as usize;
const V6_BYTES: usize = (IPV6_BYTES + TCP_BYTES) as usize;

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
pub(super) const UNTAGGED: usize = ETHERNET_BYTES;
const TAGGED: usize = UNTAGGED + TAG_BYTES;
const TAGGED_TWICE: usize = TAGGED + TAG_BYTES;

/// What UDP packets the straight line leaves to the general path, as they may be tunnels'.
#[derive(Debug)]
pub(super) struct TunnelMarks {
    /// By the lower byte of a port, whether there is one like that.
    likely: [bool; 256],
    tunnels: Tunnels,
}

impl TunnelMarks {
    pub(super) fn new(tunnels: Tunnels) -> Self {
        let mut likely = [false; 256];
        if let Tunnels::Inner(known) = &tunnels {
            known.all().iter().for_each(|port| likely[usize::from(port.to_le_bytes()[0])] = true);
        }
        Self { likely, tunnels }
    }

    pub(super) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Whether one of two ports may be a tunnel's, by their lower bytes: most are told by this.
    #[inline(always)]
    fn are_likely(&self, [from, to]: [u8; 2]) -> bool {
        self.likely[usize::from(from)] | self.likely[usize::from(to)]
    }

    #[cold]
    fn may_be(&self, ports: [u16; 2]) -> bool {
        matches!(&self.tunnels, Tunnels::Inner(known) if known.may_be(ports))
    }
}

/// Reads an untagged Ethernet frame with IPv4, and writes what it says to `packet`; its IP header
/// begins at [`UNTAGGED`]. False leaves it to [`parse`].
#[inline(always)]
pub(super) fn parse_untagged_v4(frame: &[u8], tunnels: &TunnelMarks, packet: &mut Packet) -> bool {
    let Some(header) = frame.first_chunk::<{ UNTAGGED + V4_BYTES }>() else { return false };
    [header[12], header[13]] == ether_type::IPV4 && ipv4::<UNTAGGED>(frame, [0; 2], tunnels, packet)
}

/// Reads any other Ethernet frame. Returns where its IP header begins; `None` leaves it to the
/// general path.
pub(super) fn parse(frame: &[u8], tunnels: &TunnelMarks, packet: &mut Packet) -> Option<usize> {
    let header = frame.first_chunk::<TAGGED_TWICE>()?;
    match ether_type_at(header, UNTAGGED) {
        ether_type::VLAN | ether_type::SERVICE_VLAN => tagged(frame, header, tunnels, packet),
        ether_type::IPV6 => ipv6::<UNTAGGED>(frame, [0; 2], tunnels, packet).then_some(UNTAGGED),
        _ => None,
    }
}

/// The same behind one tag or two.
#[inline]
fn tagged(
    frame: &[u8],
    header: &[u8; TAGGED_TWICE],
    tunnels: &TunnelMarks,
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
    tunnels: &TunnelMarks,
    packet: &mut Packet,
) -> Option<usize> {
    let is_read = match ether_type_at(header, AT) {
        ether_type::IPV4 => ipv4::<AT>(frame, vlans, tunnels, packet),
        ether_type::IPV6 => ipv6::<AT>(frame, vlans, tunnels, packet),
        _ => false,
    };
    is_read.then_some(AT)
}

/// An IPv4 header at `AT`, and a transport header of which enough was captured.
#[inline(always)]
fn ipv4<const AT: usize>(
    frame: &[u8],
    vlans: [u16; KEY_VLANS],
    tunnels: &TunnelMarks,
    packet: &mut Packet,
) -> bool {
    let (Some(macs), Some(header)) = (frame.first_chunk(), at::<V4_BYTES>(frame, AT)) else {
        return false;
    };
    let total = u16::from_be_bytes([header[2], header[3]]);
    // No options; neither an offset nor more fragments.
    if header[0] != 0x45 || [header[6] & 0x3f, header[7]] != [0; 2] {
        return false;
    }
    let Some(above_ip) = u32::from(total).checked_sub(IPV4_BYTES) else { return false };
    let Some(transport) = header.last_chunk() else { return false };
    let Some([from, to]) = read_transport(transport, header[9], above_ip, tunnels, packet) else {
        return false;
    };
    let address = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    (packet.key, packet.direction) =
        FlowKey::canonical_v4((address(12), from), (address(16), to), header[9], vlans);
    packet.bytes = total.into();
    (packet.ttl, packet.dscp) = (header[8], header[1] >> 2);
    packet.macs = Macs::of_ethernet(macs);
    true
}

/// The same for IPv6.
#[inline]
fn ipv6<const AT: usize>(
    frame: &[u8],
    vlans: [u16; KEY_VLANS],
    tunnels: &TunnelMarks,
    packet: &mut Packet,
) -> bool {
    let (Some(macs), Some(header)) = (frame.first_chunk(), at::<V6_BYTES>(frame, AT)) else {
        return false;
    };
    if header[0] >> 4 != 6 {
        return false;
    }
    let above_ip = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let Some(transport) = header.last_chunk() else { return false };
    let Some([from, to]) = read_transport(transport, header[6], above_ip, tunnels, packet) else {
        return false;
    };
    let (Some(source), Some(destination)) = (at::<16>(header, 8), at::<16>(header, 24)) else {
        return false;
    };
    (packet.key, packet.direction) = FlowKey::canonical(
        Endpoint { address: *source, port: from },
        Endpoint { address: *destination, port: to },
        6,
        header[6],
        PortKind::Ports,
        vlans,
    );
    packet.bytes = IPV6_BYTES + above_ip;
    (packet.ttl, packet.dscp) = (header[7], v6_dscp(header[0], header[1]));
    packet.macs = Macs::of_ethernet(macs);
    true
}

/// `N` bytes at `at`, if they were captured.
#[inline(always)]
fn at<const N: usize>(frame: &[u8], at: usize) -> Option<&[u8; N]> {
    frame.get(at..)?.first_chunk()
}

/// Reads the ports, the length of the payload, and what counts of TCP's header. `None` if the IP
/// length leaves no room for the header, for another protocol, and for UDP that may be a tunnel's.
#[inline(always)]
fn read_transport(
    transport: &Transport,
    protocol: u8,
    above_ip: u32,
    tunnels: &TunnelMarks,
    packet: &mut Packet,
) -> Option<[u16; 2]> {
    let is_tcp = protocol == TCP;
    if !is_tcp && protocol != UDP {
        return None;
    }
    if above_ip < TCP_BYTES && (is_tcp || above_ip < UDP_BYTES) {
        return None;
    }
    let [_, b, _, d, ..] = *transport;
    let read = transport::usual(transport, is_tcp, above_ip);
    if tunnels.are_likely([b, d]) && !is_tcp && tunnels.may_be(read.ports) {
        return None;
    }
    (packet.payload_bytes, packet.tcp) = (read.payload_bytes, read.tcp);
    Some(read.ports)
}
