//! The statistics of flows that are in the table, beside their slots: only in a table of the
//! extended set ([`FeaturesSet::Extended`](crate::flow::FeaturesSet)).
//!
//! 256 bytes a flow, two cache lines for each direction: a packet touches those of its own.
//! Counters are narrow; what no longer fits is carried to a short list, so that nothing is lost
//! and no packet has to wait. The statistics of a part stay here until it ends, whatever is
//! published of its counts before: a core sees all of a flow, so there is nothing to add up.

use std::io;

use crate::decode::Packet;
use crate::flow::features::{BINS, Features, SideFeatures, Spread, bin_of};
use crate::limits::CARRIED_COUNTERS;
use crate::memory::{Fixed, Pages, Share};
use crate::time::Timestamp;

/// Nanoseconds in a millisecond, the unit of the histogram of gaps.
const MS_NS: u64 = 1_000_000;

/// No packet with a timestamp yet. The earliest timestamp there is, in 1677, counts as none.
const NEVER: Timestamp = Timestamp::MIN;

/// What packets of one direction have added up to since the part began.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Side {
    /// The latest timestamp, also of parts before this.
    latest: Timestamp,
    /// Fits: gaps end to end are no longer than all time there is.
    gap_sum_ns: u64,
    /// Fits, as the square of that sum does.
    gap_squares: u128,
    gap_min_ns: u64,
    gap_max_ns: u64,
    length_squares: u64,
    length_min: u32,
    length_max: u32,
    length_bins: [u32; BINS],
    gap_bins: [u32; BINS],
}

const _: () = assert!(size_of::<Side>() == 128);

impl Side {
    const EMPTY: Self = Self {
        latest: NEVER,
        gap_sum_ns: 0,
        gap_squares: 0,
        gap_min_ns: u64::MAX,
        gap_max_ns: 0,
        length_squares: 0,
        length_min: u32::MAX,
        length_max: 0,
        length_bins: [0; BINS],
        gap_bins: [0; BINS],
    };

    /// What was counted, without what was carried.
    fn features(&self) -> SideFeatures {
        let is_any = self.length_min <= self.length_max;
        SideFeatures {
            lengths: Spread {
                min: if is_any { self.length_min.into() } else { u64::MAX },
                max: self.length_max.into(),
                squares: self.length_squares.into(),
                histogram: self.length_bins.map(u64::from),
            },
            gaps: Spread {
                min: self.gap_min_ns,
                max: self.gap_max_ns,
                squares: self.gap_squares,
                histogram: self.gap_bins.map(u64::from),
            },
            gap_sum_ns: self.gap_sum_ns,
        }
    }
}

/// A counter that has a place in the list of what was carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    LengthSquares,
    Length(usize),
    Gap(usize),
}

/// How often a counter of a side has begun anew.
#[derive(Debug)]
struct Carried {
    side: usize,
    counter: Counter,
    times: u64,
}

/// What was carried of all sides: one place for each counter.
#[derive(Debug)]
struct Carry(Vec<Carried>);

impl Carry {
    /// A counter has begun anew.
    #[cold]
    fn add(&mut self, side: usize, counter: Counter) {
        let same = |carried: &&mut Carried| carried.side == side && carried.counter == counter;
        if let Some(carried) = self.0.iter_mut().find(same) {
            carried.times += 1;
        } else if self.0.len() < CARRIED_COUNTERS {
            self.0.push(Carried { side, counter, times: 1 });
        }
    }

    /// Adds what was carried of two sides to their features, and forgets it.
    #[cold]
    fn take(&mut self, first: usize, features: &mut Features) {
        self.0.retain(|&Carried { side, counter, times }| {
            let Some(features) = side.checked_sub(first).and_then(|way| features.0.get_mut(way))
            else {
                return true;
            };
            match counter {
                Counter::LengthSquares => features.lengths.squares += u128::from(times) << 64,
                Counter::Length(bin) => features.lengths.histogram[bin] += times << 32,
                Counter::Gap(bin) => features.gaps.histogram[bin] += times << 32,
            }
            false
        });
    }
}

/// The statistics of all flows of a table.
#[derive(Debug)]
pub(super) struct SlotFeatures {
    /// Two for each slot, one for each direction.
    sides: Fixed<Side>,
    carried: Carry,
}

impl SlotFeatures {
    /// For so many slots.
    ///
    /// # Errors
    /// If the system does not give the memory.
    pub(super) fn new(capacity: usize) -> io::Result<Self> {
        let sides = Fixed::new(capacity.saturating_mul(2))?;
        Ok(Self { sides, carried: Carry(Vec::with_capacity(CARRIED_COUNTERS)) })
    }

    /// Takes all memory now, and not when flows need it.
    pub(super) fn populate(&self) -> io::Result<()> {
        self.sides.populate()
    }

    /// The memory, to be taken ahead: two places for each slot.
    pub(super) fn share(&self) -> Share {
        self.sides.share()
    }

    pub(super) fn bytes(&self) -> usize {
        self.sides.bytes()
    }

    pub(super) fn pages(&self) -> Pages {
        self.sides.pages()
    }

    /// Asks for what a packet of a slot's flow will touch.
    #[inline]
    pub(super) fn prefetch(&self, slot: u32, packet: &Packet) {
        self.sides.prefetch(side_of(slot, packet));
    }

    /// The same for a slot that is taken out.
    #[inline]
    pub(super) fn prefetch_all(&self, slot: u32) {
        self.sides.prefetch(2 * slot as usize);
        self.sides.prefetch(2 * slot as usize + 1);
    }

    /// A flow begins in this slot, which was used before or is the next one.
    pub(super) fn begin(&mut self, slot: u32) {
        let first = 2 * slot as usize;
        if first == self.sides.len() {
            self.sides.push(Side::EMPTY);
            self.sides.push(Side::EMPTY);
        } else {
            self.sides[first..first + 2].fill(Side::EMPTY);
        }
    }

    /// Counts a packet of a slot's flow, which the slot has counted.
    #[inline]
    pub(super) fn count(&mut self, slot: u32, packet: &Packet) {
        let idx = side_of(slot, packet);
        let side = &mut self.sides[idx];
        let length = u64::from(packet.bytes);
        side.length_min = side.length_min.min(packet.bytes);
        side.length_max = side.length_max.max(packet.bytes);
        let (squares, is_round) = side.length_squares.overflowing_add(length * length);
        side.length_squares = squares;
        if is_round {
            self.carried.add(idx, Counter::LengthSquares);
        }
        let bin = bin_of(length);
        if count_one(&mut side.length_bins[bin]) {
            self.carried.add(idx, Counter::Length(bin));
        }
        if let Some(timestamp) = packet.timestamp.filter(|&timestamp| timestamp != NEVER) {
            if side.latest != NEVER {
                // 0 for a packet that is older than the latest.
                let gap_ns = timestamp.max(side.latest).abs_diff(side.latest);
                side.gap_sum_ns = side.gap_sum_ns.saturating_add(gap_ns);
                side.gap_squares = side.gap_squares.saturating_add(u128::from(gap_ns).pow(2));
                side.gap_min_ns = side.gap_min_ns.min(gap_ns);
                side.gap_max_ns = side.gap_max_ns.max(gap_ns);
                let bin = bin_of(gap_ns / MS_NS);
                if count_one(&mut side.gap_bins[bin]) {
                    self.carried.add(idx, Counter::Gap(bin));
                }
            }
            side.latest = side.latest.max(timestamp);
        }
    }

    /// What the part that ends has added up to, which is then forgotten; what the next gap of
    /// each direction begins with is not.
    pub(super) fn take(&mut self, slot: u32) -> Features {
        let first = 2 * slot as usize;
        let mut features = Features([0, 1].map(|way| self.sides[first + way].features()));
        if !self.carried.0.is_empty() {
            self.carried.take(first, &mut features);
        }
        for side in &mut self.sides[first..first + 2] {
            *side = Side { latest: side.latest, ..Side::EMPTY };
        }
        features
    }
}

/// The place of a packet's side.
#[inline]
fn side_of(slot: u32, packet: &Packet) -> usize {
    2 * slot as usize + packet.direction.idx()
}

/// Counts one more. Whether the counter has begun anew.
#[inline]
fn count_one(counter: &mut u32) -> bool {
    *counter = counter.wrapping_add(1);
    *counter == 0
}

#[cfg(test)]
mod tests;
