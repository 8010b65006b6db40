//! Pieces of a stream, wherever they come, put in order: a bounded part of a TCP direction or of
//! QUIC's CRYPTO frames. The first bytes that came for a place stay; what comes for it later, a
//! retransmission or something forged, is left out.

use std::borrow::Cow;

/// Bytes of a stream by their offsets, in order, not overlapping.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    parts: Vec<Part>,
    bytes: usize,
    /// What is before this was taken out.
    floor: Option<i64>,
}

#[derive(Debug)]
struct Part {
    start: i64,
    bytes: Box<[u8]>,
    /// Nothing that can be read starts here.
    refused: bool,
}

impl Part {
    fn end(&self) -> i64 {
        self.start + length(&self.bytes)
    }
}

/// What a stream may hold at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) parts: usize,
}

/// There is no room for all of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Pieces {
    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Parts that are held; the numbers below this are those of parts.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Adds what is new of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Full`] if it does not fit `bounds`; then what comes first in it may have been added.
    pub(crate) fn insert(&mut self, offset: i64, bytes: &[u8], bounds: Bounds) -> Result<(), Full> {
        let end = offset.checked_add(length(bytes)).ok_or(Full)?;
        let mut at = offset.max(self.floor.unwrap_or(offset));
        let mut place = 0;
        while at < end {
            place += self.parts[place..].iter().take_while(|part| part.end() <= at).count();
            let stop = match self.parts.get(place) {
                Some(part) if part.start <= at => {
                    at = part.end();
                    continue;
                }
                Some(part) => end.min(part.start),
                None => end,
            };
            let (from, to) = (index(at - offset), index(stop - offset));
            if self.parts.len() == bounds.parts || self.bytes + (to - from) > bounds.bytes {
                return Err(Full);
            }
            let part = Part { start: at, bytes: bytes[from..to].into(), refused: false };
            self.bytes += part.bytes.len();
            self.parts.insert(place, part);
            at = stop;
        }
        Ok(())
    }

    /// Whether a part is just these `bytes` at `offset`, if any is where some of them are.
    pub(crate) fn repeats(&self, offset: i64, bytes: &[u8]) -> Option<bool> {
        let end = offset.saturating_add(length(bytes));
        let part = self.parts.iter().find(|part| part.start < end && part.end() > offset)?;
        Some(part.start == offset && *part.bytes == *bytes)
    }

    /// Where the first part starts.
    pub(crate) fn start(&self) -> Option<i64> {
        self.start_of(0)
    }

    /// Where part `idx` starts, if there is one.
    pub(crate) fn start_of(&self, idx: usize) -> Option<i64> {
        self.parts.get(idx).map(|part| part.start)
    }

    /// Where the last part ends.
    pub(crate) fn end(&self) -> Option<i64> {
        self.parts.last().map(Part::end)
    }

    /// Whether all that is held follows `offset` without a gap; also if there is nothing.
    pub(crate) fn is_whole_from(&self, offset: i64) -> bool {
        self.start().is_none_or(|start| start <= offset)
            && self.parts.windows(2).all(|two| two[0].end() == two[1].start)
    }

    /// All that follows without a gap from the beginning of part `idx`; nothing if there is no
    /// such part, or if it was refused.
    pub(crate) fn run(&self, idx: usize) -> Cow<'_, [u8]> {
        let parts = self.parts.get(idx..).unwrap_or_default();
        let Some(first) = parts.first().filter(|part| !part.refused) else {
            return Cow::Borrowed(&[]);
        };
        let adjacent = parts.windows(2).take_while(|two| two[0].end() == two[1].start).count();
        if adjacent == 0 {
            return Cow::Borrowed(&first.bytes);
        }
        let run: Vec<_> = parts[..=adjacent].iter().map(|part| &*part.bytes).collect();
        Cow::Owned(run.concat())
    }

    /// Says that nothing starts at part `idx`.
    pub(crate) fn refuse(&mut self, idx: usize) {
        if let Some(part) = self.parts.get_mut(idx) {
            part.refused = true;
        }
    }

    /// Whether each part was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.parts.iter().all(|part| part.refused)
    }

    /// Takes out what is before `offset`, for good.
    pub(crate) fn take_to(&mut self, offset: i64) {
        self.floor = self.floor.max(Some(offset));
        self.parts.retain_mut(|part| {
            if part.start < offset && part.end() > offset {
                part.bytes = part.bytes[index(offset - part.start)..].into();
                part.start = offset;
                // Something else begins there.
                part.refused = false;
            }
            part.start >= offset
        });
        self.bytes = self.parts.iter().map(|part| part.bytes.len()).sum();
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).expect("no slice is longer than isize::MAX")
}

/// A distance forward within what is in memory.
fn index(distance: i64) -> usize {
    usize::try_from(distance).expect("callers subtract what comes first")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 64, parts: 8 };

    proptest! {
        /// Against a map of bytes, in which the first that comes stays.
        #[test]
        fn pieces_are_what_came_first(
            pieces in prop::collection::vec(
                (-20i64..40, prop::collection::vec(any::<u8>(), 0..20)),
                0..20,
            ),
            taken in 0i64..30,
        ) {
            let mut model = std::collections::BTreeMap::new();
            let mut stream = Pieces::default();
            for (offset, bytes) in &pieces {
                let fits = stream.insert(*offset, bytes, BOUNDS).is_ok();
                prop_assert!(stream.bytes() <= BOUNDS.bytes && stream.parts() <= BOUNDS.parts);
                if !fits {
                    break;
                }
                for (at, byte) in (*offset..).zip(bytes) {
                    model.entry(at).or_insert(*byte);
                }
                for idx in 0..stream.parts() {
                    let start = stream.parts[idx].start;
                    let want: Vec<u8> =
                        (start..).map_while(|at| model.get(&at).copied()).collect();
                    prop_assert_eq!(&*stream.run(idx), &want[..]);
                }
                prop_assert_eq!(stream.bytes(), model.len());
                prop_assert_eq!(stream.start(), model.keys().next().copied());
            }
            stream.take_to(taken);
            prop_assert!(stream.start().is_none_or(|start| start >= taken));
            let held = stream.bytes();
            stream.insert(taken - 10, &[0; 10], BOUNDS).unwrap();
            prop_assert_eq!(stream.bytes(), held, "what was taken out does not come back");
        }
    }
}
