//! One transaction: what is logged.

use std::borrow::Cow;
use std::net::IpAddr;

use super::end_of;
use crate::flow::{FlowKey, protocol};
use crate::names::parse::dns::{class_name, rcode_name, type_name};
use crate::names::{DnsDetail, DnsMessage, DnsRecord, NameService, Payload};
use crate::time::Timestamp;

/// An address and a port.
pub type End = (IpAddr, u16);

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQuestion {
    /// The name, lower case, without the last dot.
    pub name: Box<str>,
    /// The type.
    pub kind: u16,
    /// The class.
    pub class: Option<u16>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsReply {
    /// Response code, the extended bits of EDNS included.
    pub rcode: u16,
    /// Flags and codes of the header.
    pub flags: u16,
    /// The records of all sections.
    pub records: Vec<DnsRecord>,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    /// With an answer, so many ns after the question if both have a time.
    Answered(Option<u64>),
    /// Without.
    Unanswered,
    /// It is an answer to no question that was seen and is still waited for.
    Unsolicited,
}

/// A question and its answer, or one of them alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsTransaction {
    /// The protocol of the messages.
    pub service: NameService,
    /// The flow of the question, or of an answer alone.
    pub flow: FlowKey,
    /// Who asked; of an answer alone, who got it.
    pub client: End,
    /// Who answered; of a question alone, who was asked.
    pub server: End,
    /// When the question was seen first, or an answer alone.
    pub start: Option<Timestamp>,
    /// Transaction identifier.
    pub id: u16,
    /// The first question, of an answer alone as it repeats it.
    pub question: Option<DnsQuestion>,
    /// Flags and codes of the question's header.
    pub question_flags: Option<u16>,
    /// How often the question was sent again before an answer came.
    pub repeats: u32,
    /// The answer.
    pub reply: Option<DnsReply>,
    /// How it ended.
    pub end: TransactionEnd,
}

/// Flags of a header (RFC 1035 section 4.1.1).
mod flag {
    pub(super) const AUTHORITATIVE: u16 = 0x0400;
    pub(super) const TRUNCATED: u16 = 0x0200;
    pub(super) const RECURSION_DESIRED: u16 = 0x0100;
    pub(super) const RECURSION_AVAILABLE: u16 = 0x0080;
}

impl DnsTransaction {
    /// What came first; an answer alone as a transaction of its own.
    pub(super) fn new(payload: &Payload<'_>, message: &DnsMessage, end: TransactionEnd) -> Self {
        let ends = [payload.direction, payload.direction.opposite()];
        let ends = ends.map(|from| end_of(payload, from));
        let [client, server] = if message.is_response { [ends[1], ends[0]] } else { ends };
        let detail = message.detail.as_deref();
        let question = message.question.as_ref().map(|(name, kind)| DnsQuestion {
            name: name.clone(),
            kind: *kind,
            class: detail.and_then(|detail| detail.question_class),
        });
        let flags = detail.map(|detail| detail.flags);
        Self {
            service: message.service,
            flow: payload.key,
            client,
            server,
            start: payload.timestamp,
            id: message.id,
            question,
            question_flags: flags.filter(|_| !message.is_response),
            repeats: 0,
            reply: reply(message),
            end,
        }
    }

    /// The same with its answer, or with more of it.
    pub(super) fn answered(mut self, payload: &Payload<'_>, message: &DnsMessage) -> Self {
        let since = payload.timestamp.zip(self.start);
        // An answer that was captured before its question took no known time.
        let latency = since.and_then(|(answer, question)| answer.checked_sub(question));
        if self.end != TransactionEnd::Unsolicited {
            self.end = TransactionEnd::Answered(latency.and_then(|ns| u64::try_from(ns).ok()));
        }
        self.server = end_of(payload, payload.direction);
        self.reply = reply(message);
        self
    }

    /// `udp` or `tcp`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.flow.protocol() == protocol::TCP { "tcp" } else { "udp" }
    }

    /// The question's type: `AAAA`, `TYPE65280`.
    #[must_use]
    pub fn question_type(&self) -> Option<Cow<'static, str>> {
        Some(type_name(self.service, self.question.as_ref()?.kind))
    }

    /// The question's class: `IN`.
    #[must_use]
    pub fn question_class(&self) -> Option<Cow<'static, str>> {
        self.question.as_ref()?.class.map(class_name)
    }

    /// The type of one of its records.
    #[must_use]
    pub fn record_type(&self, record: &DnsRecord) -> Cow<'static, str> {
        type_name(self.service, record.kind)
    }

    /// The answer's code: `NXDOMAIN`.
    #[must_use]
    pub fn response_code(&self) -> Option<Cow<'static, str>> {
        Some(rcode_name(self.reply.as_ref()?.rcode))
    }

    /// Whether the answer is authoritative, is truncated, and recursion is available, as it says;
    /// and whether recursion was desired. With their names, in the order of the header.
    #[must_use]
    pub fn flags(&self) -> [(&'static str, Option<bool>); 4] {
        let answer = self.reply.as_ref().map(|reply| reply.flags);
        let either = self.question_flags.or(answer);
        let has = |flags: Option<u16>, bit| flags.map(|flags| flags & bit != 0);
        [
            ("aa", has(answer, flag::AUTHORITATIVE)),
            ("tc", has(answer.or(either), flag::TRUNCATED)),
            ("rd", has(either, flag::RECURSION_DESIRED)),
            ("ra", has(answer, flag::RECURSION_AVAILABLE)),
        ]
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let records = self.reply.as_ref().map(|reply| reply.records.as_slice());
        let of_record =
            |record: &DnsRecord| size_of::<DnsRecord>() + record.name.len() + record.data.len();
        size_of::<Self>()
            + self.question.as_ref().map_or(0, |question| question.name.len())
            + records.unwrap_or_default().iter().map(of_record).sum::<usize>()
    }
}

fn reply(message: &DnsMessage) -> Option<DnsReply> {
    let detail = message.detail.as_deref().filter(|_| message.is_response);
    detail.map(|DnsDetail { flags, records, .. }| DnsReply {
        rcode: message.rcode,
        flags: *flags,
        records: records.clone(),
    })
}
