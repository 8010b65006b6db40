//! What an `rx` thread receives from: a queue, none while its interface is gone or has fewer, then
//! maybe another; with counts that go on.
//!
//! An error of a queue is not the end of its thread: the interface may be down and come up
//! again, and the other threads need this one to take what they pass on to it. `main` finds out
//! what has become of the interface (`links`), and whether to stop.

use std::time::Duration;

use super::handover::{Order, Passing, Taker};
use crate::error::Result;
use crate::limits::DRAIN_NS;
use crate::socket::poll;
use crate::source::Frame;
use crate::source::live::{Queue, QueueCounts};
use crate::sync::thread;
use crate::time::{Tick, Timestamp};

/// How long a thread rests whose queue gives an error: an interface that is down may do so at
/// once, where it waits else.
const PAUSE: Duration = Duration::from_millis(1);

/// A thread's queue, if it has one.
#[derive(Debug)]
pub(super) struct Line {
    queue: Option<Queue>,
    /// What was counted at queues that it had before.
    past: QueueCounts,
    taker: Taker,
    is_failing: bool,
    /// Since when `main` wants the queue back.
    wanted_since: Option<Tick>,
    /// It was given back, and `main` has not been told.
    is_closed: bool,
}

impl Line {
    pub(super) fn new(queue: Option<Queue>, taker: Taker) -> Self {
        if queue.is_none() {
            taker.set_vacant();
        }
        let past = QueueCounts::default();
        Self { queue, past, taker, is_failing: false, wanted_since: None, is_closed: false }
    }

    /// Its queue, if it has one.
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    /// See [`Queue::receive`].
    #[inline]
    pub(super) fn receive(
        &mut self,
        max: usize,
        now: Timestamp,
        each: impl FnMut(&Frame<'_>),
    ) -> usize {
        let Some(queue) = &mut self.queue else { return 0 };
        let received = queue.receive(max, now, each);
        if received > 0 && self.is_failing {
            self.set_failing(false);
        }
        received
    }

    /// Blocks until frames are there (`true`), or the time is up, the thread is rung for, or after
    /// an error.
    pub(super) fn wait(&mut self, timeout: Duration) -> bool {
        let Self { queue, taker, .. } = self;
        let Some(queue) = queue else {
            // An error would be of a descriptor that is not one.
            let _ = taker.bell().sleep(|bell| poll(bell, None, timeout));
            return false;
        };
        let found = taker.bell().sleep(|bell| queue.wait(timeout, Some(bell)));
        if found.is_err() {
            thread::park_timeout(PAUSE.min(timeout));
        }
        if found.is_err() != self.is_failing {
            self.set_failing(found.is_err());
        }
        found.unwrap_or(false)
    }

    /// See [`Queue::set_by_wall`].
    pub(super) fn set_by_wall(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.set_by_wall();
        }
    }

    /// What was counted at all queues so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn counts(&mut self) -> Result<QueueCounts> {
        let now = self.queue.as_mut().map(Queue::counts).transpose()?.unwrap_or_default();
        Ok(self.past + now)
    }

    /// See [`Queue::is_drained`].
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn is_drained(&mut self) -> Result<bool> {
        self.queue.as_mut().map_or(Ok(true), Queue::is_drained)
    }

    /// Does what `main` wants, when nothing was `received` if that takes an empty queue. What is
    /// left for the thread to do.
    ///
    /// # Errors
    /// If the kernel does not give the counts of a queue that is given back.
    pub(super) fn follow_orders(&mut self, received: usize, now: Tick) -> Result<Option<Passing>> {
        match self.taker.order() {
            None => {}
            Some(Order::GiveBack) => self.wanted_since = Some(now),
            Some(Order::Take(queue)) => {
                assert!(self.queue.is_none(), "it was given back, or there was none");
                self.queue = Some(*queue);
            }
            Some(Order::Pass(passing)) => return Ok(Some(passing)),
        }
        let Some(since) = self.wanted_since else { return Ok(None) };
        if received == 0 && (self.is_drained()? || now - since > DRAIN_NS) {
            self.past = self.counts()?;
            self.queue = None;
            self.wanted_since = None;
            self.set_failing(false);
            self.is_closed = true;
        }
        Ok(None)
    }

    /// Tells `main` if the queue was given back. To be called when its counts are noted: what of its
    /// packets is in none of them then has not come.
    pub(super) fn tell_if_closed(&mut self) {
        if std::mem::take(&mut self.is_closed) {
            self.taker.set_vacant();
        }
    }

    fn set_failing(&mut self, is_failing: bool) {
        self.is_failing = is_failing;
        self.taker.set_failing(is_failing);
    }
}
