//! What flows said of themselves, by flow key and time.
//!
//! A key serves one flow after the other, so each thing that was said has the time of its packet:
//! it belongs to the flow that began before it and goes on after it. The `names` thread writes
//! this; whoever labels records reads a published copy.

use crate::flow::{FlowKey, FlowRecord};
use crate::limits::{FACTS_KEPT, NAME_BYTES};
use crate::names::FlowFact;
use crate::names::aging::Aging;
use crate::names::parts::Parts;
use crate::sync::Arc;
use crate::time::Timestamp;

/// What a flow said of itself; of each kind the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowFacts {
    /// Server name of TLS or QUIC.
    pub sni: Option<Arc<str>>,
    /// Whether that was QUIC.
    pub is_quic: bool,
    /// First protocol that the client offered.
    pub alpn: Option<Arc<str>>,
    /// Fingerprint of the client's handshake.
    pub ja4: Option<Arc<str>>,
    /// Host of the first HTTP/1 request.
    pub http_host: Option<Arc<str>>,
}

impl FlowFacts {
    /// Whether there is nothing that a record shows.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a fact, unless there is one of its kind.
    pub(super) fn add(&mut self, fact: FlowFact) {
        let (place, mut text) = match fact {
            FlowFact::Sni(name) => (&mut self.sni, name),
            FlowFact::QuicSni(name) | FlowFact::GquicSni(name) => {
                self.is_quic |= self.sni.is_none();
                (&mut self.sni, name)
            }
            FlowFact::Alpn(text) => (&mut self.alpn, text),
            FlowFact::Ja4(text) => (&mut self.ja4, text),
            FlowFact::HttpHost(text) => (&mut self.http_host, text),
            FlowFact::UserAgent(_)
            | FlowFact::EncryptedHello
            | FlowFact::TlsVersion(_)
            | FlowFact::TlsCipher(_) => return,
        };
        text = cut(text);
        place.get_or_insert_with(|| text.into());
    }

    /// Adds what was said later, where nothing was said before.
    fn add_later(&mut self, later: &Self) {
        self.is_quic |= self.sni.is_none() && later.is_quic;
        let fill = |to: &mut Option<Arc<str>>, from: &Option<Arc<str>>| {
            if to.is_none() {
                to.clone_from(from);
            }
        };
        fill(&mut self.sni, &later.sni);
        fill(&mut self.alpn, &later.alpn);
        fill(&mut self.ja4, &later.ja4);
        fill(&mut self.http_host, &later.http_host);
    }
}

/// No text is longer than a name may be; cut between characters.
fn cut(text: Box<str>) -> Box<str> {
    if text.len() <= NAME_BYTES {
        return text;
    }
    text[..text.floor_char_boundary(NAME_BYTES)].into()
}

/// The time of a flow, up to the end of one part of it: what is said on its key then is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Without it the flow has no time, and neither has what it says.
    from: Option<Timestamp>,
    until: Timestamp,
}

impl Span {
    pub(super) fn of(record: &FlowRecord) -> Self {
        let total = &record.total;
        let from = record.opening().map_or(Some(total.first), |opening| opening.flow_start);
        Self { from, until: total.last }
    }

    fn has(self, time: Option<Timestamp>) -> bool {
        match (time, self.from) {
            (Some(time), Some(from)) => from <= time && time <= self.until,
            (None, None) => true,
            _ => false,
        }
    }
}

/// When, and what.
type Said = (Option<Timestamp>, Arc<FlowFacts>);

/// What was said on one key.
#[derive(Debug, Clone)]
struct Flow {
    /// The number of its latest entry.
    entry: u64,
    said: Arc<[Said]>,
}

/// Facts of all flows, as published.
#[derive(Debug, Clone, Default)]
pub struct FactsView {
    flows: Parts<FlowKey, Flow>,
}

impl FactsView {
    /// What the flow of `record` has said, up to the end of this part of it.
    #[must_use]
    pub fn of(&self, record: &FlowRecord) -> Option<Arc<FlowFacts>> {
        let said = &self.flows.get(&record.key)?.said;
        let span = Span::of(record);
        let mut its = said.iter().filter(|(time, _)| span.has(*time)).map(|(_, facts)| facts);
        let first = its.next()?;
        let Some(second) = its.next() else { return Some(Arc::clone(first)) };
        let mut all = FlowFacts::clone(first);
        std::iter::once(second).chain(its).for_each(|later| all.add_later(later));
        Some(Arc::new(all))
    }

    /// How many flows said something.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }
}

/// The table, for its one writer.
#[derive(Debug)]
pub(super) struct Facts {
    view: FactsView,
    aging: Aging<FlowKey>,
    /// What was said, in all flows: each may be as long as the names in it.
    messages: usize,
    max_messages: usize,
    /// Counted up with each entry: what is oldest.
    entries: u64,
}

impl Facts {
    pub(super) fn new(max_messages: usize) -> Self {
        let (view, aging) = Default::default();
        Self { view, aging, messages: 0, max_messages, entries: 0 }
    }

    pub(super) fn view(&self) -> &FactsView {
        &self.view
    }

    /// Keeps what a flow said at `time`. Returns how many others were evicted for it.
    pub(super) fn add(&mut self, key: FlowKey, time: Option<Timestamp>, facts: FlowFacts) -> u64 {
        let mut evicted = 0;
        let flows = &mut self.view.flows;
        let before = flows.get(&key).map(|flow| &*flow.said).unwrap_or_default();
        // A flow of before on the same key is the least useful.
        let surplus = (before.len() + 1).saturating_sub(FACTS_KEPT);
        let mut said = before[surplus..].to_vec();
        let place = said.partition_point(|(other, _)| *other <= time);
        said.insert(place, (time, Arc::new(facts)));
        self.messages += 1;
        self.messages -= surplus;
        evicted += surplus;
        self.entries += 1;
        flows.insert(key, Flow { entry: self.entries, said: said.into() });
        self.aging.add(key, self.entries);
        while self.messages > self.max_messages {
            let oldest = self.aging.oldest(|key, entry| Some(entry).filter(is_of(flows, key)));
            let Some(oldest) = oldest else { break };
            let gone = flows.remove(&oldest).map_or(0, |flow| flow.said.len());
            self.messages -= gone;
            evicted += gone;
        }
        self.tidy();
        evicted as u64
    }

    /// Forgets what the flow of `span` said on `key`: its record has it. What other flows said
    /// there stays. Whether there was anything.
    pub(super) fn release(&mut self, key: &FlowKey, span: Span) -> bool {
        let flows = &mut self.view.flows;
        let Some(flow) = flows.get(key) else { return false };
        let rest: Vec<_> = flow.said.iter().filter(|(time, _)| !span.has(*time)).cloned().collect();
        let released = flow.said.len() - rest.len();
        if released == 0 {
            return false;
        }
        if rest.is_empty() {
            flows.remove(key);
        } else {
            let entry = flow.entry;
            flows.insert(*key, Flow { entry, said: rest.into() });
        }
        self.messages -= released;
        self.tidy();
        true
    }

    fn tidy(&mut self) {
        let flows = &self.view.flows;
        self.aging.tidy(flows.len(), |key, entry| is_of(flows, key)(&entry));
    }
}

/// Whether the latest entry of `key` is this one.
fn is_of(flows: &Parts<FlowKey, Flow>, key: &FlowKey) -> impl Fn(&u64) -> bool {
    let latest = flows.get(key).map(|flow| flow.entry);
    move |entry| latest == Some(*entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Endpoint, PortKind};

    fn key(port: u16) -> FlowKey {
        let end = |port| Endpoint { address: [1; 16], port };
        FlowKey::canonical(end(port), end(80), 4, 6, PortKind::Ports, [0; 2]).0
    }

    fn host(name: &str) -> FlowFacts {
        FlowFacts { http_host: Some(name.into()), ..FlowFacts::default() }
    }

    #[test]
    fn a_key_that_comes_back_is_not_the_oldest() {
        let mut facts = Facts::new(2);
        assert_eq!(facts.add(key(1), Some(1), host("a")), 0);
        assert!(facts.release(&key(1), Span { from: Some(0), until: 1 }));
        assert_eq!(facts.add(key(2), Some(2), host("b")), 0);
        assert_eq!(facts.add(key(1), Some(3), host("c")), 0);
        assert_eq!(facts.add(key(3), Some(4), host("d")), 1);
        let is_there = [1, 2, 3].map(|port| facts.view.flows.get(&key(port)).is_some());
        assert_eq!(is_there, [true, false, true]);
    }

    #[test]
    fn many_messages_of_one_flow_count_each() {
        let mut facts = Facts::new(8);
        let evicted: u64 = (0..8).map(|time| facts.add(key(1), Some(time), host("a"))).sum();
        assert_eq!((evicted, facts.add(key(2), Some(9), host("b"))), (0, 8));
    }

    #[test]
    fn a_key_that_is_used_again_and_again_leaves_no_old_entries() {
        let mut facts = Facts::new(100);
        for time in 0..10_000 {
            facts.add(key(1), Some(time), host("a"));
            assert!(facts.release(&key(1), Span { from: Some(time), until: time }));
        }
        assert!(facts.aging.len() <= 1_025, "{}", facts.aging.len());
    }

    #[test]
    fn names_are_cut() {
        let mut facts = FlowFacts::default();
        facts.add(FlowFact::HttpHost("\u{fc}".repeat(200).into()));
        assert_eq!(facts.http_host.map(|name| name.len()), Some(NAME_BYTES - 1));
    }
}
