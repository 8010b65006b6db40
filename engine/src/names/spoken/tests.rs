//! What is spoken, and what is kept of it: for every flow what it said itself, whatever was read
//! since, and in whatever order records are labelled.

use proptest::prelude::*;

use super::*;
use crate::flow::protocol::TCP;
use crate::flow::{Endpoint, PortKind};

const SECOND: Timestamp = 1_000_000_000;

fn key(protocol: u8, port: u16) -> FlowKey {
    let end = |port| Endpoint { address: [1; 16], port };
    FlowKey::canonical(end(port), end(5_353), 4, protocol, PortKind::Ports, [0; 2]).0
}

fn at(time: Timestamp) -> When {
    (Some(time), Place::default())
}

fn span(from: Timestamp, until: Timestamp) -> Span {
    Span::new(Some(from), until, None)
}

fn spoken(table: &Spoken, key: &FlowKey, span: Span) -> Option<App> {
    table.view().of(key, span)
}

/// One datagram of a flow: how many tenths of a second after the one before, and what it says.
type Said = (Timestamp, Option<App>);

/// A flow as its record shows it, and what it speaks.
type Flow = (Span, Option<App>);

/// Reads flows on one key, half a minute from each other. After each datagram `look` is given the
/// flows that have had one so far.
fn read(flows: &[Vec<Said>], mut look: impl FnMut(&mut Spoken, &[Flow])) -> (Spoken, Vec<Flow>) {
    let (key, mut table) = (key(UDP, 5_353), Spoken::new(1_000));
    let (mut time, mut known) = (0, Vec::new());
    for said in flows {
        time += 30 * SECOND;
        let (start, mut first) = (time, None);
        for (tenths, app) in said {
            time += tenths * SECOND / 10;
            match app {
                Some(app) => assert_eq!(table.add(key, at(time), *app), 0),
                None => table.interrupt(&key),
            }
            first = first.or(*app);
            let mut so_far = known.clone();
            so_far.push((span(start, time), first));
            look(&mut table, &so_far);
        }
        known.push((span(start, time), first));
    }
    (table, known)
}

fn flows() -> impl Strategy<Value = Vec<Vec<Said>>> {
    let app = prop::sample::select(&[None, Some(App::Mdns), Some(App::Mdns), Some(App::Dns)][..]);
    prop::collection::vec(prop::collection::vec((0..25_i64, app), 1..4), 1..10)
}

proptest! {
    #[test]
    fn each_flow_speaks_what_it_said_whatever_comes_after_it(flows in flows()) {
        let key = key(UDP, 5_353);
        read(&flows, |table, so_far| {
            for (span, want) in so_far {
                assert_eq!(spoken(table, &key, *span), *want, "{span:?}");
            }
        });
    }

    #[test]
    fn what_is_labelled_is_forgotten_and_nothing_else(
        flows in flows(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 10),
    ) {
        let key = key(UDP, 5_353);
        let (mut table, mut known) = read(&flows, |_, _| {});
        for next in order {
            for (span, want) in &known {
                prop_assert_eq!(spoken(&table, &key, *span), *want);
            }
            if known.is_empty() {
                break;
            }
            let (span, spoke) = known.remove(next.index(known.len()));
            prop_assert_eq!(table.release(&key, span), spoke.is_some());
            prop_assert_eq!(spoken(&table, &key, span), None);
        }
        if known.is_empty() {
            prop_assert_eq!((table.spells, table.keys.len()), (0, 0));
        }
    }
}

/// A flow each minute, of which none is labelled yet.
#[test]
fn what_is_said_for_days_takes_little_room() {
    let (key, mut table) = (key(UDP, 5_353), Spoken::new(1_000));
    let flow = |number| span(61 * number * SECOND, 61 * number * SECOND);
    let is_unread = |number: &i64| number % 1_000 == 7;
    for number in 0..10_000 {
        let time = 61 * number * SECOND;
        if is_unread(&number) {
            table.interrupt(&key);
            continue;
        }
        assert_eq!(table.add(key, at(time), App::Mdns), 0);
        let changes = table.changes;
        assert_eq!(table.add(key, at(time + SECOND / 2), App::Mdns), 0);
        assert_eq!(table.changes, changes, "said twice");
    }
    assert_eq!(table.spells, APPS_KEPT);
    // In any order: 7 and 10,000 have no factor in common.
    let mut order: Vec<_> = (0..10_000).map(|number| 7 * number % 10_000).collect();
    while let Some(number) = order.pop() {
        let want = (!is_unread(&number)).then_some(App::Mdns);
        assert_eq!(spoken(&table, &key, flow(number)), want, "{number}");
        assert_eq!(table.release(&key, flow(number)), want.is_some(), "{number}");
    }
    assert_eq!((table.spells, table.keys.len()), (0, 0));
}

/// A connection says it with each message, and another one may follow at once.
#[test]
fn what_one_connection_says_again_and_again_is_not_evicted() {
    let (key, mut table) = (key(TCP, 53), Spoken::new(1_000));
    for time in 0..1_000 {
        assert_eq!(table.add(key, at(time * SECOND), App::Dns), 0);
        // The first segment of the next message.
        table.interrupt(&key);
        assert!(table.spells <= APPS_KEPT);
    }
    assert!((0..1_000).all(|time| {
        spoken(&table, &key, span(time * SECOND, time * SECOND)) == Some(App::Dns)
    }));
}

#[test]
fn what_finds_no_room_is_counted() {
    let (key_of_both, mut table) = (key(UDP, 53), Spoken::new(100));
    let evicted: u64 = (0..1_000)
        .map(|time| {
            let app = if time % 2 == 0 { App::Dns } else { App::Mdns };
            table.add(key_of_both, at(time * SECOND), app)
        })
        .sum();
    assert_eq!((evicted, table.spells), (1_000 - APPS_KEPT as u64, APPS_KEPT));
    // Keys on which something was said last stay.
    let mut table = Spoken::new(100);
    let evicted: u64 = (0..1_000)
        .map(|port| {
            let time = SECOND * Timestamp::from(port);
            let kept = table.add(key(UDP, 0), at(time), App::Mdns);
            kept + table.add(key(UDP, 1 + port), at(time), App::Mdns)
        })
        .sum();
    let of_others = 100 - APPS_KEPT;
    assert_eq!((evicted, table.spells), (1_000 - of_others as u64, 100));
    let is_there = [0, 1, 1_000].map(|port| table.keys.with(&key(UDP, port), |_| ()).is_some());
    assert_eq!(is_there, [true, false, true]);
}

#[test]
fn a_key_that_is_used_again_and_again_leaves_no_old_entries() {
    let mut table = Spoken::new(100);
    for time in 0..10_000 {
        table.add(key(UDP, 1), at(time), App::Mdns);
        assert!(table.release(&key(UDP, 1), span(time, time)));
    }
    assert!(table.aging.len() <= 1_025, "{}", table.aging.len());
}

/// Recordings with the same hours: each has its own.
#[test]
fn what_is_spoken_in_another_recording_is_not_the_flows() {
    let (key, mut table) = (key(UDP, 5_353), Spoken::new(100));
    // The first has frames up to 20, the other one from 21 on.
    for (ordinal, recording, app) in [(10, 0, App::Mdns), (12, 0, App::Mdns), (30, 21, App::Dns)] {
        let time = Some(i64::try_from(ordinal % 20).unwrap() * SECOND);
        table.add(key, (time, Place { ordinal, recording }), app);
    }
    let of = |place| Span::new(Some(9 * SECOND), 15 * SECOND, place);
    let said = [None, Some(8), Some(10), Some(11), Some(25)].map(|p| spoken(&table, &key, of(p)));
    assert_eq!(
        said,
        [Some(App::Mdns), Some(App::Mdns), Some(App::Mdns), Some(App::Mdns), Some(App::Dns)]
    );
    assert_eq!([Some(13), Some(31)].map(|place| spoken(&table, &key, of(place))), [None; 2]);
    assert!(table.release(&key, of(Some(8))));
    assert_eq!([Some(8), Some(25)].map(|p| spoken(&table, &key, of(p))), [None, Some(App::Dns)]);
}

/// Frames without a time: what they say is of all flows without one.
#[test]
fn without_times_there_is_one_entry() {
    let (key, mut table) = (key(UDP, 5_353), Spoken::new(100));
    let when = (None, Place::default());
    assert_eq!(table.add(key, when, App::Mdns), 0);
    assert_eq!(table.add(key, when, App::Mdns), 0);
    assert_eq!(table.spells, 1);
    let of_none = Span::new(None, Timestamp::MIN, None);
    assert_eq!(spoken(&table, &key, of_none), Some(App::Mdns));
    assert!(table.release(&key, of_none));
    assert_eq!(table.spells, 0);
}
