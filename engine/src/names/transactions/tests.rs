//! Messages in, transactions out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, mpsc};

use super::*;
use crate::flow::{Endpoint, PortKind};
use crate::names::{DnsDetail, DnsRecord, DnsSection, NamesCounters};

const SECOND: u64 = 1_000_000_000;
const DNS: u16 = 53;
const MDNS: u16 = 5_353;
const LLMNR: u16 = 5_355;
const GROUP: u8 = 251;

/// What is given a log, and what comes of it, a line for each transaction.
struct Log {
    transactions: Transactions,
    over: mpsc::Receiver<Vec<DnsTransaction>>,
    counters: Arc<NamesCounters>,
}

/// A message at a time, in ms, from and to a host's port.
#[derive(Clone, Copy)]
struct Said<'a> {
    ms: u64,
    from: (u8, u16),
    to: (u8, u16),
    id: u16,
    is_response: bool,
    /// Name and type.
    question: Option<(&'a str, u16)>,
    /// Name and type of each.
    records: &'a [(&'a str, u16)],
    extent: Extent,
}

const QUERY: Said<'_> = Said {
    ms: 0,
    from: (1, 4_000),
    to: (2, DNS),
    id: 7,
    is_response: false,
    question: Some(("a.example", 1)),
    records: &[],
    extent: Extent::Whole,
};

const ANSWER: Said<'_> = Said {
    from: (2, DNS),
    to: (1, 4_000),
    is_response: true,
    records: &[("a.example", 1)],
    ..QUERY
};

impl Log {
    fn new() -> Self {
        let (sender, over) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink = move |batch| sender.lock().unwrap().send(batch).unwrap();
        let counters = Arc::new(NamesCounters::default());
        Self { transactions: Transactions::new(Box::new(sink), &counters), over, counters }
    }

    fn say(&mut self, said: &Said<'_>) {
        let end = |(last, port)| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[192, 0, 2, last]);
            Endpoint { address, port }
        };
        let (from, to) = (end(said.from), end(said.to));
        let (key, direction) =
            FlowKey::canonical(from, to, 4, protocol::UDP, PortKind::Ports, [0; 2]);
        let tick = said.ms * 1_000_000;
        let payload =
            Payload { key, direction, timestamp: Some(tick.cast_signed()), tick, ..Payload::NONE };
        let record = |&(name, kind): &(&str, u16)| DnsRecord {
            section: DnsSection::Answer,
            name: name.into(),
            kind,
            ttl_seconds: 60,
            data: "192.0.2.9".into(),
        };
        let ports = [said.from.1, said.to.1];
        let service = match ports {
            _ if ports.contains(&MDNS) => NameService::Mdns,
            _ if ports.contains(&LLMNR) => NameService::Llmnr,
            _ => NameService::Dns,
        };
        let detail = DnsDetail {
            flags: if said.is_response { 0x8580 } else { 0x0100 },
            question_class: Some(1),
            records: said.records.iter().map(record).collect(),
        };
        let message = DnsMessage {
            service,
            id: said.id,
            is_response: said.is_response,
            rcode: 0,
            is_truncated: false,
            question: said.question.map(|(name, kind)| (name.into(), kind)),
            answers: Vec::new(),
            unasked: 0,
            other_names: Vec::new(),
            detail: Some(Box::new(detail)),
        };
        self.transactions.age(tick);
        self.transactions.take(&payload, &message, said.extent);
    }

    /// What is over by now.
    fn over(&mut self) -> Vec<DnsTransaction> {
        self.transactions.flush();
        self.over.try_iter().flatten().collect()
    }
}

/// What is over in the end: start, ends, question, latency in ms or what else became of it.
fn check(all: &[Said<'_>], want: &[&str]) {
    let mut log = Log::new();
    all.iter().for_each(|said| log.say(said));
    log.transactions.finish();
    let show = |it: &DnsTransaction| {
        let ms = |ns: u64| ns / 1_000_000;
        let last = |end: End| match end.0 {
            IpAddr::V4(v4) => u32::from(v4) - u32::from(Ipv4Addr::new(192, 0, 2, 0)),
            IpAddr::V6(_) => unreachable!(),
        };
        let question = it.question.as_ref().map_or("-".into(), |question| {
            format!("{} {}", question.name, it.question_type().unwrap())
        });
        let end = match it.end {
            TransactionEnd::Answered(latency) => format!("{:?} ms", latency.map(ms)),
            TransactionEnd::Unanswered => "unanswered".to_owned(),
            TransactionEnd::Unsolicited => "unsolicited".to_owned(),
        };
        let repeats = if it.repeats > 0 { format!(" x{}", it.repeats) } else { String::new() };
        let start = ms(it.start.unwrap().unsigned_abs());
        format!("{start}: {} > {} {question}: {end}{repeats}", last(it.client), last(it.server))
    };
    let got: Vec<_> = log.over().iter().map(show).collect();
    assert_eq!(got, want);
    assert_eq!(log.counters.thread.transactions.get(), want.len() as u64);
}

#[test]
fn an_answer_belongs_to_its_question() {
    check(
        &[
            QUERY,
            Said { ms: 1, question: Some(("b.example", 28)), id: 8, ..QUERY },
            Said { ms: 5, ..ANSWER },
            // The second one to it; one to another question; one to another client.
            Said { ms: 6, ..ANSWER },
            Said { ms: 7, id: 8, ..ANSWER },
            Said { ms: 8, id: 8, to: (3, 4_000), question: Some(("b.example", 28)), ..ANSWER },
            Said { ms: 9, id: 8, question: None, records: &[], ..ANSWER },
        ],
        &[
            "0: 1 > 2 a.example A: Some(5) ms",
            "6: 1 > 2 a.example A: unsolicited",
            "7: 1 > 2 a.example A: unsolicited",
            "8: 3 > 2 b.example AAAA: unsolicited",
            "1: 1 > 2 b.example AAAA: Some(8) ms",
        ],
    );
}

#[test]
fn two_questions_may_have_one_identifier() {
    check(
        &[
            QUERY,
            Said { ms: 1, question: Some(("a.example", 28)), ..QUERY },
            Said { ms: 2, question: Some(("a.example", 28)), ..ANSWER },
            Said { ms: 3, ..ANSWER },
        ],
        &["1: 1 > 2 a.example AAAA: Some(1) ms", "0: 1 > 2 a.example A: Some(3) ms"],
    );
}

#[test]
fn a_question_without_an_answer_ages_out() {
    let life_ms = QUESTION_LIFE_NS / 1_000_000;
    check(
        &[
            QUERY,
            Said { ms: 2_000, ..QUERY },
            Said { ms: 9, id: 9, ..QUERY },
            Said { ms: life_ms, id: 10, ..QUERY },
            Said { ms: life_ms + 1, ..ANSWER },
        ],
        &[
            "0: 1 > 2 a.example A: unanswered x1",
            "30001: 1 > 2 a.example A: unsolicited",
            "9: 1 > 2 a.example A: unanswered",
            "30000: 1 > 2 a.example A: unanswered",
        ],
    );
}

#[test]
fn all_hosts_may_answer_what_all_were_asked() {
    let query = Said { from: (1, MDNS), to: (GROUP, MDNS), id: 0, ..QUERY };
    let answer = Said { from: (3, MDNS), to: (GROUP, MDNS), id: 0, question: None, ..ANSWER };
    check(
        &[
            Said { ..answer },
            Said { ms: 1, ..query },
            Said { ms: 2, question: Some(("a.example", 28)), ..query },
            Said { ms: 3, records: &[("b.example", 1)], ..answer },
            // It answers both.
            Said { ms: 5, records: &[("a.example", 1), ("a.example", NSEC)], ..answer },
            Said { ms: 6, from: (4, MDNS), ..answer },
        ],
        &[
            "0: 251 > 3 -: unsolicited",
            "3: 251 > 3 -: unsolicited",
            "1: 1 > 3 a.example A: Some(4) ms",
            "2: 1 > 3 a.example AAAA: Some(3) ms",
            "1: 1 > 4 a.example A: Some(5) ms",
        ],
    );
}

#[test]
fn who_answers_a_question_to_a_group_does_so_from_its_own_address() {
    for port in [LLMNR, MDNS] {
        check(
            &[
                Said { to: (GROUP, port), ..QUERY },
                Said { ms: 1, to: (GROUP, port), id: 8, ..QUERY },
                Said { ms: 2, from: (3, port), ..ANSWER },
                Said { ms: 3, from: (4, port), ..ANSWER },
            ],
            &[
                "0: 1 > 3 a.example A: Some(2) ms",
                "0: 1 > 4 a.example A: Some(3) ms",
                "1: 1 > 251 a.example A: unanswered",
            ],
        );
    }
}

/// Questions with random names that nobody answers, and long answers that nobody asked for.
#[test]
fn a_flood_stays_within_bounds() {
    let mut log = Log::new();
    let mut over = 0;
    for n in 0..3 * QUESTIONS as u64 {
        let id = u16::try_from(n % 60_000).unwrap();
        let name = format!("{n}.example");
        log.say(&Said { ms: n / 200, id, question: Some((&name, 1)), ..QUERY });
        if n % 3 == 0 {
            let records = [("forged.example", 1); 256];
            log.say(&Said { ms: n / 200, to: (9, 1), records: &records, ..ANSWER });
        }
        assert!(log.transactions.waiting.len() <= QUESTIONS);
        assert!(log.transactions.bytes < TRANSACTION_BATCH_BYTES);
        over += log.over.try_iter().flatten().count();
    }
    log.transactions.finish();
    over += log.over.try_iter().flatten().count();
    assert_eq!(over, 4 * QUESTIONS);
    assert_eq!(log.transactions.waiting.len(), 0);
}

#[test]
fn flags_are_those_of_question_and_answer() {
    let mut log = Log::new();
    log.say(&QUERY);
    log.say(&Said { ms: 1, ..ANSWER });
    log.say(&Said { ms: 2, ..QUERY });
    log.transactions.finish();
    let flags: Vec<_> = log.over().iter().map(|it| it.flags().map(|(_, flag)| flag)).collect();
    let answered = [Some(true), Some(false), Some(true), Some(true)];
    assert_eq!(flags, [answered, [None, Some(false), Some(true), None]]);
}

#[test]
fn an_answer_that_was_captured_before_its_question_took_no_known_time() {
    let mut log = Log::new();
    log.say(&Said { ms: SECOND / 1_000_000, ..QUERY });
    log.say(&Said { ms: 0, ..ANSWER });
    assert_eq!(log.over()[0].end, TransactionEnd::Answered(None));
}

/// How transactions end whose answer came in fragments, and with how many records.
#[test]
fn an_answer_in_fragments_is_one_answer() {
    let begun = Said { ms: 5, extent: Extent::Beginning(3), ..ANSWER };
    let records = [("a.example", 1); 3];
    let whole = Said { ms: 6, extent: Extent::Joined(3), records: &records, ..ANSWER };
    let answered = |ms: u64| TransactionEnd::Answered(Some(ms * 1_000_000));
    let check = |said: &[Said<'_>], lost, want: &[(TransactionEnd, usize)]| {
        let mut log = Log::new();
        said.iter().for_each(|said| log.say(said));
        log.transactions.lose(lost);
        let records = |it: DnsTransaction| it.reply.map_or(0, |reply| reply.records.len());
        let got: Vec<_> = log.over().into_iter().map(|it| (it.end, records(it))).collect();
        assert_eq!(got, want);
        assert!(log.transactions.begun.is_empty());
    };
    check(&[QUERY, begun, whole], 3, &[(answered(6), 3)]);
    check(&[QUERY, whole], 3, &[(answered(6), 3)]);
    check(&[QUERY, begun], 3, &[(answered(5), 1)]);
    check(&[begun, whole], 3, &[(TransactionEnd::Unsolicited, 3)]);
    check(&[begun], 3, &[(TransactionEnd::Unsolicited, 1)]);
    check(&[Said { extent: Extent::Beginning(3), ..QUERY }, QUERY, ANSWER], 3, &[(answered(0), 1)]);
}

/// Spoofed first fragments: each is in the log once, and what waits and what goes there at once is
/// bounded.
#[test]
fn beginnings_that_wait_are_bounded() {
    const ALL: u16 = 2_000;
    let name = "a".repeat(250);
    let records = [(&*name, 1); 64];
    let mut log = Log::new();
    for id in 0..ALL {
        let extent = Extent::Beginning(id.into());
        log.say(&Said { id, question: None, records: &records, extent, ..ANSWER });
        assert!(log.transactions.begun_bytes <= BEGUN_TRANSACTION_BYTES);
    }
    assert!(log.transactions.begun_bytes > BEGUN_TRANSACTION_BYTES / 2, "the others wait");
    (0..ALL).for_each(|id| log.transactions.lose(id.into()));
    log.transactions.finish();
    assert_eq!((log.transactions.begun.len(), log.transactions.begun_bytes), (0, 0));
    let mut all = 0;
    for batch in log.over.try_iter() {
        let last = batch.last().map_or(0, DnsTransaction::bytes);
        assert!(bytes_of(&batch) - last < TRANSACTION_BATCH_BYTES);
        all += batch.len();
    }
    assert_eq!(all, usize::from(ALL));
}
