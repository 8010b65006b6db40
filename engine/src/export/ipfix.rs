//! IPFIX messages (RFC 7011), flows in both directions in one record (RFC 5103): in a file
//! (RFC 5655), and for [collectors](super::collector).
//!
//! Each batch of records is one message: new templates in the message before it, one data set
//! for each template. A template is made for each family of addresses and each set of fields
//! that a record has, as IPFIX has no absent values; its number says which. Counts take four
//! bytes where all of a record fit (RFC 7011 section 6.2), and those of a responder who sent
//! nothing are left out: most of a file is counts. Elements are IANA's
//! (<https://www.iana.org/assignments/ipfix>). What has none there is left out: `part`,
//! `community_id`, `tcp_state`, what TCP's handshake and sequence have shown, fragments, `tunnel`,
//! names; the interface, whose index we do not have; and `mpls`, whose elements (70 to 79) want the
//! whole entry and not only the label.

mod pack;
mod template;

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use self::pack::{Packed, Packer};
pub(super) use self::template::Template;

use self::template::{RECORD_BYTES, TEMPLATES, elements};
use crate::export::{Encoder, Rows};
use crate::limits::BATCH_RECORDS;

/// RFC 7011 section 3.1.
const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// Bytes of a message, at most: its length takes 16 bits.
pub(super) const MESSAGE_BYTES: usize = 65_535;
/// RFC 7011 section 3.3.2: the set of templates, and the first number a template may have.
const TEMPLATE_SET: u16 = 2;
const FIRST_TEMPLATE: u16 = 256;
const _: () =
    assert!(BATCH_RECORDS * (SET_HEADER + RECORD_BYTES) <= MESSAGE_BYTES - MESSAGE_HEADER);

/// Writes the messages of a file.
pub(crate) struct Ipfix {
    packer: Packer,
    templates: Templates,
    /// Data records of the file.
    sequence: u32,
}

impl Default for Ipfix {
    fn default() -> Self {
        let packer = Packer::for_file();
        Self { packer, templates: Templates::default(), sequence: 0 }
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
            for mut message in templates.new_ones(packed.templates(), MESSAGE_BYTES) {
                stamp(&mut message, *sequence);
                out.append(&mut message);
            }
            let start = out.len();
            packed.write(out);
            stamp(&mut out[start..], *sequence);
            *sequence = sequence.wrapping_add(packed.records);
        });
    }
}

/// Which templates a reader has been told.
pub(super) struct Templates {
    is_known: Box<[bool; TEMPLATES]>,
}

impl Default for Templates {
    fn default() -> Self {
        Self { is_known: Box::new([false; TEMPLATES]) }
    }
}

impl Templates {
    /// There is another reader, or none may rely on what the first was told.
    pub(super) fn forget(&mut self) {
        self.is_known.fill(false);
    }

    /// Messages of up to `most` bytes with those of `templates` that are not known yet. From now
    /// on they are.
    pub(super) fn new_ones(
        &mut self,
        templates: impl Iterator<Item = Template>,
        most: usize,
    ) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut set = Vec::new();
        let mut end = |set: &mut Vec<u8>| {
            let mut message = Vec::with_capacity(MESSAGE_HEADER + SET_HEADER + set.len());
            write_message_header(SET_HEADER + set.len(), &mut message);
            write_set_header(TEMPLATE_SET, set.len(), &mut message);
            message.append(set);
            messages.push(message);
        };
        for template in templates {
            if !std::mem::replace(&mut self.is_known[usize::from(template)], true) {
                let before = set.len();
                describe(template, &mut set);
                if before > 0 && MESSAGE_HEADER + SET_HEADER + set.len() > most {
                    let last = set.split_off(before);
                    end(&mut set);
                    set = last;
                }
            }
        }
        if !set.is_empty() {
            end(&mut set);
        }
        messages
    }
}

/// RFC 7011 section 3.4.1.
fn describe(template: Template, out: &mut Vec<u8>) {
    let elements = elements(template);
    let count = u16::try_from(elements.len()).expect("there are not so many elements");
    out.extend_from_slice(&(FIRST_TEMPLATE + template).to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    elements.iter().for_each(|element| element.describe(out));
}

/// RFC 7011 section 3.1, but for what [`stamp`] writes.
fn write_message_header(sets: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(MESSAGE_HEADER + sets).expect("a batch fits into a message");
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    // One observation domain.
    out.extend_from_slice(&1_u32.to_be_bytes());
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
