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

use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::export::output::{Fault, Output};
use crate::export::{Compression, Content, Format, SinkSpec, Target, spec};
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
    let (part_format, part) = with_prefix(part);
    let (out_format, out) = out.map(with_prefix).unzip();
    // What stands before either name is said of both.
    let given = part_format.or(out_format.flatten());
    let fail = |cause: &str| Error::new(format!("repair {}", part.display()), cause);
    let file = File::open(part).map_err(|e| {
        Error::new(format!("read {}", part.display()), e)
            .advise("give a file that is there, and that you may read")
    })?;
    if !file.metadata().is_ok_and(|it| it.is_file()) {
        return Err(fail("it is no file"));
    }
    let name = finished_name(part);
    let from = spec_of(name.as_deref().unwrap_or(part), given)?;
    let out = match (out, name) {
        (Some(out), _) => out.to_owned(),
        (None, Some(name)) => name,
        (None, None) => {
            return Err(
                fail("it is no .part file").advise("say with -o what the repaired file is called")
            );
        }
    };
    let to = spec_of(&out, given)?;
    let kind = |spec: &SinkSpec| (spec.content, spec.format);
    let is_same = kind(&to) == kind(&from) || is_json(&to) && is_json(&from);
    let (Target::File(_), true) = (&to.target, is_same) else {
        return Err(fail("the formats differ").advise("give -o a name with the same ending"));
    };
    let not_written = |error: &io::Error| {
        Error::new(format!("write {}", out.display()), error)
            .advise("give -o a name that is free, in a folder that you may write to")
    };
    let mut output = Output::create(&out, to.compression).map_err(|e| not_written(&e))?;
    let (records, stop) = match from.format {
        #[cfg(feature = "columnar")]
        Format::Parquet => parquet::recover(&file, &mut output),
        #[cfg(feature = "columnar")]
        Format::Arrow => arrow::recover(file, &mut output),
        Format::Ipfix => ipfix::recover(&mut rows(file, from.compression), &mut output),
        format => {
            let kind_of: KindOf = match (from.content, format) {
                (Content::Histograms, _) => |_, line| Line::of(!matches!(line[0], b'#' | b'"')),
                (_, Format::Csv) => |number, _| Line::of(number > 0),
                (_, Format::Zeek) => |_, line| Line::of(line[0] != b'#'),
                _ => |_, line| if is_object(line) { Line::Record } else { Line::Damaged },
            };
            lines(&mut rows(file, from.compression), kind_of, &mut output)
        }
    };
    let cut = match stop {
        Ok(()) => None,
        Err(Stop::Damage(cause)) => Some(cause),
        Err(Stop::Fault(fault)) => {
            output.discard();
            return Err(not_written(fault.error()));
        }
    };
    if records == 0 {
        output.discard();
        return Err(fail("it has no whole record"));
    }
    let name = output.finish_new().map_err(|fault| not_written(fault.error()))?;
    Ok(Repaired { file: name.unwrap_or(out), records, cut })
}

/// The format that stands before a name, if one does, and the name.
fn with_prefix(path: &Path) -> (Option<Format>, &Path) {
    let Some(text) = path.to_str() else { return (None, path) };
    let (format, name) = spec::with_prefix(text);
    (format, Path::new(name))
}

/// What a finished name means. Who writes events of Suricata or JSON of Zeek's calls them `.json`,
/// and their lines are repaired alike.
fn spec_of(name: &Path, given: Option<Format>) -> Result<SinkSpec> {
    // Of statistics of intervals only histograms have a format of their own.
    if let Some(spec) = SinkSpec::parse_intervals(name)?
        && spec.content == Content::Histograms
    {
        return Ok(spec);
    }
    let text = name.to_string_lossy();
    let is_json = spec::uncompressed(&text).0.ends_with(".json");
    match given.or(is_json.then_some(Format::Eve)) {
        Some(format) => SinkSpec::parse_as(Some(format), &text, &text),
        None => SinkSpec::parse(&text),
    }
}

/// Whether each line is a JSON object.
fn is_json(spec: &SinkSpec) -> bool {
    let format = matches!(spec.format, Format::JsonLines | Format::Eve | Format::ZeekJson);
    format && spec.content != Content::Histograms
}

fn is_object(line: &[u8]) -> bool {
    let is_json = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
    line[0] == b'{' && std::str::from_utf8(line).is_ok_and(is_json)
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

/// What a line is.
enum Line {
    Record,
    /// Something before or behind records.
    Other,
    /// Nothing that was ever written.
    Damaged,
}

impl Line {
    fn of(is_record: bool) -> Self {
        if is_record { Self::Record } else { Self::Other }
    }
}

/// What a line is, by its number from 0, and what is in it, its end at least.
type KindOf = fn(u64, &[u8]) -> Line;

/// Whole lines.
fn lines(rows: &mut dyn BufRead, kind_of: KindOf, output: &mut Output) -> Recovered {
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
        number += 1;
        match kind_of(number - 1, &line) {
            Line::Record => records += 1,
            Line::Other => {}
            Line::Damaged => {
                break Err(Stop::Damage(format!("it is cut at line {number}, which is no record")));
            }
        }
        output.take(&line);
        if let Err(fault) = output.write_some() {
            break Err(fault.into());
        }
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
    fn lines_of_json_are_repaired_under_any_name_that_an_output_has() {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str| {
            let (format, path) = with_prefix(Path::new(name));
            let prefix = format.map(|_| name.split_once(':').unwrap().0);
            let path = folder.path().join(path).display().to_string();
            PathBuf::from(prefix.map_or(path.clone(), |prefix| format!("{prefix}:{path}")))
        };
        for (part, out, is_whole) in [
            ("eve.json.part", None, true),
            ("eve:eve.json.part", None, true),
            ("eve.json.part", Some("eve:new.json"), true),
            ("eve.json.part", Some("new.jsonl"), true),
            ("zj.json.part.2", Some("zeek-json:new.json"), true),
            ("conn.log.part", Some("zeek-json:new.log"), true),
            ("eve.txt.part", Some("eve:new.txt"), true),
            ("eve.txt.part", None, false),
            ("eve.json.part", Some("new.csv"), false),
        ] {
            let (part, out) = (in_folder(part), out.map(in_folder));
            std::fs::write(with_prefix(&part).1, "{\"a\":1}\n{}\n{\"a\"").unwrap();
            let repaired = repair(&part, out.as_deref());
            assert_eq!(repaired.is_ok(), is_whole, "{part:?} {out:?}: {repaired:?}");
            if let Ok(repaired) = repaired {
                assert_eq!(std::fs::read(&repaired.file).unwrap(), b"{\"a\":1}\n{}\n");
                std::fs::remove_file(repaired.file).unwrap();
            }
        }
    }

    #[test]
    fn a_part_that_is_not_there_is_missing() {
        for part in ["nofile.part", "eve:nofile.json.part", "nofile"] {
            let error = repair(Path::new(part), None).unwrap_err().to_string();
            assert!(error.starts_with("read nofile") && error.contains("no such file"), "{error}");
        }
    }

    /// A disk that lost power has zeros there, and a crash anything.
    #[test]
    fn lines_end_before_the_first_that_is_no_object() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("flows.jsonl.part");
        for line in ["\0\0", "[]", "1", "", "{\"a\"}", "{} {}"] {
            std::fs::write(&part, format!("{{}}\n{{}}\n{line}\n{{}}\n")).unwrap();
            let repaired = repair(&part, None).unwrap();
            let cut = "it is cut at line 3, which is no record".to_owned();
            assert_eq!((repaired.records, repaired.cut), (2, Some(cut)), "{line}");
            assert_eq!(std::fs::read(&repaired.file).unwrap(), b"{}\n{}\n");
            std::fs::remove_file(repaired.file).unwrap();
        }
        std::fs::write(&part, b"\xff\n\0\n").unwrap();
        let error = repair(&part, None).unwrap_err().to_string();
        assert!(error.contains("no whole record"), "{error}");
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
