//! The link layer: finds where the IP header starts.
//!
//! Takes Ethernet, IEEE 802.1Q/802.1ad tags, Linux cooked, raw IP and loopback headers
//! off. Link layers that are not decoded yet are named by their [`Cause`].

use crate::decode::{Cause, be16};
use crate::limits::{KEY_VLANS, VLAN_TAGS};
use crate::source::{Frame, LinkType};

/// What stood below the IP header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    /// Where the IP header starts in the frame.
    pub(crate) offset: usize,
    /// The IP version that the layer below announced; `None` if it left that open.
    pub(crate) version: Option<u8>,
    /// Source and destination MAC address, as far as the link has them.
    pub(crate) macs: [Option<[u8; 6]>; 2],
    vlans: [u16; KEY_VLANS],
    tags: usize,
}

impl Network {
    /// VLAN identifiers as the flow key holds them: the outermost ones, priority tags
    /// (identifier 0) left out.
    pub(crate) fn key_vlans(&self) -> [u16; KEY_VLANS] {
        self.vlans
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
    pub(super) const EAPOL: u16 = 0x888e;
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

fn mac(bytes: &[u8], at: usize) -> Option<[u8; 6]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Follows EtherTypes from `kind`, whose payload starts at `network.offset`.
fn payload(bytes: &[u8], mut kind: u16, mut network: Network) -> Result<Network, Cause> {
    let mut depth = 0;
    while ether_type::is_vlan(kind) {
        if depth == VLAN_TAGS {
            return Err(Cause::VlanDepth);
        }
        depth += 1;
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
        ether_type::MPLS | ether_type::MPLS_MULTICAST => Err(Cause::Mpls),
        ether_type::PPPOE_DISCOVERY | ether_type::PPPOE_SESSION => Err(Cause::Pppoe),
        ether_type::LINUX_802_2 | 0..=ether_type::LAST_LENGTH => Err(Cause::Llc),
        _ => Err(Cause::EtherType),
    }
}
