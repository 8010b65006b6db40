//! IPFIX messages in a file (RFC 5655, RFC 7011), flows in both directions in one record
//! (RFC 5103).
//!
//! Each batch of records is one message: new templates in the message before it, one data set
//! for each template. A template is made for each family of addresses and each set of fields
//! that a record has, as IPFIX has no absent values; its number says which. Elements are
//! IANA's (<https://www.iana.org/assignments/ipfix>). What has none there is left out:
//! `part`, `community_id`, `tcp_state`, fragments.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::export::schema::{Row, Side};
use crate::export::{Encoder, Rows};
use crate::flow::{RecordKind, protocol};
use crate::limits::{BATCH_RECORDS, KEY_VLANS};
use crate::time::{SECOND_NS, Timestamp};

/// RFC 7011 section 3.1.
const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// RFC 7011 section 3.3.2: the set of templates, and the first number a template may have.
const TEMPLATE_SET: u16 = 2;
const FIRST_TEMPLATE: u16 = 256;
/// RFC 5103 section 6.1: the enterprise number whose elements are those of the reverse
/// direction.
const REVERSE_PEN: u32 = 29_305;
const ENTERPRISE: u16 = 0x8000;
/// Seconds from 1900, where NTP's time begins (RFC 7011 section 6.1.9), to 1970.
const NTP_SECONDS: i64 = 2_208_988_800;

/// Bytes of the longest record.
const RECORD_BYTES: usize = 256;
/// Sets in one message, at most; there are fewer templates that differ in a batch.
const SETS: usize = BATCH_RECORDS;
const _: () = assert!(BATCH_RECORDS * (RECORD_BYTES - SET_HEADER) <= 65_535 - MESSAGE_HEADER);

/// What a record has, as the number of its template.
type Template = u16;

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
const TIMES: Template = 1 << 8;
/// An overflow aggregate: a destination prefix instead of ends.
const PREFIX: Template = 1 << 9;
const TEMPLATES: usize = 1 << 10;

/// Writes messages. Knows which templates the file has.
pub(crate) struct Ipfix {
    is_known: Box<[bool; TEMPLATES]>,
    /// The records of a batch by template.
    sets: Vec<(Template, Vec<u8>)>,
    record: Record,
}

impl Default for Ipfix {
    fn default() -> Self {
        let record = Record { bytes: [0; RECORD_BYTES], len: 0 };
        Self { is_known: Box::new([false; TEMPLATES]), sets: Vec::new(), record }
    }
}

impl Encoder for Ipfix {
    fn begin(&mut self, _out: &mut Vec<u8>) {
        self.is_known.fill(false);
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        let mut before = rows.before;
        for records in rows.records.chunks(BATCH_RECORDS) {
            self.message(&Rows { records, before, ..*rows }, out);
            before += records.len() as u64;
        }
    }
}

impl Ipfix {
    /// A message with all of the records.
    fn message(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        self.sets.iter_mut().for_each(|(_, set)| set.clear());
        for row in rows.iter() {
            let template = template_of(&row);
            self.record.len = 0;
            write(&row, template, &mut self.record);
            let place = self.place_of(template);
            self.sets[place].1.extend_from_slice(&self.record.bytes[..self.record.len]);
        }
        self.write_new_templates(rows.before, out);
        let bytes = self.sets().map(|(_, set)| SET_HEADER + set.len()).sum::<usize>();
        write_message_header(bytes, rows.before, out);
        for (template, set) in self.sets() {
            write_set_header(FIRST_TEMPLATE + template, set.len(), out);
            out.extend_from_slice(set);
        }
    }

    /// Where records of a template go.
    fn place_of(&mut self, template: Template) -> usize {
        let place = self.sets.iter().position(|&(known, _)| known == template);
        place.unwrap_or_else(|| {
            // Those of files before count too, and few batches have more than a handful.
            if self.sets.len() >= SETS {
                self.sets.retain(|(_, set)| !set.is_empty());
            }
            self.sets.push((template, Vec::new()));
            self.sets.len() - 1
        })
    }

    fn sets(&self) -> impl Iterator<Item = (Template, &Vec<u8>)> {
        let sets = self.sets.iter().filter(|(_, set)| !set.is_empty());
        sets.map(|(template, set)| (*template, set))
    }

    /// A message with the templates that the file does not have yet.
    fn write_new_templates(&mut self, before: u64, out: &mut Vec<u8>) {
        let mut templates = Vec::new();
        let new: Vec<_> = self.sets().map(|(template, _)| template).collect();
        for template in new {
            if !std::mem::replace(&mut self.is_known[usize::from(template)], true) {
                let elements = elements(template);
                let count = u16::try_from(elements.len()).expect("there are not so many elements");
                templates.extend_from_slice(&(FIRST_TEMPLATE + template).to_be_bytes());
                templates.extend_from_slice(&count.to_be_bytes());
                elements.iter().for_each(|element| element.describe(&mut templates));
            }
        }
        if !templates.is_empty() {
            write_message_header(SET_HEADER + templates.len(), before, out);
            write_set_header(TEMPLATE_SET, templates.len(), out);
            out.extend_from_slice(&templates);
        }
    }
}

/// RFC 7011 section 3.1; the sequence number counts records before the message.
fn write_message_header(sets: usize, before: u64, out: &mut Vec<u8>) {
    let len = u16::try_from(MESSAGE_HEADER + sets).expect("a batch fits into a message");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    // Both modulo 2^32.
    out.extend_from_slice(&low_half(now).to_be_bytes());
    out.extend_from_slice(&low_half(before).to_be_bytes());
    // One observation domain.
    out.extend_from_slice(&1_u32.to_be_bytes());
}

/// RFC 7011 section 3.3.2.
fn write_set_header(number: u16, bytes: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(SET_HEADER + bytes).expect("a batch fits into a message");
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn low_half(number: u64) -> u32 {
    number as u32
}

/// An element of a template.
#[derive(Debug, Clone, Copy)]
struct Element {
    number: u16,
    bytes: u16,
    is_reverse: bool,
}

impl Element {
    /// RFC 7011 section 3.2.
    fn describe(self, out: &mut Vec<u8>) {
        let bit = if self.is_reverse { ENTERPRISE } else { 0 };
        out.extend_from_slice(&(self.number | bit).to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        if self.is_reverse {
            out.extend_from_slice(&REVERSE_PEN.to_be_bytes());
        }
    }
}

/// The elements of a template, in the order in which [`write()`] writes them.
fn elements(template: Template) -> Vec<Element> {
    let has = |what: Template| template & what != 0;
    let mut elements = Vec::new();
    let mut add = |is_there: bool, number: u16, bytes: u16| {
        if is_there {
            elements.push(Element { number, bytes, is_reverse: false });
        }
    };
    add(has(TIMES), 156, 8); // flowStartNanoseconds
    add(has(TIMES), 157, 8); // flowEndNanoseconds
    add(true, 10, 4); // ingressInterface
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
    for is_reverse in [false, true] {
        // packetDeltaCount, octetDeltaCount, layer2OctetDeltaCount, transportOctetDeltaCount
        let counts = [2, 1, 352, 401].map(|number| Element { number, bytes: 8, is_reverse });
        elements.extend(counts);
        if has(FLAGS) {
            elements.push(Element { number: 6, bytes: 2, is_reverse }); // tcpControlBits
        }
    }
    elements
}

/// What a record has.
fn template_of(row: &Row<'_>) -> Template {
    let record = row.record;
    let bit = |what: Template, is_there: bool| if is_there { what } else { 0 };
    let vlans = record.key.vlan();
    let common = bit(V6, record.key.ip_version() == 6)
        | bit(FLAGS, record.key.protocol() == protocol::TCP)
        | bit(TIMES, row.times().is_some())
        | bit(VLAN, vlans[0] != 0)
        | bit(INNER_VLAN, vlans[1] != 0);
    if record.kind == RecordKind::Overflow {
        return common | PREFIX;
    }
    common
        | bit(PORTS, row.port(Side::Src).is_some())
        | bit(ICMP, row.icmp().is_some())
        | bit(SRC_MAC, row.mac(Side::Src).is_some())
        | bit(DST_MAC, row.mac(Side::Dst).is_some())
}

/// A record while it is written, in copies of a fixed length.
struct Record {
    bytes: [u8; RECORD_BYTES],
    len: usize,
}

impl Record {
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
fn write(row: &Row<'_>, template: Template, to: &mut Record) {
    let has = |what: Template| template & what != 0;
    let record = row.record;
    if let Some((first, last)) = row.times() {
        to.put(ntp_time(first));
        to.put(ntp_time(last));
    }
    // Interfaces count from 1: 0 is none.
    let interface = record.opening().map_or(0, |opening| u32::from(opening.interface) + 1);
    to.put(interface.to_be_bytes());
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
        let counts = row.side(side);
        to.put(counts.packets.to_be_bytes());
        to.put(counts.bytes.to_be_bytes());
        to.put(counts.frame_bytes.to_be_bytes());
        to.put(counts.payload_bytes.to_be_bytes());
        if has(FLAGS) {
            to.put(u16::from(counts.tcp_flags).to_be_bytes());
        }
    }
}

/// NTP's format (RFC 7011 section 6.1.9): seconds and their fraction, whose unit is 0.23 ns. It
/// is a little after the nanosecond, less than half of one, so that the nanosecond comes back
/// whether a reader rounds down, with exact numbers or floating ones, or to the nearest.
#[expect(clippy::cast_possible_truncation, reason = "eras of 2^32 seconds; a fraction is below 1")]
fn ntp_time(time: Timestamp) -> [u8; 8] {
    let second_ns = SECOND_NS.cast_signed();
    let (second, ns) = (time.div_euclid(second_ns), time.rem_euclid(second_ns).cast_unsigned());
    let seconds = second.wrapping_add(NTP_SECONDS) as u32;
    let fraction = (((4 * ns + 1) << 30) / SECOND_NS) as u32;
    ((u64::from(seconds) << 32) | u64::from(fraction)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_exactly() {
        for time in [0, 1, 999_999_999, 1_767_225_600_123_456_789, -1, 4_000_000_000_000_000_001] {
            let ntp = u64::from_be_bytes(ntp_time(time));
            let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
            let era = (time.div_euclid(1_000_000_000) + NTP_SECONDS) >> 32 << 32;
            let seconds = seconds.cast_signed() + era - NTP_SECONDS;
            let down = (fraction * 1_000_000_000) >> 32;
            let nearest = (fraction * 1_000_000_000 + (1 << 31)) >> 32;
            assert_eq!(seconds * 1_000_000_000 + down.cast_signed(), time);
            assert_eq!(nearest, down);
        }
    }

    #[test]
    fn no_record_is_longer_than_there_is_room() {
        let all = u16::try_from(TEMPLATES).unwrap();
        let longest = (0..all).map(|template| {
            elements(template).iter().map(|element| usize::from(element.bytes)).sum::<usize>()
        });
        assert!(longest.max().unwrap() <= RECORD_BYTES - SET_HEADER);
    }
}
