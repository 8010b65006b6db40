//! Connections whose segments come as networks bring them.

use proptest::prelude::*;

use super::*;
use crate::limits::{CONVERSATION_IDLE_NS, OVERTAKEN_NS, STREAM_BYTES, STREAM_PARTS};
use crate::names::App;
use crate::names::interest::follow_ups;
use crate::names::parse::sample::{
    certificate, certificate_message, client_hello, extension, hello_for, records, server_hello,
    server_hello_12, server_name,
};

const TCP: u8 = protocol::TCP;

#[test]
fn both_directions_say_their_own_once() {
    let mut flow = Flow::new(TCP, 9_999);
    let hello = hello_for("a.example", 500);
    assert_eq!(sni(&flow.see(FROM_CLIENT, 1_000, &hello)), Some("a.example"));
    assert_eq!(flow.see(FROM_CLIENT, 1_000, &hello), [], "a retransmission");
    let answer = flow.see(FROM_SERVER, 77, &records(&server_hello(), 99));
    assert_eq!(answer[2], Finding::Flow(FlowFact::TlsCipher(0x1301)));
    assert_eq!(flow.conversations.held(), (1, 0));
    let next = flow.see(FROM_CLIENT, 1_000 + (1 << 30), &hello_for("b.example", 500));
    assert_eq!(sni(&next), Some("b.example"), "another connection with the same ports");
    let near = 1_000 + (1 << 30) + 20_000;
    assert_eq!(flow.see(FROM_CLIENT, near, b"\x17\x03\x03\x01\x00data"), []);
    let next = flow.see(FROM_CLIENT, near + 20_000, &hello_for("c.example", 500));
    assert_eq!(sni(&next), Some("c.example"), "one whose numbers are not far away");
}

#[test]
fn greetings_may_come_first() {
    let mut flow = Flow::new(TCP, 25);
    let smtp = [Finding::Flow(FlowFact::App(App::Smtp))];
    assert_eq!(flow.see(FROM_SERVER, 1, b"220 mail.example ESMTP\r\n"), smtp);
    assert_eq!(flow.see(FROM_SERVER, 1, b"220 mail.example ESMTP\r\n"), [], "it is said once");
    assert_eq!(flow.see(FROM_CLIENT, 1, b"EHLO me\r\n"), smtp);
    assert_eq!(flow.see(FROM_CLIENT, 10, b"STARTTLS\r\n"), []);
    let hello = hello_for("mail.example", 2_000);
    assert_eq!(flow.see(FROM_CLIENT, 20, &hello[..1_400]), []);
    assert_eq!(sni(&flow.see(FROM_CLIENT, 1_420, &hello[1_400..])), Some("mail.example"));
}

/// What a client says in these segments, behind a SYN, and what could not be read.
fn check_client(segments: &[&[u8]], want: &[FlowFact], counters: ParserCounters) {
    let mut flow = Flow::new(TCP, 3_128);
    let mut sequence = 7;
    let mut said = Vec::new();
    for bytes in segments {
        for _ in 0..2 {
            // A retransmission says nothing more.
            said.extend(flow.see(FROM_CLIENT, sequence, bytes));
        }
        sequence += u32::try_from(bytes.len()).unwrap();
    }
    let is_asked = |it: &Finding| !matches!(it, Finding::Flow(FlowFact::Ja4(_)));
    let want: Vec<_> = want.iter().cloned().map(Finding::Flow).collect();
    assert_eq!(said.into_iter().filter(is_asked).collect::<Vec<_>>(), want);
    flow.conversations.finish();
    assert_eq!(flow.conversations.counters(), counters);
}

#[test]
fn what_a_proxy_passes_on_is_read_too() {
    let (none, hello) = (ParserCounters::default(), hello_for("in.example", 500));
    let (http, host) = (FlowFact::App(App::Http), FlowFact::HttpHost("in.example".into()));
    let (tls, sni) = (FlowFact::App(App::Tls), FlowFact::Sni("in.example".into()));
    let request = &b"CONNECT in.example:443 HTTP/1.1\r\nHost: in.example\r\n\r\n"[..];
    let all = [http.clone(), host.clone(), tls.clone(), sni.clone()];
    check_client(&[request, &hello], &all, none);
    check_client(&[request, &hello[..90], &hello[90..]], &all, none);
    check_client(&[&request[..40], &request[40..], &hello], &all, none);
    check_client(&[&[request, &hello[..90]].concat(), &hello[90..]], &all, none);
    // It is refused once, as the proxy wants to know who asks.
    let twice = [&all[..2], &all[..]].concat();
    check_client(&[request, request, &hello], &twice, none);
    check_client(&[request, b"\0\x01\x02\x03 another protocol"], &all[..2], none);
    let unfinished = ParserCounters { unfinished: 1, ..none };
    check_client(&[request, &hello[..90]], &all[..2], unfinished);
    // Of any other request the first is all that counts.
    let get = &b"GET / HTTP/1.1\r\nHost: in.example\r\n\r\n"[..];
    check_client(&[get, &hello], &all[..2], none);

    let v1 = &b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n"[..];
    let v2 = &b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..];
    for header in [v1, v2] {
        check_client(&[header, &hello], &all[2..], none);
        check_client(&[&[header, &hello].concat()], &all[2..], none);
        check_client(&[&header[..9], &header[9..], &hello[..90], &hello[90..]], &all[2..], none);
        check_client(&[&[header, get].concat()], &all[..2], none);
        check_client(&[header, b"nothing"], &[], none);
        check_client(&[&header[..9]], &[], unfinished);
        // What is behind it overtakes its beginning.
        let mut flow = Flow::new(TCP, 443);
        assert_eq!(flow.see(FROM_CLIENT, 109, &[&header[9..], &hello].concat()), []);
        let found = flow.see(FROM_CLIENT, 100, &header[..9]);
        assert!(found.contains(&Finding::Flow(sni.clone())), "{found:?}");
    }
}

/// What is said with each of these segments of a server, and what could not be read.
fn check_server(segments: &[&[u8]], want: &[&[FlowFact]], counters: ParserCounters) {
    let mut flow = Flow::new(TCP, 443);
    let mut sequence = 0;
    for (bytes, want) in segments.iter().zip(want) {
        let said = flow.see(FROM_SERVER, sequence, bytes);
        let want: Vec<_> = want.iter().cloned().map(Finding::Flow).collect();
        assert_eq!(said, want, "at {sequence}");
        sequence += u32::try_from(bytes.len()).unwrap();
    }
    assert_eq!(flow.conversations.held().1, 0);
    assert_eq!(flow.conversations.counters(), counters);
}

#[test]
fn a_certificate_follows_in_more_segments() {
    let der = certificate("a.example");
    let message = certificate_message(&[&der, &[0x30; 900]]);
    let named =
        [FlowFact::CertSubject("CN=a.example".into()), FlowFact::CertName("a.example".into())];
    let hello = |version, cipher| {
        [FlowFact::App(App::Tls), FlowFact::TlsVersion(version), FlowFact::TlsCipher(cipher)]
    };
    let old = hello(0x0303, 0xc02f);
    let all = [&old[..], &named].concat();
    let none = ParserCounters::default();
    let too_long = ParserCounters { too_long: 1, ..none };
    let (first, rest) = (records(&server_hello_12(), 99), records(&message, 700));
    let both = [&first[..], &rest].concat();
    check_server(&[&both, b"more"], &[&all, &[]], none);
    check_server(&[&first, &rest], &[&old, &named], none);
    let in_one_record = records(&[server_hello_12(), message].concat(), 1 << 14);
    let (head, tail) = in_one_record.split_at(200);
    check_server(&[head, tail], &[&old, &named], none);
    // A session that is taken up again has none, and TLS 1.3 none that can be seen.
    let again = [&first[..], b"\x14\x03\x03\0\x01\x01"].concat();
    check_server(&[&again, &rest], &[&old, &[]], none);
    let new = [records(&server_hello(), 99), rest.clone()].concat();
    check_server(&[&new, &rest], &[&hello(0x0304, 0x1301), &[]], none);
    // What is not there with as many payloads as are copied does not come.
    let parts: Vec<_> = rest[..90].chunks(30).collect();
    check_server(&[&first, parts[0], parts[1], parts[2]], &[&old, &[], &[], &[]], too_long);
    // But of one that is longer than these its beginning says for whom it is.
    let parts: Vec<_> = rest[..330].chunks(110).collect();
    let subject = &named[..1];
    check_server(&[&first, parts[0], parts[1], parts[2]], &[&old, &[], &[], subject], none);
    let long = certificate_message(&[&[&der[..], &[0; 20_000]].concat()]);
    let long = [&first[..], &records(&long, 1 << 14)].concat();
    let segments: Vec<_> = long.chunks(1_400).take(16).collect();
    let mut want = vec![&[][..]; 16];
    (want[0], want[11]) = (&old, subject);
    check_server(&segments, &want, too_long);
}

/// Of what is longer than what is copied of a payload.
#[test]
fn what_is_not_copied_is_counted_where_it_is_missing() {
    let hello = |padding: usize| {
        let padding = extension(21, &vec![0; padding]);
        records(
            &client_hello(&[0x1301], &[crate::names::parse::sample::server_name("a.org"), padding]),
            1 << 14,
        )
    };
    let request = [b"POST / HTTP/1.1\r\nHost: a.org\r\n\r\n".as_slice(), &[b'x'; 9_000]].concat();
    let head = format!("GET / HTTP/1.1\r\nHost: a.org\r\nCookie: {}\r\n\r\n", "x".repeat(9_000));
    for (message, want) in
        [(&hello(9_000)[..], 1), (&hello(100), 0), (&request, 0), (head.as_bytes(), 1)]
    {
        let mut flow = Flow::new(TCP, 443);
        let copied = message.len().min(crate::limits::COPIED_BYTES);
        let missing = u32::try_from(message.len() - copied).unwrap();
        let found = flow.see_cut(FROM_CLIENT, 0, &message[..copied], missing);
        assert_eq!(sni(&found).or(host(&found)), Some("a.org"));
        let want = ParserCounters { too_long: want, ..Default::default() };
        assert_eq!(flow.conversations.counters(), want, "{} bytes", message.len());
    }
}

#[test]
fn a_request_counts_once() {
    let mut flow = Flow::new(TCP, 8_080);
    let request =
        |host| format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\n\r\n", "x".repeat(3_000));
    let (first, second) = (request("a.example"), request("b.example"));
    flow.see(FROM_CLIENT, u32::MAX - 5, &first.as_bytes()[..1_000]);
    assert_eq!(flow.conversations.held().1, 1_000);
    let found = flow.see(FROM_CLIENT, 994, &first.as_bytes()[1_000..]);
    assert_eq!(host(&found), Some("a.example"), "sequence numbers begin again");
    assert_eq!(flow.see(FROM_CLIENT, 994 + 2_100, second.as_bytes()), []);
    let mut flow = Flow::new(TCP, 8_080);
    let found = flow.see_cut(FROM_CLIENT, 0, &first.as_bytes()[..200], 2_900);
    assert_eq!(host(&found), Some("a.example"), "cut by the snap length");
}

#[test]
fn banners_are_hints_of_hosts() {
    let mut flow = Flow::new(TCP, 2_222);
    let found = flow.see(FROM_SERVER, 5, b"SSH-2.0-OpenSSH_9.9\r\n");
    let [Finding::Host(hint)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(hint.address, Some([192, 0, 2, 2].into()));
    assert_eq!(hint.fact, HostFact::SshBanner("SSH-2.0-OpenSSH_9.9".into()));
    // Behind other lines, which servers may send (RFC 4253 section 4.2).
    let lines = b"Welcome\r\nto this host\r\nSSH-2.0-OpenSSH_9.9\r\n";
    for (port, want) in [(22, 1), (2_222, 0)] {
        for (head, tail) in [0, 5].map(|rest| lines.split_at(lines.len() - rest)) {
            let mut flow = Flow::new(TCP, port);
            let mut found = flow.see(FROM_SERVER, 5, head);
            let sequence = 5 + u32::try_from(head.len()).unwrap();
            found.extend(flow.see(FROM_SERVER, sequence, tail));
            let is_hint = |finding: &&Finding| matches!(finding, Finding::Host(_));
            assert_eq!(found.iter().filter(is_hint).count(), want, "{} bytes", head.len());
        }
    }
}

#[test]
fn dns_is_a_row_of_messages() {
    let query = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x01a\x03org\x00\x00\x01\x00\x01";
    let framed = [&[0, 23][..], query].concat();
    let row = [&framed[..], &framed, &framed].concat();
    let mut flow = Flow::new(TCP, 53);
    assert_eq!(flow.see(FROM_CLIENT, 0, &row[..1]), []);
    assert_eq!(flow.see(FROM_CLIENT, 40, &row[40..]), [], "out of order");
    assert_eq!(flow.see(FROM_CLIENT, 1, &row[1..40]).len(), 3);
    assert_eq!(flow.see(FROM_CLIENT, 0, &row[..40]), [], "a retransmission");
    assert_eq!(flow.see(FROM_CLIENT, 75, &framed).len(), 1);
    assert_eq!(flow.conversations.held().1, 0);
    flow.see(FROM_CLIENT, 100, b"\x00\x02no");
    assert_eq!(flow.conversations.counters().malformed, 1);
}

/// Questions with their lengths before them, 25 bytes each.
const QUESTION: &[u8; 25] =
    b"\0\x17\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x01a\x03org\x00\x00\x01\x00\x01";

/// Of questions at these ms, offsets and lengths in a stream of them, how many are read with each;
/// and the gaps that were counted.
fn check_row(segments: &[(u64, u32, usize)], want: &[usize], gaps: u64) {
    let stream = QUESTION.repeat(100);
    let mut flow = Flow::new(TCP, 53);
    let mut see = |&(ms, from, length): &(u64, u32, usize)| {
        flow.tick = ms * 1_000_000;
        let bytes = &stream[from as usize..from as usize + length];
        let found = flow.see(FROM_CLIENT, from, bytes);
        let is_question = |found: &Finding| {
            found.as_dns().and_then(|it| it.question.as_ref()) == Some(&("a.org".into(), 1))
        };
        assert!(found.iter().all(is_question), "{found:?}");
        found.len()
    };
    let got: Vec<_> = segments.iter().map(&mut see).collect();
    assert_eq!(got, want);
    assert_eq!(flow.conversations.counters().gaps, gaps);
    assert_eq!(flow.conversations.counters().malformed, 0);
}

#[test]
fn dns_is_not_read_across_a_gap() {
    let wait_ms = OVERTAKEN_NS / 1_000_000;
    // It is filled in time, or it is not.
    check_row(
        &[(0, 0, 25), (1, 50, 25), (wait_ms, 25, 25), (wait_ms + 2, 75, 25)],
        &[1, 0, 2, 1],
        0,
    );
    check_row(
        &[(0, 0, 25), (1, 50, 25), (wait_ms, 75, 25), (wait_ms + 1, 100, 25)],
        &[1, 0, 0, 3],
        1,
    );
    // What is late is read no more: nobody knows whether it was.
    check_row(
        &[(0, 0, 25), (1, 50, 25), (wait_ms + 1, 75, 25), (wait_ms + 2, 25, 25)],
        &[1, 0, 2, 0],
        1,
    );
    // Behind the gap there is the end of a message, and a message in two segments.
    check_row(
        &[
            (0, 0, 25),
            (1, 60, 15),
            (wait_ms + 1, 75, 25),
            (wait_ms + 2, 100, 10),
            (wait_ms + 3, 110, 15),
        ],
        &[1, 0, 1, 0, 1],
        1,
    );
    // The gap is in a message.
    check_row(
        &[(0, 0, 40), (1, 60, 40), (wait_ms + 1, 100, 25), (wait_ms + 2, 125, 50)],
        &[1, 0, 1, 2],
        1,
    );
    // Nowhere a message begins that is whole, for a while.
    check_row(
        &[
            (0, 0, 25),
            (1, 30, 25),
            (wait_ms + 1, 55, 25),
            (wait_ms + 2, 80, 25),
            (wait_ms + 3, 125, 25),
        ],
        &[1, 0, 0, 0, 1],
        1,
    );
}

#[test]
fn dns_whose_first_segments_come_in_the_wrong_order_is_read() {
    let row = QUESTION.repeat(4);
    let mut flow = Flow::new(TCP, 53);
    for begins_at in [u32::MAX - 30, 70_000] {
        let at = |offset: u32| begins_at.wrapping_add(offset);
        flow.begins_at = Some(begins_at);
        assert_eq!(flow.see(FROM_SERVER, at(40), &row[40..60]), []);
        flow.begins_at = None;
        assert_eq!(flow.see(FROM_SERVER, at(60), &row[60..]), []);
        assert_eq!(flow.see(FROM_SERVER, at(0), &row[..40]).len(), 4);
    }
    assert_eq!(flow.conversations.counters(), ParserCounters::default());
    // What came first is lost: it is as any other gap.
    flow.begins_at = Some(1_000);
    assert_eq!(flow.see(FROM_SERVER, 1_025, QUESTION), []);
    flow.begins_at = None;
    flow.tick += OVERTAKEN_NS;
    assert_eq!(flow.see(FROM_SERVER, 1_050, QUESTION).len(), 2);
    assert_eq!(flow.conversations.counters().gaps, 1);
    flow.begins_at = Some(9_000);
    assert_eq!(flow.see(FROM_SERVER, 9_025, QUESTION), []);
    flow.conversations.finish();
    assert_eq!(flow.conversations.counters().unfinished, 1);
}

#[test]
fn a_keep_alive_of_dns_that_is_idle_loses_nothing() {
    let mut flow = Flow::new(TCP, 53);
    let mut next = 0;
    for _ in 0..4 {
        assert_eq!(flow.see(FROM_CLIENT, next, QUESTION).len(), 1, "at {next}");
        next += 25;
        flow.tick += CONVERSATION_IDLE_NS - 1;
        flow.conversations.forget_idle(flow.tick);
        assert_eq!(flow.see(FROM_CLIENT, next - 1, b"\0"), []);
    }
    assert_eq!(flow.conversations.counters(), ParserCounters::default());
    flow.tick += CONVERSATION_IDLE_NS;
    flow.conversations.forget_idle(flow.tick);
    assert_eq!(flow.conversations.held(), (0, 0));
}

/// Of a transfer that goes on past where sequence numbers begin again.
#[test]
fn dns_is_a_row_of_any_length() {
    let mut flow = Flow::new(TCP, 53);
    let mut long = [&15_000_u16.to_be_bytes()[..], &QUESTION[2..]].concat();
    long.resize(15_002, 0);
    let (first, rest) = long.split_at(9_000);
    let mut sequence = u32::MAX - (5 << 20);
    for _ in 0..700 {
        assert_eq!(flow.see(FROM_SERVER, sequence, first), []);
        let found = flow.see(FROM_SERVER, sequence.wrapping_add(9_000), rest);
        assert_eq!(found.len(), 1, "at {sequence}");
        sequence = sequence.wrapping_add(15_002);
    }
    assert_eq!(flow.conversations.counters(), ParserCounters::default());
}

#[test]
fn a_gap_that_fills_the_memory_ends_at_once() {
    let mut segments = vec![(0, 0, 25)];
    // Every second one is missing, so that none joins another.
    segments.extend((1..STREAM_PARTS + 3).map(|n| (1, 50 * u32::try_from(n).unwrap(), 25)));
    let mut want = vec![0; segments.len()];
    want[0] = 1;
    want[STREAM_PARTS + 1] = 1;
    check_row(&segments, &want, 1);
}

#[test]
fn what_looks_like_a_message_behind_a_gap_must_be_one_to_its_end() {
    let mut flow = Flow::new(TCP, 53);
    assert_eq!(flow.see(FROM_SERVER, 0, QUESTION).len(), 1);
    flow.tick = OVERTAKEN_NS;
    // The rest of a message that begins with something else, and has a message in it.
    let rest = [&QUESTION[..], b"and more"].concat();
    assert_eq!(flow.see(FROM_SERVER, 1_000, &rest), []);
    flow.tick = 2 * OVERTAKEN_NS;
    assert_eq!(flow.see(FROM_SERVER, 1_000 + 33, QUESTION).len(), 1);
    assert_eq!(flow.conversations.counters().gaps, 1);
    // What is no message is lost, and what follows it is not.
    assert_eq!(flow.see(FROM_SERVER, 1_000 + 58, b"\0\x02no"), []);
    assert_eq!(flow.see(FROM_SERVER, 1_000 + 62, QUESTION).len(), 1);
    assert_eq!(flow.conversations.counters().malformed, 1);
}

#[test]
fn a_message_that_was_captured_in_part_says_what_it_can() {
    let answer = |length: u16| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&QUESTION[2..]);
        bytes
    };
    let mut flow = Flow::new(TCP, 53);
    assert_eq!(flow.see_cut(FROM_SERVER, 0, &answer(1_000), 977).len(), 1);
    assert_eq!(flow.see(FROM_SERVER, 1_002, QUESTION).len(), 1, "the next one");
    let long = [&QUESTION[..], &QUESTION[..10]].concat();
    assert_eq!(flow.see_cut(FROM_SERVER, 1_027, &long, 15).len(), 1);
    assert_eq!(flow.see(FROM_SERVER, 1_077, QUESTION).len(), 1);
    assert_eq!(flow.conversations.counters(), ParserCounters::default());
}

/// Only so many payloads of a message are copied.
#[test]
fn of_a_message_in_many_pieces_its_beginning_is_read() {
    let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\nCookie: {}", "x".repeat(9_000));
    let extensions = [server_name("a.example"), extension(21, &[0; 6_000])];
    let hello = records(&client_hello(&[0x1301], &extensions), 1 << 14);
    for message in [hello, request.into_bytes()] {
        let mut flow = Flow::new(TCP, 443);
        let mut found = Vec::new();
        let copied = 1 + usize::from(follow_ups(&message[..1_400]));
        for (idx, bytes) in (0..).zip(message.chunks(1_400)).take(copied) {
            found.extend(flow.see(FROM_CLIENT, idx * 1_400, bytes));
        }
        assert_eq!(sni(&found).or(host(&found)), Some("a.example"));
        assert_eq!(flow.conversations.held(), (1, 0));
    }
    let mut flow = Flow::new(TCP, 443);
    let hello = hello_for("a.example", 500);
    flow.see(FROM_CLIENT, 0, &hello[..40]);
    flow.conversations.finish();
    assert_eq!((flow.conversations.held(), flow.conversations.counters().unfinished), ((0, 0), 1));
}

/// Also if its name is behind what four of them have.
#[test]
fn a_hello_in_many_short_payloads_is_read_whole() {
    let alpn = extension(16, b"\0\x03\x02h2");
    let extensions = [alpn, extension(21, &[0; 300]), server_name("a.example")];
    let hello = records(&client_hello(&[0x1301], &extensions), 1 << 14);
    for length in [50, 75, 100] {
        let copied = 1 + usize::from(follow_ups(&hello[..length]));
        assert!(copied >= hello.len().div_ceil(length), "{copied} payloads are copied");
        let mut flow = Flow::new(TCP, 443);
        let mut found = Vec::new();
        for (idx, bytes) in hello.chunks(length).enumerate() {
            found.extend(flow.see(FROM_CLIENT, u32::try_from(idx * length).unwrap(), bytes));
        }
        assert_eq!(sni(&found), Some("a.example"), "payloads of {length} bytes");
        assert!(found.iter().any(|it| matches!(it, Finding::Flow(FlowFact::Ja4(_)))), "{found:?}");
    }
}

#[test]
fn what_is_too_long_or_never_ends_is_counted() {
    let mut flow = Flow::new(TCP, 443);
    let endless = [b"GET / HTTP/1.1\r\n".as_slice(), &[b'a'; 2_000]].concat();
    for segment in 0..12_u32 {
        flow.see(
            FROM_CLIENT,
            segment * 2_016,
            if segment == 0 { &endless } else { &[b'a'; 2_016] },
        );
        assert!(flow.conversations.held().1 <= STREAM_BYTES);
    }
    assert_eq!(flow.conversations.held(), (1, 0));
    assert_eq!(flow.conversations.counters().too_long, 1);

    let hello = hello_for("a.example", 500);
    flow.see(FROM_SERVER, 0, &hello[..200]);
    flow.tick = CONVERSATION_IDLE_NS - 1;
    flow.conversations.forget_idle(flow.tick);
    assert_eq!(flow.conversations.held(), (1, 200));
    flow.tick += SECOND_NS;
    flow.conversations.forget_idle(flow.tick);
    assert_eq!(flow.conversations.held(), (0, 0));
    assert_eq!(flow.conversations.counters().unfinished, 1);

    flow.see(FROM_CLIENT, 0, &[7; 100]);
    flow.conversations.forget_idle(flow.tick + OVERTAKEN_NS);
    assert_eq!(flow.conversations.held(), (0, 0), "it has overtaken nothing");
    assert_eq!(flow.conversations.counters().unfinished, 1);
}

/// What surely began and cannot be read is counted, once for each direction.
#[test]
fn what_begins_and_is_damaged_is_counted_once() {
    let mut damaged = hello_for("a.example", 500);
    // The length of the session identifier.
    damaged[43] = 0xff;
    let long = [&b"SSH-2.0-"[..], &[b'x'; 300]].concat();
    let proxy = [&b"PROXY "[..], &[b'x'; 200]].concat();
    for (bytes, malformed) in [
        (&damaged[..], 1),
        (b"GET / HTTP/1.1\r\nX: \0\r\n\r\n", 1),
        (b"\r\nGET / HTTP/1.1\r\nX: \0\r\n\r\n", 1),
        (&long, 1),
        (&proxy, 1),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", 1),
        // What only looks like it at first: other protocols, and what goes on in TLS.
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 0),
        (b"\r\n\r\nhello", 0),
        (b"\x16\x03\x03\0\x04\x0b\0\0\0", 0),
        (b"\x16\x03\x03\0\x28\x9f\x31\x77\x5a\x0e", 0),
        (b"another protocol", 0),
    ] {
        let mut flow = Flow::new(TCP, 9_999);
        for direction in [FROM_CLIENT, FROM_SERVER] {
            for number in 0..5 {
                assert_eq!(flow.see(direction, number * 1_000, bytes), [], "{bytes:?}");
            }
        }
        let want = ParserCounters { malformed: 2 * malformed, ..ParserCounters::default() };
        assert_eq!(flow.conversations.counters(), want, "{bytes:?}");
    }
    // Of what the capture has cut the rest is missing.
    let mut flow = Flow::new(TCP, 9_999);
    assert_eq!(flow.see_cut(FROM_CLIENT, 0, &hello_for("a.example", 500)[..40], 470), []);
    let want = ParserCounters { unfinished: 1, ..ParserCounters::default() };
    assert_eq!(flow.conversations.counters(), want);
}

proptest! {
    /// In whatever pieces a message comes, some twice and some overlapping, it says the same.
    #[test]
    fn segments_in_any_order(
        cuts in prop::collection::btree_set(1usize..2_900, 0..9),
        overlap in 0usize..50,
        order in any::<prop::sample::Index>(),
        base: u32,
        seed: u64,
        is_request: bool,
    ) {
        let message = if is_request {
            let long = "x".repeat(2_900);
            format!("GET / HTTP/1.1\r\nA: {long}\r\nHost: a.example\r\n\r\n").into_bytes()
        } else {
            hello_for("a.example", 3_000)
        };
        let mut edges: Vec<usize> = cuts.into_iter().collect();
        edges.insert(0, 0);
        edges.push(message.len());
        let mut segments: Vec<_> = edges
            .windows(2)
            .map(|two| (two[0].saturating_sub(overlap), two[1]))
            .collect();
        let length = segments.len();
        segments.rotate_left(order.index(length));
        if seed % 2 == 0 {
            segments.reverse();
        }
        segments.extend_from_within(..);
        let mut flow = Flow::new(TCP, 443);
        let mut found = Vec::new();
        for (from, to) in segments {
            let sequence = base.wrapping_add(u32::try_from(from).unwrap());
            found.extend(flow.see(FROM_CLIENT, sequence, &message[from..to]));
        }
        prop_assert_eq!(if is_request { host(&found) } else { sni(&found) }, Some("a.example"));
        prop_assert_eq!(flow.conversations.held().1, 0);
    }
}
