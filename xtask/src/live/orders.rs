//! What the program `feed` has to know to give the frames of templates ends of their own.
//! Called by [`super::feed`].

use super::feed::Way;
use super::pace::Rate;
pub(super) use shared::{KINDS, Kind, Orders, State, state};
use shared::{kind, order};

#[path = "../../../ebpf/src/orders.rs"]
mod shared;

/// Where things are in an Ethernet frame with IPv4.
const IP_AT: usize = 14;
const ADDRESSES_AT: usize = 26;
const TRANSPORT_AT: usize = 34;
const UDP: u8 = 17;

/// How many templates there can be.
pub(crate) const MAX_TEMPLATES: usize = KINDS as usize;

/// A frame to be repeated: UDP or TCP over IPv4, without tags and options.
pub(crate) struct Template {
    pub(crate) frame: Vec<u8>,
    pub(crate) weight: u64,
}

/// A range of 16-bit numbers: the first, and how many.
pub(crate) type Range = (u16, u32);

/// How flows differ: the low halves of their addresses, and the source's port. Destinations go
/// fastest, then sources, then ports.
pub(crate) struct Spread {
    pub(crate) to: Range,
    pub(crate) from: Range,
    pub(crate) ports: Range,
}

impl Spread {
    /// How many flows there can be.
    pub(crate) fn room(&self) -> u64 {
        let all = [self.to, self.from, self.ports];
        let fits = |&(first, span): &Range| span > 0 && u32::from(first) + span <= 1 << 16;
        assert!(all.iter().all(fits), "ranges are of 16-bit numbers");
        all.iter().map(|range| u64::from(range.1)).product()
    }
}

/// What all frames are like.
pub(super) fn orders(
    interface: u32,
    flows: u32,
    spread: &Spread,
    frame: &[u8],
    way: Way,
) -> Orders {
    let mut orders = [0; order::COUNT];
    orders[order::INTERFACE] = interface;
    orders[order::FLOWS] = flows;
    let wide = |(first, span): Range| (u32::from(first), span);
    (orders[order::TO_FIRST], orders[order::TO_SPAN]) = wide(spread.to);
    (orders[order::FROM_FIRST], orders[order::FROM_SPAN]) = wide(spread.from);
    (orders[order::PORT_FIRST], orders[order::PORT_SPAN]) = wide(spread.ports);
    orders[order::IS_RECEIVED] = u32::from(way == Way::In);
    orders[order::IS_UDP] = u32::from(frame[IP_AT + 9] == UDP);
    orders
}

/// The kinds of frames, made by shortening the longest template, `whole`, of which each is a
/// beginning but for what the program writes. `rate` is kept by the program.
pub(super) fn kinds(templates: &[Template], whole: &[u8], rate: Option<Rate>) -> Vec<Kind> {
    assert!((1..=MAX_TEMPLATES).contains(&templates.len()), "there is room for the templates");
    let total: u64 = templates.iter().map(|template| template.weight).sum();
    let mut weight = 0;
    let kind = |template: &Template| {
        weight += template.weight;
        let frame = &template.frame;
        let (part, _) = blank(&whole[..frame.len()]);
        let (blank, ip_len) = blank(frame);
        let is_written = |at: usize| matches!(at, 16..18 | 38..40);
        let is_same = |at: usize| is_written(at) || at >= IP_AT + ip_len || part[at] == blank[at];
        assert!((0..frame.len()).all(is_same), "a template is the beginning of the longest");
        let transport = &blank[TRANSPORT_AT..IP_AT + ip_len];
        let pseudo = u64::from(frame[IP_AT + 9]) + transport.len() as u64;
        let mut kind = [0; kind::COUNT];
        kind[kind::UP_TO] = low32((u128::from(weight) << 32).div_ceil(total.into()) - 1);
        kind[kind::SHORTER] = low32((whole.len() - frame.len()) as u128);
        kind[kind::IP_LEN] = low32(ip_len as u128);
        kind[kind::IP_SUM] = fold(sum(&blank[IP_AT..TRANSPORT_AT]));
        kind[kind::TRANSPORT_SUM] =
            fold(pseudo + sum(&blank[ADDRESSES_AT..TRANSPORT_AT]) + sum(transport));
        let interval_ns = rate.map_or(0, |rate| rate.interval_ns(frame.len() as u64));
        kind[kind::INTERVAL_NS] = u32::try_from(interval_ns).unwrap_or(u32::MAX);
        kind
    };
    templates.iter().map(kind).collect()
}

/// The frame without what the program gives each a value of its own: checksums, the low halves
/// of addresses, and a port; and the length of its IP packet.
fn blank(frame: &[u8]) -> (Vec<u8>, usize) {
    assert_eq!(frame[12..15], [8, 0, 0x45], "IPv4 without tags and options");
    let mut blank = frame.to_vec();
    let checksum_at = TRANSPORT_AT + if frame[IP_AT + 9] == UDP { 6 } else { 16 };
    for at in [4, 10, 24, 28, 32, TRANSPORT_AT, checksum_at] {
        blank[at..at + 2].fill(0);
    }
    (blank, usize::from(u16::from_be_bytes([frame[16], frame[17]])))
}

/// Of 16-bit words (RFC 1071); an odd last byte is a high half.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
    bytes.chunks(2).map(|pair| u64::from(word(pair))).sum()
}

fn fold(mut sum: u64) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    low32(sum.into())
}

fn low32(number: u128) -> u32 {
    u32::try_from(number).expect("32 bits")
}
