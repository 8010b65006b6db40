//! Ended records out of the engine, to one or more sinks.
//!
//! One schema ([`schema`]), an encoder for each format, one thread and one bounded queue
//! for each sink ([`sink`]). Records are handed over in shared immutable batches.

mod account;
mod csv;
mod jsonl;
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

use std::io::{self, Write};

use crate::export::schema::Row;

/// Writes records in one format.
pub(crate) trait Encoder: Send {
    /// What comes before the first record of a file.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;
    /// One record.
    fn encode(&mut self, row: &Row<'_>, out: &mut dyn Write) -> io::Result<()>;
}

impl Format {
    pub(crate) fn encoder(self) -> Box<dyn Encoder> {
        match self {
            Self::JsonLines => Box::new(jsonl::JsonLines),
            Self::Csv => Box::new(csv::Csv),
            Self::Table => Box::new(table::Table),
        }
    }
}

#[cfg(test)]
mod tests;
