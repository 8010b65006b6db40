//! What a record has, and in which elements it is written: a template for each set of fields.

use super::FIRST_TEMPLATE;
use super::own::Own;
use crate::export::schema::{Row, Side};
use crate::flow::{RecordKind, Sampling, SamplingUnit, protocol};
use crate::limits::RECORD_LABELS;

/// RFC 5103 section 6.1: the enterprise number whose elements are those of the reverse
/// direction.
pub(super) const REVERSE_PEN: u32 = 29_305;
const ENTERPRISE: u16 = 0x8000;

/// What a record has. The lower 16 bits are of the record, and give the number of its template;
/// the others are the same for all records of a run, and say in which elements it is written.
pub(in crate::export) type Template = u32;

/// IPv6 addresses.
pub(super) const V6: Template = 1;
/// TCP's flags in both directions.
pub(super) const FLAGS: Template = 1 << 1;
/// ICMP's type and code.
pub(super) const ICMP: Template = 1 << 2;
pub(super) const SRC_MAC: Template = 1 << 3;
pub(super) const DST_MAC: Template = 1 << 4;
pub(super) const VLAN: Template = 1 << 5;
pub(super) const INNER_VLAN: Template = 1 << 6;
/// First and last packet's time.
pub(super) const TIMES: Template = 1 << 7;
/// An overflow aggregate: a destination prefix instead of ends.
pub(super) const PREFIX: Template = 1 << 8;
pub(super) const PORTS: Template = 1 << 9;
/// Counts in eight bytes: one of them does not fit four (RFC 7011 section 6.2).
pub(super) const WIDE: Template = 1 << 10;
/// The responder has sent something; else its counts, all zero, are left out.
pub(super) const REVERSE: Template = 1 << 11;
/// The initiator's packets have a time to live and a code point; so have the responder's, if there
/// are any.
pub(super) const HEADERS: Template = 1 << 12;
/// What the flow said of itself, its responder's name, and which devices its ends are: own elements.
pub(super) const NAMES: Template = 1 << 13;
/// The tunnel that it was in: own elements.
pub(super) const TUNNEL: Template = 1 << 14;
/// MPLS labels.
pub(super) const MPLS: Template = 1 << 15;
/// The times in milliseconds too: some collectors read no finer ones.
pub(super) const MILLISECONDS: Template = 1 << 16;
/// One in so many packets.
pub(super) const SAMPLED_PACKETS: Template = 1 << 17;
/// One in so many flows.
pub(super) const SAMPLED_FLOWS: Template = 1 << 18;
/// Own elements.
pub(super) const OWN: Template = 1 << 19;
/// The number of the interface.
pub(super) const INTERFACE: Template = 1 << 21;

/// NetFlow version 9: one direction, times in milliseconds only, no elements that are IPFIX's alone
/// where it has others.
pub(super) const NETFLOW9: Template = 1 << 20;

/// The bits that tell templates of one run apart.
pub(super) const OF_RECORD: Template = 0xffff;
/// An aggregate has no ports: so the upper eight bits are never all set, and each number has one
/// that a template may have (RFC 7011 section 3.4.1).
pub(super) const NEVER: Template = PREFIX | PORTS;
const _: () = assert!(NEVER & 0xff00 == NEVER && FIRST_TEMPLATE == 0x100);

/// What has more elements than any record.
pub(super) const LONGEST: Template =
    OF_RECORD & !PREFIX | OWN | MILLISECONDS | SAMPLED_PACKETS | SAMPLED_FLOWS | INTERFACE;

/// The number by which a run's messages know a template.
pub(super) fn number_of(template: Template) -> u16 {
    FIRST_TEMPLATE + (template & OF_RECORD) as u16
}

/// The number of one of 256 templates that no flow record has: those of options.
pub(super) const fn number_of_options(which: u8) -> u16 {
    FIRST_TEMPLATE + (NEVER & OF_RECORD) as u16 + which as u16
}

/// The length of an element that says its own (RFC 7011 section 7).
pub(super) const VARIABLE: u16 = 65_535;

/// An element of a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub(super) number: u16,
    pub(super) bytes: u16,
    /// Whose it is; 0 is IANA.
    pub(super) enterprise: u32,
}

impl Element {
    /// RFC 7011 section 3.2.
    pub(super) fn describe(self, out: &mut Vec<u8>) {
        let bit = if self.enterprise != 0 { ENTERPRISE } else { 0 };
        out.extend_from_slice(&(self.number | bit).to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        if self.enterprise != 0 {
            out.extend_from_slice(&self.enterprise.to_be_bytes());
        }
    }
}

/// The elements of a template, in the order in which [`write()`](super::record::write) writes them.
/// Own ones are those of enterprise `pen`.
pub(super) fn elements(template: Template, pen: u32) -> Vec<Element> {
    let has = |what: Template| template & what != 0;
    let mut elements = Vec::new();
    let mut add = |is_there: bool, number: u16, bytes: u16| {
        if is_there {
            elements.push(Element { number, bytes, enterprise: 0 });
        }
    };
    add(has(MILLISECONDS), 152, 8); // flowStartMilliseconds
    add(has(MILLISECONDS), 153, 8); // flowEndMilliseconds
    add(has(TIMES) && !has(NETFLOW9), 156, 8); // flowStartNanoseconds
    add(has(TIMES) && !has(NETFLOW9), 157, 8); // flowEndNanoseconds
    add(true, 4, 1); // protocolIdentifier
    add(true, 136, 1); // flowEndReason
    if has(PREFIX) {
        add(!has(V6), 45, 4); // destinationIPv4Prefix
        add(has(V6), 169, 16); // destinationIPv6Prefix
        add(true, if has(V6) { 30 } else { 13 }, 1); // destinationIPv6(4)PrefixLength
    } else {
        add(true, 148, 8); // flowId
        add(!has(V6), 8, 4); // sourceIPv4Address
        add(!has(V6), 12, 4); // destinationIPv4Address
        add(has(V6), 27, 16); // sourceIPv6Address
        add(has(V6), 28, 16); // destinationIPv6Address
    }
    add(has(PORTS), 7, 2); // sourceTransportPort
    add(has(PORTS), 11, 2); // destinationTransportPort
    add(has(ICMP), if has(V6) { 139 } else { 32 }, 2); // icmpTypeCodeIPv6(4)
    add(has(SRC_MAC), 56, 6); // sourceMacAddress
    add(has(DST_MAC), 80, 6); // destinationMacAddress
    add(has(VLAN), if has(NETFLOW9) { 58 } else { 243 }, 2); // SRC_VLAN, dot1qVlanId
    add(has(INNER_VLAN), 245, 2); // dot1qCustomerVlanId
    for place in 0..MPLS_ENTRIES {
        // mplsTopLabelStackSection, mplsLabelStackSection2 to 9
        add(has(MPLS), 70 + place, 3);
    }
    add(has(INTERFACE), 10, 4); // ingressInterface
    add(has(OWN), 82, VARIABLE); // interfaceName
    add(has_own(template, 0), 96, VARIABLE); // applicationName
    let own = |which: Own, bytes: u16, is_reverse: bool| Element {
        number: which.number(is_reverse),
        bytes,
        enterprise: pen,
    };
    let mut add_own = |is_there: bool, all: &[(Own, u16)], is_reverse: bool| {
        let all = all.iter().filter(|_| is_there);
        elements.extend(all.map(|&(which, bytes)| own(which, bytes, is_reverse)));
    };
    add_own(has_own(template, 0), &[(Own::AppSource, 1), (Own::Part, 4)], false);
    add_own(has_own(template, FLAGS), &OF_TCP, false);
    add_own(has(TUNNEL), &OF_TUNNEL, false);
    add_own(has(NAMES), &OF_NAMES, false);
    add_own(has(NAMES), &[(Own::Device, VARIABLE)], false);
    add_own(has(NAMES), &[(Own::Device, VARIABLE)], true);
    for is_reverse in [false, true].into_iter().filter(|&is_reverse| !is_reverse || has(REVERSE)) {
        let enterprise = if is_reverse { REVERSE_PEN } else { 0 };
        let bytes = if has(WIDE) { 8 } else { 4 };
        // packetDeltaCount, octetDeltaCount, layer2OctetDeltaCount, transportOctetDeltaCount
        let counts = [2, 1, 352, 401].map(|number| Element { number, bytes, enterprise });
        elements.extend(&counts[..if has(NETFLOW9) { 2 } else { 4 }]);
        if has(FLAGS) {
            let bytes = if has(NETFLOW9) { 1 } else { 2 };
            elements.push(Element { number: 6, bytes, enterprise }); // tcpControlBits
        }
        if has_headers(template, is_reverse) {
            // minimumTTL, maximumTTL, ipDiffServCodePoint
            elements.extend([52, 53, 195].map(|number| Element { number, bytes: 1, enterprise }));
        }
        if has(OWN) {
            elements.push(own(Own::Fragments, bytes, is_reverse));
        }
        if has_own(template, FLAGS) {
            elements.extend(OF_SEGMENTS.map(|which| own(which, 4, is_reverse)));
        }
    }
    let mut add_to = |is_there: bool, numbers: [u16; 2], bytes: u16| {
        let both = numbers.map(|number| Element { number, bytes, enterprise: 0 });
        elements.extend(both.into_iter().filter(|_| is_there));
    };
    // samplingPacketInterval, samplingPacketSpace; samplingFlowInterval, samplingFlowSpacing
    add_to(has(SAMPLED_PACKETS), [305, 306], 4);
    add_to(has(SAMPLED_FLOWS), [396, 397], 8);
    elements
}

/// Entries of an MPLS stack that a record has.
const MPLS_ENTRIES: u16 = 9;
const _: () = assert!(RECORD_LABELS == MPLS_ENTRIES as usize);

const OF_TCP: [(Own, u16); 3] = [(Own::TcpState, 1), (Own::RttServer, 4), (Own::RttClient, 4)];
pub(super) const OF_SEGMENTS: [Own; 3] = [Own::Retransmits, Own::OutOfOrder, Own::ZeroWindows];
const OF_TUNNEL: [(Own, u16); 4] = [
    (Own::TunnelType, VARIABLE),
    (Own::TunnelSource, 16),
    (Own::TunnelDestination, 16),
    (Own::TunnelId, 8),
];
const OF_NAMES: [(Own, u16); 14] = [
    (Own::Sni, VARIABLE),
    (Own::Alpn, VARIABLE),
    (Own::Ja4, VARIABLE),
    (Own::TlsVersion, VARIABLE),
    (Own::TlsCipher, VARIABLE),
    (Own::Ech, 1),
    (Own::CertSubject, VARIABLE),
    (Own::CertName, VARIABLE),
    (Own::HttpHost, VARIABLE),
    (Own::HttpUserAgent, VARIABLE),
    (Own::Name, VARIABLE),
    (Own::NameSource, VARIABLE),
    (Own::NameAge, 8),
    (Own::NameDoubt, VARIABLE),
];
/// Whether a flow of `what` kind has own elements; aggregates are not looked at so closely.
pub(super) fn has_own(template: Template, what: Template) -> bool {
    template & (OWN | what) == OWN | what && template & PREFIX == 0
}

/// Whether a side has a time to live and a code point: not if it sent nothing, nor in aggregates.
pub(super) fn has_headers(template: Template, is_reverse: bool) -> bool {
    let needed = if is_reverse { REVERSE } else { HEADERS };
    template & needed != 0 && template & PREFIX == 0
}

/// What a record has, with `own` elements or without.
#[inline]
pub(super) fn template_of(row: &Row<'_>, own: bool) -> Template {
    let record = row.record;
    let bit = |what: Template, is_there: bool| if is_there { what } else { 0 };
    let vlans = record.key.vlan();
    let all_bits = |side: Side| counts(row, side).into_iter().fold(0, std::ops::BitOr::bitor);
    let (forward, reverse) = (all_bits(Side::Src), all_bits(Side::Dst));
    let common = bit(WIDE, (forward | reverse) > u64::from(u32::MAX))
        | bit(REVERSE, reverse != 0)
        | bit(V6, record.key.ip_version() == 6)
        | bit(FLAGS, record.key.protocol() == protocol::TCP)
        | bit(TIMES, row.times().is_some())
        | bit(OWN, own)
        | bit(INTERFACE, !row.interface_indexes.is_empty())
        | sampled(row.sampling)
        | bit(VLAN, vlans[0] != 0)
        | bit(INNER_VLAN, vlans[1] != 0);
    if record.kind == RecordKind::Overflow {
        return common | PREFIX;
    }
    common
        | bit(
            NAMES,
            own && row.labels.is_some_and(|labels| labels.has_names() || labels.has_devices()),
        )
        | bit(TUNNEL, own && record.key.tunnel().is_some())
        | bit(MPLS, row.mpls().is_some())
        | bit(PORTS, row.port(Side::Src).is_some())
        | bit(ICMP, row.icmp().is_some())
        | bit(HEADERS, forward != 0)
        | bit(SRC_MAC, row.mac(Side::Src).is_some())
        | bit(DST_MAC, row.mac(Side::Dst).is_some())
}

/// What is counted of one side, in the order of its elements.
#[inline(always)]
pub(super) fn counts(row: &Row<'_>, side: Side) -> [u64; 4] {
    let counts = row.side(side);
    [counts.packets, counts.bytes, counts.frame_bytes, counts.payload_bytes]
}

fn sampled(sampling: Sampling) -> Template {
    match sampling.unit() {
        _ if !sampling.is_some() => 0,
        SamplingUnit::Packet => SAMPLED_PACKETS,
        SamplingUnit::Flow => SAMPLED_FLOWS,
    }
}
