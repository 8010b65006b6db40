//! Names of flows, in all formats; whoever made them.

use serde_json::Value;

use super::{ROWS, tcp_record};
use crate::export::schema::names;
use crate::export::{Format, Rows, SinkOptions};
use crate::flow::FeaturesSet;
use crate::names::addresses::{AddressName, Doubt};
use crate::names::facts::FlowFacts;
use crate::names::{Labels, NameService};
use crate::sync::Arc;

/// A record with labels, in one format.
fn labelled(format: Format, facts: FlowFacts, name: Option<AddressName>) -> String {
    let labels = [(1, Labels { facts: Some(Arc::new(facts)), name })];
    let records = [tcp_record(), tcp_record()];
    let rows = Rows { records: &records, labels: &labels, ..ROWS };
    let mut encoder = format.encoder(FeaturesSet::Basic, &SinkOptions::default());
    let mut out = Vec::new();
    encoder.begin(&mut out);
    encoder.encode(&rows, &mut out);
    // The second record's: the first one has none.
    String::from_utf8_lossy(&out).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn names_with_their_source_age_and_doubt() {
    let name = AddressName {
        name: "a.example".into(),
        service: NameService::Mdns,
        age_ns: 5,
        doubt: Some(Doubt::Ambiguous),
    };
    let line = labelled(Format::JsonLines, FlowFacts::default(), Some(name.clone()));
    let want =
        r#""name":"a.example","name_source":"mdns","name_age_ns":5,"name_doubt":"ambiguous"}"#;
    assert!(line.ends_with(want), "{line}");
    let facts = FlowFacts {
        sni: Some("b.example".into()),
        is_quic: true,
        alpn: Some("h3".into()),
        ja4: Some("q13d".into()),
        http_host: Some("c.example".into()),
    };
    let line = labelled(Format::JsonLines, facts, Some(name));
    let want = concat!(
        r#""sni":"b.example","alpn":"h3","ja4":"q13d","http_host":"c.example","#,
        r#""name":"b.example","name_source":"quic_sni"}"#,
    );
    assert!(line.ends_with(want), "{line}");
}

/// As Zeek's readers undo what Zeek escapes.
fn unescaped(column: &str) -> String {
    let mut pieces = column.split("\\x");
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// What reads as an absent or an empty value of Zeek's is none.
#[test]
fn names_that_zeek_has_a_meaning_for_are_escaped() {
    for (name, want) in [("-", "\\x2d"), ("(empty)", "\\x28empty)"), ("", "(empty)")] {
        let facts = FlowFacts { http_host: Some(name.into()), ..FlowFacts::default() };
        let line = labelled(Format::Zeek, facts, None);
        assert!(line.ends_with(&format!("\t{want}\thttp_host")), "{line:?}");
    }
}

/// What could do something to who looks at it is escaped in every format, and still readable.
#[test]
fn hostile_names_are_escaped_in_every_format() {
    for (hostile, shown) in [
        ("=1+2", "'=1+2"),
        ("@SUM(a)", "'@SUM(a)"),
        ("-1", "'-1"),
        ("+1", "'+1"),
        ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
        ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
        ("a\r\nb,\"c\"", "a\\u{d}\\u{a}b,\"c\""),
        ("\u{202e}moc.elpmaxe", "\\u{202e}moc.elpmaxe"),
        ("a\tb\\x09", "a\\u{9}b\\x09"),
        ("b\u{fc}cher.example", "b\u{fc}cher.example"),
    ] {
        let facts = || FlowFacts { http_host: Some(hostile.into()), ..FlowFacts::default() };
        let is_calm = |line: &str| !line.contains(|c: char| c.is_control() || c == '\u{202e}');

        let json = labelled(Format::JsonLines, facts(), None);
        assert!(is_calm(&json), "{json:?}");
        let fields: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&fields["http_host"], &fields["name"]), (&hostile.into(), &hostile.into()));

        let csv = labelled(Format::Csv, facts(), None);
        assert!(is_calm(&csv), "{csv:?}");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        let column = names(FeaturesSet::Basic).iter().position(|name| *name == "name").unwrap();
        assert_eq!(&row[column], shown);

        let table = labelled(Format::Table, facts(), None);
        assert!(is_calm(&table), "{table:?}");
        assert!(table.ends_with(shown.strip_prefix('\'').unwrap_or(shown)), "{table:?}");

        for (format, path) in [(Format::ZeekJson, ""), (Format::Eve, "flowtap")] {
            let line = labelled(format, facts(), None);
            assert!(is_calm(&line), "{line:?}");
            let fields: Value = serde_json::from_str(&line).unwrap();
            let name = if path.is_empty() { &fields["resp_name"] } else { &fields[path]["name"] };
            assert_eq!(name, hostile, "{line}");
        }

        let zeek = labelled(Format::Zeek, facts(), None);
        assert!(is_calm(&zeek.replace('\t', " ")), "{zeek:?}");
        let columns: Vec<_> = zeek.split('\t').collect();
        assert_eq!((columns.len(), unescaped(columns[columns.len() - 2]).as_str()), (30, hostile));

        let ipfix = labelled(Format::Ipfix, facts(), None);
        assert!(hostile.len() < 4 || !ipfix.contains(hostile), "it has no names");
    }
}
