//! What a table is made with, and what it says of itself.

use std::sync::OnceLock;

use crate::flow::{FeaturesSet, Timeouts};
use crate::memory::Pages;
use crate::sync::{Counter, Gauge};
use crate::table::Pace;

/// What a table is made with.
#[derive(Debug, Clone, Copy)]
pub struct TableConfig {
    /// Slots: the most flows at one time.
    pub capacity: usize,
    /// When flows end.
    pub timeouts: Timeouts,
    /// How often the table comes to each flow.
    pub pace: Pace,
    /// Slots that are looked at for a flow that is over, when a packet finds the table full,
    /// before a flow is given up: all of them where packets can wait.
    pub sweep_slots: usize,
    /// Whether all memory is taken at start: then the kernel need not find a page while
    /// packets wait. Else it is when flows need it.
    pub is_populated: bool,
    /// What is kept of flows.
    pub features_set: FeaturesSet,
}

/// What a table has done; written by its owner, readable by all; on cache lines of its
/// own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TableCounters {
    /// Packets counted into slots.
    pub in_flows: Counter,
    /// Packets that the kernel has counted, added to flows.
    pub brought_home: Counter,
    /// Packets counted into overflow aggregates.
    pub in_overflow: Counter,
    /// Packets among these that were received here, and that their flow's core was too busy
    /// for.
    pub not_passed_on: Counter,
    /// Batches in which no flow could be closed, because the ring to `merge` was full.
    pub congested_batches: Counter,
    /// Flows given up early for room.
    pub given_up: Counter,
    /// Slots that have ever been in use.
    pub slots_used: Gauge,
    /// What the table was promised at start.
    pub memory: OnceLock<TableMemory>,
}

/// The memory of a table: all that it will use, but for its overflow aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMemory {
    /// Slots: the most flows at one time.
    pub slots: usize,
    /// Bytes, index and all.
    pub bytes: usize,
    /// The least kind of pages that any of it stands on.
    pub pages: Pages,
}
