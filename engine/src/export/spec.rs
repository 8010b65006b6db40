//! What `-o` names: where records go, in which format, and how compressed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::export::collector::{Endpoint, TlsFiles};
use crate::export::spool::SpoolOptions;
use crate::export::stream::{Address, StreamOptions};
use crate::export::{Keep, name};
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
    /// A broker that keeps messages.
    Stream(Address),
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
    #[cfg(feature = "columnar")]
    Parquet,
    /// Apache Arrow's file format.
    #[cfg(feature = "columnar")]
    Arrow,
    /// Zeek's `conn.log`.
    Zeek,
    /// Zeek's `conn.log` as JSON lines.
    ZeekJson,
    /// Suricata's `flow` events.
    Eve,
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
    /// Which finished files are kept.
    pub keep: Keep,
    /// The longest message to a collector over UDP.
    pub datagram_bytes: usize,
    /// Whether collectors get a record for each direction.
    pub uniflow: bool,
    /// The private enterprise number of own IPFIX elements. Without it there are none.
    pub pen: Option<u32>,
    /// Whom collectors and brokers over TLS must be vouched for by, and who we are.
    pub tls: TlsFiles,
    /// Where records wait on disk for collectors that are away.
    pub spool: Option<SpoolOptions>,
    /// What is asked of sinks to brokers.
    pub stream: StreamOptions,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            checkpoint: CHECKPOINT,
            rotate: None,
            rotate_size: None,
            keep: Keep::default(),
            datagram_bytes: DATAGRAM_BYTES,
            uniflow: false,
            pen: None,
            tls: TlsFiles::default(),
            spool: None,
            stream: StreamOptions::default(),
        }
    }
}

/// What a sink is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Records of flows.
    Flows,
    /// Transactions of name services.
    Transactions,
    /// Statistics of intervals.
    Intervals,
    /// Histograms of intervals.
    Histograms,
}

/// One sink, as the user asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// What for.
    pub content: Content,
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
        Self { content: Content::Flows, target: Target::Stdout, format, compression, options }
    }

    /// What the argument of `-o` means: `-`, a collector, a broker, or a file with its format by
    /// ending or by what stands before it.
    ///
    /// # Errors
    /// If the ending is none that is known, the collector's or broker's address is none, or the
    /// pattern of names makes none.
    pub fn parse(argument: &str) -> Result<Self> {
        if Address::is_one(argument) {
            return Ok(Self {
                target: Target::Stream(Address::parse(argument)?),
                ..Self::stdout(Format::JsonLines)
            });
        }
        if argument.contains("://") {
            return Ok(Self {
                target: Target::Collector(Endpoint::parse(argument)?),
                ..Self::stdout(Format::Ipfix)
            });
        }
        let (given, path) = with_prefix(argument);
        Self::parse_as(given, path, argument)
    }

    /// What a name means, of this format if one is given; `argument` is what was typed.
    pub(super) fn parse_as(given: Option<Format>, path: &str, argument: &str) -> Result<Self> {
        if path == "-" {
            return Ok(Self::stdout(given.unwrap_or(Format::JsonLines)));
        }
        let refuse = |cause: &str| {
            Err(Error::new(format!("output {argument}"), cause).advise(
                "use a name that ends in .parquet, .arrow; or in .jsonl, .csv, .ipfix or .log \
                 (Zeek), with .zst or .gz if you like; zeek:NAME, zeek-json:NAME or eve:NAME; \
                 or -",
            ))
        };
        name::check(Path::new(path))?;
        let (name, compression) = uncompressed(path);
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        let format = match (given, ending) {
            (Some(_), _) if path.is_empty() => return refuse("no name"),
            (Some(given), _) => given,
            (None, Some("jsonl")) => Format::JsonLines,
            (None, Some("csv")) => Format::Csv,
            (None, Some("ipfix")) => Format::Ipfix,
            (None, Some("log")) => Format::Zeek,
            // These compress themselves, or are mapped into memory as they are.
            (None, Some("parquet" | "arrow")) if compression != Compression::None => {
                return refuse("this format is not compressed as a whole");
            }
            #[cfg(feature = "columnar")]
            (None, Some("parquet")) => Format::Parquet,
            #[cfg(feature = "columnar")]
            (None, Some("arrow")) => Format::Arrow,
            #[cfg(not(feature = "columnar"))]
            (None, Some("parquet" | "arrow")) => {
                return refuse("this flowtap was built without Parquet and Arrow");
            }
            _ => return refuse("unknown format"),
        };
        let (target, options) = (Target::File(path.into()), SinkOptions::default());
        Ok(Self { content: Content::Flows, target, format, compression, options })
    }

    /// What the argument of `--dns-log` means: as [`SinkSpec::parse`], for formats of text.
    ///
    /// # Errors
    /// As [`SinkSpec::parse`], and if the format is another.
    pub fn parse_dns_log(argument: &str) -> Result<Self> {
        let advice = "use a name that ends in .jsonl or .csv, with .zst or .gz if you like; -; or \
                      nats://HOST/SUBJECT";
        let fail = |cause: &str| Error::new(format!("--dns-log {argument}"), cause).advise(advice);
        let spec = Self::parse(argument).map_err(|error| fail(error.cause()))?;
        match spec.format {
            Format::JsonLines | Format::Csv => Ok(Self { content: Content::Transactions, ..spec }),
            _ => Err(fail("transactions have no such format")),
        }
    }

    /// What the argument of `--stats` means if it names statistics of intervals: a file that ends
    /// in `.jsonl` or `.csv`, or in `.hlog` for histograms, each with `.zst` or `.gz` if you like.
    /// `None` if it does not: then it is for the ledger.
    ///
    /// # Errors
    /// If the pattern of names makes none.
    pub fn parse_intervals(argument: &Path) -> Result<Option<Self>> {
        // Other names end as these do only where they can be read.
        let Some(argument) = argument.to_str() else { return Ok(None) };
        let (bare, compression) = uncompressed(argument);
        match bare.rsplit_once('.').map(|(_, ending)| ending) {
            Some("jsonl" | "csv") => {
                Ok(Some(Self { content: Content::Intervals, ..Self::parse(argument)? }))
            }
            Some("hlog") => {
                name::check(Path::new(argument))?;
                let target = Target::File(argument.into());
                // The one format of histograms has no name among those of records.
                let text = Self::stdout(Format::JsonLines);
                Ok(Some(Self { content: Content::Histograms, target, compression, ..text }))
            }
            _ => Ok(None),
        }
    }

    /// The file, or a path in the folder below which a pattern puts files; a collector's, in the
    /// folder of its spool.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match &self.target {
            Target::File(path) => Some(name::fixed(path)),
            Target::Collector(_) => Some(self.options.spool.as_ref()?.file_of(&self.name())),
            Target::Stdout | Target::Stream(_) => None,
        }
    }

    /// Makes the folder of a collector's spool, unless it is there, for `owner` if one is given.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_folder(&self, owner: Option<&str>) -> Result<()> {
        match (&self.target, &self.options.spool) {
            (Target::Collector(_), Some(spool)) => spool.make_folder(&self.name(), owner),
            _ => Ok(()),
        }
    }

    /// The sink's name in the ledger and in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.target {
            Target::Stdout => "stdout".to_owned(),
            Target::File(path) => path.display().to_string(),
            Target::Collector(endpoint) => endpoint.to_string(),
            Target::Stream(address) => address.to_string(),
        }
    }
}

/// A name without what its compression adds.
pub(super) fn uncompressed(path: &str) -> (&str, Compression) {
    if let Some(name) = path.strip_suffix(".gz") {
        (name, Compression::Gzip)
    } else if let Some(name) = path.strip_suffix(".zst") {
        (name, Compression::Zstd)
    } else {
        (path, Compression::None)
    }
}

/// What stands before a name, for formats whose files have any ending.
pub(super) fn with_prefix(argument: &str) -> (Option<Format>, &str) {
    let prefixes =
        [("zeek:", Format::Zeek), ("zeek-json:", Format::ZeekJson), ("eve:", Format::Eve)];
    let given = |(prefix, format)| Some((Some(format), argument.strip_prefix(prefix)?));
    prefixes.into_iter().find_map(given).unwrap_or((None, argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_text() {
        let spec = SinkSpec::parse_dns_log("a.jsonl.zst").unwrap();
        assert_eq!((spec.content, spec.format), (Content::Transactions, Format::JsonLines));
        assert!(SinkSpec::parse_dns_log("-").is_ok() && SinkSpec::parse_dns_log("a.csv").is_ok());
        for refused in ["a.parquet", "a.ipfix", "a.txt", "ipfix+tcp://host"] {
            let error = SinkSpec::parse_dns_log(refused).unwrap_err().to_string();
            assert!(error.contains("--dns-log") && error.contains(".jsonl"), "{error}");
        }
    }

    #[test]
    fn statistics_of_intervals_are_told_by_their_ending() {
        let of = |name: &str| {
            let spec = SinkSpec::parse_intervals(Path::new(name)).unwrap()?;
            Some((spec.content, spec.name(), spec.compression))
        };
        for (name, content, compression) in [
            ("a.jsonl", Content::Intervals, Compression::None),
            ("d/a.csv.gz", Content::Intervals, Compression::Gzip),
            ("a.hlog", Content::Histograms, Compression::None),
            ("a-{start:%H}.hlog.zst", Content::Histograms, Compression::Zstd),
        ] {
            assert_eq!(of(name), Some((content, name.to_owned(), compression)), "{name}");
        }
        for ledger in ["a.json", "a.prom", "a", "-", "jsonl", "a.json.gz", "a.ipfix"] {
            assert_eq!(of(ledger), None, "{ledger}");
        }
    }

    #[test]
    fn the_ending_decides_format_and_compression() {
        let spec = |argument: &str| SinkSpec::parse(argument).map(|s| (s.format, s.compression));
        assert_eq!(spec("a.jsonl"), Ok((Format::JsonLines, Compression::None)));
        assert_eq!(spec("a.b/c.csv.gz"), Ok((Format::Csv, Compression::Gzip)));
        assert_eq!(spec("a.ipfix"), Ok((Format::Ipfix, Compression::None)));
        assert_eq!(spec("a.jsonl.zst"), Ok((Format::JsonLines, Compression::Zstd)));
        assert_eq!(spec("-"), Ok((Format::JsonLines, Compression::None)));
        #[cfg(feature = "columnar")]
        {
            assert_eq!(spec("a.parquet"), Ok((Format::Parquet, Compression::None)));
            assert_eq!(spec("a.arrow"), Ok((Format::Arrow, Compression::None)));
        }
        #[cfg(not(feature = "columnar"))]
        assert!(["a.parquet", "a.arrow"].iter().all(|name| spec(name).is_err()));
        assert_eq!(spec("conn.log.gz"), Ok((Format::Zeek, Compression::Gzip)));
        assert_eq!(spec("zeek:a.tsv"), Ok((Format::Zeek, Compression::None)));
        assert_eq!(spec("zeek-json:conn.log.zst"), Ok((Format::ZeekJson, Compression::Zstd)));
        assert_eq!(spec("eve:eve.json"), Ok((Format::Eve, Compression::None)));
        let eve = SinkSpec::parse("eve:d/{start:%H}.json").unwrap();
        assert_eq!(eve.path(), Some("d/flows".into()));
        assert_eq!(SinkSpec::parse("eve:-"), Ok(SinkSpec::stdout(Format::Eve)));
        let collector = SinkSpec::parse("ipfix+tcp://host").unwrap();
        assert_eq!(collector.name(), "ipfix+tcp://host:4739");
        let broker = SinkSpec::parse("nats://host/flows").unwrap();
        assert_eq!(
            (broker.name(), broker.format),
            ("nats://host:4222/flows".to_owned(), Format::JsonLines)
        );
        assert_eq!(
            SinkSpec::parse_dns_log("nats://host/dns").unwrap().target,
            SinkSpec::parse("nats://host/dns").unwrap().target
        );
        for refused in ["a", "a.txt", "jsonl", "a.gz", "a.parquet.zst", "a.arrow.gz", "eve:"] {
            let error = spec(refused).unwrap_err().to_string();
            assert!(error.contains(".jsonl"), "{refused}: {error}");
        }
    }
}
