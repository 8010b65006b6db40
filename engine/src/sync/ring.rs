//! A bounded ring from one thread to one other, wait-free at both ends.
//!
//! Two numbers that only grow say where it stands: `tail` items were ever put in, and only
//! the producer stores it; `head` items were ever taken out, and only the consumer stores
//! it. Item `n` has the slot `n` modulo the number of slots. A slot belongs to the producer
//! until `tail` has passed it, then to the consumer until `head` has, so no slot ever has
//! two owners, and each end keeps the other's number as of lately: it looks again only when
//! the ring seems full or empty.
//!
//! Nothing here waits or allocates after the start; [`crate::sync::lane`] and the keys that
//! `merge` passes to `reap` are built on it.

#![expect(unsafe_code, reason = "an end writes to slots that the type system thinks are shared")]

use std::cell::Cell;

use crate::sync::cell::UnsafeCell;
use crate::sync::{Alone, Arc, AtomicBool, AtomicUsize, Ordering};

#[derive(Debug)]
struct Ring<T> {
    /// Items ever taken out.
    head: Alone<AtomicUsize>,
    /// Items ever put in.
    tail: Alone<AtomicUsize>,
    /// Whether the producer is gone.
    abandoned: AtomicBool,
    /// A power of two of them, so that numbers may wrap; `capacity` are in use at most.
    slots: Box<[UnsafeCell<Option<T>>]>,
    capacity: usize,
}

// SAFETY: the slots are all that is not `Sync` by itself. A slot is touched by `push` and
// `pop` only, which need the one `&mut Producer` or the one `&mut Consumer` there is, and
// which `tail` and `head` keep apart; items move between threads, so they must be `Send`.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    fn slot(&self, number: usize) -> &UnsafeCell<Option<T>> {
        &self.slots[number & (self.slots.len() - 1)]
    }
}

/// The end that items go in at.
#[derive(Debug)]
pub struct Producer<T> {
    ring: Arc<Ring<T>>,
    /// What `ring.tail` is.
    tail: usize,
    /// What `ring.head` was when last looked at.
    head: Cell<usize>,
}

/// The end that items come out at.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: Arc<Ring<T>>,
    /// What `ring.head` is.
    head: usize,
    /// What `ring.tail` was when last looked at.
    tail: Cell<usize>,
}

/// A ring with room for `capacity` items.
///
/// # Panics
/// If `capacity` is 0.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    numbered_from(0, capacity)
}

/// A ring whose first item has the number `first`.
fn numbered_from<T>(first: usize, capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity > 0, "a ring needs room");
    let ring = Arc::new(Ring {
        head: Alone(AtomicUsize::new(first)),
        tail: Alone(AtomicUsize::new(first)),
        abandoned: AtomicBool::new(false),
        slots: (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(None)).collect(),
        capacity,
    });
    let producer = Producer { ring: Arc::clone(&ring), tail: first, head: Cell::new(first) };
    (producer, Consumer { ring, head: first, tail: Cell::new(first) })
}

impl<T> Producer<T> {
    /// Puts an item in.
    ///
    /// # Errors
    /// If the ring is full: the item.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        self.ring.slot(self.tail).with_mut(|slot| {
            // SAFETY: the pointer is the cell's own. Nobody else uses the slot: the ring is
            // not full, so the consumer is done with the item that was here (`look` acquired
            // the `head` that says so), and it reads no slot that `tail` has not passed.
            unsafe { *slot = Some(item) };
        });
        self.tail = self.tail.wrapping_add(1);
        // Release: pairs with the acquire in `Consumer::look`; without it the consumer could
        // take the slot as it was before the item was written.
        self.ring.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Items that fit for sure; the consumer may make room for more at any time.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.look();
        self.ring.capacity - self.tail.wrapping_sub(self.head.get())
    }

    /// Whether no item fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let seems_full = || self.tail.wrapping_sub(self.head.get()) == self.ring.capacity;
        seems_full() && {
            self.look();
            seems_full()
        }
    }

    fn look(&self) {
        // Acquire: pairs with the release in `pop`; without it the next item could be
        // written to a slot that the consumer still reads.
        self.head.set(self.ring.head.0.load(Ordering::Acquire));
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // Release: pairs with the acquire in `is_abandoned`; without it the consumer could
        // see the producer gone and not yet its last item.
        self.ring.abandoned.store(true, Ordering::Release);
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest item out.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let item = self.ring.slot(self.head).with_mut(|slot| {
            // SAFETY: the pointer is the cell's own. Nobody else uses the slot: `tail` has
            // passed it (`look` acquired the `tail` that says so), and the producer leaves it
            // alone until `head` has passed it too.
            unsafe { (*slot).take() }
        });
        self.head = self.head.wrapping_add(1);
        // Release: pairs with the acquire in `Producer::look`; without it the producer could
        // write to the slot before the item was taken out.
        self.ring.head.0.store(self.head, Ordering::Release);
        Some(item.expect("`tail` passes a slot only when an item is in it"))
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let seems_empty = || self.head == self.tail.get();
        seems_empty() && {
            self.look();
            seems_empty()
        }
    }

    /// Items that are there for sure; the producer may add more at any time.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.look();
        self.tail.get().wrapping_sub(self.head)
    }

    /// Whether the producer is gone. Items that it put in before may still be there: when
    /// this was true and then [`Consumer::is_empty`] is, in this order, no more will come.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        // Acquire: pairs with the release in the producer's `drop`, behind its last `push`;
        // without it a look at `tail` after this one could miss that.
        self.ring.abandoned.load(Ordering::Acquire)
    }

    fn look(&self) {
        // Acquire: pairs with the release in `push`; without it the item in the slot could be
        // read from before it was written.
        self.tail.set(self.ring.tail.0.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain queue, also where the numbers wrap.
        #[test]
        fn it_does_what_a_bounded_queue_does(
            capacity in 1usize..6, before_wrap in 0usize..9, before_end in 0usize..4,
            pushes in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let (mut producer, mut consumer) =
                numbered_from(usize::MAX - before_wrap, capacity);
            let (mut twin, mut next) = (VecDeque::new(), 0u32);
            for push in pushes {
                if push {
                    let item = Arc::new(next);
                    next += 1;
                    if twin.len() < capacity {
                        twin.push_back(Arc::clone(&item));
                        prop_assert_eq!(producer.push(item), Ok(()));
                    } else {
                        prop_assert_eq!(producer.push(Arc::clone(&item)), Err(item));
                    }
                } else {
                    prop_assert_eq!(consumer.pop(), twin.pop_front());
                }
                prop_assert_eq!(producer.slots(), capacity - twin.len());
                prop_assert_eq!(producer.is_full(), twin.len() == capacity);
                prop_assert_eq!(consumer.slots(), twin.len());
                prop_assert_eq!(consumer.is_empty(), twin.is_empty());
                prop_assert!(!consumer.is_abandoned());
            }
            drop(producer);
            prop_assert!(consumer.is_abandoned());
            for _ in 0..before_end {
                prop_assert_eq!(consumer.pop(), twin.pop_front());
            }
            // What nobody takes is dropped with the ring.
            drop(consumer);
            prop_assert!(twin.iter().all(|item| Arc::strong_count(item) == 1));
        }
    }
}

#[cfg(all(test, loom))]
mod models;
