//! Fragments in, messages out.

use proptest::prelude::*;

use super::*;
use crate::flow::protocol::UDP;
use crate::flow::{Endpoint, PortKind};
use crate::limits::LONE_FRAGMENTS;
use crate::time::SECOND_NS;

/// A fragment of a datagram of bytes that count up: from where to where, and which one it is.
#[derive(Debug, Clone, Copy)]
struct Piece(u32, u32, Which);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Later,
    /// A later one whose flow is not known.
    Lone,
    Last,
    LoneLast,
    /// A later one with other bytes.
    Forged,
}

use Which::{First as F, Forged, Last, Later, Lone, LoneLast};

/// One datagram after the other is given to this.
#[derive(Default)]
struct Joining {
    datagrams: Datagrams,
    tick: Tick,
}

impl Joining {
    /// What is read with this piece of a datagram: `None`, or how much it is.
    fn see(&mut self, identification: u32, Piece(start, end, which): Piece) -> Option<(char, u32)> {
        let is_forged = which == Forged;
        let bytes: Vec<u8> =
            (start..end).map(|at| at.to_le_bytes()[0] ^ u8::from(is_forged)).collect();
        self.see_bytes(identification, start, which, &bytes, 0)
    }

    fn see_bytes(
        &mut self,
        identification: u32,
        start: u32,
        which: Which,
        bytes: &[u8],
        missing: u32,
    ) -> Option<(char, u32)> {
        let is_lone = matches!(which, Lone | LoneLast);
        let end =
            |last, port| Endpoint { address: [last; 16], port: if is_lone { 0 } else { port } };
        let kind = if is_lone { PortKind::None } else { PortKind::Ports };
        let (key, direction) = FlowKey::canonical(end(9, 53), end(1, 40_000), 4, UDP, kind, [7, 0]);
        let wire_bytes = u32::try_from(bytes.len()).unwrap() + missing;
        let tick = self.tick;
        let place = FragmentPlace {
            identification,
            start,
            is_first: which == F,
            is_last: matches!(which, Last | LoneLast),
        };
        let payload = Payload { key, direction, tick, bytes, wire_bytes, ..Payload::NONE };
        self.datagrams.forget_old(tick);
        let joined = self.datagrams.join(&payload, place);
        let said = joined.map(|(payload, extent)| {
            assert_eq!(payload.key.source_port(payload.direction), Some(53), "of the first one");
            let right = (u32::from(payload.bytes[0])..).map(|at| at.to_le_bytes()[0]);
            assert!(payload.bytes.iter().copied().eq(right.take(payload.bytes.len())));
            let sort = if matches!(extent, Extent::Joined(_)) { 'w' } else { 'b' };
            (sort, payload.wire_bytes)
        });
        let held: usize = self.datagrams.datagrams.values().map(|it| it.pieces.bytes()).sum();
        assert_eq!(self.datagrams.bytes, held);
        assert!(held <= JOINED_DATAGRAM_BYTES);
        assert!(self.datagrams.by_age.len() <= JOINED_DATAGRAMS);
        assert!(self.datagrams.datagrams.len() <= self.datagrams.by_age.len());
        said
    }
}

const NONE: ParserCounters = ParserCounters {
    no_room: 0,
    too_long: 0,
    unfinished: 0,
    malformed: 0,
    gaps: 0,
    quic_closed: 0,
    overlaps: 0,
    fragments_alone: 0,
};
const OVERLAP: ParserCounters = ParserCounters { overlaps: 1, ..NONE };
const UNFINISHED: ParserCounters = ParserCounters { unfinished: 1, ..NONE };

/// What is read with each piece of one datagram, `b`eginning or `w`hole and its length, and what
/// was not in the end.
fn check(name: &str, pieces: &[Piece], want: &str, counters: ParserCounters) {
    let mut joining = Joining::default();
    let said = pieces.iter().map(|piece| match joining.see(7, *piece) {
        Some((sort, length)) => format!("{sort}{length}"),
        None => "-".to_owned(),
    });
    assert_eq!(said.collect::<Vec<_>>().join(" "), want, "{name}");
    joining.datagrams.finish();
    assert_eq!(joining.datagrams.counters(), counters, "{name}");
    assert_eq!((joining.datagrams.bytes, joining.datagrams.datagrams.len()), (0, 0), "{name}");
}

#[test]
fn fragments_make_a_message() {
    let (first, middle, last) = (Piece(8, 32, F), Piece(32, 64, Later), Piece(64, 70, Last));
    let (lone, lone_last) = (Piece(32, 64, Lone), Piece(64, 70, LoneLast));
    check("in order", &[first, middle, last], "b24 - w62", NONE);
    check("the last one early", &[first, last, middle], "b24 - w62", NONE);
    check("the first one late", &[lone, first, last], "- b56 w62", NONE);
    check("the first one last", &[lone_last, lone, first], "- - w62", NONE);
    check("by another queue", &[first, lone, lone_last], "b24 - w62", NONE);
    check("twice each", &[first, first, middle, middle, last, last], "b24 - - - w62 -", NONE);
    let twice = [first, middle, last, first, middle, last];
    check("the same twice", &twice, "b24 - w62 b24 - w62", NONE);
    check("one is missing", &[first, last], "b24 -", UNFINISHED);
    check("the last one is missing", &[first, middle], "b24 -", UNFINISHED);
    let alone = ParserCounters { fragments_alone: 2, ..NONE };
    check("the first one is missing", &[lone, lone_last], "- -", alone);
    check("the first one was refused", &[middle, last], "- -", alone);
}

#[test]
fn what_overlaps_is_refused() {
    let (first, middle, last) = (Piece(8, 32, F), Piece(32, 64, Later), Piece(64, 70, Last));
    let check = |name, pieces: &[Piece], want| check(name, pieces, want, OVERLAP);
    check("inside the first", &[first, Piece(24, 64, Later), last, middle], "b24 - - -");
    check("the same with other bytes", &[first, middle, Piece(32, 64, Forged), last], "b24 - - -");
    check("another first", &[first, Piece(8, 40, F), middle, last], "b24 - - -");
    check("another end", &[first, last, Piece(80, 88, Last), middle], "b24 - - -");
    check("behind the end", &[first, last, Piece(72, 80, Later), middle], "b24 - - -");
    check("an end before", &[first, Piece(72, 80, Later), last, middle], "b24 - - -");
    check("before the first", &[Piece(8, 16, Lone), Piece(16, 32, F), middle, last], "- - - -");
    check("before the first, late", &[Piece(16, 32, F), Piece(8, 16, Lone), middle], "b16 - -");
}

#[test]
fn what_is_too_long_or_too_late_is_counted() {
    let too_long = ParserCounters { too_long: 1, ..NONE };
    let first = Piece(8, 32, F);
    check(
        "too long",
        &[first, Piece(65_528, 65_536, Last), Piece(32, 64, Later)],
        "b24 - -",
        too_long,
    );
    let many = (0..u32::try_from(JOINED_DATAGRAM_PARTS).unwrap())
        .map(|at| Piece(32 + 8 * at, 40 + 8 * at, Later));
    let many: Vec<_> = [first].into_iter().chain(many).collect();
    let want =
        ["b24"].into_iter().chain(vec!["-"; JOINED_DATAGRAM_PARTS]).collect::<Vec<_>>().join(" ");
    check("too many", &many, &want, too_long);

    let mut joining = Joining::default();
    assert_eq!(joining.see(7, first), Some(('b', 24)));
    joining.tick = JOINED_DATAGRAM_LIFE_NS;
    assert_eq!(joining.see(8, first), Some(('b', 24)));
    assert_eq!(joining.see(7, Piece(32, 64, Last)), Some(('w', 56)), "in time");
    joining.tick *= 2;
    assert_eq!(joining.see(8, Piece(32, 64, Later)), None);
    joining.tick += 1;
    assert_eq!(joining.see(8, Piece(64, 72, Last)), None, "too late");
    assert_eq!(joining.datagrams.counters(), UNFINISHED);
    assert_eq!(joining.datagrams.take_lost().collect::<Vec<_>>(), [1]);
    joining.tick += JOINED_DATAGRAM_LIFE_NS + 1;
    joining.datagrams.forget_old(joining.tick);
    let alone = ParserCounters { fragments_alone: 1, ..UNFINISHED };
    assert_eq!(joining.datagrams.counters(), alone);
}

/// As by the snap length.
#[test]
fn what_was_not_captured_is_not_made_up() {
    let mut joining = Joining::default();
    assert_eq!(joining.see_bytes(7, 8, F, &[8, 9, 10], 21), Some(('b', 3)));
    assert_eq!(joining.see(7, Piece(32, 64, Last)), None);
    assert_eq!(joining.see(8, Piece(8, 32, F)), Some(('b', 24)));
    assert_eq!(joining.see_bytes(8, 32, Last, &[32, 33], 1), None);
    joining.datagrams.finish();
    assert_eq!(joining.datagrams.counters(), ParserCounters { unfinished: 2, ..NONE });
}

#[test]
fn floods_stay_within_bounds() {
    // Of long ones, for bytes; of short ones, for their number; and of those that nobody knows.
    let long = Piece(8, 16_008, F);
    for (piece, kept) in [
        (long, JOINED_DATAGRAM_BYTES / 16_000),
        (Piece(8, 32, F), JOINED_DATAGRAMS),
        (Piece(32, 64, Lone), JOINED_DATAGRAMS),
    ] {
        let mut joining = Joining::default();
        let flood = u32::try_from(2 * JOINED_DATAGRAMS).unwrap();
        (0..flood).for_each(|number| _ = joining.see(number, piece));
        let there = joining.datagrams.datagrams.len();
        assert!((kept - 1..=kept).contains(&there), "{there} of {kept}");
        let lost = u64::from(flood) - there as u64;
        let counters = joining.datagrams.counters();
        assert_eq!(counters.no_room + counters.fragments_alone, lost, "all are counted");
        // One among them is whole all the same.
        assert_eq!(joining.see(flood, Piece(8, 32, F)), Some(('b', 24)));
        assert_eq!(joining.see(flood, Piece(32, 64, Last)), Some(('w', 56)));
    }
    // As many as are handed over in a second do not crowd others out at once.
    const { assert!((LONE_FRAGMENTS as usize) < JOINED_DATAGRAMS) };
}

proptest! {
    /// In whatever order and pieces a datagram comes, some twice, its message is the same.
    #[test]
    fn in_any_order(
        cuts in prop::collection::btree_set(2u32..100, 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 26),
        last in 801u32..900,
    ) {
        let cuts = cuts.iter().map(|at| at * 8);
        let edges: Vec<_> = [8].into_iter().chain(cuts).chain([last]).collect();
        let mut pieces: Vec<_> = edges.windows(2).map(|two| Piece(two[0], two[1], Later)).collect();
        pieces[0].2 = F;
        if pieces.len() > 1 {
            pieces.last_mut().unwrap().2 = Last;
        }
        let is_one = pieces.len() == 1;
        pieces.extend_from_within(..);
        for (at, to) in order.iter().enumerate().take(pieces.len()) {
            let to = to.index(pieces.len());
            pieces.swap(at, to);
        }
        let mut seen_first = false;
        for piece in &mut pieces {
            seen_first |= piece.2 == F;
            piece.2 = match piece.2 {
                Later if !seen_first => Lone,
                Last if !seen_first => LoneLast,
                which => which,
            };
        }
        let mut joining = Joining { tick: SECOND_NS, ..Joining::default() };
        let said: Vec<_> = pieces.iter().filter_map(|piece| joining.see(7, *piece)).collect();
        let is_whole = said.contains(&('w', last - 8));
        prop_assert!(is_one || is_whole, "{pieces:?}: {said:?}");
    }
}
