//! CSV read back: a header, then a record in each line. What the writer escaped is put back: an
//! apostrophe before what a spreadsheet would take for a formula, and `\u{1b}`.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use super::{Bytes, LeftOut, Reader, Record};
use crate::error::{Error, Result};
use crate::export::line::FORMULA_STARTS;
use crate::export::schema::Kind;
use crate::export::values::{Places, Value, Values};
use crate::limits::CONVERT_LINE_BYTES;
use crate::sync::Arc;

pub(super) struct Csv {
    reader: csv::Reader<Bounded>,
    fields: csv::StringRecord,
    /// Of each column its name, and place and kind if it is one of ours.
    columns: Vec<(String, Option<(usize, Kind)>)>,
    places: Arc<Places>,
    watch: Rc<Watch>,
}

/// What is seen of the bytes that a reader of CSV takes.
#[derive(Default)]
struct Watch {
    /// Since the last record.
    taken: Cell<usize>,
    last: Cell<u8>,
    has_ended: Cell<bool>,
}

impl Watch {
    /// Whether the last line has no end, and that has been read.
    fn is_cut(&self) -> bool {
        self.has_ended.get() && self.last.get() != b'\n'
    }
}

/// Fails instead of letting a record grow without bound, as one does whose quotes are not closed.
struct Bounded {
    bytes: Bytes,
    watch: Rc<Watch>,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.watch.taken.get() > CONVERT_LINE_BYTES {
            let cause = format!("a record is longer than {CONVERT_LINE_BYTES} bytes");
            return Err(io::Error::other(cause));
        }
        let count = self.bytes.read(into)?;
        self.watch.taken.set(self.watch.taken.get() + count);
        match into[..count].last() {
            Some(&last) => self.watch.last.set(last),
            None => self.watch.has_ended.set(!into.is_empty()),
        }
        Ok(count)
    }
}

impl Csv {
    /// Reads the header.
    ///
    /// # Errors
    /// If it cannot be read, or has no field of a record.
    pub(super) fn new(subject: &str, bytes: Bytes, places: &Arc<Places>) -> Result<Self> {
        let watch = Rc::new(Watch::default());
        let bounded = Bounded { bytes, watch: Rc::clone(&watch) };
        let mut reader = csv::Reader::from_reader(bounded);
        let fail = |cause: String| Error::new(format!("read {subject}"), cause);
        let header = reader.headers().map_err(|error| fail(cause_of(&error)))?;
        if watch.is_cut() {
            return Err(fail("line 1: it is cut".to_owned()));
        }
        let columns: Vec<_> =
            header.iter().map(|name| (name.to_owned(), places.find(name))).collect();
        if columns.iter().all(|(_, place)| place.is_none()) {
            return Err(fail("line 1: no column is a field of a record".to_owned())
                .advise("give a file that flowtap wrote, or one with its names of fields"));
        }
        let (fields, places) = (csv::StringRecord::new(), Arc::clone(places));
        Ok(Self { reader, fields, columns, places, watch })
    }

    fn fail(&self, cause: impl fmt::Display) -> Record {
        let line = self.fields.position().map_or(0, csv::Position::line);
        Record::Broken { place: format!("line {line}"), cause: cause.to_string() }
    }
}

impl Reader for Csv {
    fn next(&mut self, left_out: &mut LeftOut) -> Record {
        match self.reader.read_record(&mut self.fields) {
            Ok(true) => {}
            Ok(false) => return Record::End,
            Err(error) => {
                let line = error.position().or_else(|| Some(self.reader.position()));
                let place = format!("line {}", line.map_or(0, csv::Position::line));
                return Record::Broken { place, cause: cause_of(&error) };
            }
        }
        self.watch.taken.set(0);
        if self.watch.is_cut() {
            return self.fail("it is cut");
        }
        let mut record = Values::new(&self.places);
        for ((name, place), text) in self.columns.iter().zip(&self.fields) {
            match place {
                _ if text.is_empty() => {}
                None => left_out.note(name),
                Some((place, kind)) => match value(*kind, text) {
                    Some(value) => record.set(*place, value),
                    None => return self.fail(format!("{name} has a wrong value")),
                },
            }
        }
        if record.is_empty() {
            self.fail("it has no field of a record")
        } else {
            Record::One(record)
        }
    }
}

/// Without the place, which is said beside it.
fn cause_of(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        csv::ErrorKind::Utf8 { .. } => "it is no UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns instead of {expected_len}")
        }
        _ => error.to_string(),
    }
}

fn value(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::Text(unescaped(text))),
        Kind::Vlans | Kind::Mpls | Kind::Counts => {
            let numbers: Vec<u64> =
                text.split(';').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
            Value::from_numbers(kind, &numbers)
        }
        Kind::Tunnel => {
            let parts: Vec<_> = text.split(';').collect();
            let [kind, src_ip, dst_ip, id] = parts[..] else { return None };
            let end = |text: &str| match text {
                "" => Some(None),
                text => text.parse().ok().map(Some),
            };
            let id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
            Value::tunnel(kind, [end(src_ip)?, end(dst_ip)?], id)
        }
        Kind::Device => {
            // A semicolon in one of them is escaped.
            let parts: Vec<_> = text.split(';').map(unescaped).collect();
            let [mac, vendor, hostname, source] = &parts[..] else { return None };
            let part = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
            Value::device(mac, part(vendor), part(hostname), source.clone())
        }
        kind => Value::from_text(kind, text),
    }
}

fn unescaped(text: &str) -> String {
    let text = match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(FORMULA_STARTS) => rest,
        _ => text,
    };
    let mut pieces = text.split("\\u{");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let escape = piece.split_once('}').and_then(|(digits, rest)| {
            let number = u32::from_str_radix(digits, 16).ok()?;
            Some((char::from_u32(number)?, rest))
        });
        match escape {
            Some((character, rest)) => {
                plain.push(character);
                plain.push_str(rest);
            }
            None => {
                plain.push_str("\\u{");
                plain.push_str(piece);
            }
        }
    }
    plain
}
