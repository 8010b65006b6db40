//! What stands in for arc-swap under the model checker: a pointer that is replaced, with no
//! more ordering than arc-swap promises. That arc-swap keeps the promise is trusted.

#![expect(unsafe_code, reason = "the interface of the epoch collector, which is checked here")]

use crate::sync::model::epoch::{Atomic, Owned, pin};
use crate::sync::{Arc, Ordering};

/// See the type of the same name that ships.
#[derive(Debug)]
pub struct Snapshot<T: 'static>(Arc<Place<T>>);

/// Where the value is, for all who look.
#[derive(Debug)]
struct Place<T: 'static>(Atomic<Arc<T>>);

impl<T: Default> Default for Snapshot<T> {
    fn default() -> Self {
        Self::of(T::default())
    }
}

impl<T> Snapshot<T> {
    /// Holds this one.
    pub fn of(value: T) -> Self {
        Self(Arc::new(Place(Atomic::new(Arc::new(value)))))
    }

    /// Replaces the value. Returns the one before.
    pub fn publish(&self, value: T) -> Arc<T> {
        let guard = pin();
        // Release: pairs with the acquire in `latest`, which reads the value.
        let past = self.0.0.swap(Owned::new(Arc::new(value)), Ordering::Release, &guard);
        // SAFETY: it is never null, and the guard keeps it.
        let before = Arc::clone(unsafe { past.deref() });
        // SAFETY: it was just replaced, by this thread alone.
        unsafe { guard.defer_destroy(past) };
        before
    }

    /// The latest value.
    #[must_use]
    pub fn latest(&self) -> Arc<T> {
        self.0.latest()
    }

    /// For a thread that looks often.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        Reader { place: Arc::clone(&self.0), seen: self.latest() }
    }
}

/// See the type of the same name that ships; this one looks each time.
#[derive(Debug)]
pub struct Reader<T: 'static> {
    place: Arc<Place<T>>,
    seen: Arc<T>,
}

impl<T> Reader<T> {
    /// The latest value.
    pub fn latest(&mut self) -> &T {
        self.seen = self.place.latest();
        &self.seen
    }
}

impl<T> Place<T> {
    fn latest(&self) -> Arc<T> {
        let guard = pin();
        // Acquire: pairs with the release in `publish`.
        let latest = self.0.load(Ordering::Acquire, &guard);
        // SAFETY: it is never null, and the guard keeps it.
        Arc::clone(unsafe { latest.deref() })
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        // SAFETY: it is never null, and `&mut self`.
        drop(unsafe { std::mem::take(&mut self.0).into_owned() });
    }
}
