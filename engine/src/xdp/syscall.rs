//! The system calls of AF_XDP sockets, each as a safe function that says why it is one.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// A new AF_XDP socket.
pub(super) fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds the socket to a queue of the interface with this number.
pub(super) fn bind(fd: &OwnedFd, interface: u32, queue: u32, flags: u16) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        // 44: fits.
        sxdp_family: libc::AF_XDP.unsigned_abs().try_into().unwrap_or_default(),
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let len = len_of::<libc::sockaddr_xdp>();
    // SAFETY: the kernel reads `len` bytes, which is all of `address`.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What poll(2) says of `fd` within `timeout`; nothing after a signal.
pub(super) fn poll(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<i16> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, so that a short wait is not a spin.
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    // SAFETY: one `pollfd`, which the kernel writes back to.
    let ready = unsafe { libc::poll(&raw mut poll, 1, millis) };
    match ready {
        0 => Ok(0),
        1.. => Ok(poll.revents),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        },
    }
}

/// Whether the socket is still bound to an interface that is up: `xsk_recvmsg` says.
pub(super) fn check_bound(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: a buffer of no bytes.
    let result = unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), 0, flags) };
    if result >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}

/// The length of a `T` as system calls take it.
fn len_of<T>() -> libc::socklen_t {
    // The structures here are some bytes long.
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

/// Sets an option of level `SOL_XDP`.
pub(super) fn set_option<T>(fd: &OwnedFd, name: libc::c_int, value: &T) -> io::Result<()> {
    let value = std::ptr::from_ref(value).cast();
    let len = len_of::<T>();
    // SAFETY: the kernel reads `len` bytes, which is all of `value`.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_XDP, name, value, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a socket option may be read as.
///
/// # Safety
/// All zeros must be a value, as must anything the kernel writes: integers only.
pub(super) unsafe trait SocketOption: Copy {}
// SAFETY: integers.
unsafe impl SocketOption for libc::xdp_statistics {}
// SAFETY: integers.
unsafe impl SocketOption for libc::xdp_mmap_offsets {}

/// Reads an option of level `SOL_XDP`.
pub(super) fn option<T: SocketOption>(fd: &OwnedFd, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = len_of::<T>();
    let to = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes, which is what `value` has.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_XDP, name, to, &raw mut len) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // An older kernel has a shorter one, which would be misread.
    if len != len_of::<T>() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    // SAFETY: zeroed, then written in part or whole; `SocketOption` makes that a value.
    Ok(unsafe { value.assume_init() })
}
