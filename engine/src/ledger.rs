//! The loss ledger: every packet in exactly one place.
//!
//! [`Accounts`] holds the counters, each written by one thread; [`Ledger`] is what they say
//! at one moment, with residuals that compare counters from both sides of each step.

mod accounts;
mod link;
mod names;

pub use accounts::{Accounts, ReceiveCounters, SourceCounters};
pub use link::{Link, LinkCounters, LinkLedger};
pub use names::{DnsLogLedger, NamesLedger};

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::decode::Cause;
use crate::export::{SinkAccount, SpoolAccount};
use crate::flow::Sampling;
use crate::memory::Pages;

/// One interface's or file's packets.
#[derive(Debug, Clone, Serialize)]
pub struct InterfaceLedger {
    /// Its name.
    pub name: String,
    /// What the NIC says it received.
    pub nic_rx: Option<u64>,
    /// Packets at the source's entry, and those that the NIC has missed. These have never reached
    /// the program, and the driver counts them in its own time.
    pub seen: u64,
    /// Packets left to the host.
    pub passed: u64,
    /// Packets that the filter rejected.
    pub filtered: u64,
    /// Packets that sampling left out.
    pub sampled_out: u64,
    /// Packets that the XDP program has counted by itself (`--shunt`).
    pub shunted: u64,
    /// Lost packets by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Frames taken from the source that the filter let through.
    pub delivered: u64,
    /// Those of them that this host has sent (`observe`).
    pub outgoing: u64,
    /// Frames longer than the interface's MTU, each counted as one packet: several segments,
    /// which the kernel has merged (GRO) or the NIC is yet to cut (TSO).
    pub frames_above_mtu: u64,
    /// How often the ring of a packet socket ran full (`observe`).
    pub ring_freezes: u64,
    /// Which clock time stamps are from; of a file nobody knows.
    pub clock: Option<&'static str>,
    /// Frames that have the time of their batch, where each should have its own (`tap`).
    pub batch_timed: u64,
    /// Frames without a usable timestamp, which are in flows all the same.
    pub untimed: u64,
    /// Files that broke in their middle.
    pub file_errors: u64,
    /// What has become of an interface; of a file there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkLedger>,
}

impl InterfaceLedger {
    /// Packets that are in one of the places where one may be.
    fn accounted(&self) -> u64 {
        let dropped: u64 = self.dropped.values().sum();
        self.passed + self.filtered + self.sampled_out + self.shunted + dropped + self.delivered
    }
}

/// The packets of all interfaces, behind the sources.
#[derive(Debug, Clone, Serialize)]
pub struct PacketLedger {
    /// Frames given to a decoder.
    pub delivered: u64,
    /// Frames without a packet, by cause.
    pub undecodable: BTreeMap<&'static str, u64>,
    /// Packets that the XDP program has counted, and whose counts have come home.
    pub brought_home: u64,
    /// Packets counted in flows, those brought home among them.
    pub in_flows: u64,
    /// Packets counted in overflow aggregates.
    pub in_overflow: u64,
    /// Packets among these that could not be passed on to their flow's core, as that was too
    /// busy.
    pub not_passed_on: u64,
    /// Packets in flows that may miss a tunnel's ends and MPLS labels in their records, as there
    /// were too many different ones.
    pub encapsulation_not_kept: u64,
    /// Packets in flows that have more VLAN tags than tell flows apart: two at most, the outermost.
    pub vlan_not_kept: u64,
    /// How often packet time has stepped back by more than a minute: each time as if another
    /// recording had begun, after a gap as long.
    pub steps_back: u64,
    /// What was of note among fragments, all of which are in flows.
    pub fragments: FragmentLedger,
    /// Packets on their way from a decoder to a table: 0 at the end of a run, where the
    /// residual shows what has got lost on that way.
    pub in_flight: u64,
}

/// Fragments that were of note. See [`crate::decode::FragmentNotes`].
#[derive(Debug, Clone, Serialize)]
pub struct FragmentLedger {
    /// Later ones in flows without ports, as their first one was not seen before them.
    pub alone: u64,
    /// Those that overlap an earlier one, and say otherwise.
    pub overlapping: u64,
    /// First ones that were forgotten for want of room.
    pub forgotten: u64,
}

/// Records.
#[derive(Debug, Clone, Serialize)]
pub struct FlowLedger {
    /// Records begun.
    pub created: u64,
    /// Records that every sink has written.
    pub exported: u64,
    /// Records in the global map.
    pub live: u64,
    /// Records that a sink did not write, as `sink: cause`.
    pub not_sent: BTreeMap<String, u64>,
    /// Packets of flows in ended records: held against `in_flows` at the end.
    pub packets: u64,
    /// Flows given up early for room.
    pub given_up: u64,
    /// Batches in which no flow could be closed, because `merge` was behind.
    pub congested_batches: u64,
}

/// The flow tables of all cores.
#[derive(Debug, Clone, Serialize)]
pub struct TableLedger {
    /// Slots: the most flows at one time.
    pub slots: u64,
    /// Memory that was set aside at start, in bytes.
    pub bytes: u64,
    /// The least kind of pages that any of it stands on.
    pub pages: Option<Pages>,
}

/// One sink.
#[derive(Debug, Clone, Serialize)]
pub struct SinkLedger {
    /// Its name.
    pub name: String,
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Finished files that were removed (`--keep`).
    pub removed_files: u64,
    /// Records on disk, to be sent later (`--spool`): at the end of a run, by the next one.
    pub spooled: u64,
    /// The spool, if there is one, and what earlier runs had left in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolAccount>,
}

impl SinkLedger {
    fn of(sink: &SinkAccount) -> Self {
        Self {
            name: sink.name().to_owned(),
            records: sink.records(),
            bytes: sink.bytes(),
            errors: sink.errors(),
            removed_files: sink.removed(),
            spooled: sink.spooled(),
            spool: sink.spool(),
        }
    }
}

/// What became of statistics of intervals: written, or not sent.
#[derive(Debug, Clone, Serialize)]
pub struct IntervalsLedger {
    /// What was written, and where; records are lines.
    #[serde(flatten)]
    pub sink: SinkLedger,
    /// Lines that were not written, by cause.
    pub not_sent: BTreeMap<String, u64>,
}

impl IntervalsLedger {
    fn of(sink: &SinkAccount) -> Self {
        Self { sink: SinkLedger::of(sink), not_sent: sink.not_sent() }
    }
}

/// What does not add up. All 0 at the end of a run, or something was lost silently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Residuals {
    /// Seen, less passed, filtered, sampled out, shunted, dropped and delivered.
    pub interface: u64,
    /// Delivered and brought home, less undecodable, in flows and in overflow; and, at the end,
    /// shunted, less brought home.
    pub packets: u64,
    /// Created, less exported, live, not sent and spooled; packets in flows, less packets in ended
    /// records; and what earlier runs had spooled, less what was sent of it, is left and was lost.
    pub flows: u64,
}

/// How long something took, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Maximum.
    pub max: u64,
}

impl Timing {
    /// The percentiles of a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// The accounts at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Ledger {
    /// Each interface or file.
    pub interfaces: Vec<InterfaceLedger>,
    /// What became of statistics of intervals, of each sink that takes some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<IntervalsLedger>,
    /// How much of the traffic is kept.
    pub sampling: Sampling,
    /// All packets.
    pub packets: PacketLedger,
    /// All records.
    pub flows: FlowLedger,
    /// The flow tables.
    pub tables: TableLedger,
    /// Names, if they are learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<NamesLedger>,
    /// Each sink.
    pub sinks: Vec<SinkLedger>,
    /// What does not add up. While the run goes on counters are read one after the other,
    /// so small residuals come and go.
    pub residuals: Residuals,
    /// Times of a packet batch; at the end only.
    pub timing: BTreeMap<&'static str, Timing>,
    /// Whether the run is over.
    pub complete: bool,
    /// Time since the start, in ns.
    pub wall_ns: u64,
    /// Processor time of all threads, in ns.
    pub cpu_ns: u64,
    /// Largest resident memory, in bytes.
    pub max_rss_bytes: u64,
}

impl Ledger {
    /// What the accounts say now. `live` is the number of records in the global map.
    #[must_use]
    pub fn collect(accounts: &Accounts, live: u64, complete: bool) -> Self {
        let interfaces: Vec<_> =
            (0..accounts.names.len()).map(|idx| interface(accounts, idx)).collect();
        let packets = packets(accounts, complete);
        let flows = flows(accounts, live);
        let residuals = residuals(accounts, &interfaces, &packets, &flows, complete);
        let sinks = accounts.sinks.iter().map(|sink| SinkLedger::of(sink));
        Self {
            sinks: sinks.collect(),
            tables: tables(accounts),
            names: accounts
                .names_learned
                .as_deref()
                .map(|names| NamesLedger::of(names, accounts.dns_log.as_deref())),
            intervals: accounts.intervals.iter().map(|sink| IntervalsLedger::of(sink)).collect(),
            interfaces,
            sampling: accounts.sampling,
            packets,
            flows,
            residuals,
            timing: BTreeMap::new(),
            complete,
            wall_ns: 0,
            cpu_ns: 0,
            max_rss_bytes: 0,
        }
    }

    /// Packets, records, logged transactions and lines of statistics lost, all causes together;
    /// records that earlier runs had spooled among them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let dropped = self.interfaces.iter().flat_map(|interface| interface.dropped.values());
        let log = self.names.iter().flat_map(|names| &names.dns_log);
        let log = log.flat_map(|log| log.not_sent.values());
        let spools = self.sinks.iter().filter_map(|sink| sink.spool.as_ref());
        let spools = spools.flat_map(|spool| spool.not_sent.values());
        let intervals = self.intervals.iter().flat_map(|sink| sink.not_sent.values());
        let beside = log.chain(spools).chain(intervals);
        dropped.chain(self.flows.not_sent.values()).chain(beside).sum()
    }

    /// Packets that were received and are in no record: lost before they were decoded, or
    /// undecodable.
    #[must_use]
    pub fn ignored_packets(&self) -> u64 {
        let dropped = self.interfaces.iter().flat_map(|interface| interface.dropped.values());
        dropped.chain(self.packets.undecodable.values()).sum()
    }

    /// Whether everything adds up.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.residuals == Residuals::default()
    }
}

/// Counts as `unbound` what of an interface is seen and in no other place. The kernel counts nowhere
/// what a program sends to a socket whose interface has left the network namespace
/// (`xsk_rcv_check` of net/xdp/xsk.c): to be called when such an interface is detached, and all that
/// was in its sockets is taken out.
pub fn count_unbound(accounts: &Accounts, idx: usize) {
    let interface = interface(accounts, idx);
    let before = accounts.sources[idx].unbound.get();
    let accounted = interface.accounted() - before;
    accounts.sources[idx].unbound.set(interface.seen.saturating_sub(accounted));
}

fn interface(accounts: &Accounts, idx: usize) -> InterfaceLedger {
    let source = &accounts.sources[idx];
    // Once: both sides must say the same.
    let nic_missed = source.nic_missed.get();
    let receives = || accounts.receives.iter().map(|thread| &thread[idx]);
    let sum = |get: fn(&ReceiveCounters) -> u64| receives().map(get).sum::<u64>();
    let dropped = [
        ("rx_ring_full", sum(|r| r.rx_ring_full.get())),
        ("fill_ring_empty", sum(|r| r.fill_ring_empty.get())),
        ("oversize", sum(|r| r.oversize.get())),
        ("invalid", sum(|r| r.invalid.get())),
        ("kernel", sum(|r| r.kernel.get())),
        ("aborted", source.aborted.get()),
        ("unbound", source.unbound.get()),
        ("nic_missed", nic_missed),
    ];
    InterfaceLedger {
        name: accounts.names[idx].clone(),
        nic_rx: Some(source.nic_rx.get()).filter(|&n| n != u64::MAX),
        seen: source.seen.get() + sum(|r| r.seen.get()) + nic_missed,
        passed: source.passed.get(),
        filtered: source.filtered.get() + sum(|r| r.filtered.get()),
        sampled_out: source.sampled_out.get(),
        shunted: source.shunted.get(),
        dropped: dropped.into_iter().collect(),
        delivered: sum(|r| r.received.get()),
        outgoing: sum(|r| r.outgoing.get()),
        frames_above_mtu: sum(|r| r.above_mtu.get()),
        ring_freezes: sum(|r| r.freezes.get()),
        clock: source.clock.get().copied(),
        batch_timed: sum(|r| r.batch_timed.get()),
        untimed: source.untimed.get(),
        file_errors: source.file_errors.get(),
        link: LinkLedger::of(&source.link),
    }
}

fn packets(accounts: &Accounts, complete: bool) -> PacketLedger {
    let receives = || accounts.receives.iter().flatten();
    let undecodable = Cause::ALL.iter().filter_map(|cause| {
        let count: u64 = receives().map(|r| r.undecodable[cause.idx()].get()).sum();
        (count > 0).then_some((cause.name(), count))
    });
    let undecodable: BTreeMap<_, _> = undecodable.collect();
    // The later stage first, so that no packet is seen behind a stage but not before it.
    let brought_home: u64 = accounts.tables.iter().map(|t| t.brought_home.get()).sum();
    let in_flows = accounts.tables.iter().map(|t| t.in_flows.get()).sum::<u64>() + brought_home;
    let in_overflow = accounts.tables.iter().map(|t| t.in_overflow.get()).sum();
    let not_passed_on = accounts.tables.iter().map(|t| t.not_passed_on.get()).sum();
    let encapsulation_not_kept = receives().map(|r| r.encapsulation_not_kept.get()).sum();
    let vlan_not_kept = receives().map(|r| r.vlan_not_kept.get()).sum();
    let steps_back = receives().map(|r| r.steps_back.get()).sum();
    let fragments = FragmentLedger {
        alone: receives().map(|r| r.fragments_alone.get()).sum(),
        overlapping: receives().map(|r| r.fragments_overlapping.get()).sum(),
        forgotten: receives().map(|r| r.fragments_forgotten.get()).sum(),
    };
    let delivered: u64 = receives().map(|r| r.decoded.get()).sum();
    let arrived = undecodable.values().sum::<u64>() + in_flows + in_overflow;
    let in_flight = if complete { 0 } else { (delivered + brought_home).saturating_sub(arrived) };
    PacketLedger {
        delivered,
        undecodable,
        brought_home,
        in_flows,
        in_overflow,
        not_passed_on,
        encapsulation_not_kept,
        vlan_not_kept,
        steps_back,
        fragments,
        in_flight,
    }
}

fn tables(accounts: &Accounts) -> TableLedger {
    let of_flows = &accounts.tables[..accounts.counting_tables];
    let memories = || of_flows.iter().filter_map(|table| table.memory.get());
    TableLedger {
        slots: memories().map(|memory| memory.slots as u64).sum(),
        bytes: memories().map(|memory| memory.bytes as u64).sum(),
        pages: memories().map(|memory| memory.pages).min(),
    }
}

fn flows(accounts: &Accounts, live: u64) -> FlowLedger {
    let not_sent = accounts.sinks.iter().flat_map(|sink| {
        let by_cause = sink.not_sent().into_iter();
        by_cause.map(|(cause, count)| (format!("{}: {cause}", sink.name()), count))
    });
    FlowLedger {
        created: accounts.globals.iter().map(|g| g.created.get()).sum(),
        exported: accounts.sinks.iter().map(|s| s.records()).min().unwrap_or(0),
        live,
        not_sent: not_sent.collect(),
        packets: accounts.globals.iter().map(|g| g.packets_in_flows.get()).sum(),
        given_up: accounts.tables.iter().map(|t| t.given_up.get()).sum(),
        congested_batches: accounts.tables.iter().map(|t| t.congested_batches.get()).sum(),
    }
}

fn residuals(
    accounts: &Accounts,
    interfaces: &[InterfaceLedger],
    packets: &PacketLedger,
    flows: &FlowLedger,
    complete: bool,
) -> Residuals {
    let interface = interfaces.iter().map(|i| i.seen.abs_diff(i.accounted()));
    let received: u64 = interfaces.iter().map(|i| i.delivered).sum();
    let undecodable: u64 = packets.undecodable.values().sum();
    let ended: u64 = accounts.globals.iter().map(|g| g.ended.get()).sum();
    let overflowed: u64 = accounts.globals.iter().map(|g| g.packets_in_overflow.get()).sum();

    let arrived = undecodable + packets.in_flows + packets.in_overflow + packets.in_flight;
    let shunted: u64 = interfaces.iter().map(|i| i.shunted).sum();
    // While the run goes on a part of them is in the kernel.
    let not_home = if complete { shunted.abs_diff(packets.brought_home) } else { 0 };

    let mut residual_flows = flows.created.abs_diff(ended + flows.live);
    if complete {
        for sink in &accounts.sinks {
            let not_sent: u64 = sink.not_sent().values().sum();
            residual_flows += ended.abs_diff(sink.records() + not_sent + sink.spooled());
            let former = sink.spool().unwrap_or_default();
            let lost: u64 = former.not_sent.values().sum();
            residual_flows += former.found.abs_diff(former.sent + former.left + lost);
        }
        residual_flows += packets.in_flows.abs_diff(flows.packets);
        residual_flows += packets.in_overflow.abs_diff(overflowed);
    }
    Residuals {
        interface: interface.sum(),
        packets: received.abs_diff(packets.delivered)
            + (packets.delivered + packets.brought_home).abs_diff(arrived)
            + not_home,
        flows: residual_flows,
    }
}

#[cfg(test)]
mod tests;
