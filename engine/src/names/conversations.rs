//! What flows say, as their payloads come in: the parsers' memory, one entry for each flow of
//! which a message is unfinished, or was read already.
//!
//! Owned by the `names` thread, which gives it payloads in their order and takes findings. It
//! knows no names and no tables. Each fact of a flow is said once, as far as this remembers the
//! flow; whoever keeps facts keeps the first of each kind. All is bounded
//! ([`crate::limits`]): where there are more, flows are forgotten of which no bytes are kept, then
//! those of which nothing has come for longest; what was unfinished is counted.

mod stream;

use std::collections::HashMap;

use self::stream::{Loss, Stream};
use super::interest::{Service, service};
use super::parse::quic::{self, Quic};
use super::parse::{dhcp, dns, nbns, neighbours, ssdp};
use super::{App, Finding, FlowFact, Payload};
use crate::flow::{FlowKey, protocol};
use crate::limits::{
    CONVERSATION_BYTES, CONVERSATION_IDLE_NS, CONVERSATIONS, OVERTAKEN_NS, STREAM_PAYLOADS,
};
use crate::sync::hash::Seed;
use crate::time::{SECOND_NS, Tick};

/// The parsers' memory of flows.
#[derive(Debug)]
pub struct Conversations {
    /// It never grows: to move all flows takes milliseconds.
    flows: HashMap<FlowKey, Conversation, Seed>,
    /// Bytes of unfinished messages in `flows`.
    bytes: usize,
    /// When idle flows are looked for again.
    look_at: Tick,
    counters: ParserCounters,
    /// Whether messages of name services are wanted in detail.
    in_detail: bool,
}

impl Default for Conversations {
    fn default() -> Self {
        let flows = HashMap::with_capacity_and_hasher(CONVERSATIONS, Seed::default());
        let (bytes, look_at, counters, in_detail) = Default::default();
        Self { flows, bytes, look_at, counters, in_detail }
    }
}

/// What could not be read, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParserCounters {
    /// Messages that had begun, and were forgotten as there was no memory for newer ones; and
    /// payloads for which there was none even so: they were read each by itself.
    pub no_room: u64,
    /// Messages that were longer, or in more pieces, than one flow may have, or in a payload than
    /// is copied of one, or with more records than are looked at: what was there counts.
    pub too_long: u64,
    /// Messages that had begun, and of which the rest did not come.
    pub unfinished: u64,
    /// Payloads, on a port or with a beginning that says so, that are not what they should be; of a
    /// direction of TCP that is no name service's, once.
    pub malformed: u64,
    /// Gaps in rows of messages of DNS over TCP that were not filled in time: messages in them are
    /// lost, and those behind them until one surely begins.
    pub gaps: u64,
    /// QUIC Initial packets that could not be opened: changed on the way, or without the packet
    /// that says the key.
    pub quic_closed: u64,
    /// Datagrams of which fragments overlap, or say otherwise where they end.
    pub overlaps: u64,
    /// Later fragments of UDP whose first one did not come, or was no message: of which service is
    /// not known, as a rule.
    pub fragments_alone: u64,
}

impl ParserCounters {
    /// The causes, as the ledger names them.
    pub const CAUSES: [&str; 8] = [
        "no_room",
        "too_long",
        "unfinished",
        "malformed",
        "gaps",
        "quic_closed",
        "overlaps",
        "fragments_alone",
    ];

    /// How often there was each of [`ParserCounters::CAUSES`].
    #[must_use]
    pub fn by_cause(&self) -> [u64; Self::CAUSES.len()] {
        let Self {
            no_room,
            too_long,
            unfinished,
            malformed,
            gaps,
            quic_closed,
            overlaps,
            fragments_alone,
        } = *self;
        [no_room, too_long, unfinished, malformed, gaps, quic_closed, overlaps, fragments_alone]
    }
}

/// What is remembered of one flow.
#[derive(Debug)]
struct Conversation {
    /// The packet clock at the last payload.
    tick: Tick,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Each direction of a connection.
    Tcp(Box<[Stream; 2]>),
    /// The opening of a connection, and its datagrams so far.
    Quic(Box<Quic>, u32),
}

impl Conversation {
    fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Tcp(streams) => streams.iter().map(Stream::bytes).sum(),
            Kind::Quic(quic, _) => quic.bytes(),
        }
    }

    /// Whether a message has begun, and is not read to its end.
    fn is_unfinished(&self) -> bool {
        match &self.kind {
            Kind::Tcp(streams) => streams.iter().any(Stream::is_unfinished),
            Kind::Quic(quic, _) => quic.bytes() > 0,
        }
    }

    /// How long it is remembered.
    fn life_ns(&self) -> u64 {
        match &self.kind {
            // A client may ask again on a connection long after an answer.
            Kind::Tcp(streams) if streams.iter().any(Stream::is_in_step) => CONVERSATION_IDLE_NS,
            Kind::Tcp(streams) if streams.iter().all(Stream::is_waiting) => OVERTAKEN_NS,
            _ => CONVERSATION_IDLE_NS,
        }
    }
}

impl Conversations {
    /// Messages of name services shall have their [detail](crate::names::DnsDetail).
    pub fn want_detail(&mut self) {
        self.in_detail = true;
    }

    /// Reads a payload, and adds what it says to `found`, or what it says with those before it.
    pub fn observe(&mut self, payload: &Payload<'_>, found: &mut Vec<Finding>) {
        if payload.bytes.is_empty() {
            return;
        }
        if let Some(kind) = payload.announced {
            let hint = neighbours::parse(kind, payload.bytes);
            self.counters.malformed += u64::from(hint.is_none());
            return found.extend(hint.flatten().map(Finding::Host));
        }
        match payload.key.protocol() {
            protocol::TCP => self.segment(payload, found),
            protocol::UDP => self.datagram(payload, found),
            _ => {}
        }
    }

    /// Forgets flows of which nothing has come for long. It goes over all of them, but no more
    /// than once in a second of packet time, however often it is called.
    pub fn forget_idle(&mut self, tick: Tick) {
        if tick < self.look_at {
            return;
        }
        self.look_at = tick.saturating_add(SECOND_NS);
        self.flows.retain(|_, flow| {
            let stays = tick.saturating_sub(flow.tick) < flow.life_ns();
            if !stays {
                self.bytes -= flow.bytes();
                self.counters.unfinished += u64::from(flow.is_unfinished());
            }
            stays
        });
    }

    /// Nothing more will come: what is not read to its end is counted.
    pub fn finish(&mut self) {
        let unfinished = self.flows.values().filter(|flow| flow.is_unfinished()).count();
        self.counters.unfinished += unfinished as u64;
        self.flows.clear();
        self.bytes = 0;
    }

    /// What could not be read so far.
    #[must_use]
    pub fn counters(&self) -> ParserCounters {
        self.counters
    }

    /// Flows that are remembered, and the bytes of their unfinished messages.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.flows.len(), self.bytes)
    }

    /// Whether there is room for this payload, in its flow's memory or in a new one.
    fn has_room(&mut self, payload: &Payload<'_>) -> bool {
        if !self.flows.contains_key(&payload.key) && self.flows.len() >= CONVERSATIONS {
            self.forget_idle(payload.tick);
            if self.flows.len() >= CONVERSATIONS {
                self.evict(payload, |_| true);
            }
        }
        let has_bytes = |bytes: usize| bytes + payload.bytes.len() <= CONVERSATION_BYTES;
        if !has_bytes(self.bytes) {
            self.evict(payload, |flow| flow.bytes() > 0);
        }
        let has_room = has_bytes(self.bytes);
        self.counters.no_room += u64::from(!has_room);
        has_room
    }

    /// Makes room for a payload: one in eight of the flows that `may_go` is forgotten, as it takes
    /// a look at all.
    fn evict(&mut self, payload: &Payload<'_>, may_go: impl Fn(&Conversation) -> bool) {
        let others = self.flows.iter().filter(|(key, flow)| **key != payload.key && may_go(flow));
        let mut ages: Vec<_> =
            others.map(|(key, flow)| (flow.bytes() > 0, flow.tick, *key)).collect();
        let count = ages.len().div_ceil(8);
        if count < ages.len() {
            ages.select_nth_unstable(count);
        }
        for (.., key) in ages.drain(..count) {
            let Some(flow) = self.flows.remove(&key) else { continue };
            self.bytes -= flow.bytes();
            self.counters.no_room += u64::from(flow.is_unfinished());
        }
    }

    /// Whether this direction of a connection has said what it has to say.
    fn has_read(&self, payload: &Payload<'_>) -> bool {
        match self.flows.get(&payload.key).map(|flow| &flow.kind) {
            Some(Kind::Tcp(streams)) => streams[payload.direction.idx()].is_closed(),
            _ => false,
        }
    }

    /// Lets `read` work on the flow's memory, made by `begin` if there is none.
    fn remember<T>(
        &mut self,
        payload: &Payload<'_>,
        begin: fn() -> Kind,
        read: impl FnOnce(&mut Kind) -> T,
    ) -> T {
        let flow = self
            .flows
            .entry(payload.key)
            .or_insert_with(|| Conversation { tick: payload.tick, kind: begin() });
        flow.tick = flow.tick.max(payload.tick);
        let before = flow.bytes();
        let outcome = read(&mut flow.kind);
        self.bytes = self.bytes - before + flow.bytes();
        outcome
    }

    fn segment(&mut self, payload: &Payload<'_>, found: &mut Vec<Finding>) {
        let in_detail = self.in_detail;
        let loss = if self.has_room(payload) {
            let begin = || Kind::Tcp(Box::default());
            self.remember(payload, begin, |kind| match kind {
                Kind::Tcp(streams) => {
                    streams[payload.direction.idx()].observe(payload, in_detail, found)
                }
                Kind::Quic(..) => unreachable!("a key has one protocol"),
            })
        } else if self.has_read(payload) {
            None
        } else {
            Stream::default().observe(payload, in_detail, found)
        };
        match loss {
            Some(Loss::TooLong) => self.counters.too_long += 1,
            Some(Loss::Unfinished) => self.counters.unfinished += 1,
            Some(Loss::Malformed) => self.counters.malformed += 1,
            Some(Loss::Gap) => self.counters.gaps += 1,
            None => {}
        }
    }

    fn datagram(&mut self, payload: &Payload<'_>, found: &mut Vec<Finding>) {
        let sender = payload.key.source_ip(payload.direction);
        let mut see = |app, is_seen: bool| {
            found.extend(is_seen.then_some(Finding::Flow(FlowFact::App(app))));
        };
        let service = service(ports(payload));
        let mut is_too_long = service.is_some() && payload.is_too_long();
        let hints = match service {
            Some(Service::Dns(service)) => {
                let message = dns::parse(service, payload.bytes, self.in_detail);
                self.counters.malformed += u64::from(message.is_none());
                is_too_long |= message.is_some() && dns::is_too_long(payload.bytes);
                self.counters.too_long += u64::from(is_too_long);
                found.extend(message.map(Finding::Dns));
                return;
            }
            Some(Service::Nbns) => {
                let read = nbns::parse(payload.bytes, sender, self.in_detail, found);
                self.counters.malformed += u64::from(read.is_none());
                return;
            }
            Some(Service::Dhcp) => {
                see(App::Dhcp, dhcp::is_message(payload.bytes));
                dhcp::parse(payload.bytes)
            }
            Some(Service::DhcpV6) => {
                see(App::DhcpV6, dhcp::is_message_v6(payload.bytes));
                dhcp::parse_v6(payload.bytes, sender)
            }
            Some(Service::Ssdp) => {
                see(App::Ssdp, ssdp::is_message(payload.bytes));
                ssdp::parse(payload.bytes, sender)
            }
            None => return self.quic(payload, found),
        };
        self.counters.too_long += u64::from(is_too_long);
        found.extend(hints.into_iter().map(Finding::Host));
    }

    fn quic(&mut self, payload: &Payload<'_>, found: &mut Vec<Finding>) {
        if !self.flows.contains_key(&payload.key) && !quic::may_begin(payload.bytes) {
            if let Some(name) = quic::of_google(payload.bytes) {
                found.extend([name, FlowFact::App(App::Gquic)].map(Finding::Flow));
            }
            return;
        }
        let outcome = if self.has_room(payload) {
            let begin = || Kind::Quic(Box::default(), 0);
            self.remember(payload, begin, |kind| match kind {
                Kind::Quic(quic, datagrams) if *datagrams < STREAM_PAYLOADS => {
                    *datagrams += 1;
                    let outcome = quic.read(payload.bytes);
                    if *datagrams == STREAM_PAYLOADS {
                        quic.give_up();
                    }
                    outcome
                }
                _ => quic::Outcome::default(),
            })
        } else {
            Quic::default().read(payload.bytes)
        };
        self.counters.quic_closed += u64::from(outcome.is_closed);
        self.counters.too_long += u64::from(outcome.is_full);
        let app = (!outcome.facts.is_empty()).then_some(FlowFact::App(App::Quic));
        found.extend(outcome.facts.into_iter().chain(app).map(Finding::Flow));
    }
}

/// Source and destination port.
fn ports(payload: &Payload<'_>) -> [u16; 2] {
    [payload.direction, payload.direction.opposite()]
        .map(|direction| payload.key.source_port(direction).unwrap_or_default())
}

#[cfg(test)]
mod tests;
