//! loom's atomics, whose loads, stores and exchanges can be weakened by [`fault`]. Other operations
//! are loom's own.

use std::ops::Deref;

use crate::sync::Ordering;
use crate::sync::model::fault;

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// The atomic of the same name, under the model checker.
        #[derive(Debug, Default)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            /// An atomic that holds `value`.
            #[must_use]
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            /// As the standard library's.
            #[must_use]
            #[track_caller]
            pub fn load(&self, ordering: Ordering) -> $value {
                self.0.load(fault::ordering(ordering))
            }

            /// As the standard library's.
            #[track_caller]
            pub fn store(&self, value: $value, ordering: Ordering) {
                self.0.store(value, fault::ordering(ordering));
            }

            /// As the standard library's.
            ///
            /// # Errors
            /// What is there instead.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                let (success, failure) = (fault::ordering(success), fault::ordering(failure));
                self.0.compare_exchange(current, new, success, failure)
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);
