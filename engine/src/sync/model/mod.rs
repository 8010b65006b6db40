//! What stands in under the model checker: loom's atomics and cell, in wrappers that can
//! break them, and the explorer that runs the models.
//!
//! Nothing of this ships. loom ("Permutation testing for concurrent code", after
//! [CDSChecker]) runs a closure once for each order of its atomic operations, and for each
//! value that the C11 memory model lets a load return.
//!
//! [CDSChecker]: https://doi.org/10.1145/2509136.2509514

pub mod atomic;
pub mod epoch;
pub mod fault;
pub mod snapshot;

#[cfg(test)]
pub(crate) mod explore;
