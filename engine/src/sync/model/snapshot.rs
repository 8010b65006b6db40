//! What stands in for arc-swap under the model checker: a pointer that is replaced, with no
//! more ordering than arc-swap promises. That arc-swap keeps the promise is trusted.

#![expect(unsafe_code, reason = "the interface of the epoch collector, which is checked here")]

use crate::sync::model::epoch::{Atomic, Owned, pin};
use crate::sync::{Arc, Ordering};

/// See the type of the same name that ships.
#[derive(Debug)]
pub struct Snapshot<T: 'static>(Atomic<Arc<T>>);

impl<T: Default> Default for Snapshot<T> {
    fn default() -> Self {
        Self(Atomic::new(Arc::default()))
    }
}

impl<T> Snapshot<T> {
    /// Replaces the value.
    pub fn publish(&self, value: T) {
        let guard = pin();
        // Release: pairs with the acquire in `latest`, which reads the value.
        let past = self.0.swap(Owned::new(Arc::new(value)), Ordering::Release, &guard);
        // SAFETY: it was just replaced, by this thread alone.
        unsafe { guard.defer_destroy(past) };
    }

    /// The latest value.
    #[must_use]
    pub fn latest(&self) -> Arc<T> {
        let guard = pin();
        // Acquire: pairs with the release in `publish`.
        let latest = self.0.load(Ordering::Acquire, &guard);
        // SAFETY: it is never null, and the guard keeps it.
        Arc::clone(unsafe { latest.deref() })
    }
}

impl<T> Drop for Snapshot<T> {
    fn drop(&mut self) {
        // SAFETY: it is never null, and `&mut self`.
        drop(unsafe { std::mem::take(&mut self.0).into_owned() });
    }
}
