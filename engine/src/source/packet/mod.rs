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

mod ring;
mod socket;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::limits::{MAX_CORES, MAX_QUEUE_FRAMES, MIN_QUEUE_FRAMES};
use crate::socket::poll;
use crate::source::{Frame, LinkType};
use crate::sync::Arc;
use crate::time::{SECOND_NS, Timestamp};
use crate::xdp::interface::Interface;
use ring::{Ring, RingPacket};
use socket::{Layout, Link};

/// Memory for one frame of `frames_per_ring`: as much as the other mode takes.
const FRAME_BYTES: u32 = 4_096;

/// A block is handed over as a whole: small enough that there are several, large enough that
/// this is rare.
const BLOCK_BYTES: u32 = 256 << 10;
const BLOCKS: u32 = 4;

const _: () = assert!(MIN_QUEUE_FRAMES * FRAME_BYTES / BLOCKS > 2 * crate::limits::SNAP_BYTES);

/// How long an interface that is gone may take to hand over what it has received.
const SETTLE: Duration = Duration::from_millis(500);

/// An Ethernet header with two VLAN tags, which are not in the MTU.
const LINK_BYTES: u32 = 14 + 2 * ring::TAG_BYTES;

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
        if !(1..=MAX_CORES).contains(&self.rings) {
            return refuse(format!("{} rings, not 1 to {MAX_CORES}", self.rings));
        }
        let bytes = frames * FRAME_BYTES;
        let block_bytes = BLOCK_BYTES.min(bytes / BLOCKS);
        Ok(Layout { blocks: bytes / block_bytes, block_bytes })
    }
}

/// What has become of the packets of one ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came to the socket, as the kernel counts them.
    pub seen: u64,
    /// Those of them for which there was no room, as the kernel counts them.
    pub dropped: u64,
    /// How often the ring ran full.
    pub freezes: u64,
    /// Packets that the kernel described wrongly.
    pub invalid: u64,
    /// Packets taken from the ring.
    pub delivered: u64,
    /// Those of them that this host sent.
    pub outgoing: u64,
    /// Those that are longer than the interface's MTU allows: several on the wire.
    pub above_mtu: u64,
}

/// One interface that is observed; left alone when this and its queues are dropped.
#[derive(Debug)]
pub struct Observe {
    sockets: Vec<Arc<OwnedFd>>,
    interface: Interface,
    nic_rx_before: Option<u64>,
    nic_rx_after: Option<u64>,
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
        let nic_rx_before = interface.received_packets();
        for fd in &sockets {
            socket::open_ears(fd, link).map_err(|cause| fail("open the sockets of", &cause))?;
        }
        let sockets: Vec<_> = sockets.into_iter().map(Arc::new).collect();
        let mut queues = Vec::with_capacity(sockets.len());
        for (number, (fd, mapping)) in sockets.iter().zip(mappings).enumerate() {
            let is_ethernet = link_type == LinkType::ETHERNET;
            let ring = Ring::new(mapping, layout.blocks, layout.block_bytes, is_ethernet)
                .expect("it was mapped with these sizes");
            queues.push(ObserveQueue {
                fd: Arc::clone(fd),
                ring,
                link_type,
                longest: mtu.saturating_add(LINK_BYTES),
                counts: Counts::default(),
                failure: None,
                interface: name.to_owned(),
                number,
            });
        }
        Ok((Self { sockets, interface, nic_rx_before, nic_rx_after: None }, queues))
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface.name
    }

    /// How packets come: `AF_PACKET, 2 rings`.
    pub fn description(&self) -> String {
        let rings = self.sockets.len();
        format!("AF_PACKET, {rings} ring{}", if rings == 1 { "" } else { "s" })
    }

    /// Packets that the interface says it has received between open and detach; what this host
    /// sent is not among them. `None` if it does not say.
    pub fn nic_rx(&self) -> Option<u64> {
        let now = self.nic_rx_after.or_else(|| self.interface.received_packets());
        now.zip(self.nic_rx_before).map(|(now, then)| now.saturating_sub(then))
    }

    /// Lets nothing new in. What is in the rings can still be received.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn detach(&mut self) -> Result<()> {
        self.nic_rx_after = self.nic_rx_after.or_else(|| self.interface.received_packets());
        let name = &self.interface.name;
        self.sockets.iter().try_for_each(|fd| {
            socket::close_ears(fd)
                .map_err(|cause| refused(format!("close the sockets of {name}"), name, &cause))
        })
    }
}

/// One ring; owned by one thread.
#[derive(Debug)]
pub struct ObserveQueue {
    fd: Arc<OwnedFd>,
    ring: Ring,
    link_type: LinkType,
    /// The longest frame that the MTU allows.
    longest: u32,
    counts: Counts,
    /// What the socket has come to, and since when: the interface is gone or down.
    failure: Option<(io::Error, Instant)>,
    interface: String,
    number: usize,
}

impl ObserveQueue {
    /// What its frames begin with.
    pub fn link(&self) -> LinkType {
        self.link_type
    }

    /// Receives up to `max` frames, and calls `each` with every one in the order they came.
    /// Returns how many.
    pub fn receive(&mut self, max: usize, mut each: impl FnMut(&Frame<'_>)) -> usize {
        let Self { ring, link_type, longest, counts, .. } = self;
        let found = ring.receive(max, |packet| {
            counts.outgoing += u64::from(packet.is_outgoing);
            counts.above_mtu += u64::from(packet.wire_len > *longest);
            each(&Frame {
                bytes: packet.bytes,
                wire_len: packet.wire_len,
                timestamp: Some(timestamp(&packet)),
                link: *link_type,
            });
        });
        counts.delivered += found.shown as u64;
        counts.invalid += u64::from(found.invalid);
        found.shown
    }

    /// Blocks until frames are there (`true`), or the time is up or a signal came (`false`).
    ///
    /// # Errors
    /// If the interface is gone or down, once all it had received was taken.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let events = poll(self.fd.as_fd(), timeout).map_err(|c| self.refused("wait for", &c))?;
        if events & libc::POLLIN != 0 {
            return Ok(true);
        }
        if events != 0 && self.failure.is_none() {
            // Takes it from the socket, so that the next wait waits: a last block is handed
            // over when its time is up.
            let error = socket::take_error(&self.fd).map_err(|c| self.refused("wait for", &c))?;
            self.failure = error.map(|error| (error, Instant::now()));
        }
        let since = self.failure.as_ref().map(|(_, since)| *since);
        if since.is_some_and(|since| since.elapsed() > SETTLE)
            || since.is_some() && self.is_empty()?
        {
            let (error, _) = self.failure.as_ref().expect("just seen");
            return Err(self.refused("wait for", error));
        }
        Ok(false)
    }

    /// What has become of the packets so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn counts(&mut self) -> Result<Counts> {
        let more = socket::statistics(&self.fd)
            .map_err(|cause| self.refused("read the counters of", &cause))?;
        self.counts.seen += u64::from(more.seen);
        self.counts.dropped += u64::from(more.dropped);
        self.counts.freezes += u64::from(more.freezes);
        Ok(self.counts)
    }

    /// Whether everything was taken that the kernel has put into the ring, also into the block
    /// that it still fills.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn is_empty(&mut self) -> Result<bool> {
        let Counts { seen, dropped, invalid, delivered, .. } = self.counts()?;
        Ok(seen <= dropped + invalid + delivered)
    }

    fn refused(&self, step: &str, cause: &io::Error) -> Error {
        let Self { interface, number, .. } = self;
        refused(format!("{step} ring {number} of {interface}"), interface, cause)
    }
}

/// The kernel's time of a packet.
fn timestamp(packet: &RingPacket<'_>) -> Timestamp {
    const _: () = assert!(u32::MAX as u64 * SECOND_NS < i64::MAX as u64 / 2, "until 2106");
    Timestamp::from(packet.seconds) * SECOND_NS.cast_signed() + Timestamp::from(packet.nanoseconds)
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
