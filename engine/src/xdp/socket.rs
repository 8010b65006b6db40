//! One AF_XDP socket for receiving: bound to one queue of one interface, with frames and rings
//! of its own.
//!
//! It is owned by one thread. The kernel writes packets into frames that are on the fill ring
//! and names them on the receive ring; [`Socket::receive`] shows each to its caller and gives
//! it back. The completion ring, which is for sending, exists because bind wants one.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use super::{
    busy::WhenBusy,
    interface::Interface,
    receiver::Receiver,
    refusal::{Step, is_unsupported, refused, refused_at},
    ring::{Consumer, Descriptor, Entry, Offsets, Producer},
    stamp::Timestamps,
    umem::Umem,
};
use crate::error::{Error, Result};
use crate::limits::BATCH_PACKETS;
use crate::memory::Mapping;
use crate::socket as syscall;

/// Packets that one busy poll takes from the device at most.
const BUSY_POLL_PACKETS: u32 = 64;

const _: () = assert!(BUSY_POLL_PACKETS as usize <= BATCH_PACKETS);

/// What the kernel keeps of each frame for itself (`XDP_PACKET_HEADROOM`).
const HEADROOM_BYTES: u32 = 256;

/// A driver that finds no frame says so, and is called once there are some; those that cannot do
/// so look for them all the time.
const ZERO_COPY: u16 = libc::XDP_ZEROCOPY | libc::XDP_USE_NEED_WAKEUP;

/// How large a socket's memory is. All numbers are powers of two.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Frames, and entries of the fill ring: there is room on it for all of them.
    pub frames: u32,
    /// Bytes of one frame: 2,048 or 4,096. The kernel keeps 256 of them for itself.
    pub frame_bytes: u32,
    /// Entries of the receive ring.
    pub rx_entries: u32,
}

impl Layout {
    /// The longest packet that fits one frame, in bytes.
    pub fn room_bytes(&self) -> u32 {
        self.frame_bytes - HEADROOM_BYTES
    }
}

/// How packets shall come into the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Without a copy if the driver can.
    #[default]
    Auto,
    /// Without a copy, or not at all.
    On,
    /// By the kernel's copy.
    Off,
}

/// What decides how a socket is bound and read.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Whether the program is in the driver.
    pub is_native: bool,
    /// What was asked for.
    pub zero_copy: ZeroCopy,
    /// Whether packets may be longer than there is room for in a frame.
    pub may_take_several: bool,
    /// Whether the program puts stamps in front of packets.
    pub timestamps: Timestamps,
    /// What to do where another socket has the queue.
    pub when_busy: WhenBusy,
}

/// How packets come into the frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The device writes them there.
    ZeroCopy,
    /// The kernel copies them there. Why not zero-copy.
    Copy(String),
}

/// What the kernel and the socket have lost since it was opened, each packet in one place.
///
/// In copy mode the kernel counts a packet that finds no frame both as dropped and against the
/// fill ring (`__xsk_rcv`, `__xp_alloc`), and one that finds no room on the receive ring only
/// there. What is left of "dropped" are packets that are too large for a frame
/// (`xsk_rcv_check`). In zero-copy mode an empty fill ring is the driver's to count, as a
/// packet that the device had no room for and the XDP program never saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// There was no room on the receive ring: we are too slow.
    pub rx_ring_full: u64,
    /// There was no frame on the fill ring: we are too slow.
    pub fill_ring_empty: u64,
    /// The packet was longer than a frame less 256 bytes, without multi-buffer.
    pub oversize: u64,
    /// The kernel described it wrongly.
    pub invalid: u64,
}

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    // Closed first: the kernel then lets go of the rings and frames below.
    fd: OwnedFd,
    receiver: Receiver,
    mode: Mode,
    /// Whether packets may be longer than a frame.
    is_multi_buffer: bool,
    queue: u32,
    interface: String,
    /// Whether the kernel polls the device when we ask it for something.
    polls_device: bool,
}

impl Socket {
    /// Opens a socket on `queue` of `interface` and lends all its frames to the kernel. Packets
    /// come once an XDP program sends them.
    ///
    /// # Errors
    /// If the kernel refuses any step.
    pub fn open(interface: &Interface, queue: u32, layout: Layout, choice: Choice) -> Result<Self> {
        let name = &interface.name;
        let fail = |step: &str, cause: io::Error| {
            refused(format!("{step} queue {queue} of {name}"), name, &cause)
        };
        let fd = syscall::open(libc::AF_XDP).map_err(|cause| fail("open a socket for", cause))?;
        let umem = Umem::new(layout.frames, layout.frame_bytes)
            .map_err(|cause| fail("map the frames of", cause))?;
        let registration = umem.registration();
        // SAFETY: it names the mapping of `umem`, whose pages the kernel pins until the socket is
        // closed (`xdp_umem_pin_pages`): should it be unmapped before, they are the kernel's alone.
        unsafe { syscall::set_option_of_memory(&fd, xdp(libc::XDP_UMEM_REG), &registration) }
            .map_err(|cause| fail("register the frames of", cause))?;
        let (rx, fill) = map_rings(&fd, layout).map_err(|cause| fail("map the rings of", cause))?;
        // The socket of a process that was killed goes a little after it.
        let bind_with =
            |flags| choice.when_busy.attempt(|| bind_with(&fd, interface.index, queue, flags));
        let (mode, is_multi_buffer) = bind(choice, bind_with).map_err(|cause| {
            refused_at(Step::Bind, format!("bind queue {queue} of {name}"), name, &cause)
        })?;
        let receiver = Receiver::new(rx, fill, umem, choice.timestamps == Timestamps::Packet);
        let interface = name.clone();
        let polls_device = false;
        Ok(Self { fd, receiver, mode, is_multi_buffer, queue, interface, polls_device })
    }

    /// The queue it is bound to.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// How it is bound.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Has the kernel poll the device for up to `us` microseconds whenever we wait, instead of
    /// by interrupts, as far as the driver can
    /// (<https://docs.kernel.org/networking/napi.html#busy-polling>).
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn poll_device_for(&mut self, us: u32) -> Result<()> {
        let (queue, name) = (self.queue, &self.interface);
        for (option, value) in [
            (libc::SO_PREFER_BUSY_POLL, 1),
            (libc::SO_BUSY_POLL, us),
            (libc::SO_BUSY_POLL_BUDGET, BUSY_POLL_PACKETS),
        ] {
            syscall::set_option(&self.fd, (libc::SOL_SOCKET, option), &value).map_err(|cause| {
                let error = Error::new(format!("busy-poll queue {queue} of {name}"), &cause);
                match cause.raw_os_error() {
                    Some(libc::EPERM) => error.advise("run as root, or with CAP_NET_ADMIN"),
                    _ => error.advise("it takes Linux 5.11; leave --busy-poll out"),
                }
            })?;
        }
        self.polls_device = true;
        Ok(())
    }

    /// Whether packets may be longer than a frame.
    pub fn is_multi_buffer(&self) -> bool {
        self.is_multi_buffer
    }

    /// Shows up to `max` packets to `each`, in the order they came, then gives their frames
    /// back: of a packet what is in its first frame, headers and more, its whole length, and the
    /// TAI in ns at which the program saw it, if it says so. Returns how many it has shown.
    pub fn receive(&mut self, max: usize, mut each: impl FnMut(&[u8], u32, Option<u64>)) -> usize {
        let mut shown = self.receiver.receive(max, &mut each);
        if shown == 0 && self.polls_device {
            // What it finds comes to the ring at once. If it fails, `wait` says so.
            let _ = syscall::check_bound(self.fd.as_fd());
            shown = self.receiver.receive(max, each);
        }
        // A driver that had found no frame does not look for those that were just given back.
        if self.mode == Mode::ZeroCopy && self.receiver.needs_wakeup() {
            // xsk_recvmsg calls it. If it fails, `wait` says so.
            let _ = syscall::check_bound(self.fd.as_fd());
        }
        shown
    }

    /// Waits until packets are there (`true`), or `timeout` is over or a signal came (`false`).
    ///
    /// # Errors
    /// If the interface is gone or down.
    pub fn wait(&self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> Result<bool> {
        let fail = |cause: io::Error| {
            let operation = format!("wait for queue {} of {}", self.queue, self.interface);
            refused(operation, &self.interface, &cause)
        };
        if self.polls_device {
            // xsk_recvmsg polls the device, which poll(2) does only by a system-wide setting.
            syscall::check_bound(self.fd.as_fd()).map_err(fail)?;
        }
        let events = syscall::poll(self.fd.as_fd(), bell, timeout).map_err(fail)?;
        if events & libc::POLLIN != 0 {
            return Ok(true);
        }
        // A socket whose interface is gone is woken but polls as idle, so ask.
        syscall::check_bound(self.fd.as_fd()).map_err(fail)?;
        if events != 0 {
            return Err(fail(io::Error::from_raw_os_error(libc::ENETDOWN)));
        }
        Ok(false)
    }

    /// What was lost since it was opened.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn losses(&self) -> Result<Losses> {
        let counted: libc::xdp_statistics = syscall::option(&self.fd, xdp(libc::XDP_STATISTICS))
            .map_err(|c| {
                let operation =
                    format!("read the losses of queue {} of {}", self.queue, self.interface);
                refused(operation, &self.interface, &c)
            })?;
        let fill_ring_empty = match self.mode {
            Mode::ZeroCopy => 0,
            // No packet is too large, and those that want several frames count here only.
            Mode::Copy(_) if self.is_multi_buffer => counted.rx_dropped,
            Mode::Copy(_) => counted.rx_fill_ring_empty_descs,
        };
        Ok(Losses {
            rx_ring_full: counted.rx_ring_full,
            fill_ring_empty,
            // Not read at one moment: of a packet in between only one half may show.
            oversize: counted.rx_dropped.saturating_sub(fill_ring_empty),
            invalid: self.receiver.invalid(),
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn map_rings(fd: &OwnedFd, layout: Layout) -> io::Result<(Consumer<Descriptor>, Producer<u64>)> {
    syscall::set_option(fd, xdp(libc::XDP_UMEM_FILL_RING), &layout.frames)?;
    syscall::set_option(fd, xdp(libc::XDP_UMEM_COMPLETION_RING), &1_u32)?;
    syscall::set_option(fd, xdp(libc::XDP_RX_RING), &layout.rx_entries)?;
    let offsets: libc::xdp_mmap_offsets = syscall::option(fd, xdp(libc::XDP_MMAP_OFFSETS))?;
    let misfit = || io::Error::other("the kernel's ring layout does not fit its mapping");

    let (mapping, parts) =
        map_ring::<Descriptor>(fd, libc::XDP_PGOFF_RX_RING, &offsets.rx, layout.rx_entries)?;
    let rx = Consumer::new(mapping, parts, layout.rx_entries).ok_or_else(misfit)?;

    let page = libc::XDP_UMEM_PGOFF_FILL_RING.cast_signed();
    let (mapping, parts) = map_ring::<u64>(fd, page, &offsets.fr, layout.frames)?;
    let fill = Producer::new(mapping, parts, layout.frames).ok_or_else(misfit)?;
    Ok((rx, fill))
}

fn map_ring<T: Entry>(
    fd: &OwnedFd,
    page: i64,
    offsets: &libc::xdp_ring_offset,
    entries: u32,
) -> io::Result<(Mapping, Offsets)> {
    let at = |offset: u64| usize::try_from(offset).map_err(io::Error::other);
    let parts = Offsets {
        producer: at(offsets.producer)?,
        consumer: at(offsets.consumer)?,
        flags: at(offsets.flags)?,
        entries: at(offsets.desc)?,
    };
    let bytes = parts.entries + entries as usize * size_of::<T>();
    Ok((Mapping::shared(fd.as_fd(), page, bytes)?, parts))
}

/// Binds by the first flags of `choice` that the driver and the kernel take; with multi-buffer
/// where there is that (Linux 6.6, and for zero-copy the driver). Returns how, and whether with
/// multi-buffer. It is [`ZeroCopy::Auto`] that counts come first for: without multi-buffer a device
/// loses each long packet, and nothing here would count it.
fn bind(
    choice: Choice,
    mut bind_with: impl FnMut(u16) -> io::Result<()>,
) -> io::Result<(Mode, bool)> {
    let mut refused = |flags| bind_with(flags).err();
    let mut bind = |flags, needs_several| match refused(flags | libc::XDP_USE_SG) {
        None => Ok(true),
        Some(refusal) if needs_several || refusal.raw_os_error() == Some(libc::EBUSY) => {
            Err(refusal)
        }
        Some(_) => refused(flags).map_or(Ok(false), Err),
    };
    let why = match (choice.zero_copy, choice.is_native) {
        (ZeroCopy::Off, _) => "--zero-copy off".to_owned(),
        (ZeroCopy::On, _) => return Ok((Mode::ZeroCopy, bind(ZERO_COPY, false)?)),
        (ZeroCopy::Auto, false) => "zero-copy needs native XDP".to_owned(),
        (ZeroCopy::Auto, true) => match bind(ZERO_COPY, choice.may_take_several) {
            Ok(is_multi_buffer) => return Ok((Mode::ZeroCopy, is_multi_buffer)),
            Err(refusal) if is_unsupported(&refusal) && choice.may_take_several => {
                "the driver has no zero-copy for packets of several frames".to_owned()
            }
            Err(refusal) if is_unsupported(&refusal) => "the driver has no zero-copy".to_owned(),
            Err(refusal) => {
                let refusal = Error::new("", refusal);
                format!("the driver refused zero-copy: {}", refusal.cause())
            }
        },
    };
    Ok((Mode::Copy(why), bind(libc::XDP_COPY, false)?))
}

/// An option of level `SOL_XDP`.
fn xdp(name: libc::c_int) -> syscall::Name {
    (libc::SOL_XDP, name)
}

fn bind_with(fd: &OwnedFd, interface: u32, queue: u32, flags: u16) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        // 44: fits.
        sxdp_family: libc::AF_XDP.unsigned_abs().try_into().unwrap_or_default(),
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    syscall::bind(fd, &address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZC: u16 = ZERO_COPY;
    const COPY: u16 = libc::XDP_COPY;
    const SG: u16 = libc::XDP_USE_SG;

    /// A driver, by the flags that it takes and what it answers to others.
    struct Driver(&'static str, &'static [u16], libc::c_int);

    #[test]
    fn the_best_way_that_loses_no_packet_is_taken() {
        let good = Driver("with all there is", &[ZC | SG, ZC, COPY | SG, COPY], 0);
        let one = Driver("with one buffer", &[ZC, COPY | SG, COPY], libc::EOPNOTSUPP);
        let none = Driver("without zero-copy", &[COPY | SG, COPY], libc::EOPNOTSUPP);
        let short = Driver("with too short a ring", &[COPY | SG, COPY], libc::EINVAL);
        let old = Driver("before Linux 6.6", &[ZC, COPY], libc::EINVAL);
        let busy = Driver("whose queue another has", &[], libc::EBUSY);
        let down = Driver("that is down", &[], libc::ENETDOWN);
        let (auto, on, off) = (ZeroCopy::Auto, ZeroCopy::On, ZeroCopy::Off);
        let no = "the driver has no zero-copy";
        let several = "the driver has no zero-copy for packets of several frames";
        let refused = "the driver refused zero-copy: invalid argument";
        let generic = "zero-copy needs native XDP";
        type Expected = std::result::Result<(&'static str, bool), libc::c_int>;
        let cases: [(&Driver, ZeroCopy, bool, bool, Expected); 19] = [
            (&good, auto, true, false, Ok(("", true))),
            (&good, auto, true, true, Ok(("", true))),
            (&good, on, true, true, Ok(("", true))),
            (&good, off, true, true, Ok(("--zero-copy off", true))),
            (&good, auto, false, true, Ok((generic, true))),
            (&one, auto, true, false, Ok(("", false))),
            (&one, auto, true, true, Ok((several, true))),
            (&one, on, true, true, Ok(("", false))),
            (&none, auto, true, false, Ok((no, true))),
            (&none, auto, true, true, Ok((several, true))),
            (&none, on, true, false, Err(libc::EOPNOTSUPP)),
            (&short, auto, true, false, Ok((refused, true))),
            (&short, on, true, false, Err(libc::EINVAL)),
            (&old, auto, true, false, Ok(("", false))),
            // Long packets are lost either way: in copy mode they are counted.
            (&old, auto, true, true, Ok((refused, false))),
            (&old, off, true, false, Ok(("--zero-copy off", false))),
            (&busy, auto, true, false, Err(libc::EBUSY)),
            (&busy, off, true, false, Err(libc::EBUSY)),
            (&down, auto, true, true, Err(libc::ENETDOWN)),
        ];
        for (driver, zero_copy, is_native, may_take_several, expected) in cases {
            let (timestamps, when_busy) = (Timestamps::Batch, WhenBusy::Wait);
            let choice = Choice { is_native, zero_copy, may_take_several, timestamps, when_busy };
            let answer = |flags| match driver.1.contains(&flags) {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(driver.2)),
            };
            let expected = expected.map(|(why, is_multi_buffer)| {
                let copy = Mode::Copy(why.to_owned());
                (if why.is_empty() { Mode::ZeroCopy } else { copy }, is_multi_buffer)
            });
            let bound = bind(choice, answer).map_err(|error| error.raw_os_error().unwrap_or(0));
            assert_eq!(bound, expected, "a driver {}: {choice:?}", driver.0);
        }
    }
}
