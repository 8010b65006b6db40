//! JSON lines: one object per record, absent fields left out.

use crate::export::Encoder;
use crate::export::schema::{FIELDS, Row, Value};
use crate::export::text::{Text, append_list, append_number};

#[derive(Debug)]
pub(crate) struct JsonLines {
    text: Text,
    /// `,"name":` of each field.
    names: Vec<Vec<u8>>,
}

impl Default for JsonLines {
    fn default() -> Self {
        let names = FIELDS.iter().map(|(name, _)| format!(",\"{name}\":").into_bytes()).collect();
        Self { text: Text::default(), names }
    }
}

impl Encoder for JsonLines {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, row: &Row<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        for ((_, get), name) in FIELDS.iter().zip(&self.names) {
            let value = get(row);
            if value == Value::Absent {
                continue;
            }
            out.extend_from_slice(name);
            match value {
                Value::Number(number) => append_number(number, out),
                // The only text that may hold anything: names of files.
                Value::Text(text) => {
                    serde_json::to_writer(&mut *out, text).expect("a vector takes any text");
                }
                Value::Vlans(vlans) => {
                    out.push(b'[');
                    append_list(&vlans, b',', out);
                    out.push(b']');
                }
                value => {
                    out.push(b'"');
                    self.text.append(&value, out);
                    out.push(b'"');
                }
            }
        }
        // In the place of the first comma: every record has its kind.
        out[start] = b'{';
        out.extend_from_slice(b"}\n");
    }
}
