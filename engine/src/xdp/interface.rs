//! What the kernel says of a network interface: its index, state, addresses, queues.
//!
//! It asks by system call or by this thread's `/proc`, never by `/sys`, where it can: `/sys`
//! may show another network namespace than the one this thread is in.

use std::{
    ffi::CStr,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
};

use super::refusal::refused;
use crate::error::Result;
use crate::socket as syscall;

/// One interface, as it was when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in this network namespace.
    pub index: u32,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// What kind of link it is (`ARPHRD_*` of linux/if_arp.h), if the kernel says.
    pub link_kind: Option<u16>,
}

impl Interface {
    /// Looks `name` up.
    ///
    /// # Errors
    /// If there is no such interface, or the kernel does not say.
    pub fn find(name: &str) -> Result<Self> {
        let fail = |cause: &io::Error| refused(format!("find interface {name}"), name, cause);
        let list = AddressList::get().map_err(|cause| fail(&cause))?;
        let mut found: Option<Self> = None;
        for entry in list.entries().filter(|entry| entry.name.to_bytes() == name.as_bytes()) {
            // SAFETY: a C string.
            let index = unsafe { libc::if_nametoindex(entry.name.as_ptr()) };
            let interface = found.get_or_insert_with(|| Self {
                name: name.to_owned(),
                index,
                is_up: false,
                addresses: Vec::new(),
                link_kind: None,
            });
            interface.is_up |= entry.is_up;
            interface.addresses.extend(entry.address);
        }
        let mut found = found
            .filter(|interface| interface.index != 0)
            .ok_or_else(|| fail(&io::Error::from_raw_os_error(libc::ENODEV)))?;
        found.link_kind = any_socket().and_then(|socket| syscall::kind_of(&socket, name)).ok();
        Ok(found)
    }

    /// Addresses that somebody may be using it by: all but IPv6 link-local ones.
    pub fn service_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied().filter(|address| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        })
    }

    /// The longest packet above the link, in bytes.
    ///
    /// # Errors
    /// If it is gone, or the kernel does not say.
    pub fn mtu(&self) -> Result<u32> {
        any_socket()
            .and_then(|socket| syscall::mtu(&socket, &self.name))
            .map_err(|cause| refused(format!("read the MTU of {}", self.name), &self.name, &cause))
    }

    /// Whether its frames begin with Ethernet headers, as far as is known.
    pub fn is_ethernet(&self) -> bool {
        const ETHERNET: [u16; 2] = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK];
        self.link_kind.is_none_or(|kind| ETHERNET.contains(&kind))
    }

    /// How many receive queues are in use.
    pub fn rx_queues(&self) -> u32 {
        self.channels().or_else(|| self.listed_queues()).unwrap_or(1).max(1)
    }

    /// ETHTOOL_GCHANNELS: what the driver says, if it does.
    fn channels(&self) -> Option<u32> {
        /// `struct ethtool_channels` of linux/ethtool.h.
        #[repr(C)]
        #[derive(Default)]
        struct Channels {
            command: u32,
            max: [u32; 4],
            rx: u32,
            tx: u32,
            other: u32,
            combined: u32,
        }
        /// `struct ifreq`, with the member that ethtool uses, at its full size.
        #[repr(C)]
        struct Request {
            name: [u8; libc::IFNAMSIZ],
            data: *mut Channels,
            rest: [u64; 2],
        }
        const SIOCETHTOOL: u64 = 0x8946;
        const ETHTOOL_GCHANNELS: u32 = 0x3c;

        let socket = any_socket().ok()?;
        let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
        let mut request =
            Request { name: [0; libc::IFNAMSIZ], data: &raw mut channels, rest: [0; 2] };
        let name = self.name.as_bytes();
        request.name.get_mut(..name.len())?.copy_from_slice(name);
        // SAFETY: the request is as long as `struct ifreq`, begins with its name, and points
        // to a `struct ethtool_channels`, which is what this command writes.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        // A driver has either combined channels, or those for receiving, or both.
        (result == 0).then(|| channels.combined.saturating_add(channels.rx)).filter(|&n| n > 0)
    }

    /// The queues that `/sys` shows, if it shows this interface.
    fn listed_queues(&self) -> Option<u32> {
        let directory = format!("/sys/class/net/{}", self.name);
        let index = fs::read_to_string(format!("{directory}/ifindex")).ok()?;
        if index.trim() != self.index.to_string() {
            return None;
        }
        let queues = fs::read_dir(format!("{directory}/queues")).ok()?.flatten();
        let count = queues.filter(|q| q.file_name().to_string_lossy().starts_with("rx-")).count();
        u32::try_from(count).ok()
    }
}

fn any_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What `getifaddrs` gave, freed when dropped.
struct AddressList(*mut libc::ifaddrs);

struct Entry<'a> {
    name: &'a CStr,
    is_up: bool,
    address: Option<IpAddr>,
}

impl AddressList {
    fn get() -> io::Result<Self> {
        let mut first = ptr::null_mut();
        // SAFETY: it writes one pointer.
        let result = unsafe { libc::getifaddrs(&raw mut first) };
        if result == 0 { Ok(Self(first)) } else { Err(io::Error::last_os_error()) }
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut next = self.0;
        std::iter::from_fn(move || {
            // SAFETY: null at the end, else an entry of the list, which lives as long as `self`.
            let entry: &libc::ifaddrs = unsafe { next.as_ref() }?;
            next = entry.ifa_next;
            // SAFETY: getifaddrs(3) names every entry, in a C string that lives as the list.
            let name = unsafe { CStr::from_ptr(entry.ifa_name) };
            let is_up = entry.ifa_flags & libc::IFF_UP.unsigned_abs() != 0;
            Some(Entry { name, is_up, address: ip_address(entry.ifa_addr) })
        })
    }
}

impl Drop for AddressList {
    fn drop(&mut self) {
        // SAFETY: from getifaddrs, and freed once.
        unsafe { libc::freeifaddrs(self.0) }
    }
}

fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    let address = NonNull::new(address.cast_mut())?;
    // SAFETY: getifaddrs gives whole socket addresses, which all begin with the family.
    let family = i32::from(unsafe { address.as_ref() }.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that it is one.
            let address = unsafe { address.cast::<libc::sockaddr_in>().as_ref() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is one.
            let address = unsafe { address.cast::<libc::sockaddr_in6>().as_ref() };
            Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_others_are_refused() {
        let loopback = Interface::find("lo").unwrap();
        assert!(loopback.index > 0 && loopback.rx_queues() >= 1);
        assert!(loopback.mtu().unwrap() > 1_000);
        assert_eq!(loopback.link_kind, Some(libc::ARPHRD_LOOPBACK));
        let error = Interface::find("no-such-if").unwrap_err().to_string();
        assert!(error.starts_with("find interface no-such-if: no such device"), "{error}");
    }

    #[test]
    fn link_local_addresses_serve_nobody() {
        let addresses =
            vec!["fe80::1".parse().unwrap(), "fd00::1".parse().unwrap(), [10, 0, 0, 1].into()];
        let interface =
            Interface { name: "x".into(), index: 1, is_up: true, addresses, link_kind: None };
        assert_eq!(interface.service_addresses().count(), 2);
    }
}
