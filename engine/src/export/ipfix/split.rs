//! A message that is longer than a path takes, in several that are not.

use std::collections::BTreeMap;

use super::definition::Definition;
use super::message::{Dialect, SET_HEADER};
use crate::export::convert::ipfix::{short_at, take_element, take_short, take_value};

/// Lengths of a template's elements, by its number.
type Layouts = BTreeMap<u16, Vec<u16>>;

/// A part of a message.
#[derive(Debug, Default)]
pub(in crate::export) struct Piece {
    /// All but what is written into it when it leaves.
    pub(in crate::export) bytes: Vec<u8>,
    /// Its data records.
    pub(in crate::export) records: u32,
}

/// The records of a message of ours, made by `definitions` of a run with own elements of enterprise
/// `pen`, in messages of up to `most` bytes. A record that is longer alone is left out.
pub(in crate::export) fn split(
    dialect: Dialect,
    message: &[u8],
    definitions: &[Definition],
    pen: Option<u32>,
    most: usize,
) -> Vec<Piece> {
    let layouts: Layouts = definitions.iter().filter_map(|it| layout(it, pen)).collect();
    let (mut pieces, mut open) = (Vec::new(), Open::new(dialect));
    let mut sets = message.get(dialect.header_bytes()..).unwrap_or_default();
    while let Some((number, mut set)) = take_set(&mut sets) {
        let layout = layouts.get(&number).map_or(&[][..], Vec::as_slice);
        while let Some(record) = take_record(&mut set, layout) {
            if open.with(number, record) > most {
                pieces.extend(std::mem::replace(&mut open, Open::new(dialect)).close());
            }
            if open.with(number, record) <= most {
                open.add(number, record);
            }
        }
    }
    pieces.extend(open.close());
    pieces
}

fn layout(definition: &Definition, pen: Option<u32>) -> Option<(u16, Vec<u16>)> {
    let mut described = Vec::new();
    definition.describe(pen, &mut described);
    let mut rest = described.as_slice();
    let (number, count) = (take_short(&mut rest).ok()?, take_short(&mut rest).ok()?);
    let lengths = (0..count).map(|_| Some(take_element(&mut rest).ok()?.bytes));
    Some((number, lengths.collect::<Option<_>>()?))
}

fn take_set<'a>(sets: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    if sets.len() < SET_HEADER {
        return None;
    }
    let (number, len) = (short_at(sets, 0), usize::from(short_at(sets, 2)));
    let (set, rest) = sets.split_at_checked(len)?;
    *sets = rest;
    Some((number, set.get(SET_HEADER..)?))
}

/// What is left at the end of a set is padding, shorter than a record.
fn take_record<'a>(set: &mut &'a [u8], layout: &[u16]) -> Option<&'a [u8]> {
    let (start, mut rest) = (*set, *set);
    layout.iter().try_for_each(|&bytes| take_value(&mut rest, bytes).ok().map(drop))?;
    let record = &start[..start.len() - rest.len()];
    *set = rest;
    (!record.is_empty()).then_some(record)
}

/// A piece while it is made.
struct Open {
    dialect: Dialect,
    sets: Vec<(u16, Vec<u8>)>,
    /// With what may stand behind the records of a set.
    bytes: usize,
    records: u32,
}

impl Open {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, sets: Vec::new(), bytes: dialect.header_bytes(), records: 0 }
    }

    /// Bytes that it has with another record.
    fn with(&self, number: u16, record: &[u8]) -> usize {
        let is_begun = self.sets.last().is_some_and(|(last, _)| *last == number);
        let header = if is_begun { 0 } else { SET_HEADER + self.dialect.most_padding() };
        self.bytes + header + record.len()
    }

    fn add(&mut self, number: u16, record: &[u8]) {
        self.bytes = self.with(number, record);
        self.records += 1;
        match self.sets.last_mut() {
            Some((last, set)) if *last == number => set.extend_from_slice(record),
            _ => self.sets.push((number, record.to_vec())),
        }
    }

    /// `None` without records.
    fn close(self) -> Option<Piece> {
        let Self { dialect, sets, records, .. } = self;
        let (mut bytes, mut all) = (Vec::new(), Vec::new());
        sets.iter().for_each(|(number, set)| dialect.write_set(*number, set, &mut all));
        dialect.write_header(all.len(), records as usize, &mut bytes);
        bytes.append(&mut all);
        (records > 0).then_some(Piece { bytes, records })
    }
}
