//! A card of this machine, as [`Nic`]: facts and changes over netlink.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use super::{Nic, Setting};
use crate::error::{Error, Result};
use crate::host::ethtool;
use crate::host::facts::Interface;
use crate::host::netlink::{self, Kernel, Link, TRANSFORMS};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Which interface of which network since which start of the machine: numbers and names come
/// again, all of these together do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) interface: String,
    pub(super) index: u32,
    /// The one that it was made with, if it has one: another may be given to it.
    pub(super) mac: Vec<u8>,
    pub(super) boot: String,
    /// The network namespace's number.
    pub(super) network: u64,
}

impl Identity {
    fn of(link: &Link) -> Result<Self> {
        let fail = |error: io::Error| Error::new(format!("tell {} from others", link.name), error);
        Ok(Self {
            interface: link.name.clone(),
            index: link.index,
            mac: link.own_address.clone(),
            boot: fs::read_to_string(BOOT_ID).map_err(fail)?,
            network: network().map_err(fail)?,
        })
    }

    /// Whether it is the same interface, by this name or another.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let renamed = Self { interface: other.interface.clone(), ..self.clone() };
        renamed == *other
    }

    /// The interface, if it is here.
    pub(super) fn card(&self) -> Result<Option<Card>> {
        Ok(Card::with_index(self.index)?.filter(|card| card.identity.is_same(self)))
    }

    /// Whether it may be in another network namespace now, with its settings. Where another has its
    /// name it is taken to be gone.
    pub(super) fn may_be_away(&self) -> Result<bool> {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        Ok(boot == self.boot
            && !Kernel::new().links()?.iter().any(|link| link.name == self.interface))
    }
}

/// The number of this thread's network namespace.
pub(super) fn network() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// One interface, and the kernel's ear.
pub(super) struct Card {
    kernel: Kernel,
    pub(super) identity: Identity,
}

impl Card {
    /// The interface called `name`.
    pub(super) fn find(name: &str) -> Result<Self> {
        let mut kernel = Kernel::new();
        let identity = Identity::of(netlink::find(&kernel.links()?, name)?)?;
        Ok(Self { kernel, identity })
    }

    /// The interface with this number, if there is one.
    pub(super) fn with_index(index: u32) -> Result<Option<Self>> {
        let mut kernel = Kernel::new();
        let links = kernel.links()?;
        let Some(link) = links.iter().find(|link| link.index == index) else { return Ok(None) };
        Ok(Some(Self { identity: Identity::of(link)?, kernel }))
    }
}

impl Nic for Card {
    fn facts(&mut self) -> Result<Interface> {
        let links = self.kernel.links()?;
        match links.iter().find(|link| link.index == self.identity.index) {
            Some(link) => Ok(self.kernel.interface(link)),
            None => netlink::find(&links, &self.identity.interface).map(|_| Interface::default()),
        }
    }

    fn set(&mut self, setting: &Setting) -> io::Result<()> {
        let index = self.identity.index;
        let kernel = &mut self.kernel;
        match setting {
            Setting::Combined(count) => kernel.make(&ethtool::set_combined(index, *count)),
            Setting::RxChannels(count) => kernel.make(&ethtool::set_rx_channels(index, *count)),
            Setting::RxRing(frames) => kernel.make(&ethtool::set_rx_ring(index, *frames)),
            Setting::RssKey(key) => kernel.make(&ethtool::set_rss_key(index, key)),
            Setting::RssTransform(name) => {
                let found = TRANSFORMS.iter().find(|(_, one)| Some(*one) == name.as_deref());
                let number = found.map_or(0, |(number, _)| *number);
                kernel.make(&ethtool::set_rss_input(index, number))
            }
            Setting::Offload(name, is_on) => {
                let name = CString::new(name.as_str())?;
                kernel.make(&ethtool::set_feature(index, &name, *is_on))
            }
        }
    }
}
