//! A record in the elements of its template.

use std::net::{IpAddr, Ipv6Addr};

use super::low_half;
use super::own::{app_source, tcp_state};
use super::template::{
    DST_MAC, FLAGS, ICMP, INNER_VLAN, INTERFACE, MILLISECONDS, MPLS, NAMES, NETFLOW9, OWN, PORTS,
    PREFIX, REVERSE, SAMPLED_FLOWS, SAMPLED_PACKETS, SRC_MAC, TUNNEL, Template, VLAN, WIDE, counts,
    has_headers, has_own,
};
use crate::export::schema::{Row, Side};
use crate::flow::MplsLabels;
use crate::limits::{INTERFACE_BYTES, KEY_VLANS, NAME_BYTES, RECORD_LABELS};
use crate::names::facts::FlowFacts;
use crate::time::{SECOND_NS, Timestamp};

/// Seconds from 1900, where NTP's time begins (RFC 7011 section 6.1.10), to 1970.
const NTP_SECONDS: i64 = 2_208_988_800;

/// Bytes of the longest record without names.
pub(super) const PLAIN_BYTES: usize = 474 + 1 + APP_BYTES + 1;
/// Bytes of an application's name (RFC 6335 section 5.1).
pub(super) const APP_BYTES: usize = 15;
/// Bytes of a text that is none from the wire: the longest name of a cipher suite has less.
pub(super) const WORD_BYTES: usize = 64;
/// Names in all their texts.
const NAMES_BYTES: usize =
    10 * (3 + NAME_BYTES) + 8 + 2 * (1 + WORD_BYTES) + 1 + 2 * (3 + DEVICE_BYTES);
/// A device: its MAC address, two names, and where they are from.
pub(super) const DEVICE_BYTES: usize = 2 * (1 + NAME_BYTES) + 40;
/// Bytes of the longest record.
pub(super) const RECORD_BYTES: usize = PLAIN_BYTES + NAMES_BYTES;

/// Stands for a number that is not known.
const UNKNOWN: u64 = u64::MAX;

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

    /// A text of variable length (RFC 7011 section 7), of which up to `most` bytes are written.
    fn text(&mut self, text: Option<&str>, most: usize) {
        let text = text.unwrap_or_default();
        let bytes = &text.as_bytes()[..text.floor_char_boundary(most)];
        let len = u16::try_from(bytes.len()).unwrap_or(0);
        match len.to_be_bytes() {
            [0, len] if len < u8::MAX => self.put([len]),
            [high, low] => self.put([u8::MAX, high, low]),
        }
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    #[inline(always)]
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.put(address.octets()),
            IpAddr::V6(address) => self.put(address.octets()),
        }
    }
}

/// Writes the values of [`elements`](super::template::elements).
#[inline]
pub(super) fn write(row: &Row<'_>, template: Template, to: &mut Record) {
    let has = |what: Template| template & what != 0;
    let record = row.record;
    if let Some((first, last)) = row.times() {
        if has(MILLISECONDS) {
            to.put(milliseconds(first));
            to.put(milliseconds(last));
        }
        if !has(NETFLOW9) {
            to.put(ntp_time(first));
            to.put(ntp_time(last));
        }
    }
    to.put([record.key.protocol()]);
    to.put([record.total.end.map_or(0, |reason| reason as u8)]);
    if has(PREFIX) {
        to.address(row.address(Side::Dst));
        to.put([u8::try_from(row.prefix_length().unwrap_or(0)).unwrap_or(0)]);
    } else {
        to.put(row.flow_id().to_be_bytes());
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
    if has(MPLS) {
        mpls(row.mpls().unwrap_or_default(), to);
    }
    if has(INTERFACE) {
        // 0 is none, as that of aggregates is not kept.
        to.put(row.interface_index().unwrap_or(0).to_be_bytes());
    }
    if template & (OWN | NAMES | TUNNEL) != 0 {
        write_own(row, template, to);
    }
    for side in [Side::Src, Side::Dst] {
        if side == Side::Dst && !has(REVERSE) {
            continue;
        }
        let mut put_count = |count: u64| match has(WIDE) {
            true => to.put(count.to_be_bytes()),
            false => to.put(low_half(count).to_be_bytes()),
        };
        let [packets, bytes, frame_bytes, payload_bytes] = counts(row, side);
        put_count(packets);
        put_count(bytes);
        if !has(NETFLOW9) {
            put_count(frame_bytes);
            put_count(payload_bytes);
        }
        if has(FLAGS) {
            let flags = row.side(side).tcp_flags;
            match has(NETFLOW9) {
                true => to.put([flags]),
                false => to.put(u16::from(flags).to_be_bytes()),
            }
        }
        if has_headers(template, side == Side::Dst) {
            let (min, max) = row.side(side).ttl().unwrap_or_default();
            to.put([min, max, row.dscp(side).unwrap_or_default()]);
        }
        if has(OWN) {
            write_own_of_side(row, side, template, to);
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

/// The own elements of a flow as a whole.
#[inline(never)]
fn write_own(row: &Row<'_>, template: Template, to: &mut Record) {
    let number = |number: Option<u64>| number.unwrap_or(UNKNOWN);
    if template & OWN != 0 {
        to.text(row.interface(), INTERFACE_BYTES);
    }
    if has_own(template, 0) {
        let app = row.app();
        to.text(app.map(|(app, _)| app), APP_BYTES);
        to.put([app_source(app.map(|(_, source)| source))]);
        to.put(row.record.total.part.to_be_bytes());
    }
    if has_own(template, FLAGS) {
        to.put([tcp_state(row.record.tcp_state())]);
        for step in [0, 1] {
            to.put(low_half(number(row.round_trip(step))).to_be_bytes());
        }
    }
    if template & TUNNEL != 0 {
        let tunnel = row.tunnel(row.encapsulation());
        to.text(tunnel.map(|it| it.tunnel.kind.name()), NAME_BYTES);
        // IPv4 as IPv6 has it (RFC 4291 section 2.5.5.2).
        let ends = tunnel.and_then(|it| it.ends).unwrap_or([Ipv6Addr::UNSPECIFIED.into(); 2]);
        for end in ends {
            match end {
                IpAddr::V4(end) => to.put(end.to_ipv6_mapped().octets()),
                IpAddr::V6(end) => to.put(end.octets()),
            }
        }
        to.put(number(tunnel.and_then(|it| it.tunnel.id).map(u64::from)).to_be_bytes());
    }
    if template & NAMES != 0 {
        let facts = row.labels.and_then(|labels| labels.facts.as_deref());
        let name = row.name();
        to.text(facts.and_then(|facts| facts.sni.as_deref()), NAME_BYTES);
        to.text(facts.and_then(|facts| facts.alpn.as_deref()), NAME_BYTES);
        to.text(facts.and_then(|facts| facts.ja4.as_deref()), NAME_BYTES);
        to.text(facts.and_then(FlowFacts::tls_version).as_deref(), WORD_BYTES);
        to.text(facts.and_then(FlowFacts::tls_cipher).as_deref(), WORD_BYTES);
        to.put([facts.filter(|facts| facts.has_ech).map_or(u8::MAX, |_| 1)]);
        to.text(facts.and_then(|facts| facts.cert_subject.as_deref()), NAME_BYTES);
        to.text(facts.and_then(|facts| facts.cert_name.as_deref()), NAME_BYTES);
        to.text(facts.and_then(|facts| facts.http_host.as_deref()), NAME_BYTES);
        to.text(facts.and_then(|facts| facts.http_user_agent.as_deref()), NAME_BYTES);
        to.text(name.as_ref().map(|name| &*name.name), NAME_BYTES);
        to.text(name.as_ref().map(|name| name.source), NAME_BYTES);
        to.put(number(name.as_ref().and_then(|name| name.age_ns)).to_be_bytes());
        to.text(name.as_ref().and_then(|name| name.doubt), NAME_BYTES);
        for side in [Side::Src, Side::Dst] {
            let device = row.device(side).map(|device| device.in_one());
            to.text(device.as_deref(), DEVICE_BYTES);
        }
    }
}

/// The own elements of a direction.
#[inline(never)]
fn write_own_of_side(row: &Row<'_>, side: Side, template: Template, to: &mut Record) {
    let of = row.side(side);
    match template & WIDE != 0 {
        true => to.put(of.fragments.to_be_bytes()),
        false => to.put(low_half(of.fragments).to_be_bytes()),
    }
    if has_own(template, FLAGS) {
        for count in [of.retransmits, of.out_of_order, of.zero_windows] {
            to.put(count.to_be_bytes());
        }
    }
}

/// Entries of a stack: label, traffic class, bottom of stack. The class is not kept, and 0. Behind
/// the bottom there is nothing, and all bits are 0; a stack that fills all entries may go on.
#[inline(never)]
fn mpls(labels: MplsLabels, to: &mut Record) {
    let count = labels.iter().count();
    let all = labels.iter().chain(std::iter::repeat(0));
    for (place, label) in (1..=RECORD_LABELS).zip(all) {
        let is_bottom = place == count && count < RECORD_LABELS;
        let [.., a, b, c] = (label << 4 | u64::from(is_bottom)).to_be_bytes();
        to.put([a, b, c]);
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
