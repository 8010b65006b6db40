//! The `names` thread: the one writer of the tables.
//!
//! It takes payloads of all decoders in the order of their ticks, has them read, keeps what they
//! say, entry by entry for who looks, and publishes devices whole. What one decoder hands over is in
//! its order anyway, which in `read` is the order of the file. With several, it goes on only as far
//! as all of them are, unless it is behind.

use std::time::{Duration, Instant};

use crate::devices::table::Devices;
use crate::devices::{DevicesSetup, Sightings};
use crate::flow::FlowKey;
use crate::limits::{DEVICE_SIGHTINGS_EVERY, DEVICES, ROUND_PAYLOADS};
use crate::names::addresses::{Addresses, Answer, Client};
use crate::names::counters::{NamesCounters, ThreadCounters};
use crate::names::datagrams::{Datagrams, Extent};
use crate::names::facts::{Facts, FlowFacts, When};
use crate::names::handover::{PayloadReceiver, Progress};
use crate::names::hosts::Sender;
use crate::names::labels::{Learned, Released, Shared};
use crate::names::questions::Questions;
use crate::names::recordings::{Place, Recordings};
use crate::names::spoken::Spoken;
use crate::names::transactions::Transactions;
use crate::names::{
    App, Conversations, DnsMessage, Finding, NameService, Payload, TransactionSink,
};
use crate::sync::ring::Consumer;
use crate::sync::{Arc, Idle, Ordering, thread};

/// How long payloads gather before the next round, unless somebody waits for what they say: to wake
/// takes longer than to read one, and each round that publishes devices copies what it changes.
const GATHER: Duration = Duration::from_micros(200);

/// What there was to do in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Nothing,
    Some,
    /// As much as there may be, and perhaps more.
    Full,
}

/// The thread's own.
#[derive(Debug)]
pub struct NamesThread {
    receivers: Vec<PayloadReceiver>,
    /// Those that have something, or may soon: others are not asked for each payload.
    awake: Vec<usize>,
    /// Of each thread that labels records.
    released: Vec<Consumer<Released>>,
    /// Devices at the ends of what they have labelled.
    sightings: Vec<Consumer<Sightings>>,
    datagrams: Datagrams,
    conversations: Conversations,
    findings: Vec<Finding>,
    known: Known,
    /// If there is a log of them.
    transactions: Option<Transactions>,
    shared: Arc<Shared>,
    /// When devices were published last.
    published: Instant,
    counters: Arc<NamesCounters>,
}

/// What it has learned.
#[derive(Debug)]
pub(super) struct Known {
    facts: Facts,
    /// What flows speak that said nothing else.
    spoken: Spoken,
    addresses: Addresses,
    questions: Questions,
    recordings: Recordings,
    devices: Devices,
}

impl NamesThread {
    pub(super) fn new(
        receivers: Vec<PayloadReceiver>,
        (released, sightings): (Vec<Consumer<Released>>, Vec<Consumer<Sightings>>),
        known: Known,
        shared: Arc<Shared>,
        counters: Arc<NamesCounters>,
    ) -> Self {
        // Which addresses are local, and the devices of before, are known before any packet is.
        shared.devices.publish(known.devices.view().clone());
        let (datagrams, conversations, findings) = Default::default();
        let transactions = None;
        Self {
            receivers,
            awake: Vec::new(),
            released,
            sightings,
            datagrams,
            conversations,
            findings,
            known,
            transactions,
            shared,
            published: Instant::now(),
            counters,
        }
    }

    /// Passes transactions of name services on to `log`, if there is one.
    #[must_use]
    pub fn with_log(mut self, log: Option<TransactionSink>) -> Self {
        if let Some(sink) = log {
            self.conversations.want_detail();
            self.transactions = Some(Transactions::new(sink, &self.counters));
        }
        self
    }

    /// Reads until every decoder is gone and everything is read, and nobody labels records any
    /// more.
    pub fn run(mut self) {
        self.shared.set_thread(thread::current());
        let mut idle = Idle::default();
        loop {
            // Asked before reading, so that nothing can arrive between.
            let is_last = self.receivers.iter_mut().all(PayloadReceiver::is_finished)
                && self.sightings.iter().all(Consumer::is_abandoned);
            match self.round() {
                Round::Full => idle.reset(),
                Round::Some => {
                    idle.reset();
                    if !self.receivers.iter().any(PayloadReceiver::is_behind) {
                        thread::park_timeout(GATHER);
                    }
                }
                Round::Nothing if is_last => {
                    self.datagrams.finish();
                    if let Some(transactions) = &mut self.transactions {
                        self.datagrams.take_lost().for_each(|number| transactions.lose(number));
                        transactions.finish();
                    }
                    self.conversations.finish();
                    self.note_unread();
                    return;
                }
                Round::Nothing => idle.wait(),
            }
        }
    }

    /// Reads what is there, up to a bound, and says so. Whether there was anything.
    pub fn step(&mut self) -> bool {
        self.round() != Round::Nothing
    }

    fn round(&mut self) -> Round {
        let mut read = 0;
        // Before looking into the rings: all up to there is in them.
        let bound = self.bound();
        self.awake.clear();
        for (idx, receiver) in self.receivers.iter_mut().enumerate() {
            if receiver.progress().reached() < Progress::ALL || receiver.head().is_some() {
                self.awake.push(idx);
            }
        }
        while read < ROUND_PAYLOADS
            && let Some(idx) = self.next_receiver(bound)
        {
            self.read(idx);
            read += 1;
        }
        self.counters.thread.read.add(read as u64);
        self.transactions.iter_mut().for_each(Transactions::flush);
        let released = self.release() | self.see_flows();
        let counters = &self.counters.thread;
        counters.devices_evicted.add(self.known.devices.take_evicted());
        // When devices were seen is no hurry.
        let is_due = read == 0 || self.published.elapsed() >= DEVICE_SIGHTINGS_EVERY;
        if self.known.devices.take_changed() || is_due && self.known.devices.take_stale() {
            self.published = Instant::now();
            self.shared.devices.publish(self.known.devices.view().clone());
            counters.devices.set(self.known.devices.view().len() as u64);
            counters.published.add(1);
        }
        counters.flows.set(self.known.facts.len() as u64);
        counters.answers.set(self.known.addresses.answers() as u64);
        if read > 0 {
            if let Some(place) = &self.shared.place {
                // Relaxed: see who loads it.
                place.store(self.known.recordings.last(), Ordering::Relaxed);
            }
            self.note_unread();
            self.receivers.iter().for_each(PayloadReceiver::publish_taken);
        }
        match read {
            ROUND_PAYLOADS => Round::Full,
            0 if !released => Round::Nothing,
            _ => Round::Some,
        }
    }

    fn note_unread(&self) {
        let of_flows = self.conversations.counters().by_cause();
        let of_datagrams = self.datagrams.counters().by_cause();
        let unread = self.counters.thread.unread.iter().zip(of_flows).zip(of_datagrams);
        unread.for_each(|((gauge, some), more)| gauge.set(some + more));
    }

    /// Up to where nothing earlier can come.
    fn bound(&self) -> u64 {
        if self.receivers.len() == 1 || self.receivers.iter().any(PayloadReceiver::is_behind) {
            return Progress::ALL;
        }
        let reached = self.receivers.iter().map(|receiver| receiver.progress().reached());
        reached.min().unwrap_or(Progress::ALL)
    }

    fn next_receiver(&mut self, bound: u64) -> Option<usize> {
        let Self { awake, receivers, .. } = self;
        let heads = awake.iter().filter_map(|&idx| Some((receivers[idx].head()?, idx)));
        let ((tick, _), idx) = heads.min()?;
        (tick <= bound).then_some(idx)
    }

    fn read(&mut self, idx: usize) {
        let Self { receivers, datagrams, conversations, findings, known, .. } = self;
        let Self { transactions, counters, .. } = self;
        receivers[idx].take(|payload| {
            let place = known.recordings.place(payload);
            datagrams.forget_old(payload.tick);
            conversations.forget_idle(payload.tick);
            match transactions {
                Some(transactions) => {
                    datagrams.take_lost().for_each(|number| transactions.lose(number));
                    transactions.age(payload.tick);
                }
                // They do not gather.
                None => drop(datagrams.take_lost()),
            }
            let (payload, extent) = &match payload.fragment {
                None => (*payload, Extent::Whole),
                Some(fragment) => match datagrams.join(payload, fragment) {
                    Some(joined) => joined,
                    None => return,
                },
            };
            conversations.observe(payload, findings);
            counters.thread.findings.add(findings.len() as u64);
            if let Some(transactions) = transactions {
                let messages = findings.iter().filter_map(Finding::as_dns);
                messages.for_each(|message| transactions.take(payload, message, *extent));
            }
            if let Some(carrier) = &payload.carrier {
                let facts = FlowFacts::inside(findings);
                let evicted = known.keep_facts(carrier.key, (payload.timestamp, place), facts);
                counters.thread.evicted.add(evicted);
                if carrier.is_all {
                    return findings.clear();
                }
            }
            let sender = Sender::of(payload);
            if let Some(sender) = &sender {
                sender.see(payload, &mut known.devices);
            }
            if findings.is_empty() {
                known.spoken.interrupt(&payload.key);
            } else {
                let from = (payload, *extent, place);
                known.keep(from, sender.as_ref(), findings, &counters.thread);
            }
        });
    }

    /// Notes devices at the ends of records. Whether there were any.
    fn see_flows(&mut self) -> bool {
        let mut any = false;
        for ring in &mut self.sightings {
            while let Some(sightings) = ring.pop() {
                any = true;
                self.known.devices.see_flows(sightings);
            }
        }
        any
    }

    /// Forgets flows whose records are labelled. Whether there were any.
    fn release(&mut self) -> bool {
        let mut any = false;
        for ring in &mut self.released {
            while let Some(Released { key, span }) = ring.pop() {
                any = true;
                self.known.facts.release(&key, span);
                self.known.spoken.release(&key, span);
            }
        }
        any
    }
}

impl Known {
    /// Nothing but the devices of before.
    pub(super) fn new(max_names: usize, devices: &DevicesSetup) -> Self {
        Self {
            facts: Facts::new(max_names),
            spoken: Spoken::new(max_names),
            addresses: Addresses::new(max_names),
            questions: Questions::default(),
            recordings: Recordings::default(),
            devices: Devices::new(devices, DEVICES),
        }
    }

    /// For who labels records.
    pub(super) fn learned(&self) -> Learned {
        Learned {
            facts: self.facts.view(),
            spoken: self.spoken.view(),
            addresses: self.addresses.view(),
        }
    }

    /// Keeps what a payload said, which is so much of its message, at its place.
    fn keep(
        &mut self,
        (payload, extent, place): (&Payload<'_>, Extent, Place),
        sender: Option<&Sender>,
        said: &mut Vec<Finding>,
        counters: &ThreadCounters,
    ) {
        let mut facts = FlowFacts::default();
        for finding in said.drain(..) {
            match finding {
                Finding::Flow(fact) => facts.add(fact),
                Finding::Dns(message) if message.is_response => {
                    facts.see(App::of_service(message.service));
                    if let Some(sender) = sender {
                        sender.name(&message, &mut self.devices);
                    }
                    self.keep_answer((payload, extent, place), &message, counters);
                }
                Finding::Dns(message) => {
                    facts.see(App::of_service(message.service));
                    if matches!(extent, Extent::Beginning(_)) {
                        continue;
                    }
                    counters.questions_forgotten.add(self.questions.asked(payload, &message));
                }
                Finding::Host(hint) => {
                    App::of_fact(&hint.fact).into_iter().for_each(|app| facts.see(app));
                    if let Some(sender) = sender {
                        counters.arp_relayed.add(sender.is_relayed_arp(&hint).into());
                        sender.hint(payload, hint, &mut self.devices);
                    }
                }
            }
        }
        counters.evicted.add(self.keep_facts(payload.key, (payload.timestamp, place), facts));
    }

    /// Keeps what a flow said of itself. Returns how many others were evicted for it.
    fn keep_facts(&mut self, key: FlowKey, when: When, facts: FlowFacts) -> u64 {
        if let Some(app) = facts.only_spoken() {
            return self.spoken.add(key, when, app);
        }
        self.spoken.interrupt(&key);
        if facts.is_empty() {
            return 0;
        }
        self.facts.add(key, when, facts)
    }

    fn keep_answer(
        &mut self,
        (payload, extent, place): (&Payload<'_>, Extent, Place),
        message: &DnsMessage,
        counters: &ThreadCounters,
    ) {
        if matches!(extent, Extent::Beginning(_)) {
            // It is counted, and the question is over, once it is whole.
            if !self.questions.waits_for(payload, message) {
                return;
            }
        } else {
            if !self.questions.answered(payload, message) {
                return counters.unsolicited.add(1);
            }
            counters.answered.add(1);
            counters.unasked.add(message.unasked.into());
        }
        // A frame without a time says nothing of when.
        let Some(time) = payload.timestamp else { return };
        let client = client_of(payload, message.service);
        for said in message.answers.iter().filter(|said| !said.name.is_empty()) {
            let answer = Answer::new(
                time,
                place,
                said.ttl_seconds,
                said.name.as_ref().into(),
                message.service,
            )
            .by(said.way)
            .within(payload.key.vlan());
            if message.takes_back(said) {
                self.addresses.take_back(&answer, said.address);
                continue;
            }
            let is_again = matches!(extent, Extent::Joined(_));
            let outcome = self.addresses.add(client, said.address, &answer, is_again);
            counters.evicted.add(outcome.evicted);
            counters.merged.add(outcome.merged);
        }
    }
}

/// Who gets an answer, if it is for one client only.
fn client_of(payload: &Payload<'_>, service: NameService) -> Option<Client> {
    let address = payload.key.source_ip(payload.direction.opposite());
    let is_for_one = service != NameService::Mdns && !address.is_multicast();
    is_for_one.then(|| Client { vlan: payload.key.vlan(), address })
}
