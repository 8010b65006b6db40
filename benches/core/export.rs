//! Records into each format, beside the general encoders of the same fields and values. Rivals of
//! JSON lines and Parquet are fed what is theirs to encode, ready: structs and columns. Ours make
//! all of it of the engine's records, Community IDs included.

mod derived;
mod varied;

use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use divan::Bencher;
use divan::counter::ItemsCount;
use flowtap::export::schema::{Fields, Row, RowDevice, RowTunnel, visit};
use flowtap::export::{Format, Rows, SinkOptions};
use flowtap::flow::features::{BINS, Thousandths};
use flowtap::flow::{FeaturesSet, FlowRecord, MplsLabels, Sampling};
use flowtap::limits::RECORD_VLANS;
use flowtap::time::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer as _};

use self::derived::Flow;
use self::varied::{FILE_RECORDS, varied};
use crate::again;
use crate::pieces::ITEMS;
use crate::pieces::export::{Encode, records};

/// Every format for programs.
pub(crate) const FORMATS: [Format; 3] = [Format::JsonLines, Format::Csv, Format::Ipfix];

/// Formats for programs of others, and for people.
const OTHERS: [Format; 4] = [Format::Zeek, Format::ZeekJson, Format::Eve, Format::Table];

#[divan::bench(args = FORMATS.iter().chain(&OTHERS).copied())]
fn ours(bencher: Bencher<'_, '_>, format: Format) {
    again(bencher, Encode::new(format));
}

/// Runs `encode` on every record.
fn rival(bencher: Bencher<'_, '_>, encode: impl Fn(&[Row<'_>], &mut Vec<u8>)) {
    let (records, interfaces) = (records(), ["traffic.pcap".to_owned()]);
    let row = |record| Row {
        record,
        flow_id: None,
        features: None,
        labels: None,
        interfaces: &interfaces,
        interface_indexes: &[],
        encapsulations: None,
        sampling: Sampling::ALL,
    };
    let rows: Vec<_> = records.iter().map(row).collect();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        out.clear();
        encode(&rows, &mut out);
        out.len()
    });
}

#[divan::bench(args = [Format::JsonLines])]
fn serde_json(bencher: Bencher<'_, '_>, _: Format) {
    rival(bencher, |rows, out| {
        for row in rows {
            let mut json = serde_json::Serializer::new(&mut *out);
            let mut map = Map(json.serialize_map(None).expect("a vector takes anything"));
            visit(row, &mut map);
            map.0.end().expect("a vector takes anything");
            out.push(b'\n');
        }
    });
}

#[divan::bench(args = [Format::Csv])]
fn csv_crate(bencher: Bencher<'_, '_>, _: Format) {
    rival(bencher, |rows, out| {
        let writer = csv::Writer::from_writer(out);
        let mut columns = Columns { writer, text: String::new() };
        for row in rows {
            visit(row, &mut columns);
            columns.writer.write_record(None::<&[u8]>).expect("a vector takes anything");
        }
        columns.writer.flush().expect("a vector takes anything");
    });
}

/// What IPFIX is held against: the other format with all counts.
#[divan::bench(args = [Format::Ipfix])]
fn json_lines(bencher: Bencher<'_, '_>, _: Format) {
    again(bencher, Encode::new(Format::JsonLines));
}

/// serde_json of a struct.
#[divan::bench(args = [Format::JsonLines])]
fn serde_derive(bencher: Bencher<'_, '_>, _: Format) {
    let mut flows: Vec<Flow> = Vec::new();
    with_rows(&records(), |rows| flows.extend(rows.iter().map(|row| Flow::from(&row))));
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        out.clear();
        for flow in &flows {
            serde_json::to_writer(&mut out, flow).expect("a vector takes anything");
            out.push(b'\n');
        }
        out.len()
    });
}

/// Whole files: what holds records back writes nothing before.
#[divan::bench(args = [Format::Parquet, Format::Arrow], sample_count = 20)]
fn ours_file(bencher: Bencher<'_, '_>, format: Format) {
    let mut encoder = format.encoder(FeaturesSet::Basic, &SinkOptions::default());
    let mut out = Vec::new();
    with_rows(&varied(), |rows| {
        bencher.counter(ItemsCount::new(FILE_RECORDS)).bench_local(|| {
            out.clear();
            encoder.begin(&mut out);
            encoder.encode(rows, &mut out);
            encoder.end(&mut out);
            out.len()
        });
    });
}

/// arrow-rs's own writer of Parquet on columns, compressed as ours, and with no more indexes.
#[divan::bench(args = [Format::Parquet], sample_count = 20)]
fn arrow_rs_file(bencher: Bencher<'_, '_>, _: Format) {
    const SURE: &str = "a vector takes anything";
    let mut columns = Vec::new();
    with_rows(&varied(), |rows| columns = derived::columns(rows));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    bencher.counter(ItemsCount::new(FILE_RECORDS)).bench_local(|| {
        let schema = columns[0].schema();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), schema, Some(properties.clone())).expect(SURE);
        columns.iter().for_each(|batch| writer.write(batch).expect(SURE));
        writer.into_inner().expect(SURE).len()
    });
}

/// Records as a batch.
fn with_rows(records: &[FlowRecord], take: impl FnOnce(&Rows<'_>)) {
    let interfaces = ["traffic.pcap".to_owned()];
    take(&Rows {
        records,
        flow_ids: None,
        features: None,
        labels: &[],
        transactions: &[],
        intervals: &[],
        interfaces: &interfaces,
        interface_indexes: &[],
        encapsulations: None,
        sampling: Sampling::ALL,
    });
}

/// Fields as serde writes them, absent ones left out.
struct Map<M>(M);

impl<M: SerializeMap> Map<M> {
    fn add(&mut self, name: &'static str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            let written = self.0.serialize_entry(name, &value);
            assert!(written.is_ok(), "a vector takes anything");
        }
    }
}

/// Fields as the csv crate writes them, absent ones empty.
struct Columns<'a> {
    writer: csv::Writer<&'a mut Vec<u8>>,
    text: String,
}

impl Columns<'_> {
    fn add(&mut self, _: &'static str, value: Option<impl Display>) {
        self.text.clear();
        if let Some(value) = value {
            write!(self.text, "{value}").expect("a string takes anything");
        }
        self.writer.write_field(&self.text).expect("a vector takes anything");
    }
}

/// The text that a general encoder is given for what it has no type for.
macro_rules! fields {
    ($of:ty $(, $generic:tt: $bound:path)?) => {
        impl<$($generic: $bound)?> Fields for $of {
            fn number(&mut self, name: &'static str, value: Option<u64>) {
                self.add(name, value);
            }
            fn word(&mut self, name: &'static str, value: Option<u64>) {
                self.add(name, value.map(|word| format!("{word:016x}")));
            }
            fn flag(&mut self, name: &'static str, value: Option<bool>) {
                self.add(name, value);
            }
            fn plain(&mut self, name: &'static str, value: Option<&str>) {
                self.add(name, value);
            }
            fn text(&mut self, name: &'static str, value: Option<&str>) {
                self.add(name, value);
            }
            fn mac(&mut self, name: &'static str, value: Option<[u8; 6]>) {
                self.add(name, value.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")));
            }
            fn address(&mut self, name: &'static str, value: Option<IpAddr>) {
                self.add(name, value.map(|address| address.to_string()));
            }
            fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
                let text = value.map(|ns| {
                    let time = jiff::Timestamp::from_nanosecond(ns.into());
                    format!("{:.9}", time.expect("64 bits of nanoseconds are a time"))
                });
                self.add(name, text);
            }
            fn vlans(&mut self, name: &'static str, value: Option<[u16; RECORD_VLANS]>) {
                self.add(name, value.map(|vlans| format!("{vlans:?}")));
            }
            fn decimal(&mut self, name: &'static str, value: Option<Thousandths>) {
                self.add(name, value.map(Thousandths::number));
            }
            fn counts(&mut self, name: &'static str, value: Option<[u64; BINS]>) {
                self.add(name, value.map(|counts| format!("{counts:?}")));
            }
            fn mpls(&mut self, name: &'static str, value: Option<MplsLabels>) {
                let text = value.map(|labels| format!("{:?}", labels.iter().collect::<Vec<_>>()));
                self.add(name, text);
            }
            fn tunnel(&mut self, name: &'static str, value: Option<RowTunnel>) {
                self.add(name, value.map(|there| there.tunnel.kind.name()));
            }
            fn device(&mut self, name: &'static str, value: Option<RowDevice<'_>>) {
                self.add(name, value.map(|there| there.source));
            }
        }
    };
}

fields!(Map<M>, M: SerializeMap);
fields!(Columns<'_>);
