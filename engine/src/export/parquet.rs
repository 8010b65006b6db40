//! Apache Parquet (<https://parquet.apache.org/docs/file-format/>): columns, Zstandard in each.
//!
//! Records are held back until a row group is full, or a checkpoint asks for it. A file can be
//! read once its end is written, which says where everything is.

use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::export::columns::Columns;
use crate::export::schema::Visit;
use crate::export::{Encoder, InSet, Rows};
use crate::flow::FeaturesSet;
use crate::limits::{COLUMN_ROWS, ROW_GROUP_ROWS, ROW_GROUPS};

/// Why no call of the writer fails.
const SURE: &str = "a vector takes anything, columns have their types, and row groups are few";

pub(crate) struct Parquet {
    columns: Columns,
    /// Between the beginning and the end of a file.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl Parquet {
    /// For records of a set.
    pub(crate) fn new(set: FeaturesSet) -> Self {
        Self { columns: Columns::new(set), writer: None }
    }
}

impl Encoder for Parquet {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            // An index of pages would be kept in memory for the whole file until its end.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(concat!("flowtap version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        // Of a file that failed something may be left.
        self.columns.take();
        let schema = Arc::clone(self.columns.schema());
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).expect(SURE);
        self.writer = Some(writer);
        self.give(out);
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        rows.iter().for_each(|row| self.add(&row));
        self.give(out);
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        records.iter().for_each(|record| self.add(record));
        self.give(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.write_columns();
        self.writer().flush().expect(SURE);
        self.give(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.write_columns();
        if let Some(writer) = self.writer.take() {
            out.append(&mut writer.into_inner().expect(SURE));
        }
    }

    fn holds_back(&self) -> bool {
        let in_progress = self.writer.as_ref().map_or(0, ArrowWriter::in_progress_rows);
        self.columns.rows() + in_progress > 0
    }

    fn needs_end(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        let flushed = |writer: &ArrowWriter<Vec<u8>>| writer.flushed_row_groups().len();
        self.writer.as_ref().map_or(0, flushed) >= ROW_GROUPS
    }
}

impl Parquet {
    fn add(&mut self, record: &impl Visit) {
        self.columns.push(record);
        if self.columns.rows() == COLUMN_ROWS {
            self.write_columns();
        }
    }

    fn writer(&mut self) -> &mut ArrowWriter<Vec<u8>> {
        self.writer.as_mut().expect("a file has begun")
    }

    /// Passes the columns on to the row group, which is written if it is full.
    fn write_columns(&mut self) {
        if self.columns.rows() > 0 {
            let columns = self.columns.take();
            self.writer().write(&columns).expect(SURE);
        }
    }

    /// Gives what was written. The writer counts by itself where in the file it is.
    fn give(&mut self, out: &mut Vec<u8>) {
        let writer = self.writer();
        writer.sync().expect(SURE);
        out.append(writer.inner_mut());
    }
}
