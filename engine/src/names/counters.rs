//! What becomes of payloads and names, counted; each number by one thread, each thread's on cache
//! lines of its own.

use crate::names::ParserCounters;
use crate::sync::{Counter, Gauge};

/// Of one decoder.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct HandoverCounters {
    /// Payloads handed over.
    pub handed: Counter,
    /// Payloads that found no room.
    pub ring_full: Counter,
    /// Datagrams of name services that are no messages, and were not handed over.
    pub malformed: Gauge,
    /// Later fragments that could be of any service, and were too many to be handed over.
    pub fragments_alone: Gauge,
}

/// Of the `names` thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ThreadCounters {
    /// Payloads that were read.
    pub read: Counter,
    /// Things that they said.
    pub findings: Counter,
    /// What could not be read, by [`ParserCounters::CAUSES`].
    pub unread: [Gauge; ParserCounters::CAUSES.len()],
    /// Answers to questions that were seen.
    pub answered: Counter,
    /// Answers to none, which name nothing.
    pub unsolicited: Counter,
    /// Addresses in answers, of names that nobody asked for: they name nothing.
    pub unasked: Counter,
    /// Questions that were forgotten for others before their answer came.
    pub questions_forgotten: Counter,
    /// Transactions that were over, where they are logged.
    pub transactions: Counter,
    /// Flows of which something is known that they said.
    pub flows: Gauge,
    /// Answers that are known.
    pub answers: Gauge,
    /// Names that were evicted for others, and what flows speak.
    pub evicted: Counter,
    /// Answers that an earlier one with the same name stands for, for want of room.
    pub merged: Counter,
    /// ARP messages of another device than the one whose frame they came in. They count.
    pub arp_relayed: Counter,
    /// Devices that are known.
    pub devices: Gauge,
    /// Devices that were evicted for others.
    pub devices_evicted: Counter,
    /// How often devices were published.
    pub published: Counter,
}

/// Of one thread that labels records.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LabelCounters {
    /// Records that got a label.
    pub labelled: Counter,
    /// Records that went on without what the `names` thread still had to read: it was behind.
    pub late: Counter,
    /// Ends of records that are devices, and found no room to be noted as such.
    pub devices_missed: Counter,
}

/// All of a run; empty where names are off.
#[derive(Debug, Default)]
pub struct NamesCounters {
    /// One for each decoder.
    pub handovers: Vec<HandoverCounters>,
    /// Of the `names` thread.
    pub thread: ThreadCounters,
    /// One for each thread that labels records.
    pub labels: Vec<LabelCounters>,
}

impl NamesCounters {
    /// For so many decoders and threads that label records.
    #[must_use]
    pub fn new(decoders: usize, labellers: usize) -> Self {
        Self {
            handovers: std::iter::repeat_with(HandoverCounters::default).take(decoders).collect(),
            thread: ThreadCounters::default(),
            labels: std::iter::repeat_with(LabelCounters::default).take(labellers).collect(),
        }
    }
}
