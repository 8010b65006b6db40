//! IPFIX messages (RFC 7011), flows in both directions in one record (RFC 5103): in a file
//! (RFC 5655), and for [collectors](super::collector).
//!
//! Each batch of records is one message: new templates in the message before it, one data set
//! for each template. A template is made for each family of addresses and each set of fields
//! that a record has, as IPFIX has no absent values; its number says which. Counts take four
//! bytes where all of a record fit (RFC 7011 section 6.2), and those of a responder who sent
//! nothing are left out: most of a file is counts. Elements are IANA's
//! (<https://www.iana.org/assignments/ipfix>). What has none there has an [own] one, if there is
//! an enterprise number to put it under; without it, such fields are left out. So is always what
//! follows from other fields: `duration_ns`, `ip_version`, `community_id`.

mod definition;
mod message;
mod own;
mod pack;
mod record;
mod split;
mod statistics;
mod template;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use self::definition::{Definition, Recognised, recognise};
pub(super) use self::message::{Dialect, stamp};
#[cfg(test)]
pub(super) use self::own::own_names;
pub(super) use self::pack::{Packed, Packer};
pub(super) use self::split::{Piece, split};
pub(super) use self::statistics::{Totals, totals};
pub(super) use self::template::Template;

use self::message::SET_HEADER;
use crate::export::rebuild::rebuilt;
use crate::export::{Encoder, InSet, Rows};

/// Bytes of a message, at most: its length takes 16 bits.
pub(super) const MESSAGE_BYTES: usize = 65_535;
/// RFC 7011 section 3.4.1: the first number a template may have.
const FIRST_TEMPLATE: u16 = 256;

/// Writes the messages of a file.
pub(crate) struct Ipfix {
    packer: Packer,
    templates: Templates,
    /// Data records of the file.
    sequence: u32,
}

impl Ipfix {
    /// With own elements of enterprise `pen`, if there is one.
    pub(crate) fn new(pen: Option<u32>) -> Self {
        let packer = Packer::for_file(pen.is_some());
        Self { packer, templates: Templates::new(Dialect::Ipfix, pen), sequence: 0 }
    }
}

impl Encoder for Ipfix {
    fn begin(&mut self, _out: &mut Vec<u8>) {
        self.templates.forget();
        self.sequence = 0;
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        let Self { packer, templates, sequence } = self;
        packer.pack(rows, &mut |packed: Packed<'_>| {
            let definitions = packed.templates().map(Definition::Ours);
            for Told { mut bytes, records } in templates.new_ones(definitions, MESSAGE_BYTES) {
                stamp(Dialect::Ipfix, &mut bytes, *sequence, Duration::ZERO);
                out.append(&mut bytes);
                *sequence = sequence.wrapping_add(records);
            }
            let start = out.len();
            packed.write(out);
            stamp(Dialect::Ipfix, &mut out[start..], *sequence, Duration::ZERO);
            *sequence = sequence.wrapping_add(packed.records);
        });
    }

    fn encode_values(&mut self, records: &[InSet<'_>], out: &mut Vec<u8>) {
        rebuilt(records, |rows| self.encode(rows, out));
    }
}

/// A message that says what those with flow records are made of.
pub(super) struct Told {
    pub(super) bytes: Vec<u8>,
    /// Its data records.
    pub(super) records: u32,
}

/// What numbers of templates stand for, and which of them a reader has been told.
pub(super) struct Templates {
    dialect: Dialect,
    pen: Option<u32>,
    /// It was told what own elements are.
    has_types: bool,
    /// It was told which totals there are.
    has_totals: bool,
    /// By number.
    known: BTreeMap<u16, Known>,
}

/// What a number stands for: for as long as the connection stands, however often it is told.
struct Known {
    definition: Definition,
    is_told: bool,
}

impl Templates {
    /// Nothing has been told; own elements are of enterprise `pen`.
    pub(super) fn new(dialect: Dialect, pen: Option<u32>) -> Self {
        Self { dialect, pen, has_types: false, has_totals: false, known: BTreeMap::new() }
    }

    /// Whether a number was told to stand for something else, which it does as long as the connection
    /// stands (RFC 7011 section 8.1).
    pub(super) fn contradict(&self, definition: &Definition) -> bool {
        self.known.get(&definition.number()).is_some_and(|known| known.definition != *definition)
    }

    /// All is to be told again: there is another reader, or none may rely on what it was told. What
    /// numbers stand for remains.
    pub(super) fn forget(&mut self) {
        (self.has_types, self.has_totals) = (false, false);
        self.known.values_mut().for_each(|known| known.is_told = false);
    }

    /// A message that says which totals there are, if that is not known yet.
    pub(super) fn new_totals(&mut self) -> Option<Told> {
        let is_known = std::mem::replace(&mut self.has_totals, true);
        (!is_known).then(statistics::templates)
    }

    /// Messages of up to `most` bytes with those of `definitions` that are not known yet, and before
    /// them what own elements are. From now on they are.
    pub(super) fn new_ones(
        &mut self,
        definitions: impl Iterator<Item = Definition>,
        most: usize,
    ) -> Vec<Told> {
        let mut messages = Vec::new();
        let pen = self.pen.filter(|_| !std::mem::replace(&mut self.has_types, true));
        messages.extend(pen.into_iter().flat_map(|pen| own::type_information(pen, most)));
        let (dialect, mut set, mut count) = (self.dialect, Vec::new(), 0);
        let mut end = |set: &[u8], count: usize| {
            let bytes = dialect.message(dialect.template_set(), set, count);
            messages.push(Told { bytes, records: 0 });
        };
        for definition in definitions {
            let known = self.known.get(&definition.number());
            if known.is_none_or(|it| !it.is_told || it.definition != definition) {
                let before = set.len();
                definition.describe(self.pen, &mut set);
                self.known.insert(definition.number(), Known { definition, is_told: true });
                if before > 0 && dialect.header_bytes() + SET_HEADER + set.len() > most {
                    let last = set.split_off(before);
                    end(&set, count);
                    (set, count) = (last, 0);
                }
                count += 1;
            }
        }
        if !set.is_empty() {
            end(&set, count);
        }
        messages
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn low_half(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests;
