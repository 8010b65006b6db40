//! What a record has, and in which elements it is written: a template for each set of fields.

use std::net::IpAddr;

use super::{FIRST_TEMPLATE, low_half};
use crate::export::schema::{Row, Side};
use crate::flow::{RecordKind, Sampling, SamplingUnit, protocol};
use crate::limits::KEY_VLANS;
use crate::time::{SECOND_NS, Timestamp};

/// RFC 5103 section 6.1: the enterprise number whose elements are those of the reverse
/// direction.
const REVERSE_PEN: u32 = 29_305;
const ENTERPRISE: u16 = 0x8000;
/// Seconds from 1900, where NTP's time begins (RFC 7011 section 6.1.10), to 1970.
const NTP_SECONDS: i64 = 2_208_988_800;

/// Bytes of the longest record.
pub(super) const RECORD_BYTES: usize = 232;
/// What a record has, as the number of its template.
pub(in crate::export) type Template = u16;

/// IPv6 addresses.
const V6: Template = 1;
/// TCP's flags in both directions.
const FLAGS: Template = 1 << 1;
const PORTS: Template = 1 << 2;
/// ICMP's type and code.
const ICMP: Template = 1 << 3;
const SRC_MAC: Template = 1 << 4;
const DST_MAC: Template = 1 << 5;
const VLAN: Template = 1 << 6;
const INNER_VLAN: Template = 1 << 7;
/// First and last packet's time.
pub(super) const TIMES: Template = 1 << 8;
/// An overflow aggregate: a destination prefix instead of ends.
const PREFIX: Template = 1 << 9;
/// Counts in eight bytes: one of them does not fit four (RFC 7011 section 6.2).
const WIDE: Template = 1 << 10;
/// The responder has sent something; else its counts, all zero, are left out.
pub(super) const REVERSE: Template = 1 << 11;
/// One in so many packets.
const SAMPLED_PACKETS: Template = 1 << 12;
/// One in so many flows.
const SAMPLED_FLOWS: Template = 1 << 13;
/// Only one of them.
#[cfg(test)]
pub(super) const SAMPLED: Template = SAMPLED_PACKETS | SAMPLED_FLOWS;
/// The initiator's packets have a time to live and a code point; so have the responder's, if there
/// are any.
const HEADERS: Template = 1 << 14;
/// The times in milliseconds too: some collectors read no finer ones.
pub(super) const MILLISECONDS: Template = 1 << 15;
/// How many numbers there are. As a record is sampled in one way only, none of them is so high
/// that it would not do behind the first one that a template may have.
pub(super) const TEMPLATES: usize = 1 << 16;
const _: () = assert!(u16::MAX - SAMPLED_FLOWS < u16::MAX - FIRST_TEMPLATE);

/// An element of a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    number: u16,
    pub(super) bytes: u16,
    is_reverse: bool,
}

impl Element {
    #[cfg(test)]
    pub(super) fn number(self) -> u16 {
        self.number
    }

    /// RFC 7011 section 3.2.
    pub(super) fn describe(self, out: &mut Vec<u8>) {
        let bit = if self.is_reverse { ENTERPRISE } else { 0 };
        out.extend_from_slice(&(self.number | bit).to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        if self.is_reverse {
            out.extend_from_slice(&REVERSE_PEN.to_be_bytes());
        }
    }
}

/// The elements of a template, in the order in which [`write()`] writes them.
pub(super) fn elements(template: Template) -> Vec<Element> {
    let has = |what: Template| template & what != 0;
    let mut elements = Vec::new();
    let mut add = |is_there: bool, number: u16, bytes: u16| {
        if is_there {
            elements.push(Element { number, bytes, is_reverse: false });
        }
    };
    add(has(MILLISECONDS), 152, 8); // flowStartMilliseconds
    add(has(MILLISECONDS), 153, 8); // flowEndMilliseconds
    add(has(TIMES), 156, 8); // flowStartNanoseconds
    add(has(TIMES), 157, 8); // flowEndNanoseconds
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
    add(has(VLAN), 243, 2); // dot1qVlanId
    add(has(INNER_VLAN), 245, 2); // dot1qCustomerVlanId
    for is_reverse in [false, true].into_iter().filter(|&is_reverse| !is_reverse || has(REVERSE)) {
        let bytes = if has(WIDE) { 8 } else { 4 };
        // packetDeltaCount, octetDeltaCount, layer2OctetDeltaCount, transportOctetDeltaCount
        let counts = [2, 1, 352, 401].map(|number| Element { number, bytes, is_reverse });
        elements.extend(counts);
        if has(FLAGS) {
            elements.push(Element { number: 6, bytes: 2, is_reverse }); // tcpControlBits
        }
        if has_headers(template, is_reverse) {
            // minimumTTL, maximumTTL, ipDiffServCodePoint
            elements.extend([52, 53, 195].map(|number| Element { number, bytes: 1, is_reverse }));
        }
    }
    let mut add_to = |is_there: bool, numbers: [u16; 2], bytes: u16| {
        let both = numbers.map(|number| Element { number, bytes, is_reverse: false });
        elements.extend(both.into_iter().filter(|_| is_there));
    };
    // samplingPacketInterval, samplingPacketSpace; samplingFlowInterval, samplingFlowSpacing
    add_to(has(SAMPLED_PACKETS), [305, 306], 4);
    add_to(has(SAMPLED_FLOWS), [396, 397], 8);
    elements
}

/// Whether a side has a time to live and a code point: not if it sent nothing, nor in aggregates.
fn has_headers(template: Template, is_reverse: bool) -> bool {
    let needed = if is_reverse { REVERSE } else { HEADERS };
    template & needed != 0 && template & PREFIX == 0
}

/// What a record has.
pub(super) fn template_of(row: &Row<'_>) -> Template {
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
        | sampled(row.sampling)
        | bit(VLAN, vlans[0] != 0)
        | bit(INNER_VLAN, vlans[1] != 0);
    if record.kind == RecordKind::Overflow {
        return common | PREFIX;
    }
    common
        | bit(PORTS, row.port(Side::Src).is_some())
        | bit(ICMP, row.icmp().is_some())
        | bit(HEADERS, forward != 0)
        | bit(SRC_MAC, row.mac(Side::Src).is_some())
        | bit(DST_MAC, row.mac(Side::Dst).is_some())
}

/// What is counted of one side, in the order of its elements.
#[inline(always)]
fn counts(row: &Row<'_>, side: Side) -> [u64; 4] {
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

/// A record while it is written, in copies of a fixed length.
pub(super) struct Record {
    bytes: [u8; RECORD_BYTES],
    len: usize,
}

impl Default for Record {
    fn default() -> Self {
        Self { bytes: [0; RECORD_BYTES], len: 0 }
    }
}

impl Record {
    /// Bytes that were written since the last call.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What was written since the last call.
    pub(super) fn take(&mut self) -> &[u8] {
        let len = std::mem::take(&mut self.len);
        &self.bytes[..len]
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }

    #[inline(always)]
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.put(address.octets()),
            IpAddr::V6(address) => self.put(address.octets()),
        }
    }
}

/// Writes the values of [`elements`].
#[inline]
pub(super) fn write(row: &Row<'_>, template: Template, to: &mut Record) {
    let has = |what: Template| template & what != 0;
    let record = row.record;
    if let Some((first, last)) = row.times() {
        if has(MILLISECONDS) {
            to.put(milliseconds(first));
            to.put(milliseconds(last));
        }
        to.put(ntp_time(first));
        to.put(ntp_time(last));
    }
    to.put([record.key.protocol()]);
    to.put([record.total.end.map_or(0, |reason| reason as u8)]);
    if has(PREFIX) {
        to.address(row.address(Side::Dst));
        to.put([u8::try_from(row.prefix_length().unwrap_or(0)).unwrap_or(0)]);
    } else {
        to.put(record.flow_id().to_be_bytes());
        to.address(row.address(Side::Src));
        to.address(row.address(Side::Dst));
    }
    if has(PORTS) {
        to.put(row.port(Side::Src).unwrap_or(0).to_be_bytes());
        to.put(row.port(Side::Dst).unwrap_or(0).to_be_bytes());
    }
    if has(ICMP) {
        let (kind, code) = row.icmp().unwrap_or_default();
        to.put([kind, code]);
    }
    for (what, side) in [(SRC_MAC, Side::Src), (DST_MAC, Side::Dst)] {
        if has(what) {
            to.put(row.mac(side).unwrap_or_default());
        }
    }
    let vlans: [u16; KEY_VLANS] = record.key.vlan();
    for (what, vlan) in [(VLAN, vlans[0]), (INNER_VLAN, vlans[1])] {
        if has(what) {
            to.put(vlan.to_be_bytes());
        }
    }
    for side in [Side::Src, Side::Dst] {
        if side == Side::Dst && !has(REVERSE) {
            continue;
        }
        for count in counts(row, side) {
            match has(WIDE) {
                true => to.put(count.to_be_bytes()),
                false => to.put(low_half(count).to_be_bytes()),
            }
        }
        if has(FLAGS) {
            to.put(u16::from(row.side(side).tcp_flags).to_be_bytes());
        }
        if has_headers(template, side == Side::Dst) {
            let (min, max) = row.side(side).ttl().unwrap_or_default();
            to.put([min, max, row.dscp(side).unwrap_or_default()]);
        }
    }
    // One is kept, then so many are not (RFC 5477 section 8.2, RFC 7014 section 7).
    let left_out = row.sampling.every() - 1;
    if has(SAMPLED_PACKETS) {
        to.put(1_u32.to_be_bytes());
        to.put(left_out.to_be_bytes());
    }
    if has(SAMPLED_FLOWS) {
        to.put(1_u64.to_be_bytes());
        to.put(u64::from(left_out).to_be_bytes());
    }
}

/// RFC 7011 section 6.1.8: since 1970.
fn milliseconds(time: Timestamp) -> [u8; 8] {
    (time / 1_000_000).max(0).to_be_bytes()
}

/// NTP's format (RFC 7011 section 6.1.10): seconds and their fraction, whose unit is 0.23 ns. It
/// is a little after the nanosecond, less than half of one, so that the nanosecond comes back
/// whether a reader rounds down, with exact numbers or floating ones, or to the nearest.
#[expect(clippy::cast_possible_truncation, reason = "eras of 2^32 seconds; a fraction is below 1")]
pub(super) fn ntp_time(time: Timestamp) -> [u8; 8] {
    let second_ns = SECOND_NS.cast_signed();
    let (second, ns) = (time.div_euclid(second_ns), time.rem_euclid(second_ns).cast_unsigned());
    let seconds = second.wrapping_add(NTP_SECONDS) as u32;
    let fraction = (((4 * ns + 1) << 30) / SECOND_NS) as u32;
    ((u64::from(seconds) << 32) | u64::from(fraction)).to_be_bytes()
}
