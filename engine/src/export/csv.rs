//! CSV (RFC 4180, line feeds): a header line, then one line per record; absent fields are
//! empty, lists have semicolons.

use std::io::{self, Write};

use crate::export::Encoder;
use crate::export::schema::{FIELDS, Row};

pub(crate) struct Csv;

impl Encoder for Csv {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        line(FIELDS.iter().map(|(name, _)| (*name).to_owned()), out)
    }

    fn encode(&mut self, row: &Row<'_>, out: &mut dyn Write) -> io::Result<()> {
        line(FIELDS.iter().map(|(_, get)| get(row).to_string()), out)
    }
}

fn line(fields: impl Iterator<Item = String>, out: &mut dyn Write) -> io::Result<()> {
    // Buffers one line; the sink buffers whole batches.
    let mut writer = csv::WriterBuilder::new().buffer_capacity(1 << 10).from_writer(out);
    for field in fields {
        writer.write_field(field)?;
    }
    writer.write_record(None::<&[u8]>)?;
    writer.flush()
}
