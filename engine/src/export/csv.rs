//! CSV (RFC 4180, line feeds): a header line, then one line per record; absent fields are
//! empty, lists have semicolons, and so have a tunnel and a device between their parts, absent ones
//! empty; one in a device's text stands as `\u{3b}`.
//!
//! Text from the wire may aim at who opens the file. Control characters, and those that are not to
//! be seen, stand as `\u{1b}`; and text that a spreadsheet would take for a formula, as it begins
//! with `=`, `+`, `-` or `@`, be it in full width, gets an apostrophe before it.

use std::net::IpAddr;

use crate::export::line::{FORMULA_STARTS, Line, harmless};
use crate::export::schema::{Fields, RowDevice, RowTunnel, Visit, names};
use crate::export::{Encoder, InSet, Rows};
use crate::flow::features::{BINS, Thousandths};
use crate::flow::{FeaturesSet, MplsLabels};
use crate::limits::RECORD_VLANS;
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct Csv {
    line: Line,
    /// Which columns there are.
    set: FeaturesSet,
    /// How a name is quoted.
    quoted: Vec<u8>,
}

impl Encoder for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(names(self.set).join(",").as_bytes());
        out.push(b'\n');
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record, out));
    }
}

impl Csv {
    /// Moves the line that was written to `out`.
    #[inline(always)]
    pub(super) fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = self.line.take();
        // In the place of the last comma.
        out.extend_from_slice(&line[..line.len() - 1]);
        out.push(b'\n');
    }

    pub(crate) fn new(set: FeaturesSet) -> Self {
        Self { set, ..Self::default() }
    }

    #[inline(always)]
    fn add(&mut self, record: &impl Visit, out: &mut Vec<u8>) {
        record.visit(self);
        self.end_line(out);
    }

    /// A field, if there is a value, and what separates it from the next.
    #[inline(always)]
    fn field<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Line, T)) {
        if let Some(value) = value {
            write(&mut self.line, value);
        }
        self.line.bytes(b",");
    }

    /// Text that may hold anything.
    #[inline(never)]
    fn quote(&mut self, text: &str) {
        let text = harmless(text);
        if text.starts_with(FORMULA_STARTS) {
            return self.quote_any(&format!("'{text}"));
        }
        self.quote_any(&text);
    }

    fn quote_any(&mut self, text: &str) {
        if text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
            self.quoted.clear();
            let mut writer = csv::Writer::from_writer(&mut self.quoted);
            // A record of its own: a field alone is left open until the next one.
            let written = writer.write_record([text]).and_then(|()| Ok(writer.flush()?));
            written.expect("a vector takes anything");
            drop(writer);
            self.line.bytes(self.quoted.trim_ascii_end());
        } else {
            self.line.bytes(text.as_bytes());
        }
    }
}

impl Fields for Csv {
    #[inline(always)]
    fn number(&mut self, _: &'static str, value: Option<u64>) {
        self.field(value, Line::number);
    }

    #[inline(always)]
    fn word(&mut self, _: &'static str, value: Option<u64>) {
        self.field(value, Line::word);
    }

    #[inline(always)]
    fn flag(&mut self, _: &'static str, value: Option<bool>) {
        self.field(value, Line::flag);
    }

    #[inline(always)]
    fn plain(&mut self, _: &'static str, value: Option<&str>) {
        self.field(value, |line, text| line.bytes(text.as_bytes()));
    }

    #[inline(always)]
    fn text(&mut self, _: &'static str, value: Option<&str>) {
        if let Some(text) = value {
            self.quote(text);
        }
        self.line.bytes(b",");
    }

    #[inline(always)]
    fn mac(&mut self, _: &'static str, value: Option<[u8; 6]>) {
        self.field(value, Line::mac);
    }

    #[inline(always)]
    fn address(&mut self, _: &'static str, value: Option<IpAddr>) {
        self.field(value, Line::address);
    }

    #[inline(always)]
    fn time(&mut self, _: &'static str, value: Option<Timestamp>) {
        self.field(value, Line::time);
    }

    #[inline(always)]
    fn vlans(&mut self, _: &'static str, value: Option<[u16; RECORD_VLANS]>) {
        self.field(value, |line, vlans| line.vlans(vlans, b';'));
    }

    fn mpls(&mut self, _: &'static str, value: Option<MplsLabels>) {
        self.field(value, |line, labels| line.numbers(labels.iter(), b';'));
    }

    fn decimal(&mut self, _: &'static str, value: Option<Thousandths>) {
        self.field(value, Line::decimal);
    }

    fn counts(&mut self, _: &'static str, value: Option<[u64; BINS]>) {
        self.field(value, |line, counts| line.numbers(counts.into_iter(), b';'));
    }

    /// Type, source, destination, identifier.
    fn tunnel(&mut self, _: &'static str, value: Option<RowTunnel>) {
        self.field(value, |line, RowTunnel { tunnel, ends }| {
            line.bytes(tunnel.kind.name().as_bytes());
            for end in ends.map_or([None; 2], |ends| ends.map(Some)) {
                line.bytes(b";");
                end.into_iter().for_each(|end| line.address(end));
            }
            line.bytes(b";");
            tunnel.id.into_iter().for_each(|id| line.number(id.into()));
        });
    }

    /// MAC address, vendor, host name, source.
    fn device(&mut self, _: &'static str, value: Option<RowDevice<'_>>) {
        if let Some(device) = value {
            self.quote(&device.in_one());
        }
        self.line.bytes(b",");
    }
}
