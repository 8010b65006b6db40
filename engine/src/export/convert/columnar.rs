//! Parquet and Arrow files read back, a batch of columns at a time.
//!
//! Arrow files are read as the stream that they are behind their first bytes: that takes no
//! seeking, and of what was cut it gives all whole batches.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Bytes, LeftOut, Reader, Record};
use crate::error::{Error, Result};
use crate::export::schema::Kind;
use crate::export::values::{Places, Value, Values};
use crate::flow::features::Thousandths;
use crate::limits::BATCH_RECORDS;
use crate::sync::Arc;

/// What an Arrow file begins and ends with.
pub(super) const ARROW: &[u8; 6] = b"ARROW1";

/// Whether a file is one of Parquet's; it is read from its beginning after that.
pub(super) fn is_parquet(mut file: &File) -> io::Result<bool> {
    let mut start = [0; 4];
    let read = file.read_exact(&mut start);
    file.rewind()?;
    Ok(read.is_ok() && start == *b"PAR1")
}

enum Source {
    Parquet(ParquetRecordBatchReader),
    Arrow {
        reader: Box<StreamReader<Bytes>>,
        /// It has an end by which it is known to be whole.
        is_file: bool,
    },
}

impl Source {
    /// The next batch; `None` at the proper end.
    fn next(&mut self) -> Option<std::result::Result<RecordBatch, ArrowError>> {
        match self {
            Self::Parquet(reader) => reader.next(),
            Self::Arrow { reader, is_file } => match reader.next() {
                None if *is_file => {
                    *is_file = false;
                    let mut end = Vec::new();
                    let read = reader.get_mut().read_to_end(&mut end);
                    let is_whole = read.is_ok() && end.ends_with(ARROW);
                    (!is_whole).then(|| Err(ArrowError::IpcError("the file is cut".to_owned())))
                }
                next => next,
            },
        }
    }
}

pub(super) struct Columnar {
    source: Source,
    places: Arc<Places>,
    /// Of each column its name, and place and kind if it is one of ours.
    columns: Vec<(String, Option<(usize, Kind)>)>,
    batch: Option<RecordBatch>,
    /// The next row of the batch.
    row: usize,
    /// Rows of the file before it.
    rows: u64,
}

impl Columnar {
    /// # Errors
    /// If it is no Parquet file, is cut, or has no field of a record.
    pub(super) fn parquet(subject: &str, file: File, places: &Arc<Places>) -> Result<Self> {
        let fail = |cause: &dyn fmt::Display| {
            Error::new(format!("read {subject}"), cause)
                .advise("its end, which says where all is, is missing or damaged")
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| fail(&e))?;
        let reader = builder.with_batch_size(BATCH_RECORDS).build().map_err(|e| fail(&e))?;
        let schema = arrow_array::RecordBatchReader::schema(&reader);
        Self::new(subject, Source::Parquet(reader), &schema, places)
    }

    /// An Arrow file from its first byte.
    ///
    /// # Errors
    /// If it has no schema, or no field of a record.
    pub(super) fn arrow_file(
        subject: &str,
        mut bytes: Bytes,
        places: &Arc<Places>,
    ) -> Result<Self> {
        let fail = |cause: io::Error| Error::new(format!("read {subject}"), cause);
        bytes.read_exact(&mut [0; 8]).map_err(fail)?;
        // Some writers, and ours, fill up to 64 bytes.
        while bytes.fill_buf().map_err(fail)?.first() == Some(&0) {
            bytes.consume(1);
        }
        Self::arrow(subject, bytes, true, places)
    }

    /// An Arrow file behind its first bytes, or a stream.
    ///
    /// # Errors
    /// If it has no schema, or no field of a record.
    pub(super) fn arrow(
        subject: &str,
        bytes: Bytes,
        is_file: bool,
        places: &Arc<Places>,
    ) -> Result<Self> {
        let reader = StreamReader::try_new(bytes, None)
            .map_err(|e| Error::new(format!("read {subject}"), e))?;
        let schema = reader.schema();
        let source = Source::Arrow { reader: Box::new(reader), is_file };
        Self::new(subject, source, &schema, places)
    }

    fn new(subject: &str, source: Source, schema: &Schema, places: &Arc<Places>) -> Result<Self> {
        let name = |name: &String| (name.clone(), places.find(name));
        let columns: Vec<_> = schema.fields().iter().map(|field| name(field.name())).collect();
        if columns.iter().all(|(_, place)| place.is_none()) {
            let cause = "no column is a field of a record";
            return Err(Error::new(format!("read {subject}"), cause));
        }
        let places = Arc::clone(places);
        Ok(Self { source, places, columns, batch: None, row: 0, rows: 0 })
    }

    fn fail(&self, cause: impl fmt::Display) -> Record {
        Record::Broken { place: format!("row {}", self.rows + 1), cause: cause.to_string() }
    }
}

impl Reader for Columnar {
    fn next(&mut self, left_out: &mut LeftOut) -> Record {
        let batch = loop {
            match &self.batch {
                Some(batch) if self.row < batch.num_rows() => break batch,
                _ => match self.source.next() {
                    None => return Record::End,
                    Some(Err(error)) => return self.fail(error),
                    Some(Ok(batch)) => (self.batch, self.row) = (Some(batch), 0),
                },
            }
        };
        let mut record = Values::new(&self.places);
        for ((name, place), column) in self.columns.iter().zip(batch.columns()) {
            match place {
                _ if column.is_null(self.row) => {}
                None => left_out.note(name),
                Some((place, kind)) => match value(*kind, column, self.row) {
                    Some(value) => record.set(*place, value),
                    None => {
                        let of = column.data_type();
                        return self.fail(format!("{name} has a wrong value, of type {of}"));
                    }
                },
            }
        }
        self.row += 1;
        self.rows += 1;
        Record::One(record)
    }
}

/// A value that is not null, of the types that we write and those that others make of them.
fn value(kind: Kind, column: &ArrayRef, row: usize) -> Option<Value> {
    match kind {
        Kind::Number => number(column, row).map(Value::Number),
        Kind::Flag => column.as_boolean_opt().map(|flags| Value::Flag(flags.value(row))),
        Kind::Decimal => {
            let number = match column.data_type() {
                DataType::Float64 => column.as_primitive::<Float64Type>().value(row),
                _ => return None,
            };
            let is_one = number.is_finite() && number >= 0.0;
            is_one.then(|| Value::Decimal(Thousandths::rounded(number)))
        }
        Kind::Time => time(column, row).map(Value::Time),
        Kind::Word | Kind::Text | Kind::Mac | Kind::Address => {
            Value::from_text(kind, text(column, row)?)
        }
        Kind::Vlans | Kind::Mpls | Kind::Counts => {
            let list = match column.data_type() {
                DataType::List(_) => column.as_list::<i32>().value(row),
                DataType::LargeList(_) => column.as_list::<i64>().value(row),
                _ => return None,
            };
            let numbers: Option<Vec<u64>> =
                (0..list.len()).map(|place| number(&list, place)).collect();
            Value::from_numbers(kind, &numbers?)
        }
        Kind::Tunnel => {
            let tunnel = column.as_struct_opt()?;
            let part = |name: &str| tunnel.column_by_name(name).filter(|part| part.is_valid(row));
            let end = |name: &str| match part(name) {
                None => Some(None),
                Some(part) => text(part, row)?.parse().ok().map(Some),
            };
            let id = match part("id") {
                None => None,
                Some(part) => Some(number(part, row)?),
            };
            Value::tunnel(text(part("type")?, row)?, [end("src_ip")?, end("dst_ip")?], id)
        }
        Kind::Device => {
            let device = column.as_struct_opt()?;
            let part = |name: &str| {
                let part = device.column_by_name(name).filter(|part| part.is_valid(row));
                part.map_or(Some(None), |part| text(part, row).map(|text| Some(text.to_owned())))
            };
            Value::device(&part("mac")??, part("vendor")?, part("hostname")?, part("source")??)
        }
    }
}

fn number(column: &ArrayRef, row: usize) -> Option<u64> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::UInt64 => Some(column.as_primitive::<UInt64Type>().value(row)),
        DataType::UInt32 => Some(column.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt16 => Some(column.as_primitive::<UInt16Type>().value(row).into()),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).try_into().ok(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).try_into().ok(),
        _ => None,
    }
}

fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        _ => None,
    }
}

/// Nanoseconds since 1970.
fn time(column: &ArrayRef, row: usize) -> Option<i64> {
    let (time, unit_ns) = match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (column.as_primitive::<TimestampNanosecondType>().value(row), 1)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (column.as_primitive::<TimestampMicrosecondType>().value(row), 1_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (column.as_primitive::<TimestampMillisecondType>().value(row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            (column.as_primitive::<TimestampSecondType>().value(row), 1_000_000_000)
        }
        _ => return None,
    };
    time.checked_mul(unit_ns)
}
