//! Records there and back again, by each format; damage; and messages of others.

mod messages;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::export::tests::records_with_all_fields;
use crate::export::{Format, Rows, SinkOptions};
use crate::limits::CONVERT_LINE_BYTES;

/// A folder of its own for a test, gone afterwards.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with these bytes.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Converts into a file of this name.
    fn convert(&self, inputs: &[&Path], output: &str) -> (Converted, PathBuf) {
        let path = self.path(output);
        let spec = SinkSpec::parse(path.to_str().unwrap()).unwrap();
        let inputs: Vec<_> = inputs.iter().map(|path| path.to_path_buf()).collect();
        (convert(&inputs, &[spec], None).unwrap(), path)
    }

    /// Converts without anything to complain of.
    fn through(&self, input: &Path, output: &str) -> PathBuf {
        let (converted, path) = self.convert(&[input], output);
        assert_eq!(converted.errors, []);
        path
    }
}

/// Records in one format, as the engine's own encoder writes them.
fn encoded(format: Format, set: FeaturesSet) -> Vec<u8> {
    encoded_with(format, set, &SinkOptions::default())
}

fn encoded_with(format: Format, set: FeaturesSet, options: &SinkOptions) -> Vec<u8> {
    records_with_all_fields(|rows| {
        let features = rows.features.filter(|_| set.is_extended());
        let mut encoder = format.encoder(set, options);
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.encode(&Rows { features, ..*rows }, &mut out);
        encoder.end(&mut out);
        out
    })
}

/// What comes back is what was there, line for line, whatever was between.
#[test]
fn json_lines_come_back_the_same_through_every_format() {
    for set in [FeaturesSet::Basic, FeaturesSet::Extended] {
        let folder = Folder::new();
        let lines = encoded(Format::JsonLines, set);
        let start = folder.file("start.jsonl", &lines);
        for between in [
            #[cfg(feature = "columnar")]
            "a.parquet",
            #[cfg(feature = "columnar")]
            "a.arrow",
            "a.csv",
            "a.jsonl",
            "a.jsonl.gz",
            "a.csv.zst",
            "a.csv.gz",
        ] {
            let there = folder.through(&start, between);
            let back = folder.through(&there, "back.jsonl");
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            assert_eq!(text(fs::read(back).unwrap()), text(lines.clone()), "{between}");
        }
    }
}

/// Each encoder writes of values what it writes of records.
#[test]
fn files_are_those_that_the_run_itself_would_have_written() {
    for set in [FeaturesSet::Basic, FeaturesSet::Extended] {
        let folder = Folder::new();
        let start = folder.file("start.jsonl", encoded(Format::JsonLines, set));
        for (format, name) in [
            (Format::Csv, "a.csv"),
            #[cfg(feature = "columnar")]
            (Format::Arrow, "a.arrow"),
            #[cfg(feature = "columnar")]
            (Format::Parquet, "a.parquet"),
        ] {
            let made = fs::read(folder.through(&start, name)).unwrap();
            assert!(made == encoded(format, set), "{name}");
        }
        for (format, name) in [(Format::ZeekJson, "zeek-json:"), (Format::Eve, "eve:")] {
            let path = folder.path("foreign");
            let spec = SinkSpec::parse(&format!("{name}{}", path.display())).unwrap();
            convert(std::slice::from_ref(&start), &[spec], None).unwrap();
            assert!(fs::read(path).unwrap() == encoded(format, set), "{name}");
        }
    }
}

#[test]
fn a_third_vlan_comes_back_but_of_ipfix_which_has_two() {
    let folder = Folder::new();
    let line = r#"{"kind":"flow","protocol":6,"src_ip":"192.0.2.1","vlan":[7,9,11]}"#;
    let start = folder.file("start.jsonl", format!("{line}\n"));
    for (between, want) in [
        ("a.csv", "[7,9,11]"),
        #[cfg(feature = "columnar")]
        ("a.parquet", "[7,9,11]"),
        #[cfg(feature = "columnar")]
        ("a.arrow", "[7,9,11]"),
        ("a.ipfix", "[7,9]"),
    ] {
        let back = folder.through(&folder.through(&start, between), "back.jsonl");
        let text = fs::read_to_string(back).unwrap();
        assert!(text.contains(&format!(r#""vlan":{want}"#)), "{between}: {text}");
    }
}

#[test]
fn several_inputs_go_into_one_output() {
    let folder = Folder::new();
    let lines = encoded(Format::JsonLines, FeaturesSet::Basic);
    let csv = folder.file("a.csv", encoded(Format::Csv, FeaturesSet::Basic));
    let jsonl = folder.file("b.jsonl", &lines);
    let (converted, path) = folder.convert(&[&csv, &jsonl], "all.jsonl");
    assert_eq!((converted.errors, converted.left_out), (vec![], vec![]));
    assert_eq!(fs::read(path).unwrap(), lines.repeat(2));
}

#[test]
fn what_is_no_field_is_counted_by_name() {
    let folder = Folder::new();
    let line = r#"{"kind":"flow","colour":"red","protocol":6}"#;
    let start = folder.file("a.jsonl", format!("{line}\n\n{line}\n"));
    let (converted, path) = folder.convert(&[&start], "b.csv");
    let counts = converted.left_out[0].1.iter().map(|(name, count)| (name.as_str(), *count));
    assert_eq!(counts.collect::<Vec<_>>(), [("colour", 2)]);
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 3);
    let (converted, _) =
        folder.convert(&[&folder.file("c.csv", "kind,colour\nflow,red\n")], "d.csv");
    assert_eq!(converted.left_out[0].1["colour"], 1);
}

/// An error with its place, and all records before it.
fn broken(name: &str, bytes: &[u8]) -> (String, usize) {
    let folder = Folder::new();
    let (converted, path) = folder.convert(&[&folder.file(name, bytes)], "out.jsonl");
    let error = converted.errors.first().map(Error::to_string).unwrap_or_default();
    let lines = fs::read_to_string(path).unwrap_or_default().lines().count();
    assert_eq!(lines as u64, converted.records);
    (error, lines)
}

#[test]
fn damage_is_told_with_its_place_and_what_was_before_is_kept() {
    let good = r#"{"kind":"flow","src_port":1}"#;
    for (second, place, cause) in [
        (r#"{"kind":"flow","src_po"#, "line 2", "it is cut"),
        ("{\"kind\" 1}\n", "line 2", "expected `:` at column"),
        ("{\"src_port\":-1}\n", "line 2", "src_port has a wrong value"),
        ("{\"src_ip\":\"1.2.3\"}\n", "line 2", "src_ip has a wrong value"),
        ("{\"vlan\":[1,2,3,4]}\n", "line 2", "vlan has a wrong value"),
        ("{\"vlan\":[7,9,4096]}\n", "line 2", "vlan has a wrong value"),
        ("{\"tunnel\":{\"type\":\"wire\"}}\n", "line 2", "tunnel has a wrong value"),
        ("{\"src_length_histogram\":[1]}\n", "line 2", "histogram has a wrong value"),
        ("{\"src_port\":1}\n", "line 2", "neither kind nor addresses"),
        ("[1]\n", "line 2", "expected an object"),
        ("\"\u{1b}\"\n", "line 2", "column 2"),
    ] {
        let (error, lines) = broken("a.jsonl", format!("{good}\n{second}").as_bytes());
        assert!(error.contains(place) && error.contains(cause), "{second}: {error}");
        assert_eq!(lines, 1, "{second}");
    }
    let csv = "kind,src_port\nflow,1\n";
    for (third, cause) in [
        ("flow,x\n", "src_port has a wrong value"),
        ("flow\n", "1 columns instead of 2"),
        ("flow,1,2\n", "3 columns instead of 2"),
        ("flow,2", "it is cut"),
    ] {
        let (error, lines) = broken("a.csv", format!("{csv}{third}").as_bytes());
        assert!(error.contains("line 3") && error.contains(cause), "{third}: {error}");
        assert_eq!(lines, 1, "{third}");
    }
}

#[test]
fn a_line_or_record_without_end_takes_no_memory_without_end() {
    let long = "x".repeat(2 * CONVERT_LINE_BYTES);
    let (error, _) = broken("a.jsonl", format!("{{\"kind\":\"{long}\"}}\n").as_bytes());
    assert!(error.contains("line 1: longer than"), "{error}");
    let (error, _) = broken("a.csv", format!("kind\n\"{long}").as_bytes());
    assert!(error.contains("longer than"), "{error}");
}

/// A file that is cut anywhere gives an error, or at a place where nothing shows it all before.
#[test]
fn files_that_are_cut_anywhere_say_so() {
    for (format, name) in [
        (Format::JsonLines, "a.jsonl"),
        (Format::Csv, "a.csv"),
        #[cfg(feature = "columnar")]
        (Format::Arrow, "a.arrow"),
        #[cfg(feature = "columnar")]
        (Format::Parquet, "a.parquet"),
        (Format::Ipfix, "a.ipfix"),
    ] {
        let whole = encoded(format, FeaturesSet::Basic);
        let (error, all) = broken(name, &whole);
        assert_eq!((error.as_str(), all), ("", 4), "{name}");
        for cut in (1..whole.len()).step_by(whole.len() / 61) {
            let (error, lines) = broken(name, &whole[..cut]);
            let is_line = match format {
                Format::JsonLines => whole[cut - 1] == b'\n' || whole[cut] == b'\n',
                Format::Csv => whole[cut - 1] == b'\n',
                _ => false,
            };
            // The templates of IPFIX are a message of their own.
            let is_message = format == Format::Ipfix && lines == 0;
            assert!(!error.is_empty() || is_line || is_message, "{name} of {cut} bytes");
            assert!(lines <= all, "{name} of {cut} bytes");
        }
    }
    // As a file that was being written when the power failed.
    let gz = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let whole = gz(&encoded(Format::JsonLines, FeaturesSet::Basic).repeat(2_000));
    let (error, lines) = broken("a.jsonl.gz", &whole[..whole.len() / 2]);
    assert!(error.contains("line ") && lines > 1_000, "{lines}: {error}");
}

#[test]
fn what_is_no_file_of_records_is_refused() {
    for (bytes, cause) in [
        ("colour\nred\n", "no column is a field"),
        ("\u{0}\u{0}\u{0}\u{0}\u{0}", "unknown format"),
        #[cfg(feature = "columnar")]
        ("PAR1 and no more", "its end"),
        #[cfg(not(feature = "columnar"))]
        ("PAR1 and no more", "built without"),
        ("#separator \\x09\n", "no column is a field"),
    ] {
        let (error, _) = broken("a", bytes.as_bytes());
        assert!(error.contains(cause), "{bytes}: {error}");
    }
    let (error, lines) = broken("a", b"");
    assert_eq!((error.as_str(), lines), ("", 0));
    assert!(convert(&[], &[SinkSpec::parse("ipfix+tcp://host").unwrap()], None).is_err());
}
