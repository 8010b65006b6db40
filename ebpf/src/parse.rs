//! What the filter and sampling want to know of a frame: addresses, protocol, ports.
//!
//! Every step is bounded, and what was not reached stays unknown: a frame is never judged by
//! what it does not say. Tunnels are not looked into. What MPLS and PPPoE carry is: for sampling
//! alone, as an expression of the filter means something else by it.

use aya_ebpf::programs::XdpContext;

/// VLAN tags that are stepped over.
const VLAN_TAGS: usize = 3;
/// IPv6 extension headers that are stepped over.
const EXTENSIONS: usize = 6;
/// MPLS labels that are stepped over.
const LABELS: usize = 5;

/// EtherTypes (IEEE registry).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
/// A whole Ethernet frame.
const BRIDGED: u16 = 0x6558;

/// What was found. Numbers beside what says whether they are known, and no values that are there
/// at times only: the compiler would leave those undefined, with what a register last had, and
/// the verifier refuses to see a pointer there.
pub(crate) struct Packet {
    /// 4 or 6; 0 if no whole IP header was found, and then nothing below is known.
    pub(crate) version: u8,
    /// In network order; IPv4 in the first word.
    pub(crate) source: [u32; 4],
    /// Likewise.
    pub(crate) destination: [u32; 4],
    /// Behind extension headers; unknown, and 0, if these went on too far or were cut.
    pub(crate) protocol: u8,
    pub(crate) is_protocol_known: bool,
    /// What is known of ports; 0 if nothing.
    pub(crate) ports: Ports,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// Whether it has neither VLAN tags nor extension headers.
    pub(crate) is_plain: bool,
    /// Whether it is carried by MPLS, PPPoE or another Ethernet frame.
    pub(crate) is_carried: bool,
    /// The low words of the receiver's and the sender's MAC address.
    pub(crate) link: [u32; 2],
}

/// What is known of ports.
#[derive(Clone, Copy)]
pub(crate) enum Ports {
    /// They were read.
    Known,
    /// The protocol has none.
    None,
    /// They are in another fragment, or cut, or not reached.
    Unknown,
}

/// Reads a frame.
#[inline(always)]
pub(crate) fn parse(frame: &XdpContext) -> Packet {
    let mut packet = Packet {
        version: 0,
        source: [0; 4],
        destination: [0; 4],
        protocol: 0,
        is_protocol_known: false,
        ports: Ports::Unknown,
        source_port: 0,
        destination_port: 0,
        is_plain: true,
        is_carried: false,
        link: [0; 2],
    };
    let mut rest = Rest::of(frame);
    // Where it ends early, what follows is not known.
    let _ = link(&mut rest, &mut packet);
    packet
}

#[inline(always)]
fn link(rest: &mut Rest, packet: &mut Packet) -> Option<()> {
    let mut kind = ethernet(rest, packet)?;
    if kind == PPPOE_SESSION {
        packet.is_carried = true;
        kind = session(rest)?;
    }
    if matches!(kind, MPLS | MPLS_MULTICAST) {
        packet.is_carried = true;
        kind = labels(rest)?;
    }
    if kind == BRIDGED {
        packet.is_carried = true;
        kind = ethernet(rest, packet)?;
    }
    match kind {
        IPV4 => ipv4(rest, packet),
        IPV6 => ipv6(rest, packet),
        _ => None,
    }
}

/// The stations, and what is behind the tags.
#[inline(always)]
fn ethernet(rest: &mut Rest, packet: &mut Packet) -> Option<u16> {
    let header: [u8; 14] = rest.take()?;
    packet.link = [word(&header, 2), word(&header, 8)];
    let mut kind = be16(header[12], header[13]);
    for _ in 0..VLAN_TAGS {
        if !is_vlan(kind) {
            break;
        }
        packet.is_plain = false;
        let tag: [u8; 4] = rest.take()?;
        kind = be16(tag[2], tag[3]);
    }
    Some(kind)
}

/// What follows a PPPoE session's header (RFC 2516 section 4) and PPP's protocol, as an EtherType.
#[inline(always)]
fn session(rest: &mut Rest) -> Option<u16> {
    let header: [u8; 8] = rest.take()?;
    match (be16(header[0], header[1]), be16(header[6], header[7])) {
        (0x1100, 0x0021) => Some(IPV4),
        (0x1100, 0x0057) => Some(IPV6),
        (0x1100, 0x0281 | 0x0283) => Some(MPLS),
        _ => None,
    }
}

/// What is behind the labels (RFC 3032), as an EtherType, by its first bits (RFC 4928), as the
/// engine takes it.
#[inline(always)]
fn labels(rest: &mut Rest) -> Option<u16> {
    let mut is_bottom = false;
    for _ in 0..LABELS {
        if is_bottom {
            break;
        }
        let label: [u8; 4] = rest.take()?;
        is_bottom = label[2] & 1 != 0;
    }
    let [first] = rest.peek()?;
    match (is_bottom, first >> 4) {
        (true, 4) => Some(IPV4),
        (true, 6) => Some(IPV6),
        // The control word of a pseudowire (RFC 4385).
        (true, 0) => {
            rest.skip(4);
            Some(BRIDGED)
        }
        _ => None,
    }
}

/// RFC 791 section 3.1.
#[inline(always)]
fn ipv4(rest: &mut Rest, packet: &mut Packet) -> Option<()> {
    let header: [u8; 20] = rest.take()?;
    let len = ((header[0] & 0x0f) * 4) as usize;
    if header[0] >> 4 != 4 || len < header.len() {
        return None;
    }
    packet.version = 4;
    packet.source[0] = word(&header, 12);
    packet.destination[0] = word(&header, 16);
    packet.protocol = header[9];
    packet.is_protocol_known = true;
    let is_later_fragment = be16(header[6], header[7]) & 0x1fff != 0;
    rest.skip(len - header.len());
    ports(rest, packet, header[9], is_later_fragment)
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn ipv6(rest: &mut Rest, packet: &mut Packet) -> Option<()> {
    let header: [u8; 40] = rest.take()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    packet.version = 6;
    for idx in 0..4 {
        packet.source[idx] = word(&header, 8 + 4 * idx);
        packet.destination[idx] = word(&header, 24 + 4 * idx);
    }
    let mut next = header[6];
    let mut is_later_fragment = false;
    let mut is_over = false;
    for _ in 0..EXTENSIONS {
        // A later fragment begins somewhere behind the headers that its first one has.
        if is_later_fragment || is_over || !is_extension(next) {
            break;
        }
        packet.is_plain = false;
        let start: [u8; 8] = rest.take()?;
        match next {
            44 => is_later_fragment = be16(start[2], start[3]) & 0xfff8 != 0,
            51 => rest.skip(start[1] as usize * 4),
            // Nothing follows a mobility header as a rule (RFC 6275 section 6.1.1).
            135 if start[0] == 59 => is_over = true,
            _ => rest.skip(start[1] as usize * 8),
        }
        if !is_over {
            next = start[0];
        }
    }
    if is_extension(next) && !is_over {
        return None;
    }
    packet.protocol = next;
    packet.is_protocol_known = true;
    ports(rest, packet, next, is_later_fragment)
}

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, Shim6.
#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// The ports of TCP, UDP, DCCP, SCTP and UDP-Lite are at the same place.
#[inline(always)]
fn ports(rest: &mut Rest, packet: &mut Packet, protocol: u8, is_later: bool) -> Option<()> {
    if !matches!(protocol, 6 | 17 | 33 | 132 | 136) {
        packet.ports = Ports::None;
    } else if !is_later {
        let ports: [u8; 4] = rest.take()?;
        packet.ports = Ports::Known;
        packet.source_port = be16(ports[0], ports[1]);
        packet.destination_port = be16(ports[2], ports[3]);
    }
    Some(())
}

/// Whether a tag follows: IEEE 802.1Q, 802.1ad and the older numbers for a second tag.
#[inline(always)]
pub(crate) fn is_vlan(kind: u16) -> bool {
    matches!(kind, 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300)
}

#[inline(always)]
pub(crate) fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

/// Four bytes as they are, so in network order. All callers' places are constants.
#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What is left of the frame's first buffer.
pub(crate) struct Rest {
    at: usize,
    end: usize,
}

impl Rest {
    /// All of it.
    #[inline(always)]
    pub(crate) fn of(frame: &XdpContext) -> Self {
        Self { at: frame.data(), end: frame.data_end() }
    }

    /// The next bytes, if they are there.
    #[inline(always)]
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let next = self.at + N;
        if next > self.end {
            return None;
        }
        // SAFETY: so many bytes are there, as was just asked (and the verifier has seen), and
        // an array of bytes needs no alignment.
        let bytes = unsafe { *(self.at as *const [u8; N]) };
        self.at = next;
        Some(bytes)
    }

    /// The next bytes, which are still to be taken.
    #[inline(always)]
    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        Self { at: self.at, end: self.end }.take()
    }

    /// Goes on; that may be behind the end, where nothing can be taken.
    #[inline(always)]
    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }
}
