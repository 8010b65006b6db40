//! Labels for records, by what was known when each flow began.
//!
//! A [`Labeller`] belongs to a thread that ends records. Before it looks at the tables it waits
//! for the `names` thread to have read every payload that was handed over until then, so that
//! how late a thread runs changes nothing: in `read` as long as it takes, live for a bounded time.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::devices::label::devices_of;
use crate::devices::{DeviceLabel, DevicesView, Sightings};
use crate::flow::{Delta, FlowKey, FlowRecord, RecordKind};
use crate::limits::DEVICE_SIGHTINGS_EVERY;
use crate::names::App;
use crate::names::addresses::{AddressName, AddressesView, Client, Doubt, Moment};
use crate::names::carried::Carried;
use crate::names::counters::NamesCounters;
use crate::names::facts::{FactsView, FlowFacts, Span};
use crate::names::handover::Progress;
use crate::names::parse::text::host_name;
use crate::names::recordings::nearest;
use crate::names::spoken::SpokenView;
use crate::sync::ring::Producer;
use crate::sync::snapshot::Snapshot;
use crate::sync::{Arc, AtomicU64, Ordering, thread};

/// How long a thread that waits for the `names` thread sleeps before it looks again.
const LOOK: Duration = Duration::from_micros(20);

/// What is learned of flows and addresses, as the `names` thread goes on.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    /// What flows said of themselves.
    pub(super) facts: FactsView,
    /// What those speak that said nothing else, or before they said something else.
    pub(super) spoken: SpokenView,
    /// Names of addresses.
    pub(super) addresses: AddressesView,
}

/// All that is known: devices as published last; the rest as the `names` thread goes on. What it
/// reads later has a later time than the flows that are over.
#[derive(Debug)]
pub struct Tables {
    learned: Learned,
    /// The place of the last payload that was read, where places tell what a flow could know.
    place: Option<u64>,
    devices: Arc<DevicesView>,
}

impl Tables {
    /// What there is to say of a record's flow.
    #[must_use]
    pub fn labels_of(&self, record: &FlowRecord) -> Option<Labels> {
        if record.kind != RecordKind::Flow {
            return None;
        }
        let labels = Labels { devices: devices_of(record, &self.devices), ..self.names_of(record) };
        (labels != Labels::default()).then_some(labels)
    }

    /// The same of a flow, without devices.
    #[must_use]
    pub fn names_of(&self, record: &FlowRecord) -> Labels {
        let span = self.span_of(record);
        let facts = self.learned.facts.of(&record.key, span);
        let spoken = self.learned.spoken.of(&record.key, span);
        Labels { facts, spoken, name: self.name_of(record), devices: [None, None] }
    }

    /// The best name of a flow's responder, as far as it is known by the end of a delta of that;
    /// `before` is what was counted before it, of a flow that had begun.
    #[must_use]
    pub fn name_in(&self, delta: &FlowRecord, before: Option<&Delta>) -> Option<Arc<str>> {
        let opening = delta.total.opening.or_else(|| before?.opening);
        let mut known = FlowRecord::flow(delta.key, Delta { opening, ..delta.total });
        if let Some(before) = before {
            known.total.first = known.total.first.min(before.first);
        }
        let labels = self.names_of(&known);
        labels.best_name().map(|best| best.name.into())
    }

    /// When a record's flow was.
    fn span_of(&self, record: &FlowRecord) -> Span {
        Span::of(record, self.place_of(record))
    }

    /// The place of its first packet.
    fn place_of(&self, record: &FlowRecord) -> Option<u64> {
        Some(nearest(self.place?, record.opening()?.ordinal))
    }

    /// The responder's name as the initiator knew it at the flow's first packet.
    fn name_of(&self, record: &FlowRecord) -> Option<AddressName> {
        let total = &record.total;
        let start = match record.opening() {
            Some(opening) => opening.flow_start?,
            None => (total.first <= total.last).then_some(total.first)?,
        };
        let way = record.initiator();
        let client = Client { vlan: record.key.vlan(), address: record.key.source_ip(way) };
        let address = record.key.source_ip(way.opposite());
        let moment = Moment { time: start, place: self.place_of(record) };
        self.learned.addresses.name_of(client, address, moment)
    }
}

/// What is known of one record's flow beside what was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// What the flow said of itself.
    pub facts: Option<Arc<FlowFacts>>,
    /// What it was seen to speak before it said anything of that, or if it said nothing.
    pub spoken: Option<App>,
    /// How its responder's address was named.
    pub name: Option<AddressName>,
    /// Which devices its initiator and its responder are, where they are local hosts.
    pub devices: [Option<DeviceLabel>; 2],
}

/// The best name of a responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestName<'a> {
    /// The name, lower case, without a port and the last dot.
    pub name: Cow<'a, str>,
    /// Where it is from.
    pub source: &'static str,
    /// How old the answer was that gave it, at the flow's first packet.
    pub age_ns: Option<u64>,
    /// Why it may be another's.
    pub doubt: Option<&'static str>,
}

impl Labels {
    /// What the flow was seen to speak.
    #[must_use]
    pub fn app(&self) -> Option<App> {
        // What it speaks shows before it goes on in TLS, and not after.
        let facts = self.facts.as_deref();
        let spoken = self.spoken.or_else(|| facts?.spoken)?;
        Some(spoken.with_alpn(facts.and_then(|facts| facts.alpn.as_deref())))
    }

    /// Goes on with what was said of the part before this one.
    pub(super) fn follow(&mut self, before: &Self) {
        if let Some(first) = &before.facts {
            let later = self.facts.take().filter(|later| later != first);
            self.facts = Some(match later {
                None => Arc::clone(first),
                Some(later) => {
                    let mut all = FlowFacts::clone(first);
                    all.add_later(&later);
                    Arc::new(all)
                }
            });
        }
        self.spoken = before.spoken.or(self.spoken);
        self.name = before.name.clone().or(self.name.take());
        for (now, before) in self.devices.iter_mut().zip(&before.devices) {
            *now = now.take().or_else(|| before.clone());
        }
    }

    /// Whether there is more of the flow itself than what it speaks, or a name of its responder.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.name.is_some() || self.facts.is_some()
    }

    /// Whether an end is a device.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.devices.iter().any(Option::is_some)
    }

    /// The best name: what the flow said itself comes first, unless that is an address. What was
    /// said in a tunnel that stays closed names another than its end.
    #[must_use]
    pub fn best_name<'a>(&'a self) -> Option<BestName<'a>> {
        let facts = self.facts.as_deref().filter(|facts| !facts.is_inside);
        let of_flow = |said: &'a str, source| {
            host_name(said).map(|name| BestName { name, source, age_ns: None, doubt: None })
        };
        let sni = facts.and_then(|facts| {
            let source = if facts.is_quic { "quic_sni" } else { "sni" };
            facts.sni.as_deref().and_then(|said| of_flow(said, source))
        });
        let host = || facts?.http_host.as_deref().and_then(|said| of_flow(said, "http_host"));
        let of_address = || {
            let known = self.name.as_ref()?;
            Some(BestName {
                name: Cow::Borrowed(&known.name),
                source: known.service.name(),
                age_ns: Some(known.age_ns),
                doubt: known.doubt.map(Doubt::name),
            })
        };
        sni.or_else(host).or_else(of_address)
    }
}

/// What the `names` thread and those who label records share.
#[derive(Debug)]
pub(super) struct Shared {
    learned: Learned,
    /// The place of the last payload that was read, if it matters.
    pub(super) place: Option<AtomicU64>,
    pub(super) devices: Snapshot<DevicesView>,
    carried: Carried,
    /// Of each decoder.
    pub(super) progress: Vec<Arc<Progress>>,
    thread: OnceLock<thread::Thread>,
}

impl Shared {
    /// `is_ordered` says that places tell what was known when a flow began.
    pub(super) fn new(
        progress: Vec<Arc<Progress>>,
        learned: Learned,
        max_names: usize,
        is_ordered: bool,
    ) -> Self {
        let (devices, thread) = Default::default();
        let place = is_ordered.then(AtomicU64::default);
        Self { learned, place, devices, carried: Carried::new(max_names), progress, thread }
    }

    fn tables(&self) -> Tables {
        Tables {
            learned: self.learned.clone(),
            // Relaxed: any place near a flow's will do.
            place: self.place.as_ref().map(|place| place.load(Ordering::Relaxed)),
            devices: self.devices.latest(),
        }
    }

    /// Whether the `names` thread has ended.
    fn is_over(&self) -> bool {
        self.progress.iter().all(|progress| progress.taken() == Progress::ALL)
    }

    pub(super) fn set_thread(&self, thread: thread::Thread) {
        // It runs once.
        let _ = self.thread.set(thread);
    }
}

/// The devices that are known, for who shows them.
#[derive(Debug, Clone)]
pub struct DevicesReader(pub(super) Arc<Shared>);

impl DevicesReader {
    /// As published last; all of them, once the `names` thread has ended.
    #[must_use]
    pub fn latest(&self) -> DevicesView {
        DevicesView::clone(&self.0.devices.latest())
    }
}

/// A flow whose record is labelled: what it said up to then is needed no more.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) key: FlowKey,
    pub(super) span: Span,
}

/// Labels the records of one thread.
#[derive(Debug)]
pub struct Labeller {
    shared: Arc<Shared>,
    /// How long to wait for the `names` thread; `None` is as long as it takes.
    patience: Option<Duration>,
    released: Producer<Released>,
    /// Devices at the ends of records, until the `names` thread has them; and since when.
    sightings: Sightings,
    since: Instant,
    passed_on: Producer<Sightings>,
    counters: Arc<NamesCounters>,
    /// Its place in the counters.
    number: usize,
    /// How much of each decoder was waited for in vain. Until the tables have that, a thread with
    /// patience does not wait again: it would be held up at every batch.
    missed: Vec<u64>,
}

impl Labeller {
    pub(super) fn new(
        shared: Arc<Shared>,
        patience: Option<Duration>,
        released: Producer<Released>,
        passed_on: Producer<Sightings>,
        counters: Arc<NamesCounters>,
        number: usize,
    ) -> Self {
        let (sightings, missed) = Default::default();
        let since = Instant::now();
        Self { shared, patience, released, sightings, since, passed_on, counters, number, missed }
    }

    /// Labels of those of `records` that have any, each with its place.
    pub fn label(&mut self, records: &[FlowRecord]) -> Vec<(u32, Labels)> {
        let is_late = !self.wait();
        let counters = &self.counters.labels[self.number];
        if is_late {
            counters.late.add(records.len() as u64);
        }
        let tables = self.shared.tables();
        let (mut labels, mut over) = (Vec::new(), Vec::new());
        for (place, record) in (0..).zip(records) {
            if self.sightings.is_full() && self.patience.is_none() {
                pass_on(&self.shared, &mut self.sightings, &mut self.passed_on);
            }
            let missed = self.sightings.note(record, tables.devices.networks());
            self.counters.labels[self.number].devices_missed.add(missed);
            let its = self.shared.carried.labels(record, tables.labels_of(record));
            let Some(its) = its else { continue };
            let has_said = its.facts.is_some() || its.spoken.is_some();
            if has_said && record.total.is_complete() {
                over.push(Released { key: record.key, span: tables.span_of(record) });
            }
            labels.push((place, its));
        }
        // Now that all are labelled: what they say may be of the same time, or of none.
        for released in over {
            // If there is no room it is forgotten later, with what is oldest.
            let _ = self.released.push(released);
        }
        counters.labelled.add(labels.len() as u64);
        if self.since.elapsed() >= DEVICE_SIGHTINGS_EVERY && !self.passed_on.is_full() {
            self.since = Instant::now();
            pass_on(&self.shared, &mut self.sightings, &mut self.passed_on);
        }
        labels
    }

    /// The tables by which deltas are named that were received before this: with all that was
    /// said until then where packets can wait, else as they are.
    pub fn tables(&mut self) -> Tables {
        if self.patience.is_none() {
            self.wait();
        }
        self.shared.tables()
    }

    /// Waits until everything that was handed over by now is in the tables. False if that took
    /// too long, or if it did so before and what was missing then is still not there.
    fn wait(&mut self) -> bool {
        let all = &self.shared.progress;
        if all.iter().zip(&self.missed).any(|(progress, missed)| progress.taken() < *missed) {
            return false;
        }
        self.missed.clear();
        let mut until = None;
        for progress in all {
            let handed = progress.handed();
            while progress.taken() < handed {
                if let Some(patience) = self.patience {
                    let now = Instant::now();
                    if now >= *until.get_or_insert(now + patience) {
                        self.missed = all.iter().map(|progress| progress.handed()).collect();
                        return false;
                    }
                }
                if let Some(thread) = self.shared.thread.get() {
                    thread.unpark();
                }
                thread::park_timeout(LOOK);
            }
        }
        true
    }
}

/// Passes sightings on, and waits for the `names` thread to make room for that, if it runs.
fn pass_on(shared: &Shared, sightings: &mut Sightings, to: &mut Producer<Sightings>) {
    if sightings.is_empty() {
        return;
    }
    while to.is_full() {
        let Some(thread) = shared.thread.get().filter(|_| !shared.is_over()) else { return };
        thread.unpark();
        thread::park_timeout(LOOK);
    }
    let _ = to.push(std::mem::take(sightings));
}

/// The devices at the ends of the last records are known too: the `names` thread goes on until all
/// who label records are gone.
impl Drop for Labeller {
    fn drop(&mut self) {
        pass_on(&self.shared, &mut self.sightings, &mut self.passed_on);
    }
}
