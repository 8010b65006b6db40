//! A packet socket that gets no packets: it makes an interface promiscuous as long as it is
//! open, and tells when that goes down or away. For sources that do not receive by a socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::socket;
use super::{Link, refused};
use crate::error::{Error, Result};
use crate::socket::poll;
use crate::source::LinkType;
use crate::xdp::interface::Interface;

/// What an interface comes to is told to sockets of any protocol. This one is for experiments
/// (IEEE 802, RFC 9542 section 2.1), so that hardly a packet is even looked at.
const ETH_P_EXPERIMENTAL: u16 = 0x88b5;

/// The socket.
#[derive(Debug)]
pub(crate) struct Watch {
    fd: OwnedFd,
    interface: String,
    /// The longest packet above the link, in bytes.
    pub(crate) mtu: u32,
}

impl Watch {
    /// Watches an Ethernet interface, which is promiscuous from then on.
    ///
    /// # Errors
    /// If it is down, or of another kind, or if the kernel refuses a step.
    pub(crate) fn open(interface: &Interface) -> Result<Self> {
        let name = &interface.name;
        let fail = |step: &str, cause: &io::Error| refused(format!("{step} {name}"), name, cause);
        if !interface.is_up {
            return Err(fail("observe", &io::Error::from_raw_os_error(libc::ENETDOWN)));
        }
        let fd = crate::socket::open(libc::AF_PACKET)
            .map_err(|cause| fail("open a packet socket for", &cause))?;
        socket::close_ears(&fd).map_err(|cause| fail("close the socket of", &cause))?;
        let link = socket::bind_to(&fd, interface.index, ETH_P_EXPERIMENTAL)
            .map_err(|cause| fail("bind a packet socket to", &cause))?;
        check_link(name, link)?;
        socket::make_promiscuous(&fd, interface.index)
            .map_err(|cause| fail("make promiscuous", &cause))?;
        let mtu =
            crate::socket::mtu(&fd, name).map_err(|cause| fail("ask for the MTU of", &cause))?;
        Ok(Self { fd, interface: name.clone(), mtu })
    }

    /// Waits until the time is up, or a signal comes. What the interface has come to by then.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(crate) fn wait(
        &self,
        timeout: Duration,
        bell: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Error>> {
        let refused = |cause: &io::Error| {
            refused(format!("wait for {}", self.interface), &self.interface, cause)
        };
        let events = poll(self.fd.as_fd(), bell, timeout).map_err(|cause| refused(&cause))?;
        if events & libc::POLLERR == 0 {
            return Ok(None);
        }
        let error = socket::take_error(&self.fd).map_err(|cause| refused(&cause))?;
        Ok(error.map(|error| refused(&error)))
    }
}

/// The program sees what an Ethernet driver receives; on a loopback interface there is none.
fn check_link(name: &str, link: Link) -> Result<()> {
    if link.link_type() == Some(LinkType::ETHERNET) && !link.is_loopback() {
        return Ok(());
    }
    let cause = if link.is_loopback() {
        "a loopback interface shows what is sent as received".to_owned()
    } else {
        format!("its link type is {}", link.0)
    };
    Err(Error::new(format!("observe {name} by XDP"), cause).advise("use --observe-by packet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ethernet_is_observed_by_xdp() {
        let check = |number| check_link("x0", Link(number)).map_err(|error| error.to_string());
        assert_eq!(check(libc::ARPHRD_ETHER), Ok(()));
        let error = check(libc::ARPHRD_LOOPBACK).unwrap_err();
        assert!(error.ends_with("as received; use --observe-by packet"), "{error}");
        let error = check(libc::ARPHRD_NONE).unwrap_err();
        assert!(error.starts_with("observe x0 by XDP: its link type is 65534"), "{error}");
    }
}
