//! The hand: goes round the slab at its [`Pace`] of packet time, a few slots per batch.

use crate::limits::HAND_SLOTS;
use crate::time::{SECOND_NS, Tick};

/// How often a table comes to each of its flows, in packet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the hand takes for one round.
    pub round_ns: Tick,
    /// A flow that spans less stays in its slot until it is over, and is never published
    /// before.
    pub stay_ns: Tick,
}

impl Pace {
    /// For live captures: who looks at the global map sees what was counted up to a second
    /// ago, but for flows that are younger.
    pub const LIVE: Self = Self { round_ns: SECOND_NS, stay_ns: SECOND_NS };

    /// For recordings, which pass by faster than anybody looks: what is over is what counts.
    pub const REPLAY: Self = Self { round_ns: 5 * SECOND_NS, stay_ns: Tick::MAX };
}

/// How often a full table is looked through for flows that are over.
const SWEEP_INTERVAL_NS: Tick = SECOND_NS;

/// Rounds that are made up for when packet time jumps: what is left of the one under way, and one
/// that begins after the jump, as only that says that nothing from before it is held any more.
const MOST_ROUNDS: u64 = 2;

/// A position in the slab that moves with the packet clock.
#[derive(Debug)]
pub(crate) struct Hand {
    round_ns: Tick,
    at: u32,
    victim: u32,
    /// Packet time that has passed and was not walked yet, in ns, up to [`MOST_ROUNDS`].
    debt_ns: Tick,
    seen: Tick,
}

impl Hand {
    pub(crate) fn new(round_ns: Tick) -> Self {
        assert!(round_ns > 0, "a round takes time");
        Self { round_ns, at: 0, victim: 0, debt_ns: 0, seen: 0 }
    }

    /// How many slots to visit now that the packet clock stands at `now`.
    pub(crate) fn steps(&mut self, now: Tick, slots: u32) -> u32 {
        let passed_ns = now.saturating_sub(self.seen);
        let most_ns = self.round_ns.saturating_mul(MOST_ROUNDS);
        self.debt_ns = self.debt_ns.saturating_add(passed_ns).min(most_ns);
        self.seen = now;
        if slots == 0 {
            return 0;
        }
        let owed = u128::from(self.debt_ns) * u128::from(slots) / u128::from(self.round_ns);
        let steps = u32::try_from(owed).unwrap_or(u32::MAX).min(HAND_SLOTS);
        self.debt_ns -= u64::from(steps) * self.round_ns / u64::from(slots);
        steps
    }

    /// There was no room to publish: the hand stays, and still owes so many of the steps.
    pub(crate) fn owe(&mut self, steps: u32, slots: u32) {
        self.debt_ns += (u64::from(steps) * self.round_ns).div_ceil(u64::from(slots));
    }

    /// The slot to visit.
    pub(crate) fn next(&mut self, slots: u32) -> u32 {
        next(&mut self.at, slots)
    }

    /// The slot to look at for a flow to give up.
    pub(crate) fn next_victim(&mut self, slots: u32) -> u32 {
        next(&mut self.victim, slots)
    }
}

/// A second hand, for a full table: looks for flows that are over and that the first has not
/// come to yet, at most once round in a second.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    at: u32,
    /// Slots left of the round under way.
    left: u32,
    /// When the last round ended.
    ended: Tick,
}

impl Sweep {
    /// The slot to look at next; `None` until it is time for another round.
    pub(crate) fn next(&mut self, now: Tick, slots: u32) -> Option<u32> {
        if self.left == 0 {
            if now.saturating_sub(self.ended) < SWEEP_INTERVAL_NS {
                return None;
            }
            self.left = slots;
        }
        self.left -= 1;
        if self.left == 0 {
            self.ended = now;
        }
        Some(next(&mut self.at, slots))
    }
}

fn next(at: &mut u32, slots: u32) -> u32 {
    let slot = if *at < slots { *at } else { 0 };
    *at = slot + 1;
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_interval_of_packet_time_is_one_round() {
        let slots = 10_000;
        let mut hand = Hand::new(SECOND_NS);
        let batches = 2_000;
        let visited: u32 = (1..=batches).map(|i| hand.steps(i * SECOND_NS / batches, slots)).sum();
        assert!((9_990..=10_000).contains(&visited), "{visited}");
    }

    #[test]
    fn a_long_gap_is_two_rounds_in_bounded_steps() {
        let mut hand = Hand::new(SECOND_NS);
        let hour = 3_600 * SECOND_NS;
        assert_eq!(hand.steps(hour, 100_000), HAND_SLOTS);
        let rounds: u32 = (0..1_000).map(|_| hand.steps(hour, 100_000)).sum();
        assert_eq!(rounds + HAND_SLOTS, 200_000);
        assert_eq!(hand.steps(hour, 100_000), 0, "caught up");
    }

    #[test]
    fn steps_that_found_no_room_are_made_later() {
        let mut hand = Hand::new(SECOND_NS);
        let slots = 999;
        let mut made = 0;
        for turn in 1..1_000 {
            let steps = hand.steps(SECOND_NS, slots);
            let without_room = if turn < 100 { steps } else { 0 };
            hand.owe(without_room, slots);
            made += steps - without_room;
        }
        assert!((slots..=slots + 1).contains(&made), "{made}");
    }

    #[test]
    fn a_sweep_is_one_round_in_an_interval() {
        let mut sweep = Sweep::default();
        let mut round = |now| std::iter::from_fn(|| sweep.next(now, 3)).count();
        assert_eq!(round(SECOND_NS - 1), 0, "the first hand is on time");
        assert_eq!(round(SECOND_NS), 3);
        assert_eq!(round(2 * SECOND_NS - 1), 0);
        assert_eq!(round(2 * SECOND_NS), 3);
    }

    #[test]
    fn it_goes_round_and_stays_within_the_slab() {
        let mut hand = Hand::new(SECOND_NS);
        let walk: Vec<_> = (0..5).map(|_| hand.next(3)).collect();
        assert_eq!(walk, [0, 1, 2, 0, 1]);
        assert_eq!(hand.next(1), 0, "the slab cannot shrink, but a hand past its end starts over");
    }
}
