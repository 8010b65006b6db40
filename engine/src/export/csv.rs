//! CSV (RFC 4180, line feeds): a header line, then one line per record; absent fields are
//! empty, lists have semicolons.

use crate::export::Encoder;
use crate::export::schema::{FIELDS, Row, Value};
use crate::export::text::Text;

#[derive(Debug, Default)]
pub(crate) struct Csv {
    text: Text,
}

impl Encoder for Csv {
    fn begin(&mut self, out: &mut Vec<u8>) {
        for (idx, (name, _)) in FIELDS.iter().enumerate() {
            out.extend_from_slice(if idx == 0 { b"" } else { b"," });
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b'\n');
    }

    fn encode(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        for (idx, (_, get)) in FIELDS.iter().enumerate() {
            out.extend_from_slice(if idx == 0 { b"" } else { b"," });
            match get(row) {
                // The only text that may need quotes: names of files.
                Value::Text(text) => append_quoted(text, out),
                value => self.text.append(&value, out),
            }
        }
        out.push(b'\n');
    }
}

/// The text, in quotes if it must be.
fn append_quoted(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut writer = csv::Writer::from_writer(&mut *out);
    let written = writer.write_field(text).and_then(|()| Ok(writer.flush()?));
    written.expect("a vector takes anything");
}
