//! Answers in, names out.

use super::*;
use crate::names::AnswerWay;
use crate::names::recordings::Place;
use crate::time::SECOND_NS;

const SECOND: i64 = 1_000_000_000;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn client(last: u8) -> Client {
    Client { vlan: [0; 2], address: ip(last) }
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
    for (ordinal, recording, (second, asks, address, name, ttl)) in answers {
        let (client, service) = match asks {
            0 => (None, NameService::Mdns),
            asks => (Some(client(asks)), NameService::Dns),
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
fn ask_at(table: &Addresses, second: i64, place: Option<u64>, asks: u8, address: u8) -> String {
    ask_in(table, second, place, client(asks), address)
}

/// The same in a network.
fn ask_in(
    table: &Addresses,
    second: i64,
    place: Option<u64>,
    client: Client,
    address: u8,
) -> String {
    let moment = Moment { time: second * SECOND, place };
    let name = table.view().name_of(client, ip(address), moment);
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
    let kept = i64::try_from(ANSWERS_KEPT).unwrap();
    let names: Vec<_> = (0..kept + 100).map(|n| format!("{n}.example")).collect();
    let answers = (0..).zip(&names).map(|(n, name)| (n, 1, 9, &**name, 60));
    let answers: Vec<_> = answers.collect();
    let (one, outcome) = table(10 * ANSWERS_KEPT, &answers);
    assert_eq!(one.answers(), 2 * ANSWERS_KEPT);
    assert_eq!(outcome, Outcome { evicted: 200, merged: 0 });
    assert_eq!(ask(&one, 99, 1, 9), "");
    // Each flow knows the name that was the latest when it began.
    for second in 100..kept + 100 {
        let doubt = if second == 100 { "" } else { " Ambiguous" };
        assert_eq!(ask(&one, second, 1, 9), format!("{second}.example 0{doubt}"));
    }
}

/// A client asks again every `period` seconds for long. Whenever a flow began, and however late it
/// is labelled, it has its name; and its age unless that was too long ago.
#[test]
fn answers_that_are_renewed_name_flows_that_began_long_ago() {
    let kept = i64::try_from(ANSWERS_KEPT).unwrap();
    for (period, ttl, most_s, may_be_stale) in
        [(1, 60, 400, false), (50, 60, 20_000, false), (70, 60, 28_000, true)]
    {
        let seconds = (0..2 * kept).map(|n| n * period);
        let answers: Vec<_> = seconds.map(|s| (s, 1, 9, "a.example", ttl)).collect();
        let (table, outcome) = table(10 * ANSWERS_KEPT, &answers);
        assert!(table.answers() <= 2 * ANSWERS_KEPT);
        assert_eq!(outcome.evicted, 0);
        assert!(outcome.merged > 0);
        // Of each age in turn.
        let step = usize::try_from(7 * period + 1).unwrap();
        for second in (0..2 * kept * period).step_by(step) {
            let moment = Moment { time: second * SECOND, place: None };
            let name = table.view().name_of(client(1), ip(9), moment);
            let name = name.unwrap_or_else(|| panic!("no name at {second}"));
            let true_s = (second % period).unsigned_abs();
            let age_s = name.age_ns / SECOND_NS;
            let was_long_ago = second < (kept + 64) * period;
            let ages = if was_long_ago { true_s..=most_s } else { true_s..=true_s };
            assert!(ages.contains(&age_s), "{age_s} at {second}, by {period}");
            let is_right = name.doubt.is_none() || may_be_stale && name.doubt == Some(Doubt::Stale);
            assert!(is_right, "{:?} at {second}, by {period}", name.doubt);
        }
    }
}

/// What is put together for room is what changes least, and other names stay.
#[test]
fn putting_answers_together_changes_no_name() {
    let mut answers = Vec::new();
    for n in 0..2 * i64::try_from(ANSWERS_KEPT).unwrap() {
        let name = if n % 1_000 < 750 { "a.example" } else { "b.example" };
        answers.push((n, 1, 9, name, 10));
    }
    let (table, outcome) = table(10 * ANSWERS_KEPT, &answers);
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
        table.add(Some(client(1)), ip(9), &answer.by(way), false);
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
    table.add(Some(client(1)), ip(9), &answer.by(AnswerWay::Reverse), false);
    assert_eq!(ask(&table, 5, 1, 9), "host.isp 5");
}

/// As it is where the beginning of its datagram was read before the whole.
#[test]
fn an_answer_that_is_read_again_is_kept_once() {
    for (is_again, kept) in [(false, 3), (true, 2)] {
        let mut table = Addresses::new(100);
        let place = Place { ordinal: 1, recording: 0 };
        let answer = Answer::new(SECOND, place, 60, "a.example".into(), NameService::Dns);
        table.add(Some(client(1)), ip(9), &answer, false);
        table.add(Some(client(1)), ip(9), &answer, is_again);
        assert_eq!(table.answers(), kept, "of the client, and of all");
    }
}

#[test]
fn networks_with_the_same_addresses_are_told_apart() {
    let mut table = Addresses::new(100);
    let mut add = |second: i64, vlan, service, name: &str| {
        let place = Place { ordinal: second.unsigned_abs(), recording: 0 };
        let answer =
            Answer::new(second * SECOND, place, 60, name.into(), service).within([vlan, 0]);
        let asks = Client { vlan: [vlan, 0], ..client(1) };
        let asks = (service == NameService::Dns).then_some(asks);
        table.add(asks, ip(9), &answer, false);
    };
    add(1, 10, NameService::Dns, "a.tenant");
    add(2, 20, NameService::Dns, "b.tenant");
    add(3, 20, NameService::Mdns, "b.local");
    for (vlan, asks, want) in [
        (10, 1, "a.tenant 4"),
        (20, 1, "b.tenant 3"),
        (20, 2, "b.tenant 3 OtherClient"),
        (30, 1, "b.tenant 3 Ambiguous"),
    ] {
        let client = Client { vlan: [vlan, 0], ..client(asks) };
        assert_eq!(ask_in(&table, 5, None, client, 9), want, "{vlan} {asks}");
    }
    let mut table = Addresses::new(100);
    let answer = Answer::new(0, Place::default(), 60, "b.local".into(), NameService::Mdns);
    table.add(None, ip(9), &answer.within([20, 0]), false);
    for (vlan, want) in [(20, "b.local 5"), (10, "b.local 5 OtherClient")] {
        let client = Client { vlan: [vlan, 0], ..client(1) };
        assert_eq!(ask_in(&table, 5, None, client, 9), want, "{vlan}");
    }
}

/// A printer says its name by mDNS, while a client has answers of its own.
#[test]
fn what_all_hear_is_beside_what_the_client_was_told() {
    for (service, way, ttl, want) in [
        (NameService::Dns, AnswerWay::Asked, 60, "own 40"),
        (NameService::Dns, AnswerWay::Asked, 10, "heard.local 20"),
        (NameService::Dns, AnswerWay::Reverse, 60, "heard.local 20"),
        (NameService::Llmnr, AnswerWay::Asked, 60, "heard.local 20"),
    ] {
        let mut table = Addresses::new(100);
        let mut add = |second: i64, asks, ttl, name: &str, service, way| {
            let place = Place { ordinal: second.unsigned_abs(), recording: 0 };
            let answer = Answer::new(second * SECOND, place, ttl, name.into(), service);
            table.add(asks, ip(9), &answer.by(way), false);
        };
        add(0, Some(client(1)), ttl, "own", service, way);
        add(20, None, 60, "heard.local", NameService::Mdns, AnswerWay::Asked);
        assert_eq!(ask(&table, 40, 1, 9), want, "{service:?}, {way:?}, {ttl}");
        assert_eq!(ask(&table, 10, 1, 9), "own 10", "before it was said");
    }
}

#[test]
fn what_counts_no_more_goes_before_what_does() {
    let (table, _) = table(
        4,
        &[
            (0, 1, 1, "live.example", 86_400),
            (1, 1, 2, "dead.example", 1),
            (1_400, 1, 3, "new", 60),
        ],
    );
    let ask = |address| ask(&table, 1_400, 1, address);
    assert_eq!([1, 2, 3].map(ask), ["live.example 1400", "", "new 0"]);
}

/// One client fills the table many times over.
#[test]
fn one_client_does_not_flush_what_others_asked() {
    let mut answers: Vec<_> = (0..100).map(|n| (i64::from(n), n, 1, "a.example", 3_600)).collect();
    answers.remove(0);
    let names: Vec<_> = (0..5_000).map(|n| format!("{n}.example")).collect();
    let flood = names.iter().zip(1..).map(|(name, n): (_, i64)| {
        (100 + n / 100, 200, u8::try_from(n % 250).unwrap(), &**name, 3_600)
    });
    answers.extend(flood);
    let (table, outcome) = table(1_000, &answers);
    assert!(table.answers() <= 1_000 && outcome.evicted > 8_000);
    let named = (1..100).filter(|&asks| ask(&table, 150, asks, 1).starts_with("a.example"));
    let named = named.count();
    assert!(named >= 90, "{named} of 99 are left");
    let (few, many) = (table.clients.len(), table.clients[&client(200)]);
    assert!(few <= 100 && many <= 1_000 - named, "{few} clients, of which one has {many}");
}

#[test]
fn what_a_host_takes_back_names_no_later_flow() {
    let answers = [(0, 0, 9, "laptop.local", 4_500), (50, 0, 9, "other.local", 4_500)];
    let (mut table, _) = table(100, &answers);
    let back = |second: i64, name: &str| {
        let place = Place { ordinal: 100, recording: 0 };
        Answer::new(second * SECOND, place, 0, name.into(), NameService::Mdns)
    };
    table.take_back(&back(60, "other.local"), ip(9));
    table.take_back(&back(60, "none.local"), ip(9));
    table.take_back(&back(100, "laptop.local").within([5, 0]), ip(9));
    table.take_back(&back(100, "laptop.local"), ip(8));
    for (second, want) in [
        (40, "laptop.local 40"),
        (55, "other.local 5 Ambiguous"),
        (61, "other.local 11 Ambiguous"),
        (62, "laptop.local 62"),
        (4_000, "laptop.local 4000"),
    ] {
        assert_eq!(ask(&table, second, 1, 9), want, "{second}");
    }
}
