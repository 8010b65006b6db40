//! An interface that takes all packets that come by, for a tap: whose socket does not see to it.

use std::io;
use std::os::fd::OwnedFd;

use super::socket::make_promiscuous;
use crate::error::Result;
use crate::xdp::interface::Interface;
use crate::xdp::refusal::refused;

/// As long as this is there. The kernel counts who wants it, and sees to the end itself.
#[derive(Debug)]
pub struct Promiscuous {
    _socket: OwnedFd,
}

impl Promiscuous {
    /// Makes the interface called `name` promiscuous.
    ///
    /// # Errors
    /// If there is none, or the kernel refuses.
    pub fn make(name: &str) -> Result<Self> {
        let fail = |cause: io::Error| refused(format!("make {name} promiscuous"), name, &cause);
        let interface = Interface::find(name)?;
        // Of no protocol: it gets no packets.
        let socket = crate::socket::open(libc::AF_PACKET).map_err(fail)?;
        make_promiscuous(&socket, interface.index).map_err(fail)?;
        Ok(Self { _socket: socket })
    }
}
