//! PPP (RFC 1661), in HDLC-like framing (RFC 1662) or without it, and over Ethernet (RFC 2516).

use crate::decode::link::{Layer, Network};
use crate::decode::{Cause, be16};

/// PPP protocol numbers (IANA registry "PPP DLL Protocol Numbers").
mod protocol {
    pub(super) const IPV4: u16 = 0x0021;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const MPLS: u16 = 0x0281;
    pub(super) const MPLS_MULTICAST: u16 = 0x0283;
}

/// A PPPoE session's header (RFC 2516 section 4): version and type 1, code 0, then PPP.
pub(super) fn session(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    match bytes.get(network.offset..network.offset + 6) {
        Some([0x11, 0, ..]) => {
            network.offset += 6;
            Ok(Layer::Ppp)
        }
        _ => Err(Cause::Pppoe),
    }
}

/// What follows PPP's protocol field.
pub(super) fn payload(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    if let [0x0f | 0x8f, 0, ..] = header {
        // Cisco HDLC on a serial link.
        let kind = be16(header, 2).ok_or(Cause::Short)?;
        network.offset += 4;
        return Ok(Layer::EtherType(kind));
    }
    let framing = if header.starts_with(&[0xff, 0x03]) { 2 } else { 0 };
    let header = header.get(framing..).unwrap_or_default();
    // The protocol field may be compressed to one byte, which is then odd.
    let (protocol, len) = match header {
        [protocol, _, ..] if protocol & 1 == 1 => (u16::from(*protocol), 1),
        [high, low, ..] => (u16::from_be_bytes([*high, *low]), 2),
        _ => return Err(Cause::Short),
    };
    network.offset += framing + len;
    match protocol {
        protocol::IPV4 => network.version = Some(4),
        protocol::IPV6 => network.version = Some(6),
        protocol::MPLS | protocol::MPLS_MULTICAST => return Ok(Layer::Mpls),
        _ => return Err(Cause::Ppp),
    }
    Ok(Layer::Ip)
}
