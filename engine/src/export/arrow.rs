//! Apache Arrow's file format (`.arrow`, also called Feather version 2;
//! <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>), to be mapped into memory.
//!
//! A record batch is written when it is full, or a checkpoint asks for it. What comes before the
//! end of a file is, after its first 64 bytes, Arrow's streaming format: it can be read as such,
//! and [repaired](mod@super::repair).

use arrow_ipc::writer::FileWriter;

use crate::export::columns::Columns;
use crate::export::schema::Visit;
use crate::export::{Encoder, InSet, Rows};
use crate::flow::FeaturesSet;
use crate::limits::{COLUMN_ROWS, ROW_GROUPS};

/// Why no call of the writer fails.
const SURE: &str = "a vector takes anything, and columns have their types";

pub(crate) struct Arrow {
    columns: Columns,
    /// Between the beginning and the end of a file.
    writer: Option<FileWriter<Vec<u8>>>,
    /// Record batches of the file.
    batches: usize,
}

impl Arrow {
    /// For records of a set.
    pub(crate) fn new(set: FeaturesSet) -> Self {
        Self { columns: Columns::new(set), writer: None, batches: 0 }
    }
}

impl Encoder for Arrow {
    fn begin(&mut self, out: &mut Vec<u8>) {
        // Of a file that failed something may be left.
        self.columns.take();
        self.batches = 0;
        self.writer = Some(FileWriter::try_new(Vec::new(), self.columns.schema()).expect(SURE));
        self.give(out);
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row, out));
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record, out));
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if self.columns.rows() > 0 {
            let columns = self.columns.take();
            self.batches += 1;
            self.writer().write(&columns).expect(SURE);
            self.give(out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        if let Some(mut writer) = self.writer.take() {
            writer.finish().expect(SURE);
            out.append(&mut writer.into_inner().expect(SURE));
        }
    }

    fn holds_back(&self) -> bool {
        self.columns.rows() > 0
    }

    fn is_full(&self) -> bool {
        self.batches >= ROW_GROUPS
    }
}

impl Arrow {
    fn add(&mut self, record: &impl Visit, out: &mut Vec<u8>) {
        self.columns.push(record);
        if self.columns.rows() == COLUMN_ROWS {
            self.flush(out);
        }
    }

    fn writer(&mut self) -> &mut FileWriter<Vec<u8>> {
        self.writer.as_mut().expect("a file has begun")
    }

    /// Gives what was written. The writer counts by itself where in the file it is.
    fn give(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer().get_mut());
    }
}
