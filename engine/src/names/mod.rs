//! Names for flows, learned from what is on the wire, and from nothing else.
//!
//! ```text
//! rx: decode ── pick ── handover ═══▶ names: observe ── facts, addresses ───────────▶ Tables
//!                                                                                      │
//! merge, reap: records that end ────────────────────────────────── labels ◀────────────┘
//! ```
//!
//! [`pick`] says which payloads are copied, by [`interest`]; [`mod@handover`] carries them to the
//! one thread that reads them ([`thread`]), and joins datagrams that came in fragments
//! (`datagrams`). [`Conversations`] puts payloads of a flow together and
//! gives them to the parsers in `parse`, which make [`Finding`]s of [`Payload`]s, which tables
//! keep: what flows said of themselves ([`facts`]) and what they speak ([`spoken`]), how addresses
//! were named ([`addresses`]), and what hosts said of themselves ([`hosts`]), which makes them
//! [`crate::devices`].
//! Whoever ends records has them labelled ([`labels`]) by the tables, which it reads while they are
//! written.
//!
//! Nothing here asks anybody on the network, and no `rx` thread of a live capture waits for
//! anything here; the one that reads a file waits for room.

pub mod addresses;
mod aging;
pub mod apps;
mod carried;
pub mod conversations;
pub mod counters;
mod datagrams;
pub mod facts;
pub mod finding;
pub mod handover;
mod history;
mod hosts;
pub mod interest;
pub mod labels;
mod parse;
pub mod payload;
pub mod pick;
mod questions;
pub mod recordings;
pub mod spoken;
pub mod thread;
pub mod transactions;

pub use apps::App;
pub use conversations::{Conversations, ParserCounters};
pub use counters::NamesCounters;
pub use finding::{
    AnswerWay, DnsAnswer, DnsDetail, DnsMessage, DnsRecord, DnsSection, Finding, FlowFact,
    HostFact, HostHint, NameService,
};
pub use handover::PayloadSender;
pub use labels::{DevicesReader, Labeller, Labels, Tables};
pub use payload::Payload;
pub use pick::Picks;
pub use thread::NamesThread;
pub use transactions::{DnsTransaction, TransactionSink};

use std::time::Duration;

use crate::devices::DevicesSetup;
use crate::limits::{DEVICE_SIGHTINGS_WAITING, RELEASED_KEYS};
use crate::names::handover::handover;
use crate::names::labels::Shared;
use crate::names::thread::Known;
use crate::sync::Arc;
use crate::sync::ring::ring;

/// Everything about names that a run starts with.
#[derive(Debug)]
pub struct Names {
    /// One for each decoder.
    pub senders: Vec<PayloadSender>,
    /// One for each thread that ends records.
    pub labellers: Vec<Labeller>,
    /// Ends by itself when all senders are gone, and all who label records.
    pub thread: NamesThread,
    /// What devices there are.
    pub devices: DevicesReader,
}

impl Names {
    /// With room for `max_names` messages of flows about themselves, and as many answers, and with
    /// `devices` to begin with; whoever labels records waits for the thread up to `patience`, if
    /// there is one. `counters` say for how many decoders and labelling threads this is.
    #[must_use]
    pub fn new(
        counters: &Arc<NamesCounters>,
        max_names: usize,
        devices: &DevicesSetup,
        patience: Option<Duration>,
    ) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            counters.handovers.iter().map(|_| handover()).unzip();
        let progress = senders.iter().map(PayloadSender::progress).collect();
        let (releases, released): (Vec<_>, Vec<_>) =
            counters.labels.iter().map(|_| ring(RELEASED_KEYS)).unzip();
        let (pass_on, passed_on): (Vec<_>, Vec<_>) =
            counters.labels.iter().map(|_| ring(DEVICE_SIGHTINGS_WAITING)).unzip();
        // Packets that are read have one order, and may be of several recordings.
        let is_ordered = patience.is_none() && receivers.len() == 1;
        let known = Known::new(max_names, devices);
        let shared = Arc::new(Shared::new(progress, known.learned(), max_names, is_ordered));
        let labeller = |(number, (release, pass_on))| {
            let (shared, counters) = (Arc::clone(&shared), Arc::clone(counters));
            Labeller::new(shared, patience, release, pass_on, counters, number)
        };
        let labellers = releases.into_iter().zip(pass_on).enumerate().map(labeller).collect();
        let counters = Arc::clone(counters);
        let reader = DevicesReader(Arc::clone(&shared));
        let thread = NamesThread::new(receivers, (released, passed_on), known, shared, counters);
        Self { senders, labellers, thread, devices: reader }
    }
}

#[cfg(test)]
mod tests;
