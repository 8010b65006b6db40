//! Messages of the domain name system (RFC 1035), and of its multicast kin: DNS, mDNS, LLMNR.
//!
//! hickory-proto reads headers, names (with their compression, whose pointers may lead backward
//! only) and service bindings. Records are taken one by one, so that of a message that is cut, or
//! has one bad record or name, all others count.

mod facts;
mod mnemonics;
mod records;

pub(crate) use mnemonics::{class_name, rcode_name, type_name};

use std::ops::Range;

use hickory_proto::op::{Header, MessageType};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use self::facts::Facts;
use super::text::domain_name;
use super::{be16, be32};
use crate::limits::{DNS_OTHER_NAMES, DNS_RECORDS};
use crate::names::{DnsDetail, DnsMessage, DnsRecord, DnsSection, NameService};

/// Numbers of record types (IANA, Domain Name System parameters).
pub(super) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const DNAME: u16 = 39;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const SVCB: u16 = 64;
    pub(crate) const HTTPS: u16 = 65;

    /// Those that lead to addresses.
    pub(crate) const ADDRESSES: [u16; 10] = [A, NS, CNAME, PTR, MX, AAAA, SRV, DNAME, SVCB, HTTPS];
}

/// Length of what stands before questions and records (RFC 1035 section 4.1.1).
const HEADER_BYTES: usize = 12;

/// The message in `bytes`, of `service`, in detail if that is wanted; `None` if they are no
/// message.
pub(crate) fn parse(service: NameService, bytes: &[u8], in_detail: bool) -> Option<DnsMessage> {
    let mut message = Message::open(bytes)?;
    // Others than queries (RFC 6895 section 2.2) say nothing of addresses that clients use.
    if opcode(bytes[2]) != 0 {
        return None;
    }
    let question = message.question()?;
    let question_class = question.as_ref().map(|question| question.class);
    let asked = question.map(|Question { name, kind, .. }| {
        let text = domain_name(name.iter());
        Asked { name, text, kind }
    });
    let is_response = message.header.metadata.message_type == MessageType::Response;
    let mut facts = Facts::default();
    message.records().for_each(|record| facts.add(bytes, &record));
    let extended_rcode = facts.extended_rcode;
    let (answers, unasked) = match is_response {
        true => facts.answers(asked.as_ref(), service),
        false => (Vec::new(), 0),
    };
    let question = asked.map(|Asked { text, kind, .. }| (text, kind));
    Some(DnsMessage {
        service,
        id: message.header.metadata.id,
        is_response,
        rcode: extended_rcode << 4 | u16::from(bytes[3] & 0x0f),
        is_truncated: message.header.metadata.truncation,
        answers,
        unasked,
        other_names: match service {
            NameService::Dns => Vec::new(),
            _ => message.other_names(is_response),
        },
        question,
        detail: in_detail.then(|| message.detail(question_class, Message::record)),
    })
}

/// Whether the message in `bytes` has more than the [`DNS_RECORDS`] that are looked at.
pub(crate) fn is_too_long(bytes: &[u8]) -> bool {
    let count = |at| be16(bytes, at).map_or(0, usize::from);
    // Nearly all have few.
    if count(6) + count(8) + count(10) <= DNS_RECORDS {
        return false;
    }
    let Some(mut message) = Message::open(bytes) else { return false };
    message.question().is_some() && message.records().count() == DNS_RECORDS
}

/// Whether `bytes`, which may be cut, can be a message that [`parse`] reads: of nearly all that is
/// something else on the port of a name service its header says no.
#[inline]
pub(crate) fn may_be_message(bytes: &[u8]) -> bool {
    let Some(&[_, _, flags, _, questions @ .., _, _, _, _, _, _]) =
        bytes.first_chunk::<HEADER_BYTES>()
    else {
        return true;
    };
    let begins_name = |first: &u8| !matches!(first, 64..0xc0);
    let has_question = questions != [0, 0];
    opcode(flags) == 0 && (!has_question || bytes.get(HEADER_BYTES).is_none_or(begins_name))
}

/// What kind of request a message is of (RFC 1035 section 4.1.1), by the first byte of its flags.
#[inline]
fn opcode(flags: u8) -> u8 {
    flags >> 3 & 0x0f
}

/// The first question of a message.
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: u16,
    pub(super) class: u16,
}

/// What the first question asks for.
struct Asked {
    name: Name,
    /// The same, lower case, without the last dot.
    text: Box<str>,
    kind: u16,
}

/// A message of which the header was read.
pub(super) struct Message<'a> {
    pub(super) header: Header,
    bytes: &'a [u8],
    /// How far it was read.
    at: usize,
    /// Where the names of questions behind the first stand.
    other_questions: Vec<usize>,
}

/// One record, where it stands. Its owner's name is read only if it is wanted.
pub(super) struct Record {
    pub(super) kind: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// Where the record begins, with its owner's name.
    start: usize,
    /// Its data.
    pub(super) data: Range<usize>,
    pub(super) section: DnsSection,
}

impl<'a> Message<'a> {
    /// Reads the header; `None` if there is not all of it.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        // The length field of DNS over TCP bounds messages, and so does UDP's.
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        let header = Header::read(&mut BinDecoder::new(bytes)).ok()?;
        Some(Self { header, bytes, at: HEADER_BYTES, other_questions: Vec::new() })
    }

    /// Reads all questions, and gives the first. The outer `None` is for what is no message:
    /// it has questions, or so it says, and the first cannot be read.
    pub(super) fn question(&mut self) -> Option<Option<Question>> {
        let mut first = None;
        for _ in 0..usize::from(self.header.counts.queries).min(DNS_RECORDS) {
            let question = self.next_question();
            if first.is_none() {
                let (at, kind, class) = question?;
                first = Some(Question { name: name_at(self.bytes, at)?, kind, class });
            } else if let Some((at, ..)) = question {
                if self.other_questions.len() < DNS_OTHER_NAMES {
                    self.other_questions.push(at);
                }
            } else {
                break;
            }
        }
        Some(first)
    }

    /// Names of questions behind the first, or of an answer those that it answers.
    fn other_names(&self, is_response: bool) -> Vec<Box<str>> {
        let owners = self.records().filter(|record| record.section == DnsSection::Answer);
        let answered = owners.map(|record| record.start).filter(|_| is_response);
        let asked = self.other_questions.iter().copied().filter(|_| !is_response);
        let names = answered.take(DNS_OTHER_NAMES).chain(asked);
        names
            .filter_map(|at| name_at(self.bytes, at))
            .map(|name| domain_name(name.iter()))
            .collect()
    }

    /// Where the next question's name stands, its type, and its class.
    fn next_question(&mut self) -> Option<(usize, u16, u16)> {
        let at = self.at;
        let end = name_end(self.bytes, at)?;
        let kind = be16(self.bytes, end)?;
        let class = be16(self.bytes, end + 2)?;
        self.at = end + 4;
        Some((at, kind, class))
    }

    /// The name of a record's owner.
    pub(super) fn owner(&self, record: &Record) -> Option<Name> {
        name_at(self.bytes, record.start)
    }

    /// The name that stands behind the questions.
    pub(super) fn next_name(&self) -> Option<Name> {
        name_at(self.bytes, self.at)
    }

    /// The records behind the questions, until one is cut.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + use<'a> {
        let (bytes, mut at) = (self.bytes, self.at);
        let counts = &self.header.counts;
        let answers = usize::from(counts.answers);
        let before_additionals = answers + usize::from(counts.authorities);
        let all = before_additionals + usize::from(counts.additionals);
        (0..all.min(DNS_RECORDS)).map_while(move |idx| {
            let record = record_at(bytes, at)?;
            at = record.data.end;
            let section = match idx {
                _ if idx < answers => DnsSection::Answer,
                _ if idx < before_additionals => DnsSection::Authority,
                _ => DnsSection::Additional,
            };
            Some(Record { section, ..record })
        })
    }

    /// What a log wants of the message; `read` makes a record of one that stands there.
    pub(super) fn detail(
        &self,
        question_class: Option<u16>,
        read: impl Fn(&Self, &Record) -> Option<DnsRecord>,
    ) -> Box<DnsDetail> {
        let records = self.records().filter(|record| record.kind != kind::OPT);
        Box::new(DnsDetail {
            flags: be16(self.bytes, 2).unwrap_or_default(),
            question_class,
            records: records.filter_map(|record| read(self, &record)).collect(),
        })
    }

    /// A record with its data as text.
    fn record(&self, record: &Record) -> Option<DnsRecord> {
        Some(DnsRecord {
            section: record.section,
            name: domain_name(self.owner(record)?.iter()),
            kind: record.kind,
            ttl_seconds: record.ttl,
            data: records::data(self.bytes, record),
        })
    }
}

/// The record that begins at `start`; `None` if it is cut.
fn record_at(message: &[u8], start: usize) -> Option<Record> {
    let at = name_end(message, start)?;
    let (kind, class) = (be16(message, at)?, be16(message, at + 2)?);
    let (ttl, length) = (be32(message, at + 4)?, be16(message, at + 8)?);
    let data = at + 10..at + 10 + usize::from(length);
    message.get(data.clone())?;
    Some(Record { kind, class, ttl, start, data, section: DnsSection::Answer })
}

/// Where the name ends that begins at `at`, whatever it is: behind its last label, or behind a
/// pointer.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// The name that stands at `at`.
fn name_at(message: &[u8], at: usize) -> Option<Name> {
    let at = u16::try_from(at).ok().filter(|&at| usize::from(at) < message.len())?;
    Name::read(&mut BinDecoder::new(message).clone(at)).ok()
}

/// How long the message is that begins a stream of DNS over TCP, with the length before it (RFC
/// 1035 section 4.2.2); `None` until the length is there.
pub(crate) fn framed_bytes(stream: &[u8]) -> Option<usize> {
    be16(stream, 0).map(|length| 2 + usize::from(length))
}

/// Whether these are whole messages of DNS over TCP with their lengths, each with a question, and
/// nothing else.
pub(crate) fn is_row(mut bytes: &[u8]) -> bool {
    let is_any = !bytes.is_empty();
    while !bytes.is_empty() {
        let Some(length) = framed_bytes(bytes) else { return false };
        let Some((message, rest)) = bytes.split_at_checked(length) else { return false };
        let message = parse(NameService::Dns, &message[2..], false);
        if message.is_none_or(|message| message.question.is_none()) {
            return false;
        }
        bytes = rest;
    }
    is_any
}

#[cfg(test)]
mod tests;
