//! Records as columns in memory: what Parquet and Arrow files are made of.
//!
//! [`Visit`] gives the fields, and the kind of a field its type: numbers are UInt64 or Float64,
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
use crate::export::schema::{Fields, RowDevice, RowTunnel, Visit, visit_nothing};
use crate::flow::features::{BINS, Thousandths};
use crate::flow::{FeaturesSet, MplsLabels};
use crate::limits::KEY_VLANS;
use crate::time::Timestamp;

/// Columns while they grow.
pub(super) struct Columns {
    growing: Growing,
    rows: usize,
    schema: SchemaRef,
    /// What is shown as text is written here first.
    line: Line,
}

#[derive(Default)]
struct Growing {
    columns: Vec<(&'static str, Column)>,
    /// The column of the next field of a record.
    next: usize,
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
        let schema = Arc::new(Schema::empty());
        let growing = Growing::default();
        let mut columns = Self { growing, rows: 0, schema, line: Line::default() };
        visit_nothing(set, &mut columns);
        let fields = columns.growing.columns.iter_mut().map(|(name, column)| {
            // The record that was visited is none.
            column.finish(0);
            Field::new(*name, column.kind(), true)
        });
        columns.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        columns
    }

    /// Names and types of all columns. Each may be absent.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &impl Visit) {
        self.growing.next = 0;
        record.visit(self);
        self.rows += 1;
    }

    /// Records that were added since the columns were taken.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, empty from now on.
    pub(super) fn take(&mut self) -> RecordBatch {
        let rows = take(&mut self.rows);
        let columns = self.growing.columns.iter_mut();
        let arrays = columns.map(|(_, column)| column.finish(rows)).collect();
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
        let texts = self.growing.texts(name);
        let Some(value) = value else { return texts.append_null() };
        write(&mut self.line, value);
        texts.append_value(str::from_utf8(self.line.take()).expect("digits and letters"));
    }
}

impl Growing {
    /// The column of the next field; it is made for the first record.
    fn column(&mut self, name: &'static str, make: impl FnOnce() -> Column) -> &mut Column {
        let place = self.next;
        self.next += 1;
        if place == self.columns.len() {
            self.columns.push((name, make()));
        }
        &mut self.columns[place].1
    }

    fn texts(&mut self, name: &'static str) -> &mut StringBuilder {
        match self.column(name, || Column::Text(StringBuilder::new())) {
            Column::Text(column) => column,
            _ => unreachable!("a field has one kind"),
        }
    }

    fn numbers(&mut self, name: &'static str, value: Option<impl Iterator<Item = u64>>) {
        let make = || Column::Numbers(ListBuilder::new(UInt64Builder::new()).with_field(number()));
        match self.column(name, make) {
            Column::Numbers(column) => {
                let is_there = value.is_some();
                value.into_iter().flatten().for_each(|one| column.values().append_value(one));
                column.append(is_there);
            }
            _ => unreachable!("a field has one kind"),
        }
    }
}

impl Fields for Columns {
    fn number(&mut self, name: &'static str, value: Option<u64>) {
        match self.growing.column(name, || Column::Number(UInt64Builder::new())) {
            Column::Number(column) => column.append_option(value),
            _ => unreachable!("a field has one kind"),
        }
    }

    fn word(&mut self, name: &'static str, value: Option<u64>) {
        self.written(name, value, Line::word);
    }

    fn flag(&mut self, name: &'static str, value: Option<bool>) {
        match self.growing.column(name, || Column::Flag(BooleanBuilder::new())) {
            Column::Flag(column) => column.append_option(value),
            _ => unreachable!("a field has one kind"),
        }
    }

    fn plain(&mut self, name: &'static str, value: Option<&str>) {
        self.growing.texts(name).append_option(value);
    }

    fn text(&mut self, name: &'static str, value: Option<&str>) {
        self.growing.texts(name).append_option(value);
    }

    fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
        self.written(name, value, Line::mac);
    }

    fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
        self.written(name, value, Line::address);
    }

    fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
        match self.growing.column(name, || Column::Time(TimestampNanosecondBuilder::new())) {
            Column::Time(column) => column.append_option(value),
            _ => unreachable!("a field has one kind"),
        }
    }

    fn vlans(&mut self, name: &'static str, value: Option<[u16; KEY_VLANS]>) {
        let make = || {
            let values = UInt16Builder::new();
            Column::Vlans(ListBuilder::new(values).with_field(vlan()))
        };
        match self.growing.column(name, make) {
            Column::Vlans(column) => {
                let vlans = value.into_iter().flatten().filter(|&vlan| vlan != 0);
                vlans.for_each(|vlan| column.values().append_value(vlan));
                column.append(value.is_some());
            }
            _ => unreachable!("a field has one kind"),
        }
    }

    fn mpls(&mut self, name: &'static str, value: Option<MplsLabels>) {
        self.growing.numbers(name, value.map(MplsLabels::iter));
    }

    fn decimal(&mut self, name: &'static str, value: Option<Thousandths>) {
        match self.growing.column(name, || Column::Decimal(Float64Builder::new())) {
            Column::Decimal(column) => column.append_option(value.map(Thousandths::number)),
            _ => unreachable!("a field has one kind"),
        }
    }

    fn counts(&mut self, name: &'static str, value: Option<[u64; BINS]>) {
        self.growing.numbers(name, value.map(IntoIterator::into_iter));
    }

    fn tunnel(&mut self, name: &'static str, value: Option<RowTunnel>) {
        match self.growing.column(name, || Column::Tunnel(Box::default())) {
            Column::Tunnel(column) => column.append(value),
            _ => unreachable!("a field has one kind"),
        }
    }

    fn device(&mut self, name: &'static str, value: Option<RowDevice<'_>>) {
        match self.growing.column(name, || Column::Device(Box::default())) {
            Column::Device(column) => column.append(value),
            _ => unreachable!("a field has one kind"),
        }
    }
}
