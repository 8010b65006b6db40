//! Sending frame by frame, through a raw packet socket.
//!
//! The kernel spreads the frames over the interface's queues by its flow hash, and both directions
//! of a flow share a queue. The exception is IPv4 behind VLAN tags: a packet socket hands such a
//! frame on with its network header behind the tags but the tag's protocol
//! (`packet_parse_headers` in net/packet/af_packet.c), so the flow hash takes the IP total length
//! for a protocol, and packets of one flow go to different queues. Nothing is lost by that, but
//! order within the flow is only kept per queue.

use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
};

/// How long one frame is tried again while the kernel has no room for it.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_micros(50);
/// Frames in one system call.
const BATCH_FRAMES: usize = 64;

/// A socket that sends on one interface and receives nothing.
pub(crate) struct Socket {
    interface: String,
    socket: OwnedFd,
    headers: MultiHeaders<()>,
    /// Frames that wait, the first `waiting` of these.
    frames: Vec<Vec<u8>>,
    waiting: usize,
    pub(crate) sent_frames: u64,
    pub(crate) sent_bytes: u64,
}

impl Socket {
    /// Opens one, in this thread's network namespace.
    ///
    /// # Errors
    /// If there is no such interface, or we may not.
    pub(crate) fn open(interface: &str) -> Result<Self, String> {
        let failed = |errno: Errno| {
            let advice = if errno == Errno::EPERM { "; run it as root" } else { "" };
            format!("open a packet socket on {interface}: {}{advice}", errno.desc().to_lowercase())
        };
        let address: LinkAddr = getifaddrs()
            .map_err(failed)?
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .ok_or_else(|| format!("open a packet socket on {interface}: no such interface"))?;
        // Protocol 0: it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .map_err(failed)?;
        bind(socket.as_raw_fd(), &address).map_err(failed)?;
        Ok(Self {
            interface: interface.to_owned(),
            socket,
            headers: MultiHeaders::preallocate(BATCH_FRAMES, None),
            frames: vec![vec![]; BATCH_FRAMES],
            waiting: 0,
            sent_frames: 0,
            sent_bytes: 0,
        })
    }

    /// Takes a frame; it is sent when there are some, or by [`Socket::flush`].
    ///
    /// # Errors
    /// If the kernel takes no frames, or not this one.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Result<(), String> {
        if self.waiting == BATCH_FRAMES {
            self.flush()?;
        }
        let place = &mut self.frames[self.waiting];
        place.clear();
        place.extend_from_slice(frame);
        self.waiting += 1;
        Ok(())
    }

    /// Sends what waits, again and again while queues are full.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        let mut at = 0;
        let mut since = None;
        while at < self.waiting {
            match self.send_some(at) {
                Ok(sent) => {
                    let bytes: usize = self.frames[at..at + sent].iter().map(Vec::len).sum();
                    at += sent;
                    self.sent_frames += sent as u64;
                    self.sent_bytes += bytes as u64;
                    since = None;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS | Errno::EAGAIN)
                    if since.get_or_insert_with(Instant::now).elapsed() < PATIENCE =>
                {
                    thread::sleep(RETRY_AFTER);
                }
                Err(errno) => {
                    let cause = match errno {
                        Errno::ENOBUFS | Errno::EAGAIN => {
                            "its queue stays full; is the other end up?".to_owned()
                        }
                        Errno::EMSGSIZE => {
                            "larger than its MTU allows; `ip link set mtu` changes that".to_owned()
                        }
                        Errno::ENETDOWN => {
                            "the interface is down; `ip link set up` changes that".to_owned()
                        }
                        other => other.desc().to_lowercase(),
                    };
                    let (len, number) = (self.frames[at].len(), self.sent_frames + 1);
                    let interface = &self.interface;
                    return Err(format!(
                        "send {len} bytes on {interface} (frame {number}): {cause}"
                    ));
                }
            }
        }
        self.waiting = 0;
        Ok(())
    }

    /// One system call; returns how many frames it took.
    fn send_some(&mut self, at: usize) -> nix::Result<usize> {
        let frames = &self.frames[at..self.waiting];
        let slices: Vec<[IoSlice<'_>; 1]> =
            frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let addresses = vec![None; slices.len()];
        let flags = MsgFlags::empty();
        let fd = self.socket.as_raw_fd();
        sendmmsg(fd, &mut self.headers, &slices, addresses, [], flags)
            .map(|results| results.count())
    }
}
