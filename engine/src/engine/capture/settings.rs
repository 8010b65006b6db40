//! What a live capture is told beyond what every run is.

use std::path::PathBuf;

use super::cpus::CpuList;
use crate::flow::Sampling;
use crate::limits::DEFAULT_QUEUE_FRAMES;
use crate::privileges::Confinement;
use crate::source::afxdp::{Timestamps, XdpMode, ZeroCopy};
use crate::sync::thread;

/// How interfaces are captured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// AF_XDP: the interface is ours.
    Tap,
    /// The host keeps its network.
    Observe,
    /// For each interface: tap, where that does not cut the host off and the kernel does it;
    /// else observe.
    #[default]
    Auto,
}

/// How packets are observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObserveBy {
    /// By packet sockets: what is received and what is sent.
    #[default]
    Packet,
    /// By an XDP program that passes packets on: what is received.
    Xdp,
}

/// How an `rx` thread waits for packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// It never sleeps: a processor of its own, always busy.
    Spin,
    /// It looks again for a while where that has paid lately, then sleeps. Where there are
    /// fewer processors than threads it sleeps at once.
    #[default]
    Adaptive,
    /// It sleeps as soon as there is nothing.
    Poll,
}

/// What a live capture is told.
#[derive(Debug, Clone)]
pub struct CaptureSettings {
    /// Names of interfaces.
    pub interfaces: Vec<String>,
    /// How they are captured from.
    pub mode: Mode,
    /// How those are that are observed.
    pub observe_by: ObserveBy,
    /// Bytes of a packet that are copied where it is observed; if nothing is said, as many as
    /// the way of it does.
    pub snap_bytes: Option<u32>,
    /// Tap an interface even if that cuts the host off.
    pub force: bool,
    /// Where the XDP program shall run.
    pub xdp_mode: XdpMode,
    /// Whether frames shall come without a copy: tap only.
    pub zero_copy: ZeroCopy,
    /// How much of what comes is kept: tap only.
    pub sampling: Sampling,
    /// Packets in about a second after which the kernel counts the rest of a flow by itself, if
    /// it is to do so: tap only.
    pub shunt: Option<u32>,
    /// Where packets' times come from: tap only.
    pub timestamps: Timestamps,
    /// Processors for `rx` threads, in turn; where the system likes if there are none.
    pub cpus: Option<CpuList>,
    /// How `rx` threads wait.
    pub wait: Wait,
    /// For how many microseconds AF_XDP sockets may poll their device themselves.
    pub busy_poll_us: Option<u32>,
    /// Frames that a queue may hold.
    pub ring_frames: u32,
    /// What to give up once everything is open. It is given up by the whole process.
    pub confinement: Option<Confinement>,
    /// A file with the filter, which is read again at [`crate::engine::Control::reopen`].
    pub filter_file: Option<PathBuf>,
    /// Open an interface anew that has gone and come back, for which privileges are needed; and
    /// wait for that also when no other is left. Likewise queues that are added to a tap.
    pub reopens: bool,
}

impl CaptureSettings {
    /// The defaults for these interfaces.
    pub fn new(interfaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            mode: Mode::default(),
            observe_by: ObserveBy::default(),
            snap_bytes: None,
            force: false,
            xdp_mode: XdpMode::default(),
            zero_copy: ZeroCopy::default(),
            sampling: Sampling::ALL,
            shunt: None,
            timestamps: Timestamps::default(),
            cpus: None,
            wait: Wait::default(),
            busy_poll_us: None,
            ring_frames: DEFAULT_QUEUE_FRAMES,
            confinement: None,
            filter_file: None,
            reopens: false,
        }
    }

    /// How many processors `rx` threads may run on.
    #[must_use]
    pub fn processors(&self) -> usize {
        let all = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.cpus.as_ref().map_or_else(all, CpuList::len)
    }
}
