//! What `-o` names: where records go, in which format, and how compressed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::export::collector::Endpoint;
use crate::export::name;
use crate::limits::{CHECKPOINT, DATAGRAM_BYTES};

/// Where a sink writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, or files by a pattern.
    File(PathBuf),
    /// An IPFIX collector.
    Collector(Endpoint),
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    JsonLines,
    /// Comma-separated values with a header.
    Csv,
    /// IPFIX messages (RFC 5655).
    Ipfix,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's file format.
    Arrow,
    /// A table for people.
    Table,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// What is asked of all sinks that it applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkOptions {
    /// How long a format may hold records back.
    pub checkpoint: Duration,
    /// Begin another file so often, when the clock is at a multiple of it.
    pub rotate: Option<Duration>,
    /// Begin another file when one has so many bytes.
    pub rotate_size: Option<u64>,
    /// The longest message to a collector over UDP.
    pub datagram_bytes: usize,
    /// Whether collectors get a record for each direction.
    pub uniflow: bool,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            checkpoint: CHECKPOINT,
            rotate: None,
            rotate_size: None,
            datagram_bytes: DATAGRAM_BYTES,
            uniflow: false,
        }
    }
}

/// One sink, as the user asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// Where to.
    pub target: Target,
    /// In which format.
    pub format: Format,
    /// How compressed.
    pub compression: Compression,
    /// What else is asked.
    pub options: SinkOptions,
}

impl SinkSpec {
    /// Standard output, for people or for programs.
    #[must_use]
    pub fn stdout(format: Format) -> Self {
        let (compression, options) = (Compression::None, SinkOptions::default());
        Self { target: Target::Stdout, format, compression, options }
    }

    /// What the argument of `-o` means: `-`, a collector, or a file with its format by ending.
    ///
    /// # Errors
    /// If the ending is none that is known, the collector's address is none, or the pattern of
    /// names makes none.
    pub fn parse(argument: &str) -> Result<Self> {
        if argument == "-" {
            return Ok(Self::stdout(Format::JsonLines));
        }
        let refuse = |cause: &str| {
            Err(Error::new(format!("output {argument}"), cause).advise(
                "use a name that ends in .parquet, .arrow; or in .jsonl, .csv or .ipfix, with .zst \
                 or .gz if you like; or -",
            ))
        };
        if argument.contains("://") {
            return Ok(Self {
                target: Target::Collector(Endpoint::parse(argument)?),
                ..Self::stdout(Format::Ipfix)
            });
        }
        name::check(Path::new(argument))?;
        let (name, compression) = if let Some(name) = argument.strip_suffix(".gz") {
            (name, Compression::Gzip)
        } else if let Some(name) = argument.strip_suffix(".zst") {
            (name, Compression::Zstd)
        } else {
            (argument, Compression::None)
        };
        let format = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("jsonl") => Format::JsonLines,
            Some("csv") => Format::Csv,
            Some("ipfix") => Format::Ipfix,
            // These compress themselves, or are mapped into memory as they are.
            Some("parquet" | "arrow") if compression != Compression::None => {
                return refuse("this format is not compressed as a whole");
            }
            Some("parquet") => Format::Parquet,
            Some("arrow") => Format::Arrow,
            _ => return refuse("unknown format"),
        };
        let (target, options) = (Target::File(argument.into()), SinkOptions::default());
        Ok(Self { target, format, compression, options })
    }

    /// The file, or a path in the folder below which a pattern puts files.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match &self.target {
            Target::File(path) => Some(name::fixed(path)),
            Target::Stdout | Target::Collector(_) => None,
        }
    }

    /// The sink's name in the ledger and in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.target {
            Target::Stdout => "stdout".to_owned(),
            Target::File(path) => path.display().to_string(),
            Target::Collector(endpoint) => endpoint.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_format_and_compression() {
        let spec = |argument: &str| SinkSpec::parse(argument).map(|s| (s.format, s.compression));
        assert_eq!(spec("a.jsonl"), Ok((Format::JsonLines, Compression::None)));
        assert_eq!(spec("a.b/c.csv.gz"), Ok((Format::Csv, Compression::Gzip)));
        assert_eq!(spec("a.ipfix"), Ok((Format::Ipfix, Compression::None)));
        assert_eq!(spec("a.jsonl.zst"), Ok((Format::JsonLines, Compression::Zstd)));
        assert_eq!(spec("-"), Ok((Format::JsonLines, Compression::None)));
        assert_eq!(spec("a.parquet"), Ok((Format::Parquet, Compression::None)));
        assert_eq!(spec("a.arrow"), Ok((Format::Arrow, Compression::None)));
        let collector = SinkSpec::parse("ipfix+tcp://host").unwrap();
        assert_eq!(collector.name(), "ipfix+tcp://host:4739");
        for refused in ["a", "a.txt", "jsonl", "a.gz", "a.parquet.zst", "a.arrow.gz"] {
            let error = spec(refused).unwrap_err().to_string();
            assert!(error.contains(".jsonl"), "{refused}: {error}");
        }
    }
}
