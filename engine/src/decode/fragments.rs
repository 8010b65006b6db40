//! Remembers protocol and ports of fragmented datagrams, so that later fragments find their flow.
//!
//! Bounded in number and time: the oldest datagram is forgotten when there is no room.
//! Nothing is reassembled, and nothing is held back: a fragment that comes before its first one
//! is a packet of a flow without ports, as packets are counted in the order in which they come.
//! Fragments that overlap are counted in flows as any other; how many there were is noted, as far
//! as that is told by how far a datagram has come without a gap, and by its latest fragment.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::decode::ip::IpHeader;
use crate::decode::link::Network;
use crate::flow::{PortKind, Tunnel};
use crate::limits::{FRAGMENT_DATAGRAMS, FRAGMENT_LIFE_NS, KEY_VLANS};
use crate::time::Tick;

/// Ports as the flow key has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) kind: PortKind,
    pub(crate) source: u16,
    pub(crate) destination: u16,
}

impl Ports {
    pub(crate) const NONE: Self = Self { kind: PortKind::None, source: 0, destination: 0 };
}

/// What the fragments of one datagram share (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct DatagramKey {
    source: [u8; 16],
    destination: [u8; 16],
    identification: u32,
    vlan: [u16; KEY_VLANS],
    /// What it came in: networks in tunnels may have the same addresses.
    tunnel: Option<Tunnel>,
    /// See [`crate::decode::ip::Fragment::holds`].
    holds: u8,
    version: u8,
}

/// What was of note among fragments. They are all in flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentNotes {
    /// Later fragments whose first one was not seen before them, or too long before.
    pub alone: u64,
    /// Fragments that say otherwise what an earlier one has said: a second first one that
    /// differs, or a later one that begins before the end of what came without a gap, unless it is
    /// the one just before once more.
    pub overlapping: u64,
    /// First fragments that were forgotten before their time, for want of room.
    pub forgotten: u64,
}

/// What a first fragment has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FirstFragment {
    /// The protocol after all extension headers.
    protocol: u8,
    ports: Ports,
    /// How much of the datagram it is, in bytes.
    bytes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Datagram {
    first: FirstFragment,
    seen: Tick,
    /// So many bytes have come without a gap.
    whole_bytes: u32,
    /// The latest of its later fragments, which goes from there to there.
    latest: [u32; 2],
}

/// The datagrams whose first fragment was seen lately.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    datagrams: HashMap<DatagramKey, Datagram>,
    /// Keys by the time of their first fragment; one that came again stands here twice,
    /// and its older place no longer counts.
    by_age: VecDeque<(Tick, DatagramKey)>,
    notes: FragmentNotes,
}

impl Fragments {
    /// What was of note since the last call.
    pub(crate) fn take_notes(&mut self) -> FragmentNotes {
        std::mem::take(&mut self.notes)
    }

    /// Datagrams that are remembered, or the places that they take by age where those are more.
    pub(crate) fn held(&self) -> usize {
        self.datagrams.len().max(self.by_age.len())
    }

    /// Protocol and ports of a packet: its own, or those of its datagram's first fragment.
    pub(crate) fn resolve(
        &mut self,
        network: &Network,
        tunnel: Option<Tunnel>,
        header: &IpHeader,
        (protocol, ports): (u8, Ports),
        tick: Tick,
    ) -> (u8, Ports) {
        let Some(fragment) = header.fragment else { return (protocol, ports) };
        let datagram = DatagramKey {
            source: header.source,
            destination: header.destination,
            identification: fragment.identification,
            vlan: network.key_vlans(),
            tunnel,
            holds: fragment.holds,
            version: header.version,
        };
        let bytes = header.length.saturating_sub(fragment.header_bytes);
        if fragment.offset == 0 {
            self.remember(datagram, FirstFragment { protocol, ports, bytes }, tick);
            (protocol, ports)
        } else {
            let start = u32::from(fragment.offset) * 8;
            let first = self.recall(&datagram, start..start.saturating_add(bytes), tick);
            first.map_or((protocol, ports), |first| (first.protocol, first.ports))
        }
    }

    /// A first fragment was seen. The latest one counts.
    fn remember(&mut self, key: DatagramKey, first: FirstFragment, now: Tick) {
        if self.live(&key, now).is_some_and(|datagram| datagram.first != first) {
            self.notes.overlapping += 1;
        }
        while let Some(&(seen, oldest)) = self.by_age.front() {
            let is_over = now - seen > FRAGMENT_LIFE_NS;
            if self.by_age.len() < FRAGMENT_DATAGRAMS && !is_over {
                break;
            }
            self.by_age.pop_front();
            if self.datagrams.get(&oldest).is_some_and(|datagram| datagram.seen == seen) {
                self.datagrams.remove(&oldest);
                self.notes.forgotten += u64::from(!is_over && oldest != key);
            }
        }
        let whole_bytes = first.bytes;
        let datagram = Datagram { first, seen: now, whole_bytes, latest: [0; 2] };
        let before = self.datagrams.insert(key, datagram);
        // One that comes again in the same moment has its place, by which it would be forgotten.
        if before.is_none_or(|before| before.seen != now) {
            self.by_age.push_back((now, key));
        }
    }

    /// The first fragment of a later one that is these `bytes` of the datagram, if it was seen in
    /// time.
    fn recall(&mut self, key: &DatagramKey, bytes: Range<u32>, now: Tick) -> Option<FirstFragment> {
        let Some(datagram) = self.live(key, now) else {
            self.notes.alone += 1;
            return None;
        };
        let Range { start, end } = bytes;
        let first = datagram.first;
        let is_once_more = datagram.latest == [start, end];
        let is_overlapping = start < datagram.whole_bytes && !is_once_more;
        if start <= datagram.whole_bytes {
            datagram.whole_bytes = datagram.whole_bytes.max(end);
        }
        datagram.latest = [start, end];
        self.notes.overlapping += u64::from(is_overlapping);
        Some(first)
    }

    fn live(&mut self, key: &DatagramKey, now: Tick) -> Option<&mut Datagram> {
        let datagram = self.datagrams.get_mut(key)?;
        (now - datagram.seen <= FRAGMENT_LIFE_NS).then_some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND_NS;

    fn key(version: u8, identification: u32) -> DatagramKey {
        DatagramKey {
            source: [1; 16],
            destination: [2; 16],
            identification,
            vlan: [0; KEY_VLANS],
            tunnel: None,
            holds: 17,
            version,
        }
    }

    fn first(source: u16) -> FirstFragment {
        let ports = Ports { kind: PortKind::Ports, source, destination: 53 };
        FirstFragment { protocol: 17, ports, bytes: 16 }
    }

    #[test]
    fn a_later_fragment_finds_the_latest_first_fragment_in_its_time() {
        let life = 60 * SECOND_NS;
        for version in [4, 6] {
            let mut fragments = Fragments::default();
            let one = key(version, 7);
            fragments.remember(one, first(1), 0);
            assert_eq!(fragments.recall(&one, 16..24, life), Some(first(1)));
            assert_eq!(fragments.recall(&one, 16..24, life + 1), None, "too late");
            assert_eq!(fragments.recall(&key(version, 8), 16..24, 0), None, "another datagram");
            fragments.remember(one, first(2), life);
            assert_eq!(fragments.recall(&one, 16..24, life + 1), Some(first(2)));
            let notes = FragmentNotes { alone: 2, overlapping: 1, forgotten: 0 };
            assert_eq!(fragments.take_notes(), notes);
            assert_eq!(fragments.take_notes(), FragmentNotes::default());
        }
    }

    #[test]
    fn overlaps_are_noted() {
        let mut fragments = Fragments::default();
        let one = key(4, 7);
        fragments.remember(one, first(1), 0);
        fragments.remember(one, first(1), 1);
        assert_eq!(fragments.take_notes().overlapping, 0, "the same once more");
        assert_eq!(fragments.recall(&one, 8..16, 2), Some(first(1)));
        assert_eq!(fragments.take_notes().overlapping, 1, "inside the first");
        let shorter = FirstFragment { bytes: 8, ..first(1) };
        fragments.remember(one, shorter, 3);
        assert_eq!(fragments.recall(&one, 8..16, 4), Some(shorter));
        assert_eq!(fragments.take_notes().overlapping, 1, "another first one");
    }

    /// Later fragments, from where to where, behind a first one of 16 bytes; how many overlap.
    fn check_overlaps(name: &str, later: &[Range<u32>], want: u64) {
        let mut fragments = Fragments::default();
        fragments.remember(key(4, 7), first(1), 0);
        for bytes in later {
            assert_eq!(fragments.recall(&key(4, 7), bytes.clone(), 1), Some(first(1)));
        }
        assert_eq!(fragments.take_notes().overlapping, want, "{name}");
    }

    #[test]
    fn later_fragments_overlap_each_other() {
        check_overlaps("in order", &[16..32, 32..48, 48..50], 0);
        check_overlaps("the other way round", &[48..50, 32..48, 16..32], 0);
        check_overlaps("by turns", &[32..48, 16..32, 48..50], 0);
        check_overlaps("the same once more", &[16..32, 16..32, 32..48, 32..48], 0);
        check_overlaps("another length", &[16..32, 16..40], 1);
        check_overlaps("inside another", &[16..48, 24..32], 1);
        check_overlaps("in two others", &[16..32, 32..48, 24..40], 1);
        check_overlaps("the first one too", &[8..32, 32..40], 1);
        check_overlaps("behind a gap is not told", &[32..48, 40..56], 0);
    }

    #[test]
    fn a_flood_of_first_fragments_takes_bounded_memory() {
        let mut fragments = Fragments::default();
        let flood = u32::try_from(FRAGMENT_DATAGRAMS).unwrap() * 3;
        for identification in 0..flood {
            fragments.remember(key(4, identification), first(1), 5);
        }
        assert!(fragments.datagrams.len() <= FRAGMENT_DATAGRAMS);
        assert!(fragments.by_age.len() <= FRAGMENT_DATAGRAMS);
        assert_eq!(fragments.recall(&key(4, flood - 1), 16..24, 5), Some(first(1)), "the newest");
        assert_eq!(fragments.recall(&key(4, 0), 16..24, 5), None, "the oldest is forgotten");
        let forgotten = u64::from(flood) - FRAGMENT_DATAGRAMS as u64;
        assert_eq!(fragments.take_notes().forgotten, forgotten);
    }

    /// The older of its two places would be the first to go.
    #[test]
    fn a_first_fragment_that_comes_twice_in_a_moment_is_remembered_no_shorter() {
        let mut fragments = Fragments::default();
        fragments.remember(key(4, 0), first(1), 5);
        let others = u32::try_from(FRAGMENT_DATAGRAMS).unwrap();
        for identification in 0..others {
            fragments.remember(key(4, identification), first(1), 5);
        }
        assert_eq!(fragments.recall(&key(4, 0), 16..24, 5), Some(first(1)));
        fragments.remember(key(4, others), first(1), 5);
        assert_eq!(fragments.recall(&key(4, 0), 16..24, 5), None);
        assert_eq!(fragments.take_notes().forgotten, 1);
    }

    /// As a flood of later fragments, or of one datagram again and again.
    #[test]
    fn other_floods_take_no_more() {
        let mut fragments = Fragments::default();
        for identification in 0..100_000 {
            assert_eq!(fragments.recall(&key(6, 8 + identification), 16..24, 5), None);
            fragments.remember(key(6, 7), first(1), 5);
        }
        assert_eq!(fragments.datagrams.len(), 1);
        assert!(fragments.by_age.len() <= FRAGMENT_DATAGRAMS);
        let notes = FragmentNotes { alone: 100_000, overlapping: 0, forgotten: 0 };
        assert_eq!(fragments.recall(&key(6, 7), 16..24, 5), Some(first(1)));
        assert_eq!(fragments.take_notes(), notes);
    }
}
