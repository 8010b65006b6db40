//! Records as messages: JSON lines, each message with an identifier by which a broker knows one
//! that it has already.

use std::fs;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::address;
use crate::export::schema::Row;
use crate::export::{Encoder, Rows};
use crate::flow::RecordKind;
use crate::limits::STREAM_MESSAGE_BYTES;
use crate::sync::Arc;

/// What a message takes beside its text: its place in a queue, and what counts its text's users.
const OVERHEAD_BYTES: usize = 192;

/// What a broker keeps.
#[derive(Debug, Clone)]
pub(in crate::export) struct Message {
    pub(in crate::export) subject: Arc<str>,
    /// Of one record `FLOW_ID-PART`, of an aggregate `overflow-HASH`, of a transaction `dns-HASH`;
    /// of several records `COUNT-HASH`. Hashes are of the text.
    pub(in crate::export) id: String,
    /// Lines of JSON, with a line feed between them.
    pub(in crate::export) text: Bytes,
    pub(in crate::export) records: u64,
}

impl Message {
    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.id.len() + OVERHEAD_BYTES
    }
}

/// Makes messages of records.
pub(super) struct Packer {
    /// Of JSON lines.
    encoder: Box<dyn Encoder>,
    subjects: Subjects,
    /// Records in a message.
    most_records: usize,
    /// All lines of a batch.
    lines: Vec<u8>,
}

/// What a message is made of, until it is whole.
struct Open {
    /// Where its first line begins.
    start: usize,
    records: usize,
    /// Of its first record.
    id: String,
    subject: Arc<str>,
}

impl Packer {
    pub(super) fn new(encoder: Box<dyn Encoder>, pattern: &str, most_records: usize) -> Self {
        let (subjects, lines) = (Subjects::new(pattern, this_host()), Vec::new());
        Self { encoder, subjects, most_records, lines }
    }

    /// Gives all records to `take`, as many in a message as there may be and have one subject.
    pub(super) fn pack(&mut self, rows: &Rows<'_>, mut take: impl FnMut(Message)) {
        let Self { encoder, subjects, most_records, lines } = self;
        lines.clear();
        encoder.encode(rows, lines);
        let (mut records, mut end, mut open) = (rows.iter(), 0, None::<Open>);
        // There is no line feed within a line of JSON.
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let start = end;
            end += line.len();
            // Transactions are no records.
            let record = records.next();
            let opening = record.as_ref().and_then(|row| row.record.opening());
            let subject = subjects.of(opening.map(|it| it.interface), rows.interfaces);
            match &mut open {
                Some(open)
                    if open.records < *most_records
                        && end - open.start <= STREAM_MESSAGE_BYTES
                        && Arc::ptr_eq(&open.subject, &subject) =>
                {
                    open.records += 1;
                }
                _ => {
                    if let Some(open) = open.take() {
                        take(open.close(lines, start));
                    }
                    let id = id(record.as_ref(), &lines[start..end - 1]);
                    open = Some(Open { start, records: 1, id, subject });
                }
            }
        }
        if let Some(open) = open {
            take(open.close(lines, end));
        }
    }
}

impl Open {
    /// The message, whose last line ends here.
    fn close(self, lines: &[u8], end: usize) -> Message {
        let Self { start, records, id, subject } = self;
        let text = &lines[start..end - 1];
        let id = if records == 1 { id } else { format!("{records}-{:032x}", xxh3_128(text)) };
        Message { subject, id, text: Bytes::copy_from_slice(text), records: records as u64 }
    }
}

fn id(record: Option<&Row<'_>>, line: &[u8]) -> String {
    match record {
        Some(row) if row.record.kind == RecordKind::Flow => {
            format!("{:016x}-{}", row.flow_id(), row.record.total.part)
        }
        // An aggregate has no number; its text has its times.
        Some(_) => format!("overflow-{:016x}", xxh3_64(line)),
        None => format!("dns-{:016x}", xxh3_64(line)),
    }
}

/// The subjects of records, by their interfaces, each made once.
struct Subjects {
    pattern: String,
    host: String,
    /// Of records without an interface, and of all where none has a place in the subject.
    of_none: Arc<str>,
    /// Of each interface of the run.
    of_each: Vec<Arc<str>>,
}

impl Subjects {
    fn new(pattern: &str, host: String) -> Self {
        let of_none = address::subject(pattern, &host, None).into();
        Self { pattern: pattern.to_owned(), host, of_none, of_each: Vec::new() }
    }

    /// Of the interface that has this place among those of the run.
    fn of(&mut self, interface: Option<u16>, interfaces: &[String]) -> Arc<str> {
        let Self { pattern, host, of_none, of_each } = self;
        if of_each.len() != interfaces.len() && pattern.contains("{interface}") {
            let made = |name: &String| address::subject(pattern, host, Some(name)).into();
            *of_each = interfaces.iter().map(made).collect();
        }
        let its = interface.and_then(|place| of_each.get(usize::from(place)));
        Arc::clone(its.unwrap_or(of_none))
    }
}

/// What this machine is called.
fn this_host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{ROWS, tcp_record};
    use crate::export::{Format, SinkOptions};
    use crate::flow::{FeaturesSet, FlowRecord};

    fn pack(pattern: &str, most_records: usize, records: &[FlowRecord]) -> Vec<Message> {
        let encoder = Format::JsonLines.encoder(FeaturesSet::Basic, &SinkOptions::default());
        let mut packer = Packer::new(encoder, pattern, most_records);
        let interfaces = ["eth0".to_owned(), "eth1.7".to_owned()];
        let mut messages = Vec::new();
        let rows = Rows { records, interfaces: &interfaces, ..ROWS };
        packer.pack(&rows, |message| messages.push(message));
        messages
    }

    /// Records of one flow, each of another part and interface.
    fn parts(of: &[u16]) -> Vec<FlowRecord> {
        let part = |(part, &interface): (u32, &u16)| {
            let mut record = tcp_record();
            record.total.part = part;
            record.total.opening.as_mut().unwrap().interface = interface;
            record
        };
        (0..).zip(of).map(part).collect()
    }

    #[test]
    fn a_record_is_known_by_its_flow_and_part() {
        let mut records = parts(&[0, 0]);
        records.push(FlowRecord { kind: RecordKind::Overflow, ..tcp_record() });
        let messages = pack("flows", 1, &records);
        let mut ids = messages.iter().map(|message| message.id.as_str());
        let flow = format!("{:016x}", records[0].flow_id());
        assert_eq!(ids.next(), Some(format!("{flow}-0").as_str()));
        assert_eq!(ids.next(), Some(format!("{flow}-1").as_str()));
        assert!(ids.next().is_some_and(|id| id.starts_with("overflow-") && id.len() == 25));
        for message in &messages {
            assert_eq!((&*message.subject, message.records), ("flows", 1));
            let value: serde_json::Value = serde_json::from_slice(&message.text).unwrap();
            assert!(value.is_object() && !message.text.ends_with(b"\n"));
        }
    }

    #[test]
    fn several_records_are_lines_of_one_message_and_known_by_their_text() {
        let lines = |messages: &[Message]| messages.iter().map(|it| it.records).collect::<Vec<_>>();
        let records = parts(&[0; 10]);
        let messages = pack("flows", 4, &records);
        assert_eq!(lines(&messages), [4, 4, 2]);
        let alone = pack("flows", 1, &records);
        let text: Vec<_> = alone.iter().map(|it| it.text.clone()).collect();
        let together: Vec<_> =
            messages.iter().flat_map(|it| it.text.split(|&b| b == b'\n')).collect();
        assert_eq!(together, text);
        assert!(messages[0].id.starts_with("4-") && messages[0].id.len() == 34);
        assert_ne!(messages[0].id, messages[1].id);
        assert_eq!(messages[0].id, pack("flows", 4, &records[..4])[0].id);
        // One alone has its own name, however many there may be.
        assert_eq!(pack("flows", 4, &records[..1])[0].id, alone[0].id);
    }

    #[test]
    fn a_message_has_one_subject_and_a_bounded_length() {
        let messages = pack("f.{interface}", 10, &parts(&[0, 0, 1, 0, 7]));
        let said: Vec<_> = messages.iter().map(|it| (&*it.subject, it.records)).collect();
        assert_eq!(said, [("f.eth0", 2), ("f.eth1_7", 1), ("f.eth0", 1), ("f._", 1)]);
        let messages = pack("f", 1_000, &parts(&[0; 1_000]));
        assert!(
            messages.len() > 5 && messages.iter().all(|it| it.text.len() <= STREAM_MESSAGE_BYTES)
        );
        assert_eq!(messages.iter().map(|it| it.records).sum::<u64>(), 1_000);
    }
}
