//! Messages, templates and times.

use super::template::{RECORD_BYTES, TEMPLATES, elements, ntp_time};
use super::*;
use crate::export::tests::tcp_record;
use crate::flow::{FlowRecord, Sampling};

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

fn rows(records: &[FlowRecord], sampling: Sampling, before: u64) -> Rows<'_> {
    Rows { records, interfaces: &[], encapsulations: None, sampling, before }
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
        encoder.encode(&rows(&records, Sampling::ALL, 0), &mut out);
        let before = records.len() as u64;
        encoder.encode(&rows(&records[..2], Sampling::ALL, before), &mut out);
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
        encoder.encode(&rows(&records, sampling, 0), &mut out);
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
    let all = u16::try_from(TEMPLATES).unwrap();
    let longest = (0..all).map(|template| {
        elements(template).iter().map(|element| usize::from(element.bytes)).sum::<usize>()
    });
    assert!(longest.max().unwrap() <= RECORD_BYTES);
}
