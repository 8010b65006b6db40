//! Transactions of name services (`--dns-log`), as JSON lines and as CSV.
//!
//! What is not known or does not apply is absent, or empty. `answers` are the records of all
//! sections; in CSV with semicolons between, each as `name ttl type data`. All text from the wire
//! is escaped as in records.

use crate::export::csv::Csv;
use crate::export::jsonl::JsonLines;
use crate::export::schema::{self, Fields};
use crate::export::{Encoder, InSet, Rows};
use crate::names::transactions::TransactionEnd;
use crate::names::{DnsRecord, DnsSection, DnsTransaction};

/// All columns, in the order of [`visit`].
const COLUMNS: [&str; 23] = [
    "start",
    "client_ip",
    "client_port",
    "server_ip",
    "server_port",
    "protocol",
    "vlan",
    "community_id",
    "service",
    "id",
    "question",
    "qtype",
    "qclass",
    "rcode",
    "aa",
    "tc",
    "rd",
    "ra",
    "answers",
    "latency_ns",
    "repeats",
    "unanswered",
    "unsolicited",
];

/// What transactions have that records of flows do not.
trait TransactionFields: Fields {
    /// The records of an answer.
    fn answers(&mut self, name: &'static str, of: &DnsTransaction);
}

/// Gives all fields of a transaction to `to`.
fn visit(transaction: &DnsTransaction, to: &mut impl TransactionFields) {
    let DnsTransaction { flow, client, server, .. } = transaction;
    let question = transaction.question.as_ref();
    to.time("start", transaction.start);
    to.address("client_ip", Some(client.0));
    to.number("client_port", Some(client.1.into()));
    to.address("server_ip", Some(server.0));
    to.number("server_port", Some(server.1.into()));
    to.plain("protocol", Some(transaction.protocol()));
    let [outer, inner] = flow.vlan();
    to.vlans("vlan", Some([outer, inner, 0]).filter(|vlans| vlans.iter().any(|&vlan| vlan != 0)));
    to.plain("community_id", community_id(transaction).as_deref());
    to.plain("service", Some(transaction.service.name()));
    to.number("id", Some(transaction.id.into()));
    to.text("question", question.map(|question| &*question.name));
    to.plain("qtype", transaction.question_type().as_deref());
    to.plain("qclass", transaction.question_class().as_deref());
    to.plain("rcode", transaction.response_code().as_deref());
    for (name, value) in transaction.flags() {
        to.flag(name, value);
    }
    to.answers("answers", transaction);
    let latency = match transaction.end {
        TransactionEnd::Answered(latency) => latency,
        TransactionEnd::Unanswered | TransactionEnd::Unsolicited => None,
    };
    to.number("latency_ns", latency);
    to.number("repeats", Some(transaction.repeats.into()).filter(|&times: &u64| times > 0));
    let has_ended = |end| (transaction.end == end).then_some(true);
    to.flag("unanswered", has_ended(TransactionEnd::Unanswered));
    to.flag("unsolicited", has_ended(TransactionEnd::Unsolicited));
}

fn section_name(section: DnsSection) -> &'static str {
    match section {
        DnsSection::Answer => "answer",
        DnsSection::Authority => "authority",
        DnsSection::Additional => "additional",
    }
}

/// That of the flow that [`DnsTransaction::flow`] says, in whose records it is too.
fn community_id(transaction: &DnsTransaction) -> Option<String> {
    use crate::flow::Direction::{Forward, Reverse};
    let key = &transaction.flow;
    let ends = [Forward, Reverse].map(|from| key.source_ip(from));
    let ports = [Forward, Reverse].map(|from| key.source_port(from));
    schema::community_id(ends, ports, key.protocol())
}

fn records(transaction: &DnsTransaction) -> &[DnsRecord] {
    transaction.reply.as_ref().map(|reply| reply.records.as_slice()).unwrap_or_default()
}

/// One JSON object for each.
#[derive(Debug, Default)]
pub(super) struct TransactionJsonLines(JsonLines);

impl Encoder for TransactionJsonLines {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        for transaction in rows.transactions {
            visit(transaction, &mut self.0);
            self.0.end_line(out);
        }
    }

    /// It is a log of something else.
    fn encode_values(&mut self, _records: &[InSet<'_>], _out: &mut Vec<u8>) {}
}

impl TransactionFields for JsonLines {
    fn answers(&mut self, name: &'static str, of: &DnsTransaction) {
        self.list(name, records(of), |line, record| {
            line.plain("section", Some(section_name(record.section)));
            line.text("name", Some(&record.name));
            line.plain("type", Some(&of.record_type(record)));
            line.number("ttl", Some(record.ttl_seconds.into()));
            line.text("data", Some(&record.data));
        });
    }
}

/// A header line, and a line for each.
#[derive(Debug, Default)]
pub(super) struct TransactionCsv(Csv);

impl Encoder for TransactionCsv {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(COLUMNS.join(",").as_bytes());
        out.push(b'\n');
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        for transaction in rows.transactions {
            visit(transaction, &mut self.0);
            self.0.end_line(out);
        }
    }

    /// It is a log of something else.
    fn encode_values(&mut self, _records: &[InSet<'_>], _out: &mut Vec<u8>) {}
}

impl TransactionFields for Csv {
    fn answers(&mut self, name: &'static str, of: &DnsTransaction) {
        let one = |record: &DnsRecord| {
            let DnsRecord { name, ttl_seconds, data, .. } = record;
            format!("{name} {ttl_seconds} {} {data}", of.record_type(record))
        };
        let all: Vec<_> = records(of).iter().map(one).collect();
        self.text(name, Some(&*all.join("; ")).filter(|all| !all.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::ROWS;
    use crate::flow::{Endpoint, FlowKey, PortKind};
    use crate::names::NameService;
    use crate::names::transactions::{DnsQuestion, DnsReply};

    fn transaction() -> DnsTransaction {
        let end = |port| Endpoint { address: [1; 16], port };
        let flow = FlowKey::canonical(end(4_000), end(53), 6, 17, PortKind::Ports, [7, 0]).0;
        let record = DnsRecord {
            section: DnsSection::Additional,
            name: "a.example".into(),
            kind: 16,
            ttl_seconds: 5,
            data: "\"=1\u{9b}\"".into(),
        };
        let reply = DnsReply { rcode: 3, flags: 0x8783, records: vec![record.clone(), record] };
        DnsTransaction {
            service: NameService::Llmnr,
            flow,
            client: ([1; 16].into(), 4_000),
            server: ([1; 16].into(), 53),
            start: Some(5),
            id: 9,
            question: Some(DnsQuestion { name: "@a".into(), kind: 28, class: Some(1) }),
            question_flags: Some(0),
            repeats: 2,
            reply: Some(reply),
            end: TransactionEnd::Answered(Some(77)),
        }
    }

    fn encoded(encoder: &mut dyn Encoder, transactions: &[DnsTransaction]) -> String {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.encode(&crate::export::Rows { transactions, ..ROWS }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_lines_have_a_list_of_records() {
        let line = encoded(&mut TransactionJsonLines::default(), &[transaction()]);
        let record = r#"{"section":"additional","name":"a.example","type":"TXT","ttl":5,"data":"\"=1\u009b\""}"#;
        assert!(
            line.contains(&format!(r#","answers":[{record},{record}],"latency_ns":77"#)),
            "{line}"
        );
        assert!(line.contains(r#""vlan":[7],"#) && line.contains(r#""service":"llmnr""#), "{line}");
        assert!(line.contains(r#""aa":true,"tc":true,"rd":false,"ra":true"#), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(value.as_object().unwrap().keys().all(|key| COLUMNS.contains(&&**key)));
        let unanswered =
            DnsTransaction { reply: None, end: TransactionEnd::Unanswered, ..transaction() };
        let line = encoded(&mut TransactionJsonLines::default(), &[unanswered]);
        assert!(!line.contains("answers") && line.ends_with(",\"unanswered\":true}\n"), "{line}");
    }

    #[test]
    fn csv_has_each_value_in_its_column() {
        let text = encoded(&mut TransactionCsv::default(), &[transaction(), transaction()]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let of = |column: &str| &rows[1][COLUMNS.iter().position(|it| *it == column).unwrap()];
        for (column, value) in [
            ("client_port", "4000"),
            ("protocol", "udp"),
            ("vlan", "7"),
            ("question", "'@a"),
            ("qtype", "AAAA"),
            ("rcode", "NXDOMAIN"),
            ("ra", "true"),
            ("answers", r#"a.example 5 TXT "=1\u{9b}"; a.example 5 TXT "=1\u{9b}""#),
            ("latency_ns", "77"),
            ("repeats", "2"),
            ("unanswered", ""),
            ("unsolicited", ""),
        ] {
            assert_eq!(of(column), value, "{column}");
        }
    }
}
