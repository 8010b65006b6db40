//! How deltas leave a core: over one bounded lane to each `merge` thread.

use crate::flow::FlowRecord;
use crate::sync::lane::{Receiver, Sender, lane};
use crate::table::Outlet;

/// Where a `merge` thread receives the deltas of one core, each as the record that it would be
/// alone: what holds a flow from its first packet to its last is one, and goes on as it is.
pub type Inbox = Receiver<FlowRecord>;

/// The sending end: owned by the core.
#[derive(Debug)]
pub struct Outbox {
    lanes: Vec<Sender<FlowRecord>>,
}

/// An outbox for one core, with a lane to each of `merges` merge threads; each lane holds
/// `batches` batches of `batch_deltas`.
///
/// With less room in a lane than [`crate::table::BATCH_ROOM`] and than there are overflow
/// aggregates a table waits for ever; the engine's sizes are held against both in
/// [`crate::limits`].
#[must_use]
pub fn outbox(merges: usize, batches: usize, batch_deltas: usize) -> (Outbox, Vec<Inbox>) {
    let (lanes, inboxes) = (0..merges).map(|_| lane(batches, batch_deltas)).unzip();
    (Outbox { lanes }, inboxes)
}

impl Outbox {
    /// Sends what has been published and not sent yet. False if a lane was full: the
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
        self.lanes.iter().map(Sender::room).min().unwrap_or(0)
    }

    #[inline]
    fn publish(&mut self, hash: u64, published: FlowRecord) {
        let lane = lane_of(hash, self.lanes.len());
        self.lanes[lane].push(published);
    }
}

/// Which of `lanes` takes a hash: by its upper bits, as the table's index uses others.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the result is below `lanes`")]
pub fn lane_of(hash: u64, lanes: usize) -> usize {
    ((u128::from(hash) * lanes as u128) >> 64) as usize
}
