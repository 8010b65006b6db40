//! A value that is replaced whole: one thread publishes, any thread reads the latest.

use arc_swap::ArcSwap;

use crate::sync::Arc;

/// Holds the latest value. A reader never waits, sees a whole value, and never one that is
/// older than what it has seen before.
#[derive(Debug, Default)]
pub struct Snapshot<T>(ArcSwap<T>);

impl<T> Snapshot<T> {
    /// Replaces the value.
    pub fn publish(&self, value: T) {
        self.0.store(Arc::new(value));
    }

    /// The latest value.
    #[must_use]
    pub fn latest(&self) -> Arc<T> {
        self.0.load_full()
    }
}
