//! One receive queue of a tap.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::TapDrops;
use crate::error::Result;
use crate::source::longest::LongestFrame;
use crate::time::Timestamp;
use crate::xdp::socket::Socket;
use crate::xdp::stamp::Tai;

/// One receive queue; owned by one thread.
#[derive(Debug)]
pub struct TapQueue {
    socket: Socket,
    /// If packets are to come with their time.
    tai: Option<Tai>,
    batch_timed: u64,
    longest: LongestFrame,
    above_mtu: u64,
}

impl TapQueue {
    /// Of a socket whose packets come with their time, if they are stamped, and whose interface's
    /// MTU allows frames so long.
    pub(super) fn new(socket: Socket, is_stamped: bool, longest: LongestFrame) -> Self {
        let tai = is_stamped.then(Tai::now);
        Self { socket, tai, batch_timed: 0, longest, above_mtu: 0 }
    }

    /// What the program sends its frames to.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Its number on the interface.
    pub fn queue(&self) -> u32 {
        self.socket.queue()
    }

    /// Receives up to `max` frames, calls `each` with every one's bytes, length and time (if it
    /// came with one) in the order they came, then gives all back to the kernel. Returns how
    /// many. Of a frame longer than [`super::TapConfig::frame_bytes`] less 256 only so many bytes
    /// are shown.
    #[inline]
    pub fn receive(
        &mut self,
        max: usize,
        mut each: impl FnMut(&[u8], u32, Option<Timestamp>),
    ) -> usize {
        let Self { socket, tai, batch_timed, longest, above_mtu } = self;
        let longest = longest.bytes();
        let Some(tai) = tai else {
            return socket.receive(max, |bytes, len, _| {
                *above_mtu += u64::from(len > longest);
                each(bytes, len, None);
            });
        };
        socket.receive(max, |bytes, len, tai_ns| {
            *above_mtu += u64::from(len > longest);
            *batch_timed += u64::from(tai_ns.is_none());
            each(bytes, len, tai_ns.map(|ns| tai.utc(ns)));
        })
    }

    /// Frames that should have come with their time, and did not: the driver has no room for it.
    pub fn batch_timed(&self) -> u64 {
        self.batch_timed
    }

    /// Frames that are longer than the interface's MTU allows: several on the wire, which GRO has
    /// merged before generic XDP.
    pub fn above_mtu(&self) -> u64 {
        self.above_mtu
    }

    /// Follows the wall's clock where that was put forward or back.
    pub fn set_by_wall(&mut self) {
        self.tai.iter_mut().for_each(Tai::set);
    }

    /// Blocks until frames are there (`true`), or the time is up, `bell` is rung or a signal came
    /// (`false`).
    ///
    /// # Errors
    /// If the interface is gone or down.
    pub fn wait(&self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> Result<bool> {
        self.socket.wait(timeout, bell)
    }

    /// What was lost since it was opened.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn drops(&self) -> Result<TapDrops> {
        self.socket.losses()
    }
}
