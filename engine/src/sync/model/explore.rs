//! Runs models, and their broken twins.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::Arc;
use crate::sync::model::epoch;
use crate::sync::model::fault::{self, Fault, Site};

/// A model: one run of some threads, which asserts what must hold. It spawns every party by
/// `loom::thread` and joins them, so that loom sees them all as equals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    /// What is run once in each order.
    pub(crate) run: fn(),
    /// Threads are taken off at most so often in one order, beside where they end or wait;
    /// `None` explores all orders.
    pub(crate) preemptions: Option<usize>,
}

impl Model {
    /// Explores the model, and returns in how many orders it was run.
    fn explore(self) -> usize {
        let orders = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&orders);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = self.preemptions;
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            epoch::begin();
            (self.run)();
            epoch::end();
        });
        orders.load(Ordering::Relaxed)
    }

    /// Asserts that the model holds in all orders, and that there are `at_least` so many: a
    /// model whose threads do not meet holds in one.
    pub(crate) fn holds(self, at_least: usize) {
        let orders = self.explore();
        println!("explored {orders} orders");
        assert!(orders >= at_least, "{orders} orders are not {at_least}");
    }

    /// Asserts that the model fails, and why: the failure says `because`.
    pub(crate) fn fails(self, because: &str) {
        let cause = self.failure().expect("it holds");
        assert!(cause.contains(because), "it fails otherwise: {cause}");
    }

    /// What the first order that fails says.
    fn failure(self) -> Option<String> {
        let cause = catch_unwind(|| self.explore()).err()?;
        let text = cause.downcast_ref::<&str>().map(ToString::to_string);
        let cause = text.or_else(|| cause.downcast_ref().cloned()).expect("panics say why");
        // A model that does not end shows nothing.
        assert!(!cause.contains("maximum number of branches"), "it does not end: {cause}");
        Some(cause)
    }

    /// Breaks one site after the other of those that the model comes by in `file`, and asserts
    /// that the model fails with each, and that there are `sites` of them.
    pub(crate) fn needs(self, faults: &[Fault], file: &str, sites: usize) {
        fault::take_seen();
        self.explore();
        let is_meant = |site: &Site| faults.contains(&site.fault) && site.file.ends_with(file);
        let seen: Vec<Site> = fault::take_seen().into_iter().filter(is_meant).collect();
        let mut survivors = seen.clone();
        survivors.retain(|site| {
            fault::break_only(Some(*site));
            let failure = self.failure();
            fault::break_only(None);
            println!("without {site:?}: {failure:?}");
            failure.is_none()
        });
        assert!(survivors.is_empty(), "it holds without {survivors:#?}");
        assert_eq!(seen.len(), sites, "{seen:#?}");
    }
}
