//! What the engine shows of itself while it runs: immutable snapshots, each published whole
//! through a [`Snapshot`], so that a reader never waits and never sees half of one.

use crate::devices::DevicesView;
use crate::flow::{Delta, FlowRecord};
use crate::global::map::GlobalMap;
use crate::ledger::Ledger;
use crate::sync::Arc;
use crate::sync::snapshot::Snapshot;

/// Flows that a view names.
const BUSIEST: usize = 10;

/// The engine at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// The accounts.
    pub ledger: Ledger,
    /// Live flows with the most bytes, most first.
    pub busiest: Vec<FlowRecord>,
    /// Input taken in and its whole length, in bytes, where there is an input with an end.
    pub progress: Option<(u64, u64)>,
    /// The devices that are known, if names are learned.
    pub devices: Option<DevicesView>,
}

/// Where the latest view stands: `main` publishes, anyone reads.
#[derive(Debug, Default)]
pub struct Views(Snapshot<Option<View>>);

impl Views {
    /// Replaces the view.
    pub fn publish(&self, view: View) {
        self.0.publish(Some(view));
    }

    /// The latest view, once there is one.
    #[must_use]
    pub fn latest(&self) -> Arc<Option<View>> {
        self.0.latest()
    }
}

/// The live flows with the most bytes, most first. Goes over the whole map.
#[must_use]
pub fn busiest(map: &GlobalMap) -> Vec<FlowRecord> {
    let bytes = |total: &Delta| total.sides[0].bytes + total.sides[1].bytes;
    let mut top: Vec<FlowRecord> = Vec::with_capacity(BUSIEST + 1);
    map.for_each(|key, total| {
        let place = top.partition_point(|other| bytes(&other.total) >= bytes(total));
        if place < BUSIEST {
            let record = FlowRecord::flow(*key, *total);
            top.insert(place, record);
            top.truncate(BUSIEST);
        }
    });
    top
}

#[cfg(all(test, loom))]
mod models;
