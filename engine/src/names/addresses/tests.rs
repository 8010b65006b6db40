//! Answers in, names out.

use super::*;
use crate::names::AnswerWay;
use crate::names::recordings::Place;
use crate::time::SECOND_NS;

const SECOND: i64 = 1_000_000_000;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// Answers as (second, client or 0, address, name, ttl), each at the place of its second unless
/// another is given.
fn table(max: usize, answers: &[(i64, u8, u8, &str, u32)]) -> (Addresses, Outcome) {
    let placed = answers.iter().map(|answer| (answer.0.unsigned_abs(), 0, *answer));
    placed_table(max, placed)
}

/// The same with place and recording.
fn placed_table<'a>(
    max: usize,
    answers: impl IntoIterator<Item = (u64, u64, (i64, u8, u8, &'a str, u32))>,
) -> (Addresses, Outcome) {
    let mut table = Addresses::new(max);
    let mut all = Outcome::default();
    for (ordinal, recording, (second, client, address, name, ttl)) in answers {
        let (client, service) = match client {
            0 => (None, NameService::Mdns),
            client => (Some(ip(client)), NameService::Dns),
        };
        let place = Place { ordinal, recording };
        let answer = Answer::new(second * SECOND, place, ttl, name.into(), service);
        let outcome = table.add(client, ip(address), &answer, false);
        all.evicted += outcome.evicted;
        all.merged += outcome.merged;
    }
    (table, all)
}

/// Name, age in seconds and doubt of an address, for a client at a second.
fn ask(table: &Addresses, second: i64, client: u8, address: u8) -> String {
    ask_at(table, second, None, client, address)
}

/// The same at a place.
fn ask_at(table: &Addresses, second: i64, place: Option<u64>, client: u8, address: u8) -> String {
    let moment = Moment { time: second * SECOND, place };
    let name = table.view().name_of(ip(client), ip(address), moment);
    name.map_or_else(String::new, |name| {
        let doubt = name.doubt.map(|doubt| format!(" {doubt:?}")).unwrap_or_default();
        format!("{} {}{doubt}", name.name, name.age_ns / SECOND_NS)
    })
}

#[test]
fn the_name_is_the_one_of_the_time_and_of_the_client() {
    let answers = [
        (10, 1, 9, "a.example", 60),
        (20, 2, 9, "b.example", 60),
        (90, 1, 9, "c.example", 60),
        (30, 0, 8, "printer.local", 60),
    ];
    let (table, _) = table(1_000, &answers);
    for (second, client, address, want) in [
        (9, 1, 9, ""),
        (10, 1, 9, "a.example 0"),
        (70, 1, 9, "a.example 60"),
        (71, 1, 9, "a.example 61 Stale"),
        (90, 1, 9, "c.example 0"),
        // Fresh and stale are not confused, two that are stale are.
        (151, 1, 9, "c.example 61 Ambiguous"),
        (80, 2, 9, "b.example 60"),
        (15, 3, 9, "a.example 5 OtherClient"),
        (25, 3, 9, "b.example 5 Ambiguous"),
        (40, 3, 8, "printer.local 10"),
        (90 + 60 + 600, 1, 9, "c.example 660 Stale"),
        (90 + 60 + 601, 1, 9, ""),
        (10, 1, 7, ""),
    ] {
        assert_eq!(ask(&table, second, client, address), want, "{second} {client} {address}");
    }
}

#[test]
fn answers_may_come_in_any_order() {
    let mut answers = vec![
        (10, 1, 9, "a.example", 60),
        (20, 1, 9, "b.example", 60),
        (20, 1, 9, "c.example", 60),
        (30, 1, 9, "c.example", 60),
        (31, 2, 9, "c.example", 60),
    ];
    let (forward, _) = table(1_000, &answers);
    answers.reverse();
    let (backward, _) = table(1_000, &answers);
    for second in 0..100 {
        assert_eq!(ask(&forward, second, 1, 9), ask(&backward, second, 1, 9), "{second}");
    }
}

#[test]
fn a_table_keeps_within_its_bounds_and_evicts_what_is_oldest() {
    let answers: Vec<_> = (0..200).map(|n| (i64::from(n), 1, n, "a.example", 60)).collect();
    let (many, outcome) = table(100, &answers);
    assert_eq!((many.answers(), outcome), (100, Outcome { evicted: 300, merged: 0 }));
    assert_eq!(ask(&many, 200, 1, 149), "");
    assert_eq!(ask(&many, 200, 1, 150), "a.example 50");

    // Of one address there are so many names that none can stand for another.
    let names: Vec<_> = (0..100).map(|n| format!("{n}.example")).collect();
    let answers = (0..).zip(&names).map(|(n, name)| (n, 1, 9, &**name, 60));
    let answers: Vec<_> = answers.collect();
    let (one, outcome) = table(1_000, &answers);
    assert_eq!(one.answers(), 2 * ANSWERS_KEPT);
    assert_eq!(outcome, Outcome { evicted: 200 - 2 * ANSWERS_KEPT as u64, merged: 0 });
    assert_eq!(ask(&one, 99, 1, 9), "99.example 0 Ambiguous");
    assert_eq!(ask(&one, 99 - ANSWERS_KEPT as i64, 1, 9), "");
}

/// A client asks again every `period` seconds for an hour. Whenever a flow began, and however
/// late it is labelled, it has its name; only its age may be more than it was.
#[test]
fn answers_that_are_renewed_name_flows_that_began_long_ago() {
    for (period, ttl, most_s, may_be_stale) in
        [(1, 60, 240, false), (50, 60, 240, false), (70, 60, 280, true)]
    {
        let seconds: Vec<i64> = (0..=3_600).step_by(period).collect();
        let answers: Vec<_> = seconds.iter().map(|&s| (s, 1, 9, "a.example", ttl)).collect();
        let (table, outcome) = table(1_000, &answers);
        assert!(table.answers() <= 2 * ANSWERS_KEPT);
        assert_eq!(outcome.evicted, 0);
        assert!(outcome.merged > 0);
        for second in 0..3_600 {
            let name =
                table.view().name_of(ip(1), ip(9), Moment { time: second * SECOND, place: None });
            let name = name.unwrap_or_else(|| panic!("no name at {second}"));
            let true_s = second.unsigned_abs() % period as u64;
            let age_s = name.age_ns / SECOND_NS;
            assert!((true_s..=most_s).contains(&age_s), "{age_s} at {second}, by {period}");
            let is_right = name.doubt.is_none() || may_be_stale && name.doubt == Some(Doubt::Stale);
            assert!(is_right, "{:?} at {second}, by {period}", name.doubt);
        }
    }
}

/// What is put together for room is what changes least, and other names stay.
#[test]
fn putting_answers_together_changes_no_name() {
    let mut answers = Vec::new();
    for n in 0..400 {
        let name = if n % 100 < 75 { "a.example" } else { "b.example" };
        answers.push((n, 1, 9, name, 10));
    }
    let (table, outcome) = table(1_000, &answers);
    assert_eq!(outcome.evicted, 0);
    for (n, _, _, said, _) in answers {
        let name = ask(&table, n, 1, 9);
        assert!(name.starts_with(said), "{name} at {n}");
    }
}

#[test]
fn what_is_read_later_is_not_known_before() {
    // Two recordings of the same hour, one read after the other.
    let first = [(10, 1, 9, "a.example", 60), (40, 1, 9, "b.example", 60)];
    let second = [(20, 1, 9, "c.example", 60), (41, 1, 9, "b.example", 60)];
    let placed = (0..).zip(first).map(|(place, answer)| (place, 0, answer));
    let more = (10..).zip(second).map(|(place, answer)| (place, 10, answer));
    let (alone, _) = placed_table(1_000, placed.clone());
    let (both, _) = placed_table(1_000, placed.chain(more));
    for second in 0..100 {
        let want = ask_at(&alone, second, Some(9), 1, 9);
        assert_eq!(ask_at(&both, second, Some(9), 1, 9), want, "{second}");
    }
    assert_eq!(ask_at(&both, 30, Some(20), 1, 9), "c.example 10 Ambiguous");
    assert_eq!(ask_at(&both, 30, Some(10), 1, 9), "c.example 10 Ambiguous");
    assert_eq!(ask_at(&both, 30, Some(9), 1, 9), "a.example 20");
}

#[test]
fn what_is_asked_again_is_not_the_oldest() {
    let mut answers = vec![(0, 1, 0, "kept.example", 600)];
    for n in 1..200 {
        answers.push((n, 1, u8::try_from(n).unwrap(), "a.example", 60));
        answers.push((n, 1, 0, "kept.example", 600));
    }
    let (table, _) = table(100, &answers);
    assert_eq!(ask(&table, 200, 1, 0), "kept.example 1");
}

#[test]
fn a_name_that_is_good_comes_before_one_that_was_then_servers_then_reverse_look_ups() {
    let mut table = Addresses::new(100);
    let mut add = |second: i64, name: &str, ttl, way| {
        let place = Place { ordinal: second.unsigned_abs(), recording: 0 };
        let answer = Answer::new(second * SECOND, place, ttl, name.into(), NameService::Dns);
        table.add(Some(ip(1)), ip(9), &answer.by(way), false);
    };
    add(0, "long.example", 3_600, AnswerWay::Asked);
    add(1, "short.example", 20, AnswerWay::Asked);
    add(2, "ns.example", 4_000, AnswerWay::Server);
    add(2, "host.isp", 4_100, AnswerWay::Reverse);
    assert_eq!(ask(&table, 10, 1, 9), "short.example 9 Ambiguous");
    assert_eq!(ask(&table, 100, 1, 9), "long.example 100");
    assert_eq!(ask(&table, 3_601, 1, 9), "long.example 3601 Stale");
    assert_eq!(ask(&table, 4_000, 1, 9), "long.example 4000 Stale");
    assert_eq!(ask(&table, 4_201, 1, 9), "ns.example 4199 Stale");
    assert_eq!(ask(&table, 4_603, 1, 9), "host.isp 4601 Stale");
    assert_eq!(ask(&table, 4_703, 1, 9), "", "all are over");
    let mut table = Addresses::new(100);
    let answer = Answer::new(0, Place::default(), 60, "host.isp".into(), NameService::Dns);
    table.add(Some(ip(1)), ip(9), &answer.by(AnswerWay::Reverse), false);
    assert_eq!(ask(&table, 5, 1, 9), "host.isp 5");
}

/// As it is where the beginning of its datagram was read before the whole.
#[test]
fn an_answer_that_is_read_again_is_kept_once() {
    for (is_again, kept) in [(false, 3), (true, 2)] {
        let mut table = Addresses::new(100);
        let place = Place { ordinal: 1, recording: 0 };
        let answer = Answer::new(SECOND, place, 60, "a.example".into(), NameService::Dns);
        table.add(Some(ip(1)), ip(9), &answer, false);
        table.add(Some(ip(1)), ip(9), &answer, is_again);
        assert_eq!(table.answers(), kept, "of the client, and of all");
    }
}
