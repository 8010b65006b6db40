//! The link layer: finds where the IP header starts.
//!
//! Takes Ethernet, IEEE 802.1Q/802.1ad tags, LLC/SNAP, MPLS, PPPoE and PPP, Cisco HDLC,
//! Linux cooked, raw IP and loopback headers off. What carries no IP is named by its
//! [`Cause`].

use crate::decode::{Cause, be16, be32};
use crate::limits::{KEY_VLANS, MPLS_LABELS, VLAN_TAGS};
use crate::source::{Frame, LinkType};

/// What stood below the IP header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// Where the IP header starts in the frame.
    pub(crate) offset: usize,
    /// The IP version that the layer below announced; `None` if it left that open.
    pub(crate) version: Option<u8>,
    /// Where source and destination MAC address stand in the frame, as far as the link has them.
    macs: [Option<u16>; 2],
    vlans: [u16; KEY_VLANS],
    tags: usize,
}

impl Network {
    /// VLAN identifiers as the flow key holds them: the outermost ones, priority tags
    /// (identifier 0) left out.
    pub(crate) fn key_vlans(&self) -> [u16; KEY_VLANS] {
        self.vlans
    }

    /// Source and destination MAC address. Read last: copied along from layer to layer they would
    /// take longer than all else.
    #[inline]
    pub(crate) fn macs(&self, frame: &[u8]) -> [Option<[u8; 6]>; 2] {
        self.macs.map(|at| frame.get(usize::from(at?)..)?.first_chunk().copied())
    }

    /// What stands below an IP header at `offset`, inside the packet that this is below of.
    pub(crate) fn inside(&self, offset: usize) -> Self {
        Self { offset, version: None, ..*self }
    }

    fn at(offset: usize) -> Self {
        Self { offset, version: None, macs: [None; 2], vlans: [0; KEY_VLANS], tags: 0 }
    }

    fn push_vlan(&mut self, identifier: u16) {
        if identifier == 0 {
            return;
        }
        if let Some(vlan) = self.vlans.get_mut(self.tags) {
            *vlan = identifier;
            self.tags += 1;
        }
    }
}

/// EtherTypes (IEEE registry) and what becomes of them.
mod ether_type {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const ARP: u16 = 0x0806;
    pub(super) const RARP: u16 = 0x8035;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const MPLS: u16 = 0x8847;
    pub(super) const MPLS_MULTICAST: u16 = 0x8848;
    pub(super) const PPPOE_DISCOVERY: u16 = 0x8863;
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
    pub(super) const PPP: u16 = 0x880b;
    pub(super) const EAPOL: u16 = 0x888e;
    /// A whole Ethernet frame (RFC 1701, RFC 8926).
    pub(super) const BRIDGED: u16 = 0x6558;
    pub(super) const LLDP: u16 = 0x88cc;
    /// Up to here the field is an IEEE 802.3 length, and LLC follows.
    pub(super) const LAST_LENGTH: u16 = 1_500;
    /// What Linux cooked captures say for IEEE 802.2 frames.
    pub(super) const LINUX_802_2: u16 = 0x0004;

    /// IEEE 802.1Q, 802.1ad and the older numbers for a second tag.
    pub(super) fn is_vlan(ether_type: u16) -> bool {
        matches!(ether_type, 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300)
    }
}

/// Ethernet hardware addresses in Linux cooked captures.
const MAC_BYTES: u16 = 6;

/// Takes the link layer off.
///
/// # Errors
/// The cause, if there is no IP header behind it.
#[inline(always)]
pub(crate) fn strip(frame: &Frame<'_>) -> Result<Network, Cause> {
    let bytes = frame.bytes;
    match frame.link {
        LinkType::ETHERNET => {
            let kind = be16(bytes, 12).ok_or(Cause::Short)?;
            let mut network = Network::at(14);
            network.macs = [mac(bytes, 6), mac(bytes, 0)];
            payload(bytes, kind, network)
        }
        LinkType::LINUX_SLL => {
            let kind = be16(bytes, 14).ok_or(Cause::Short)?;
            let mut network = Network::at(16);
            if be16(bytes, 4) == Some(MAC_BYTES) {
                network.macs[0] = mac(bytes, 6);
            }
            payload(bytes, kind, network)
        }
        LinkType::LINUX_SLL2 => {
            if bytes.len() < 20 {
                return Err(Cause::Short);
            }
            let kind = be16(bytes, 0).ok_or(Cause::Short)?;
            let mut network = Network::at(20);
            if u16::from(bytes[11]) == MAC_BYTES {
                network.macs[0] = mac(bytes, 12);
            }
            payload(bytes, kind, network)
        }
        LinkType::CISCO_HDLC => {
            let kind = be16(bytes, 2).ok_or(Cause::Short)?;
            payload(bytes, kind, Network::at(4))
        }
        LinkType::PPP | LinkType::PPP_SERIAL => ppp(bytes, Network::at(0)),
        // 12 and 14 are what BSDs write for raw IP.
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => Ok(Network::at(0)),
        LinkType::NULL | LinkType::LOOP => {
            let family: [u8; 4] = *bytes.first_chunk().ok_or(Cause::Short)?;
            // AF_INET, and AF_INET6 of Linux, the BSDs and Darwin; in whichever byte order
            // the capturing host had.
            let known = |family| matches!(family, 2 | 10 | 24 | 28 | 30);
            if known(u32::from_le_bytes(family)) || known(u32::from_be_bytes(family)) {
                Ok(Network::at(4))
            } else {
                Err(Cause::NullFamily)
            }
        }
        _ => Err(Cause::LinkType),
    }
}

/// The place of a MAC address that was captured.
#[inline]
fn mac(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<6>()?;
    u16::try_from(at).ok()
}

/// Follows EtherTypes from `kind`, whose payload starts at `network.offset`.
///
/// # Errors
/// As [`strip`].
#[inline(always)]
pub(crate) fn payload(bytes: &[u8], kind: u16, network: Network) -> Result<Network, Cause> {
    // What most are, in registers: the rest passes what it knows through memory.
    match kind {
        ether_type::IPV4 => Ok(Network { version: Some(4), ..network }),
        ether_type::IPV6 => Ok(Network { version: Some(6), ..network }),
        _ => other_payload(bytes, kind, network),
    }
}

fn other_payload(bytes: &[u8], mut kind: u16, mut network: Network) -> Result<Network, Cause> {
    let mut depth = 0;
    while ether_type::is_vlan(kind) || kind == ether_type::BRIDGED {
        if depth == VLAN_TAGS {
            return Err(Cause::VlanDepth);
        }
        depth += 1;
        if kind == ether_type::BRIDGED {
            kind = be16(bytes, network.offset + 12).ok_or(Cause::Short)?;
            network.offset += 14;
            continue;
        }
        let tag = be16(bytes, network.offset).ok_or(Cause::Short)?;
        kind = be16(bytes, network.offset + 2).ok_or(Cause::Short)?;
        network.push_vlan(tag & 0x0fff);
        network.offset += 4;
    }
    match kind {
        ether_type::IPV4 => Ok(Network { version: Some(4), ..network }),
        ether_type::IPV6 => Ok(Network { version: Some(6), ..network }),
        ether_type::ARP => Err(Cause::Arp),
        ether_type::RARP => Err(Cause::Rarp),
        ether_type::LLDP => Err(Cause::Lldp),
        ether_type::EAPOL => Err(Cause::Eapol),
        ether_type::MPLS | ether_type::MPLS_MULTICAST => mpls(bytes, network),
        ether_type::PPPOE_DISCOVERY => Err(Cause::Pppoe),
        ether_type::PPPOE_SESSION => pppoe(bytes, network),
        ether_type::PPP => ppp(bytes, network),
        ether_type::LINUX_802_2 | 0..=ether_type::LAST_LENGTH => llc(bytes, network),
        _ => Err(Cause::EtherType),
    }
}

/// IEEE 802.2 LLC: IP behind SNAP (RFC 1042), or behind its own service access point.
fn llc(bytes: &[u8], mut network: Network) -> Result<Network, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    if header.starts_with(&[0x06, 0x06, 0x03]) {
        network.offset += 3;
        return Ok(network);
    }
    // The organisation is "encapsulated Ethernet", or the one for bridged frames.
    let is_snap = header.starts_with(&[0xaa, 0xaa, 0x03])
        && matches!(header.get(3..6), Some([0, 0, 0 | 0xf8]));
    match be16(header, 6) {
        Some(kind) if is_snap && kind > ether_type::LAST_LENGTH => {
            network.offset += 8;
            payload(bytes, kind, network)
        }
        _ => Err(Cause::Llc),
    }
}

/// MPLS (RFC 3032): labels down to the bottom of the stack, then IP by its version, as the
/// labels do not say what they carry.
fn mpls(bytes: &[u8], mut network: Network) -> Result<Network, Cause> {
    for _ in 0..MPLS_LABELS {
        let entry = be32(bytes, network.offset).ok_or(Cause::Short)?;
        network.offset += 4;
        let is_bottom = entry & 0x100 != 0;
        if is_bottom {
            return match bytes.get(network.offset).map(|first| first >> 4) {
                Some(4 | 6) => Ok(network),
                _ => Err(Cause::Mpls),
            };
        }
    }
    Err(Cause::Mpls)
}

/// A PPPoE session (RFC 2516 section 4): version and type 1, code 0, then PPP.
fn pppoe(bytes: &[u8], mut network: Network) -> Result<Network, Cause> {
    match bytes.get(network.offset..network.offset + 6) {
        Some([0x11, 0, ..]) => {
            network.offset += 6;
            ppp(bytes, network)
        }
        _ => Err(Cause::Pppoe),
    }
}

/// PPP (RFC 1661), with or without the HDLC-like address and control bytes (RFC 1662).
///
/// # Errors
/// As [`strip`].
pub(crate) fn ppp(bytes: &[u8], mut network: Network) -> Result<Network, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    if let [0x0f | 0x8f, 0, ..] = header {
        // Cisco HDLC on a serial link.
        let kind = be16(header, 2).ok_or(Cause::Short)?;
        network.offset += 4;
        return payload(bytes, kind, network);
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
        0x0021 => Ok(Network { version: Some(4), ..network }),
        0x0057 => Ok(Network { version: Some(6), ..network }),
        0x0281 => mpls(bytes, network),
        _ => Err(Cause::Ppp),
    }
}
