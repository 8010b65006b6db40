//! What becomes of deltas: published and merged, evicted, looked at.

use flowtap::flow::{
    Delta, Direction, EndReason, Endpoint, FeaturesSet, FlowKey, FlowRecord, Opening, PortKind,
};
use flowtap::global::map::GlobalMap;
use flowtap::global::map::cells::Papaya;
use flowtap::global::merge::{FinishedKeys, Merge};
use flowtap::global::reap::{FINISHED_KEYS, Reap};
use flowtap::global::{GlobalCounters, Step};
use flowtap::limits::{BATCH_DELTAS, RING_BATCHES};
use flowtap::sync::ring::{Consumer, ring};
use flowtap::table::Outlet;
use flowtap::table::outbox::{Inbox, Outbox, outbox};
use flowtap::view;

use super::{ITEMS, Piece, Sum, hasher};

const _: () = assert!(ITEMS <= FINISHED_KEYS, "all keys wait at the same time");

/// What a core says of flow `number`: a packet each way, and that it begins or ends.
pub(crate) fn delta(number: usize, begins: bool, ends: bool) -> FlowRecord {
    let [a, b, c, ..] = number.to_le_bytes();
    let end = |first: [u8; 4], port| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&first);
        Endpoint { address, port }
    };
    let (client, server) = (end([10, c, b, a], 4_321), end([192, 0, 2, 1], 443));
    let key = FlowKey::canonical(client, server, 4, 6, PortKind::Ports, [0; 2]).0;
    let mut delta = Delta::EMPTY;
    for side in &mut delta.sides {
        (side.packets, side.bytes) = (1, 60 + u64::from(a));
    }
    (delta.first, delta.last) = (1, 2);
    delta.opening = begins.then_some(Opening {
        flow_start: Some(1),
        ordinal: u32::from(a),
        initiator: Direction::Forward,
        macs: [None; 2],
        first_packet: Direction::Forward,
        icmp: None,
        interface: 0,
        encapsulation: None,
    });
    delta.end = ends.then_some(EndReason::EndDetected);
    FlowRecord::flow(key, delta)
}

fn deltas(begins: bool, ends: bool) -> Vec<FlowRecord> {
    (0..ITEMS).map(|number| delta(number, begins, ends)).collect()
}

/// A map that deltas of all flows were merged into.
fn filled(deltas: &[&[FlowRecord]]) -> GlobalMap {
    let map = GlobalMap::over(Papaya::seeded(hasher()));
    for published in deltas.iter().copied().flatten() {
        map.merge(&published.key, &published.total, |_| panic!("none is complete"));
    }
    map
}

/// Publishes deltas over a lane to `merge`, and merges them.
#[derive(Debug)]
pub(crate) struct PublishAndMerge {
    deltas: Vec<FlowRecord>,
    outbox: Outbox,
    map: GlobalMap,
    merge: Option<(Vec<Inbox>, FinishedKeys)>,
    finished: Consumer<FlowKey>,
    counters: GlobalCounters,
    /// Records that end on the way, and keys that `reap` gets.
    ended: usize,
    finishes: usize,
}

impl PublishAndMerge {
    fn new(deltas: Vec<FlowRecord>, map: GlobalMap) -> Self {
        let (outbox, inboxes) = outbox(1, RING_BATCHES, BATCH_DELTAS, FeaturesSet::Basic);
        let (keys, finished) = ring(FINISHED_KEYS);
        let ended = deltas.iter().filter(|published| published.total.is_whole()).count();
        let complete = deltas.iter().filter(|published| published.total.is_complete()).count();
        Self {
            deltas,
            outbox,
            map,
            merge: Some((inboxes, keys)),
            finished,
            counters: GlobalCounters::default(),
            ended,
            finishes: complete - ended,
        }
    }

    /// Of flows that began and ended since: they pass the map by.
    pub(crate) fn whole() -> Self {
        Self::new(deltas(true, true), filled(&[]))
    }

    /// Of flows that begin: each makes a record.
    pub(crate) fn new_records() -> Self {
        Self::new(deltas(true, false), filled(&[]))
    }

    /// Of flows that go on: each replaces a record.
    pub(crate) fn fold() -> Self {
        Self::new(deltas(false, false), filled(&[&deltas(true, false)]))
    }

    /// Of flows that end: each replaces a record, and tells `reap`.
    pub(crate) fn last() -> Self {
        Self::new(deltas(false, true), filled(&[&deltas(true, false)]))
    }
}

impl Piece for PublishAndMerge {
    fn run(&mut self) -> u64 {
        let (inboxes, finished) = self.merge.take().expect("a run puts it back");
        let (map, counters) = (&self.map, &self.counters);
        let mut merge = Merge { inboxes, map, finished, ended: Sum::default(), counters };
        // Half of what a lane holds at a time, so that it is never full.
        for some in self.deltas.chunks(RING_BATCHES / 2 * BATCH_DELTAS) {
            some.iter().for_each(|published| self.outbox.publish(0, *published));
            self.outbox.flush();
            while merge.step() == Step::Worked {}
        }
        let Merge { inboxes, finished, ended, .. } = merge;
        self.merge = Some((inboxes, finished));
        assert_eq!(ended.taken, self.ended, "records end here, or in `reap`");
        assert_eq!(self.finished.slots(), self.finishes, "`reap` is told of those that end");
        ended.packets
    }
}

/// Evicts records that are complete.
#[derive(Debug)]
pub(crate) struct Evict {
    map: GlobalMap,
    finished: Vec<Consumer<FlowKey>>,
    counters: GlobalCounters,
}

impl Evict {
    pub(crate) fn new() -> Self {
        let (begun, ended) = (deltas(true, false), deltas(false, true));
        let (mut keys, finished) = ring(FINISHED_KEYS);
        ended.iter().for_each(|published| keys.push(published.key).expect("there is room"));
        let (map, counters) = (filled(&[&begun, &ended]), GlobalCounters::default());
        Self { map, finished: vec![finished], counters }
    }
}

impl Piece for Evict {
    fn run(&mut self) -> u64 {
        let (finished, map, counters) =
            (std::mem::take(&mut self.finished), &self.map, &self.counters);
        let mut reap = Reap { finished, map, ended: Sum::default(), counters };
        while reap.step() == Step::Worked {}
        self.finished = reap.finished;
        assert_eq!(reap.ended.taken, ITEMS, "all of them are complete");
        reap.ended.packets
    }
}

/// Finds the busiest flows, for the view.
#[derive(Debug)]
pub(crate) struct Busiest(GlobalMap);

impl Busiest {
    pub(crate) fn new() -> Self {
        Self(filled(&[&deltas(true, false)]))
    }
}

impl Piece for Busiest {
    fn run(&mut self) -> u64 {
        view::busiest(&self.0).iter().map(|record| record.total.sides[0].bytes).sum()
    }
}
