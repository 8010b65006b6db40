//! A message on its way, and how it stands on disk: without what depends on when and over which
//! connection it is sent, and with what its templates are.
//!
//! A run that reads it may be another than the one that wrote it, with other elements under the same
//! numbers: each message says what it is made of, which is a few hundred bytes for up to 256 records.

use crate::export::ipfix::{self, Definition, Dialect, Packed, Template};
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

    /// The same in messages of up to `most` bytes; and how many flow records are in none, as a data
    /// record alone is longer. Which data records a flow has is not known where it may have two, so one
    /// that lacks one counts.
    pub(super) fn split(self, dialect: Dialect, pen: Option<u32>, most: usize) -> (Vec<Self>, u32) {
        let Self { bytes, records, flows, definitions, kept } = self;
        let pieces = ipfix::split(dialect, &bytes, &definitions, pen, most);
        let there: u32 = pieces.iter().map(|piece| piece.records).sum();
        let lost = records.saturating_sub(there).min(flows);
        let (last, mut left) = (pieces.len().saturating_sub(1), flows - lost);
        let piece = |(place, ipfix::Piece { bytes, records })| {
            let flows = if place == last { left } else { left.min(records) };
            left -= flows;
            Self { bytes, records, flows, definitions: definitions.clone(), kept }
        };
        let pieces: Vec<_> = pieces.into_iter().enumerate().map(piece).collect();
        // Nothing of it is left: then all is lost.
        let lost = if pieces.is_empty() { flows } else { lost };
        (pieces, lost)
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
    use crate::export::Rows;
    use crate::export::ipfix::Packer;
    use crate::export::spool::{Spool, SpoolOptions};
    use crate::export::tests::{ROWS, tcp_record};

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
        let (bytes, kept) = (vec![7; 50], Kept::Memory);
        Message { bytes, records: 3, flows: 2, definitions, kept }
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

    /// One of so many records, some of them of flows in both directions.
    fn packed(dialect: Dialect, records: usize) -> Message {
        let records = vec![tcp_record(); records];
        let mut all = Vec::new();
        Packer::for_collector(dialect, 40_000, false, false).pack(
            &Rows { records: &records, ..ROWS },
            &mut |packed: Packed<'_>| {
                all.push(Message::new(&packed));
            },
        );
        all.pop().unwrap()
    }

    #[test]
    fn pieces_have_the_flows_of_the_whole() {
        for (dialect, records) in [(Dialect::Ipfix, 60), (Dialect::NetFlow9, 120)] {
            let place = stored(&[message(&[1])], None)[0].place;
            for kept in [Kept::Memory, Kept::Disk(place)] {
                let whole = Message { kept, ..packed(dialect, 60) };
                assert_eq!((whole.flows, whole.records), (60, records));
                let (pieces, lost) = whole.split(dialect, None, 700);
                assert!(lost == 0 && pieces.len() > 3);
                assert_eq!(pieces.iter().map(|it| it.flows).sum::<u32>(), 60);
                assert_eq!(pieces.iter().map(|it| it.records).sum::<u32>(), records);
                assert!(pieces.iter().all(|it| it.bytes.len() <= 700 && it.kept == kept));
                assert!(pieces.iter().all(|it| it.flows <= it.records));
            }
            let (pieces, lost) = packed(dialect, 60).split(dialect, None, 50);
            assert_eq!((pieces, lost), (vec![], 60));
        }
    }
}
