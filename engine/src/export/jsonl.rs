//! JSON lines: one object per record, absent fields left out.

use std::net::IpAddr;

use crate::export::json::quote;
use crate::export::line::Line;
use crate::export::schema::{Fields, RowDevice, RowTunnel, Visit};
use crate::export::{Encoder, InSet, Rows};
use crate::flow::MplsLabels;
use crate::flow::features::{BINS, Thousandths};
use crate::limits::RECORD_VLANS;
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    line: Line,
    /// How a name is quoted.
    quoted: Vec<u8>,
}

impl Encoder for JsonLines {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record, out));
    }
}

impl JsonLines {
    #[inline(always)]
    fn add(&mut self, record: &impl Visit, out: &mut Vec<u8>) {
        record.visit(self);
        self.end_line(out);
    }

    /// Moves the object that was written to `out`.
    #[inline(always)]
    pub(super) fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = self.line.take();
        // In the place of the first comma: there is a field in every object.
        out.push(b'{');
        out.extend_from_slice(&line[1..]);
        out.extend_from_slice(b"}\n");
    }

    /// A list of objects, if there are any, each with one field or more.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        write: impl Fn(&mut Self, &T),
    ) {
        if items.is_empty() {
            return;
        }
        self.field(name, Some(()), |line, ()| line.bytes(b"["));
        for (idx, item) in items.iter().enumerate() {
            // The first field's comma has to go: it is written over.
            self.line.bytes(if idx > 0 { b",{" } else { b"{" });
            let start = self.line.mark();
            write(self, item);
            self.line.cut(start);
            self.line.bytes(b"}");
        }
        self.line.bytes(b"]");
    }

    /// A field, if there is a value.
    #[inline(always)]
    fn field<T>(&mut self, name: &'static str, value: Option<T>, write: impl FnOnce(&mut Line, T)) {
        if let Some(value) = value {
            self.line.bytes(b",\"");
            self.line.bytes(name.as_bytes());
            self.line.bytes(b"\":");
            write(&mut self.line, value);
        }
    }

    /// Text with all its quotes, behind what is on the line.
    fn quote_here(&mut self, text: &str) {
        self.quoted.clear();
        quote(text, &mut self.quoted);
        self.line.bytes(&self.quoted);
    }

    /// One whose text needs quotes around it and nothing else.
    #[inline(always)]
    fn quoted<T>(
        &mut self,
        name: &'static str,
        value: Option<T>,
        write: impl FnOnce(&mut Line, T),
    ) {
        self.field(name, value, |line, value| {
            line.bytes(b"\"");
            write(line, value);
            line.bytes(b"\"");
        });
    }
}

impl Fields for JsonLines {
    #[inline(always)]
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        self.field(name, value, Line::number);
    }

    #[inline(always)]
    fn word(&mut self, name: &'static str, value: Option<u64>) {
        self.quoted(name, value, Line::word);
    }

    #[inline(always)]
    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        self.field(name, value, Line::flag);
    }

    #[inline(always)]
    fn plain(&mut self, name: &'static str, value: Option<&str>) {
        self.quoted(name, value, |line, text| line.bytes(text.as_bytes()));
    }

    #[inline(always)]
    fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(text) = value {
            self.field(name, Some(()), |_, ()| {});
            self.quote_here(text);
        }
    }

    #[inline(always)]
    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
        self.quoted(name, value, Line::mac);
    }

    #[inline(always)]
    fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
        self.quoted(name, value, Line::address);
    }

    #[inline(always)]
    fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
        self.quoted(name, value, Line::time);
    }

    #[inline(always)]
    fn vlans(&mut self, name: &'static str, value: Option<[u16; RECORD_VLANS]>) {
        self.field(name, value, |line, vlans| {
            line.bytes(b"[");
            line.vlans(vlans, b',');
            line.bytes(b"]");
        });
    }

    fn decimal(&mut self, name: &'static str, value: Option<Thousandths>) {
        self.field(name, value, Line::decimal);
    }

    fn counts(&mut self, name: &'static str, value: Option<[u64; BINS]>) {
        self.field(name, value, |line, counts| {
            line.bytes(b"[");
            line.numbers(counts.into_iter(), b',');
            line.bytes(b"]");
        });
    }

    fn mpls(&mut self, name: &'static str, value: Option<MplsLabels>) {
        self.field(name, value, |line, labels| {
            line.bytes(b"[");
            line.numbers(labels.iter(), b',');
            line.bytes(b"]");
        });
    }

    fn tunnel(&mut self, name: &'static str, value: Option<RowTunnel>) {
        self.field(name, value, |line, RowTunnel { tunnel, ends }| {
            line.bytes(b"{\"type\":\"");
            line.bytes(tunnel.kind.name().as_bytes());
            line.bytes(b"\"");
            if let Some([source, destination]) = ends {
                line.bytes(b",\"src_ip\":\"");
                line.address(source);
                line.bytes(b"\",\"dst_ip\":\"");
                line.address(destination);
                line.bytes(b"\"");
            }
            if let Some(id) = tunnel.id {
                line.bytes(b",\"id\":");
                line.number(id.into());
            }
            line.bytes(b"}");
        });
    }

    fn device(&mut self, name: &'static str, value: Option<RowDevice<'_>>) {
        let Some(RowDevice { mac, vendor, hostname, source }) = value else { return };
        self.field(name, Some(mac), |line, mac| {
            line.bytes(b"{\"mac\":\"");
            line.mac(mac);
            line.bytes(b"\"");
        });
        for (key, text) in [(&b",\"vendor\":"[..], vendor), (b",\"hostname\":", hostname)] {
            if let Some(text) = text {
                self.line.bytes(key);
                self.quote_here(text);
            }
        }
        self.line.bytes(b",\"source\":\"");
        self.line.bytes(source.as_bytes());
        self.line.bytes(b"\"}");
    }
}
