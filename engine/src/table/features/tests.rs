//! Packets in, statistics out. Packets are written `MS>BYTES` or `MS<BYTES` by their direction,
//! with `?` for a time that is not known; `|` ends a part.

use super::*;
use crate::flow::Direction;

fn packet(text: &str) -> Packet {
    let direction = if text.contains('>') { Direction::Forward } else { Direction::Reverse };
    let (ms, bytes) = text.split_once(['>', '<']).unwrap();
    let timestamp = ms.parse::<i64>().ok().map(|ms| ms * MS_NS.cast_signed());
    Packet { direction, timestamp, bytes: bytes.parse().unwrap(), ..Packet::NONE }
}

/// `BYTES: MIN-MAX SQUARES [BINS]; GAPS: MIN-MAX SUM [BINS]`, gaps in ms; `-` for nothing.
fn show(side: &SideFeatures) -> String {
    let bins = |spread: &Spread| spread.histogram.map(|count| count.to_string()).join("");
    let mut shown = match side.lengths.count() {
        0 => "-".to_owned(),
        _ => {
            let Spread { min, max, squares, .. } = side.lengths;
            format!("{min}-{max} {squares} {}", bins(&side.lengths))
        }
    };
    if side.gaps.count() > 0 {
        let Spread { min, max, .. } = side.gaps;
        let [min, max, sum] = [min, max, side.gap_sum_ns].map(|ns| ns / MS_NS);
        shown += &format!("; {min}-{max} {sum} {}", bins(&side.gaps));
    } else {
        assert_eq!(side.gaps, Spread::EMPTY);
    }
    shown
}

/// One flow in the second slot of two; what each part has, forward and reverse.
fn check(packets: &str, want: &[[&str; 2]]) {
    let mut features = SlotFeatures::new(2).unwrap();
    features.begin(0);
    features.begin(1);
    let parts: Vec<_> = packets
        .split('|')
        .map(|part| {
            part.split_whitespace().for_each(|text| features.count(1, &packet(text)));
            features.take(1)
        })
        .collect();
    let shown: Vec<_> = parts.iter().map(|part| part.0.each_ref().map(show)).collect();
    assert_eq!(shown, want, "{packets}");
    assert_eq!(features.take(0), Features::EMPTY, "another slot's");
}

#[test]
fn lengths_and_gaps_of_each_direction() {
    let table: [(&str, &[[&str; 2]]); 9] = [
        ("5>40", &[["40-40 1600 00100000", "-"]]),
        ("5<40", &[["-", "40-40 1600 00100000"]]),
        ("0>0", &[["0-0 0 10000000", "-"]]),
        // Gaps are those of a direction: what goes the other way in between changes nothing.
        (
            "0>40 1<1500 20>52 1045<40",
            &[[
                "40-52 4304 00200000; 20-20 20 01000000",
                "40-1500 2251600 00100001; 1044-1044 1044 00000001",
            ]],
        ),
        // One that is late makes a gap of 0, and the next one begins at the latest.
        ("100>40 40>40 130>40", &[["40-40 4800 00300000; 0-30 30 11000000", "-"]]),
        ("7>40 7>40", &[["40-40 3200 00200000; 0-0 0 10000000", "-"]]),
        // Without a time there is no gap, and the next one is between those that have one.
        ("0>40 ?>40 40>40", &[["40-40 4800 00300000; 40-40 40 00100000", "-"]]),
        ("?>40 ?>40 1>40", &[["40-40 4800 00300000", "-"]]),
        // A gap belongs to the part of its second packet.
        (
            "0>40 | 16>20 1000<10 | 17>15",
            &[
                ["40-40 1600 00100000", "-"],
                ["20-20 400 01000000; 16-16 16 01000000", "10-10 100 10000000"],
                ["15-15 225 10000000; 1-1 1 10000000", "-"],
            ],
        ),
    ];
    for (packets, want) in table {
        check(packets, want);
    }
}

#[test]
fn a_slot_that_is_used_again_begins_with_nothing() {
    let mut features = SlotFeatures::new(1).unwrap();
    features.begin(0);
    features.count(0, &packet("3>40"));
    features.begin(0);
    features.count(0, &packet("9>50"));
    let taken = features.take(0).0[0];
    assert_eq!(show(&taken), "50-50 2500 00100000");
}

#[test]
fn times_as_far_apart_as_there_are() {
    let mut features = SlotFeatures::new(1).unwrap();
    features.begin(0);
    for timestamp in [i64::MIN + 1, 0, i64::MAX] {
        features.count(0, &Packet { timestamp: Some(timestamp), ..Packet::NONE });
    }
    let taken = features.take(0).0[0];
    assert_eq!(taken.gap_sum_ns, u64::MAX - 1);
    let half = u128::from(u64::MAX / 2);
    assert_eq!(taken.gaps.squares, half * half * 2);
    assert_eq!((taken.gaps.min, taken.gaps.max), (u64::MAX / 2, u64::MAX / 2));
}

/// Squares of the longest lengths, and a bin that is set to what it has after 2^32 - 1 packets.
#[test]
fn what_no_longer_fits_a_counter_is_not_lost() {
    let mut features = SlotFeatures::new(2).unwrap();
    features.begin(0);
    features.begin(1);
    let longest = Packet { bytes: u32::MAX, timestamp: Some(0), ..Packet::NONE };
    for slot in [0, 1, 0, 1, 1] {
        features.count(slot, &longest);
    }
    features.sides[2].length_bins[7] = u32::MAX;
    features.sides[2].gap_bins[0] = u32::MAX;
    features.count(1, &longest);
    let square = u128::from(u32::MAX).pow(2);
    let [first, second] = [0, 1].map(|slot| features.take(slot).0[0]);
    assert_eq!((first.lengths.squares, first.lengths.histogram[7]), (square * 2, 2));
    assert_eq!((second.lengths.squares, second.lengths.histogram[7]), (square * 4, 1 << 32));
    assert_eq!(second.gaps.histogram[0], 1 << 32);
    assert_eq!(features.take(1), Features::EMPTY, "it was forgotten");
}

#[test]
fn counters_that_find_no_room_in_the_list_keep_what_fits() {
    let slots = u32::try_from(CARRIED_COUNTERS).unwrap() + 1;
    let mut features = SlotFeatures::new(slots as usize).unwrap();
    let longest = Packet { bytes: u32::MAX, ..Packet::NONE };
    for slot in 0..slots {
        features.begin(slot);
        features.count(slot, &longest);
        features.count(slot, &longest);
    }
    let square = u128::from(u32::MAX).pow(2);
    assert_eq!(features.take(slots - 2).0[0].lengths.squares, square * 2);
    assert_eq!(features.take(slots - 1).0[0].lengths.squares, square * 2 - (1 << 64));
}
