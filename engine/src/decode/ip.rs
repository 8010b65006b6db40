//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, with options and extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::decode::link::Network;
use crate::decode::{Cause, be16, be32};
use crate::flow::protocol::{TCP, UDP};
use crate::limits::IPV6_EXTENSIONS;
use crate::source::Frame;

/// What an IP header said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IpHeader {
    pub(crate) version: u8,
    /// IPv4 addresses in the first four bytes.
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    /// The protocol after all extension headers.
    pub(crate) protocol: u8,
    /// Time to live, or hop limit.
    pub(crate) ttl: u8,
    /// Differentiated services code point (RFC 2474 section 3).
    pub(crate) dscp: u8,
    /// IP length in bytes; the wire's length where the header leaves it open.
    pub(crate) length: u32,
    /// Length of the IP header in bytes, extension headers included.
    pub(crate) header_bytes: u32,
    /// Where the IP header starts in the frame.
    pub(crate) offset: usize,
    pub(crate) fragment: Option<Fragment>,
}

/// A piece of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment {
    pub(crate) identification: u32,
    /// In units of 8 bytes; 0 is the first fragment.
    pub(crate) offset: u16,
    /// Whether no more of them follow.
    pub(crate) is_last: bool,
    /// What the datagram holds, as all its fragments say (RFC 791 section 3.2); 0 of IPv6, where
    /// only the first one's word counts (RFC 8200 section 4.5).
    pub(crate) holds: u8,
    /// Length of the headers in bytes that stand before this piece of the datagram.
    pub(crate) header_bytes: u32,
}

impl IpHeader {
    pub(crate) fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    /// Source and destination.
    pub(crate) fn ends(&self) -> [IpAddr; 2] {
        [self.source, self.destination].map(|address| match self.version {
            4 => {
                let [a, b, c, d, ..] = address;
                Ipv4Addr::new(a, b, c, d).into()
            }
            _ => Ipv6Addr::from(address).into(),
        })
    }

    /// Where the header ends and the transport begins in the frame.
    pub(crate) fn end(&self) -> usize {
        self.offset + self.header_bytes as usize
    }
}

/// Reads the IP header at `network.offset`.
///
/// # Errors
/// [`Cause::BadIp`] if it is cut, or if its version or header length cannot be.
#[inline(always)]
pub(crate) fn parse(frame: &Frame<'_>, network: &Network) -> Result<IpHeader, Cause> {
    let bytes = frame.bytes;
    let first = *bytes.get(network.offset).ok_or(Cause::BadIp)?;
    let version = first >> 4;
    if network.version.is_some_and(|announced| announced != version) {
        return Err(Cause::BadIp);
    }
    // What the wire carried from the IP header on, for lengths that the header leaves out.
    let offset = u32::try_from(network.offset).map_err(|_| Cause::BadIp)?;
    let on_wire = frame.wire_len.saturating_sub(offset).saturating_sub(network.trailer);
    match version {
        4 => parse_v4(bytes, network.offset, on_wire),
        6 => parse_v6(bytes, network.offset, on_wire),
        _ => None,
    }
    .ok_or(Cause::BadIp)
}

/// Widened as a number: four bytes that are written into sixteen are slow to read at once.
#[inline(always)]
fn v4_address(header: &[u8], at: usize) -> Option<[u8; 16]> {
    let address = u32::from_le_bytes(*header.get(at..)?.first_chunk()?);
    Some(u128::from(address).to_le_bytes())
}

#[inline(always)]
fn parse_v4(bytes: &[u8], offset: usize, on_wire: u32) -> Option<IpHeader> {
    let header = bytes.get(offset..)?;
    if header.len() < 20 {
        return None;
    }
    let header_bytes = u32::from(header[0] & 0x0f) * 4;
    let total = u32::from(be16(header, 2)?);
    let too_short = total != 0 && total < header_bytes;
    if header_bytes < 20 || header.len() < header_bytes as usize || too_short {
        return None;
    }
    let flags = be16(header, 6)?;
    // More fragments to come, or an offset.
    let fragment = (flags & 0x3fff != 0).then_some(Fragment {
        identification: u32::from(be16(header, 4)?),
        offset: flags & 0x1fff,
        is_last: flags & 0x2000 == 0,
        holds: header[9],
        header_bytes,
    });
    Some(IpHeader {
        version: 4,
        source: v4_address(header, 12)?,
        destination: v4_address(header, 16)?,
        protocol: header[9],
        ttl: header[8],
        dscp: header[1] >> 2,
        // 0 is left by segmentation offload.
        length: if total == 0 { on_wire } else { total },
        header_bytes,
        offset,
        fragment,
    })
}

/// The upper six bits of the traffic class, which begins in the middle of the first byte.
pub(super) fn v6_dscp(first: u8, second: u8) -> u8 {
    (first & 0x0f) << 2 | second >> 6
}

/// IPv6 extension headers and where they lead (IANA registry "IPv6 Extension Header Types").
mod next_header {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const NONE: u8 = 59;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

#[inline(always)]
fn parse_v6(bytes: &[u8], offset: usize, on_wire: u32) -> Option<IpHeader> {
    let header = bytes.get(offset..)?;
    if header.len() < 40 {
        return None;
    }
    let payload = u32::from(be16(header, 4)?);
    let mut protocol = header[6];
    let mut at = 40;
    let mut fragment = None;
    let mut walked = 0;
    while let Some(extension) = header.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        match protocol {
            next_header::FRAGMENT => {
                let flags = be16(extension, 2)?;
                let offset = flags >> 3;
                // Neither offset nor more to come: an atomic fragment (RFC 6946).
                fragment = (flags & 0xfff9 != 0).then_some(Fragment {
                    identification: be32(extension, 4)?,
                    offset,
                    is_last: flags & 1 == 0,
                    holds: 0,
                    header_bytes: u32::try_from(at + 8).ok()?,
                });
                protocol = extension[0];
                at += 8;
                if offset != 0 {
                    break;
                }
            }
            // Nothing follows a mobility header as a rule (RFC 6275 section 6.1.1).
            next_header::MOBILITY if extension[0] == next_header::NONE => break,
            next_header::AUTHENTICATION => {
                at += (usize::from(extension[1]) + 2) * 4;
                protocol = extension[0];
            }
            next_header::HOP_BY_HOP
            | next_header::ROUTING
            | next_header::DESTINATION
            | next_header::MOBILITY
            | next_header::HIP
            | next_header::SHIM6 => {
                at += (usize::from(extension[1]) + 1) * 8;
                protocol = extension[0];
            }
            _ => break,
        }
        walked += 1;
        if walked > IPV6_EXTENSIONS {
            return None;
        }
    }
    // A jumbogram (RFC 2675) says 0 and has a hop-by-hop header; BIG TCP says 0 and is
    // longer than 16 bits can tell. TCP and UDP do not fit into 0 bytes, nor what leads to them:
    // that is left by segmentation offload, as in IPv4, if there is more than Ethernet's padding.
    let transport_bytes = || match protocol {
        TCP => 20,
        UDP => 8,
        _ => u32::MAX,
    };
    let header_bytes = u32::try_from(at).ok()?;
    let is_open = payload == 0
        && (header[6] == next_header::HOP_BY_HOP
            || on_wire > 40 + 0xffff
            || on_wire >= header_bytes.saturating_add(transport_bytes()));
    Some(IpHeader {
        version: 6,
        source: *header[8..].first_chunk()?,
        destination: *header[24..].first_chunk()?,
        protocol,
        ttl: header[7],
        dscp: v6_dscp(header[0], header[1]),
        length: if is_open { on_wire } else { 40 + payload },
        header_bytes,
        offset,
        fragment,
    })
}
