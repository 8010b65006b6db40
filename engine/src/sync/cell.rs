//! A cell for data that threads share by a protocol of their own, with the interface of the
//! model checker's cell, which watches every access.

#[cfg(loom)]
pub use loom::cell::UnsafeCell;

/// [`std::cell::UnsafeCell`], reached only from inside a closure.
#[cfg(not(loom))]
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Passes a pointer to what the cell holds to `access`, which may read and write by it.
    #[inline]
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
