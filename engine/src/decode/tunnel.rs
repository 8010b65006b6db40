//! Tunnels: from an IP header to the one inside.
//!
//! IP in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, RFC 2890, RFC 2637), ERSPAN
//! (draft-foschiano-erspan-03), and over UDP: VXLAN (RFC 7348), Geneve (RFC 8926), GTP-U
//! (3GPP TS 29.281), Teredo (RFC 4380), L2TP (RFC 2661). What is none, is cut before the inner
//! header, or carries no IP stays a packet of the outer one.

use crate::decode::fragments::Ports;
use crate::decode::ip::{self, IpHeader};
use crate::decode::link::{self, Layer, Network};
use crate::decode::{be16, be32};
use crate::flow::{PortKind, Tunnel, TunnelKind, protocol};
use crate::source::Frame;

/// UDP ports of tunnels.
mod port {
    pub(super) const L2TP: u16 = 1_701;
    pub(super) const GTP_U: u16 = 2_152;
    pub(super) const TEREDO: u16 = 3_544;
    pub(super) const VXLAN: u16 = 4_789;
    pub(super) const GENEVE: u16 = 6_081;
}

/// GRE protocol types that are no EtherTypes of their payload, or say more than those.
mod gre_type {
    pub(super) const ERSPAN_2: u16 = 0x88be;
    pub(super) const ERSPAN_3: u16 = 0x22eb;
    /// A whole Ethernet frame: NVGRE, if it has a key and no sequence number.
    pub(super) const BRIDGED: u16 = 0x6558;
}

/// UDP ports behind which tunnels are looked for, if no others are given.
pub const TUNNEL_PORTS: [u16; 5] =
    [port::L2TP, port::GTP_U, port::TEREDO, port::GENEVE, port::VXLAN];

/// Ports that may be given for VXLAN beside its own.
pub const VXLAN_PORTS: usize = 3;

/// Which IP header makes the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tunnels {
    /// The outermost: tunnels stay closed.
    #[default]
    Outer,
    /// The innermost.
    Inner(TunnelPorts),
}

/// The UDP ports behind which tunnels are looked for: those known, and some for VXLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelPorts([u16; TUNNEL_PORTS.len() + VXLAN_PORTS]);

impl Default for TunnelPorts {
    fn default() -> Self {
        Self::with_vxlan(&[]).expect("there are few")
    }
}

impl Tunnels {
    /// The ports behind which tunnels are looked for, though they stay closed.
    #[must_use]
    pub fn ports(self) -> TunnelPorts {
        match self {
            Self::Inner(ports) => ports,
            Self::Outer => TunnelPorts::default(),
        }
    }
}

impl TunnelPorts {
    /// With these for VXLAN beside its own; `None` if there are more than [`VXLAN_PORTS`].
    #[must_use]
    pub fn with_vxlan(vxlan: &[u16]) -> Option<Self> {
        let mut all = [port::VXLAN; TUNNEL_PORTS.len() + VXLAN_PORTS];
        all[..TUNNEL_PORTS.len()].copy_from_slice(&TUNNEL_PORTS);
        all[TUNNEL_PORTS.len()..].get_mut(..vxlan.len())?.copy_from_slice(vxlan);
        Some(Self(all))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[u16; TUNNEL_PORTS.len() + VXLAN_PORTS] {
        &self.0
    }

    /// Whether one of the ports is one of these.
    #[inline]
    pub(crate) fn may_be(&self, [source, destination]: [u16; 2]) -> bool {
        self.0.iter().any(|&port| port == source || port == destination)
    }

    /// Whether what is of this protocol and goes between these ports, 0 where there are none, is worth
    /// a look inside.
    #[inline]
    pub(crate) fn may_carry(&self, protocol: u8, ports: [u16; 2]) -> bool {
        match protocol {
            protocol::UDP => self.may_be(ports),
            protocol::IP_IN_IP | protocol::IPV6_IN_IP | protocol::GRE => true,
            _ => false,
        }
    }

    fn is_vxlan(&self, port: u16) -> bool {
        self.0[4..].contains(&port)
    }
}

/// What a tunnel holds.
pub(super) struct Inside {
    /// As far as it tells flows apart.
    pub(super) tunnel: Tunnel,
    /// An identifier that does not.
    pub(super) id: Option<u32>,
    pub(super) network: Network,
    pub(super) header: IpHeader,
    /// Captured bytes up to which the inner packet goes at most.
    pub(super) end: usize,
}

/// What is inside, if the packet with this header and these ports is a tunnel's and has an IP
/// packet in it. A fragment makes no flow of what is inside, as only the first one of a datagram
/// could be opened, and all are in one flow: that is opened for who `opens_fragments`.
#[inline(never)]
pub(super) fn open(
    frame: &Frame<'_>,
    network: &Network,
    header: &IpHeader,
    ports: Ports,
    known: &TunnelPorts,
    opens_fragments: bool,
) -> Option<Inside> {
    if header.fragment.is_some_and(|fragment| !opens_fragments || fragment.offset != 0) {
        return None;
    }
    // Padding behind the IP packet is not part of it.
    let end = frame.bytes.len().min(header.offset.saturating_add(header.length as usize));
    let payload = Payload { bytes: frame.bytes.get(..end)?, at: header.end(), network };
    let mut id = None;
    let (tunnel, network) = match header.protocol {
        protocol::UDP if ports.kind == PortKind::Ports => payload.udp(ports, known, &mut id),
        protocol::IP_IN_IP => Some((Tunnel::of(TunnelKind::IpIp), payload.ip(0))),
        protocol::IPV6_IN_IP => Some((Tunnel::of(TunnelKind::SixInFour), payload.ip(0))),
        protocol::GRE => payload.gre(&mut id),
        _ => None,
    }?;
    let inside = Frame { bytes: payload.bytes, ..*frame };
    let header = ip::parse(&inside, &network).ok()?;
    Some(Inside { tunnel, id, network, header, end })
}

/// What stands behind an IP header.
struct Payload<'a> {
    /// From the frame's beginning to the packet's end.
    bytes: &'a [u8],
    at: usize,
    network: &'a Network,
}

impl Payload<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(self.at + at).copied()
    }

    fn half(&self, at: usize) -> Option<u16> {
        be16(self.bytes, self.at + at)
    }

    fn word(&self, at: usize) -> Option<u32> {
        be32(self.bytes, self.at + at)
    }

    /// An IP header, of whichever version.
    fn ip(&self, at: usize) -> Network {
        self.network.inside(self.at + at)
    }

    /// An EtherType's payload.
    fn ether_type(&self, kind: u16, at: usize) -> Option<Network> {
        self.link(Layer::EtherType(kind), at)
    }

    fn ethernet(&self, at: usize) -> Option<Network> {
        self.link(Layer::Ethernet, at)
    }

    fn link(&self, layer: Layer, at: usize) -> Option<Network> {
        link::follow(self.bytes, layer, self.ip(at)).ok()
    }

    /// `own_id` becomes a key that does not tell flows apart.
    fn gre(&self, own_id: &mut Option<u32>) -> Option<(Tunnel, Network)> {
        const CHECKSUM_OR_ROUTING: u16 = 0xc000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        // Of version 1, which PPTP uses.
        const ACKNOWLEDGEMENT: u16 = 0x0080;
        let (flags, kind) = (self.half(0)?, self.half(2)?);
        let field = |is_there: bool| if is_there { 4 } else { 0 };
        let key_at = 4 + field(flags & CHECKSUM_OR_ROUTING != 0);
        let has_key = flags & KEY != 0;
        let has_sequence = flags & SEQUENCE != 0;
        let is_pptp = flags & 7 == 1;
        let at = key_at
            + field(has_key)
            + field(has_sequence)
            + field(is_pptp && flags & ACKNOWLEDGEMENT != 0);
        match kind {
            gre_type::ERSPAN_2 => {
                // Type I has no header of its own, and no sequence number before it.
                let session = has_sequence.then(|| self.half(at + 2)).flatten();
                let id = session.map(|session| u32::from(session & 0x3ff));
                let network = self.ethernet(at + if has_sequence { 8 } else { 0 })?;
                Some((Tunnel { kind: TunnelKind::Erspan, id }, network))
            }
            gre_type::ERSPAN_3 => {
                let id = Some(u32::from(self.half(at + 2)? & 0x3ff));
                let has_more = self.byte(at + 11)? & 1 != 0;
                let network = self.ethernet(at + if has_more { 20 } else { 12 })?;
                Some((Tunnel { kind: TunnelKind::Erspan, id }, network))
            }
            0 => None,
            _ => {
                // PPTP's key has a length in it. NVGRE's (RFC 7637) is a network, behind which
                // eight bits spread its packets over paths. Any other (RFC 2890) may be another
                // one each way, so that it does not tell flows apart.
                let key = if has_key && !is_pptp { Some(self.word(key_at)?) } else { None };
                let is_nvgre = kind == gre_type::BRIDGED && !has_sequence;
                let network_id = key.filter(|_| is_nvgre).map(|key| key >> 8);
                *own_id = key.filter(|_| !is_nvgre);
                let tunnel = Tunnel { kind: TunnelKind::Gre, id: network_id };
                Some((tunnel, self.ether_type(kind, at)?))
            }
        }
    }

    /// `own_id` becomes an identifier that does not tell flows apart.
    fn udp(
        &self,
        ports: Ports,
        known: &TunnelPorts,
        own_id: &mut Option<u32>,
    ) -> Option<(Tunnel, Network)> {
        let inside = Payload { at: self.at + 8, ..*self };
        // None of their headers is shorter.
        inside.byte(7)?;
        let either = |port| ports.source == port || ports.destination == port;
        match ports.destination {
            to if known.is_vxlan(to) => inside.vxlan(),
            port::GENEVE => inside.geneve(),
            _ if either(port::GTP_U) => inside.gtp_u(own_id),
            _ if either(port::TEREDO) => inside.teredo(),
            _ if either(port::L2TP) => inside.l2tp(own_id),
            _ => None,
        }
    }

    fn vxlan(&self) -> Option<(Tunnel, Network)> {
        let has_id = self.byte(0)? & 0x08 != 0;
        let id = self.word(4)? >> 8;
        let network = if has_id { self.ethernet(8)? } else { return None };
        Some((Tunnel { kind: TunnelKind::Vxlan, id: Some(id) }, network))
    }

    fn geneve(&self) -> Option<(Tunnel, Network)> {
        let first = self.byte(0)?;
        if first >> 6 != 0 {
            return None;
        }
        let options = usize::from(first & 0x3f) * 4;
        let network = self.ether_type(self.half(2)?, 8 + options)?;
        Some((Tunnel { kind: TunnelKind::Geneve, id: Some(self.word(4)? >> 8) }, network))
    }

    /// Version 1, a user's packet (message type 255). Each direction has an endpoint identifier
    /// of its own, so that it does not tell flows apart.
    fn gtp_u(&self, own_id: &mut Option<u32>) -> Option<(Tunnel, Network)> {
        const USER_DATA: u8 = 255;
        let flags = self.byte(0)?;
        if flags >> 4 != 3 || self.byte(1)? != USER_DATA {
            return None;
        }
        let mut at = 8;
        if flags & 7 != 0 {
            at += 4;
            let mut next = if flags & 4 != 0 { self.byte(at - 1)? } else { 0 };
            // Each extension says its length, which is not 0, and ends with what follows it.
            while next != 0 {
                let words = usize::from(self.byte(at)?);
                if words == 0 {
                    break;
                }
                at += words * 4;
                next = self.byte(at - 1)?;
            }
        }
        *own_id = self.word(4);
        let is_ip = matches!(self.byte(at)? >> 4, 4 | 6);
        is_ip.then(|| (Tunnel::of(TunnelKind::GtpU), self.ip(at)))
    }

    fn teredo(&self) -> Option<(Tunnel, Network)> {
        let mut at = 0;
        if self.half(0)? == 1 && self.byte(13).is_some() {
            // Authentication: a client identifier and a value, and their lengths.
            at = 13 + usize::from(self.byte(2)?) + usize::from(self.byte(3)?);
        }
        if self.half(at)? == 0 {
            // Origin indication.
            at += 8;
        }
        let is_ipv6 = self.byte(at)? >> 4 == 6;
        is_ipv6.then(|| (Tunnel::of(TunnelKind::Teredo), self.ip(at)))
    }

    /// Version 2, a data message, which holds PPP. Its tunnel and its session have numbers that
    /// are each end's own.
    fn l2tp(&self, own_id: &mut Option<u32>) -> Option<(Tunnel, Network)> {
        const CONTROL: u16 = 0x8000;
        const LENGTH: u16 = 0x4000;
        const SEQUENCE: u16 = 0x0800;
        const OFFSET: u16 = 0x0200;
        let flags = self.half(0)?;
        if flags & CONTROL != 0 || flags & 0xf != 2 {
            return None;
        }
        let ids_at = if flags & LENGTH != 0 { 4 } else { 2 };
        *own_id = self.word(ids_at);
        let mut at = ids_at + 4;
        if flags & SEQUENCE != 0 {
            at += 4;
        }
        if flags & OFFSET != 0 {
            at += 2 + usize::from(self.half(at)?);
        }
        Some((Tunnel::of(TunnelKind::L2tp), self.link(Layer::Ppp, at)?))
    }
}
