//! IPFIX messages (RFC 7011), flows in both directions in one record (RFC 5103): in a file
//! (RFC 5655), and for [collectors](super::collector).
//!
//! Each batch of records is one message: new templates in the message before it, one data set
//! for each template. A template is made for each family of addresses and each set of fields
//! that a record has, as IPFIX has no absent values; its number says which. Counts take four
//! bytes where all of a record fit (RFC 7011 section 6.2), and those of a responder who sent
//! nothing are left out: most of a file is counts. Elements are IANA's
//! (<https://www.iana.org/assignments/ipfix>). What has none there has an [own](own) one, if there is
//! an enterprise number to put it under; without it, such fields are left out. So is always what
//! follows from other fields: `duration_ns`, `ip_version`, `community_id`.

mod own;
mod pack;
mod record;
mod statistics;
mod template;

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use self::pack::{Packed, Packer};
pub(super) use self::statistics::{Totals, totals};
pub(super) use self::template::Template;

use self::template::{TEMPLATES, elements, number_of, place_of};
use crate::export::rebuild::rebuilt;
use crate::export::{Encoder, InSet, Rows};

/// RFC 7011 section 3.1.
const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// Bytes of a message, at most: its length takes 16 bits.
pub(super) const MESSAGE_BYTES: usize = 65_535;
/// RFC 7011 section 3.3.2: the sets of templates and of options templates, and the first number a
/// template may have.
const TEMPLATE_SET: u16 = 2;
const OPTIONS_SET: u16 = 3;
const FIRST_TEMPLATE: u16 = 256;
/// All records are of one observation domain.
const DOMAIN: u32 = 1;

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
        Self { packer, templates: Templates::new(pen), sequence: 0 }
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
            for Told { mut bytes, records } in templates.new_ones(packed.templates(), MESSAGE_BYTES)
            {
                stamp(&mut bytes, *sequence);
                out.append(&mut bytes);
                *sequence = sequence.wrapping_add(records);
            }
            let start = out.len();
            packed.write(out);
            stamp(&mut out[start..], *sequence);
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

/// Which templates a reader has been told.
pub(super) struct Templates {
    pen: Option<u32>,
    /// What own elements are.
    has_types: bool,
    /// Which totals there are.
    has_totals: bool,
    is_known: Box<[bool; TEMPLATES]>,
}

impl Templates {
    /// Nothing has been told; own elements are of enterprise `pen`.
    pub(super) fn new(pen: Option<u32>) -> Self {
        Self { pen, has_types: false, has_totals: false, is_known: Box::new([false; TEMPLATES]) }
    }

    /// There is another reader, or none may rely on what the first was told.
    pub(super) fn forget(&mut self) {
        (self.has_types, self.has_totals) = (false, false);
        self.is_known.fill(false);
    }

    /// A message that says which totals there are, if that is not known yet.
    pub(super) fn new_totals(&mut self) -> Option<Told> {
        let is_known = std::mem::replace(&mut self.has_totals, true);
        (!is_known).then(statistics::templates)
    }

    /// Messages of up to `most` bytes with those of `templates` that are not known yet, and before
    /// them what own elements are. From now on they are.
    pub(super) fn new_ones(
        &mut self,
        templates: impl Iterator<Item = Template>,
        most: usize,
    ) -> Vec<Told> {
        let mut messages = Vec::new();
        let pen = self.pen.filter(|_| !std::mem::replace(&mut self.has_types, true));
        messages.extend(pen.into_iter().flat_map(|pen| own::type_information(pen, most)));
        let mut set = Vec::new();
        let mut end = |set: &[u8]| {
            messages.push(Told { bytes: write_message(TEMPLATE_SET, set), records: 0 })
        };
        for template in templates {
            if !std::mem::replace(&mut self.is_known[place_of(template)], true) {
                let before = set.len();
                describe(template, self.pen.unwrap_or(0), &mut set);
                if before > 0 && MESSAGE_HEADER + SET_HEADER + set.len() > most {
                    let last = set.split_off(before);
                    end(&set);
                    set = last;
                }
            }
        }
        if !set.is_empty() {
            end(&set);
        }
        messages
    }
}

/// RFC 7011 section 3.4.1.
fn describe(template: Template, pen: u32, out: &mut Vec<u8>) {
    let elements = elements(template, pen);
    let count = u16::try_from(elements.len()).expect("there are not so many elements");
    out.extend_from_slice(&number_of(template).to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    elements.iter().for_each(|element| element.describe(out));
}

/// A message of one set, but for what [`stamp`] writes.
fn write_message(set_number: u16, set: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(MESSAGE_HEADER + SET_HEADER + set.len());
    write_message_header(SET_HEADER + set.len(), &mut message);
    write_set_header(set_number, set.len(), &mut message);
    message.extend_from_slice(set);
    message
}

/// RFC 7011 section 3.1, but for what [`stamp`] writes.
fn write_message_header(sets: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(MESSAGE_HEADER + sets).expect("a batch fits into a message");
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&DOMAIN.to_be_bytes());
}

/// Writes into a message that it leaves now, and how many data records the stream had before it;
/// both modulo 2^32 (RFC 7011 section 3.1).
pub(super) fn stamp(message: &mut [u8], sequence: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    message[4..8].copy_from_slice(&low_half(now).to_be_bytes());
    message[8..12].copy_from_slice(&sequence.to_be_bytes());
}

/// RFC 7011 section 3.3.2.
fn write_set_header(number: u16, bytes: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(SET_HEADER + bytes).expect("a batch fits into a message");
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn low_half(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests;
