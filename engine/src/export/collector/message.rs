//! A message on its way, and how it stands on disk: without what depends on when and over which
//! connection it is sent, and with what its templates are.
//!
//! A run that reads it may be another than the one that wrote it, with other elements under the same
//! numbers: each message says what it is made of, which is a few hundred bytes for up to 256 records.

use crate::export::ipfix::{Definition, Packed, Template};
use crate::export::spool::{Entry, Place};

/// What it begins with; the version of what follows.
const VERSION: u8 = 1;

/// A message on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// All but what is written into it when it leaves.
    pub(super) bytes: Vec<u8>,
    /// Its data records.
    pub(super) records: u32,
    /// Flow records of ours, for the account.
    pub(super) flows: u32,
    pub(super) definitions: Vec<Definition>,
    pub(super) kept: Kept,
}

/// Where a message is beside memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nowhere.
    Memory,
    /// In the spool.
    Disk(Place),
    /// It was in the spool, and had to make room while it was on its way.
    Gone { is_former: bool },
}

impl Message {
    pub(super) fn new(packed: &Packed<'_>) -> Self {
        let mut bytes = Vec::new();
        packed.write(&mut bytes);
        Self {
            bytes,
            records: packed.records,
            flows: packed.flows,
            definitions: packed.templates().map(Definition::Ours).collect(),
            kept: Kept::Memory,
        }
    }

    /// Appends it as an entry; own elements are of enterprise `pen`.
    pub(super) fn write(&self, pen: Option<u32>, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend(self.records.to_le_bytes());
        let count = u16::try_from(self.definitions.len()).expect("a message has few templates");
        out.extend(count.to_le_bytes());
        for definition in &self.definitions {
            let template = match definition {
                Definition::Ours(template) => *template,
                Definition::Stored(_) => Template::MAX,
            };
            out.extend(template.to_le_bytes());
            let place = out.len();
            out.extend([0; 2]);
            definition.describe(pen, out);
            let len = u16::try_from(out.len() - place - 2).expect("it fits a message");
            out[place..place + 2].copy_from_slice(&len.to_le_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }

    /// What an entry holds. `None` if that is no message.
    pub(super) fn read(entry: &Entry, pen: Option<u32>) -> Option<Self> {
        let mut rest = entry.bytes.as_slice();
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let records = u32::from_le_bytes(take(&mut rest)?);
        let count = u16::from_le_bytes(take(&mut rest)?);
        let mut definitions = Vec::new();
        for _ in 0..count {
            let template = u32::from_le_bytes(take(&mut rest)?);
            let len = u16::from_le_bytes(take(&mut rest)?);
            let (record, others) = rest.split_at_checked(len.into())?;
            definitions.push(Definition::read(template, record, pen)?);
            rest = others;
        }
        // A header, which is written into.
        (rest.len() >= 20).then(|| Self {
            bytes: rest.to_vec(),
            records,
            flows: entry.place.records,
            definitions,
            kept: Kept::Disk(entry.place),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::spool::{Spool, SpoolOptions};

    /// Through a spool and back.
    fn stored(messages: &[Message], pen: Option<u32>) -> Vec<Entry> {
        let folder = tempfile::tempdir().unwrap();
        let options = SpoolOptions { folder: folder.path().join("spool"), bytes: 1 << 20 };
        let mut spool = Spool::open(&options, "sink").unwrap();
        for message in messages {
            let mut entry = Vec::new();
            message.write(pen, &mut entry);
            spool.append(&entry, message.flows).unwrap();
        }
        std::iter::from_fn(|| spool.next()).collect()
    }

    fn message(templates: &[Template]) -> Message {
        let definitions = templates.iter().copied().map(Definition::Ours).collect();
        Message { bytes: vec![7; 50], records: 3, flows: 2, definitions, kept: Kept::Memory }
    }

    #[test]
    fn a_message_comes_back_from_disk() {
        for templates in [&[][..], &[1], &[1, 2, 0xff]] {
            for pen in [None, Some(32_473)] {
                let message = message(templates);
                let entry = &stored(std::slice::from_ref(&message), pen)[0];
                let read = Message::read(entry, pen).unwrap();
                assert_eq!(read, Message { kept: Kept::Disk(entry.place), ..message });
            }
        }
    }

    #[test]
    fn what_is_no_message_is_none() {
        let entry = &stored(&[message(&[1, 2])], None)[0];
        let read = |bytes: &[u8]| {
            Message::read(&Entry { bytes: bytes.to_vec(), place: entry.place }, None).is_some()
        };
        assert!(read(&entry.bytes));
        // What is left must be a message's header at least.
        for len in 0..entry.bytes.len() - 30 {
            assert!(!read(&entry.bytes[..len]), "{len} bytes");
        }
        let mut other = entry.bytes.clone();
        other[0] += 1;
        assert!(!read(&other));
    }
}
