//! A second opinion: what etherparse says of an Ethernet frame, against ours.
//!
//! Where etherparse can say something, ours says the same, but for these:
//!
//! | what | etherparse | ours |
//! |---|---|---|
//! | MACsec | goes on behind it | another EtherType |
//! | MPLS, PPPoE, LLC, bridged, four tags and more | stops | goes on |
//! | the EtherType says one IP version, the header the other | believes the header | `bad_ip` |
//! | IPv4 total length below its header | all that was captured | `bad_ip`; 0: the wire's |
//! | authentication header behind IPv4 | goes on behind it | stays at protocol 51 |
//! | IPv6 payload length 0 | all that was captured | nothing, or the wire's length |
//! | IPv6 extension header that is cut or out of order | stops before it | goes on if it can |
//! | IPv6 mobility, HIP and shim6 headers | protocols | extension headers |
//! | more than 64 IPv6 extension headers | goes on | `bad_ip` |
//! | extension headers behind that of a later fragment | goes on | stops |
//! | first fragments | stops | reads the ports |
//! | transport headers that are cut or lie | stops | reads what there is, the ports at least |
//! | UDP length | bounds the payload | does not count: the IP length does |
//!
//! The fuzz target `decoder` has this module too.

use std::net::IpAddr;

use etherparse::err::Layer;
use etherparse::{
    EtherType, LaxIpv4Slice, LaxIpv6Slice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket,
    TransportSlice,
};

use super::{Cause, IPV6_EXTENSIONS, Packet, TcpHeader};

/// What both understand of an IP header.
struct Ip {
    ends: (IpAddr, IpAddr),
    /// TTL or hop limit, and DSCP.
    marks: (u8, u8),
    /// The protocol, where both find the same one.
    protocol: Option<u8>,
    /// IP length, and what of it is no header, where both go by the header's.
    lengths: Option<(u32, u32)>,
    is_fragment: bool,
    /// The only cause that ours may give beside one for the transport header.
    excuse: Option<Cause>,
}

/// What ours made of a frame must be what etherparse makes of it, where it can say.
///
/// # Errors
/// In what they differ.
pub(crate) fn agrees(frame: &[u8], ours: &Result<Packet, Cause>) -> Result<(), String> {
    let Ok(theirs) = LaxSlicedPacket::from_ethernet(frame) else {
        return same("short", ours.as_ref().err(), Some(&Cause::Short));
    };
    let is_macsec = |link: &LaxLinkExtSlice<'_>| matches!(link, LaxLinkExtSlice::Macsec(_));
    if theirs.link_exts.iter().any(is_macsec) {
        return Ok(());
    }
    let stopped = theirs.stop_err.as_ref().map(|(_, layer)| *layer);
    let mut ip = match &theirs.net {
        Some(LaxNetSlice::Ipv4(header)) => v4(header),
        Some(LaxNetSlice::Ipv6(header)) => v6(header, stopped),
        _ if matches!(stopped, Some(Layer::Ipv4Header | Layer::Ipv6Header | Layer::IpHeader)) => {
            return same("IP header", ours.as_ref().err(), Some(&Cause::BadIp));
        }
        _ => return Ok(()),
    };
    let announced = theirs.ether_payload().map(|payload| payload.ether_type);
    let version = if ip.ends.0.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    if announced != Some(version) {
        return same("version", ours.as_ref().err(), Some(&Cause::BadIp));
    }
    let transport = theirs.transport.as_ref().filter(|_| ip.protocol.is_some() && !ip.is_fragment);
    let packet = match ours {
        Ok(packet) => packet,
        Err(cause) if ip.excuse.as_ref() == Some(cause) => return Ok(()),
        Err(Cause::L4Short) if transport.is_none() || ip.lengths.is_none() => return Ok(()),
        Err(cause) => return Err(format!("ours is {}", cause.name())),
    };
    let (from, to) = (packet.direction, packet.direction.opposite());
    same("ends", (packet.key.source_ip(from), packet.key.source_ip(to)), ip.ends)?;
    same("TTL and DSCP", (packet.ttl, packet.dscp), ip.marks)?;
    let mut vlans = [0; 2];
    let tags = theirs.vlan_ids().into_iter().map(|id| id.value()).filter(|id| *id != 0);
    vlans.iter_mut().zip(tags).for_each(|(to, tag)| *to = tag);
    same("vlan", packet.key.vlan(), vlans)?;
    let Some(protocol) = ip.protocol.take() else { return Ok(()) };
    same("protocol", packet.key.protocol(), protocol)?;
    if let Some((length, _)) = ip.lengths {
        same("length", packet.bytes, length)?;
    }
    match (transport, ip.lengths) {
        (Some(transport), Some((_, above_ip))) => transports(packet, transport, above_ip),
        _ => Ok(()),
    }
}

fn v4(ip: &LaxIpv4Slice<'_>) -> Ip {
    let header = ip.header();
    let (total, header_bytes) = (u32::from(header.total_len()), u32::from(header.ihl()) * 4);
    Ip {
        ends: (header.source_addr().into(), header.destination_addr().into()),
        marks: (header.ttl(), header.dcp().value()),
        protocol: ip.extensions().is_empty().then_some(header.protocol().0),
        lengths: total.checked_sub(header_bytes).map(|above_ip| (total, above_ip)),
        is_fragment: header.is_fragmenting_payload(),
        excuse: (total != 0 && total < header_bytes).then_some(Cause::BadIp),
    }
}

fn v6(ip: &LaxIpv6Slice<'_>, stopped: Option<Layer>) -> Ip {
    const MOST: usize = IPV6_EXTENSIONS * 8;
    let header = ip.header();
    let payload = u32::from(header.payload_length());
    let extensions = ip.extensions().slice().len();
    let in_extension = matches!(
        stopped,
        Some(
            Layer::Ipv6HopByHopHeader
                | Layer::Ipv6DestOptionsHeader
                | Layer::Ipv6RouteHeader
                | Layer::Ipv6FragHeader
                | Layer::IpAuthHeader
        )
    );
    let protocol = ip.payload().ip_number.0;
    let is_fragment = ip.is_payload_fragmented();
    let is_ours_only = matches!(protocol, 135 | 139 | 140);
    let is_clear = !(in_extension || is_ours_only || is_fragment || extensions > MOST);
    Ip {
        ends: (header.source_addr().into(), header.destination_addr().into()),
        marks: (header.hop_limit(), header.traffic_class() >> 2),
        protocol: is_clear.then_some(protocol),
        lengths: (payload != 0)
            .then(|| (40 + payload, payload.saturating_sub(u32::try_from(extensions).unwrap()))),
        is_fragment,
        excuse: (extensions > MOST || is_ours_only || in_extension).then_some(Cause::BadIp),
    }
}

fn transports(packet: &Packet, theirs: &TransportSlice<'_>, above_ip: u32) -> Result<(), String> {
    let ports =
        [packet.direction, packet.direction.opposite()].map(|way| packet.key.source_port(way));
    let (header_bytes, theirs_ports) = match theirs {
        TransportSlice::Udp(udp) => (8, [udp.source_port(), udp.destination_port()]),
        TransportSlice::Tcp(tcp) => {
            let ours = packet.tcp;
            let header = tcp.header_slice();
            let numbers = [tcp.sequence_number(), tcp.acknowledgment_number()];
            let theirs = TcpHeader::new(header[13], numbers[0], numbers[1], tcp.window_size());
            same("TCP header", ours, theirs)?;
            let header_bytes = u32::try_from(header.len()).unwrap();
            (header_bytes, [tcp.source_port(), tcp.destination_port()])
        }
        TransportSlice::Icmpv4(icmp) => {
            return same("ICMP", packet.icmp, Some((icmp.type_u8(), icmp.code_u8())));
        }
        TransportSlice::Icmpv6(icmp) => {
            return same("ICMPv6", packet.icmp, Some((icmp.type_u8(), icmp.code_u8())));
        }
        TransportSlice::Igmp(_) => return Ok(()),
    };
    same("ports", ports, theirs_ports.map(Some))?;
    same("payload", packet.payload_bytes, above_ip.saturating_sub(header_bytes))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours {ours:?}, theirs {theirs:?}")) }
}
