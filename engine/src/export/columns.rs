//! Records as columns in memory: what Parquet and Arrow files are made of.
//!
//! [`kinds`] gives the columns, and the kind of a field its type: numbers are UInt64 or Float64,
//! times Timestamp(ns, UTC), VLANs and the like a list, a tunnel or a device a struct, all else
//! text, written as in JSON lines. There is no other list of fields here.

use std::mem::{replace, take};
use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, ListBuilder, StringBuilder, TimestampNanosecondBuilder,
    UInt16Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Fields as ArrowFields, Schema, SchemaRef, TimeUnit};

use crate::export::devices::shown_mac;
use crate::export::line::Line;
use crate::export::schema::{Fields, Kind, RowDevice, RowTunnel, Visit, kinds};
use crate::flow::features::{BINS, Thousandths};
use crate::flow::{FeaturesSet, MplsLabels};
use crate::limits::RECORD_VLANS;
use crate::time::Timestamp;

/// Columns while they grow.
pub(super) struct Columns {
    growing: Growing,
    schema: SchemaRef,
    /// What is shown as text is written here first.
    line: Line,
}

#[derive(Default)]
struct Growing {
    columns: Vec<Named>,
    /// The column of the next field of a record.
    next: usize,
    /// Records that were added: the row of the next one.
    rows: usize,
}

struct Named {
    name: &'static str,
    column: Column,
    /// Rows that it has. What is absent is not added before a value that follows it: nothing is done
    /// for it, and most records have nothing in a third of the columns.
    len: usize,
}

enum Column {
    Number(UInt64Builder),
    Flag(BooleanBuilder),
    Text(StringBuilder),
    Time(TimestampNanosecondBuilder),
    Vlans(ListBuilder<UInt16Builder>),
    Numbers(ListBuilder<UInt64Builder>),
    Decimal(Float64Builder),
    Tunnel(Box<TunnelColumn>),
    Device(Box<DeviceColumn>),
}

/// A struct with the fields of a tunnel. What is absent in all of them is no tunnel.
#[derive(Default)]
struct TunnelColumn {
    kind: StringBuilder,
    ends: [StringBuilder; 2],
    id: UInt64Builder,
    is_there: Vec<bool>,
}

impl TunnelColumn {
    fn fields() -> ArrowFields {
        let field = |name: &str, kind: DataType| Field::new(name, kind, true);
        let text = |name: &str| field(name, DataType::Utf8);
        vec![text("type"), text("src_ip"), text("dst_ip"), field("id", DataType::UInt64)].into()
    }

    /// One, or the absence of one.
    fn append(&mut self, tunnel: Option<RowTunnel>) {
        self.kind.append_option(tunnel.map(|there| there.tunnel.kind.name()));
        for (end, column) in self.ends.iter_mut().enumerate() {
            let address = tunnel.and_then(|there| there.ends).map(|ends| ends[end].to_string());
            column.append_option(address);
        }
        self.id.append_option(tunnel.and_then(|there| there.tunnel.id).map(u64::from));
        self.is_there.push(tunnel.is_some());
    }

    fn finish(&mut self) -> StructArray {
        let [src, dst] = &mut self.ends;
        let texts = [&mut self.kind, src, dst].map(|column| Arc::new(column.finish()) as ArrayRef);
        let columns = texts.into_iter().chain([Arc::new(self.id.finish()) as ArrayRef]).collect();
        let is_there = take(&mut self.is_there).into();
        StructArray::new(Self::fields(), columns, Some(is_there))
    }
}

/// A struct with the fields of a device, all of them text.
#[derive(Default)]
struct DeviceColumn {
    parts: [StringBuilder; 4],
    is_there: Vec<bool>,
}

impl DeviceColumn {
    fn fields() -> ArrowFields {
        let names = ["mac", "vendor", "hostname", "source"];
        names.map(|name| Field::new(name, DataType::Utf8, true)).into_iter().collect()
    }

    /// One, or the absence of one.
    fn append(&mut self, device: Option<RowDevice<'_>>) {
        let mac = device.map(|there| shown_mac(there.mac));
        let vendor = device.and_then(|there| there.vendor);
        let hostname = device.and_then(|there| there.hostname);
        let parts = [mac.as_deref(), vendor, hostname, device.map(|there| there.source)];
        self.parts.iter_mut().zip(parts).for_each(|(column, part)| column.append_option(part));
        self.is_there.push(device.is_some());
    }

    fn finish(&mut self) -> StructArray {
        let columns = self.parts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        let is_there = take(&mut self.is_there).into();
        StructArray::new(Self::fields(), columns.collect(), Some(is_there))
    }
}

impl Column {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Number => Self::Number(UInt64Builder::new()),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Word | Kind::Text | Kind::Mac | Kind::Address => Self::Text(StringBuilder::new()),
            Kind::Time => Self::Time(TimestampNanosecondBuilder::new()),
            Kind::Vlans => Self::Vlans(ListBuilder::new(UInt16Builder::new()).with_field(vlan())),
            Kind::Mpls | Kind::Counts => {
                Self::Numbers(ListBuilder::new(UInt64Builder::new()).with_field(number()))
            }
            Kind::Decimal => Self::Decimal(Float64Builder::new()),
            Kind::Tunnel => Self::Tunnel(Box::default()),
            Kind::Device => Self::Device(Box::default()),
        }
    }

    fn kind(&self) -> DataType {
        match self {
            Self::Number(_) => DataType::UInt64,
            Self::Flag(_) => DataType::Boolean,
            Self::Text(_) => DataType::Utf8,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::Vlans(_) => DataType::List(Arc::new(vlan())),
            Self::Numbers(_) => DataType::List(Arc::new(number())),
            Self::Decimal(_) => DataType::Float64,
            Self::Tunnel(_) => DataType::Struct(TunnelColumn::fields()),
            Self::Device(_) => DataType::Struct(DeviceColumn::fields()),
        }
    }

    /// Adds rows without a value.
    fn append_absent(&mut self, rows: usize) {
        match self {
            Self::Number(it) => it.append_nulls(rows),
            Self::Flag(it) => it.append_nulls(rows),
            Self::Text(it) => it.append_nulls(rows),
            Self::Time(it) => it.append_nulls(rows),
            Self::Vlans(it) => it.append_nulls(rows),
            Self::Numbers(it) => it.append_nulls(rows),
            Self::Decimal(it) => it.append_nulls(rows),
            Self::Tunnel(it) => (0..rows).for_each(|_| it.append(None)),
            Self::Device(it) => (0..rows).for_each(|_| it.append(None)),
        }
    }

    /// What was added. Room for as much is made at once, as growing to it takes copies.
    fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            Self::Number(it) => Arc::new(replace(it, UInt64Builder::with_capacity(rows)).finish()),
            Self::Flag(it) => Arc::new(it.finish()),
            Self::Text(it) => {
                let room = StringBuilder::with_capacity(rows, it.values_slice().len());
                Arc::new(replace(it, room).finish())
            }
            Self::Time(it) => {
                let room = TimestampNanosecondBuilder::with_capacity(rows);
                Arc::new(replace(it, room).finish().with_timezone("UTC"))
            }
            Self::Vlans(it) => Arc::new(it.finish()),
            Self::Numbers(it) => Arc::new(it.finish()),
            Self::Decimal(it) => {
                Arc::new(replace(it, Float64Builder::with_capacity(rows)).finish())
            }
            Self::Tunnel(it) => Arc::new(it.finish()),
            Self::Device(it) => Arc::new(it.finish()),
        }
    }
}

/// What a list of VLANs consists of.
fn vlan() -> Field {
    Field::new("item", DataType::UInt16, false)
}

/// What a list of other numbers consists of.
fn number() -> Field {
    Field::new("item", DataType::UInt64, false)
}

impl Columns {
    /// Columns for the fields of a set.
    pub(super) fn new(set: FeaturesSet) -> Self {
        let mut growing = Growing::default();
        let fields = kinds(set).into_iter().map(|(name, kind)| {
            let column = Column::new(kind);
            let field = Field::new(name, column.kind(), true);
            growing.columns.push(Named { name, column, len: 0 });
            field
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { growing, schema, line: Line::default() }
    }

    /// Names and types of all columns. Each may be absent.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &impl Visit) {
        self.growing.next = 0;
        record.visit(self);
        self.growing.rows += 1;
    }

    /// Records that were added since the columns were taken.
    pub(super) fn rows(&self) -> usize {
        self.growing.rows
    }

    /// The columns, empty from now on.
    pub(super) fn take(&mut self) -> RecordBatch {
        let rows = take(&mut self.growing.rows);
        let finish = |named: &mut Named| {
            let len = take(&mut named.len);
            named.column.append_absent(rows - len);
            named.column.finish(rows)
        };
        let arrays = self.growing.columns.iter_mut().map(finish).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .expect("each record gives each column a value of its type")
    }

    /// Text as JSON lines have it.
    fn written<T>(
        &mut self,
        name: &'static str,
        value: Option<T>,
        write: impl FnOnce(&mut Line, T),
    ) {
        if let Some((Column::Text(column), value)) = self.growing.value(name, value) {
            write(&mut self.line, value);
            column.append_value(str::from_utf8(self.line.take()).expect("digits and letters"));
        }
    }
}

impl Growing {
    /// A value of the next field, and the column that it goes to, which has all rows before it.
    #[inline]
    fn value<T>(&mut self, name: &'static str, value: Option<T>) -> Option<(&mut Column, T)> {
        let place = self.next;
        self.next += 1;
        let value = value?;
        let named = &mut self.columns[place];
        debug_assert_eq!(named.name, name, "fields come in the order of the columns");
        if named.len < self.rows {
            named.column.append_absent(self.rows - named.len);
        }
        named.len = self.rows + 1;
        Some((&mut named.column, value))
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some((Column::Text(column), value)) = self.value(name, value) {
            column.append_value(value);
        }
    }

    fn numbers(&mut self, name: &'static str, value: Option<impl Iterator<Item = u64>>) {
        if let Some((Column::Numbers(column), value)) = self.value(name, value) {
            value.for_each(|one| column.values().append_value(one));
            column.append(true);
        }
    }
}

/// A value of a kind that is not its column's is not added, and then a row is missing:
/// [`Columns::take`] asserts that none is.
impl Fields for Columns {
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        if let Some((Column::Number(column), value)) = self.growing.value(name, value) {
            column.append_value(value);
        }
    }

    fn word(&mut self, name: &'static str, value: Option<u64>) {
        self.written(name, value, Line::word);
    }

    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        if let Some((Column::Flag(column), value)) = self.growing.value(name, value) {
            column.append_value(value);
        }
    }

    fn plain(&mut self, name: &'static str, value: Option<&str>) {
        self.growing.text(name, value);
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.growing.text(name, value);
    }

    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
        self.written(name, value, Line::mac);
    }

    fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
        self.written(name, value, Line::address);
    }

    fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
        if let Some((Column::Time(column), value)) = self.growing.value(name, value) {
            column.append_value(value);
        }
    }

    fn vlans(&mut self, name: &'static str, value: Option<[u16; RECORD_VLANS]>) {
        if let Some((Column::Vlans(column), value)) = self.growing.value(name, value) {
            let vlans = value.into_iter().filter(|&vlan| vlan != 0);
            vlans.for_each(|vlan| column.values().append_value(vlan));
            column.append(true);
        }
    }

    fn mpls(&mut self, name: &'static str, value: Option<MplsLabels>) {
        self.growing.numbers(name, value.map(MplsLabels::iter));
    }

    fn decimal(&mut self, name: &'static str, value: Option<Thousandths>) {
        if let Some((Column::Decimal(column), value)) = self.growing.value(name, value) {
            column.append_value(value.number());
        }
    }

    fn counts(&mut self, name: &'static str, value: Option<[u64; BINS]>) {
        self.growing.numbers(name, value.map(IntoIterator::into_iter));
    }

    fn tunnel(&mut self, name: &'static str, value: Option<RowTunnel>) {
        if let Some((Column::Tunnel(column), value)) = self.growing.value(name, value) {
            column.append(Some(value));
        }
    }

    fn device(&mut self, name: &'static str, value: Option<RowDevice<'_>>) {
        if let Some((Column::Device(column), value)) = self.growing.value(name, value) {
            column.append(Some(value));
        }
    }
}
