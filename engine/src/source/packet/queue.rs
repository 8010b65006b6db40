//! One ring of an observed interface, as an `rx` thread has it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::ring::{Ring, RingPacket};
use super::{refused, socket};
use crate::error::{Error, Result};
use crate::socket::poll;
use crate::source::longest::LongestFrame;
use crate::source::{Frame, LinkType};
use crate::sync::Arc;
use crate::time::{SECOND_NS, Timestamp};

/// How long an interface that is gone may take to hand over what it has received.
const SETTLE: Duration = Duration::from_millis(500);

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

/// One ring; owned by one thread.
#[derive(Debug)]
pub struct ObserveQueue {
    fd: Arc<OwnedFd>,
    ring: Ring,
    link_type: LinkType,
    longest: LongestFrame,
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

    pub(super) fn new(
        fd: Arc<OwnedFd>,
        ring: Ring,
        link_type: LinkType,
        longest: LongestFrame,
        interface: String,
        number: usize,
    ) -> Self {
        let counts = Counts::default();
        Self { fd, ring, link_type, longest, counts, failure: None, interface, number }
    }

    /// Receives up to `max` frames, and calls `each` with every one in the order they came.
    /// Returns how many.
    pub fn receive(&mut self, max: usize, mut each: impl FnMut(&Frame<'_>)) -> usize {
        let Self { ring, link_type, longest, counts, .. } = self;
        let longest = longest.bytes();
        let found = ring.receive(max, |packet| {
            counts.outgoing += u64::from(packet.is_outgoing);
            counts.above_mtu += u64::from(packet.wire_len > longest);
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

    /// Blocks until frames are there (`true`), or the time is up, `bell` is rung or a signal came
    /// (`false`).
    ///
    /// # Errors
    /// Once, if the interface has gone or gone down, when all it had received was taken. It may
    /// come up again.
    pub fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> Result<bool> {
        let events =
            poll(self.fd.as_fd(), bell, timeout).map_err(|c| self.refused("wait for", &c))?;
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
            let (error, _) = self.failure.take().expect("just seen");
            return Err(self.refused("wait for", &error));
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
