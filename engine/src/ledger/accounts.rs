//! All counters of a run, each written by one thread, and what one thread writes on cache lines of
//! its own: two that write to one line wait for each other.

use std::sync::OnceLock;

use crate::decode::Cause;
use crate::export::SinkAccount;
use crate::flow::Sampling;
use crate::global::GlobalCounters;
use crate::ledger::LinkCounters;
use crate::names::NamesCounters;
use crate::sync::{Arc, Counter, Gauge};
use crate::table::TableCounters;

/// What a source has counted of one interface or file. Its one writer is the thread that
/// owns the source (`main` for what the kernel counts).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SourceCounters {
    /// Packets that the NIC says it received; [`u64::MAX`] if it does not say.
    pub nic_rx: Gauge,
    /// Packets that the NIC says it had no room for.
    pub nic_missed: Gauge,
    /// Packets at the source's entry.
    pub seen: Gauge,
    /// Packets left to the host.
    pub passed: Gauge,
    /// Packets that the XDP program could not handle.
    pub aborted: Gauge,
    /// Packets sent to sockets that had lost the interface. Only then it is known, and stays.
    pub unbound: Gauge,
    /// Packets that the filter in the kernel rejected.
    pub filtered: Gauge,
    /// Packets that sampling left out.
    pub sampled_out: Gauge,
    /// Packets that the XDP program has counted by itself.
    pub shunted: Gauge,
    /// Frames without a usable timestamp, which are in flows all the same.
    pub untimed: Gauge,
    /// Files that broke in their middle.
    pub file_errors: Counter,
    /// What has become of an interface.
    pub link: LinkCounters,
    /// The clock of its time stamps, known once it is open.
    pub clock: OnceLock<&'static str>,
}

/// What one receiving thread has counted of its frames.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReceiveCounters {
    /// Packets that came to the queue, where it is the kernel that counts them there.
    pub seen: Gauge,
    /// Frames taken from the source that the filter let through: all, if there is none.
    pub received: Counter,
    /// Frames taken from the source that the filter rejected.
    pub filtered: Counter,
    /// Frames given to the decoder.
    pub decoded: Counter,
    /// Packets for whose encapsulation there was no room.
    pub encapsulation_not_kept: Counter,
    /// Packets with more VLAN tags than tell flows apart.
    pub vlan_not_kept: Counter,
    /// Frames so much older than one before them that another recording began.
    pub steps_back: Counter,
    /// Later fragments whose first one was not seen before them.
    pub fragments_alone: Counter,
    /// Fragments that overlap an earlier one, and say otherwise.
    pub fragments_overlapping: Counter,
    /// First fragments that were forgotten for want of room.
    pub fragments_forgotten: Counter,
    /// Frames without a packet, by [`Cause`].
    pub undecodable: [Counter; Cause::ALL.len()],
    /// Lost by the socket, by cause.
    pub rx_ring_full: Gauge,
    /// See above.
    pub fill_ring_empty: Gauge,
    /// Frames too long for the receive memory.
    pub oversize: Gauge,
    /// Descriptors that did not fit the receive memory.
    pub invalid: Gauge,
    /// Lost in the kernel, as the ring of a packet socket or a ring buffer was full.
    pub kernel: Gauge,
    /// How often that ring ran full.
    pub freezes: Gauge,
    /// Packets that this host has sent.
    pub outgoing: Gauge,
    /// Frames longer than the interface's MTU.
    pub above_mtu: Gauge,
    /// Frames that have the time of their batch, where each should have its own.
    pub batch_timed: Gauge,
}

/// All counters of a run.
#[derive(Debug)]
pub struct Accounts {
    /// Names of interfaces or files.
    pub names: Arc<[String]>,
    /// One for each name.
    pub sources: Vec<SourceCounters>,
    /// One for each receiving thread and name: `receives[thread][name]`.
    pub receives: Vec<Vec<ReceiveCounters>>,
    /// One for each core table.
    pub tables: Vec<TableCounters>,
    /// How many of these are to have flows, the first ones.
    pub counting_tables: usize,
    /// One for each merge thread, and the last for `reap`.
    pub globals: Vec<GlobalCounters>,
    /// One for each sink.
    pub sinks: Vec<Arc<SinkAccount>>,
    /// That of transactions of name services, if there is one.
    pub dns_log: Option<Arc<SinkAccount>>,
    /// Those of statistics of intervals.
    pub intervals: Vec<Arc<SinkAccount>>,
    /// How much of the traffic is kept.
    pub sampling: Sampling,
    /// What becomes of names, if they are learned.
    pub names_learned: Option<Arc<NamesCounters>>,
    /// Packets that are in no record, for sinks that say so. Its one writer is `main`.
    pub ignored_packets: Arc<Gauge>,
}

impl Accounts {
    /// Fresh counters.
    #[must_use]
    pub fn new(
        names: Arc<[String]>,
        receivers: usize,
        tables: usize,
        merges: usize,
        sinks: Vec<Arc<SinkAccount>>,
    ) -> Self {
        fn many<T: Default>(n: usize) -> Vec<T> {
            std::iter::repeat_with(T::default).take(n).collect()
        }
        let sources: Vec<SourceCounters> = many(names.len());
        sources.iter().for_each(|source| source.nic_rx.set(u64::MAX));
        let receives = (0..receivers).map(|_| many(names.len())).collect();
        Self {
            sources,
            receives,
            tables: many(tables),
            counting_tables: tables,
            globals: many(merges + 1),
            names,
            sinks,
            dns_log: None,
            intervals: Vec::new(),
            sampling: Sampling::ALL,
            names_learned: None,
            ignored_packets: Arc::default(),
        }
    }

    /// All sinks, for whatever they are.
    pub fn all_sinks(&self) -> impl Iterator<Item = &Arc<SinkAccount>> {
        self.sinks.iter().chain(&self.dns_log).chain(&self.intervals)
    }
}
