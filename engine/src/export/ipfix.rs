//! IPFIX messages in a file (RFC 5655, RFC 7011), flows in both directions in one record
//! (RFC 5103).
//!
//! Each batch of records is one message: new templates in the message before it, one data set
//! for each template. A template is made for each family of addresses and each set of fields
//! that a record has, as IPFIX has no absent values; its number says which. Counts take four
//! bytes where all of a record fit (RFC 7011 section 6.2), and those of a responder who sent
//! nothing are left out: most of a file is counts. Elements are IANA's
//! (<https://www.iana.org/assignments/ipfix>). What has none there is left out: `part`,
//! `community_id`, `tcp_state`, what TCP's handshake and sequence have shown, fragments, `tunnel`;
//! the interface, whose index we do not have; and `mpls`, whose elements (70 to 79) want the whole
//! entry and not only the label.

mod template;

use std::time::{SystemTime, UNIX_EPOCH};

use self::template::{RECORD_BYTES, Record, TEMPLATES, Template, elements, template_of, write};
use crate::export::{Encoder, Rows};
use crate::limits::BATCH_RECORDS;

/// RFC 7011 section 3.1.
const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// RFC 7011 section 3.3.2: the set of templates, and the first number a template may have.
const TEMPLATE_SET: u16 = 2;
const FIRST_TEMPLATE: u16 = 256;
/// Sets in one message, at most; there are fewer templates that differ in a batch.
const SETS: usize = BATCH_RECORDS;
const _: () = assert!(BATCH_RECORDS * (SET_HEADER + RECORD_BYTES) <= 65_535 - MESSAGE_HEADER);

/// Writes messages. Knows which templates the file has.
pub(crate) struct Ipfix {
    is_known: Box<[bool; TEMPLATES]>,
    /// The records of a batch by template.
    sets: Vec<(Template, Vec<u8>)>,
    record: Record,
}

impl Default for Ipfix {
    fn default() -> Self {
        let record = Record::default();
        Self { is_known: Box::new([false; TEMPLATES]), sets: Vec::new(), record }
    }
}

impl Encoder for Ipfix {
    fn begin(&mut self, _out: &mut Vec<u8>) {
        self.is_known.fill(false);
    }

    fn encode(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        let mut before = rows.before;
        for records in rows.records.chunks(BATCH_RECORDS) {
            self.message(&Rows { records, before, ..*rows }, out);
            before += records.len() as u64;
        }
    }
}

impl Ipfix {
    /// A message with all of the records.
    fn message(&mut self, rows: &Rows<'_>, out: &mut Vec<u8>) {
        self.sets.iter_mut().for_each(|(_, set)| set.clear());
        for row in rows.iter() {
            let template = template_of(&row);
            write(&row, template, &mut self.record);
            let place = self.place_of(template);
            self.sets[place].1.extend_from_slice(self.record.take());
        }
        self.write_new_templates(rows.before, out);
        let bytes = self.sets().map(|(_, set)| SET_HEADER + set.len()).sum::<usize>();
        write_message_header(bytes, rows.before, out);
        for (template, set) in self.sets() {
            write_set_header(FIRST_TEMPLATE + template, set.len(), out);
            out.extend_from_slice(set);
        }
    }

    /// Where records of a template go.
    fn place_of(&mut self, template: Template) -> usize {
        let place = self.sets.iter().position(|&(known, _)| known == template);
        place.unwrap_or_else(|| {
            // Those of files before count too, and few batches have more than a handful.
            if self.sets.len() >= SETS {
                self.sets.retain(|(_, set)| !set.is_empty());
            }
            self.sets.push((template, Vec::new()));
            self.sets.len() - 1
        })
    }

    fn sets(&self) -> impl Iterator<Item = (Template, &Vec<u8>)> {
        let sets = self.sets.iter().filter(|(_, set)| !set.is_empty());
        sets.map(|(template, set)| (*template, set))
    }

    /// A message with the templates that the file does not have yet.
    fn write_new_templates(&mut self, before: u64, out: &mut Vec<u8>) {
        let mut templates = Vec::new();
        let new: Vec<_> = self.sets().map(|(template, _)| template).collect();
        for template in new {
            if !std::mem::replace(&mut self.is_known[usize::from(template)], true) {
                let elements = elements(template);
                let count = u16::try_from(elements.len()).expect("there are not so many elements");
                templates.extend_from_slice(&(FIRST_TEMPLATE + template).to_be_bytes());
                templates.extend_from_slice(&count.to_be_bytes());
                elements.iter().for_each(|element| element.describe(&mut templates));
            }
        }
        if !templates.is_empty() {
            write_message_header(SET_HEADER + templates.len(), before, out);
            write_set_header(TEMPLATE_SET, templates.len(), out);
            out.extend_from_slice(&templates);
        }
    }
}

/// RFC 7011 section 3.1; the sequence number counts records before the message.
fn write_message_header(sets: usize, before: u64, out: &mut Vec<u8>) {
    let len = u16::try_from(MESSAGE_HEADER + sets).expect("a batch fits into a message");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    // Both modulo 2^32.
    out.extend_from_slice(&low_half(now).to_be_bytes());
    out.extend_from_slice(&low_half(before).to_be_bytes());
    // One observation domain.
    out.extend_from_slice(&1_u32.to_be_bytes());
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
