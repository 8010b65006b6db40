//! The time in which a sink cannot write its file: since when, why, and when it is tried again.

use std::time::Instant;

use crate::error::Error;
use crate::export::collector::backoff::Backoff;
use crate::limits::{FILE_PATIENCE, FILE_STANDS};

/// A sink's outage. It is told once, and over when writing has gone well for a while.
pub(super) struct Outage {
    /// Since when.
    pub(super) since: Instant,
    /// What it is due to, in a word.
    pub(super) cause: String,
    /// What it is due to, for the user.
    pub(super) error: Error,
    backoff: Backoff,
    /// Since when writing goes well.
    writes_since: Option<Instant>,
    /// When the end of the run waits no longer.
    pub(super) deadline: Option<Instant>,
}

impl Outage {
    /// From now on.
    pub(super) fn new(cause: String, error: Error) -> Self {
        let mut backoff = Backoff::new();
        backoff.failed();
        let (since, writes_since, deadline) = (Instant::now(), None, None);
        Self { since, cause, error, backoff, writes_since, deadline }
    }

    /// It goes on, for this cause now.
    pub(super) fn failed_again(&mut self, cause: String, error: Error) {
        (self.cause, self.error) = (cause, error);
        self.backoff.failed();
        self.writes_since = None;
    }

    /// It seems to be over.
    pub(super) fn writes(&mut self) {
        self.writes_since.get_or_insert_with(Instant::now);
    }

    /// Whether nothing can be written now.
    pub(super) fn is_on(&self) -> bool {
        self.writes_since.is_none()
    }

    /// Whether it need not be remembered.
    pub(super) fn is_over(&self) -> bool {
        self.writes_since.is_some_and(|since| since.elapsed() >= FILE_STANDS)
    }

    /// When to do something.
    pub(super) fn next_try(&self) -> Instant {
        self.deadline.map_or(self.backoff.next(), |deadline| deadline.min(self.backoff.next()))
    }

    /// The run is over, and waits for this a while: it is tried at once.
    pub(super) fn ends(&mut self) {
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + FILE_PATIENCE);
            self.backoff = Backoff::new();
        }
    }

    /// How long nothing could be written.
    pub(super) fn seconds(&self) -> f64 {
        let until = self.writes_since.unwrap_or_else(Instant::now);
        until.duration_since(self.since).as_secs_f64()
    }

    /// Whether the end of the run has waited long enough.
    pub(super) fn is_given_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}
