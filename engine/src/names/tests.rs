//! From payloads to labels, without files and interfaces.

use std::time::Duration;

use crate::decode::{Packet, TcpHeader};
use crate::devices::DevicesSetup;
use crate::flow::protocol::{TCP, UDP};
use crate::flow::{Delta, Direction, EndReason, Endpoint, FlowKey, FlowRecord, Opening, PortKind};
use crate::names::App;
use crate::names::facts::FlowFacts;
use crate::names::payload::Carrier;
use crate::names::{Labels, Names, NamesCounters, ParserCounters, PayloadSender};
use crate::sync::Arc;
use crate::time::Tick;

pub(super) const SECOND: u64 = 1_000_000_000;

fn key(protocol: u8, from: (u8, u16), to: (u8, u16)) -> (FlowKey, Direction) {
    let end = |(last, port)| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 0, 2, last]);
        Endpoint { address, port }
    };
    FlowKey::canonical(end(from), end(to), 4, protocol, PortKind::Ports, [0; 2])
}

/// A packet of `from` to `to` at a tick, which is its time too.
fn packet(tick: Tick, protocol: u8, from: (u8, u16), to: (u8, u16)) -> Packet {
    let (key, direction) = key(protocol, from, to);
    let tcp = if protocol == TCP { TcpHeader::new(0, 1, 0, 1) } else { TcpHeader::NONE };
    Packet { key, direction, tick, timestamp: Some(tick.cast_signed()), tcp, ..Packet::NONE }
}

/// A message of DNS: a question, or the answer that `address` is the name's for a minute.
fn dns(id: u16, name: &str, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([if address.is_some() { 0x80 } else { 0 }, 0, 0, 1]);
    bytes.extend([0, u8::from(address.is_some()), 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    if let Some(address) = address {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(address);
    }
    bytes
}

/// The record of a flow from a client to a server, from one second to another.
pub(super) fn record(
    protocol: u8,
    from: (u8, u16),
    to: (u8, u16),
    seconds: [u64; 2],
) -> FlowRecord {
    let (key, direction) = key(protocol, from, to);
    let [first, last] = seconds.map(|second| (second * SECOND).cast_signed());
    let opening = Opening {
        flow_start: Some(first),
        ordinal: 0,
        initiator: direction,
        macs: [None; 2],
        first_packet: direction,
        icmp: None,
        interface: 0,
        encapsulation: None,
    };
    let end = Some(EndReason::Idle);
    let total = Delta { first, last, opening: Some(opening), end, ..Delta::EMPTY };
    FlowRecord::flow(key, total)
}

fn names(decoders: usize, max: usize, patience: Option<Duration>) -> (Names, Arc<NamesCounters>) {
    let counters = Arc::new(NamesCounters::new(decoders, 1));
    (Names::new(&counters, max, &DevicesSetup::default(), patience), counters)
}

/// Client `client` asks for a name at a tick, and is answered with an address 10 ms later.
fn ask(sender: &mut PayloadSender, tick: Tick, client: u8, name: &str, address: [u8; 4]) -> bool {
    let (from, to) = ((client, 5_353 + u16::from(client)), (53, 53));
    sender.push(&packet(tick, UDP, from, to), &dns(7, name, None))
        && sender.push(&packet(tick + 10_000_000, UDP, to, from), &dns(7, name, Some(address)))
}

fn best(labels: &[(u32, Labels)]) -> Vec<(u32, String, &'static str)> {
    let name =
        |labels: &Labels| labels.best_name().map(|best| (best.name.into_owned(), best.source));
    labels.iter().filter_map(|(at, l)| name(l).map(|(name, source)| (*at, name, source))).collect()
}

#[test]
fn records_get_what_their_flows_said_and_how_their_addresses_were_named() {
    let (mut names, counters) = names(1, 100, None);
    let sender = &mut names.senders[0];
    assert!(sender.push(&packet(SECOND, UDP, (1, 4_000), (53, 53)), b"no message"));
    let get = b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n";
    assert!(sender.push(&packet(5 * SECOND, TCP, (1, 4_000), (9, 80)), get));
    assert!(ask(sender, 6 * SECOND, 1, "a.example", [192, 0, 2, 8]));
    assert!(sender.flush());
    while names.thread.step() {}
    let records = [
        record(TCP, (1, 4_000), (9, 80), [4, 6]),
        // The same ports before and after.
        record(TCP, (1, 4_000), (9, 80), [1, 3]),
        record(TCP, (1, 4_000), (9, 80), [7, 9]),
        record(UDP, (1, 4_000), (8, 443), [7, 9]),
        record(UDP, (1, 4_001), (8, 443), [5, 9]),
    ];
    let labels = names.labellers[0].label(&records);
    let want = [(0, "web.example".to_owned(), "http_host"), (3, "a.example".to_owned(), "dns")];
    assert_eq!(best(&labels), want);
    // What is labelled is forgotten, and nothing else.
    while names.thread.step() {}
    assert_eq!(counters.thread.flows.get(), 0);
    assert_eq!(best(&names.labellers[0].label(&records)), want[1..]);
    assert_eq!(counters.thread.read.get(), 4);
    let unread = counters.thread.unread.iter().map(|gauge| gauge.get());
    let malformed = ParserCounters { malformed: 1, ..ParserCounters::default() };
    assert_eq!(unread.collect::<Vec<_>>(), malformed.by_cause());
    assert_eq!(counters.labels[0].labelled.get(), 3);
}

#[test]
fn two_questions_with_one_identifier_have_both_answers() {
    let (mut names, counters) = names(1, 100, None);
    let sender = &mut names.senders[0];
    let (from, to) = ((1, 4_000), (53, 53));
    let both = [("a.example", [192, 0, 2, 8]), ("b.example", [192, 0, 2, 9])];
    for (name, _) in both {
        assert!(sender.push(&packet(SECOND, UDP, from, to), &dns(7, name, None)));
    }
    for (name, address) in both {
        let answer = dns(7, name, Some(address));
        assert!(sender.push(&packet(2 * SECOND, UDP, to, from), &answer));
        // Once for each question.
        assert!(sender.push(&packet(2 * SECOND, UDP, to, from), &answer));
    }
    assert!(sender.flush());
    while names.thread.step() {}
    let records = [8, 9].map(|to| record(TCP, (1, 4_000), (to, 443), [3, 4]));
    let found = best(&names.labellers[0].label(&records));
    assert_eq!(found, [(0, "a.example".to_owned(), "dns"), (1, "b.example".to_owned(), "dns")]);
    assert_eq!((counters.thread.answered.get(), counters.thread.unsolicited.get()), (2, 2));
}

#[test]
fn records_get_what_their_flows_speak_though_they_say_nothing_else() {
    let (mut names, _) = names(1, 100, None);
    assert!(ask(&mut names.senders[0], 6 * SECOND, 1, "a.example", [192, 0, 2, 8]));
    assert!(names.senders[0].flush());
    while names.thread.step() {}
    let records = [record(UDP, (1, 5_354), (53, 53), [6, 7])];
    let is = names.labellers[0].label(&records);
    assert_eq!(is, [(0, Labels { spoken: Some(App::Dns), ..Labels::default() })]);
    assert_eq!((is[0].1.app(), is[0].1.has_names()), (Some(App::Dns), false));
    // Forgotten once it is labelled.
    while names.thread.step() {}
    assert_eq!(names.labellers[0].label(&records), []);
}

#[test]
fn what_is_spoken_shows_before_it_goes_on_in_tls() {
    let tls = |alpn: &str| {
        let alpn = Some(alpn.into());
        Some(Arc::new(FlowFacts { spoken: Some(App::Tls), alpn, ..FlowFacts::default() }))
    };
    let app = |facts, spoken| Labels { facts, spoken, ..Labels::default() }.app();
    assert_eq!(app(tls("h2"), None), Some(App::Https));
    assert_eq!(app(tls("imap"), None), Some(App::Tls));
    assert_eq!(app(tls("h2"), Some(App::Smtp)), Some(App::Smtp));
    assert_eq!(app(None, None), None);
}

#[test]
fn a_flow_that_is_labelled_first_leaves_what_the_one_before_it_said() {
    let (mut names, counters) = names(1, 100, None);
    for (second, host) in [(5, "first"), (15, "second")] {
        let get = format!("GET / HTTP/1.1\r\nHost: {host}.example\r\n\r\n");
        let syn = packet(second * SECOND, TCP, (1, 4_000), (9, 80));
        // Far from the other's, so that it is a connection of its own.
        let tcp = TcpHeader::new(0, 1 << (2 * second), 0, 1);
        assert!(names.senders[0].push(&Packet { tcp, ..syn }, get.as_bytes()));
    }
    assert!(names.senders[0].flush());
    while names.thread.step() {}
    let flows = [[4, 6], [14, 16]].map(|seconds| record(TCP, (1, 4_000), (9, 80), seconds));
    let second = names.labellers[0].label(&flows[1..]);
    assert_eq!(best(&second), [(0, "second.example".to_owned(), "http_host")]);
    while names.thread.step() {}
    let first = names.labellers[0].label(&flows[..1]);
    assert_eq!(best(&first), [(0, "first.example".to_owned(), "http_host")]);
    while names.thread.step() {}
    assert_eq!(counters.thread.flows.get(), 0);
}

/// Between the parts of a flow everything that its first packet was named by is forgotten.
#[test]
fn parts_of_a_flow_keep_its_labels() {
    let (mut names, _) = names(1, 4, None);
    let sender = &mut names.senders[0];
    assert!(ask(sender, SECOND, 1, "a.example", [192, 0, 2, 9]));
    let hello = packet(2 * SECOND, TCP, (1, 4_000), (9, 22));
    assert!(sender.push(&hello, b"GET / HTTP/1.1\r\nUser-Agent: it\r\n\r\n"));
    assert!(sender.flush());
    while names.thread.step() {}
    let mut part = record(TCP, (1, 4_000), (9, 22), [2, 9]);
    part.total.end = Some(EndReason::Active);
    let agent = |labels: &[(u32, Labels)]| {
        let facts = labels.first().and_then(|(_, its)| its.facts.clone());
        facts.and_then(|facts| facts.http_user_agent.as_deref().map(str::to_owned))
    };
    let check = |labels: &[(u32, Labels)], what: &str| {
        assert_eq!(best(labels), [(0, "a.example".to_owned(), "dns")], "{what}");
        assert_eq!(agent(labels).as_deref(), Some("it"), "{what}");
    };
    check(&names.labellers[0].label(&[part]), "the first part");
    for (second, client) in (10..).zip(2..10) {
        let sender = &mut names.senders[0];
        assert!(ask(sender, second * SECOND, client, "b.example", [192, 0, 2, 9]));
        let get = packet(second * SECOND, TCP, (client, 4_000), (9, 80));
        assert!(sender.push(&get, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"));
    }
    assert!(names.senders[0].flush());
    while names.thread.step() {}
    let of = |part: FlowRecord, nth, end| {
        let total = Delta { part: nth, first: 10, end: Some(end), ..part.total };
        FlowRecord { total, ..part }
    };
    let mut other = of(part, 1, EndReason::Idle);
    other.total.opening.as_mut().expect("it has one").ordinal = 1;
    check(&names.labellers[0].label(&[of(part, 1, EndReason::Active)]), "the second");
    assert_eq!(agent(&names.labellers[0].label(&[other])), None, "another of the same key");
    check(&names.labellers[0].label(&[of(part, 2, EndReason::Idle)]), "the last");
    assert_eq!(agent(&names.labellers[0].label(&[of(part, 2, EndReason::Idle)])), None, "over");
}

#[test]
fn what_is_in_a_closed_tunnel_is_said_by_its_flow_and_names_another() {
    let get = b"GET / HTTP/1.1\r\nHost: web.example\r\nUser-Agent: it\r\n\r\n";
    for is_all in [true, false] {
        let (mut names, counters) = names(1, 100, None);
        let sender = &mut names.senders[0];
        assert!(ask(sender, SECOND, 1, "gateway.example", [192, 0, 2, 2]));
        let (key, _) = key(UDP, (1, 2_152), (2, 2_152));
        let carrier = Some(Carrier { key, is_all });
        let mut inside = |packet: &Packet, bytes: &[u8]| {
            assert!(sender.push_part(packet, bytes, None, None, carrier));
        };
        inside(&packet(3 * SECOND, TCP, (7, 4_000), (9, 80)), get);
        let (client, server) = ((7, 4_000), (53, 53));
        inside(&packet(4 * SECOND, UDP, client, server), &dns(7, "a.example", None));
        let answer = dns(7, "a.example", Some([192, 0, 2, 9]));
        inside(&packet(5 * SECOND, UDP, server, client), &answer);
        assert!(sender.flush());
        while names.thread.step() {}
        let records = [
            record(UDP, (1, 2_152), (2, 2_152), [2, 9]),
            record(TCP, (7, 4_000), (9, 80), [2, 9]),
            record(TCP, (7, 4_001), (9, 80), [6, 9]),
        ];
        let labels = names.labellers[0].label(&records);
        let tunnel = labels[0].1.facts.as_deref().expect("it says something");
        assert_eq!(tunnel.http_host.as_deref(), Some("web.example"));
        assert_eq!((tunnel.http_user_agent.as_deref(), tunnel.spoken), (None, None));
        let mut want = vec![(0, "gateway.example".to_owned(), "dns")];
        if !is_all {
            want.push((1, "web.example".to_owned(), "http_host"));
            want.push((2, "a.example".to_owned(), "dns"));
        }
        assert_eq!(best(&labels), want);
        assert_eq!(counters.thread.answered.get(), 1 + u64::from(!is_all));
    }
}

#[test]
fn live_records_go_on_without_a_thread_that_is_behind_and_are_counted() {
    let (mut names, counters) = names(1, 100, Some(Duration::ZERO));
    assert!(ask(&mut names.senders[0], SECOND, 1, "a.example", [192, 0, 2, 8]));
    let records = [record(UDP, (1, 4_000), (8, 443), [2, 3])];
    assert_eq!(names.labellers[0].label(&records), []);
    assert_eq!(counters.labels[0].late.get(), 1);
    assert!(names.senders[0].flush());
    while names.thread.step() {}
    assert_eq!(names.labellers[0].label(&records).len(), 1);
    assert_eq!(counters.labels[0].late.get(), 1);
}

#[test]
fn a_thread_that_is_behind_is_waited_for_once() {
    let patience = Duration::from_millis(50);
    let (mut names, counters) = names(1, 100, Some(patience));
    assert!(ask(&mut names.senders[0], SECOND, 1, "a.example", [192, 0, 2, 8]));
    let records = [record(UDP, (1, 4_000), (8, 443), [2, 3])];
    let begin = std::time::Instant::now();
    (0..100).for_each(|_| assert_eq!(names.labellers[0].label(&records), []));
    assert!(begin.elapsed() < 50 * patience, "it waited again and again");
    assert_eq!(counters.labels[0].late.get(), 100);
    assert!(names.senders[0].flush());
    while names.thread.step() {}
    assert_eq!(names.labellers[0].label(&records).len(), 1);
    assert_eq!(counters.labels[0].late.get(), 100);
}

#[test]
fn a_question_on_one_queue_is_seen_before_its_answer_on_another() {
    let (mut names, counters) = names(2, 100, None);
    let (client, server) = ((1, 4_000), (53, 53));
    let answer = dns(7, "a.example", Some([192, 0, 2, 8]));
    assert!(names.senders[1].push(&packet(20, UDP, server, client), &answer));
    names.senders[1].reach(20);
    assert!(!names.thread.step(), "what comes before may still come");
    let question = dns(7, "a.example", None);
    assert!(names.senders[0].push(&packet(10, UDP, client, server), &question));
    names.senders[0].reach(15);
    assert!(names.thread.step());
    assert_eq!((counters.thread.read.get(), counters.thread.answered.get()), (1, 0));
    names.senders[0].reach(Tick::MAX);
    assert!(names.thread.step());
    assert_eq!((counters.thread.read.get(), counters.thread.answered.get()), (2, 1));
}

#[test]
fn an_answer_counts_once_and_only_if_its_question_was_seen() {
    let (mut names, counters) = names(1, 100, None);
    let (client, server) = ((1, 4_000), (53, 53));
    let sender = &mut names.senders[0];
    let mut says = |tick: Tick, is_answer: bool, id, name| {
        let (from, to) = if is_answer { (server, client) } else { (client, server) };
        let address = is_answer.then_some([192, 0, 2, 8]);
        assert!(sender.push(&packet(tick * SECOND, UDP, from, to), &dns(id, name, address)));
    };
    says(1, true, 7, "forged.example");
    says(2, false, 7, "a.example");
    says(3, true, 8, "forged.example");
    says(3, true, 7, "forged.example");
    says(4, true, 7, "a.example");
    says(5, true, 7, "a.example");
    says(6, false, 9, "late.example");
    says(40, true, 9, "late.example");
    assert!(sender.flush());
    while names.thread.step() {}
    assert_eq!((counters.thread.answered.get(), counters.thread.unsolicited.get()), (1, 5));
    let labels = names.labellers[0].label(&[record(UDP, client, (8, 443), [50, 51])]);
    assert_eq!(best(&labels), [(0, "a.example".to_owned(), "dns")]);
}

/// Recordings with the same hours: what is read later changes nothing for flows of before, however
/// late their records are labelled; and it does not take away what flows say that come later.
#[test]
fn records_of_one_recording_do_not_depend_on_what_is_read_after_it() {
    let (mut names, _) = names(1, 100, None);
    // The clock goes forward where packet time goes back.
    let at = |packet: Packet, ordinal, behind: u64| Packet {
        ordinal,
        timestamp: Some((packet.tick - behind * SECOND).cast_signed()),
        ..packet
    };
    let (client, resolver) = ((1, 5_354), (53, 53));
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}.example\r\n\r\n");
    let say = |names: &mut Names, place: u64, behind: u64, host: &str| {
        let sender = &mut names.senders[0];
        let tick = (10 + behind) * SECOND;
        let address = Some([192, 0, 2, 8]);
        let name = format!("{host}-named.example");
        let question = at(packet(tick, UDP, client, resolver), place, behind);
        let answer = at(packet(tick + 1, UDP, resolver, client), place + 1, behind);
        assert!(sender.push(&question, &dns(7, &name, None)));
        assert!(sender.push(&answer, &dns(7, &name, address)));
        let request = at(packet(tick + SECOND, TCP, (1, 4_000), (9, 80)), place + 2, behind);
        let sequence = 1 << (2 * behind.min(14));
        let tcp = TcpHeader::new(0, sequence, 0, 1);
        assert!(sender.push(&Packet { tcp, ..request }, get(host).as_bytes()));
        assert!(sender.flush());
        while names.thread.step() {}
    };
    let from = |place: u32, record: FlowRecord| {
        let opening = record.total.opening.map(|opening| Opening { ordinal: place, ..opening });
        FlowRecord { total: Delta { opening, ..record.total }, ..record }
    };
    let flows = |place: u32| {
        [
            from(place + 2, record(TCP, (1, 4_000), (9, 80), [11, 12])),
            from(place + 3, record(UDP, (1, 4_001), (8, 443), [11, 12])),
        ]
    };
    say(&mut names, 0, 0, "first");
    let want = |host: &str| {
        let names =
            [(format!("{host}.example"), "http_host"), (format!("{host}-named.example"), "dns")];
        (0..).zip(names).map(|(at, (name, source))| (at, name, source)).collect::<Vec<_>>()
    };
    let early = names.labellers[0].label(&flows(0)[1..]);
    say(&mut names, 100, 200, "second");
    let late = names.labellers[0].label(&flows(0));
    assert_eq!(best(&late), want("first"));
    assert_eq!(early[0].1, late[1].1, "labelled at once, and after the other was read");
    // The first flow is forgotten, and the one with the same key and time is not.
    while names.thread.step() {}
    assert_eq!(best(&names.labellers[0].label(&flows(100))), want("second"));
}

/// On two queues the clock may stand still between a question and its answer: time tells.
#[test]
fn payloads_of_one_tick_are_read_in_the_order_of_their_times() {
    let (mut names, counters) = names(2, 100, None);
    let (client, server) = ((1, 4_000), (53, 53));
    let at = |packet: Packet, time| Packet { timestamp: Some(time), ..packet };
    let answer = dns(7, "a.example", Some([192, 0, 2, 8]));
    assert!(names.senders[0].push(&at(packet(20, UDP, server, client), 19), &answer));
    let question = dns(7, "a.example", None);
    assert!(names.senders[1].push(&at(packet(20, UDP, client, server), 18), &question));
    for sender in &mut names.senders {
        sender.reach(Tick::MAX);
    }
    while names.thread.step() {}
    assert_eq!((counters.thread.answered.get(), counters.thread.unsolicited.get()), (1, 0));
}

/// Random sub-domains for random addresses, forged answers, and flows that say something and never
/// end: all within bounds.
#[test]
fn a_flood_stays_within_bounds() {
    const MAX: usize = 1_000;
    let (mut names, counters) = names(1, MAX, None);
    let mut forged = 0;
    for n in 0..200_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let tick = u64::from(n) * 100_000;
        let sender = &mut names.senders[0];
        // Rare enough for a slow build, and still more than fits by far.
        if n % 8 == 0 {
            assert!(ask(sender, tick, 1, &format!("{n}.example"), [10, a, b, c]));
            let host = format!("GET / HTTP/1.1\r\nHost: {n}.example\r\n\r\n");
            let flow = packet(tick, TCP, (b, 1_024 + u16::from(c)), (a, 80));
            assert!(sender.push(&flow, host.as_bytes()));
        } else {
            let flow = packet(tick, UDP, (53, 53), (1, 4_000));
            assert!(sender.push(&flow, &dns(9, "forged.example", Some([10, a, b, c]))));
            forged += 1;
        }
        if n % 64 == 0 {
            while names.thread.step() {}
            assert!(counters.thread.answers.get() <= MAX as u64);
            assert!(counters.thread.flows.get() <= MAX as u64);
        }
    }
    assert!(names.senders[0].flush());
    while names.thread.step() {}
    assert_eq!(counters.thread.unsolicited.get(), forged);
    assert_eq!(counters.thread.answers.get(), MAX as u64);
    assert_eq!(counters.thread.read.get(), names.senders[0].progress().handed());
    assert!(counters.thread.evicted.get() > 0);
}
