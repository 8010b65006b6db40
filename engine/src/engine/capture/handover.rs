//! Queues on their way between `main` and an `rx` thread, when an interface is opened anew.
//!
//! [`Giver`] is `main`'s end, [`Taker`] the thread's. A queue is owned by one of the two at any
//! moment: `main` asks for it back, the thread takes what is still in it, closes it and says
//! so; only then `main` opens another in its place and gives it. The thread looks for orders
//! where it would sleep, never between packets; it is woken for them.
//!
//! Threads of queues that may be added have none at first. Before one gets its first, it is told to
//! pass on what it will receive, and those that count flows are told to take that ([`Passing`]).

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::source::live::Queue;
use crate::sync::bell::Bell;
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::table::exchange::{Exchange, Incoming};

/// What `main` wants.
#[derive(Debug)]
pub(super) enum Order {
    /// Empty the queue and close it.
    GiveBack,
    /// Receive from this one.
    Take(Box<Queue>),
    /// Pass on packets in another way.
    Pass(Passing),
}

/// How packets get from where they arrive to their flow's core from now on.
#[derive(Debug)]
pub(super) enum Passing {
    /// Over this: the thread had none.
    On(Box<Exchange>),
    /// Take what comes from there, too.
    From(Box<Incoming>),
}

#[derive(Debug)]
struct Shared {
    /// The thread has no queue.
    is_vacant: AtomicBool,
    /// The queue gives errors.
    is_failing: AtomicBool,
    /// Orders that `main` has given, and those that the thread has taken.
    given: AtomicU64,
    heard: AtomicU64,
    /// The thread's.
    bell: Arc<Bell>,
}

/// `main`'s end, one for each thread.
#[derive(Debug, Clone)]
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

/// Both ends.
///
/// # Errors
/// If the kernel gives no more descriptors.
pub(super) fn handover() -> io::Result<(Giver, Taker)> {
    let (sender, orders) = channel();
    let shared = Arc::new(Shared {
        is_vacant: AtomicBool::new(false),
        is_failing: AtomicBool::new(false),
        given: AtomicU64::new(0),
        heard: AtomicU64::new(0),
        bell: Arc::new(Bell::new()?),
    });
    Ok((Giver { orders: sender, shared: Arc::clone(&shared) }, Taker { orders, shared }))
}

impl Giver {
    /// Asks for the queue.
    pub(super) fn ask_back(&self) {
        self.order(Order::GiveBack);
    }

    /// Has packets go another way.
    pub(super) fn pass(&self, passing: Passing) {
        self.order(Order::Pass(passing));
    }

    /// Whether the thread has taken all orders so far.
    pub(super) fn is_heard(&self) -> bool {
        // Relaxed: it is of the thread that looks. Acquire: pairs with the release in
        // `Taker::order`.
        self.shared.heard.load(Ordering::Acquire) == self.shared.given.load(Ordering::Relaxed)
    }

    fn order(&self, order: Order) {
        // Relaxed: only `main` gives orders, and looks how many it has given.
        self.shared.given.fetch_add(1, Ordering::Relaxed);
        // A thread that has ended needs none.
        let _ = self.orders.send(order);
        self.shared.bell.ring();
    }

    /// The thread's.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.shared.bell
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
        self.order(Order::Take(Box::new(queue)));
    }

    /// Whether the queue gives errors.
    pub(super) fn is_failing(&self) -> bool {
        // Relaxed: about itself only.
        self.shared.is_failing.load(Ordering::Relaxed)
    }
}

impl Taker {
    /// Of the thread that takes orders.
    pub(super) fn bell(&self) -> &Bell {
        &self.shared.bell
    }

    /// The next order, if there is one.
    pub(super) fn order(&self) -> Option<Order> {
        let order = self.orders.try_recv().ok()?;
        // Release: pairs with the acquire in `Giver::is_heard`.
        self.shared.heard.fetch_add(1, Ordering::Release);
        Some(order)
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
