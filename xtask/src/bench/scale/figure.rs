//! What is measured: the figures of `cargo bench` and runs of the whole program.

use serde::{Deserialize, Serialize};

use crate::bench::usage::Usage;

/// One figure of a micro-benchmark, as it writes them with `--json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Figure {
    Table(Table),
    /// One core decodes frames that lie in its cache.
    Decode {
        ns: f64,
    },
    /// A packet is passed on among so many cores, all played by one thread.
    PassOn {
        cores: u32,
        ns: f64,
    },
    Merge(Merge),
    Global(Global),
    Export(Export),
}

/// Packet time of those tables that are not bound to a packet a second in each flow, in packets
/// a second: as in `benches/table/scale.rs`.
const BUSY_PER_S: u64 = 10_000_000;

/// Counting decoded packets in one table for each worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Flows at one time, for each worker; about, if they end.
    pub(super) flows: u64,
    /// The most slots that were in use, with what was over and the hand had not come to.
    pub(super) used: u64,
    pub(super) workers: u32,
    /// Of packet time, for each worker.
    pub(super) packets_per_s: u64,
    /// Share of packets that began a flow.
    pub(super) new_share: f64,
    /// For each packet.
    pub(super) ns: f64,
    /// Slots and bytes of one worker's table.
    pub(super) slots: u64,
    pub(super) bytes: u64,
    pub(super) pages: String,
    pub(super) given_up: u64,
    pub(super) in_overflow: u64,
}

impl Table {
    /// Whether packets come as fast as a core takes them, in flows without an end; else each
    /// flow has a packet a second.
    pub(super) fn is_busy(&self) -> bool {
        self.packets_per_s == BUSY_PER_S
    }
}

/// Merge threads with `reap` behind them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Merge {
    pub(super) shape: String,
    /// Deltas in which each flow came. One passes the map by.
    pub(super) deltas: u32,
    pub(super) threads: u32,
    /// A merge thread's own time for each flow.
    pub(super) own_ns: f64,
    /// By the clock on the wall: source, merge threads and `reap`, on this machine's processors.
    pub(super) flows_per_s: f64,
}

/// Memory beside the tables.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Global {
    /// Flows in the global map, and what they take there.
    pub(super) live: u64,
    pub(super) bytes: u64,
    pub(super) delta_bytes: u64,
    pub(super) record_bytes: u64,
}

/// Encoding records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Export {
    pub(super) format: String,
    /// For each record.
    pub(super) ns: f64,
    pub(super) bytes: f64,
}

/// The whole program on a capture file: frames of 60 bytes, to CSV.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(super) packets: u64,
    pub(super) flows: u64,
    pub(super) workers: usize,
    /// Of each round.
    pub(super) runs: Vec<Usage>,
}

/// Caches of this machine, in bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Caches {
    /// Of one core.
    pub(super) l2: f64,
    /// Of all cores that share it.
    pub(super) l3: f64,
}

impl Caches {
    /// Of the first processor; those of a small server where the kernel does not say.
    pub(super) fn here() -> Self {
        let bytes = |idx: u32| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{idx}/size");
            let text = std::fs::read_to_string(path).ok()?;
            text.trim().strip_suffix('K')?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1_024.0)
        };
        Self { l2: bytes(2).unwrap_or(1_048_576.0), l3: bytes(3).unwrap_or(33_554_432.0) }
    }
}
