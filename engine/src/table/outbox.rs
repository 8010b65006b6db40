//! How deltas leave a core: over one bounded lane to each `merge` thread; and, where extended
//! statistics are kept, those of the parts that end over a second one beside it.
//!
//! **The two lanes go in step.** A batch of deltas is sent together with the statistics that
//! belong to it, which go first, or neither is. So whoever has received a batch of deltas finds
//! the statistics of it, all in one batch and in the same order; and deltas need not know of them.

use crate::flow::{Features, FeaturesSet, FlowRecord, RecordKind};
use crate::sync::lane::{Receiver, Sender, lane};
use crate::table::Outlet;

/// Where a `merge` thread receives the deltas of one core, each as the record that it would be
/// alone: what holds a flow from its first packet to its last is one, and goes on as it is.
#[derive(Debug)]
pub struct Inbox {
    deltas: Receiver<FlowRecord>,
    /// In the extended set only.
    features: Option<Receiver<Features>>,
}

/// A batch that was received.
#[derive(Debug)]
pub struct Published {
    /// Deltas, in the order in which they were published.
    pub deltas: Vec<FlowRecord>,
    /// The statistics of those among them that [`end_part`], in their order, if there are any.
    pub features: Option<Vec<Features>>,
}

/// Whether statistics come with this delta, where they are kept: an end of a flow or of a part.
#[must_use]
pub fn end_part(published: &FlowRecord) -> bool {
    published.kind == RecordKind::Flow && published.total.end.is_some()
}

impl Inbox {
    /// Takes one batch out, in the order it was published: to be given back.
    pub fn take(&mut self) -> Option<Published> {
        let deltas = self.deltas.take()?;
        let features =
            self.features.as_mut().filter(|_| deltas.iter().any(end_part)).map(|lane| {
                lane.take().expect("statistics are sent before the deltas they are of")
            });
        Some(Published { deltas, features })
    }

    /// Gives back a batch that was taken out.
    pub fn give_back(&mut self, batch: Published) {
        if let (Some(lane), Some(features)) = (&mut self.features, batch.features) {
            lane.give_back(features);
        }
        self.deltas.give_back(batch.deltas);
    }

    /// Whether the core is gone and everything it sent has been received.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.deltas.is_finished()
    }
}

/// The sending end: owned by the core.
#[derive(Debug)]
pub struct Outbox {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    deltas: Sender<FlowRecord>,
    /// In the extended set only.
    features: Option<Sender<Features>>,
}

/// An outbox for one core, with a lane to each of `merges` merge threads; each lane holds
/// `batches` batches of `batch_deltas`.
///
/// With less room in a lane than [`crate::table::BATCH_ROOM`] and than there are overflow
/// aggregates a table waits for ever; the engine's sizes are held against both in
/// [`crate::limits`].
#[must_use]
pub fn outbox(
    merges: usize,
    batches: usize,
    batch_deltas: usize,
    set: FeaturesSet,
) -> (Outbox, Vec<Inbox>) {
    let pair = |_| {
        let (send_deltas, deltas) = lane(batches, batch_deltas);
        let features = set.is_extended().then(|| lane(batches, batch_deltas));
        let (send_features, features) = features.unzip();
        let lane = Lane { deltas: send_deltas, features: send_features };
        (lane, Inbox { deltas, features })
    };
    let (lanes, inboxes) = (0..merges).map(pair).unzip();
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

impl Lane {
    /// Statistics are no more than deltas, so what counts of theirs is whole batches.
    fn room(&self) -> usize {
        match &self.features {
            None => self.deltas.room(),
            Some(_) => self.deltas.room_with(self.free_batches()),
        }
    }

    /// Batches that both lanes can send.
    fn free_batches(&self) -> usize {
        let features = self.features.as_ref().map_or(usize::MAX, Sender::free_batches);
        self.deltas.free_batches().min(features)
    }

    fn flush(&mut self) -> bool {
        let is_blocked = self.free_batches() == 0 && !self.deltas.is_abandoned();
        match &mut self.features {
            None => self.deltas.flush(),
            Some(_) if is_blocked => self.deltas.unsent().is_empty(),
            Some(features) => features.flush() && self.deltas.flush(),
        }
    }

    /// Makes room for a delta and its statistics in the same batches.
    fn make_room(&mut self) {
        if self.deltas.is_batch_full() {
            assert!(self.flush(), "published without room");
        }
    }
}

impl Outlet for Outbox {
    fn room(&self) -> usize {
        self.lanes.iter().map(Lane::room).min().unwrap_or(0)
    }

    #[inline]
    fn publish(&mut self, hash: u64, published: FlowRecord) {
        let lane = lane_of(hash, self.lanes.len());
        let lane = &mut self.lanes[lane];
        if lane.features.is_some() {
            lane.make_room();
        }
        lane.deltas.push(published);
    }

    fn publish_features(&mut self, hash: u64, features: &Features) {
        let lane = lane_of(hash, self.lanes.len());
        let lane = &mut self.lanes[lane];
        lane.make_room();
        let sender = lane.features.as_mut().expect("the outbox is made for the table's set");
        sender.push(*features);
    }
}

/// Which of `lanes` takes a hash: by its upper bits, as the table's index uses others.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the result is below `lanes`")]
pub fn lane_of(hash: u64, lanes: usize) -> usize {
    ((u128::from(hash) * lanes as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{Delta, EndReason, FlowKey};

    /// The `number`-th delta, which ends a part or does not.
    fn delta(number: u64, end: Option<EndReason>) -> FlowRecord {
        let mut delta = Delta { end, ..Delta::EMPTY };
        delta.sides[0].bytes = number;
        FlowRecord::flow(FlowKey::NONE, delta)
    }

    fn features(number: u64) -> Features {
        let mut features = Features::EMPTY;
        features.0[0].gap_sum_ns = number;
        features
    }

    proptest! {
        /// However publishing, sending and receiving are mixed and however small the lanes are:
        /// each end has its statistics in the batch that came with it.
        #[test]
        fn statistics_come_with_the_deltas_they_are_of(
            batches in 1usize..4, batch_deltas in 1usize..4,
            steps in prop::collection::vec(0u8..8, 0..300),
        ) {
            let (mut outbox, mut inboxes) =
                outbox(1, batches, batch_deltas, FeaturesSet::Extended);
            let (mut next, mut out) = (0, 0);
            // What was received and is not given back yet: a `merge` thread takes its time.
            let mut held = None;
            let mut receive = |held: &mut Option<Published>| {
                if let Some(batch) = held.take() {
                    inboxes[0].give_back(batch);
                    return Ok(true);
                }
                let Some(batch) = inboxes[0].take() else { return Ok(false) };
                let mut ends = batch.features.iter().flatten();
                for published in &batch.deltas {
                    prop_assert_eq!(published.total.sides[0].bytes, out);
                    if end_part(published) {
                        prop_assert_eq!(ends.next(), Some(&features(out)));
                    }
                    out += 1;
                }
                prop_assert_eq!(ends.next(), None);
                *held = Some(batch);
                Ok(true)
            };
            for step in steps {
                match step {
                    0..=3 if outbox.room() > 0 => {
                        let end = [None, Some(EndReason::Active), Some(EndReason::Idle)];
                        let end = end[usize::from(step) % 3];
                        if end.is_some() {
                            outbox.publish_features(0, &features(next));
                        }
                        outbox.publish(0, delta(next, end));
                        next += 1;
                    }
                    4 => _ = outbox.flush(),
                    _ => _ = receive(&mut held)?,
                }
            }
            while !outbox.flush() {
                receive(&mut held)?;
            }
            while receive(&mut held)? {}
            prop_assert_eq!(out, next, "all of them");
        }
    }
}
