//! Threads, shared pointers and atomics, in one place so that model checking can replace
//! them; single-writer counters; [`ring`]s between two threads, and [`lane`]s, which carry
//! batches over them; [`bell`]s for threads that sleep; [`snapshot`]s, and maps ([`parts`]) that
//! are published by them whole; maps that are read while they are written ([`shared_map`]); and how
//! keys of maps are hashed ([`hash`]).
//!
//! # Under the model checker
//!
//! With `--cfg loom` the atomics and the cell are loom's, wrapped in `model`, and the tests
//! named `models` beside the code run it in every order that the memory model allows. The
//! code under a model is the code that ships. [`Arc`] and [`thread`] stay the standard
//! library's: what an `Arc` orders is thereby invisible to a model, which can only make it
//! stricter; models start their threads by loom's own `thread`.

pub mod bell;
pub(crate) mod buffers;
pub mod cell;
pub(crate) mod hash;
pub mod lane;
#[cfg(loom)]
pub mod model;
pub(crate) mod parts;
pub mod ring;
pub(crate) mod shared_map;
#[cfg(not(loom))]
pub mod snapshot;

/// Epoch-based reclamation: what a thread reads under a guard is not freed before that
/// is dropped.
#[cfg(not(loom))]
pub mod epoch {
    pub use crossbeam_epoch::{Atomic, Guard, Owned, Shared, pin};
}

pub use std::sync::Arc;
pub use std::sync::atomic::Ordering;
#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub use std::thread;

#[cfg(loom)]
pub use model::atomic::{AtomicBool, AtomicU64, AtomicUsize};
#[cfg(loom)]
pub use model::{epoch, snapshot};

use std::time::Duration;

/// On cache lines of its own: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Alone<T>(pub(crate) T);

/// A number that one thread counts up and any thread may read.
///
/// Counting is a load and a store, not a read-modify-write: there is one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the counter's one writer may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        // Relaxed: the number orders nothing else, and nobody else stores it.
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// The number as of lately; exact once the writing thread was joined.
    #[must_use]
    pub fn get(&self) -> u64 {
        // Relaxed: pairs with nothing; joining the writer makes the last store visible.
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that its one writer sets as a whole.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the number.
    pub fn set(&self, value: u64) {
        // Relaxed: the number orders nothing else.
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number as of lately.
    #[must_use]
    pub fn get(&self) -> u64 {
        // Relaxed: as above.
        self.0.load(Ordering::Relaxed)
    }
}

/// A flag that a signal's handler sets. It is the standard library's under the model checker
/// too, as that cannot stand for a handler.
pub type SignalFlag = Arc<std::sync::atomic::AtomicBool>;

/// A request to stop, made by a signal or by the program itself.
#[derive(Debug, Clone, Default)]
pub struct StopRequest {
    /// Set by a signal's handler.
    pub by_signal: SignalFlag,
    by_program: Arc<AtomicBool>,
}

// Relaxed: a request is about itself only, and is seen at the next look.
impl StopRequest {
    /// Makes the request.
    pub fn make(&self) {
        self.by_program.store(true, Ordering::Relaxed);
    }

    /// Whether the request was made.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.by_signal.load(Ordering::Relaxed) || self.by_program.load(Ordering::Relaxed)
    }
}

/// How a thread with nothing to do waits: shortly at first, longer while it stays idle.
#[derive(Debug)]
pub struct Idle(Duration);

impl Idle {
    const SHORTEST: Duration = Duration::from_micros(200);
    const LONGEST: Duration = Duration::from_millis(10);

    /// There was something to do.
    pub fn reset(&mut self) {
        self.0 = Self::SHORTEST;
    }

    /// Waits once.
    pub fn wait(&mut self) {
        thread::park_timeout(self.0);
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}

impl Default for Idle {
    fn default() -> Self {
        Self(Self::SHORTEST)
    }
}
