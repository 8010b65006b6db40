//! What `reap` takes out of the map, and when.

use super::*;
use crate::flow::{Direction, EndReason, Endpoint, FeaturesSet, FlowRecord, Opening, PortKind};
use crate::global::merge::Merge;
use crate::sync::ring::ring;
use crate::table::Outlet;
use crate::table::outbox::outbox;

/// Keeps the keys of ended records.
struct Keep<'a>(&'a mut Vec<FlowKey>);

impl Ended for Keep<'_> {
    fn ended(&mut self, record: FlowRecord) {
        self.0.push(record.key);
    }

    fn flush(&mut self) {}
}

/// One packet of flow `number`, which `closes` with it or stays open.
fn delta(number: u16, closes: bool) -> FlowRecord {
    let end = |port| Endpoint { address: [1; 16], port };
    let (key, _) = FlowKey::canonical(end(number), end(0), 6, 17, PortKind::Ports, [0; 2]);
    let mut delta = Delta::EMPTY;
    delta.sides[0].packets = 1;
    delta.end = closes.then_some(EndReason::Idle);
    delta.opening = Some(Opening {
        flow_start: None,
        ordinal: 0,
        initiator: Direction::Forward,
        macs: [None; 2],
        first_packet: Direction::Forward,
        icmp: None,
        interface: 0,
        encapsulation: None,
    });
    FlowRecord::flow(key, delta)
}

#[test]
fn what_is_said_to_be_complete_ends_and_the_rest_at_the_end() {
    const FLOWS: u16 = 1_000;
    let (map, counters) = (GlobalMap::default(), GlobalCounters::default());
    let mut keys = Vec::new();
    let (mut say, finished) = ring(FINISHED_KEYS);
    let mut reap =
        Reap { finished: vec![finished], map: &map, ended: Keep(&mut keys), counters: &counters };
    assert_eq!(reap.step(), Step::Idle);
    for number in 0..FLOWS {
        let published = delta(number, number % 2 == 0);
        map.merge(&published.key, &published.total, |_| panic!("nothing to evict"));
        // Said of all of them: `reap` looks before it evicts.
        say.push(published.key).expect("there is room");
    }
    assert_eq!(reap.step(), Step::Worked);
    assert_eq!((counters.ended.get(), map.len()), (u64::from(FLOWS / 2), usize::from(FLOWS / 2)));
    assert_eq!(reap.step(), Step::Idle);
    drop(say);
    assert_eq!(reap.step(), Step::Done);
    reap.finalise();
    assert!(map.is_empty());
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), usize::from(FLOWS), "each once");
}

/// Or another thread could label the last part before the one that it follows.
#[test]
fn parts_of_a_flow_end_in_their_order_where_they_are_merged() {
    let (map, counters) = (GlobalMap::default(), GlobalCounters::default());
    let (mut of_merge, mut of_reap) = (Vec::new(), Vec::new());
    let (mut outbox, inboxes) = outbox(1, 2, 8, FeaturesSet::Basic);
    let (finished, keys) = ring(FINISHED_KEYS);
    let mut merge =
        Merge { inboxes, map: &map, finished, ended: Keep(&mut of_merge), counters: &counters };
    let mut reap =
        Reap { finished: vec![keys], map: &map, ended: Keep(&mut of_reap), counters: &counters };
    let [split, whole] = [1, 2].map(|number| delta(number, false));
    let goes_on = |published: FlowRecord, end| {
        let total = Delta { opening: None, end, ..published.total };
        FlowRecord { total, ..published }
    };
    let published = [
        split,
        whole,
        goes_on(split, Some(EndReason::Active)),
        goes_on(whole, Some(EndReason::Idle)),
        goes_on(split, Some(EndReason::Idle)),
    ];
    published.into_iter().for_each(|published| outbox.publish(0, published));
    assert!(outbox.flush());
    assert_eq!(merge.step(), Step::Worked);
    assert_eq!(map.len(), 1, "what was not split is left to `reap`");
    assert_eq!(reap.step(), Step::Worked);
    // A key that was said to be complete long ago, of a flow that has been split since.
    for end in [None, Some(EndReason::Active), Some(EndReason::Idle)] {
        let next = if end.is_some() { goes_on(split, end) } else { split };
        map.merge(&next.key, &next.total, |_| panic!("nothing to evict"));
        if end == Some(EndReason::Active) {
            map.cut(&next.key).expect("it was long");
        }
    }
    merge.finished.push(split.key).expect("there is room");
    assert_eq!(reap.step(), Step::Worked);
    assert!(map.contains(&split.key));
    drop((merge, reap));
    assert_eq!((of_merge, of_reap), (vec![split.key; 2], vec![whole.key]));
}
