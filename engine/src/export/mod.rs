//! Ended records out of the engine, to one or more sinks.
//!
//! One schema ([`schema`]), an encoder for each format, one thread and one bounded queue
//! for each sink ([`sink`]). Records are handed over in shared immutable batches.

mod account;
mod csv;
mod jsonl;
mod line;
pub mod output;
mod queue;
pub mod schema;
pub mod sink;
mod spec;
mod table;

pub use account::SinkAccount;
pub use queue::{Patience, WhenFull};
pub use sink::{Distributor, Sink};
pub use spec::{Compression, Format, SinkSpec, Target};

use crate::export::schema::Row;

/// Makes bytes of records in one format, and appends them to a buffer.
pub trait Encoder: Send {
    /// What comes before the first record of a file.
    fn begin(&mut self, out: &mut Vec<u8>);
    /// One record.
    fn encode(&mut self, row: &Row<'_>, out: &mut Vec<u8>);
}

impl Format {
    /// What writes records in this format.
    #[must_use]
    pub fn encoder(self) -> Box<dyn Encoder> {
        match self {
            Self::JsonLines => Box::new(jsonl::JsonLines::default()),
            Self::Csv => Box::new(csv::Csv::default()),
            Self::Table => Box::new(table::Table::default()),
        }
    }
}

#[cfg(test)]
mod tests;
