//! Transactions of name services for a log: each question with its answer.
//!
//! Owned by the `names` thread, which gives it messages in their order and passes on what it
//! makes of them. Packet time decides what belongs together and what stays unanswered, so that a
//! file gives the same transactions with any number of workers. Questions that wait are bounded
//! ([`QUESTIONS`]), and so is their time ([`QUESTION_LIFE_NS`]).
//!
//! A question to one server is over with its first answer. Of one to all hosts each answer is a
//! transaction, as several may come.

mod transaction;
mod waiting;

pub use transaction::{DnsQuestion, DnsReply, DnsTransaction, End, TransactionEnd};

use std::collections::HashMap;

use self::waiting::{Number, Waiting};
use crate::flow::{Direction, FlowKey, protocol};
use crate::limits::{
    BEGUN_TRANSACTION_BYTES, QUESTION_LIFE_NS, QUESTIONS, TRANSACTION_BATCH_BYTES,
};
use crate::names::datagrams::Extent;
use crate::names::interest::port;
use crate::names::{DnsMessage, NameService, NamesCounters, Payload};
use crate::sync::Arc;
use crate::sync::hash::Seed;
use crate::time::Tick;

/// Records of a multicast answer that are looked at for what was asked.
const RECORDS_LOOKED_AT: usize = 8;

/// Types that a question for any other may be answered with: ANY, and in multicast DNS the denial
/// NSEC (RFC 6762 section 6.1).
const ANY: u16 = 255;
const NSEC: u16 = 47;

/// Takes transactions that are over.
pub type TransactionSink = Box<dyn FnMut(Vec<DnsTransaction>) + Send>;

/// What a question and its answers have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asked {
    /// Of a server: the flow and the identifier in it.
    Server(FlowKey, u16),
    /// Of others on the network, who answer by another flow: the asking host's end and the
    /// identifier.
    By(NameService, End, u16),
    /// Of all of them, who answer to all: the name.
    All(Box<str>),
}

/// Makes transactions of messages.
pub(super) struct Transactions {
    waiting: Waiting,
    /// With the beginning of an answer, by the datagram of which the rest may come.
    begun: HashMap<u64, Vec<DnsTransaction>, Seed>,
    begun_bytes: usize,
    over: Vec<DnsTransaction>,
    /// Of what is over.
    bytes: usize,
    sink: TransactionSink,
    counters: Arc<NamesCounters>,
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Transactions {
    pub(super) fn new(sink: TransactionSink, counters: &Arc<NamesCounters>) -> Self {
        let (waiting, begun, begun_bytes, over, bytes) = Default::default();
        Self { waiting, begun, begun_bytes, over, bytes, sink, counters: Arc::clone(counters) }
    }

    /// Takes a message, or so much of it.
    pub(super) fn take(&mut self, payload: &Payload<'_>, message: &DnsMessage, extent: Extent) {
        match extent {
            // As a whole it is a question, and nothing before.
            Extent::Beginning(_) if !message.is_response => {}
            Extent::Beginning(datagram) => {
                let begun = self.answered(payload, message);
                self.begun_bytes += bytes_of(&begun);
                self.begun.insert(datagram, begun);
                if self.begun_bytes > BEGUN_TRANSACTION_BYTES {
                    // It is over as it is, and the whole of it adds nothing.
                    self.lose(datagram);
                    self.begun.insert(datagram, Vec::new());
                }
            }
            _ if !message.is_response => self.asked(payload, message),
            _ => {
                let begun = match extent {
                    Extent::Joined(datagram) => self.begun.remove(&datagram),
                    _ => None,
                };
                self.begun_bytes -= begun.as_deref().map_or(0, bytes_of);
                let again = |begun: DnsTransaction| begun.answered(payload, message);
                let over = match begun {
                    Some(begun) => begun.into_iter().map(again).collect(),
                    None => self.answered(payload, message),
                };
                over.into_iter().for_each(|transaction| self.end(transaction));
            }
        }
    }

    /// The rest of this datagram does not come.
    pub(super) fn lose(&mut self, datagram: u64) {
        let begun = self.begun.remove(&datagram).unwrap_or_default();
        self.begun_bytes -= bytes_of(&begun);
        begun.into_iter().for_each(|transaction| self.end(transaction));
    }

    /// Questions that have waited for too long at `tick` are over: asked for each payload.
    pub(super) fn age(&mut self, tick: Tick) {
        while let Some(oldest) =
            self.waiting.oldest_if(|asked| tick.saturating_sub(asked) > QUESTION_LIFE_NS)
        {
            self.end(oldest);
        }
    }

    /// Passes on what is over.
    pub(super) fn flush(&mut self) {
        self.bytes = 0;
        if !self.over.is_empty() {
            self.counters.thread.transactions.add(self.over.len() as u64);
            (self.sink)(std::mem::take(&mut self.over));
        }
    }

    /// No message comes any more.
    pub(super) fn finish(&mut self) {
        while let Some(oldest) = self.waiting.oldest_if(|_| true) {
            self.end(oldest);
        }
        self.flush();
    }

    fn asked(&mut self, payload: &Payload<'_>, message: &DnsMessage) {
        let asked = match &message.question {
            _ if !is_by_all(payload, message) => key(payload, message, payload.direction),
            Some((name, _)) => Asked::All(name.clone()),
            // Nothing was asked.
            None => return,
        };
        let transaction = DnsTransaction::new(payload, message, TransactionEnd::Unanswered);
        if self.waiting.repeat(&asked, &transaction) {
            return;
        }
        self.waiting.add(asked, transaction, payload.tick);
        while self.waiting.len() > QUESTIONS
            && let Some(oldest) = self.waiting.oldest_if(|_| true)
        {
            self.end(oldest);
        }
    }

    /// The transactions that are over with an answer.
    fn answered(&mut self, payload: &Payload<'_>, message: &DnsMessage) -> Vec<DnsTransaction> {
        let found = self.questions_of(payload, message);
        let firsts = found.iter().filter_map(|number| self.waiting.answer(*number));
        let mut over: Vec<_> =
            firsts.map(|transaction| transaction.answered(payload, message)).collect();
        if over.is_empty() {
            // All hosts have been asked, and one of them has answered already.
            let another = found.first().and_then(|number| self.waiting.answered(*number));
            over.push(match another {
                Some(transaction) => transaction.answered(payload, message),
                None => DnsTransaction::new(payload, message, TransactionEnd::Unsolicited),
            });
        }
        over
    }

    /// The questions that wait for this answer, and those to several hosts that have had one.
    fn questions_of(&self, payload: &Payload<'_>, message: &DnsMessage) -> Vec<Number> {
        let repeated = message.question.as_ref().map(|(name, kind)| (&**name, *kind));
        let fits = |question: &DnsQuestion| {
            repeated.is_none_or(|(name, kind)| *question.name == *name && question.kind == kind)
        };
        if !is_by_all(payload, message) {
            let asked = key(payload, message, payload.direction.opposite());
            return self.waiting.find(&asked, fits).into_iter().take(1).collect();
        }
        let records = message.detail.iter().flat_map(|detail| &detail.records);
        let said = records.map(|record| (&*record.name, record.kind)).take(RECORDS_LOOKED_AT);
        let mut found = Vec::new();
        for (name, kind) in said {
            let fits = |question: &DnsQuestion| {
                question.kind == kind || question.kind == ANY || kind == NSEC
            };
            for number in self.waiting.find(&Asked::All(name.into()), fits) {
                if !found.contains(&number) {
                    found.push(number);
                }
            }
        }
        found
    }

    fn end(&mut self, transaction: DnsTransaction) {
        self.bytes += transaction.bytes();
        self.over.push(transaction);
        if self.bytes >= TRANSACTION_BATCH_BYTES {
            self.flush();
        }
    }
}

fn bytes_of(transactions: &[DnsTransaction]) -> usize {
    transactions.iter().map(DnsTransaction::bytes).sum()
}

/// Whether the message goes to all hosts, who know by its records what was asked: multicast DNS,
/// but for what asks, or is answered, as other DNS is (RFC 6762 section 6.7).
fn is_by_all(payload: &Payload<'_>, message: &DnsMessage) -> bool {
    let asking = if message.is_response { payload.direction.opposite() } else { payload.direction };
    let from = payload.key.source_port(asking);
    message.service == NameService::Mdns && is_datagram(payload) && from == Some(port::MDNS)
}

fn is_datagram(payload: &Payload<'_>) -> bool {
    payload.key.protocol() == protocol::UDP
}

/// What question and answer are found by, if not by all hosts; packets from `client` ask.
fn key(payload: &Payload<'_>, message: &DnsMessage, client: Direction) -> Asked {
    if message.service == NameService::Dns || !is_datagram(payload) {
        return Asked::Server(payload.key, message.id);
    }
    Asked::By(message.service, end_of(payload, client), message.id)
}

/// Whom packets of a direction are from.
fn end_of(payload: &Payload<'_>, from: Direction) -> End {
    (payload.key.source_ip(from), payload.key.source_port(from).unwrap_or_default())
}

#[cfg(test)]
mod tests;
