//! `flowtap repair`: what was written of a file that was never completed, as a file that is whole.
//!
//! Of lines and IPFIX messages that is all up to the last whole one, compressed or not; of Arrow
//! all record batches, and of Parquet all row groups that are whole. The damaged file is only read.

#[cfg(feature = "columnar")]
mod arrow;
mod ipfix;
#[cfg(feature = "columnar")]
mod parquet;

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::export::output::{Fault, Output};
use crate::export::{Compression, Content, Format, SinkSpec, Target};
use crate::limits::{LINE_BYTES, REPAIR_BYTES};

/// What was recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The file that has it.
    pub file: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Why it ends where it does, if the rest could not be read.
    pub cut: Option<String>,
}

/// Why a repair ends: the rest cannot be read, which is what it is for; or nothing can be done.
enum Stop {
    Damage(String),
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How many records were recovered until it stopped.
type Recovered = (u64, std::result::Result<(), Stop>);

/// Recovers what is in `part` into a file, which must not be there: `out`, or what `part` would
/// have become.
///
/// # Errors
/// If `part` cannot be read, has no name of a known format, or has no whole record; if the file
/// is there or cannot be written.
pub fn repair(part: &Path, out: Option<&Path>) -> Result<Repaired> {
    let name = finished_name(part);
    // Of statistics of intervals only histograms have a format of their own.
    let format_of = |path: &Path| match SinkSpec::parse_intervals(path)? {
        Some(spec) if spec.content == Content::Histograms => Ok(spec),
        _ => SinkSpec::parse(&path.to_string_lossy()),
    };
    let from = format_of(name.as_deref().unwrap_or(part))?;
    let out = match (out, name) {
        (Some(out), _) => out.to_owned(),
        (None, Some(name)) => name,
        (None, None) => {
            return Err(Error::new(format!("repair {}", part.display()), "it is no .part file")
                .advise("say with -o what the repaired file is called"));
        }
    };
    let to = format_of(&out)?;
    let is_same = (to.format, to.content) == (from.format, from.content);
    let (Target::File(_), true) = (&to.target, is_same) else {
        return Err(Error::new(format!("repair {}", part.display()), "the formats differ")
            .advise("give -o a name with the same ending"));
    };
    let fail = |error: &io::Error| {
        Error::new(format!("write {}", out.display()), error)
            .advise("give -o a name that is free, in a folder that you may write to")
    };
    let file = File::open(part).map_err(|e| Error::new(format!("read {}", part.display()), e))?;
    if !file.metadata().is_ok_and(|it| it.is_file()) {
        return Err(Error::new(format!("repair {}", part.display()), "it is no file"));
    }
    let mut output = Output::create(&out, to.compression).map_err(|e| fail(&e))?;
    let (records, stop) = match from.format {
        #[cfg(feature = "columnar")]
        Format::Parquet => parquet::recover(&file, &mut output),
        #[cfg(feature = "columnar")]
        Format::Arrow => arrow::recover(file, &mut output),
        Format::Ipfix => ipfix::recover(&mut rows(file, from.compression), &mut output),
        format => {
            let is_record: IsRecord = match (from.content, format) {
                (Content::Histograms, _) => |_, line| !matches!(line[0], b'#' | b'"'),
                (_, Format::Csv) => |number, _| number > 0,
                (_, Format::Zeek) => |_, line| line[0] != b'#',
                _ => |_, _| true,
            };
            lines(&mut rows(file, from.compression), is_record, &mut output)
        }
    };
    let cut = match stop {
        Ok(()) => None,
        Err(Stop::Damage(cause)) => Some(cause),
        Err(Stop::Fault(fault)) => {
            output.discard();
            return Err(fail(fault.error()));
        }
    };
    if records == 0 {
        output.discard();
        return Err(Error::new(format!("repair {}", part.display()), "it has no whole record"));
    }
    output.finish_new().map_err(|fault| fail(fault.error()))?;
    Ok(Repaired { file: out, records, cut })
}

/// `flows.csv` of `flows.csv.part` and `flows.csv.part.3`.
fn finished_name(part: &Path) -> Option<PathBuf> {
    let text = part.to_str()?;
    let without_number = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = text.strip_suffix(".part").or_else(|| without_number.strip_suffix(".part."))?;
    Some(name.into())
}

/// What a file holds, decompressed; an end in the middle is an error.
fn rows(file: File, compression: Compression) -> Box<dyn BufRead> {
    let file = BufReader::with_capacity(REPAIR_BYTES, file);
    match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))),
        Compression::Zstd => match zstd::Decoder::with_buffer(file) {
            Ok(decoder) => Box::new(BufReader::new(decoder)),
            Err(error) => Box::new(BufReader::new(Failing(error.kind()))),
        },
    }
}

/// Gives an error only.
struct Failing(ErrorKind);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

fn damage(error: &io::Error) -> Stop {
    Stop::Damage(match error.kind() {
        ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => format!("the rest cannot be read ({error})"),
    })
}

/// Whether a line is a record, by its number from 0, and what is in it, its end at least.
type IsRecord = fn(u64, &[u8]) -> bool;

/// Whole lines.
fn lines(rows: &mut dyn BufRead, is_record: IsRecord, output: &mut Output) -> Recovered {
    let (mut number, mut records, mut line) = (0_u64, 0, Vec::new());
    let stop = loop {
        line.clear();
        match rows.take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break Ok(()),
            Ok(_) if line.last() != Some(&b'\n') => {
                break Err(Stop::Damage("its last line is not whole".to_owned()));
            }
            Ok(_) => {}
            Err(error) => break Err(damage(&error)),
        }
        output.take(&line);
        if let Err(fault) = output.write_some() {
            break Err(fault.into());
        }
        records += u64::from(is_record(number, &line));
        number += 1;
    };
    (records, stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::SinkOptions;
    use crate::export::tests::records_with_all_fields;
    use crate::flow::FeaturesSet;

    /// Records with values of all lengths, among descriptions of own elements, which are none.
    #[test]
    fn records_of_messages_are_counted() {
        for pen in [None, Some(64_999)] {
            let options = SinkOptions { pen, ..SinkOptions::default() };
            let (bytes, records) = records_with_all_fields(|rows| {
                let mut encoder = Format::Ipfix.encoder(FeaturesSet::Basic, &options);
                let mut bytes = Vec::new();
                encoder.begin(&mut bytes);
                encoder.encode(rows, &mut bytes);
                encoder.end(&mut bytes);
                (bytes, rows.records.len() as u64)
            });
            let folder = tempfile::tempdir().unwrap();
            let part = folder.path().join("flows.ipfix.part");
            std::fs::write(&part, &bytes).unwrap();
            let repaired = repair(&part, None).unwrap();
            assert_eq!((repaired.records, repaired.cut), (records, None), "{pen:?}");
            assert_eq!(std::fs::read(repaired.file).unwrap(), bytes);
        }
    }

    /// The lines before and behind them are none.
    #[test]
    fn records_of_lines_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        for (name, lines, records) in [
            ("flows.csv", "a,b\n1,2\n3,4\n5", Some(2)),
            ("flows.csv", "a,b\n1,2", None),
            ("conn.log", "#separator \\x09\n#fields\tts\n1\n2\n#close\t3\n", Some(2)),
            ("conn.log", "#separator \\x09\n#fields\tts\n", None),
            ("flows.jsonl", "{}\n{}\n{", Some(2)),
            ("a.hlog", "#[Histogram log]\n\"StartTimestamp\"\nTag=a,1\nTag=b,1\nTag", Some(2)),
        ] {
            let part = folder.path().join(format!("{name}.part"));
            std::fs::write(&part, lines).unwrap();
            let repaired = repair(&part, None);
            assert_eq!(repaired.as_ref().ok().map(|it| it.records), records, "{lines:?}");
            if let Ok(repaired) = repaired {
                std::fs::remove_file(repaired.file).unwrap();
            }
        }
    }

    #[test]
    fn a_part_says_what_it_would_have_become() {
        for (part, name) in [
            ("d/flows.csv.part", Some("d/flows.csv")),
            ("flows.jsonl.zst.part.12", Some("flows.jsonl.zst")),
            ("flows.csv", None),
            ("flows.part2", None),
        ] {
            assert_eq!(finished_name(Path::new(part)), name.map(PathBuf::from), "{part}");
        }
    }
}
