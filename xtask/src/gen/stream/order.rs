//! Whose turn it is. Flows begin evenly over the capture; in between, packets are drawn from
//! those that have begun: each as likely as any other, or by Zipf's law. Some are lost before
//! they are seen, and some come after their successor. Asks nothing of packets: the same turns
//! are drawn for whatever is made of them. Called by [`super::play`].

use super::super::deal::Budget;
use super::super::number::{low32, share};
use super::super::rng::Rng;
use super::cast::Cast;

/// What is made of a turn.
pub(super) trait Maker {
    type Made;

    /// The next packet of a flow.
    fn make(&mut self, number: usize) -> Self::Made;

    /// Whether the second must not be seen before the first, which was made just before it.
    fn must_follow(&self, first: &Self::Made, second: &Self::Made) -> bool;
}

/// Draws turns; `T` is what a maker makes of them.
pub(super) struct Order<'a, T> {
    cast: &'a Cast<'a>,
    packets: u64,
    flows: u64,
    rng: Rng,
    begun: usize,
    /// Flows that go on, in the order of their beginning.
    ongoing: Vec<u32>,
    /// Sums of the weights of the first, the first two, … of them; empty if all are alike.
    sums: Vec<u64>,
    /// A packet that comes after its successor.
    held: Option<T>,
}

impl<'a, T> Order<'a, T> {
    pub(super) fn new(cast: &'a Cast<'a>, budget: &Budget) -> Self {
        let zipf = cast.wishes.zipf.unwrap_or(cast.shape.zipf);
        Self {
            cast,
            packets: budget.packets,
            flows: budget.flows,
            rng: Rng::new(budget.seed, u64::MAX - 2),
            begun: 0,
            ongoing: Vec::new(),
            sums: if zipf == 0 { Vec::new() } else { zipf_sums(budget.flows, zipf) },
            held: None,
        }
    }

    /// What is seen at this place of the capture.
    pub(super) fn next(&mut self, place: u64, maker: &mut impl Maker<Made = T>) -> T {
        if self.due_at(place) > self.begun as u64 {
            let number = self.begun;
            self.begun += 1;
            if !self.cast.is_attack(number) {
                self.ongoing.push(low32(number as u64));
            }
            return maker.make(number);
        }
        if let Some(held) = self.held.take() {
            return held;
        }
        let wishes = self.cast.wishes;
        loop {
            let made = maker.make(self.draw());
            if self.is(wishes.loss_permille) {
                continue;
            }
            if self.is(wishes.reorder_permille) && self.is_free(place + 1) {
                let successor = maker.make(self.draw());
                let keeps = maker.must_follow(&made, &successor);
                let (now, later) = if keeps { (made, successor) } else { (successor, made) };
                self.held = Some(later);
                return now;
            }
            return made;
        }
    }

    /// So many flows have begun with the packet at `place`: all of them at the end.
    fn due_at(&self, place: u64) -> u64 {
        1 + share(self.flows - 1, place, (self.packets - 1).max(1))
    }

    /// Whether no flow begins at `place`, and there is such a place.
    fn is_free(&self, place: u64) -> bool {
        place < self.packets && self.due_at(place) == self.begun as u64
    }

    fn is(&mut self, permille: u32) -> bool {
        permille > 0 && self.rng.between(0, 999) < u64::from(permille)
    }

    /// A flow that goes on.
    fn draw(&mut self) -> usize {
        let begun = self.ongoing.len();
        let rank = if self.sums.is_empty() {
            usize::try_from(self.rng.between(0, begun as u64 - 1)).expect("an index")
        } else {
            let drawn = self.rng.between(1, self.sums[begun - 1]);
            self.sums[..begun].partition_point(|&sum| sum < drawn)
        };
        self.ongoing[rank] as usize
    }
}

/// Sums of the weights `1 / rank^exponent`, as whole numbers.
fn zipf_sums(flows: u64, hundredths: u32) -> Vec<u64> {
    /// The weight of the first: all others fit below it, and all sums into 64 bits.
    const ONE: f64 = (1_u64 << 40) as f64;
    let exponent = f64::from(hundredths) / 100.0;
    let mut sum = 0;
    (1..=flows)
        .map(|rank| {
            // A library of ours: every machine has to find the same.
            #[expect(clippy::cast_precision_loss, reason = "ranks are below 2^53")]
            let weight = ONE / libm::pow(rank as f64, exponent);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
            let weight = weight as u64;
            sum += weight.max(1);
            sum
        })
        .collect()
}
