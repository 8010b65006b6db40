//! How deltas leave a core: in batches, over one bounded ring per `merge` thread, and the
//! emptied batches come back over a second one.
//!
//! Both rings are single-producer single-consumer and wait-free (rtrb). All batches are
//! allocated at start; a full ring is told by [`Outlet::room`] and never waited for here.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::flow::Published;
use crate::limits::{BATCH_DELTAS, RING_BATCHES};
use crate::table::Outlet;

type Batch = Vec<Published>;

/// The sending end: owned by the core.
#[derive(Debug)]
pub struct Outbox {
    lanes: Vec<Lane>,
}

/// One `merge` thread's lane.
#[derive(Debug)]
struct Lane {
    filling: Batch,
    sent: Producer<Batch>,
    returned: Consumer<Batch>,
    spare: Vec<Batch>,
}

/// The receiving end of one lane: owned by a `merge` thread.
#[derive(Debug)]
pub struct Inbox {
    sent: Consumer<Batch>,
    returned: Producer<Batch>,
}

/// An outbox for one core with a lane to each of `merges` merge threads.
#[must_use]
pub fn outbox(merges: usize) -> (Outbox, Vec<Inbox>) {
    let (lanes, inboxes) = (0..merges).map(|_| lane()).unzip();
    (Outbox { lanes }, inboxes)
}

fn lane() -> (Lane, Inbox) {
    let (sent, receive) = RingBuffer::new(RING_BATCHES);
    // One place more than batches that are out, so that a return never finds it full.
    let (give_back, returned) = RingBuffer::new(RING_BATCHES + 1);
    let batch = || Vec::with_capacity(BATCH_DELTAS);
    let spare = (0..RING_BATCHES).map(|_| batch()).collect();
    let lane = Lane { filling: batch(), sent, returned, spare };
    (lane, Inbox { sent: receive, returned: give_back })
}

impl Lane {
    /// Deltas that fit for sure: what is left of the batch being filled, and whole batches
    /// that are here and have a place in the ring.
    fn room(&self) -> usize {
        let batches = (self.spare.len() + self.returned.slots()).min(self.sent.slots());
        BATCH_DELTAS - self.filling.len() + batches * BATCH_DELTAS
    }

    fn publish(&mut self, published: Published) {
        if self.filling.len() == BATCH_DELTAS {
            assert!(self.flush(), "published without room");
        }
        self.filling.push(published);
    }

    /// Sends the batch being filled, if it has anything and if there is room.
    fn flush(&mut self) -> bool {
        if self.filling.is_empty() {
            return true;
        }
        if self.sent.slots() == 0 {
            return false;
        }
        let Some(empty) = self.spare.pop().or_else(|| self.returned.pop().ok()) else {
            return false;
        };
        let full = std::mem::replace(&mut self.filling, empty);
        self.sent.push(full).expect("the ring had a place, and only this thread fills it");
        true
    }
}

impl Outbox {
    /// Sends what has been published and not sent yet. False if a ring was full: the
    /// deltas stay here.
    pub fn flush(&mut self) -> bool {
        let mut all = true;
        for lane in &mut self.lanes {
            all &= lane.flush();
        }
        all
    }
}

impl Outlet for Outbox {
    fn room(&self) -> usize {
        self.lanes.iter().map(Lane::room).min().unwrap_or(0)
    }

    fn publish(&mut self, published: Published) {
        let lane = lane_of(published.hash, self.lanes.len());
        self.lanes[lane].publish(published);
    }
}

/// Which of `lanes` takes a hash: by the upper half, as the table's index uses the lower.
#[must_use]
pub fn lane_of(hash: u64, lanes: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below `lanes`")]
    let lane = ((u128::from(hash) * lanes as u128) >> 64) as usize;
    lane
}

impl Inbox {
    /// Passes the deltas of one batch to `each`, in the order they were published, and
    /// gives the batch back. False if no batch was there.
    pub fn receive(&mut self, mut each: impl FnMut(&Published)) -> bool {
        let Ok(mut batch) = self.sent.pop() else { return false };
        batch.iter().for_each(&mut each);
        batch.clear();
        // The core may be gone; then nobody needs the batch.
        drop(self.returned.push(batch));
        true
    }

    /// Whether the core is gone and everything it sent has been received.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // In this order: what the core sent before it went is seen by the second look.
        self.sent.is_abandoned() && self.sent.is_empty()
    }
}
