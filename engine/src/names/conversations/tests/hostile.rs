//! Payloads that mean harm: no panic, and memory within its bounds.

use proptest::prelude::*;

use super::*;
use crate::limits::{CONVERSATION_BYTES, CONVERSATIONS, STREAM_PARTS};
use crate::names::parse::sample::hello_for;

fn payload<'a>(key: FlowKey, tick: Tick, sequence: u32, bytes: &'a [u8]) -> Payload<'a> {
    let wire_bytes = u32::try_from(bytes.len()).unwrap();
    let (direction, sequence) = (FROM_CLIENT, Some(sequence));
    Payload { key, direction, tick, sequence, bytes, wire_bytes, ..Payload::NONE }
}

/// One of many flows, none of them on a port of DNS.
fn numbered(number: usize) -> FlowKey {
    let port = |number: usize| u16::try_from(1_000 + number).unwrap();
    key(protocol::TCP, port(number % 60_000), port(number / 60_000))
}

#[test]
fn a_flood_of_beginnings_stays_within_bounds() {
    let hello = hello_for("a.example", 5_000);
    let mut conversations = Conversations::default();
    let mut found = Vec::new();
    let request = b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n";
    let asked = key(protocol::TCP, 8, 8);
    conversations.observe(&payload(asked, 0, 0, request), &mut found);
    assert_eq!(host(&found), Some("first.example"));
    found.clear();
    for number in 0..80_000 {
        let key = numbered(number);
        conversations.observe(&payload(key, 0, 0, &hello[..1_000]), &mut found);
    }
    let (flows, bytes) = conversations.held();
    assert!(flows <= CONVERSATIONS && bytes <= CONVERSATION_BYTES);
    assert!(bytes > CONVERSATION_BYTES / 4 * 3, "the bound that this meets");
    assert_eq!(conversations.counters().no_room, 80_000 - (bytes / 1_000) as u64);
    assert_eq!(found, []);
    let whole = hello_for("b.example", 500);
    let key = key(protocol::TCP, 7, 7);
    conversations.observe(&payload(key, 0, 0, &whole), &mut found);
    assert_eq!(sni(&found), Some("b.example"), "what is whole is read");
    found.clear();
    conversations.observe(&payload(asked, 0, 45, request), &mut found);
    assert_eq!(found, [], "what has been said is not said again");
}

#[test]
fn a_flood_of_flows_stays_within_bounds() {
    let mut conversations = Conversations::default();
    let mut found = Vec::new();
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    for number in 0..CONVERSATIONS + 100 {
        let key = numbered(number);
        conversations.observe(&payload(key, 0, 0, request), &mut found);
        assert!(conversations.held().0 <= CONVERSATIONS);
    }
    assert_eq!(conversations.counters(), ParserCounters::default(), "nothing is lost");
    assert_eq!(found.len(), 2 * (CONVERSATIONS + 100), "each is read: its host, and HTTP");
    conversations.forget_idle(CONVERSATION_IDLE_NS);
    assert_eq!(conversations.held(), (0, 0), "what is idle is forgotten");
}

/// Among floods of others, those of one message and those of the beginning of one.
#[test]
fn a_message_in_two_segments_is_read_in_a_flood() {
    let hello = hello_for("a.example", 500);
    let request = b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
    for flood in [&request[..], &request[..30]] {
        let mut conversations = Conversations::default();
        let mut found = Vec::new();
        let mut others = (0..).map(numbered);
        let mut see = |conversations: &mut Conversations, count, tick| {
            for key in others.by_ref().take(count) {
                conversations.observe(&payload(key, tick, 0, flood), &mut Vec::new());
            }
        };
        see(&mut conversations, CONVERSATIONS, 0);
        for tick in 1..9 {
            let key = key(protocol::TCP, u16::try_from(tick).unwrap(), 9);
            conversations.observe(&payload(key, tick, 0, &hello[..200]), &mut found);
            see(&mut conversations, 2_000, tick);
            found.clear();
            conversations.observe(&payload(key, tick, 200, &hello[200..]), &mut found);
            assert_eq!(sni(&found), Some("a.example"), "{tick}");
        }
        let is_of_messages = flood.len() == request.len();
        assert_eq!(conversations.counters().no_room == 0, is_of_messages);
    }
}

/// What protocols begin with, so that what follows is looked at.
const BEGINNINGS: [&[u8]; 10] = [
    b"",
    b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03",
    b"\x16\x03\x03\x00\x10\x02\x00\x00\x0c",
    b"GET / HTTP/1.1\r\nHost: ",
    b"SSH-2.0-",
    b"\xc0\x00\x00\x00\x01\x08",
    b"\x0d\x01\x02\x03\x04\x05\x06\x07\x08Q025\x01CHLO",
    b"NOTIFY * HTTP/1.1\r\n",
    b"\x00\x1c\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00",
    b"\x01\x01\x06\x00",
];

const PORTS: [u16; 11] = [53, 67, 80, 137, 443, 546, 1_900, 5_353, 5_355, 22, 9_999];

proptest! {
    #[test]
    fn whatever_comes(payloads in prop::collection::vec(
        (
            prop::sample::select(&[protocol::TCP, protocol::UDP][..]),
            prop::sample::select(&PORTS[..]),
            prop::sample::select(&BEGINNINGS[..]),
            prop::collection::vec(any::<u8>(), 0..300),
            -400i32..400,
            0u64..1_000_000_000,
        ),
        0..40,
    )) {
        let mut conversations = Conversations::default();
        let mut found = Vec::new();
        let mut tick = 0;
        for (protocol, port, beginning, rest, sequence, gap) in payloads {
            tick += gap;
            let bytes = [beginning, &rest].concat();
            let direction = if gap % 2 == 0 { FROM_CLIENT } else { FROM_SERVER };
            let key = key(protocol, 40_000, port);
            let payload = payload(key, tick, sequence.cast_unsigned(), &bytes);
            conversations.observe(&Payload { direction, ..payload }, &mut found);
            conversations.forget_idle(tick);
            let held: usize = conversations.flows.values().map(Conversation::bytes).sum();
            prop_assert_eq!(conversations.held().1, held);
            for flow in conversations.flows.values() {
                prop_assert!(flow.bytes() <= 2 * STREAM_PARTS * 400);
            }
        }
        conversations.forget_idle(tick + 2 * CONVERSATION_IDLE_NS);
        prop_assert_eq!(conversations.held(), (0, 0));
    }
}
