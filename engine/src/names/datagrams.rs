//! Datagrams of name services that come in IP fragments, put together for the parsers.
//!
//! Owned by the `names` thread, which gives it the fragments that the decoders hand over, in their
//! order, and reads what this gives back. The first fragment is read at once, as far as what has
//! come by then goes: where the others are never seen, as with a filter for ports, that is all.
//! Then the whole message is, once it is there.
//!
//! All is bounded ([`JOINED_DATAGRAMS`], [`JOINED_DATAGRAM_BYTES`], [`JOINED_DATAGRAM_PARTS`],
//! [`JOINED_DATAGRAM_LIFE_NS`]), the oldest is forgotten first, and what is not read to its end is
//! counted. Fragments that overlap are refused with their datagram (RFC 8200 section 4.5), but for
//! one that comes again as it was.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::decode::FragmentPlace;
use crate::flow::{Direction, FlowKey, Tunnel};
use crate::limits::{
    CHUNK_BYTES, JOINED_DATAGRAM_BYTES, JOINED_DATAGRAM_LIFE_NS, JOINED_DATAGRAM_PARTS,
    JOINED_DATAGRAMS, KEY_VLANS,
};
use crate::names::parse::pieces::{Bounds, Pieces};
use crate::names::{ParserCounters, Payload};
use crate::sync::hash::Seed;
use crate::time::Tick;

/// Of one datagram. IP lengths have 16 bits.
const BOUNDS: Bounds = Bounds { bytes: 0xffff, parts: JOINED_DATAGRAM_PARTS };
const _: () =
    assert!(BOUNDS.bytes + CHUNK_BYTES <= JOINED_DATAGRAM_BYTES, "there is room for the longest");

/// How much of a message a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it, or all that there is.
    Whole,
    /// What has come first of the datagram with this number; it may come whole.
    Beginning(u64),
    /// The datagram with this number, whole. Its beginning may have been read.
    Joined(u64),
}

/// What the fragments of one datagram share. All are of UDP.
type Shared = (IpAddr, IpAddr, u32, [u16; KEY_VLANS], Option<Tunnel>);

/// Datagrams whose fragments come.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    datagrams: HashMap<Shared, Datagram, Seed>,
    /// In the order in which they began. One that began anew stands here twice, and its older place
    /// no longer counts.
    by_age: VecDeque<(u64, Shared)>,
    /// That are kept of all of them.
    bytes: usize,
    /// The number of the next one.
    next: u64,
    /// What was put together last.
    whole: Vec<u8>,
    /// Those that will not come whole, though their beginning was read.
    lost: Vec<u64>,
    counters: ParserCounters,
}

#[derive(Debug)]
struct Datagram {
    number: u64,
    began: Tick,
    state: State,
    pieces: Pieces,
    first: Option<First>,
    /// Where the last fragment ends.
    end: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For more fragments.
    Waiting,
    /// All of it was read.
    Whole,
    /// Nothing more of it is taken.
    Refused,
}

/// What only the first fragment says.
#[derive(Debug, Clone, Copy)]
struct First {
    key: FlowKey,
    direction: Direction,
    /// Where its payload begins.
    start: i64,
}

/// Why a datagram is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    TooLong,
    Overlap,
}

impl Datagrams {
    /// Takes a fragment, which stands at `place`. What is to be read now, if anything.
    pub(super) fn join<'a>(
        &'a mut self,
        fragment: &Payload<'a>,
        place: FragmentPlace,
    ) -> Option<(Payload<'a>, Extent)> {
        let key = shared(fragment, place);
        self.make_room(fragment.bytes.len());
        if place.is_first && self.datagrams.get(&key).is_some_and(|it| it.state == State::Whole) {
            // Identifiers come again, and so do datagrams that were captured twice.
            self.datagrams.remove(&key);
        }
        let datagram = self.datagrams.entry(key).or_insert_with(|| {
            self.by_age.push_back((self.next, key));
            self.next += 1;
            Datagram::new(self.next - 1, fragment.tick)
        });
        if datagram.state != State::Waiting {
            let is_refused = datagram.state == State::Refused && place.is_first;
            self.counters.overlaps += u64::from(is_refused);
            return None;
        }
        let before = datagram.pieces.bytes();
        if let Err(refusal) = datagram.insert(fragment, place) {
            self.lost.extend(datagram.first.map(|_| datagram.number));
            datagram.close(State::Refused);
            self.bytes -= before;
            match refusal {
                Refusal::TooLong => self.counters.too_long += 1,
                Refusal::Overlap => self.counters.overlaps += 1,
            }
            return None;
        }
        self.bytes = self.bytes - before + datagram.pieces.bytes();
        let First { key, direction, start } = datagram.first?;
        let is_new = datagram.pieces.bytes() > before;
        let extent = if datagram.is_whole(start) {
            Extent::Joined(datagram.number)
        } else if place.is_first && is_new {
            Extent::Beginning(datagram.number)
        } else {
            return None;
        };
        self.whole.clear();
        self.whole.extend_from_slice(&datagram.pieces.run(0));
        if matches!(extent, Extent::Joined(_)) {
            self.bytes -= datagram.pieces.bytes();
            datagram.close(State::Whole);
        }
        let (bytes, wire_bytes) = (&self.whole[..], u32::try_from(self.whole.len()).ok()?);
        let whole = Payload { key, direction, fragment: None, bytes, wire_bytes, ..*fragment };
        Some((whole, extent))
    }

    /// Forgets datagrams whose time is over at `tick`.
    pub(super) fn forget_old(&mut self, tick: Tick) {
        self.forget(|oldest| tick.saturating_sub(oldest.began) > JOINED_DATAGRAM_LIFE_NS, false);
    }

    /// Nothing more will come: what did not come whole is counted.
    pub(super) fn finish(&mut self) {
        self.forget(|_| true, false);
    }

    /// The numbers of those that will not come whole, and whose beginning was read, since the last
    /// call: they are gone from here then, whoever takes them.
    pub(super) fn take_lost(&mut self) -> impl Iterator<Item = u64> {
        self.lost.drain(..)
    }

    /// What could not be read so far.
    pub(super) fn counters(&self) -> ParserCounters {
        self.counters
    }

    /// Makes room for a fragment of so many bytes, and a datagram that begins with it.
    fn make_room(&mut self, bytes: usize) {
        while self.by_age.len() >= JOINED_DATAGRAMS || self.bytes + bytes > JOINED_DATAGRAM_BYTES {
            let mut is_first = true;
            self.forget(|_| std::mem::take(&mut is_first), true);
        }
    }

    /// Forgets the oldest, as long as `is_over` says so of it: for want of room, or of the rest.
    fn forget(&mut self, mut is_over: impl FnMut(&Datagram) -> bool, is_for_room: bool) {
        while let Some((number, key)) = self.by_age.front() {
            if let Some(there) = self.datagrams.get(key).filter(|it| it.number == *number) {
                if !is_over(there) {
                    return;
                }
                self.bytes -= there.pieces.bytes();
                match (there.state, there.first) {
                    (State::Whole | State::Refused, _) => {}
                    (State::Waiting, None) => {
                        self.counters.fragments_alone += there.pieces.parts() as u64;
                    }
                    (State::Waiting, Some(_)) => {
                        self.lost.push(*number);
                        self.counters.no_room += u64::from(is_for_room);
                        self.counters.unfinished += u64::from(!is_for_room);
                    }
                }
                self.datagrams.remove(key);
            }
            self.by_age.pop_front();
        }
    }
}

impl Datagram {
    fn new(number: u64, began: Tick) -> Self {
        let (pieces, first, end) = Default::default();
        Self { number, began, state: State::Waiting, pieces, first, end }
    }

    /// Keeps nothing of it but that.
    fn close(&mut self, state: State) {
        self.state = state;
        self.pieces = Pieces::default();
    }

    fn insert(&mut self, fragment: &Payload<'_>, place: FragmentPlace) -> Result<(), Refusal> {
        let start = i64::from(place.start);
        let end = start + i64::from(fragment.wire_bytes);
        match self.pieces.repeats(start, fragment.bytes) {
            Some(true) => return Ok(()),
            Some(false) => return Err(Refusal::Overlap),
            None => {}
        }
        if end > i64::from(u16::MAX) {
            return Err(Refusal::TooLong);
        }
        if place.is_first {
            let (key, direction) = (fragment.key, fragment.direction);
            self.first.get_or_insert(First { key, direction, start });
        }
        if place.is_last && *self.end.get_or_insert(end) != end {
            return Err(Refusal::Overlap);
        }
        let inserted = self.pieces.insert(start, fragment.bytes, BOUNDS);
        inserted.map_err(|_| Refusal::TooLong)?;
        let begins_before = self.first.is_some_and(|first| self.pieces.start() < Some(first.start));
        let ends_behind = self.end.is_some_and(|end| self.pieces.end() > Some(end));
        if begins_before || ends_behind { Err(Refusal::Overlap) } else { Ok(()) }
    }

    /// Whether all has come from `start` on.
    fn is_whole(&self, start: i64) -> bool {
        self.end.is_some() && self.pieces.end() == self.end && self.pieces.is_whole_from(start)
    }
}

fn shared(fragment: &Payload<'_>, place: FragmentPlace) -> Shared {
    let key = &fragment.key;
    let [from, to] = [fragment.direction, fragment.direction.opposite()];
    (key.source_ip(from), key.source_ip(to), place.identification, key.vlan(), key.tunnel())
}

#[cfg(test)]
mod tests;
