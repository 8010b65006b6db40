//! A lane: batches of items from one thread to one other, over a bounded ring, and the
//! emptied batches back over a second one ([`super::buffers`]).
//!
//! Both are wait-free. As many batches as are allocated at start are there at any time,
//! these or others that the receiver gives back in their place. Nothing here waits:
//! whoever must wait asks [`Sender::room`].

use crate::sync::buffers::{Drainer, Filler, buffers};

/// The sending end.
#[derive(Debug)]
pub struct Sender<T> {
    filling: Vec<T>,
    batch_len: usize,
    batches: usize,
    full: Filler<Vec<T>>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<T> {
    full: Drainer<Vec<T>>,
}

/// A lane with room for `batches` batches of `batch_len` items in flight.
#[must_use]
pub fn lane<T>(batches: usize, batch_len: usize) -> (Sender<T>, Receiver<T>) {
    assert!(batches > 0 && batch_len > 0, "a lane needs room");
    let batch = || Vec::with_capacity(batch_len);
    let (filler, drainer) = buffers(batches, batch);
    (Sender { filling: batch(), batch_len, batches, full: filler }, Receiver { full: drainer })
}

impl<T> Sender<T> {
    /// Items that fit for sure: what is left of the batch being filled, and whole batches.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room_with(self.free_batches())
    }

    /// The same, as if there were so many whole batches.
    #[must_use]
    pub fn room_with(&self, batches: usize) -> usize {
        self.batch_len - self.filling.len() + batches * self.batch_len
    }

    /// Batches that are here and have a place in the ring: as long as there is one,
    /// [`Sender::flush`] sends.
    #[must_use]
    pub fn free_batches(&self) -> usize {
        self.full.free()
    }

    /// Takes an item; sends a batch when it is full.
    ///
    /// # Panics
    /// If there is no [`Sender::room`].
    pub fn push(&mut self, item: T) {
        if self.is_batch_full() {
            assert!(self.flush(), "pushed without room");
        }
        self.filling.push(item);
    }

    /// The batch being filled: what no one can receive yet.
    #[must_use]
    pub fn unsent(&self) -> &[T] {
        &self.filling
    }

    /// Whether the batch being filled is full.
    #[must_use]
    pub fn is_batch_full(&self) -> bool {
        self.filling.len() == self.batch_len
    }

    /// Batches that wait for the receiver, at most.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.batches - self.full.slots()
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.full.is_abandoned()
    }

    /// Sends the batch being filled, if it has anything. False if the ring is full: the
    /// items stay here. Where the receiver is gone nobody needs them.
    pub fn flush(&mut self) -> bool {
        if self.filling.is_empty() {
            return true;
        }
        if self.full.send(&mut self.filling) {
            return true;
        }
        if self.is_abandoned() {
            self.filling.clear();
        }
        self.filling.is_empty()
    }
}

impl<T> Receiver<T> {
    /// Passes one batch to `take`, in the order it was pushed, and gives it back. False if
    /// none was there.
    pub fn receive(&mut self, take: impl FnOnce(&[T])) -> bool {
        let Some(batch) = self.take() else { return false };
        take(&batch);
        self.give_back(batch);
        true
    }

    /// Takes one batch out, in the order it was pushed: to be given back.
    pub fn take(&mut self) -> Option<Vec<T>> {
        self.full.take()
    }

    /// Gives back a batch that was taken out.
    pub fn give_back(&mut self, mut batch: Vec<T>) {
        batch.clear();
        self.full.give_back(batch);
    }

    /// Batches that are there for sure.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.full.waiting()
    }

    /// Whether the sender is gone and everything it sent has been received.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.full.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: all that was pushed comes out, once and in order, however
        /// pushes, flushes and receives are mixed and however small the lane is.
        #[test]
        fn everything_comes_out_once_and_in_order(
            batches in 1usize..4, batch_len in 1usize..4,
            steps in prop::collection::vec(0u8..3, 0..200),
        ) {
            let (mut sender, mut receiver) = lane(batches, batch_len);
            let (mut next, mut out) = (0u32, Vec::new());
            for step in steps {
                match step {
                    0 if sender.room() > 0 => {
                        sender.push(next);
                        next += 1;
                    }
                    1 => _ = sender.flush(),
                    _ => _ = receiver.receive(|batch| out.extend_from_slice(batch)),
                }
                prop_assert!(!receiver.is_finished());
            }
            while !sender.flush() {
                receiver.receive(|batch| out.extend_from_slice(batch));
            }
            drop(sender);
            while !receiver.is_finished() {
                prop_assert!(receiver.receive(|batch| out.extend_from_slice(batch)));
            }
            prop_assert_eq!(out, (0..next).collect::<Vec<_>>());
        }
    }

    #[test]
    fn two_threads_pass_a_million_items_through_a_small_lane() {
        let (mut sender, mut receiver) = lane(2, 16);
        let consumer = std::thread::spawn(move || {
            let mut next = 0u32;
            while !receiver.is_finished() {
                let got = receiver.receive(|batch| {
                    for &item in batch {
                        assert_eq!(item, next);
                        next += 1;
                    }
                });
                if !got {
                    std::thread::yield_now();
                }
            }
            next
        });
        for item in 0..1_000_000 {
            while sender.room() == 0 {
                std::thread::yield_now();
            }
            sender.push(item);
        }
        while !sender.flush() {
            std::thread::yield_now();
        }
        drop(sender);
        assert_eq!(consumer.join().unwrap(), 1_000_000);
    }
}

#[cfg(all(test, loom))]
mod models;
