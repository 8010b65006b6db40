//! What must hold of every run.

use std::collections::{BTreeMap, HashMap, HashSet};

use flowtap::flow::{EndReason, FlowKey, SideCounts};
use flowtap::ledger::Ledger;

use crate::books::Books;
use crate::reference::{add, meter};
use crate::setting::{Mode, Setting};
use crate::sink::Exported;
use crate::world::Run;

/// Situations that a sweep over many seeds must have come across, or it proves little.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Met(pub(crate) [(&'static str, u64); 11]);

impl Met {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = (more.0, sum.1 + more.1);
        }
    }
}

/// Fails with a text unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}

/// Whether the run was what it must be. Returns the situations that it was in.
pub(crate) fn check(setting: &Setting, run: &Run) -> Result<Met, String> {
    let records: Vec<_> = run.records.iter().map(Exported::of).collect();
    sums(&records, &run.books)?;
    counters(run, &records)?;
    parts(&records)?;
    features(setting, &records)?;
    // With a clock for each queue, what is late on one of them is only known there.
    if setting.mode != Mode::Queues {
        times(&records, &run.books)?;
    }
    let is_exact = is_exact(setting, run)?;
    if is_exact {
        reference(setting, run, &records)?;
    }
    Ok(met(setting, run, &records, is_exact))
}

/// Packets and bytes in = packets and bytes out: of each key and direction if no packet was
/// counted into an overflow aggregate, and else of each protocol.
fn sums(records: &[Exported], books: &Books) -> Result<(), String> {
    let mut out = HashMap::<FlowKey, [SideCounts; 2]>::new();
    for record in records.iter().filter(|record| !record.is_overflow) {
        let sides = out.entry(record.key).or_default();
        (0..2).for_each(|way| add(&mut sides[way], &record.sides[way]));
    }
    for (key, sides) in &out {
        let entered = books.keys.get(key);
        let is_less =
            |way: usize| entered.is_some_and(|e| sides[way].packets <= e.sides[way].packets);
        ensure!(is_less(0) && is_less(1), "{key:?}: {sides:?} out, {entered:?} in");
    }
    if !records.iter().any(|record| record.is_overflow) {
        for (key, entry) in &books.keys {
            ensure!(
                out.get(key) == Some(&entry.sides),
                "{key:?}: {:?} out, {entry:?} in",
                out.get(key)
            );
        }
    }
    let mut protocols = BTreeMap::<u8, [SideCounts; 2]>::new();
    for (key, entry) in &books.keys {
        let sums = protocols.entry(key.protocol()).or_default();
        entry.sides.iter().for_each(|side| add(&mut sums[0], side));
    }
    for record in records {
        let sums = protocols.entry(record.key.protocol()).or_default();
        record.sides.iter().for_each(|side| add(&mut sums[1], side));
    }
    for (protocol, [entered, left]) in protocols {
        ensure!(entered == left, "protocol {protocol}: {entered:?} in, {left:?} out");
    }
    Ok(())
}

/// Each flow has the statistics of its packets, where there are any.
fn features(setting: &Setting, records: &[Exported]) -> Result<(), String> {
    for record in records {
        let is_due = setting.features_set.is_extended() && !record.is_overflow;
        ensure!(record.features.is_some() == is_due, "{record:?}: statistics, or none");
        let sides = record.features.iter().flat_map(|features| &features.0).zip(&record.sides);
        for (of_side, side) in sides {
            let packets = of_side.lengths.count();
            ensure!(packets == side.packets, "{record:?}: statistics of {packets} packets");
        }
    }
    Ok(())
}

/// The engine's own accounts agree with the books and with what was exported.
fn counters(run: &Run, records: &[Exported]) -> Result<(), String> {
    let ledger = Ledger::collect(&run.accounts, run.live as u64, true);
    ensure!(ledger.balances(), "the ledger says {:?}", ledger.residuals);
    ensure!(run.live == 0, "{} records are left in the map", run.live);
    let packets = run.books.packets();
    let counted = ledger.packets.in_flows + ledger.packets.in_overflow;
    ensure!(counted == packets, "{packets} packets in, {counted} counted");
    let ended = ledger.flows.created;
    ensure!(ended == records.len() as u64, "{ended} records began, {} ended", records.len());
    let reason = Some(EndReason::Resources);
    let ended = records.iter().filter(|r| !r.is_overflow && r.end == reason).count();
    let given_up = ledger.flows.given_up;
    ensure!(given_up == ended as u64, "{given_up} flows given up, {ended} ended for that");
    Ok(())
}

fn sum<'a>(counters: impl Iterator<Item = &'a flowtap::sync::Counter>) -> u64 {
    counters.map(flowtap::sync::Counter::get).sum()
}

/// No part of a flow ends twice, and none is left open. The parts are numbered from 0 without
/// a gap, all but the last are ended by the active timeout, and all have one key, identifier
/// and beginning.
fn parts(records: &[Exported]) -> Result<(), String> {
    let mut flows = BTreeMap::<_, Vec<&Exported>>::new();
    for record in records {
        ensure!(record.packets() > 0, "a record without packets: {record:?}");
        if record.is_overflow {
            let reason = Some(EndReason::Resources);
            ensure!(record.end == reason, "an aggregate that ended otherwise: {record:?}");
            continue;
        }
        ensure!(record.ordinal.is_some(), "a record without its first packet: {record:?}");
        ensure!(record.end.is_some(), "a record that did not end: {record:?}");
        let is_cut = record.end == Some(EndReason::Active);
        ensure!(is_cut != record.is_complete, "ended, and goes on: {record:?}");
        flows.entry((record.flow_id, record.ordinal)).or_default().push(record);
    }
    let ids: HashSet<_> = flows.keys().map(|(id, _)| id).collect();
    ensure!(ids.len() == flows.len(), "flows with one identifier");
    for parts in flows.values_mut() {
        parts.sort_by_key(|part| part.part);
        for pair in parts.windows(2) {
            let [one, two] = pair else { unreachable!("windows of two") };
            ensure!(one.part != two.part, "ended twice: {one:?} and {two:?}");
            ensure!(one.key == two.key, "one identifier, two keys: {one:?} and {two:?}");
        }
        for (number, part) in (0..).zip(parts.iter()) {
            let of_first = Exported {
                part: part.part,
                first: part.first,
                last: part.last,
                sides: part.sides,
                handshake: part.handshake,
                features: part.features,
                tcp: part.tcp,
                end: part.end,
                is_complete: part.is_complete,
                ..parts[0].clone()
            };
            ensure!(**part == of_first, "begun otherwise than the first part: {part:?}");
            ensure!(part.part == number, "a gap in the parts: {parts:?}");
            let is_last = part.part as usize + 1 == parts.len();
            let is_cut = part.end == Some(EndReason::Active);
            ensure!(is_last != is_cut, "ended, or cut, in the wrong place: {parts:?}");
        }
    }
    Ok(())
}

/// All records of one key, flow after flow and part after part, are disjoint in time and in
/// order. A record may begin before its predecessor has ended by as much as a packet of the
/// key came behind the newest at most, and no more; they may touch, as a full ring lets a
/// part go on for packets of the same nanosecond. (Where packet time begins anew a flow may
/// reach across; the reference says what holds there.)
fn times(records: &[Exported], books: &Books) -> Result<(), String> {
    let mut keys = HashMap::<FlowKey, Vec<&Exported>>::new();
    for record in records.iter().filter(|record| !record.is_overflow) {
        keys.entry(record.key).or_default().push(record);
    }
    for (key, records) in &mut keys {
        let entry = &books.keys[key];
        if entry.is_in_several {
            continue;
        }
        records.sort_by_key(|record| (record.ordinal, record.part));
        let mut ended: Option<(i64, &Exported)> = None;
        for record in records.iter() {
            let Some((first, last)) = record.times() else { continue };
            if let Some((end, before)) = ended {
                let is_after = first >= end || end.abs_diff(first) <= entry.behind;
                ensure!(is_after, "{record:?} begins before the end of {before:?}");
            }
            if ended.is_none_or(|(end, _)| end < last) {
                ended = Some((last, record));
            }
        }
    }
    Ok(())
}

/// Whether the records must be those of the reference: each core had room, in its table and
/// towards `merge`, whenever a packet came.
fn is_exact(setting: &Setting, run: &Run) -> Result<bool, String> {
    let tables = &run.accounts.tables;
    let congested = sum(tables.iter().map(|t| &t.congested_batches));
    let crowded = sum(tables.iter().flat_map(|t| [&t.given_up, &t.in_overflow]));
    let not_passed_on = sum(tables.iter().map(|t| &t.not_passed_on));
    ensure!(setting.mode == Mode::Queues || not_passed_on == 0, "a packet that did not wait");
    let had_room = !setting.is_ample || congested > 0 || crowded == not_passed_on;
    ensure!(had_room, "no room in a table with a slot for each key");
    ensure!(!setting.mode.is_read() || congested == 0, "a core that waits for room had none");
    Ok(congested == 0 && crowded == 0)
}

/// The records are those of the reference, one by one.
fn reference(setting: &Setting, run: &Run, records: &[Exported]) -> Result<(), String> {
    let order = |record: &Exported| (record.ordinal, record.part);
    let mut got = records.to_vec();
    got.sort_by_key(order);
    let mut want: Vec<_> = run
        .inputs
        .iter()
        .flat_map(|input| meter(&input.packets, input.end, &setting.timeouts, setting.features_set))
        .collect();
    want.sort_by_key(order);
    let ids: HashMap<_, _> = got.iter().map(|record| (record.ordinal, record.flow_id)).collect();
    for record in &mut want {
        // The reference has no opinion on it.
        record.flow_id = ids.get(&record.ordinal).copied().unwrap_or_default();
    }
    for (got, want) in got.iter().zip(&want) {
        ensure!(got == want, "not what the reference has\nreference: {want:?}\n   engine: {got:?}");
    }
    ensure!(got.len() == want.len(), "{} records, the reference has {}", got.len(), want.len());
    Ok(())
}

fn met(setting: &Setting, run: &Run, records: &[Exported], is_exact: bool) -> Met {
    let with = |is: &dyn Fn(&Exported) -> bool| u64::from(records.iter().any(is));
    let ended = |reason| with(&|record: &Exported| record.end == Some(reason));
    let congested = sum(run.accounts.tables.iter().map(|t| &t.congested_batches));
    let not_passed_on = sum(run.accounts.tables.iter().map(|t| &t.not_passed_on));
    let both = |record: &Exported| record.sides.iter().all(|side| side.packets > 0);
    Met([
        ("held against the reference", u64::from(is_exact)),
        ("stopped early", u64::from(run.was_stopped)),
        ("idle", ended(EndReason::Idle)),
        ("cut", ended(EndReason::Active)),
        ("not passed on", u64::from(not_passed_on > 0)),
        ("ended by themselves", ended(EndReason::EndDetected)),
        ("given up for room", ended(EndReason::Resources)),
        ("in overflow aggregates", with(&|record| record.is_overflow)),
        ("congested", u64::from(congested > 0)),
        ("with statistics", with(&|record| record.features.is_some())),
        ("directions that met", with(&both) * u64::from(setting.mode == Mode::Direction)),
    ])
}
