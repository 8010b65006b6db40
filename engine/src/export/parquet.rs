//! Apache Parquet (<https://parquet.apache.org/docs/file-format/>): columns, Zstandard in each.
//!
//! Records are held back until a row group is full, or a checkpoint asks for it. A file can be read
//! once its end is written, which says where everything is. So that a file without its end can be
//! [repaired](mod@super::repair), each row group is followed by a note: what the end would be if
//! the file held this row group only. Readers go by the end and pass over notes.

use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::export::columns::Columns;
use crate::export::schema::{Kind, Visit, kinds};
use crate::export::{Encoder, InSet, Rows};
use crate::flow::FeaturesSet;
use crate::limits::{COLUMN_ROWS, ROW_GROUP_ROWS, ROW_GROUPS};

/// Why no call of the writer fails.
const SURE: &str = "a vector takes anything, columns have their types, and row groups are few";

/// Who has written a file.
const CREATED_BY: &str = concat!("flowtap version ", env!("CARGO_PKG_VERSION"));

/// The version of the format that the writer writes unless told otherwise.
const VERSION: i32 = 1;

pub(crate) struct Parquet {
    set: FeaturesSet,
    columns: Columns,
    /// Between the beginning and the end of a file.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl Parquet {
    /// For records of a set.
    pub(crate) fn new(set: FeaturesSet) -> Self {
        Self { set, columns: Columns::new(set), writer: None }
    }
}

impl Encoder for Parquet {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // It is ended by us, with its note.
            .set_max_row_group_row_count(None)
            // An index of pages would be kept in memory for the whole file until its end.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(CREATED_BY.to_owned());
        for (name, kind) in kinds(self.set).into_iter().filter(|field| hardly_repeats(*field)) {
            let path = ColumnPath::from(name);
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
            if matches!(kind, Kind::Time | Kind::Number) {
                properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
        }
        // Of a file that failed something may be left.
        self.columns.take();
        let schema = Arc::clone(self.columns.schema());
        let writer =
            ArrowWriter::try_new(Vec::new(), schema, Some(properties.build())).expect(SURE);
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
        self.end_row_group();
        self.give(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.end_row_group();
        if let Some(writer) = self.writer.take() {
            out.append(&mut writer.into_inner().expect(SURE));
        }
    }

    fn holds_back(&self) -> bool {
        let in_progress = self.writer.as_ref().map_or(0, ArrowWriter::in_progress_rows);
        self.columns.rows() + in_progress > 0
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

    /// Passes the columns on to the row group, which is ended if it is full.
    fn write_columns(&mut self) {
        if self.columns.rows() > 0 {
            let columns = self.columns.take();
            self.writer().write(&columns).expect(SURE);
            if self.writer().in_progress_rows() >= ROW_GROUP_ROWS {
                self.end_row_group();
            }
        }
    }

    /// Writes the row group, if it has any row, and its note.
    fn end_row_group(&mut self) {
        self.write_columns();
        let writer = self.writer();
        if writer.in_progress_rows() > 0 {
            writer.flush().expect(SURE);
            let group = writer.flushed_row_groups().last().expect("one was written").clone();
            let note = end_of(vec![group]).expect(SURE);
            writer.write_all(&note).expect(SURE);
        }
    }

    /// Gives what was written. The writer counts by itself where in the file it is.
    fn give(&mut self, out: &mut Vec<u8>) {
        let writer = self.writer();
        writer.sync().expect(SURE);
        out.append(writer.inner_mut());
    }
}

/// Whether a dictionary of a field's values would be about as long as they are: of identifiers,
/// times and sums.
fn hardly_repeats((name, kind): (&str, Kind)) -> bool {
    match kind {
        Kind::Word | Kind::Time => true,
        Kind::Number => name.ends_with("_ns") || name.ends_with("_bytes"),
        _ => name == "community_id",
    }
}

/// The end of a file that holds these row groups, one at least: its metadata, their length and the
/// format's magic.
pub(super) fn end_of(groups: Vec<RowGroupMetaData>) -> Result<Vec<u8>> {
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let schema = groups[0].schema_descr_ptr();
    let created_by = Some(CREATED_BY.to_owned());
    let file = FileMetaData::new(VERSION, rows, created_by, None, schema, None);
    let metadata = ParquetMetaData::new(file, groups);
    let mut end = Vec::new();
    ParquetMetaDataWriter::new(&mut end, &metadata).finish()?;
    Ok(end)
}
