//! What a tap is told.

use crate::error::{Error, Result};
use crate::flow::Sampling;
use crate::limits::{DEFAULT_QUEUE_FRAMES, MAX_QUEUE_FRAMES};
use crate::xdp::filter::KernelFilter;
use crate::xdp::program::{TUNNELS, XdpMode};
use crate::xdp::socket::{Layout, ZeroCopy};
use crate::xdp::stamp::Timestamps;

/// What to tap, and with how much memory.
#[derive(Clone, Debug)]
pub struct TapConfig {
    /// The interface's name.
    pub interface: String,
    /// Tap it even if the host uses it, which cuts the host off.
    pub force: bool,
    /// Where the program shall run.
    pub xdp_mode: XdpMode,
    /// Whether frames shall come without a copy.
    pub zero_copy: ZeroCopy,
    /// Frames that one queue may hold while we are busy: a power of two.
    pub frames_per_queue: u32,
    /// For how many microseconds the kernel may poll the device from our system calls, if it is
    /// to do so.
    pub busy_poll_us: Option<u32>,
    /// How much of what comes is kept.
    pub sampling: Sampling,
    /// UDP ports of tunnels, each of whose flows is sampled by the tunnel's ends.
    pub tunnel_ports: [u16; TUNNELS],
    /// Queues of all taps of the capture, which share the memory that may be locked; 0 if there
    /// is no other tap.
    pub all_queues: u32,
    /// Cores that share a shunt, all of the capture; none if there is to be no shunt.
    pub shunting_cores: u32,
    /// Where packets' times come from.
    pub timestamps: Timestamps,
    /// What the kernel keeps, from the first packet on; all, if there is none.
    pub filter: Option<KernelFilter>,
    /// Bytes of one buffer: 4,096 or 2,048. Packets longer than that less 256 take several, or
    /// are lost where the kernel does not know that (before Linux 6.6).
    pub frame_bytes: u32,
}

impl TapConfig {
    /// The defaults for `interface`: 4,096 frames of 4,096 bytes for each queue.
    pub fn new(interface: impl Into<String>) -> Self {
        let interface = interface.into();
        Self {
            interface,
            force: false,
            xdp_mode: XdpMode::default(),
            zero_copy: ZeroCopy::default(),
            frames_per_queue: DEFAULT_QUEUE_FRAMES,
            frame_bytes: 4096,
            busy_poll_us: None,
            sampling: Sampling::ALL,
            tunnel_ports: [0; TUNNELS],
            all_queues: 0,
            shunting_cores: 0,
            timestamps: Timestamps::default(),
            filter: None,
        }
    }

    pub(super) fn check(&self) -> Result<Layout> {
        let refuse = |cause: String| Err(Error::new(format!("tap {}", self.interface), cause));
        let frames = self.frames_per_queue;
        if !frames.is_power_of_two() || frames > MAX_QUEUE_FRAMES {
            return refuse(format!(
                "{frames} frames per queue is not a power of two up to {MAX_QUEUE_FRAMES}"
            ));
        }
        if ![2048, 4096].contains(&self.frame_bytes) {
            return refuse(format!("frames of {} bytes: neither 2048 nor 4096", self.frame_bytes));
        }
        Ok(Layout { frames, frame_bytes: self.frame_bytes, rx_entries: frames })
    }
}
