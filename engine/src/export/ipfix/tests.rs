//! Messages, templates and times.

use super::template::{RECORD_BYTES, SAMPLED, TEMPLATES, elements, ntp_time};
use super::*;
use crate::export::tests::{ROWS, tcp_record};
use crate::flow::{FlowRecord, Sampling};
use crate::limits::DATAGRAM_BYTES_BOUNDS;

#[test]
fn times_come_back_exactly() {
    for time in [0, 1, 999_999_999, 1_767_225_600_123_456_789, -1, 4_000_000_000_000_000_001] {
        let ntp = u64::from_be_bytes(ntp_time(time));
        let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
        let era = (time.div_euclid(1_000_000_000) + 2_208_988_800) >> 32 << 32;
        let seconds = seconds.cast_signed() + era - 2_208_988_800;
        let down = (fraction * 1_000_000_000) >> 32;
        let nearest = (fraction * 1_000_000_000 + (1 << 31)) >> 32;
        assert_eq!(seconds * 1_000_000_000 + down.cast_signed(), time);
        assert_eq!(nearest, down);
    }
}

/// Number, and how many bytes follow, of each set of each message; and the sequence numbers.
fn sets(mut bytes: &[u8]) -> (Vec<(u16, usize)>, Vec<u32>) {
    let short = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (mut sets, mut sequences) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        assert_eq!(short(bytes, 0), VERSION);
        let (message, rest) = bytes.split_at(short(bytes, 2).into());
        sequences.push(u32::from_be_bytes(message[8..12].try_into().unwrap()));
        let mut left = &message[MESSAGE_HEADER..];
        while !left.is_empty() {
            let len = usize::from(short(left, 2));
            sets.push((short(left, 0), len - SET_HEADER));
            left = &left[len..];
        }
        bytes = rest;
    }
    (sets, sequences)
}

fn rows(records: &[FlowRecord], sampling: Sampling) -> Rows<'_> {
    Rows { records, sampling, ..ROWS }
}

#[test]
fn a_file_has_its_templates_once_and_counts_from_zero() {
    let records = vec![tcp_record(); BATCH_RECORDS + 1];
    let mut encoder = Ipfix::default();
    let bytes_of = |template: u16| -> usize {
        elements(template).iter().map(|element| usize::from(element.bytes)).sum()
    };
    for _ in 0..2 {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.encode(&rows(&records, Sampling::ALL), &mut out);
        encoder.encode(&rows(&records[..2], Sampling::ALL), &mut out);
        let (sets, sequences) = sets(&out);
        let record = bytes_of(sets[1].0 - FIRST_TEMPLATE);
        let records: Vec<_> = sets[1..].iter().map(|set| set.1 / record).collect();
        assert_eq!((sets[0].0, records), (TEMPLATE_SET, vec![BATCH_RECORDS, 1, 2]));
        assert!(sets[1..].iter().all(|set| set.0 == sets[1].0 && set.1 % record == 0));
        assert_eq!(sequences, [0, 0, 256, 257]);
    }
}

#[test]
fn sampled_records_say_how_many_are_between() {
    // samplingPacketInterval and samplingPacketSpace, samplingFlowInterval and -Spacing.
    for (text, numbers, end) in [
        ("100:packet", [305, 306], vec![0, 0, 0, 1, 0, 0, 0, 99]),
        ("3", [396, 397], [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2]].concat()),
    ] {
        let (records, mut out) = ([tcp_record()], Vec::new());
        let mut encoder = Ipfix::default();
        encoder.begin(&mut out);
        let sampling = text.parse().unwrap();
        encoder.encode(&rows(&records, sampling), &mut out);
        assert!(out.ends_with(&end), "{text}");
        let (sets, _) = sets(&out);
        let elements = elements(sets[1].0 - FIRST_TEMPLATE);
        let last: Vec<_> = elements[elements.len() - 2..].iter().map(|e| e.number()).collect();
        assert_eq!(last, numbers, "{text}");
        let bytes: usize = elements.iter().map(|element| usize::from(element.bytes)).sum();
        assert_eq!(sets[1].1, bytes, "{text}");
    }
}

#[test]
fn no_record_is_longer_than_there_is_room() {
    let is_sampled_once = |template: &Template| template & SAMPLED != SAMPLED;
    let all = || (0..=u16::try_from(TEMPLATES - 1).unwrap()).filter(is_sampled_once);
    let longest = all().map(|template| {
        elements(template).iter().map(|element| usize::from(element.bytes)).sum::<usize>()
    });
    assert!(longest.max().unwrap() <= RECORD_BYTES);
    // In the smallest datagram too, as the template.
    let least = *DATAGRAM_BYTES_BOUNDS.start() - MESSAGE_HEADER - SET_HEADER;
    assert!(RECORD_BYTES <= least);
    let mut described = Vec::new();
    for template in all() {
        described.clear();
        describe(template, &mut described);
        assert!(described.len() <= least, "template {template}");
    }
}

/// What a packer gives of records, and how many of ours, of up to `most` bytes each.
fn packed(records: &[FlowRecord], most: usize, is_uniflow: bool) -> (Vec<u8>, u32) {
    let rows = rows(records, Sampling::ALL);
    let (mut out, mut flows) = (Vec::new(), 0);
    Packer::for_collector(most, is_uniflow).pack(&rows, &mut |packed: Packed<'_>| {
        let start = out.len();
        packed.write(&mut out);
        assert!(out.len() - start <= most, "{} bytes", out.len() - start);
        flows += packed.flows;
    });
    (out, flows)
}

#[test]
fn messages_are_no_longer_than_they_may_be_and_hardly_shorter() {
    let records = vec![tcp_record(); 1_000];
    for most in [512, 513, 1_400, MESSAGE_BYTES] {
        let (bytes, flows) = packed(&records, most, false);
        let (sets, _) = sets(&bytes);
        let record = elements(sets[0].0 - FIRST_TEMPLATE);
        let record: usize = record.iter().map(|element| usize::from(element.bytes)).sum();
        let in_message = ((most - MESSAGE_HEADER - SET_HEADER) / record).min(BATCH_RECORDS);
        assert_eq!(sets.len(), records.len().div_ceil(in_message), "{most} bytes");
        assert_eq!(sets.iter().map(|set| set.1 / record).sum::<usize>(), records.len());
        assert_eq!(flows as usize, records.len());
    }
}

#[test]
fn uniflows_are_two_records_and_none_of_a_side_that_sent_nothing() {
    let mut silent = tcp_record();
    let responder = silent.initiator().opposite();
    silent.total.sides[responder.idx()] = Default::default();
    let (both, flows) = packed(&[tcp_record()], MESSAGE_BYTES, true);
    let (one, one_flows) = packed(&[silent], MESSAGE_BYTES, true);
    assert_eq!((flows, one_flows), (1, 1));
    let ([both, one], len) = ([sets(&both).0, sets(&one).0], |set: (u16, usize)| set.1);
    assert_eq!((both.len(), one.len()), (1, 1));
    assert_eq!((both[0].0, len(both[0])), (one[0].0, 2 * len(one[0])));
    assert_eq!((both[0].0 - FIRST_TEMPLATE) & template::REVERSE, 0);
}

#[test]
fn templates_are_told_once_and_again_when_they_are_forgotten() {
    let mut templates = Templates::default();
    let all = || 0..100;
    let told = |messages: Vec<Vec<u8>>| {
        assert!(messages.iter().all(|message| message.len() <= 512));
        messages.iter().map(|message| sets(message).0.len()).sum::<usize>()
    };
    let first = told(templates.new_ones(all(), 512));
    assert!(first > 10);
    assert_eq!(told(templates.new_ones(all(), 512)), 0);
    templates.forget();
    assert_eq!(told(templates.new_ones(all(), 512)), first);
}
