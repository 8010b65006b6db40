//! Messages, templates and times.

use super::message::OPTIONS_SET;
use super::record::{
    APP_BYTES, DEVICE_BYTES, PLAIN_BYTES, RECORD_BYTES, Record, WORD_BYTES, ntp_time, write,
};
use super::template::{
    INTERFACE, MILLISECONDS, NAMES, NETFLOW9, NEVER, OF_RECORD, OWN, REVERSE, SAMPLED_FLOWS,
    SAMPLED_PACKETS, TUNNEL, VARIABLE, elements, number_of, template_of,
};
use super::*;
use crate::export::schema::Row;
use crate::export::tests::{ROWS, tcp_record};
use crate::flow::{FlowRecord, Opening, RecordKind, Sampling};
use crate::limits::{BATCH_RECORDS, DATAGRAM_BYTES_BOUNDS, INTERFACE_BYTES, NAME_BYTES};
use crate::names::Labels;
use crate::names::facts::FlowFacts;
use crate::sync::Arc;

const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const TEMPLATE_SET: u16 = 2;

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

/// Bytes of a record of the template with a number, in a run without more.
fn bytes_of(number: u32) -> usize {
    let elements = elements(number - u32::from(FIRST_TEMPLATE), 0);
    elements.iter().map(|element| usize::from(element.bytes)).sum()
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
    let mut encoder = Ipfix::new(None);
    for _ in 0..2 {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.encode(&rows(&records, Sampling::ALL), &mut out);
        encoder.encode(&rows(&records[..2], Sampling::ALL), &mut out);
        let (sets, sequences) = sets(&out);
        let record = bytes_of(sets[1].0.into());
        let records: Vec<_> = sets[1..].iter().map(|set| set.1 / record).collect();
        assert_eq!((sets[0].0, records), (TEMPLATE_SET, vec![BATCH_RECORDS, 1, 2]));
        assert!(sets[1..].iter().all(|set| set.0 == sets[1].0 && set.1 % record == 0));
        assert_eq!(sequences, [0, 0, 256, 257]);
    }
}

#[test]
fn sampled_records_say_how_many_are_between() {
    // samplingPacketInterval and samplingPacketSpace, samplingFlowInterval and -Spacing.
    for (text, unit, numbers, end) in [
        ("100:packet", SAMPLED_PACKETS, [305, 306], vec![0, 0, 0, 1, 0, 0, 0, 99]),
        (
            "3",
            SAMPLED_FLOWS,
            [396, 397],
            [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2]].concat(),
        ),
    ] {
        let (records, mut out) = ([tcp_record()], Vec::new());
        let mut encoder = Ipfix::new(None);
        encoder.begin(&mut out);
        let sampling = text.parse().unwrap();
        encoder.encode(&rows(&records, sampling), &mut out);
        assert!(out.ends_with(&end), "{text}");
        let (sets, _) = sets(&out);
        let elements = elements(u32::from(sets[1].0 - FIRST_TEMPLATE) | unit, 0);
        let last: Vec<_> = elements[elements.len() - 2..].iter().map(|e| e.number).collect();
        assert_eq!(last, numbers, "{text}");
        let bytes: usize = elements.iter().map(|element| usize::from(element.bytes)).sum();
        assert_eq!(sets[1].1, bytes, "{text}");
    }
}

/// In a capture; an aggregate is of all of them.
#[test]
fn interfaces_have_their_numbers() {
    let mut flow = tcp_record();
    flow.total.opening = flow.total.opening.map(|opening| Opening { interface: 1, ..opening });
    let mut overflow = FlowRecord { kind: RecordKind::Overflow, ..tcp_record() };
    overflow.total.opening = None;
    for (record, number) in [(flow, 7_u32), (overflow, 0)] {
        let template = INTERFACE | template_of(&row(&record, &[]), false);
        let mut written = Record::default();
        write(&row(&record, &[5, 7]), template, &mut written);
        let elements = elements(template, 0);
        let place = elements.iter().position(|element| element.number == 10).unwrap();
        let start: usize = elements[..place].iter().map(|it| usize::from(it.bytes)).sum();
        assert_eq!(written.take()[start..][..4], number.to_be_bytes());
        assert_eq!(template_of(&row(&record, &[5, 7]), false), template);
    }
}

fn row<'a>(record: &'a FlowRecord, interface_indexes: &'a [u32]) -> Row<'a> {
    Row {
        record,
        flow_id: None,
        features: None,
        labels: None,
        interfaces: &[],
        interface_indexes,
        encapsulations: None,
        sampling: Sampling::ALL,
    }
}

/// The shortest datagrams with names, as README.md says.
const NAMES_DATAGRAM_BYTES: usize = 560;

#[test]
fn no_record_is_longer_than_there_is_room() {
    let least = *DATAGRAM_BYTES_BOUNDS.start() - MESSAGE_HEADER - SET_HEADER;
    let with_names = NAMES_DATAGRAM_BYTES - MESSAGE_HEADER - SET_HEADER;
    assert!(PLAIN_BYTES <= least);
    let mut described = Vec::new();
    let (mut longest, mut plain) = (0, 0);
    for template in (0..=OF_RECORD).filter(|template| template & NEVER != NEVER) {
        assert!(number_of(template) >= FIRST_TEMPLATE && number_of(template) != number_of(NEVER));
        for sampled in [SAMPLED_FLOWS, SAMPLED_PACKETS] {
            let template = template | sampled | OWN | MILLISECONDS | INTERFACE;
            described.clear();
            // In the smallest datagram, as the records; where that has no names.
            Definition::Ours(template).describe(Some(1), &mut described);
            let room = if template & NAMES == 0 { least } else { with_names };
            assert!(described.len() <= room, "template {template}");
            let all = elements(template, 1);
            let bytes: usize = all
                .iter()
                .map(|element| match element.number {
                    82 => 1 + INTERFACE_BYTES,
                    // Kinds of tunnels have short names.
                    17 if element.enterprise == 1 => 1 + 6,
                    96 => 1 + APP_BYTES,
                    // None is from the wire.
                    21 | 22 if element.enterprise == 1 => 1 + WORD_BYTES,
                    27 | 0x401b if element.enterprise == 1 => 3 + DEVICE_BYTES,
                    _ if element.bytes == VARIABLE => 3 + NAME_BYTES,
                    _ => element.bytes.into(),
                })
                .sum();
            longest = longest.max(bytes);
            if template & NAMES == 0 {
                plain = plain.max(bytes);
            }
        }
    }
    assert!(plain <= PLAIN_BYTES, "{plain}");
    assert!(longest <= RECORD_BYTES, "{longest}");
}

/// With a longer header, NetFlow's have less room.
#[test]
fn the_least_datagram_is_enough_for_both_dialects() {
    let least = *DATAGRAM_BYTES_BOUNDS.start();
    for dialect in [Dialect::Ipfix, Dialect::NetFlow9] {
        let mut flows = 0;
        Packer::for_collector(dialect, least, false, dialect == Dialect::Ipfix)
            .pack(&rows(&[tcp_record(); 9], Sampling::ALL), &mut |packed| flows += packed.flows);
        assert_eq!(flows, 9);
    }
    let room = least - 20 - SET_HEADER - 3;
    for template in (0..=OF_RECORD).filter(|template| template & NEVER != NEVER) {
        let template = template & !(REVERSE | NAMES | TUNNEL)
            | NETFLOW9
            | MILLISECONDS
            | SAMPLED_FLOWS
            | INTERFACE;
        let all = elements(template, 0);
        let bytes: usize = all.iter().map(|element| usize::from(element.bytes)).sum();
        assert!(bytes <= room, "template {template} has {bytes} bytes");
    }
}

/// What a packer gives of records, and how many of ours, of up to `most` bytes each.
fn packed(records: &[FlowRecord], most: usize, is_uniflow: bool) -> (Vec<u8>, u32) {
    let rows = rows(records, Sampling::ALL);
    let (mut out, mut flows) = (Vec::new(), 0);
    Packer::for_collector(Dialect::Ipfix, most, is_uniflow, false).pack(
        &rows,
        &mut |packed: Packed<'_>| {
            let start = out.len();
            packed.write(&mut out);
            assert!(out.len() - start <= most, "{} bytes", out.len() - start);
            flows += packed.flows;
        },
    );
    (out, flows)
}

#[test]
fn messages_are_no_longer_than_they_may_be_and_hardly_shorter() {
    let records = vec![tcp_record(); 1_000];
    for most in [512, 513, 1_400, MESSAGE_BYTES] {
        let (bytes, flows) = packed(&records, most, false);
        let (sets, _) = sets(&bytes);
        let record = bytes_of(u32::from(sets[0].0) | MILLISECONDS);
        let in_message = ((most - MESSAGE_HEADER - SET_HEADER) / record).min(BATCH_RECORDS);
        assert_eq!(sets.len(), records.len().div_ceil(in_message), "{most} bytes");
        assert_eq!(sets.iter().map(|set| set.1 / record).sum::<usize>(), records.len());
        assert_eq!(flows as usize, records.len());
    }
}

#[test]
fn uniflows_are_two_records_and_none_of_a_side_that_sent_nothing() {
    let (both, flows) = packed(&[tcp_record()], MESSAGE_BYTES, true);
    assert_eq!(flows, 1);
    let (both, len) = (sets(&both).0, |set: (u16, usize)| set.1);
    assert_eq!(both.len(), 1);
    assert_eq!(u32::from(both[0].0 - FIRST_TEMPLATE) & REVERSE, 0);
    let initiator = tcp_record().initiator();
    for silent in [initiator, initiator.opposite()] {
        let mut record = tcp_record();
        record.total.sides[silent.idx()] = Default::default();
        let (one, flows) = packed(&[record], MESSAGE_BYTES, true);
        let one = sets(&one).0;
        assert_eq!((flows, one.len()), (1, 1), "{silent:?} is silent");
        assert_eq!((both[0].0, len(both[0])), (one[0].0, 2 * len(one[0])), "{silent:?} is silent");
    }
}

#[test]
fn templates_are_told_once_and_again_when_they_are_forgotten() {
    for pen in [None, Some(32_473)] {
        let mut templates = Templates::new(Dialect::Ipfix, pen);
        let all = || (0..100).map(Definition::Ours);
        let told = |messages: Vec<Told>| {
            assert!(messages.iter().all(|message| message.bytes.len() <= 512));
            let all = messages.iter().flat_map(|message| sets(&message.bytes).0);
            let numbers: Vec<u16> = all.map(|set| set.0).collect();
            (numbers.len(), numbers.first().copied(), messages.iter().map(|it| it.records).sum())
        };
        let first: (usize, _, u32) = told(templates.new_ones(all(), 512));
        assert!(first.0 > 10);
        assert_eq!(first.1, Some(if pen.is_some() { OPTIONS_SET } else { TEMPLATE_SET }));
        assert_eq!(first.2 > 20, pen.is_some());
        assert_eq!(told(templates.new_ones(all(), 512)).0, 0);
        templates.forget();
        assert_eq!(told(templates.new_ones(all(), 512)), first);
    }
}

/// What an earlier run has left may be made of other elements under the same numbers.
#[test]
fn a_definition_that_is_read_back_is_ours_or_contradicts() {
    let record = |definition: &Definition, pen| {
        let mut record = Vec::new();
        definition.describe(pen, &mut record);
        record
    };
    let plain = Definition::Ours(7);
    let read = |record: &[u8], pen| Definition::read(7, record, pen).unwrap();
    let own = record(&Definition::Ours(7 | OWN), Some(1));
    for (record, pen, is_ours) in [
        (record(&plain, None), None, true),
        (record(&plain, None), Some(1), true),
        (record(&Definition::Ours(7 | SAMPLED_FLOWS), None), None, false),
        (own.clone(), None, false),
    ] {
        let read = read(&record, pen);
        assert_eq!(read == plain, is_ours);
        let mut templates = Templates::new(Dialect::Ipfix, None);
        let mut tell = |definition: &Definition| {
            let all = templates.new_ones([definition.clone()].into_iter(), 512);
            let known = templates.known.get(&definition.number());
            let is_known = known.is_some_and(|it| it.is_told && it.definition == *definition);
            (all.iter().map(|told| told.bytes.len()).sum::<usize>(), is_known)
        };
        assert_eq!(tell(&read), (MESSAGE_HEADER + SET_HEADER + record.len(), true));
        assert_eq!(tell(&read), (0, true));
        assert_eq!(templates.contradict(&plain), !is_ours);
        // That it is told again, as over UDP, does not make it another.
        templates.forget();
        assert_eq!(templates.contradict(&plain), !is_ours);
    }
    // Own elements of one enterprise are not those of another.
    assert_eq!(Definition::read(7 | OWN, &own, Some(1)), Some(Definition::Ours(7 | OWN)));
    assert_ne!(Definition::read(7 | OWN, &own, Some(2)), Some(Definition::Ours(7 | OWN)));
    for damaged in [&[][..], &[1, 2, 3]] {
        assert_eq!(Definition::read(7, damaged, None), None);
    }
    // No template of ours has it.
    assert!(matches!(Definition::read(u32::MAX, &own, None), Some(Definition::Stored(_))));
}

/// What a flow said is in its own record, and others are no longer for it.
#[test]
fn names_are_in_the_records_that_have_them() {
    let facts = FlowFacts { sni: Some("a.example".into()), ..FlowFacts::default() };
    let labels = [(1, Labels { facts: Some(Arc::new(facts)), ..Labels::default() })];
    let records = [tcp_record(); 3];
    let sizes = |has_own: bool, most: usize| -> Vec<usize> {
        let rows = Rows { labels: &labels, ..rows(&records, Sampling::ALL) };
        let mut all = Vec::new();
        Packer::for_collector(Dialect::Ipfix, most, false, has_own).pack(
            &rows,
            &mut |packed: Packed<'_>| {
                let mut out = Vec::new();
                packed.write(&mut out);
                all.extend(sets(&out).0.into_iter().map(|set| set.1));
            },
        );
        all
    };
    let [plain, own] = [sizes(false, 1_400), sizes(true, 1_400)];
    assert_eq!((plain.len(), own.len()), (1, 2));
    let (without, with) = (own[0] / 2, own[1]);
    // `sni` and `name` have nine letters, `name_source` three; twelve have their length before
    // them, one is a byte and one an age; and there is no device at either end.
    assert_eq!(with - without, 9 + 9 + 3 + 12 + 1 + 8 + 2);
    assert!(without > plain[0] / 3);

    let long = "x".repeat(NAME_BYTES);
    let facts = FlowFacts { sni: Some(long.as_str().into()), ..FlowFacts::default() };
    let labels = [(1, Labels { facts: Some(Arc::new(facts)), ..Labels::default() })];
    let row = Rows { labels: &labels, ..rows(&records, Sampling::ALL) }.iter().nth(1).unwrap();
    let mut written = Record::default();
    write(&row, NAMES | OWN, &mut written);
    let text = [&[255, 0, 255], long.as_bytes()].concat();
    assert!(written.take().windows(text.len()).any(|bytes| bytes == text));
}

#[test]
fn names_that_fill_more_than_a_message_are_left_out() {
    let long: Arc<str> = "x".repeat(NAME_BYTES).as_str().into();
    let [sni, alpn, ja4] = [0; 3].map(|_| Some(long.clone()));
    let facts = FlowFacts { sni, alpn, ja4, ..FlowFacts::default() };
    let labels = [(0, Labels { facts: Some(Arc::new(facts)), ..Labels::default() })];
    let records = [tcp_record()];
    let rows = Rows { labels: &labels, ..rows(&records, Sampling::ALL) };
    for (most, has_names) in [(512, false), (1_400, true)] {
        let mut numbers = Vec::new();
        Packer::for_collector(Dialect::Ipfix, most, false, true).pack(
            &rows,
            &mut |packed: Packed<'_>| {
                let mut out = Vec::new();
                packed.write(&mut out);
                assert!(out.len() <= most);
                numbers
                    .extend(sets(&out).0.into_iter().map(|set| u32::from(set.0 - FIRST_TEMPLATE)));
            },
        );
        assert_eq!(numbers.len(), 1, "{most}");
        assert_eq!(numbers[0] & NAMES != 0, has_names, "{most}");
    }
}

/// The path may take less than was known when it was packed.
#[test]
fn a_message_is_split_by_its_records() {
    let facts = FlowFacts { sni: Some("a.example".into()), ..FlowFacts::default() };
    let labels = Labels { facts: Some(Arc::new(facts)), ..Labels::default() };
    let labels: Vec<_> = (0..40).step_by(3).map(|place| (place, labels.clone())).collect();
    let records = [tcp_record(); 40];
    let rows = Rows { labels: &labels, ..rows(&records, Sampling::ALL) };
    for (dialect, has_own) in
        [(Dialect::Ipfix, true), (Dialect::Ipfix, false), (Dialect::NetFlow9, false)]
    {
        let pen = has_own.then_some(32_473);
        let mut packer = Packer::for_collector(dialect, 9_000, false, has_own);
        packer.pack(&rows, &mut |packed: Packed<'_>| {
            let (mut whole, header) = (Vec::new(), dialect.header_bytes());
            packed.write(&mut whole);
            let definitions: Vec<_> = packed.templates().map(Definition::Ours).collect();
            let split = |most| super::split(dialect, &whole, &definitions, pen, most);
            let [all] = &split(MESSAGE_BYTES)[..] else { panic!("one message is one") };
            assert_eq!((&all.bytes, all.records), (&whole, packed.records));
            for most in [400, 512, 1_400] {
                let pieces = split(most);
                assert!(pieces.len() > 1 && pieces.iter().all(|it| it.bytes.len() <= most));
                assert_eq!(pieces.iter().map(|it| it.records).sum::<u32>(), packed.records);
                // The same in each: a message is as good as its first half and the rest.
                let again = pieces.iter().flat_map(|it| {
                    super::split(dialect, &it.bytes, &definitions, pen, MESSAGE_BYTES)
                });
                let again: Vec<_> = again.map(|it| it.bytes).collect();
                assert_eq!(again, pieces.iter().map(|it| it.bytes.clone()).collect::<Vec<_>>());
            }
            assert!(split(header + SET_HEADER + 20).is_empty(), "no record has 20 bytes");
            assert!(super::split(dialect, &whole[..header], &definitions, pen, 512).is_empty());
        });
    }
}
