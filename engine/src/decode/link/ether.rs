//! Ethernet, its tags, what EtherTypes lead to, and IEEE 802.2.

use crate::decode::link::{Layer, Network};
use crate::decode::{Cause, be16};

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
    /// VN-Tag, the draft of IEEE 802.1BR: virtual interfaces of a switch.
    pub(super) const VN_TAG: u16 = 0x8926;
    /// Up to here the field is an IEEE 802.3 length, and LLC follows.
    pub(super) const LAST_LENGTH: u16 = 1_500;
    /// What Linux cooked captures say for IEEE 802.2 frames.
    pub(super) const LINUX_802_2: u16 = 0x0004;
}

/// A tag of IEEE 802.1Q, with the EtherType behind it.
const TAG_BYTES: usize = 4;
/// A VN-Tag, with the EtherType behind it.
const VN_TAG_BYTES: usize = 6;

/// An Ethernet header.
#[inline]
pub(super) fn header(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let kind = be16(bytes, network.offset + 12).ok_or(Cause::Short)?;
    network.offset += 14;
    Ok(Layer::EtherType(kind))
}

/// What follows an EtherType.
pub(super) fn payload(bytes: &[u8], kind: u16, network: &mut Network) -> Result<Layer, Cause> {
    match kind {
        ether_type::IPV4 => network.version = Some(4),
        ether_type::IPV6 => network.version = Some(6),
        // IEEE 802.1Q, 802.1ad and the older numbers for a second tag.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => {
            let tag = be16(bytes, network.offset).ok_or(Cause::Short)?;
            network.push_vlan(tag & 0x0fff);
            return tag_end(bytes, TAG_BYTES, network);
        }
        ether_type::VN_TAG => return tag_end(bytes, VN_TAG_BYTES, network),
        ether_type::BRIDGED => return Ok(Layer::Ethernet),
        ether_type::MPLS | ether_type::MPLS_MULTICAST => return Ok(Layer::Mpls),
        ether_type::PPPOE_SESSION => return Ok(Layer::Pppoe),
        ether_type::PPP => return Ok(Layer::Ppp),
        ether_type::LINUX_802_2 | 0..=ether_type::LAST_LENGTH => return Ok(Layer::Llc),
        ether_type::ARP => return Err(Cause::Arp),
        ether_type::RARP => return Err(Cause::Rarp),
        ether_type::LLDP => return Err(Cause::Lldp),
        ether_type::EAPOL => return Err(Cause::Eapol),
        ether_type::PPPOE_DISCOVERY => return Err(Cause::Pppoe),
        _ => return Err(Cause::EtherType),
    }
    Ok(Layer::Ip)
}

/// A tag of so many bytes, the last two of which are the EtherType of what follows.
fn tag_end(bytes: &[u8], tag_bytes: usize, network: &mut Network) -> Result<Layer, Cause> {
    network.offset += tag_bytes;
    let kind = be16(bytes, network.offset - 2).ok_or(Cause::Short)?;
    Ok(Layer::EtherType(kind))
}

/// IEEE 802.2 LLC: IP behind SNAP (RFC 1042), or behind its own service access point.
pub(super) fn llc(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    if header.starts_with(&[0x06, 0x06, 0x03]) {
        network.offset += 3;
        return Ok(Layer::Ip);
    }
    // The organisation is "encapsulated Ethernet", or the one for bridged frames.
    let is_snap = header.starts_with(&[0xaa, 0xaa, 0x03])
        && matches!(header.get(3..6), Some([0, 0, 0 | 0xf8]));
    match be16(header, 6) {
        Some(kind) if is_snap && kind > ether_type::LAST_LENGTH => {
            network.offset += 8;
            Ok(Layer::EtherType(kind))
        }
        _ => Err(Cause::Llc),
    }
}
