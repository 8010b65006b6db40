//! What flows say, and what is kept of it.

use super::*;
use crate::flow::protocol::TCP;
use crate::flow::{Endpoint, PortKind};
use crate::names::tests::{SECOND, record};

fn key(port: u16) -> FlowKey {
    let end = |port| Endpoint { address: [1; 16], port };
    FlowKey::canonical(end(port), end(80), 4, 6, PortKind::Ports, [0; 2]).0
}

fn at(time: Timestamp) -> When {
    (Some(time), Place::default())
}

fn host(name: &str) -> FlowFacts {
    FlowFacts { http_host: Some(name.into()), ..FlowFacts::default() }
}

#[test]
fn a_key_that_comes_back_is_not_the_oldest() {
    let mut facts = Facts::new(2);
    assert_eq!(facts.add(key(1), at(1), host("a")), 0);
    assert!(facts.release(&key(1), Span { from: Some(0), until: 1, place: None }));
    assert_eq!(facts.add(key(2), at(2), host("b")), 0);
    assert_eq!(facts.add(key(1), at(3), host("c")), 0);
    assert_eq!(facts.add(key(3), at(4), host("d")), 1);
    let is_there = [1, 2, 3].map(|port| facts.flows.with(&key(port), |_| ()).is_some());
    assert_eq!(is_there, [true, false, true]);
}

#[test]
fn many_messages_of_one_flow_count_each() {
    let mut facts = Facts::new(8);
    let evicted: u64 = (0..8).map(|time| facts.add(key(1), at(time), host("a"))).sum();
    assert_eq!((evicted, facts.add(key(2), at(9), host("b"))), (0, 8));
}

#[test]
fn of_what_is_in_a_tunnel_the_first_of_each_kind_stays() {
    let mut facts = Facts::new(100_000);
    let inside = |facts| FlowFacts { is_inside: true, ..facts };
    let named = |name: String| {
        inside(FlowFacts { sni: Some(name.as_str().into()), ..FlowFacts::default() })
    };
    let mut evicted = facts.add(key(1), at(0), named("first".to_owned()));
    evicted += facts.add(key(1), at(1), inside(host("a")));
    for time in 2..3_000 {
        evicted += facts.add(key(1), at(time), named(format!("later {time}")));
    }
    let span = Span { from: Some(0), until: 3_000, place: None };
    let said = facts.view().of(&key(1), span).expect("it said much");
    assert_eq!((said.sni.as_deref(), said.http_host.as_deref()), (Some("first"), Some("a")));
    assert_eq!(evicted, 0, "what a record would not show is not missed");
    assert!(facts.messages <= FACTS_KEPT);
}

#[test]
fn a_key_that_is_used_again_and_again_leaves_no_old_entries() {
    let mut facts = Facts::new(100);
    for time in 0..10_000 {
        facts.add(key(1), at(time), host("a"));
        assert!(facts.release(&key(1), Span { from: Some(time), until: time, place: None }));
    }
    assert!(facts.aging.len() <= 1_025, "{}", facts.aging.len());
}

#[test]
fn what_another_recording_says_of_the_same_key_and_time_is_not_the_flows() {
    let mut facts = Facts::new(100);
    // The first recording has frames up to 20, the other one from 21 on.
    let when = |ordinal, recording| (Some(5), Place { ordinal, recording });
    facts.add(key(1), when(10, 0), host("a"));
    facts.add(key(1), when(30, 21), host("b"));
    let span = |place| Span { from: Some(1), until: 9, place };
    let said = |facts: &Facts, place| {
        let said = facts.view().of(&key(1), span(place));
        said.and_then(|said| said.http_host.as_deref().map(str::to_owned))
    };
    let names = [None, Some(8), Some(10), Some(25), Some(30)].map(|place| said(&facts, place));
    let [a, b] = ["a", "b"].map(|name| Some(name.to_owned()));
    assert_eq!(names, [a.clone(), a.clone(), a, b.clone(), b.clone()]);
    assert_eq!([Some(11), Some(31)].map(|place| said(&facts, place)), [None, None]);
    assert!(facts.release(&key(1), span(Some(8))));
    assert_eq!([Some(8), Some(25)].map(|place| said(&facts, place)), [None, b]);
}

/// Captures of several queues are such: its second packet, which said a name, is of an earlier time.
#[test]
fn what_is_said_before_the_time_of_the_first_packet_is_the_flows() {
    let mut record = record(TCP, (1, 40_000), (2, 80), [10, 20]);
    record.total.first -= 1;
    let [before, first, last] = [-2, -1, 0].map(|ns| at(10 * SECOND.cast_signed() + ns));
    let span = Span::of(&record, None);
    assert!(!span.has(before) && span.has(first) && span.has(last));
    let after = at(record.total.last + 1);
    assert!(!span.has(after));
}

#[test]
fn names_are_cut() {
    let mut facts = FlowFacts::default();
    facts.add(FlowFact::HttpHost("\u{fc}".repeat(200).into()));
    assert_eq!(facts.http_host.map(|name| name.len()), Some(NAME_BYTES - 1));
}

/// What both ends said, in two messages of one flow.
#[test]
fn what_both_ends_said_is_one() {
    let mut facts = Facts::new(9);
    let said = |all: &[FlowFact]| {
        let mut facts = FlowFacts::default();
        all.iter().for_each(|fact| facts.add(fact.clone()));
        facts
    };
    let name = FlowFact::Sni("a.example".into());
    facts.add(key(1), at(1), said(&[name, FlowFact::EncryptedHello]));
    let first = [FlowFact::TlsVersion(0x0303), FlowFact::TlsCipher(0xc02f)];
    facts.add(key(1), at(2), said(&first));
    facts.add(key(1), at(3), said(&[FlowFact::TlsVersion(0x0304), FlowFact::TlsCipher(0x1301)]));
    let all = facts.view().of(&key(1), Span { from: Some(1), until: 3, place: None }).unwrap();
    let shown = (all.sni.as_deref(), all.has_ech, all.tls_version(), all.tls_cipher());
    let cipher = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let want = (Some("a.example"), true, Some("TLSv1.2".into()), Some(cipher.into()));
    assert_eq!(shown, want);
}
