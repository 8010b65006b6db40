//! JSON lines: one object per record, absent fields left out.

use std::io::{self, Write};

use crate::export::Encoder;
use crate::export::schema::Row;

pub(crate) struct JsonLines;

impl Encoder for JsonLines {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn encode(&mut self, row: &Row<'_>, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, row)?;
        out.write_all(b"\n")
    }
}
