//! Live packets by AF_PACKET: the `observe` mode, in which the host keeps its network.
//!
//! [`Observe`] is one interface, [`ObserveQueue`] one of its rings, which goes to its own `rx`
//! thread. Several rings of an interface are a group among which the kernel spreads flows,
//! both directions of one to the same ring. All that the kernel hands us is checked in `ring`;
//! `socket` says what it is told; only `ring` has unsafe code.
//!
//! # Which packets
//!
//! Each packet that the interface receives, whoever it is for, and each that this host sends on
//! it, once. On a loopback interface, where each is sent and then received, the second counts.
//! A packet that passes two given interfaces (routed, bridged, off a VLAN) is seen on each.
//! What goes past the kernel's packet taps is not seen: AF_XDP, and sockets with
//! `PACKET_QDISC_BYPASS`.
//!
//! # What adds up
//!
//! The kernel counts the packets that came to each socket, and those that found no room in its
//! ring: `seen = delivered + invalid + dropped`, where what is delivered is our own count.
//! Packets are as the kernel's stack has them: segments that GRO has merged or that the NIC is
//! yet to cut (TSO) are one, and those are counted ([`Counts::above_mtu`]).

mod promiscuous;
mod queue;
mod ring;
mod socket;
mod watch;

pub use promiscuous::Promiscuous;
pub use queue::{Counts, ObserveQueue};
pub(super) use watch::Watch;

use std::io;
use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::host::link::{NicCount, NicCounts};
use crate::limits::{MAX_CORES, MAX_QUEUE_FRAMES, MIN_QUEUE_FRAMES, MIN_SNAP_BYTES, SNAP_BYTES};
use crate::source::LinkType;
use crate::source::longest::LongestFrame;
use crate::sync::Arc;
use crate::xdp::interface::Interface;
use ring::Ring;
use socket::{Layout, Link};

/// Memory for one frame of `frames_per_ring`: as much as the other mode takes.
const FRAME_BYTES: u32 = 4_096;

/// A block is handed over as a whole: small enough that there are several, large enough that
/// this is rare.
const BLOCK_BYTES: u32 = 256 << 10;
const BLOCKS: u32 = 4;

const _: () = assert!(MIN_QUEUE_FRAMES * FRAME_BYTES / BLOCKS > 2 * crate::limits::SNAP_BYTES);

/// What to observe, and with how much memory.
#[derive(Clone, Debug)]
pub struct ObserveConfig {
    /// The interface's name.
    pub interface: String,
    /// Rings, for as many threads.
    pub rings: usize,
    /// Frames of 4,096 bytes that a ring has memory for, a power of two; of shorter ones it
    /// holds more.
    pub frames_per_ring: u32,
    /// Bytes of a packet that the kernel copies.
    pub snap_bytes: u32,
}

impl ObserveConfig {
    fn check(&self) -> Result<Layout> {
        let refuse = |cause: String| Err(Error::new(format!("observe {}", self.interface), cause));
        let frames = self.frames_per_ring;
        if !frames.is_power_of_two() || !(MIN_QUEUE_FRAMES..=MAX_QUEUE_FRAMES).contains(&frames) {
            return refuse(format!(
                "{frames} frames per ring is not a power of two from {MIN_QUEUE_FRAMES} to \
                 {MAX_QUEUE_FRAMES}"
            ));
        }
        let snap = self.snap_bytes;
        if !(MIN_SNAP_BYTES..=SNAP_BYTES).contains(&snap) {
            return refuse(format!("{snap} bytes, not {MIN_SNAP_BYTES} to {SNAP_BYTES}"));
        }
        if !(1..=MAX_CORES).contains(&self.rings) {
            return refuse(format!("{} rings, not 1 to {MAX_CORES}", self.rings));
        }
        let bytes = frames * FRAME_BYTES;
        let block_bytes = BLOCK_BYTES.min(bytes / BLOCKS);
        Ok(Layout { blocks: bytes / block_bytes, block_bytes })
    }
}

/// One interface that is observed; left alone when this and its queues are dropped.
#[derive(Debug)]
pub struct Observe {
    config: ObserveConfig,
    sockets: Vec<Arc<OwnedFd>>,
    link_type: LinkType,
    interface: Interface,
    longest: LongestFrame,
    nic: NicCount,
}

impl Observe {
    /// Opens the rings of an interface, and makes it promiscuous.
    ///
    /// # Errors
    /// If it is down, missing, or of a kind that is not decoded, or if the kernel refuses a
    /// step. Nothing stays changed then.
    pub fn open(config: &ObserveConfig) -> Result<(Self, Vec<ObserveQueue>)> {
        let layout = config.check()?;
        let interface = Interface::find(&config.interface)?;
        let name = interface.name.as_str();
        let fail = |step: &str, cause: &io::Error| refused(format!("{step} {name}"), name, cause);
        if !interface.is_up {
            return Err(fail("observe", &io::Error::from_raw_os_error(libc::ENETDOWN)));
        }
        let (mut sockets, mut mappings) = (Vec::new(), Vec::new());
        let mut link = Link(0);
        for _ in 0..config.rings {
            let (fd, mapping) =
                socket::open(layout).map_err(|cause| fail("open a ring for", &cause))?;
            link = socket::bind(&fd, interface.index)
                .map_err(|cause| fail("bind a packet socket to", &cause))?;
            sockets.push(fd);
            mappings.push(mapping);
        }
        let Some(link_type) = link.link_type() else {
            return Err(Error::new(
                format!("observe {name}"),
                format!("its link type is {}", link.0),
            )
            .advise("Ethernet, loopback and IP tunnel interfaces can be observed"));
        };
        if sockets.len() > 1 {
            socket::make_group(&sockets).map_err(|cause| fail("make a group for", &cause))?;
        }
        if !link.is_loopback() {
            socket::make_promiscuous(&sockets[0], interface.index)
                .map_err(|cause| fail("make promiscuous", &cause))?;
        }
        let mtu = crate::socket::mtu(&sockets[0], name)
            .map_err(|cause| fail("ask for the MTU of", &cause))?;
        let longest = LongestFrame::of_mtu(mtu);
        let nic = NicCount::start(interface.index);
        for fd in &sockets {
            socket::open_ears(fd, link, config.snap_bytes)
                .map_err(|cause| fail("open the sockets of", &cause))?;
        }
        let sockets: Vec<_> = sockets.into_iter().map(Arc::new).collect();
        let mut queues = Vec::with_capacity(sockets.len());
        for (number, (fd, mapping)) in sockets.iter().zip(mappings).enumerate() {
            let is_ethernet = link_type == LinkType::ETHERNET;
            let ring = Ring::new(mapping, layout.blocks, layout.block_bytes, is_ethernet)
                .expect("it was mapped with these sizes");
            let (longest, name) = (longest.clone(), name.to_owned());
            queues.push(ObserveQueue::new(Arc::clone(fd), ring, link_type, longest, name, number));
        }
        let config = config.clone();
        Ok((Self { config, sockets, link_type, interface, longest, nic }, queues))
    }

    /// Observes another interface that has taken the place and the name of the one that is gone.
    /// What the NICs have counted is added up.
    ///
    /// # Errors
    /// Those of [`Observe::open`]; and if packets of the new one begin with something else.
    pub fn reopen(&mut self) -> Result<Vec<ObserveQueue>> {
        let (new, queues) = Self::open(&self.config)?;
        if new.link_type != self.link_type {
            let operation = format!("observe {} again", self.config.interface);
            return Err(Error::new(operation, "it is another kind of link than before"));
        }
        self.nic = new.nic.after(&self.nic);
        self.sockets = new.sockets;
        self.interface = new.interface;
        self.longest = new.longest;
        Ok(queues)
    }

    /// Has frames held against another MTU from now on.
    pub fn set_mtu(&self, mtu: u32) {
        self.longest.set_mtu(mtu);
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface.name
    }

    /// Its number in this network namespace.
    pub fn index(&self) -> u32 {
        self.interface.index
    }

    /// How packets come: `AF_PACKET, 2 rings`.
    pub fn description(&self) -> String {
        let rings = self.sockets.len();
        format!("AF_PACKET, {rings} ring{}", if rings == 1 { "" } else { "s" })
    }

    /// Packets that the interface says it has received between open and detach; what this host
    /// sent is not among them. `None` if it does not say.
    pub fn nic(&self) -> Option<NicCounts> {
        self.nic.get()
    }

    /// Lets nothing new in. What is in the rings can still be received.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn detach(&mut self) -> Result<()> {
        self.nic.stop();
        let name = &self.interface.name;
        self.sockets.iter().try_for_each(|fd| {
            socket::close_ears(fd)
                .map_err(|cause| refused(format!("close the sockets of {name}"), name, &cause))
        })
    }
}

/// What a refusal means here.
fn refused(operation: String, interface: &str, cause: &io::Error) -> Error {
    let error = Error::new(operation, cause);
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => error.advise("run as root, or with CAP_NET_RAW"),
        Some(libc::ENOMEM | libc::ENOBUFS) => error.advise("free memory, or use fewer frames"),
        Some(libc::ENODEV | libc::ENXIO) => {
            error.advise("`ip link` lists the interfaces there are")
        }
        Some(libc::ENETDOWN) => {
            error.advise(format!("bring it up with `ip link set {interface} up`"))
        }
        Some(libc::EAFNOSUPPORT) => error.advise("the kernel has no CONFIG_PACKET"),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
