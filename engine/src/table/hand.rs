//! The hand: goes round the slab once per publish interval of packet time, a few slots per
//! batch.

use crate::limits::HAND_SLOTS;
use crate::time::{SECOND_NS, Tick};

/// How long the hand takes for one round, in packet time.
pub(crate) const PUBLISH_INTERVAL_NS: Tick = SECOND_NS;

/// A position in the slab that moves with the packet clock.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    at: u32,
    victim: u32,
    /// Packet time that has passed and was not walked yet, in ns, up to one round.
    debt_ns: Tick,
    seen: Tick,
}

impl Hand {
    /// How many slots to visit now that the packet clock stands at `now`.
    pub(crate) fn steps(&mut self, now: Tick, slots: u32) -> u32 {
        self.debt_ns = (self.debt_ns + now.saturating_sub(self.seen)).min(PUBLISH_INTERVAL_NS);
        self.seen = now;
        if slots == 0 {
            return 0;
        }
        let owed = u128::from(self.debt_ns) * u128::from(slots) / u128::from(PUBLISH_INTERVAL_NS);
        let steps = u32::try_from(owed).unwrap_or(u32::MAX).min(HAND_SLOTS);
        self.debt_ns -=
            (u64::from(steps) * PUBLISH_INTERVAL_NS).div_ceil(u64::from(slots)).min(self.debt_ns);
        steps
    }

    /// There was no room to publish: the hand stays, and goes on from here.
    pub(crate) fn wait(&mut self) {
        self.debt_ns = PUBLISH_INTERVAL_NS;
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
/// come to yet, at most once round in a publish interval.
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
            if now.saturating_sub(self.ended) < PUBLISH_INTERVAL_NS {
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
        let mut hand = Hand::default();
        let batches = 2_000;
        let visited: u32 =
            (1..=batches).map(|i| hand.steps(i * PUBLISH_INTERVAL_NS / batches, slots)).sum();
        assert!((9_990..=10_000).contains(&visited), "{visited}");
    }

    #[test]
    fn a_long_gap_is_one_round_in_bounded_steps() {
        let mut hand = Hand::default();
        let hour = 3_600 * SECOND_NS;
        assert_eq!(hand.steps(hour, 100_000), HAND_SLOTS);
        let rounds: u32 = (0..500).map(|_| hand.steps(hour, 100_000)).sum();
        assert!((98_000..=100_000).contains(&(rounds + HAND_SLOTS)), "{rounds}");
        assert_eq!(hand.steps(hour, 100_000), 0, "caught up");
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
        let mut hand = Hand::default();
        let walk: Vec<_> = (0..5).map(|_| hand.next(3)).collect();
        assert_eq!(walk, [0, 1, 2, 0, 1]);
        assert_eq!(hand.next(1), 0, "the slab cannot shrink, but a hand past its end starts over");
    }
}
