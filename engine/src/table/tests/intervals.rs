//! Intervals of packet time: each packet counts in the one in which it came, and records do not
//! change by that.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::random::traffic;
use super::{CONFIG, Tray, hasher, packets, records, run};
use crate::decode::Packet;
use crate::flow::{FlowKey, FlowRecord, RecordKind};
use crate::table::{CoreTable, Pace, TableConfig, TableCounters};
use crate::time::{Grid, SECOND_NS, Tick};

const GRID: u64 = 7 * SECOND_NS;

/// Packets of each interval and flow.
type Counts = BTreeMap<(u32, FlowKey), u64>;

fn grid() -> Grid {
    Grid::new(GRID, 3 * SECOND_NS)
}

/// What each packet says by itself.
fn expected(packets: &[Packet], grid: Grid) -> Counts {
    let mut counts = Counts::new();
    for packet in packets {
        *counts.entry((grid.number(packet.tick), packet.key)).or_default() += 1;
    }
    counts
}

/// What deltas say.
fn counted(published: &[FlowRecord]) -> Counts {
    let mut counts = Counts::new();
    for delta in published.iter().filter(|delta| delta.total.packets() > 0) {
        *counts.entry((delta.counted.interval(), delta.key)).or_default() += delta.total.packets();
    }
    counts
}

/// Flows that were over in each interval.
fn ended(published: &[FlowRecord]) -> BTreeMap<u64, usize> {
    let mut ends = BTreeMap::new();
    for delta in published.iter().filter(|delta| delta.total.is_complete()) {
        let counted = delta.counted;
        let number = u64::from(counted.interval()) + u64::from(counted.end_after());
        *ends.entry(number).or_default() += 1;
    }
    ends
}

/// As [`run`], in intervals; holds what is published against what is said to be complete.
fn run_in_intervals(
    config: TableConfig,
    packets: &[Packet],
    batch: usize,
    end: Tick,
) -> Result<Vec<FlowRecord>, TestCaseError> {
    run_in_grids(config, [(packets, grid()), (&[], grid())], batch, end)
}

/// A table that counts in the intervals of `grid`.
fn table_in(grid: Grid, config: TableConfig, counters: &TableCounters) -> CoreTable<'_> {
    let mut table = CoreTable::new(config, hasher(), counters).unwrap();
    table.set_intervals(grid);
    table
}

/// The same, with the packets in two parts, and a grid for each.
fn run_in_grids(
    config: TableConfig,
    parts: [(&[Packet], Grid); 2],
    batch: usize,
    end: Tick,
) -> Result<Vec<FlowRecord>, TestCaseError> {
    let counters = TableCounters::default();
    let mut table = table_in(parts[0].1, config, &counters);
    let mut tray = Tray::unlimited();
    let batches = parts
        .into_iter()
        .flat_map(|(packets, grid)| packets.chunks(batch).map(move |batch| (batch, grid)));
    for (batch, grid) in batches {
        table.put_intervals(grid);
        let (complete, before) = (table.complete_below(), tray.published.len());
        table.count(batch, &mut tray);
        for delta in &tray.published[before..] {
            prop_assert!(delta.counted.interval() >= complete, "{delta:?} below {complete}");
        }
        prop_assert!(complete <= table.complete_below());
        prop_assert!(table.complete_below() <= grid.number(batch[batch.len() - 1].tick));
    }
    prop_assert!(table.drain(end, &mut tray), "there was room");
    Ok(tray.published)
}

proptest! {
    #[test]
    fn each_packet_counts_in_its_interval(sent in traffic(150), replay in any::<bool>()) {
        let packets = packets(&sent);
        let end = packets.last().unwrap().tick;
        let pace = if replay { Pace::REPLAY } else { Pace::LIVE };
        let config = TableConfig { pace, ..CONFIG };
        let want = records(&run(config, &packets, 64, 0, end));
        let mut ends = None;
        for batch in [1, 5, 64] {
            let published = run_in_intervals(config, &packets, batch, end)?;
            prop_assert_eq!(counted(&published), expected(&packets, grid()));
            let of_batch = ended(&published);
            prop_assert_eq!(ends.get_or_insert_with(|| of_batch.clone()), &of_batch);
            let mut got = records(&published);
            got.iter_mut().for_each(|record| record.counted = Default::default());
            prop_assert_eq!(&got, &want, "records are the same");
        }
    }

    #[test]
    fn each_packet_counts_in_its_interval_where_a_clock_was_put(
        sent in traffic(150),
        at in 1_usize..150,
        phase_ns in 0..GRID,
        is_next in any::<bool>(),
    ) {
        let packets = packets(&sent);
        let end = packets.last().unwrap().tick;
        let (before, after) = packets.split_at(at.min(packets.len()));
        let put = grid().put(before[before.len() - 1].tick + 1, phase_ns, is_next);
        let config = TableConfig { pace: Pace::LIVE, ..CONFIG };
        let want = records(&run(config, &packets, 64, 0, end));
        for batch in [1, 64] {
            let published = run_in_grids(config, [(before, grid()), (after, put)], batch, end)?;
            prop_assert_eq!(counted(&published), expected(&packets, put));
            let mut got = records(&published);
            got.iter_mut().for_each(|record| record.counted = Default::default());
            prop_assert_eq!(&got, &want, "records are the same");
        }
    }

    #[test]
    fn what_finds_no_room_counts_in_its_interval(sent in traffic(150)) {
        let packets = packets(&sent);
        let end = packets.last().unwrap().tick;
        // One slot: most packets are in overflow aggregates.
        let config = TableConfig { capacity: 1, ..CONFIG };
        let published = run_in_intervals(config, &packets, 1, end)?;
        let by_interval = |counts: Counts| {
            let mut all = BTreeMap::new();
            counts.into_iter().for_each(|((number, _), count)| {
                *all.entry(number).or_insert(0) += count;
            });
            all
        };
        prop_assert_eq!(by_interval(counted(&published)), by_interval(expected(&packets, grid())));
        let overflow = published.iter().filter(|delta| delta.kind == RecordKind::Overflow);
        prop_assert!(overflow.into_iter().all(|delta| delta.counted.end_after() == 0));
    }
}

/// The hand's rounds say that an interval is complete also where nothing happens.
#[test]
fn a_table_at_rest_completes_intervals() {
    let counters = TableCounters::default();
    let mut table = table_in(grid(), CONFIG, &counters);
    let mut tray = Tray::unlimited();
    table.advance(20 * SECOND_NS, &mut tray);
    table.advance(21 * SECOND_NS, &mut tray);
    assert_eq!(table.complete_below(), 3, "no slot, nothing to wait for");
    let packets = packets(&[super::parse("100 a>b", super::UDP)]);
    let later = Packet { tick: 22 * SECOND_NS, ..packets[0] };
    table.count(&[later], &mut tray);
    assert!(tray.published.is_empty());
    for second in 23..30 {
        table.advance(second * SECOND_NS, &mut tray);
    }
    let numbers: Vec<_> = tray.published.iter().map(|delta| delta.counted.interval()).collect();
    assert_eq!(numbers, [3], "brought home by the hand, before it is over");
    assert_eq!(table.complete_below(), 4);
}

/// Also where time jumps once and then stands, as when a reader gets much of a pipe at once; and if
/// there is no room for a while.
#[test]
fn a_jump_completes_all_before_it() {
    let packets = packets(&["100 a>b", "100 b>c"].map(|sent| super::parse(sent, super::UDP)));
    let end = 1_000 * SECOND_NS;
    for calls_without_room in [0, 1, 5] {
        let counters = TableCounters::default();
        let mut table = table_in(grid(), CONFIG, &counters);
        let mut tray = Tray::unlimited();
        table.count(&packets, &mut tray);
        tray.room = 0;
        (0..calls_without_room).for_each(|_| _ = table.advance(end, &mut tray));
        assert_eq!(table.complete_below(), 0);
        tray.room = usize::MAX;
        (0..5).for_each(|_| _ = table.advance(end, &mut tray));
        assert_eq!(table.complete_below(), grid().number(end), "{calls_without_room}");
    }
}
