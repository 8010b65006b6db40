//! How an `rx` thread waits where its queue is empty: look again, or sleep.
//!
//! Looking again at once finds a packet some microseconds earlier than being woken, and spares
//! the system call; but on the processor on which the kernel receives, it keeps the kernel from
//! it (measured: a tenth of the rate). So [`Wait::Adaptive`] looks again only where that has
//! paid: it is given time when packets came soon after it had gone to sleep, and the time
//! shrinks whenever it was spent for nothing. An idle capture sleeps.

use std::time::Duration;

use super::settings::Wait;
use crate::time::Tick;

/// The most that is spent on looking again, in ns: what some wake-ups cost.
const LOOK_NS: u64 = 50_000;

/// The least that is worth it.
const LOOK_LEAST_NS: u64 = 5_000;

/// How often a thread that never sleeps looks after the rest.
const REST_NS: u64 = 10_000_000;

/// What to do where nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again.
    Look,
    /// Look after the rest, then sleep until something comes, or for so long.
    Sleep(Duration),
}

/// One thread's waiting.
#[derive(Debug)]
pub(super) struct Waiting {
    how: Wait,
    /// The next sleep: from `shortest` on each is twice as long as the one before, as long as
    /// nothing is found.
    sleep: Duration,
    shortest: Duration,
    longest: Duration,
    /// When the queue was first found empty.
    empty_since: Option<Tick>,
    /// How long looking again is worth it, in ns.
    worth_ns: u64,
}

impl Waiting {
    /// Sleeps of lengths from the first to the second.
    pub(super) fn new(how: Wait, [shortest, longest]: [Duration; 2]) -> Self {
        let sleep = shortest;
        Self { how, sleep, shortest, longest, empty_since: None, worth_ns: 0 }
    }

    /// There was something.
    pub(super) fn found(&mut self) {
        self.empty_since = None;
        self.sleep = self.shortest;
    }

    /// There was nothing at `now`.
    pub(super) fn next(&mut self, now: Tick) -> Next {
        let empty_ns = now.saturating_sub(*self.empty_since.get_or_insert(now));
        match self.how {
            Wait::Poll => self.sleep(),
            Wait::Spin if empty_ns < REST_NS => Next::Look,
            Wait::Spin => {
                self.empty_since = None;
                Next::Sleep(Duration::ZERO)
            }
            Wait::Adaptive if empty_ns < self.worth_ns => Next::Look,
            Wait::Adaptive => {
                if empty_ns > 0 {
                    // Spent for nothing.
                    self.worth_ns /= 4;
                    if self.worth_ns < LOOK_LEAST_NS {
                        self.worth_ns = 0;
                    }
                }
                self.sleep()
            }
        }
    }

    fn sleep(&mut self) -> Next {
        // What comes after it is a new wait.
        self.empty_since = None;
        let sleep = self.sleep;
        self.sleep = (sleep * 2).min(self.longest);
        Next::Sleep(sleep)
    }

    /// It slept for `slept_ns`, and woke as something had come.
    pub(super) fn woken(&mut self, slept_ns: u64) {
        if slept_ns <= LOOK_NS {
            self.worth_ns = (self.worth_ns * 2).clamp(LOOK_LEAST_NS, LOOK_NS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPS: [Duration; 3] =
        [Duration::from_millis(1), Duration::from_millis(2), Duration::from_millis(3)];

    fn waiting(how: Wait) -> Waiting {
        Waiting::new(how, [SLEEPS[0], SLEEPS[2]])
    }

    #[test]
    fn poll_sleeps_and_spin_looks() {
        let mut poll = waiting(Wait::Poll);
        for sleep in [0, 1, 2, 2].map(|length| SLEEPS[length]) {
            assert_eq!(poll.next(0), Next::Sleep(sleep), "longer, up to a bound");
        }
        poll.found();
        assert_eq!(poll.next(0), Next::Sleep(SLEEPS[0]), "from the start");
        let mut spin = waiting(Wait::Spin);
        for now in 0..REST_NS {
            if now % 1_000_000 == 0 {
                assert_eq!(spin.next(now), Next::Look);
            }
        }
        assert_eq!(spin.next(REST_NS), Next::Sleep(Duration::ZERO), "the rest has its turn");
        assert_eq!(spin.next(REST_NS + 1), Next::Look, "and again");
    }

    /// Waits from `now` on, until it is told to sleep. For how long it looked.
    fn looks(waiting: &mut Waiting, now: Tick) -> u64 {
        waiting.found();
        (0..).find(|ns| waiting.next(now + ns * 1_000) != Next::Look).unwrap() * 1_000
    }

    #[test]
    fn adaptive_looks_only_where_it_pays() {
        let mut waiting = waiting(Wait::Adaptive);
        assert_eq!(looks(&mut waiting, 0), 0, "an idle link");
        waiting.woken(5_000_000);
        assert_eq!(looks(&mut waiting, 0), 0, "packets that are far between");
        let mut longest = 0;
        for round in 0..20 {
            waiting.woken(20_000);
            // Found by looking: the time is kept.
            waiting.found();
            assert!(round == 0 || waiting.next(round) == Next::Look);
            longest = waiting.worth_ns;
        }
        assert_eq!(longest, LOOK_NS, "a busy link, up to the bound");
        let spent: Vec<_> = (0..4).map(|_| looks(&mut waiting, 0)).collect();
        assert_eq!(spent, [50_000, 13_000, 0, 0], "it has gone quiet");
    }
}
