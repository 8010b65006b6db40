//! What is known of one interval while it is open.

use std::net::IpAddr;

use hdrhistogram::Histogram;

use crate::export::intervals::heavy::{Heavy, HeavyHitters};
use crate::export::intervals::{Bounds, Entry, IntervalHistogram, Line, Series, Subject, Sums};
use crate::flow::{Delta, Direction, FlowRecord, RecordKind, RoundTrip};
use crate::limits::{INTERVAL_KEYS, KEY_VLANS};
use crate::sync::Arc;
use crate::time::{Dated, Tick};

/// Whose sums a flow's are part of.
pub(super) struct Member<'a> {
    interface: Option<u16>,
    protocol: u8,
    vlan: [u16; KEY_VLANS],
    name: Option<&'a Arc<str>>,
    /// Initiator and responder, of a flow.
    talkers: Option<[IpAddr; 2]>,
}

impl<'a> Member<'a> {
    pub(super) fn of(
        delta: &FlowRecord,
        interface: Option<u16>,
        initiator: Direction,
        name: Option<&'a Arc<str>>,
    ) -> Self {
        let key = &delta.key;
        let ends = [initiator, initiator.opposite()].map(|way| key.source_ip(way));
        let talkers = (delta.kind == RecordKind::Flow).then_some(ends);
        let (protocol, vlan) = (key.protocol(), key.vlan());
        Self { interface, protocol, vlan, name, talkers }
    }
}

/// When an interval of this length was, if any time is known.
pub(super) fn bounds_of(dated: Option<Dated>, every_ns: Tick) -> Bounds {
    let every = i64::try_from(every_ns).unwrap_or(i64::MAX);
    let start = dated?.place.saturating_mul(every);
    Some((start, start.saturating_add(every)))
}

/// One interval.
#[derive(Debug)]
pub(super) struct Interval {
    total: Sums,
    interfaces: HeavyHitters<u16>,
    protocols: HeavyHitters<u8>,
    vlans: HeavyHitters<[u16; KEY_VLANS]>,
    names: HeavyHitters<Arc<str>>,
    talkers: HeavyHitters<IpAddr>,
    histograms: [Option<Histogram<u64>>; Series::ALL.len()],
}

impl Default for Interval {
    fn default() -> Self {
        Self {
            total: Sums::default(),
            // There is a place for each of these.
            interfaces: HeavyHitters::new(1 << 16),
            protocols: HeavyHitters::new(1 << 8),
            vlans: HeavyHitters::new(INTERVAL_KEYS),
            names: HeavyHitters::new(INTERVAL_KEYS),
            talkers: HeavyHitters::new(INTERVAL_KEYS),
            histograms: Default::default(),
        }
    }
}

impl Interval {
    /// Adds what came in it.
    pub(super) fn add(&mut self, member: &Member<'_>, sums: &Sums) {
        self.total.add(sums);
        if let Some(interface) = member.interface {
            self.interfaces.add(interface, sums);
        }
        self.protocols.add(member.protocol, sums);
        self.vlans.add(member.vlan, sums);
        if let Some(name) = member.name {
            self.names.add(Arc::clone(name), sums);
        }
        if let Some([initiator, responder]) = member.talkers {
            self.talkers.add(initiator, sums);
            // One that talks to itself talks once.
            if initiator != responder {
                self.talkers.add(responder, &sums.turned());
            }
        }
    }

    /// Adds a flow that was over in it; its last packet may have come before.
    pub(super) fn add_end(&mut self, member: &Member<'_>) {
        let end = Sums { ended: 1, ..Sums::default() };
        self.total.add(&end);
        if let Some(interface) = member.interface {
            self.interfaces.add(interface, &end);
        }
        self.protocols.add(member.protocol, &end);
        self.vlans.note(member.vlan, &end);
        if let Some(name) = member.name {
            self.names.note(Arc::clone(name), &end);
        }
        for talker in member.talkers.into_iter().flat_map(distinct) {
            self.talkers.note(talker, &end);
        }
    }

    /// Adds what has become known of a handshake with `delta`, where `before` was known.
    pub(super) fn add_round_trips(&mut self, delta: &Delta, before: Option<&Delta>) {
        for (step, series) in [(0, Series::RttServer), (1, Series::RttClient)] {
            let known = before.map_or(RoundTrip::UNKNOWN, |before| before.handshake[step]);
            if known == RoundTrip::UNKNOWN
                && let Some(ns) = delta.handshake[step].ns()
            {
                self.histogram(series).saturating_record(ns.into());
            }
        }
    }

    /// Adds values of a series.
    pub(super) fn add_values(&mut self, series: Series, values: &Histogram<u64>) {
        if !values.is_empty() {
            let all = self.histogram(series);
            all.add(values).expect("histograms with the same bounds add up");
        }
    }

    fn histogram(&mut self, series: Series) -> &mut Histogram<u64> {
        self.histograms[series as usize].get_or_insert_with(|| series.histogram())
    }

    /// Sees that an interface has a line.
    pub(super) fn note_interface(&mut self, interface: u16) {
        self.interfaces.note(interface, &Sums::default());
    }

    /// Its lines, of this recording; `lost` says how many packets an interface has lost, where some
    /// may be.
    pub(super) fn lines(
        &self,
        (bounds, recording): (Bounds, u32),
        top: usize,
        lost: Option<&[u64]>,
    ) -> Vec<Entry> {
        let of = |subject, sums, lost, error_bytes| {
            Entry::Line(Line { bounds, recording, subject, sums, lost, error_bytes })
        };
        let all_lost = lost.map(|lost| lost.iter().sum());
        let mut lines = vec![of(Subject::Total, self.total, all_lost, None)];
        for Heavy { key, sums, .. } in self.interfaces.top(usize::MAX) {
            let lost = lost.map(|lost| lost.get(usize::from(key)).copied().unwrap_or_default());
            lines.push(of(Subject::Interface(key), sums, lost, None));
        }
        for Heavy { key, sums, .. } in self.protocols.top(usize::MAX) {
            lines.push(of(Subject::Protocol(key), sums, None, None));
        }
        for Heavy { key, sums, missing } in self.vlans.top(usize::MAX) {
            lines.push(of(Subject::Vlan(key), sums, None, Some(missing)));
        }
        for Heavy { key, sums, missing } in self.names.top(top) {
            lines.push(of(Subject::Name(key), sums, None, Some(missing)));
        }
        for Heavy { key, sums, missing } in self.talkers.top(top) {
            lines.push(of(Subject::Talker(key), sums, None, Some(missing)));
        }
        lines
    }

    /// Its histograms, of those series that have values.
    pub(super) fn into_histograms(self, bounds: Bounds) -> Vec<Entry> {
        let all = Series::ALL.into_iter().zip(self.histograms);
        all.filter_map(|(series, values)| {
            Some(Entry::Histogram(IntervalHistogram { bounds, series, values: values? }))
        })
        .collect()
    }
}

/// Both, or the one that they are.
fn distinct([one, other]: [IpAddr; 2]) -> impl Iterator<Item = IpAddr> {
    std::iter::once(one).chain((one != other).then_some(other))
}
