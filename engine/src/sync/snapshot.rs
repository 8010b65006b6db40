//! A value that is replaced whole: one thread publishes, any thread reads the latest.

use arc_swap::{ArcSwap, Cache};

use crate::sync::Arc;

/// Holds the latest value. A reader never waits, sees a whole value, and never one that is
/// older than what it has seen before.
#[derive(Debug, Default)]
pub struct Snapshot<T>(Arc<ArcSwap<T>>);

impl<T> Snapshot<T> {
    /// Holds this one.
    pub fn of(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// Replaces the value. Returns the one before, which goes with the last who looks at it.
    pub fn publish(&self, value: T) -> Arc<T> {
        self.0.swap(Arc::new(value))
    }

    /// The latest value.
    #[must_use]
    pub fn latest(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// For a thread that looks often.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        Reader(Cache::new(Arc::clone(&self.0)))
    }
}

/// Keeps the value that it has seen last: to look whether there is another is a load and a
/// comparison.
#[derive(Debug)]
pub struct Reader<T>(Cache<Arc<ArcSwap<T>>, Arc<T>>);

impl<T> Reader<T> {
    /// The latest value.
    pub fn latest(&mut self) -> &T {
        self.0.load()
    }
}
