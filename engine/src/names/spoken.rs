//! What flows speak that say nothing else of themselves, by flow key and time: apart from
//! [`super::facts`], so that a flood of questions evicts no names.
//!
//! On one key the same may be said for days, flow after flow: by a host that asks its server from
//! one port, or by all who answer on a group's. Where that is much, what is said again makes an
//! entry longer. The `names` thread writes this; whoever labels records reads it.

use crate::flow::FlowKey;
use crate::flow::protocol::UDP;
use crate::limits::{APP_AGAIN_NS, APPS_KEPT};
use crate::names::App;
use crate::names::aging::Aging;
use crate::names::facts::{Span, When};
use crate::names::recordings::Place;
use crate::sync::shared_map::{Reader, Writer};
use crate::time::Timestamp;

/// One thing that was spoken on a key, once; or again and again, from one time to another.
#[derive(Debug, Clone)]
struct Spell {
    app: App,
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
        self.app == app && self.place.recording == recording
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
        let is_same = self.is_of(next.app, next.place.recording);
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
#[derive(Debug)]
struct Known {
    /// The number of the change by which the key came, and of its last one.
    since: u64,
    changed: u64,
    /// In the order of time.
    spells: Box<[Spell]>,
    /// Whether something else was read since.
    is_interrupted: bool,
}

impl Known {
    /// Without what the flow of `span` spoke. None if that is nothing.
    fn without(&self, span: Span) -> Option<Self> {
        let mut rest = Vec::with_capacity(self.spells.len());
        let (mut any, mut goes_on) = (false, true);
        for spell in &self.spells {
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
        any.then(|| Self { spells: rest.into(), ..*self })
    }
}

/// What flows speak, for who reads it.
#[derive(Debug, Clone)]
pub struct SpokenView {
    keys: Reader<FlowKey, Known>,
}

impl SpokenView {
    /// What the flow of this span spoke first on `key`, and nothing else.
    #[must_use]
    pub(super) fn of(&self, key: &FlowKey, span: Span) -> Option<App> {
        self.keys.with(key, |known| {
            let mut spells = known.spells.iter();
            let its = spells.find(|spell| span.meets(spell.seen, spell.place))?;
            Some(its.app)
        })?
    }
}

/// The table, for its one writer.
#[derive(Debug)]
pub(super) struct Spoken {
    keys: Writer<FlowKey, Known>,
    aging: Aging<FlowKey>,
    /// Of all keys.
    spells: usize,
    max_spells: usize,
    /// Counted up with each: what is oldest.
    changes: u64,
}

impl Spoken {
    pub(super) fn new(max_spells: usize) -> Self {
        let (keys, aging) = Default::default();
        Self { keys, aging, spells: 0, max_spells, changes: 0 }
    }

    pub(super) fn view(&self) -> SpokenView {
        SpokenView { keys: self.keys.reader().clone() }
    }

    /// Keeps what was spoken on `key`. Returns how many entries are gone for it.
    pub(super) fn add(&mut self, key: FlowKey, when: When, app: App) -> u64 {
        let (time, place) = when;
        // Of TCP another connection may have begun within that time, and each says it once.
        let is_udp = key.protocol() == UDP;
        let known = self.keys.with(&key, |known| {
            let is_said =
                |latest: &Spell| latest.is_of(app, place.recording) && latest.is_just_before(time);
            let is_again = is_udp && known.spells.last().is_some_and(is_said);
            (!is_again).then(|| (known.since, known.is_interrupted, known.spells.to_vec()))
        });
        let (since, is_interrupted, mut spells) = match known {
            Some(None) => return 0,
            Some(Some((since, is_interrupted, spells))) => (Some(since), is_interrupted, spells),
            None => (None, true, Vec::new()),
        };
        let before = spells.len();
        let order = |spell: &Spell| (spell.seen.map(|[first, _]| first), spell.place.ordinal);
        let at = spells.partition_point(|spell| order(spell) <= (time, place.ordinal));
        let goes_on = at == before && !is_interrupted;
        if let Some(behind) = spells.get_mut(at) {
            behind.goes_on = false;
        }
        let seen = time.map(|time| [time; 2]);
        spells.insert(at, Spell { app, seen, place, times: 1, goes_on });
        let is_surplus = spells.len() > APPS_KEPT;
        let mut evicted = u64::from(is_surplus && make_room(&mut spells));
        self.spells += spells.len();
        self.spells -= before;
        self.changes += 1;
        let since = since.unwrap_or(self.changes);
        if before == 0 {
            self.aging.add(key, since);
        }
        let (changed, spells) = (self.changes, spells.into());
        self.keys.insert(key, Known { since, changed, spells, is_interrupted: false });
        evicted += self.evict();
        self.tidy();
        evicted
    }

    /// Something on `key` was read, and does not say what is spoken. Of TCP that means nothing, as
    /// messages go on from one segment to the next.
    pub(super) fn interrupt(&mut self, key: &FlowKey) {
        if key.protocol() != UDP {
            return;
        }
        let interrupted = self.keys.with(key, |known| {
            let spells = (!known.is_interrupted).then(|| known.spells.clone())?;
            Some(Known { is_interrupted: true, spells, ..*known })
        });
        if let Some(Some(known)) = interrupted {
            self.keys.insert(*key, known);
        }
    }

    /// Forgets what the flow of `span` spoke on `key`: its record has it. What was spoken before
    /// and after it stays. Whether there was anything.
    pub(super) fn release(&mut self, key: &FlowKey, span: Span) -> bool {
        let Some(Some((before, rest))) =
            self.keys.with(key, |known| Some((known.spells.len(), known.without(span)?)))
        else {
            return false;
        };
        self.spells -= before - rest.spells.len();
        if rest.spells.is_empty() {
            self.keys.remove(key, |_| ());
        } else {
            self.keys.insert(*key, rest);
        }
        self.tidy();
        true
    }

    /// Evicts the keys on which nothing was spoken for longest, if there is too much. Returns how
    /// many entries are gone.
    fn evict(&mut self) -> u64 {
        let mut evicted = 0;
        let keys = &mut self.keys;
        while self.spells > self.max_spells {
            let renewed = |key: &FlowKey, stamp| {
                keys.with(key, |known| (known.since <= stamp).then_some(known.changed))?
            };
            let Some(oldest) = self.aging.oldest(renewed) else { break };
            let gone = keys.remove(&oldest, |known| known.spells.len()).unwrap_or_default();
            self.spells -= gone;
            evicted += gone as u64;
        }
        evicted
    }

    fn tidy(&mut self) {
        let keys = &self.keys;
        let is_there = |key: &FlowKey, stamp| keys.with(key, |k| k.since <= stamp) == Some(true);
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
