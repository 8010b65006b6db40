//! The link layer: finds where the IP header starts.
//!
//! [`strip`] looks at what the frame begins with, and [`follow`] takes one header after the
//! other off from there: Ethernet and its tags, EtherTypes and LLC ([`ether`]), MPLS ([`mpls`]),
//! PPP and PPPoE ([`ppp`]), IEEE 802.11 ([`wireless`]), what Linux's firewall logs ([`nflog`]).
//! What carries no IP is named by its [`Cause`].

mod ether;
mod mpls;
mod nflog;
mod ppp;
mod wireless;

use crate::decode::{Cause, Macs, be16};
use crate::flow::MplsLabels;
use crate::limits::{KEY_VLANS, LINK_HEADERS, RECORD_VLANS};
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
    /// Bytes of the link layer behind the packet on the wire (a checksum).
    pub(crate) trailer: u32,
    /// MPLS labels, outermost first.
    pub(crate) labels: MplsLabels,
    vlans: [u16; RECORD_VLANS],
    /// How many tags there were, those that are not kept too.
    tags: usize,
}

impl Network {
    /// VLAN identifiers as the flow key holds them: the outermost ones, priority tags
    /// (identifier 0) left out.
    pub(crate) fn key_vlans(&self) -> [u16; KEY_VLANS] {
        let [outer, inner, _] = self.vlans;
        [outer, inner]
    }

    /// The tag behind these, of which the key has no trace; 0 if there is none.
    pub(crate) fn third_vlan(&self) -> u16 {
        let [.., third] = self.vlans;
        third
    }

    /// Source and destination MAC address. Read last: copied along from layer to layer they would
    /// take longer than all else.
    #[inline]
    pub(crate) fn macs(&self, frame: &[u8]) -> Macs {
        let read = |at: Option<u16>| frame.get(usize::from(at?)..)?.first_chunk().copied();
        // Not mapped: that is a call.
        Macs::new([read(self.macs[0]), read(self.macs[1])])
    }

    /// What stands below an IP header at `offset`, inside the packet that this is below of.
    pub(crate) fn inside(&self, offset: usize) -> Self {
        Self { offset, version: None, ..*self }
    }

    /// Nothing, at the beginning of the frame.
    pub(crate) fn nothing() -> Self {
        Self {
            offset: 0,
            version: None,
            macs: [None; 2],
            trailer: 0,
            labels: MplsLabels::default(),
            vlans: [0; RECORD_VLANS],
            tags: 0,
        }
    }

    fn push_vlan(&mut self, identifier: u16) {
        if identifier == 0 {
            return;
        }
        if let Some(vlan) = self.vlans.get_mut(self.tags) {
            *vlan = identifier;
        }
        // No overflow: a frame has fewer bytes.
        self.tags += 1;
    }
}

/// What the bytes at [`Network::offset`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// An IP header.
    Ip,
    /// An Ethernet header.
    Ethernet,
    /// What this EtherType says.
    EtherType(u16),
    /// An IEEE 802.2 header.
    Llc,
    /// An MPLS label stack.
    Mpls,
    /// PPP, with or without framing.
    Ppp,
    /// A PPPoE session's header.
    Pppoe,
}

/// Takes the link layer off; `network` is [nothing](Network::nothing) until then.
///
/// # Errors
/// The cause, if there is no IP header behind it. Then what stands at the offset is what it says,
/// behind its EtherType if it has one.
#[inline(always)]
pub(crate) fn strip(frame: &Frame<'_>, network: &mut Network) -> Result<(), Cause> {
    let layer = begin(frame, network)?;
    walk(frame.bytes, layer, network)
}

/// What the frame begins with.
#[inline(always)]
fn begin(frame: &Frame<'_>, network: &mut Network) -> Result<Layer, Cause> {
    match frame.link {
        LinkType::ETHERNET => ethernet(frame.bytes, network),
        LinkType::PPI => {
            let (link, at) = wireless::ppi(frame.bytes)?;
            network.offset = at;
            outermost(frame.bytes, link, network)
        }
        link => outermost(frame.bytes, link, network),
    }
}

#[inline(always)]
fn ethernet(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    network.macs = [mac(bytes, network.offset + 6), mac(bytes, network.offset)];
    ether::header(bytes, network)
}

/// What stands behind the header of this link type at `network.offset`.
#[inline(never)]
fn outermost(bytes: &[u8], link: LinkType, network: &mut Network) -> Result<Layer, Cause> {
    Ok(match link {
        LinkType::ETHERNET => ethernet(bytes, network)?,
        LinkType::IEEE802_11 => wireless::data(bytes, wireless::Framing::NONE, network)?,
        LinkType::IEEE802_11_RADIOTAP => {
            let framing = wireless::radiotap(bytes, network)?;
            wireless::data(bytes, framing, network)?
        }
        LinkType::LINUX_SLL => sll(bytes, network)?,
        LinkType::LINUX_SLL2 => sll2(bytes, network)?,
        LinkType::CISCO_HDLC => {
            network.offset += 4;
            Layer::EtherType(be16(bytes, network.offset - 2).ok_or(Cause::Short)?)
        }
        LinkType::PPP | LinkType::PPP_SERIAL => Layer::Ppp,
        LinkType::PPP_WITH_DIRECTION => {
            network.offset += 1;
            Layer::Ppp
        }
        LinkType::PPPOE => Layer::Pppoe,
        LinkType::MPLS => Layer::Mpls,
        LinkType::NFLOG => nflog::payload(bytes, network)?,
        LinkType::IPNET => ipnet(bytes, network)?,
        // 12 and 14 are what BSDs write for raw IP.
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType(12 | 14) => Layer::Ip,
        LinkType::NULL | LinkType::LOOP => loopback(bytes, network)?,
        _ => return Err(Cause::LinkType),
    })
}

/// Takes one header after the other off, from a `layer` at `network.offset`.
///
/// # Errors
/// As [`strip`].
pub(crate) fn follow(bytes: &[u8], layer: Layer, mut network: Network) -> Result<Network, Cause> {
    walk(bytes, layer, &mut network)?;
    Ok(network)
}

/// The same in place: what is copied from layer to layer takes longer than all else.
#[inline(always)]
fn walk(bytes: &[u8], mut layer: Layer, network: &mut Network) -> Result<(), Cause> {
    // A loop, as headers may hold each other without end.
    for _ in 0..LINK_HEADERS {
        layer = match layer {
            Layer::Ip => return Ok(()),
            Layer::Ethernet => ether::header(bytes, network)?,
            Layer::EtherType(kind) => ether::payload(bytes, kind, network)?,
            Layer::Llc => ether::llc(bytes, network)?,
            Layer::Mpls => mpls::labels(bytes, network)?,
            Layer::Ppp => ppp::payload(bytes, network)?,
            Layer::Pppoe => ppp::session(bytes, network)?,
        };
    }
    Err(Cause::LinkDepth)
}

/// The place of a MAC address that was captured.
#[inline]
fn mac(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<6>()?;
    u16::try_from(at).ok()
}

/// Bytes of an Ethernet hardware address in Linux's captures.
const MAC_BYTES: u16 = 6;

/// Linux cooked capture, version 1.
fn sll(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    let kind = be16(header, 14).ok_or(Cause::Short)?;
    if be16(header, 4) == Some(MAC_BYTES) {
        network.macs[0] = mac(bytes, network.offset + 6);
    }
    network.offset += 16;
    Ok(Layer::EtherType(kind))
}

/// Version 2.
fn sll2(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    let header: &[u8; 20] = header.first_chunk().ok_or(Cause::Short)?;
    if u16::from(header[11]) == MAC_BYTES {
        network.macs[0] = mac(bytes, network.offset + 12);
    }
    network.offset += 20;
    Ok(Layer::EtherType(u16::from_be_bytes([header[0], header[1]])))
}

/// BSD's loopback: an address family, in whichever byte order the capturing host had.
fn loopback(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    let family: [u8; 4] = *header.first_chunk().ok_or(Cause::Short)?;
    network.offset += 4;
    // AF_INET, and AF_INET6 of Linux, the BSDs and Darwin.
    let known = |family| matches!(family, 2 | 10 | 24 | 28 | 30);
    let is_known = known(u32::from_le_bytes(family)) || known(u32::from_be_bytes(family));
    if is_known { Ok(Layer::Ip) } else { Err(Cause::AddressFamily) }
}

/// Solaris's IP observability: version, address family, and 22 bytes about zones and interfaces.
fn ipnet(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 26;
    let header = bytes.get(network.offset..).unwrap_or_default();
    let header: &[u8; 24] = header.first_chunk().ok_or(Cause::Short)?;
    network.offset += 24;
    match header[1] {
        AF_INET | AF_INET6 => Ok(Layer::Ip),
        _ => Err(Cause::AddressFamily),
    }
}
