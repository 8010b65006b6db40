//! Ended records out of the engine, to one or more sinks.
//!
//! One schema ([`schema`]), an encoder for each format, one thread and one bounded queue
//! for each sink ([`sink`]). Records are handed over in shared immutable batches.

mod account;
#[cfg(feature = "columnar")]
mod arrow;
mod collector;
#[cfg(feature = "columnar")]
mod columns;
mod completed;
mod compress;
mod convert;
mod csv;
pub mod describe;
pub mod devices;
mod distributor;
mod eve;
mod folders;
mod foreign;
pub mod intervals;
mod ipfix;
mod json;
mod jsonl;
mod keep;
pub(crate) mod line;
mod name;
mod outage;
pub mod output;
#[cfg(feature = "columnar")]
mod parquet;
mod part;
mod picked;
mod queue;
mod rebuild;
mod repair;
pub mod schema;
pub mod sink;
mod spec;
mod spool;
mod stream;
mod table;
pub(crate) mod target;
mod transactions;
mod values;
mod writer;
mod zeek;

pub use account::{SinkAccount, SpoolAccount};
pub use collector::{Endpoint, Protocol, TlsFiles, Transport};
pub use convert::{Converted, convert};
pub use distributor::Distributor;
pub use keep::Keep;
pub use queue::{Patience, WhenFull};
pub use repair::{Repaired, repair};
pub use sink::{OpenSink, Sink};
pub use spec::{Compression, Content, Format, SinkOptions, SinkSpec, Target};
pub use spool::SpoolOptions;
pub use stream::{Address, Broker, StreamOptions};
pub use values::InSet;

use crate::export::queue::Batch;
use crate::export::schema::Row;
use crate::flow::{Encapsulations, Features, FeaturesSet, FlowRecord, Sampling};
use crate::names::{DnsTransaction, Labels};
use crate::sync::{Arc, Gauge};

/// Makes bytes of records in one format, and appends them to a buffer.
pub trait Encoder: Send {
    /// What comes before the first record of a file.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// A batch of records. Some of them may be held back.
    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>);
    /// Records that were read back from a file.
    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>);
    /// What is held back.
    fn flush(&mut self, _out: &mut Vec<u8>) {}
    /// What is held back, and what comes after the last record of a file.
    fn end(&mut self, _out: &mut Vec<u8>) {}
    /// Whether there is something that [`flush`](Self::flush) would give.
    fn holds_back(&self) -> bool {
        false
    }
    /// Whether the file should end here, as its end would become too long.
    fn is_full(&self) -> bool {
        false
    }
}

/// What the records of a run have in common, and what it takes to show them.
#[derive(Debug, Clone)]
pub struct Context {
    /// Names of the interfaces or files.
    pub interfaces: Arc<[String]>,
    /// Their numbers in this network namespace (ifIndex), in a capture.
    pub interface_indexes: Arc<[u32]>,
    /// What carried packets.
    pub encapsulations: Arc<Encapsulations>,
    /// How much of the traffic they are of.
    pub sampling: Sampling,
    /// What is kept of flows.
    pub features_set: FeaturesSet,
    /// Packets so far that are in no record, for want of room or as they cannot be decoded.
    pub ignored_packets: Arc<Gauge>,
}

impl Context {
    /// A batch of records.
    fn rows<'a>(&'a self, batch: &'a Batch) -> Rows<'a> {
        Rows {
            records: &batch.records,
            flow_ids: None,
            features: self.features_set.is_extended().then_some(&batch.features),
            labels: &batch.labels,
            transactions: &batch.transactions,
            intervals: &batch.intervals,
            interfaces: &self.interfaces,
            interface_indexes: &self.interface_indexes,
            encapsulations: Some(&self.encapsulations),
            sampling: self.sampling,
        }
    }
}

/// A batch of records with what it takes to show them.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The records.
    pub records: &'a [FlowRecord],
    /// Identifiers that another run has given them, of each or of none.
    pub flow_ids: Option<&'a [Option<u64>]>,
    /// In the extended set: their statistics, as far as there are any.
    pub features: Option<&'a [Features]>,
    /// Labels of those that have any, each with the record's place, in order.
    pub labels: &'a [(u32, Labels)],
    /// In a log of them, and there alone: transactions of name services.
    pub transactions: &'a [DnsTransaction],
    /// In files of them, and there alone: statistics of an interval.
    pub intervals: &'a [intervals::Entry],
    /// Names of the interfaces or files of this run.
    pub interfaces: &'a [String],
    /// Their numbers in the network namespace (ifIndex), in a capture.
    pub interface_indexes: &'a [u32],
    /// What carried packets of this run.
    pub encapsulations: Option<&'a Encapsulations>,
    /// How much of the traffic they are of.
    pub sampling: Sampling,
}

impl<'a> Rows<'a> {
    /// One record after the other.
    pub fn iter(&self) -> impl Iterator<Item = Row<'a>> {
        let Self { flow_ids, features, interfaces, interface_indexes, .. } = *self;
        let Self { encapsulations, sampling, .. } = *self;
        let mut labels = self.labels.iter().peekable();
        (0..).zip(self.records).enumerate().map(move |(idx, (place, record))| {
            let of_it = |features: &'a [Features]| features.get(idx).unwrap_or(&Features::EMPTY);
            let features = features.map(of_it);
            let flow_id = flow_ids.and_then(|ids| *ids.get(idx)?);
            let labels = labels.next_if(|(its, _)| *its == place).map(|(_, labels)| labels);
            Row {
                record,
                flow_id,
                features,
                labels,
                interfaces,
                interface_indexes,
                encapsulations,
                sampling,
            }
        })
    }
}

impl SinkSpec {
    /// What writes what it is for; records of flows are of this set.
    fn encoder(&self, set: FeaturesSet) -> Box<dyn Encoder> {
        match (self.content, self.format) {
            (Content::Flows, format) => format.encoder(set, &self.options),
            (Content::Transactions, Format::Csv) => {
                Box::new(transactions::TransactionCsv::default())
            }
            // Others are refused.
            (Content::Transactions, _) => Box::new(transactions::TransactionJsonLines::default()),
            (Content::Intervals, Format::Csv) => Box::new(intervals::IntervalCsv::default()),
            (Content::Intervals, _) => Box::new(intervals::IntervalJsonLines::default()),
            (Content::Histograms, _) => Box::new(intervals::IntervalLog::default()),
        }
    }
}

impl Format {
    /// What writes records of this set in this format.
    #[must_use]
    pub fn encoder(self, set: FeaturesSet, options: &SinkOptions) -> Box<dyn Encoder> {
        match self {
            Self::JsonLines => Box::new(jsonl::JsonLines::default()),
            Self::Ipfix => Box::new(ipfix::Ipfix::new(options.pen)),
            Self::Csv => Box::new(csv::Csv::new(set)),
            #[cfg(feature = "columnar")]
            Self::Parquet => Box::new(parquet::Parquet::new(set)),
            #[cfg(feature = "columnar")]
            Self::Arrow => Box::new(arrow::Arrow::new(set)),
            Self::Zeek => Box::new(zeek::Zeek::default()),
            Self::ZeekJson => Box::new(zeek::ZeekJson::default()),
            Self::Eve => Box::new(eve::Eve::default()),
            Self::Table => Box::new(table::Table::default()),
        }
    }
}

#[cfg(test)]
mod tests;
