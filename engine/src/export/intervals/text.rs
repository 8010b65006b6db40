//! Interval statistics as JSON lines and as CSV. What does not apply is absent, or empty.

use crate::export::csv::Csv;
use crate::export::intervals::{Entry, Line, Subject};
use crate::export::jsonl::JsonLines;
use crate::export::schema::Fields;
use crate::export::{Encoder, InSet, Rows};

/// All columns, in the order of [`visit`].
pub(super) const COLUMNS: [&str; 15] = [
    "start",
    "end",
    "recording",
    "group",
    "key",
    "packets",
    "bytes",
    "src_packets",
    "dst_packets",
    "src_bytes",
    "dst_bytes",
    "flows_begun",
    "flows_ended",
    "lost_packets",
    "error_bytes",
];

/// Gives all fields of a line to `to`.
fn visit(line: &Line, interfaces: &[String], to: &mut impl Fields) {
    let Line { bounds, recording, subject, sums, lost, error_bytes } = line;
    to.time("start", bounds.map(|(start, _)| start));
    to.time("end", bounds.map(|(_, end)| end));
    to.number("recording", Some(u64::from(*recording)).filter(|&number| number > 0));
    let (group, key) = match subject {
        Subject::Total => ("total", None),
        Subject::Interface(number) => {
            let name = interfaces.get(usize::from(*number)).map(String::as_str);
            ("interface", Some(name.unwrap_or_default().to_owned()))
        }
        Subject::Protocol(number) => ("protocol", Some(number.to_string())),
        Subject::Vlan(vlans) => ("vlan", Some(vlan_text(vlans))),
        Subject::Name(name) => ("name", Some(name.to_string())),
        Subject::Talker(address) => ("talker", Some(address.to_string())),
    };
    to.plain("group", Some(group));
    to.text("key", key.as_deref());
    to.number("packets", Some(sums.all_packets()));
    to.number("bytes", Some(sums.all_bytes()));
    to.number("src_packets", Some(sums.packets[0]));
    to.number("dst_packets", Some(sums.packets[1]));
    to.number("src_bytes", Some(sums.bytes[0]));
    to.number("dst_bytes", Some(sums.bytes[1]));
    to.number("flows_begun", Some(sums.begun));
    to.number("flows_ended", Some(sums.ended));
    to.number("lost_packets", *lost);
    to.number("error_bytes", *error_bytes);
}

/// Outermost first, with semicolons between; `none` without any.
fn vlan_text(vlans: &[u16]) -> String {
    let some: Vec<_> = vlans.iter().filter(|&&vlan| vlan != 0).map(u16::to_string).collect();
    if some.is_empty() { "none".to_owned() } else { some.join(";") }
}

fn lines<'a>(rows: &Rows<'a>) -> impl Iterator<Item = &'a Line> {
    rows.intervals.iter().filter_map(|entry| match entry {
        Entry::Line(line) => Some(line),
        Entry::Histogram(_) => None,
    })
}

/// One JSON object for each.
#[derive(Debug, Default)]
pub(in crate::export) struct IntervalJsonLines(JsonLines);

impl Encoder for IntervalJsonLines {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        for line in lines(rows) {
            visit(line, rows.interfaces, &mut self.0);
            self.0.end_line(out);
        }
    }

    /// It is of something else.
    fn encode_values(&mut self, _records: &[InSet<'_>], _out: &mut Vec<u8>) {}
}

/// A header line, and a line for each.
#[derive(Debug, Default)]
pub(in crate::export) struct IntervalCsv(Csv);

impl Encoder for IntervalCsv {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(COLUMNS.join(",").as_bytes());
        out.push(b'\n');
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        for line in lines(rows) {
            visit(line, rows.interfaces, &mut self.0);
            self.0.end_line(out);
        }
    }

    /// It is of something else.
    fn encode_values(&mut self, _records: &[InSet<'_>], _out: &mut Vec<u8>) {}
}
