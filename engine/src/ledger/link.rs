//! What has become of an interface while it was captured from.

use serde::Serialize;

use crate::sync::{Counter, Gauge};

/// Whether packets can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// It is up, and something is at the other end of the line.
    Up,
    /// It is down, or nothing is at the other end.
    Down,
    /// There is no such interface any more, and nothing comes from it.
    Gone,
    /// It was let go, as the host has come to use it.
    Released,
}

impl Link {
    /// Whether nothing is captured from it any more.
    #[must_use]
    pub fn is_away(self) -> bool {
        matches!(self, Self::Gone | Self::Released)
    }
}

/// Counted by `main`, of one interface.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// The state as a number; 0 for a file.
    state: Gauge,
    /// How often it has gone down.
    pub downs: Counter,
    /// How often it was removed, or its queues have failed for good.
    pub removals: Counter,
    /// How often it was let go, as the host has come to use it.
    pub releases: Counter,
    /// How often another of its name was opened in its place.
    pub reopenings: Counter,
    /// How often it got another name.
    pub renames: Counter,
    /// How often its number of receive queues changed.
    pub queue_changes: Counter,
    /// How many queues that were added were opened.
    pub queues_added: Counter,
}

impl LinkCounters {
    /// Says how it is.
    pub fn set(&self, link: Link) {
        self.state.set(link as u64 + 1);
    }

    /// How it was when last looked at; `None` for a file.
    #[must_use]
    pub fn state(&self) -> Option<Link> {
        let number = self.state.get();
        let all = [Link::Up, Link::Down, Link::Gone, Link::Released];
        all.into_iter().find(|&link| link as u64 + 1 == number)
    }
}

/// The same, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinkLedger {
    /// How it is.
    pub state: Link,
    /// How often it has gone down.
    pub downs: u64,
    /// How often it was removed, or its queues have failed for good.
    pub removals: u64,
    /// How often it was let go, as the host has come to use it.
    pub releases: u64,
    /// How often another of its name was opened in its place.
    pub reopenings: u64,
    /// How often it got another name.
    pub renames: u64,
    /// How often its number of receive queues changed.
    pub queue_changes: u64,
    /// How many queues that were added were opened.
    pub queues_added: u64,
}

impl LinkLedger {
    /// What the counters say now; nothing of a file.
    pub(super) fn of(counters: &LinkCounters) -> Option<Self> {
        Some(Self {
            state: counters.state()?,
            downs: counters.downs.get(),
            removals: counters.removals.get(),
            releases: counters.releases.get(),
            reopenings: counters.reopenings.get(),
            renames: counters.renames.get(),
            queue_changes: counters.queue_changes.get(),
            queues_added: counters.queues_added.get(),
        })
    }
}
