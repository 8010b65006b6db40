//! Buffers that go round between two threads: full ones there over a bounded ring, and emptied
//! ones back over a second one.
//!
//! Nothing is allocated after the start, and nothing here waits: with no room, the buffer that is
//! being filled stays where it is. What is in a buffer, and when it is full, others know
//! ([`super::lane`], and what hands payloads over to the `names` thread).

use crate::sync::ring::{Consumer, Producer, ring};

/// The end at which full buffers go in.
#[derive(Debug)]
pub(crate) struct Filler<B> {
    sent: Producer<B>,
    returned: Consumer<B>,
    spare: Vec<B>,
}

/// The end at which they come out.
#[derive(Debug)]
pub(crate) struct Drainer<B> {
    sent: Consumer<B>,
    returned: Producer<B>,
}

/// A way for `count` buffers in flight, beside the one that is being filled.
pub(crate) fn buffers<B>(count: usize, make: impl Fn() -> B) -> (Filler<B>, Drainer<B>) {
    let (sent, receive) = ring(count);
    // A place for every buffer there is, so that a return never finds it full.
    let (give_back, returned) = ring(count + 1);
    let spare = (0..count).map(|_| make()).collect();
    (Filler { sent, returned, spare }, Drainer { sent: receive, returned: give_back })
}

impl<B> Filler<B> {
    /// Buffers that are here and have a place in the ring.
    pub(crate) fn free(&self) -> usize {
        (self.spare.len() + self.returned.slots()).min(self.sent.slots())
    }

    /// Places in the ring.
    pub(crate) fn slots(&self) -> usize {
        self.sent.slots()
    }

    /// Whether the other end is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.returned.is_abandoned()
    }

    /// Sends `filling`, and puts an empty buffer in its place. False if there is no room: then
    /// nothing changes.
    pub(crate) fn send(&mut self, filling: &mut B) -> bool {
        if self.sent.is_full() {
            return false;
        }
        // First what was used before: it is in the cache.
        let Some(empty) = self.returned.pop().or_else(|| self.spare.pop()) else {
            return false;
        };
        let is_sent = self.sent.push(std::mem::replace(filling, empty)).is_ok();
        assert!(is_sent, "the ring had a place, and only this thread fills it");
        true
    }
}

impl<B> Drainer<B> {
    /// Takes a full buffer, in the order in which they were sent: to be given back.
    pub(crate) fn take(&mut self) -> Option<B> {
        self.sent.pop()
    }

    /// Gives back a buffer that was taken, emptied.
    pub(crate) fn give_back(&mut self, empty: B) {
        // The other end may be gone; then nobody needs it.
        drop(self.returned.push(empty));
    }

    /// Full buffers that are there for sure.
    pub(crate) fn waiting(&self) -> usize {
        self.sent.slots()
    }

    /// Whether the other end is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sent.is_abandoned()
    }

    /// Whether it is gone and everything it sent was taken.
    pub(crate) fn is_finished(&self) -> bool {
        // In this order: what was sent before it went is seen by the second look.
        self.sent.is_abandoned() && self.sent.is_empty()
    }
}
