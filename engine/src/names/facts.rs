//! What flows said of themselves, by flow key and time.
//!
//! A key serves one flow after the other, so each thing that was said has the time of its packet:
//! it belongs to the flow that began before it and goes on after it. The `names` thread writes
//! this; whoever labels records reads it.

use std::borrow::Cow;

use crate::flow::{FlowKey, FlowRecord};
use crate::limits::{FACTS_KEPT, NAME_BYTES};
use crate::names::aging::Aging;
use crate::names::history::{History, Ordered};
use crate::names::parse::tls;
pub(crate) use crate::names::parse::tls::{cipher_by_name, version_by_name};
use crate::names::recordings::Place;
use crate::names::{App, Finding, FlowFact};
use crate::sync::Arc;
use crate::sync::shared_map::{Reader, Writer};
use crate::time::Timestamp;

/// What a flow said of itself; of each kind the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowFacts {
    /// What it was seen to speak; of TLS not what is in it.
    pub spoken: Option<App>,
    /// Server name of TLS or QUIC.
    pub sni: Option<Arc<str>>,
    /// Whether that was QUIC.
    pub is_quic: bool,
    /// First protocol that the client offered.
    pub alpn: Option<Arc<str>>,
    /// Fingerprint of the client's handshake.
    pub ja4: Option<Arc<str>>,
    /// The TLS version that the server chose, as on the wire.
    pub chosen_version: Option<u16>,
    /// The cipher suite that the server chose, as the IANA numbers them.
    pub chosen_cipher: Option<u16>,
    /// Whether the ClientHello has an encrypted one in it, or what looks like one.
    pub has_ech: bool,
    /// Subject of the server's certificate, up to TLS 1.2.
    pub cert_subject: Option<Arc<str>>,
    /// First DNS name in it, or else its common name.
    pub cert_name: Option<Arc<str>>,
    /// Host of the first HTTP/1 request.
    pub http_host: Option<Arc<str>>,
    /// User-Agent of that request.
    pub http_user_agent: Option<Arc<str>>,
    /// Whether what said this came in a tunnel that stays closed, so that it names who is behind
    /// the tunnel's end and not that.
    pub is_inside: bool,
}

impl FlowFacts {
    /// Whether there is nothing that a record shows.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it speaks, if that is all that it has said.
    pub(super) fn only_spoken(&self) -> Option<App> {
        let spoken = self.spoken?;
        (*self == Self { spoken: Some(spoken), ..Self::default() }).then_some(spoken)
    }

    /// What is in a tunnel that stays closed: whom its flows ask for, of what one of them said.
    pub(super) fn inside(said: &[Finding]) -> Self {
        let mut facts = Self::default();
        for finding in said {
            let Finding::Flow(fact) = finding else { continue };
            match fact {
                FlowFact::Sni(_)
                | FlowFact::QuicSni(_)
                | FlowFact::GquicSni(_)
                | FlowFact::HttpHost(_) => facts.add(fact.clone()),
                _ => {}
            }
        }
        facts.is_inside = !facts.is_empty();
        facts
    }

    /// Adds what it was seen to speak, unless something was seen before.
    pub(super) fn see(&mut self, app: App) {
        self.spoken.get_or_insert(app);
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
            FlowFact::UserAgent(text) => (&mut self.http_user_agent, text),
            FlowFact::CertSubject(text) => (&mut self.cert_subject, text),
            FlowFact::CertName(text) => (&mut self.cert_name, text),
            FlowFact::App(app) => return self.see(app),
            FlowFact::TlsVersion(version) => {
                self.chosen_version.get_or_insert(version);
                return;
            }
            FlowFact::TlsCipher(cipher) => {
                self.chosen_cipher.get_or_insert(cipher);
                return;
            }
            FlowFact::EncryptedHello => {
                self.has_ech = true;
                return;
            }
        };
        text = cut(text);
        place.get_or_insert_with(|| text.into());
    }

    /// Adds what was said later, where nothing was said before.
    pub(super) fn add_later(&mut self, later: &Self) {
        self.is_quic |= self.sni.is_none() && later.is_quic;
        let fill = |to: &mut Option<Arc<str>>, from: &Option<Arc<str>>| {
            if to.is_none() {
                to.clone_from(from);
            }
        };
        self.spoken = self.spoken.or(later.spoken);
        fill(&mut self.sni, &later.sni);
        fill(&mut self.alpn, &later.alpn);
        fill(&mut self.ja4, &later.ja4);
        fill(&mut self.http_host, &later.http_host);
        fill(&mut self.http_user_agent, &later.http_user_agent);
        fill(&mut self.cert_subject, &later.cert_subject);
        fill(&mut self.cert_name, &later.cert_name);
        self.chosen_version = self.chosen_version.or(later.chosen_version);
        self.chosen_cipher = self.chosen_cipher.or(later.chosen_cipher);
        self.has_ech |= later.has_ech;
        self.is_inside |= later.is_inside;
    }

    /// The TLS version that the server chose: `TLSv1.3`; `0x7f17` of one without a name.
    #[must_use]
    pub fn tls_version(&self) -> Option<Cow<'static, str>> {
        self.chosen_version.map(tls::version_name)
    }

    /// The cipher suite that the server chose, by the IANA's name; `0x1a2b` of one without.
    #[must_use]
    pub fn tls_cipher(&self) -> Option<Cow<'static, str>> {
        self.chosen_cipher.map(tls::cipher_name)
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
    /// Where it began, if that tells more.
    place: Option<u64>,
}

impl Span {
    pub(super) fn of(record: &FlowRecord, place: Option<u64>) -> Self {
        let total = &record.total;
        // Times may go back within a flow: a later packet may be of an earlier time.
        let from = match record.opening() {
            Some(opening) => opening.flow_start.map(|start| start.min(total.first)),
            None => Some(total.first),
        };
        Self { from, until: total.last, place }
    }

    #[cfg(test)]
    pub(super) fn new(from: Option<Timestamp>, until: Timestamp, place: Option<u64>) -> Self {
        Self { from, until, place }
    }

    /// Whether something was said in it.
    fn has(self, (time, place): When) -> bool {
        self.meets(time.map(|time| [time; 2]), place)
    }

    /// Whether something was said in it of what was said from one time to another, and last at
    /// `place`: not before its first packet was read, nor in another recording, which began after
    /// that.
    pub(super) fn meets(self, said: Option<[Timestamp; 2]>, place: Place) -> bool {
        if self.place.is_some_and(|first| first < place.recording || place.ordinal < first) {
            return false;
        }
        match (said, self.from) {
            (Some([first, last]), Some(from)) => from <= last && first <= self.until,
            (None, None) => true,
            _ => false,
        }
    }
}

/// The time of a packet, if it has one, and its place.
pub(super) type When = (Option<Timestamp>, Place);

/// When, and what.
type Said = (When, Arc<FlowFacts>);

impl Ordered for Said {
    type Order<'a> = (Option<Timestamp>, u64);

    fn order(&self) -> Self::Order<'_> {
        let (time, place) = self.0;
        (time, place.ordinal)
    }
}

/// What was said on one key.
#[derive(Debug)]
struct Flow {
    /// The number of its latest entry.
    entry: u64,
    said: History<Said>,
}

impl Flow {
    fn facts_in(&self, span: Span) -> Option<Arc<FlowFacts>> {
        let mut its = self.said.iter().filter(|(when, _)| span.has(*when)).map(|(_, facts)| facts);
        let first = its.next()?;
        let Some(second) = its.next() else { return Some(Arc::clone(first)) };
        let mut all = FlowFacts::clone(first);
        std::iter::once(second).chain(its).for_each(|later| all.add_later(later));
        Some(Arc::new(all))
    }
}

/// Facts of all flows, for who reads them.
#[derive(Debug, Clone)]
pub struct FactsView {
    flows: Reader<FlowKey, Flow>,
}

impl FactsView {
    /// What the flow of this span has said on `key`.
    #[must_use]
    pub(super) fn of(&self, key: &FlowKey, span: Span) -> Option<Arc<FlowFacts>> {
        self.flows.with(key, |flow| flow.facts_in(span))?
    }
}

/// The table, for its one writer.
#[derive(Debug)]
pub(super) struct Facts {
    flows: Writer<FlowKey, Flow>,
    aging: Aging<FlowKey>,
    /// What was said, in all flows: each may be as long as the names in it.
    messages: usize,
    max_messages: usize,
    /// Counted up with each entry: what is oldest.
    entries: u64,
}

impl Facts {
    pub(super) fn new(max_messages: usize) -> Self {
        let (flows, aging) = Default::default();
        Self { flows, aging, messages: 0, max_messages, entries: 0 }
    }

    pub(super) fn view(&self) -> FactsView {
        FactsView { flows: self.flows.reader().clone() }
    }

    /// How many flows said something.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Keeps what a flow said. Returns how many others were evicted for it.
    pub(super) fn add(
        &mut self,
        key: FlowKey,
        when: When,
        facts: impl Into<Arc<FlowFacts>>,
    ) -> u64 {
        let flows = &mut self.flows;
        let one = (when, facts.into());
        let before = flows.with(&key, |flow| (flow.said.len(), flow.said.with(one.clone())));
        let (len, mut said) = before.unwrap_or_else(|| (0, History::new(one)));
        let mut evicted = 0_usize;
        if said.len() > FACTS_KEPT {
            // Of a flow the first message counts, and of what follows it on the key the latest.
            said = said.with_earliest(|earliest| {
                let (_, gone) = earliest.remove(1);
                evicted = usize::from(!gone.is_inside);
                // Of what is in a tunnel there is no end, and the first of each kind counts.
                if let Some((_, first)) = earliest.first_mut()
                    && gone.is_inside
                    && first.is_inside
                {
                    Arc::make_mut(first).add_later(&gone);
                }
            });
        }
        self.messages += said.len() - len;
        self.entries += 1;
        flows.insert(key, Flow { entry: self.entries, said });
        self.aging.add(key, self.entries);
        while self.messages > self.max_messages {
            let oldest = self.aging.oldest(|key, entry| Some(entry).filter(is_of(flows, key)));
            let Some(oldest) = oldest else { break };
            let gone = flows.remove(&oldest, |flow| flow.said.len()).unwrap_or_default();
            self.messages -= gone;
            evicted += gone;
        }
        self.tidy();
        evicted as u64
    }

    /// Forgets what the flow of `span` said on `key`: its record has it. What other flows said
    /// there stays. Whether there was anything.
    pub(super) fn release(&mut self, key: &FlowKey, span: Span) -> bool {
        let rest = self.flows.with(key, |flow| {
            (flow.said.len(), flow.entry, flow.said.retain(|(when, _)| !span.has(*when)))
        });
        let Some((before, entry, rest)) = rest else { return false };
        let released = before - rest.as_ref().map_or(0, History::len);
        if released == 0 {
            return false;
        }
        match rest {
            Some(said) => self.flows.insert(*key, Flow { entry, said }),
            None => _ = self.flows.remove(key, |_| ()),
        }
        self.messages -= released;
        self.tidy();
        true
    }

    fn tidy(&mut self) {
        let flows = &self.flows;
        self.aging.tidy(flows.len(), |key, entry| is_of(flows, key)(&entry));
    }
}

/// Whether the latest entry of `key` is this one.
fn is_of(flows: &Writer<FlowKey, Flow>, key: &FlowKey) -> impl Fn(&u64) -> bool {
    let latest = flows.with(key, |flow| flow.entry);
    move |entry| latest == Some(*entry)
}

#[cfg(test)]
mod tests;
