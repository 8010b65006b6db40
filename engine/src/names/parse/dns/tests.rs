//! Messages of name services: chains, cuts, loops and lies.

use proptest::prelude::*;

use super::*;
use crate::names::{AnswerWay, DnsAnswer};

/// Labels with their lengths, and the end.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    labels.flat_map(label).chain([0]).collect()
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, data].concat()
}

/// A response to a question for `name`.
fn response(name: &str, kind: u16, answers: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(answers.len()).unwrap().to_be_bytes();
    let header = [0x12, 0x34, 0x81, 0x80, 0, 1, count[0], count[1], 0, 0, 0, 0];
    [&header, &wire(name)[..], &kind.to_be_bytes(), &[0, 1], &answers.concat()].concat()
}

fn parsed(message: &[u8]) -> DnsMessage {
    parse(NameService::Dns, message, true).unwrap()
}

/// Asked name, owner, address and time to live of each answer.
fn answers(message: &[u8]) -> Vec<(String, Option<String>, String, u32)> {
    let answer = |answer: DnsAnswer| {
        let owner = answer.owner.map(Into::into);
        (answer.name.into(), owner, answer.address.to_string(), answer.ttl_seconds)
    };
    parsed(message).answers.into_iter().map(answer).collect()
}

fn want(
    name: &str,
    owner: Option<&str>,
    address: &str,
    ttl: u32,
) -> (String, Option<String>, String, u32) {
    (name.into(), owner.map(Into::into), address.into(), ttl)
}

/// The question's name, by a pointer.
const QUESTION: &[u8] = &[0xc0, 12];

#[test]
fn the_asked_name_has_the_address() {
    let message = response(
        "WWW.Example.com",
        kind::A,
        &[
            record(QUESTION, kind::CNAME, 60, &wire("a.cdn.net")),
            record(&wire("cdn.net"), kind::DNAME, 30, &wire("b.cdn.org")),
            record(&wire("a.b.cdn.org"), kind::A, 300, &[192, 0, 2, 1]),
            record(&wire("other.org"), kind::AAAA, 300, &[0x20; 16]),
        ],
    );
    let said = parsed(&message);
    assert_eq!(said.question, Some(("www.example.com".into(), kind::A)));
    assert_eq!((said.id, said.is_response, said.rcode), (0x1234, true, 0));
    assert_eq!(answers(&message), [want("www.example.com", Some("a.b.cdn.org"), "192.0.2.1", 30)]);
    assert_eq!(said.unasked, 1, "other.org");
}

/// What is found elsewhere goes by the name that it has there.
#[test]
fn servers_that_the_asked_name_leads_to_are_named() {
    let address = |name: &str, last| record(&wire(name), kind::A, 300, &[192, 0, 2, last]);
    let check = |asked: &str, asked_kind, records: &[Vec<u8>], want: &[(&str, &str)]| {
        let message = response(asked, asked_kind, records);
        let found: Vec<_> = answers(&message).into_iter().map(|it| (it.0, it.2)).collect();
        let want: Vec<_> = want.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        assert_eq!(found, want, "{asked}");
        // One of each is of another name.
        assert_eq!(parsed(&message).unasked, 1, "{asked}");
    };
    let server = |kind, before: usize, name: &str| {
        record(QUESTION, kind, 60, &[&vec![0; before], &wire(name)[..]].concat())
    };
    let mail = [server(kind::MX, 2, "mx.org"), address("mx.org", 1), address("bank.org", 2)];
    check("a.org", kind::MX, &mail, &[("mx.org", "192.0.2.1")]);
    let sip = [server(kind::SRV, 6, "sip.org"), address("sip.org", 1), address("x.sip.org", 2)];
    check("_sip._tcp.a.org", kind::SRV, &sip, &[("sip.org", "192.0.2.1")]);
    let zone = record(&wire("org"), kind::NS, 60, &wire("ns.net"));
    let other = record(&wire("b.org"), kind::NS, 60, &wire("ns.bank"));
    let glue = [zone, other, address("ns.net", 1), address("ns.bank", 2)];
    check("www.a.org", kind::A, &glue, &[("ns.net", "192.0.2.1")]);
    let own = [&[record(QUESTION, kind::A, 60, &[192, 0, 2, 1])], &glue[..]].concat();
    check("www.a.org", kind::A, &own, &[("www.a.org", "192.0.2.1"), ("ns.net", "192.0.2.1")]);
    let ways: Vec<_> = parsed(&response("www.a.org", kind::A, &own)).answers;
    let ways: Vec<_> = ways.iter().map(|answer| answer.way).collect();
    assert_eq!(ways, [AnswerWay::Asked, AnswerWay::Server]);
    let bound = [server(kind::HTTPS, 2, "svc.net"), server(kind::HTTPS, 2, "svc2.net")];
    let bound = [&bound[..], &[address("svc.net", 1), address("svc2.net", 2), address("c", 3)]];
    let both = [("a.org", "192.0.2.1"), ("a.org", "192.0.2.2")];
    check("_8443._https.a.org", kind::HTTPS, &bound.concat(), &both);
}

#[test]
fn multicast_answers_name_what_is_local_and_say_what_they_answer() {
    let browse = record(&wire("_ipp._tcp.local"), kind::PTR, 60, &wire("p._ipp._tcp.local"));
    let host = record(&wire("printer.local"), kind::A, 60, &[10, 0, 0, 20]);
    let bank = record(&wire("bank.example"), kind::A, 60, &[10, 0, 0, 67]);
    let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    message.extend([browse, host, bank].concat());
    let said = parse(NameService::Mdns, &message, false).unwrap();
    let names: Vec<_> = said.answers.iter().map(|answer| &*answer.name).collect();
    assert_eq!((names, said.unasked), (vec!["printer.local"], 1));
    assert_eq!(said.other_names, ["_ipp._tcp.local".into()]);
    let goodbye = record(&wire("printer.local"), kind::A, 0, &[10, 0, 0, 20]);
    let goodbye = [&[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &goodbye].concat();
    let said = parse(NameService::Mdns, &goodbye, false).unwrap();
    assert_eq!((said.answers.len(), said.answers[0].ttl_seconds), (1, 0));
    assert!(said.takes_back(&said.answers[0]));
    let two = [&[0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0][..], &wire("a.local"), &[0, 1, 0, 1]];
    let two = [&two.concat()[..], &wire("b.local"), &[0, 1, 0, 1]].concat();
    let said = parse(NameService::Mdns, &two, false).unwrap();
    assert_eq!(said.question.map(|(name, _)| name), Some("a.local".into()));
    assert_eq!(said.other_names, ["b.local".into()]);
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let alias = |from: &str, to: &str| record(&wire(from), kind::CNAME, 60, &wire(to));
    let message = response(
        "a.org",
        kind::A,
        &[alias("a.org", "b.org"), alias("b.org", "a.org"), record(&wire("b.org"), 1, 9, &[1; 4])],
    );
    assert_eq!(answers(&message), [want("a.org", Some("b.org"), "1.1.1.1", 9)]);
    let growing =
        response("a.org", kind::A, &[record(&wire("org"), kind::DNAME, 1, &wire("x.org"))]);
    assert_eq!(answers(&growing), []);
}

#[test]
fn reverse_names_and_hints() {
    let reverse = "1.2.0.192.in-addr.arpa";
    let message = response(reverse, kind::PTR, &[record(QUESTION, kind::PTR, 60, &wire("H.org"))]);
    assert_eq!(answers(&message), [want("h.org", None, "192.0.2.1", 60)]);
    assert_eq!(parsed(&message).answers[0].way, AnswerWay::Reverse);
    // A network of less than 256 addresses (RFC 2317).
    let small = "1.0-25.2.0.192.in-addr.arpa";
    let records = [
        record(QUESTION, kind::CNAME, 30, &wire(small)),
        record(&wire(small), kind::PTR, 60, &wire("h.org")),
    ];
    let message = response(reverse, kind::PTR, &records);
    assert_eq!(answers(&message), [want("h.org", None, "192.0.2.1", 30)]);
    let other = record(&wire("9.2.0.192.in-addr.arpa"), kind::PTR, 60, &wire("bank.example"));
    let message = response(reverse, kind::PTR, &[other]);
    assert_eq!((answers(&message), parsed(&message).unasked), (Vec::new(), 1));
    let service = response("x.local", kind::PTR, &[record(QUESTION, kind::PTR, 60, &wire("h"))]);
    assert_eq!(answers(&service), [], "a service's PTR is no address");

    let hints = [
        &[0, 1, 0][..],
        &[0, 1, 0, 3, 2, b'h', b'2'],
        &[0, 4, 0, 8, 192, 0, 2, 1, 192, 0, 2, 2],
        &[0, 6, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]
    .concat();
    let message = response("e.org", kind::HTTPS, &[record(QUESTION, kind::HTTPS, 60, &hints)]);
    let hinted = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|ip| want("e.org", None, ip, 60));
    assert_eq!(answers(&message), hinted);
    let alias = [&[0, 0][..], &wire("svc.net")].concat();
    let both = [
        record(QUESTION, kind::HTTPS, 60, &alias),
        record(&wire("svc.net"), kind::A, 60, &[192, 0, 2, 1]),
    ];
    let message = response("e.org", kind::HTTPS, &both);
    assert_eq!(answers(&message), [want("e.org", Some("svc.net"), "192.0.2.1", 60)]);
    let further = [
        record(QUESTION, kind::HTTPS, 60, &alias),
        record(&wire("svc.net"), kind::CNAME, 30, &wire("cdn.net")),
        record(&wire("cdn.net"), kind::A, 60, &[192, 0, 2, 1]),
    ];
    let message = response("e.org", kind::HTTPS, &further);
    assert_eq!(answers(&message), [want("e.org", Some("cdn.net"), "192.0.2.1", 30)]);
}

#[test]
fn response_codes_have_twelve_bits() {
    let mut message = response("a.org", kind::A, &[record(&[0], kind::OPT, 0x0100_0000, &[])]);
    assert_eq!(parsed(&message).rcode, 16, "BADVERS");
    message[3] |= 3;
    message[2] |= 2;
    assert_eq!((parsed(&message).rcode, parsed(&message).is_truncated), (19, true));
}

#[test]
fn what_was_captured_counts() {
    let address = |last| record(QUESTION, kind::A, 60, &[192, 0, 2, last]);
    let bad = record(QUESTION, kind::A, 60, &[1, 2, 3]);
    let long = record(&[&[63; 64][..]; 5].concat(), kind::A, 60, &[1; 4]);
    let long = [&long[..320], &[0], &long[320..]].concat();
    let message = response("a.org", kind::A, &[address(1), bad, address(2), long, address(3)]);
    assert_eq!(answers(&message).len(), 3, "a bad record and a name too long between good ones");
    assert_eq!(answers(&message[..message.len() - 1]).len(), 2, "cut");
    assert_eq!(answers(&message[..23]), [], "the question alone");
    for cut in 0..message.len() {
        let _ = parse(NameService::Dns, &message[..cut], true);
    }
    let mut claims = message.clone();
    claims[6..12].fill(0xff);
    assert_eq!(answers(&claims).len(), 3, "more records than there are");
    let mut query = message;
    query[2] &= 0x7f;
    assert_eq!(parsed(&query).answers, [], "a query answers nothing");
    query[2] |= 5 << 3;
    assert_eq!(parse(NameService::Dns, &query, true), None, "a dynamic update");
}

#[test]
fn pointers_go_back_only() {
    for pointer in [[0xc0, 12], [0xc0, 14], [0xff, 0xff], [0x80, 1]] {
        let mut message = response("", kind::A, &[]);
        message.splice(12..13, pointer);
        assert_eq!(parse(NameService::Dns, &message, true), None, "{pointer:02x?}");
    }
    // A ladder of pointers, the longest way that a message may send us, once for each record.
    let mut message = response("a.org", kind::A, &[]);
    message[6..8].copy_from_slice(&[0xff, 0xff]);
    let ladder = u16::try_from(message.len()).unwrap();
    let steps: Vec<u8> = (0..7_000_u16)
        .flat_map(|step| {
            (0xc000 | if step == 0 { 12 } else { ladder + 11 + 2 * (step - 1) }).to_be_bytes()
        })
        .collect();
    message.extend(record(&[0], 99, 0, &steps[..]));
    let top = (0xc000 | (ladder + 11 + 2 * 6_999)).to_be_bytes();
    while message.len() < 65_000 {
        message.extend(record(&top, kind::A, 60, &[192, 0, 2, 1]));
    }
    let started = std::time::Instant::now();
    assert_eq!(answers(&message).len(), DNS_RECORDS - 1);
    assert!(started.elapsed().as_secs() < 5, "bounded time");
}

#[test]
fn hostile_names_are_escaped() {
    let labels = b"\x05a\x00b.c\x06\x1b[31m\xff\x00";
    let target = record(QUESTION, kind::PTR, 60, labels);
    let message = response("1.2.0.192.in-addr.arpa", kind::PTR, &[target]);
    assert_eq!(answers(&message)[0].0, r"a\000b\.c.\027[31m\255");
}

proptest! {
    #[test]
    fn whatever_is_changed(changes in prop::collection::vec((0usize..300, any::<u8>()), 1..8)) {
        let alias = [&[0, 0][..], &wire("svc.net")].concat();
        let mut message = response("www.example.com", kind::A, &[
            record(QUESTION, kind::CNAME, 60, &wire("a.cdn.net")),
            record(QUESTION, kind::HTTPS, 60, &alias),
            record(QUESTION, kind::SVCB, 60, &[0, 1, 0, 0, 4, 0, 4, 1, 2, 3, 4]),
            record(&wire("cdn.net"), kind::DNAME, 30, &[0xc0, 16]),
            record(QUESTION, kind::PTR, 60, &[0xc0, 20]),
            record(QUESTION, kind::AAAA, 300, &[0x20; 16]),
        ]);
        for (at, byte) in changes {
            let at = at % message.len();
            message[at] = byte;
        }
        if let Some(said) = parse(NameService::Mdns, &message, true) {
            prop_assert!((0..=message.len()).all(|cut| may_be_message(&message[..cut])));
            prop_assert!(said.answers.len() <= DNS_RECORDS);
            prop_assert!(said.answers.iter().all(|answer| answer.name.len() <= 255));
        }
    }

    #[test]
    fn whatever_comes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let read = parse(NameService::Llmnr, &bytes, true);
        prop_assert!(read.is_none() || may_be_message(&bytes));
        let mut found = Vec::new();
        let _ = crate::names::parse::nbns::parse(&bytes, [0; 4].into(), true, &mut found);
    }
}
