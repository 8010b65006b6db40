//! Deltas in, lines and histograms out.

use std::net::{IpAddr, Ipv4Addr};

use crate::export::Encoder;
use crate::export::intervals::text::COLUMNS;
use crate::export::intervals::{
    Entry, IntervalCsv, IntervalHistogram, IntervalJsonLines, IntervalLog, Line, Series, Subject,
    Sums,
};
use crate::export::tests::ROWS;
use crate::sync::Arc;

const SUMS: Sums = Sums { packets: [3, 1], bytes: [300, 50], begun: 2, ended: 1 };

fn line(subject: Subject, lost: Option<u64>, error_bytes: Option<u64>) -> Entry {
    let bounds = Some((1_700_000_000_000_000_000, 1_700_000_010_000_000_000));
    let recording = if subject == Subject::Total { 2 } else { 0 };
    Entry::Line(Line { bounds, recording, subject, sums: SUMS, lost, error_bytes })
}

fn encoded(encoder: &mut dyn Encoder, intervals: &[Entry]) -> String {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    let interfaces = &["eth0".to_owned()];
    encoder.encode(&crate::export::Rows { intervals, interfaces, ..ROWS }, &mut out);
    encoder.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn subjects() -> Vec<(Subject, &'static str, Option<String>)> {
    let talker: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    vec![
        (Subject::Total, "total", None),
        (Subject::Interface(0), "interface", Some("eth0".to_owned())),
        (Subject::Protocol(17), "protocol", Some("17".to_owned())),
        (Subject::Vlan([5, 6]), "vlan", Some("5;6".to_owned())),
        (Subject::Vlan([0, 0]), "vlan", Some("none".to_owned())),
        (Subject::Name(Arc::from("a\"b,c")), "name", Some("a\"b,c".to_owned())),
        (Subject::Talker(talker), "talker", Some("192.0.2.1".to_owned())),
    ]
}

#[test]
fn json_lines_and_csv_say_the_same() {
    let entries: Vec<_> = subjects()
        .into_iter()
        .map(|(subject, ..)| {
            let is_bounded = matches!(subject, Subject::Talker(_));
            let lost = matches!(subject, Subject::Interface(_)).then_some(4);
            line(subject, lost, is_bounded.then_some(7))
        })
        .collect();
    let json = encoded(&mut IntervalJsonLines::default(), &entries);
    let text = encoded(&mut IntervalCsv::default(), &entries);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), lines.len()), (entries.len(), entries.len()));
    for ((row, line), (_, group, key)) in rows.iter().zip(&lines).zip(subjects()) {
        assert_eq!((line["group"].as_str(), line["key"].as_str()), (Some(group), key.as_deref()));
        assert_eq!(line["start"], "2023-11-14T22:13:20.000000000Z");
        assert_eq!(line["end"], "2023-11-14T22:13:30.000000000Z");
        assert_eq!((&line["packets"], &line["bytes"]), (&4.into(), &350.into()));
        assert_eq!((&line["src_bytes"], &line["dst_packets"]), (&300.into(), &1.into()));
        assert!(line.as_object().unwrap().keys().all(|key| COLUMNS.contains(&key.as_str())));
        for (column, value) in COLUMNS.iter().zip(row) {
            let shown = match &line[*column] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(value, shown, "{column} of {line}");
        }
    }
    assert_eq!((&lines[0]["recording"], &lines[1]["recording"]), (&2.into(), &().into()));
    assert_eq!((&lines[1]["lost_packets"], &lines[6]["error_bytes"]), (&4.into(), &7.into()));
}

#[test]
fn a_log_has_a_line_for_each_series() {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let entries: Vec<_> = Series::ALL
        .into_iter()
        .map(|series| {
            let mut values = series.histogram();
            values.record_n(1_000, 3).unwrap();
            let bounds = Some((1_700_000_000_000_000_000, 1_700_000_000_500_000_000));
            Entry::Histogram(IntervalHistogram { bounds, series, values })
        })
        .collect();
    let text = encoded(&mut IntervalLog::default(), &entries);
    assert!(text.starts_with("#[Histogram log format version 1.3]\n"), "{text}");
    let found: Vec<_> = IntervalLogIterator::new(text.as_bytes())
        .filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(of) => {
                let start = of.start_timestamp().as_millis();
                let tag = of.tag().map(|tag| tag.as_str().to_owned());
                Some((tag, start, of.duration().as_millis()))
            }
            _ => None,
        })
        .collect();
    let want =
        Series::ALL.map(|series| (Some(series.tag().to_owned()), 1_700_000_000_000_u128, 500_u128));
    assert_eq!(found, want);
}
