//! The system calls of AF_XDP, packet sockets and TCP that no crate has, each as a safe function
//! that says why it is one. Called by `xdp`, [`crate::source::packet`] and `export::collector`.

#![expect(unsafe_code, reason = "system calls")]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// A new raw socket of a family (`AF_XDP`, `AF_PACKET`) that receives nothing yet.
pub(crate) fn open(family: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a socket may be bound to.
///
/// # Safety
/// It must be an address of its family as the kernel reads it, whole.
pub(crate) unsafe trait Address {}
// SAFETY: the address of AF_XDP.
unsafe impl Address for libc::sockaddr_xdp {}
// SAFETY: the address of AF_PACKET, with room for a longer hardware address than Ethernet's.
unsafe impl Address for libc::sockaddr_ll {}

/// Binds the socket.
pub(crate) fn bind<A: Address>(fd: &OwnedFd, address: &A) -> io::Result<()> {
    let len = len_of::<A>();
    let address = std::ptr::from_ref(address).cast();
    // SAFETY: the kernel reads `len` bytes, which is all of `address`.
    let result = unsafe { libc::bind(fd.as_raw_fd(), address, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What kind of link a packet socket is bound to: `ARPHRD_ETHER` and others.
pub(crate) fn link_kind(fd: &OwnedFd) -> io::Result<u16> {
    let mut address = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    let mut len = len_of::<libc::sockaddr_ll>();
    let to = address.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes, which is what `address` has.
    let result = unsafe { libc::getsockname(fd.as_raw_fd(), to, &raw mut len) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, then written in part or whole; any bits are integers.
    Ok(unsafe { address.assume_init() }.sll_hatype)
}

/// The longest packet above the link that an interface sends, in bytes.
pub(crate) fn mtu(fd: &OwnedFd, interface: &str) -> io::Result<u32> {
    let [a, b, c, d, ..] = ask(fd, interface, libc::SIOCGIFMTU)?;
    Ok(u32::try_from(i32::from_ne_bytes([a, b, c, d])).unwrap_or_default())
}

/// What kind of link an interface is: `ARPHRD_ETHER` and others.
pub(crate) fn kind_of(fd: &OwnedFd, interface: &str) -> io::Result<u16> {
    // The family of its hardware address.
    let [a, b, ..] = ask(fd, interface, libc::SIOCGIFHWADDR)?;
    Ok(u16::from_ne_bytes([a, b]))
}

/// What the kernel answers to such a request about an interface.
fn ask(fd: &OwnedFd, interface: &str, about: libc::Ioctl) -> io::Result<[u8; 24]> {
    /// `struct ifreq`: a name, and what requests of this kind write.
    #[repr(C, align(8))]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        answer: [u8; 24],
    }
    const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());
    let mut request = Request { name: [0; libc::IFNAMSIZ], answer: [0; 24] };
    let too_long = || io::Error::from_raw_os_error(libc::ENODEV);
    let name = request.name.get_mut(..interface.len()).ok_or_else(too_long)?;
    name.copy_from_slice(interface.as_bytes());
    // SAFETY: the request is as long as `struct ifreq` and begins with its name.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), about, &raw mut request) };
    if result == 0 { Ok(request.answer) } else { Err(io::Error::last_os_error()) }
}

/// What poll(2) says of `fd` within `timeout`, or until there is something to read from `bell`;
/// nothing after a signal.
pub(crate) fn poll(
    fd: BorrowedFd<'_>,
    bell: Option<BorrowedFd<'_>>,
    timeout: Duration,
) -> io::Result<i16> {
    let asked = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // Those below 0 are passed over.
    let mut polls = [fd.as_raw_fd(), bell.map_or(-1, |bell| bell.as_raw_fd())].map(asked);
    // Rounded up, so that a short wait is not a spin.
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    // SAFETY: two `pollfd`, which the kernel writes back to.
    let ready = unsafe { libc::poll(polls.as_mut_ptr(), 2, millis) };
    match ready {
        0 => Ok(0),
        1.. => Ok(polls[0].revents),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        },
    }
}

/// Whether the socket is still bound to an interface that is up: `xsk_recvmsg` says.
pub(crate) fn check_bound(fd: BorrowedFd<'_>) -> io::Result<()> {
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

/// Bytes that a TCP socket has taken and the host of the other side has not acknowledged
/// (`SIOCOUTQ`, tcp(7)); also of a connection that has ended.
pub(crate) fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes an int, which `bytes` is.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bytes.unsigned_abs())
}

/// Has a UDP socket refuse datagrams that are longer than what is known to be taken by the path, of
/// IPv6 or IPv4 (`IP_PMTUDISC_DO`, ip(7)).
pub(crate) fn never_fragment(fd: impl AsFd, is_v6: bool) -> io::Result<()> {
    match is_v6 {
        true => {
            let name = (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
            set_option(fd, name, &libc::IPV6_PMTUDISC_DO)
        }
        false => {
            let name = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
            set_option(fd, name, &libc::IP_PMTUDISC_DO)
        }
    }
}

/// The longest packet of IPv6 or IPv4 that the path of a connected socket takes, as far as is known
/// (`IP_MTU`, ip(7)).
pub(crate) fn path_mtu(fd: impl AsFd, is_v6: bool) -> io::Result<u32> {
    let name = match is_v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
        false => (libc::IPPROTO_IP, libc::IP_MTU),
    };
    let mtu: libc::c_int = option(fd, name)?;
    u32::try_from(mtu).map_err(io::Error::other)
}

/// The length of a `T` as system calls take it.
fn len_of<T>() -> libc::socklen_t {
    // The structures here are some bytes long.
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

/// Which option: its level and its name.
pub(crate) type Name = (libc::c_int, libc::c_int);

/// What a socket option may be set to.
///
/// # Safety
/// There must be no address in it, which the kernel might follow: numbers only.
pub(crate) unsafe trait OptionValue {}
// SAFETY: an integer.
unsafe impl OptionValue for u32 {}
// SAFETY: an integer.
unsafe impl OptionValue for libc::c_int {}
// SAFETY: integers.
unsafe impl OptionValue for libc::tpacket_req3 {}
// SAFETY: integers.
unsafe impl OptionValue for libc::packet_mreq {}

/// Sets an option.
pub(crate) fn set_option<T: OptionValue>(fd: impl AsFd, name: Name, value: &T) -> io::Result<()> {
    // SAFETY: it names no memory.
    unsafe { set_option_of_memory(fd, name, value) }
}

/// Has the socket take what the classic BPF program accepts.
pub(crate) fn attach_filter(fd: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    let name = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: the kernel reads so many statements during the call, and keeps a copy.
    unsafe { set_option_of_memory(fd, name, &program) }
}

/// Sets an option whose value names memory.
///
/// # Safety
/// That memory must be as the option wants it, for as long as the kernel uses it.
pub(crate) unsafe fn set_option_of_memory<T>(
    fd: impl AsFd,
    (level, name): Name,
    value: &T,
) -> io::Result<()> {
    let value = std::ptr::from_ref(value).cast();
    let len = len_of::<T>();
    // SAFETY: the kernel reads `len` bytes, which is all of `value`; what that names is as it
    // must be, by this function's contract.
    let result = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, value, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a socket option may be read as.
///
/// # Safety
/// All zeros must be a value, as must anything the kernel writes: integers only.
pub(crate) unsafe trait SocketOption: Copy {}
// SAFETY: integers.
unsafe impl SocketOption for libc::xdp_statistics {}
// SAFETY: integers.
unsafe impl SocketOption for libc::xdp_mmap_offsets {}
// SAFETY: integers.
unsafe impl SocketOption for libc::tpacket_stats_v3 {}
// SAFETY: an integer.
unsafe impl SocketOption for libc::c_int {}

/// Reads an option.
pub(crate) fn option<T: SocketOption>(fd: impl AsFd, (level, name): Name) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = len_of::<T>();
    let to = value.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes, which is what `value` has.
    let result = unsafe { libc::getsockopt(fd.as_fd().as_raw_fd(), level, name, to, &raw mut len) };
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
