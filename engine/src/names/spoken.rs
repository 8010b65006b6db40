//! What flows speak that say nothing else of themselves, by flow key and time: apart from
//! [`super::facts`], so that a flood of questions evicts no names.
//!
//! On one key the same may be said for days, flow after flow: by a host that asks its server from
//! one port, or by all who answer on a group's. Where that is much, what is said again makes an
//! entry longer. The `names` thread writes this; whoever labels records reads a published copy.

use crate::flow::FlowKey;
use crate::flow::protocol::UDP;
use crate::limits::{APP_AGAIN_NS, APPS_KEPT};
use crate::names::App;
use crate::names::aging::Aging;
use crate::names::facts::{FlowFacts, Span, When};
use crate::names::recordings::Place;
use crate::sync::Arc;
use crate::sync::parts::Parts;
use crate::time::Timestamp;

/// One thing that was spoken on a key, once; or again and again, from one time to another.
#[derive(Debug, Clone)]
struct Spell {
    /// Nothing but that.
    facts: Arc<FlowFacts>,
    /// First and last, where packets have a time.
    seen: Option<[Timestamp; 2]>,
    /// Of the last.
    place: Place,
    /// How often, at least 1.
    times: u32,
    /// Whether it goes on with the one before it: of what was read in between everything said the
    /// same.
    goes_on: bool,
}

impl Spell {
    fn is_of(&self, app: App, recording: u64) -> bool {
        self.facts.spoken == Some(app) && self.place.recording == recording
    }

    /// Whether at `time`, not before it, nobody can have begun another flow.
    fn is_just_before(&self, time: Option<Timestamp>) -> bool {
        match (self.seen, time) {
            (Some([first, last]), Some(now)) => {
                (first..last.saturating_add(APP_AGAIN_NS)).contains(&now)
            }
            (None, None) => true,
            _ => false,
        }
    }

    /// Stands for `next` too, which goes on with it. False if that is something else.
    fn absorb(&mut self, next: &Self) -> bool {
        let is_same = self.facts == next.facts && self.place.recording == next.place.recording;
        let (Some([_, last]), Some([_, later])) = (&mut self.seen, next.seen) else { return false };
        if !next.goes_on || !is_same {
            return false;
        }
        *last = later.max(*last);
        self.place.ordinal = next.place.ordinal.max(self.place.ordinal);
        self.times = self.times.saturating_add(next.times);
        true
    }
}

/// What was spoken on one key.
#[derive(Debug, Clone)]
struct Known {
    /// The number of the change by which the key came, and of its last one.
    since: u64,
    changed: u64,
    /// In the order of time.
    spells: Arc<[Spell]>,
    /// Whether something else was read since.
    is_interrupted: bool,
}

/// What flows speak, as published.
#[derive(Debug, Clone, Default)]
pub struct SpokenView {
    keys: Parts<FlowKey, Known>,
}

impl SpokenView {
    /// What the flow of this span spoke first on `key`, and nothing else.
    #[must_use]
    pub(super) fn of(&self, key: &FlowKey, span: Span) -> Option<&Arc<FlowFacts>> {
        let spells = &self.keys.get(key)?.spells;
        let its = spells.iter().find(|spell| span.meets(spell.seen, spell.place))?;
        Some(&its.facts)
    }
}

/// The table, for its one writer.
#[derive(Debug)]
pub(super) struct Spoken {
    view: SpokenView,
    aging: Aging<FlowKey>,
    /// Of all keys.
    spells: usize,
    max_spells: usize,
    /// Counted up with each: what is oldest.
    changes: u64,
}

/// What became of the table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) is_changed: bool,
    /// Entries that are gone.
    pub(super) evicted: u64,
}

impl Spoken {
    pub(super) fn new(max_spells: usize) -> Self {
        let (view, aging) = Default::default();
        Self { view, aging, spells: 0, max_spells, changes: 0 }
    }

    pub(super) fn view(&self) -> &SpokenView {
        &self.view
    }

    /// Keeps what was spoken on `key`.
    pub(super) fn add(&mut self, key: FlowKey, when: When, app: App) -> Outcome {
        let (time, place) = when;
        let known = self.view.keys.get(&key);
        let latest = known.and_then(|known| known.spells.last());
        let latest = latest.filter(|spell| spell.is_of(app, place.recording));
        // Of TCP another connection may have begun within that time, and each says it once.
        let is_udp = key.protocol() == UDP;
        if is_udp && latest.is_some_and(|spell| spell.is_just_before(time)) {
            return Outcome::default();
        }
        let mut spells = known.map(|known| known.spells.to_vec()).unwrap_or_default();
        let before = spells.len();
        let order = |spell: &Spell| (spell.seen.map(|[first, _]| first), spell.place.ordinal);
        let at = spells.partition_point(|spell| order(spell) <= (time, place.ordinal));
        let goes_on = at == before && known.is_some_and(|known| !known.is_interrupted);
        if let Some(behind) = spells.get_mut(at) {
            behind.goes_on = false;
        }
        let facts = Arc::new(FlowFacts { spoken: Some(app), ..FlowFacts::default() });
        let seen = time.map(|time| [time; 2]);
        spells.insert(at, Spell { facts, seen, place, times: 1, goes_on });
        let is_surplus = spells.len() > APPS_KEPT;
        let mut evicted = u64::from(is_surplus && make_room(&mut spells));
        self.spells += spells.len();
        self.spells -= before;
        self.changes += 1;
        let since = known.map_or(self.changes, |known| known.since);
        if before == 0 {
            self.aging.add(key, since);
        }
        let (changed, spells) = (self.changes, spells.into());
        self.view.keys.insert(key, Known { since, changed, spells, is_interrupted: false });
        evicted += self.evict();
        self.tidy();
        Outcome { is_changed: true, evicted }
    }

    /// Something on `key` was read, and does not say what is spoken. Of TCP that means nothing, as
    /// messages go on from one segment to the next.
    pub(super) fn interrupt(&mut self, key: &FlowKey) {
        if key.protocol() == UDP
            && self.view.keys.get(key).is_some_and(|known| !known.is_interrupted)
            && let Some(known) = self.view.keys.get_mut(key)
        {
            known.is_interrupted = true;
        }
    }

    /// Forgets what the flow of `span` spoke on `key`: its record has it. What was spoken before
    /// and after it stays. Whether there was anything.
    pub(super) fn release(&mut self, key: &FlowKey, span: Span) -> bool {
        let Some(known) = self.view.keys.get(key) else { return false };
        let before = known.spells.len();
        let mut rest = Vec::with_capacity(before);
        let (mut any, mut goes_on) = (false, true);
        for spell in known.spells.iter() {
            let is_its = span.meets(spell.seen, spell.place);
            any |= is_its;
            // Of one that stands for several it may have been more: then it goes with what is
            // oldest.
            let times = spell.times - u32::from(is_its);
            goes_on &= spell.goes_on;
            if times > 0 {
                rest.push(Spell { times, goes_on, ..spell.clone() });
                goes_on = true;
            }
        }
        if !any {
            return false;
        }
        self.spells -= before - rest.len();
        if rest.is_empty() {
            self.view.keys.remove(key);
        } else {
            let known = Known { spells: rest.into(), ..*known };
            self.view.keys.insert(*key, known);
        }
        self.tidy();
        true
    }

    /// Evicts the keys on which nothing was spoken for longest, if there is too much. Returns how
    /// many entries are gone.
    fn evict(&mut self) -> u64 {
        let mut evicted = 0;
        let keys = &mut self.view.keys;
        while self.spells > self.max_spells {
            let renewed = |key: &FlowKey, stamp| {
                let known = keys.get(key).filter(|known| known.since <= stamp)?;
                Some(known.changed)
            };
            let Some(oldest) = self.aging.oldest(renewed) else { break };
            let gone = keys.remove(&oldest).map_or(0, |known| known.spells.len());
            self.spells -= gone;
            evicted += gone as u64;
        }
        evicted
    }

    fn tidy(&mut self) {
        let keys = &self.view.keys;
        let is_there = |key: &FlowKey, stamp| keys.get(key).is_some_and(|k| k.since <= stamp);
        self.aging.tidy(keys.len(), is_there);
    }
}

/// Makes one of `spells` stand for the next, which goes on with it: the earliest there are. Where
/// there are none, the earliest is gone; whether it is.
fn make_room(spells: &mut Vec<Spell>) -> bool {
    for idx in 1..spells.len() {
        let (before, from) = spells.split_at_mut(idx);
        if before.last_mut().is_some_and(|spell| spell.absorb(&from[0])) {
            spells.remove(idx);
            return false;
        }
    }
    spells.remove(0);
    true
}

#[cfg(test)]
mod tests;
