//! The arguments of `capture`.

use clap::{Args, ValueEnum};

use super::Common;
use crate::config::values::parse_ring_frames;
use crate::engine::CaptureSettings;
use crate::engine::capture::CpuList;
use crate::flow::Sampling;
use crate::host::tune::Tune;
use crate::limits::{
    DEFAULT_QUEUE_FRAMES, MAX_BUSY_POLL_US, MAX_SHUNT_PACKETS, MIN_SNAP_BYTES, SNAP_BYTES,
    XDP_NAMES_SNAP_BYTES,
};

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
    /// Bytes of each packet that are copied where it is observed [default: 4096; by xdp 1536, or
    /// 256 with --names off].
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
    /// Keep one in N flows, whole (of those in tunnels: one in N tunnels); with N:packet, one in N
    /// packets. What is left out is dropped in the kernel and counted (tap).
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true)]
    pub(crate) sample: Sampling,
    /// Once a flow has shown N packets within about a second [without a number: 16], count the
    /// rest of it in the kernel, and copy only SYN, FIN and RST up (tap). Nothing but counts and
    /// TCP flags is learned from packets that are not copied.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "16", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHUNT_PACKETS)))]
    pub(crate) shunt: Option<u32>,
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
    /// when there is another of its name, and queues that are added to a tap.
    #[arg(long)]
    pub(crate) keep_privileges: bool,
    #[command(flatten)]
    pub(crate) common: Common,
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
    /// Names are in payloads, of which the XDP program copies little unless it is told to.
    fn snap_bytes(&self) -> Option<u32> {
        let is_for_names = self.observe_by == ObserveBy::Xdp && self.common.learns_names();
        self.snaplen.or(is_for_names.then_some(XDP_NAMES_SNAP_BYTES))
    }

    pub(crate) fn settings(&self) -> CaptureSettings {
        CaptureSettings {
            mode: self.mode.into(),
            observe_by: self.observe_by.into(),
            snap_bytes: self.snap_bytes(),
            force: self.force,
            xdp_mode: self.xdp_mode.into(),
            zero_copy: self.zero_copy.into(),
            sampling: self.sample,
            shunt: self.shunt,
            timestamps: self.timestamps.into(),
            cpus: self.cpus.clone(),
            wait: self.wait.into(),
            busy_poll_us: self.busy_poll,
            ring_frames: self.ring_frames,
            filter_file: self.common.filter_file.clone(),
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
