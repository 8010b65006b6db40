//! Statistics of packet lengths and of times between packets, by direction: what
//! `--features-set extended` keeps beside a record.
//!
//! A commutative monoid, as [`crate::flow::Delta`] is: whole numbers only, so that sums are exact
//! and do not depend on their order. Means and deviations are made of them when a record is
//! shown, to thousandths.
//!
//! An *inter-arrival time*, or gap, lies between two packets of one direction that follow each
//! other, by their timestamps. A packet that is older than the latest one before it makes a gap
//! of 0, and the latest stays the latest; a packet without a timestamp makes none. A gap belongs
//! to the part of the flow that its second packet is in.

use crate::flow::key::Direction;

/// What is kept of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeaturesSet {
    /// Counts: what every record has.
    #[default]
    Basic,
    /// These, and [`Features`].
    Extended,
}

impl FeaturesSet {
    /// Whether there are [`Features`].
    #[must_use]
    pub fn is_extended(self) -> bool {
        self == Self::Extended
    }
}

/// Bins of a histogram.
pub const BINS: usize = 8;

/// The bin of a value: up to 15, 16-31, 32-63, 64-127, 128-255, 256-511, 512-1023, more. These
/// are bytes of a length, and whole milliseconds of a gap.
#[must_use]
#[inline]
pub fn bin_of(value: u64) -> usize {
    ((u64::BITS - (value >> 4).leading_zeros()) as usize).min(BINS - 1)
}

/// How values are spread. Their sum, which it takes for [`Spread::mean`] and
/// [`Spread::deviation`], stands elsewhere. Sums end at the largest number that fits, which no
/// flow comes near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The smallest; [`u64::MAX`] if there is none.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// The sum of squares.
    pub squares: u128,
    /// How many are in each bin ([`bin_of`]).
    pub histogram: [u64; BINS],
}

impl Spread {
    /// No values: the identity of [`Spread::combine`].
    pub const EMPTY: Self = Self { min: u64::MAX, max: 0, squares: 0, histogram: [0; BINS] };

    /// Adds the values of `other`.
    pub fn combine(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.squares = self.squares.saturating_add(other.squares);
        for (sum, more) in self.histogram.iter_mut().zip(other.histogram) {
            *sum = sum.saturating_add(more);
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// The mean of values with this sum, if there are any.
    #[must_use]
    pub fn mean(&self, sum: u64) -> Option<Thousandths> {
        let count = u128::from(self.count());
        (count > 0).then(|| Thousandths((u128::from(sum) * 1_000 + count / 2) / count))
    }

    /// The standard deviation of values with this sum, if there are any: of the population, that
    /// is with the count itself as the divisor, and 0 for one value.
    #[must_use]
    pub fn deviation(&self, sum: u64) -> Option<Thousandths> {
        let (count, sum) = (u128::from(self.count()), u128::from(sum));
        if count == 0 {
            return None;
        }
        // Around the whole part of the mean, so that numbers that lie close to each other and
        // far from 0 lose nothing. Exact: the difference is a sum of squares of that many values,
        // which wrapped intermediate results do not change.
        let (whole, rest) = (sum / count, sum % count);
        let squares = self.squares.wrapping_sub(whole.wrapping_mul(sum + rest));
        let variance = match squares.checked_mul(count) {
            Some(scaled) => float(scaled.saturating_sub(rest * rest)) / float(count).powi(2),
            // So large that what the mean has behind its whole part is nothing.
            None => float(squares) / float(count),
        };
        Some(Thousandths::rounded(variance.sqrt()))
    }
}

/// The nearest floating-point number: the same on every machine.
#[expect(clippy::cast_precision_loss, reason = "15 digits are more than are shown")]
fn float(number: u128) -> f64 {
    number as f64
}

/// A number to three decimals, as so many thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thousandths(pub u128);

impl Thousandths {
    /// The nearest to a number that is not negative.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    pub fn rounded(number: f64) -> Self {
        Self((number * 1_000.0).round() as u128)
    }

    /// The number itself, as near as there is one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "what has more digits is rounded")]
    pub fn number(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

/// The statistics of one direction. The sum of its lengths are the bytes that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideFeatures {
    /// IP lengths in bytes.
    pub lengths: Spread,
    /// Gaps in ns; their histogram is of whole milliseconds.
    pub gaps: Spread,
    /// The sum of gaps in ns.
    pub gap_sum_ns: u64,
}

impl SideFeatures {
    /// Nothing: the identity of [`SideFeatures::combine`].
    pub const EMPTY: Self = Self { lengths: Spread::EMPTY, gaps: Spread::EMPTY, gap_sum_ns: 0 };

    /// Adds `other` to this. Associative and commutative.
    pub fn combine(&mut self, other: &Self) {
        self.lengths.combine(&other.lengths);
        self.gaps.combine(&other.gaps);
        self.gap_sum_ns = self.gap_sum_ns.saturating_add(other.gap_sum_ns);
    }
}

/// The statistics of a flow, or of a part of one: of the forward and of the reverse direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features(pub [SideFeatures; 2]);

impl Features {
    /// Nothing: the identity of [`Features::combine`].
    pub const EMPTY: Self = Self([SideFeatures::EMPTY; 2]);

    /// Adds `other` to this. Associative and commutative.
    pub fn combine(&mut self, other: &Self) {
        self.0[0].combine(&other.0[0]);
        self.0[1].combine(&other.0[1]);
    }

    /// The statistics of the packets that went this way.
    #[must_use]
    pub fn side(&self, direction: Direction) -> &SideFeatures {
        &self.0[direction.idx()]
    }
}

#[cfg(test)]
mod tests;
