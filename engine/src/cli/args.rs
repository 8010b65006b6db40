//! The arguments, as clap reads them.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Options, parse_duration, parse_ring_frames, parse_timeout};
use crate::engine::CaptureSettings;
use crate::engine::capture::CpuList;
use crate::flow::Sampling;
use crate::host::tune::Tune;
use crate::limits::{
    DEFAULT_MAX_FLOWS, DEFAULT_QUEUE_FRAMES, MAX_BUSY_POLL_US, MIN_SNAP_BYTES, SNAP_BYTES,
};
use crate::time::Tick;

/// Turns packets into flow records, and accounts for every one.
#[derive(Debug, Parser)]
#[command(name = "flowtap", version, about, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done; 1 done with loss under --strict, doctor: \
                        not ready; 2 failed.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read capture files: pcap and pcapng, also compressed with gzip or Zstandard.
    Read(ReadArguments),
    /// Capture live from network interfaces.
    Capture(CaptureArguments),
    /// Look at this machine and its interfaces: what a capture would find, and what mends it.
    Doctor(DoctorArguments),
    /// Hold an interface's settings: started by `capture --tune`.
    #[command(hide = true, name = crate::cli::hold::COMMAND)]
    Hold(HoldArguments),
}

#[derive(Debug, Args)]
pub(crate) struct HoldArguments {
    /// The interface; several times for several.
    #[arg(long = "interface", required = true)]
    pub(crate) interfaces: Vec<String>,
    /// As `capture` was given it.
    #[arg(long, default_value = "")]
    pub(crate) tune: Tune,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// Capture files, read in this order; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Which worker gets a packet.
    #[arg(long, value_enum, default_value_t = Dispatch::Flow, value_name = "HOW")]
    pub(crate) dispatch: Dispatch,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct CaptureArguments {
    /// Interface to capture from; may be given several times.
    #[arg(short, long = "interface", required = true, value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// How to capture.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub(crate) mode: Mode,
    /// How to observe.
    #[arg(long, value_enum, default_value_t = ObserveBy::Packet, value_name = "WAY")]
    pub(crate) observe_by: ObserveBy,
    /// Bytes of each packet that are copied where it is observed [default: 4096; 256 by xdp].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(i64::from(MIN_SNAP_BYTES)..=i64::from(SNAP_BYTES)))]
    pub(crate) snaplen: Option<u32>,
    /// Take an interface over even if it has an address, a default route, or a TCP session, or
    /// if what stands on it has (a bridge, a bond, a VLAN).
    #[arg(long)]
    pub(crate) force: bool,
    /// Processors for the threads that receive, in turn: 0-3,8.
    #[arg(long, value_name = "LIST")]
    pub(crate) cpus: Option<CpuList>,
    /// How these threads wait for packets.
    #[arg(long, value_enum, default_value_t = Wait::Adaptive)]
    pub(crate) wait: Wait,
    /// Have the kernel poll the device for so many microseconds whenever these threads wait
    /// (tap; the driver must support it, and napi_defer_hard_irqs be set).
    #[arg(long, value_name = "USEC", value_parser = clap::value_parser!(u32).range(1..=MAX_BUSY_POLL_US))]
    pub(crate) busy_poll: Option<u32>,
    /// Room in each receive queue, in frames of 4,096 bytes: a power of two from 64 to 65536.
    #[arg(long, value_name = "N", value_parser = parse_ring_frames, default_value_t = DEFAULT_QUEUE_FRAMES)]
    pub(crate) ring_frames: u32,
    /// Keep one in N flows, whole (in tunnels: one in N tunnels' flows); with N:packet, one in N
    /// packets. What is left out is dropped in the kernel and counted (tap).
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true)]
    pub(crate) sample: Sampling,
    /// Where the XDP program runs. auto: in the driver, if that can.
    #[arg(long, value_enum, default_value_t = XdpMode::Auto, value_name = "MODE")]
    pub(crate) xdp_mode: XdpMode,
    /// Whether the device writes to our memory by itself (tap). auto: if the driver can.
    #[arg(long, value_enum, default_value_t = ZeroCopy::Auto, value_name = "WHEN")]
    pub(crate) zero_copy: ZeroCopy,
    /// Where packets' times come from (tap; observe has the kernel's of each packet).
    #[arg(long, value_enum, default_value_t = Timestamps::Batch, value_name = "FROM")]
    pub(crate) timestamps: Timestamps,
    /// While it runs, set each interface as `flowtap doctor` advises (ring, RSS, offloads), and
    /// promiscuous; with channels=N to so many queues. All is set back at the end.
    #[arg(long, value_name = "channels=N", num_args = 0..=1, default_missing_value = "")]
    pub(crate) tune: Option<Tune>,
    /// Once everything is open, go on as this user, who must be able to write to the folders
    /// of the outputs. All capabilities are given up anyway.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Keep the capabilities that opening an interface takes, and open one anew that was removed
    /// when there is another of its name.
    #[arg(long)]
    pub(crate) keep_privileges: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Interface to look at in full; may be given several times. Without it: all, in short.
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Print facts and verdicts as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Set back what a capture with --tune that was killed has left changed, and look at nothing.
    #[arg(long, conflicts_with = "json")]
    pub(crate) restore: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dispatch {
    /// The one that counts its flow.
    Flow,
    /// For each direction of a flow another one, which passes it on: as queues of a network
    /// card do. The records are the same.
    Direction,
}

impl From<Dispatch> for crate::engine::Dispatch {
    fn from(dispatch: Dispatch) -> Self {
        match dispatch {
            Dispatch::Flow => Self::Flow,
            Dispatch::Direction => Self::Direction,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// AF_XDP: the interface is ours, and its packets go no further.
    Tap,
    /// The host keeps its network.
    Observe,
    /// Tap, where the host does not use the interface and the kernel can; else observe.
    Auto,
}

impl From<Mode> for crate::engine::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Tap => Self::Tap,
            Mode::Observe => Self::Observe,
            Mode::Auto => Self::Auto,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObserveBy {
    /// AF_PACKET: what is received and what this host sends.
    Packet,
    /// An XDP program that passes packets on: only what is received, at less cost.
    Xdp,
}

impl From<ObserveBy> for crate::engine::ObserveBy {
    fn from(way: ObserveBy) -> Self {
        match way {
            ObserveBy::Packet => Self::Packet,
            ObserveBy::Xdp => Self::Xdp,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// Never sleep: each takes a processor of its own whole.
    Spin,
    /// Look again for up to 50 us where that has paid lately, then sleep.
    Adaptive,
    /// Sleep as soon as there is nothing.
    Poll,
}

impl From<Wait> for crate::engine::Wait {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Self::Spin,
            Wait::Adaptive => Self::Adaptive,
            Wait::Poll => Self::Poll,
        }
    }
}

impl CaptureArguments {
    pub(crate) fn settings(&self) -> CaptureSettings {
        CaptureSettings {
            mode: self.mode.into(),
            observe_by: self.observe_by.into(),
            snap_bytes: self.snaplen,
            force: self.force,
            xdp_mode: self.xdp_mode.into(),
            zero_copy: self.zero_copy.into(),
            sampling: self.sample,
            timestamps: self.timestamps.into(),
            cpus: self.cpus.clone(),
            wait: self.wait.into(),
            busy_poll_us: self.busy_poll,
            ring_frames: self.ring_frames,
            reopens: self.keep_privileges,
            ..CaptureSettings::new(&self.interfaces)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum XdpMode {
    /// Native if the driver can, else generic.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the network stack.
    Generic,
}

impl From<XdpMode> for crate::source::afxdp::XdpMode {
    fn from(mode: XdpMode) -> Self {
        match mode {
            XdpMode::Auto => Self::Auto,
            XdpMode::Native => Self::Native,
            XdpMode::Generic => Self::Generic,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Timestamps {
    /// The kernel's clock, as it sees the packet (Linux 6.1).
    Packet,
    /// Ours, as up to 64 packets are received.
    Batch,
}

impl From<Timestamps> for crate::source::afxdp::Timestamps {
    fn from(from: Timestamps) -> Self {
        match from {
            Timestamps::Packet => Self::Packet,
            Timestamps::Batch => Self::Batch,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ZeroCopy {
    /// If the driver can.
    Auto,
    /// Or not at all.
    On,
    /// The kernel copies.
    Off,
}

impl From<ZeroCopy> for crate::source::afxdp::ZeroCopy {
    fn from(when: ZeroCopy) -> Self {
        match when {
            ZeroCopy::Auto => Self::Auto,
            ZeroCopy::On => Self::On,
            ZeroCopy::Off => Self::Off,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tunnels {
    /// The innermost IP header makes the flow.
    Inner,
    /// The outermost IP header makes the flow.
    Outer,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where records go: a file ending in .jsonl, .csv or .ipfix, with .zst or .gz if you like, or -
    /// for JSON lines on standard output. May be given several times. Without it: a table on
    /// a terminal, JSON lines otherwise.
    #[arg(short, long = "output", value_name = "SINK")]
    outputs: Vec<String>,
    /// End flows that had no packet for so long: 500ms, 15s, 5m, 1h, off. Unless given: 60s,
    /// 30s for UDP and ICMP, 10s for TCP handshakes that do not finish.
    #[arg(long, value_name = "DUR", value_parser = parse_timeout)]
    idle_timeout: Option<Tick>,
    /// Cut records of flows that go on for so long [default: 30m].
    #[arg(long, value_name = "DUR", value_parser = parse_timeout)]
    active_timeout: Option<Tick>,
    /// Which IP header makes the flow.
    #[arg(long, value_enum, default_value_t = Tunnels::Inner)]
    tunnels: Tunnels,
    /// Look for VXLAN behind this UDP port as well as 4789; up to three.
    #[arg(long = "vxlan-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    vxlan_ports: Vec<u16>,
    /// Flow-table workers [default: 1 for read; one per receive queue for capture, and no more
    /// than processors where it observes]. capture: rings of each interface that is observed.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Room for so many flows, all workers together.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_FLOWS)]
    max_flows: usize,
    /// Count only packets that this expression accepts, as tcpdump takes it (pcap-filter(7)):
    /// 'tcp port 443 and not net 10.0.0.0/8'. Needs libpcap.
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Write the ledger to this file, as JSON, at the end.
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,
    /// Write the ledger also every so often.
    #[arg(long, value_name = "DUR", value_parser = parse_duration, requires = "stats")]
    pub(crate) stats_interval: Option<Duration>,
    /// Stop after so long.
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Stop after so many packets, those that --filter rejects included; capture: soon after.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Exit with 1 if anything was lost or does not add up.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Say only what went wrong.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

impl Common {
    /// Whether records go to a terminal, where nothing else should.
    pub(crate) fn writes_to_terminal(&self) -> bool {
        let to_stdout = self.outputs.is_empty() || self.outputs.iter().any(|output| output == "-");
        to_stdout && std::io::stdout().is_terminal()
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            outputs: self.outputs.clone(),
            inputs: Vec::new(),
            dispatch: Default::default(),
            stats: self.stats.clone(),
            idle_timeout: self.idle_timeout,
            active_timeout: self.active_timeout,
            workers: self.workers,
            max_flows: self.max_flows,
            opens_tunnels: self.tunnels == Tunnels::Inner,
            vxlan_ports: self.vxlan_ports.clone(),
            filter: self.filter.clone(),
            count: self.count,
            duration: self.duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
