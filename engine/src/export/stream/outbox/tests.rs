//! Messages in, messages out, of subjects that are taken or not.

use super::*;

fn message(subject: &str, records: u64) -> Message {
    Message { subject: subject.into(), id: "id".to_owned(), text: "text".into(), records }
}

fn failure(cause: &str) -> Failure {
    Failure { cause: cause.to_owned(), text: cause.to_owned() }
}

fn numbers(sent: Vec<(u64, Message)>) -> Vec<u64> {
    sent.into_iter().map(|(number, _)| number).collect()
}

fn records(outbox: &Outbox) -> u64 {
    outbox.left().iter().map(|(_, records)| records).sum()
}

#[test]
fn what_is_sent_again_goes_first() {
    let mut outbox = Outbox::default();
    (1..=5).for_each(|records| outbox.push(message("s", records)));
    assert_eq!(numbers(outbox.send(3, true)), [0, 1, 2]);
    assert_eq!(numbers(outbox.send(3, true)), [0; 0]);
    assert!(outbox.stored(1).is_some() && outbox.stored(1).is_none());
    outbox.take_back_all();
    assert_eq!((records(&outbox), outbox.has_under_way()), (13, false));
    assert_eq!(numbers(outbox.send(3, true)), [0, 2, 3]);
    for number in [0, 2, 3, 4] {
        outbox.send(9, true);
        assert!(outbox.stored(number).is_some());
    }
    assert!(outbox.is_empty() && records(&outbox) == 0 && outbox.bytes == 0);
}

#[test]
fn what_is_refused_holds_up_nothing_of_another_subject() {
    let mut outbox = Outbox::default();
    ["a", "b", "a", "b", "a"].into_iter().for_each(|it| outbox.push(message(it, 1)));
    assert_eq!(numbers(outbox.send(2, true)), [0, 1]);
    assert_eq!(outbox.refuse(0, failure("full"), true).as_deref(), Some("a"));
    assert!(outbox.refuse(0, failure("full"), true).is_none());
    assert_eq!(numbers(outbox.send(9, true)), [3]);
    assert!(outbox.next_try().is_some_and(|next| next > Instant::now()));
    // What comes waits with the others of its subject.
    outbox.push(message("a", 10));
    outbox.push(message("b", 10));
    outbox.try_all();
    assert_eq!(numbers(outbox.send(9, false)), [6]);
    assert_eq!(numbers(outbox.send(9, true)), [0]);
    assert_eq!(numbers(outbox.send(9, true)), [0; 0]);
    // The second refusal is no news.
    assert_eq!(outbox.refuse(0, failure("sealed"), true), None);
    let mut left = outbox.left();
    left.sort_by_key(|(_, records)| *records);
    let left: Vec<_> = left.iter().map(|(it, n)| (it.map(|it| &*it.cause), *n)).collect();
    assert_eq!(left, [(None, 12), (Some("sealed"), 13)]);
    // A connection that ends says nothing of subjects.
    outbox.take_back_all();
    assert_eq!(numbers(outbox.send(9, false)), [1, 3, 6]);
    outbox.try_all();
    assert_eq!(numbers(outbox.send(9, true)), [0]);
    assert!(outbox.stored(0).is_some());
    // It is eased in.
    assert_eq!(numbers(outbox.send(9, true)), [2, 4]);
    assert!(outbox.stored(2).is_some());
    assert_eq!(numbers(outbox.send(9, true)), [5]);
    for number in [1, 3, 4, 5, 6] {
        assert!(outbox.stored(number).is_some());
    }
    assert!(outbox.is_empty() && outbox.bytes == 0);
    assert_eq!((outbox.standing(Duration::from_secs(60)).len(), outbox.lines.len()), (0, 1));
    // It was told when nothing waited any more.
    assert_eq!(outbox.standing(Duration::ZERO), []);
    assert!(outbox.lines.is_empty());
}

#[test]
fn it_is_full_at_a_bound() {
    let mut outbox = Outbox::default();
    let text = bytes::Bytes::from(vec![b'x'; COLLECTOR_SPOOL_BYTES / 4]);
    for _ in 0..4 {
        assert!(!outbox.is_full());
        outbox.push(Message { text: text.clone(), ..message("s", 1) });
    }
    assert!(outbox.is_full());
}

#[test]
fn what_is_refused_leaves_room_for_others() {
    let mut outbox = Outbox::default();
    let text = bytes::Bytes::from(vec![b'x'; COLLECTOR_SPOOL_BYTES / 64]);
    while !outbox.is_full() {
        outbox.push(Message { text: text.clone(), ..message("a", 1) });
    }
    let all = outbox.next;
    outbox.send(1, true);
    outbox.refuse(0, failure("full"), true);
    assert!(outbox.make_room(Duration::from_secs(60)).is_none(), "it may be over soon");
    let mut lost = 0;
    while let Some((message, failure)) = outbox.make_room(Duration::ZERO) {
        lost += message.records;
        assert_eq!(failure.cause, "full");
    }
    assert!((all / 2 - 2..=all / 2 + 2).contains(&lost), "{lost} of {all}");
    assert_eq!(records(&outbox), all - lost);
    outbox.try_all();
    assert_eq!(numbers(outbox.send(1, true)), [0], "the oldest are kept");
}

/// As of a stream that is full and loses some now and then.
#[test]
fn a_subject_that_is_taken_now_and_then_is_refused_since_the_first_time() {
    let mut outbox = Outbox::default();
    (0..9).for_each(|_| outbox.push(message("a", 1)));
    outbox.send(1, true);
    assert!(outbox.refuse(0, failure("full"), true).is_some());
    let since = outbox.refusal("a").unwrap().since;
    for number in 0..3 {
        outbox.try_all();
        assert_eq!(numbers(outbox.send(1, true)), [number]);
        assert!(outbox.stored(number).is_some_and(|(_, is_news)| !is_news));
        assert!(outbox.refusal("a").is_none());
        assert_eq!(numbers(outbox.send(1, true)), [number + 1]);
        assert_eq!(outbox.standing(Duration::from_secs(60)), []);
        assert_eq!(outbox.refuse(number + 1, failure("full"), true), None, "it is known");
        assert_eq!(outbox.refusal("a").map(|it| it.since), Some(since));
    }
}

#[test]
fn no_subject_takes_all_that_may_be_under_way() {
    for most in [2, 3, 8, 1_024] {
        let mut outbox = Outbox::default();
        (0..2_000).for_each(|_| outbox.push(message("a", 1)));
        assert_eq!(outbox.send(most, true).len(), most, "it is alone");
        outbox.take_back_all();
        outbox.push(message("b", 1));
        let sent = outbox.send(most, true);
        let of_a = sent.iter().filter(|(_, message)| &*message.subject == "a").count();
        assert!(of_a < most && of_a >= most / 2, "{of_a} of {most}");
        assert!(numbers(sent).contains(&2_000), "of {most}");
    }
}

#[test]
fn one_of_each_subject_finds_out_whether_the_broker_answers() {
    let mut outbox = Outbox::default();
    ["a", "a", "b", "a", "b"].into_iter().for_each(|it| outbox.push(message(it, 1)));
    assert_eq!(numbers(outbox.probe(9, true)), [0, 2]);
    assert_eq!(numbers(outbox.probe(9, true)), [0; 0]);
    assert!(outbox.stored(2).is_some());
    assert_eq!(numbers(outbox.probe(9, true)), [4]);
}

#[test]
fn what_the_broker_passes_by_is_told_from_one_that_says_nothing() {
    let mut outbox = Outbox::default();
    ["a", "b", "a"].into_iter().for_each(|it| outbox.push(message(it, 1)));
    outbox.send(2, true);
    let late = |outbox: &Outbox, limit| {
        let late = outbox.late(limit).into_iter();
        late.map(|it| (it.number, it.is_of_subject)).collect::<Vec<_>>()
    };
    assert_eq!(late(&outbox, Duration::from_secs(60)), []);
    assert_eq!(late(&outbox, Duration::ZERO), [(0, false), (1, false)]);
    outbox.stored(1);
    assert_eq!(late(&outbox, Duration::ZERO), [(0, true)]);
    // It is no answer, and says nothing of others.
    outbox.refuse_late(0, failure("silent"), true);
    outbox.push(message("b", 1));
    outbox.try_all();
    assert_eq!(numbers(outbox.send(9, true)), [0, 3]);
    assert_eq!(late(&outbox, Duration::ZERO), [(0, true), (3, false)]);
}
