//! Ended records out of the engine, to one or more sinks.
//!
//! One schema ([`schema`]), an encoder for each format, one thread and one bounded queue
//! for each sink ([`sink`]). Records are handed over in shared immutable batches.

mod account;
mod csv;
mod distributor;
mod ipfix;
mod jsonl;
mod line;
pub mod output;
mod queue;
pub mod schema;
pub mod sink;
mod spec;
mod table;

pub use account::SinkAccount;
pub use distributor::Distributor;
pub use queue::{Patience, WhenFull};
pub use sink::{OpenSink, Sink};
pub use spec::{Compression, Format, SinkSpec, Target};

use crate::export::schema::Row;
use crate::flow::{FlowRecord, Sampling};

/// Makes bytes of records in one format, and appends them to a buffer.
pub trait Encoder: Send {
    /// What comes before the first record of a file.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// A batch of records.
    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>);
}

/// A batch of records with what it takes to show them.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The records.
    pub records: &'a [FlowRecord],
    /// Names of the interfaces or files of this run.
    pub interfaces: &'a [String],
    /// How much of the traffic they are of.
    pub sampling: Sampling,
    /// Records of the same file before these.
    pub before: u64,
}

impl<'a> Rows<'a> {
    /// One record after the other.
    pub fn iter(&self) -> impl Iterator<Item = Row<'a>> {
        let Self { interfaces, sampling, .. } = *self;
        self.records.iter().map(move |record| Row { record, interfaces, sampling })
    }
}

impl Format {
    /// What writes records in this format.
    #[must_use]
    pub fn encoder(self) -> Box<dyn Encoder> {
        match self {
            Self::JsonLines => Box::new(jsonl::JsonLines::default()),
            Self::Ipfix => Box::new(ipfix::Ipfix::default()),
            Self::Csv => Box::new(csv::Csv::default()),
            Self::Table => Box::new(table::Table::default()),
        }
    }
}

#[cfg(test)]
mod tests;
