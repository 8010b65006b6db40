//! When to try again: soon at first, then ever more rarely, and not when all others do.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::limits::{COLLECTOR_RETRY_FIRST, COLLECTOR_RETRY_MOST};

/// How long to wait between attempts.
#[derive(Debug)]
pub(in crate::export) struct Backoff {
    wait: Duration,
    next: Instant,
}

impl Backoff {
    /// At once.
    pub(in crate::export) fn new() -> Self {
        Self { wait: COLLECTOR_RETRY_FIRST, next: Instant::now() }
    }

    /// When to try next.
    pub(in crate::export) fn next(&self) -> Instant {
        self.next
    }

    /// An attempt has failed: from half to one and a half of the wait, which doubles.
    pub(in crate::export) fn failed(&mut self) {
        // The keys of a hash map are random, which is random enough.
        let random = RandomState::new().build_hasher().finish() % 1_024;
        let jitter = 0.5 + f64::from(u16::try_from(random).expect("below 1,024")) / 1_024.0;
        self.next = Instant::now() + self.wait.mul_f64(jitter);
        self.wait = (2 * self.wait).min(COLLECTOR_RETRY_MOST);
    }

    /// An attempt has succeeded.
    pub(in crate::export) fn succeeded(&mut self) {
        self.wait = COLLECTOR_RETRY_FIRST;
    }

    /// What has succeeded is wished for once more, at once.
    pub(in crate::export) fn again(&mut self) {
        self.next = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut backoff = Backoff::new();
        let mut waits = Vec::new();
        for _ in 0..20 {
            let now = Instant::now();
            backoff.failed();
            waits.push(backoff.next().duration_since(now));
        }
        // A tenth of a second for the test's own time.
        let slack = Duration::from_millis(100);
        let mut expected = COLLECTOR_RETRY_FIRST;
        for wait in waits {
            assert!(wait + slack >= expected / 2 && wait <= expected * 3 / 2 + slack, "{wait:?}");
            expected = (2 * expected).min(COLLECTOR_RETRY_MOST);
        }
        backoff.succeeded();
        backoff.failed();
        assert!(backoff.next().duration_since(Instant::now()) <= COLLECTOR_RETRY_FIRST * 3 / 2);
    }
}
