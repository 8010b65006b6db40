//! Queues on their way between `main` and an `rx` thread, when an interface is opened anew.
//!
//! [`Giver`] is `main`'s end, [`Taker`] the thread's. A queue is owned by one of the two at any
//! moment: `main` asks for it back, the thread takes what is still in it, closes it and says
//! so; only then `main` opens another in its place and gives it. The thread looks for orders
//! where it would sleep, never between packets.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::source::live::Queue;
use crate::sync::{Arc, AtomicBool, Ordering};

/// What `main` wants.
#[derive(Debug)]
pub(super) enum Order {
    /// Empty the queue and close it.
    GiveBack,
    /// Receive from this one.
    Take(Box<Queue>),
}

#[derive(Debug, Default)]
struct Shared {
    /// The thread has no queue.
    is_vacant: AtomicBool,
    /// The queue gives errors.
    is_failing: AtomicBool,
}

/// `main`'s end, one for each thread.
#[derive(Debug)]
pub(super) struct Giver {
    orders: Sender<Order>,
    shared: Arc<Shared>,
}

/// The thread's end.
#[derive(Debug)]
pub(super) struct Taker {
    orders: Receiver<Order>,
    shared: Arc<Shared>,
}

/// Both ends, for a thread that has a queue.
pub(super) fn handover() -> (Giver, Taker) {
    let (sender, orders) = channel();
    let shared = Arc::<Shared>::default();
    (Giver { orders: sender, shared: Arc::clone(&shared) }, Taker { orders, shared })
}

impl Giver {
    /// Asks for the queue.
    pub(super) fn ask_back(&self) {
        // A thread that has ended needs no orders.
        let _ = self.orders.send(Order::GiveBack);
    }

    /// Whether the thread has closed it.
    pub(super) fn is_vacant(&self) -> bool {
        // Acquire: pairs with the release in `Taker::set_vacant`: the queue is closed then, and
        // another can be bound in its place.
        self.shared.is_vacant.load(Ordering::Acquire)
    }

    /// Gives another.
    pub(super) fn give(&self, queue: Queue) {
        // Relaxed: read by this thread only until the other has the queue.
        self.shared.is_vacant.store(false, Ordering::Relaxed);
        let _ = self.orders.send(Order::Take(Box::new(queue)));
    }

    /// Whether the queue gives errors.
    pub(super) fn is_failing(&self) -> bool {
        // Relaxed: about itself only.
        self.shared.is_failing.load(Ordering::Relaxed)
    }
}

impl Taker {
    /// The next order, if there is one.
    pub(super) fn order(&self) -> Option<Order> {
        self.orders.try_recv().ok()
    }

    /// The queue is closed.
    pub(super) fn set_vacant(&self) {
        // Release: pairs with the acquire in `Giver::is_vacant`.
        self.shared.is_vacant.store(true, Ordering::Release);
    }

    /// The queue gives errors, or gives none any more.
    pub(super) fn set_failing(&self, is_failing: bool) {
        // Relaxed: about itself only.
        self.shared.is_failing.store(is_failing, Ordering::Relaxed);
    }
}
