//! One interface while it is captured from: whether it is there and up, and what its driver
//! counts.
//!
//! It is asked for by its index, which stays when the name changes, and never by name but to
//! find out whether it has come back. Each question is one small netlink message that needs no
//! privilege; `main` asks, and no `rx` thread.

use std::cell::{Cell, RefCell};
use std::io;

use crate::host::facts::Xdp;
use crate::host::netlink::Kernel;

/// An interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Its number in this network namespace.
    pub index: u32,
    /// Its name now.
    pub name: String,
    /// Whether packets can come: it is up, and something is at the other end of the line.
    pub is_up: bool,
    /// How often it has gone down since it exists, also between two looks
    /// (`IFLA_CARRIER_DOWN_COUNT`).
    pub downs: u32,
    /// The longest packet above the link, in bytes; 0 if it is not said.
    pub mtu: u32,
    /// How many have asked for every packet on the line; `None` of a virtual one.
    pub promiscuity: Option<u32>,
    /// What its driver has counted since it exists.
    pub nic: Option<NicCounts>,
}

/// What an interface's driver counts of packets that come to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicCounts {
    /// Those received.
    pub received: u64,
    /// Those that the device had no room for: they are not among the others
    /// (`rx_missed_errors` of linux/if_link.h).
    pub missed: u64,
}

impl NicCounts {
    fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            missed: self.missed.saturating_sub(before.missed),
        }
    }
}

impl std::ops::Add for NicCounts {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { received: self.received + more.received, missed: self.missed + more.missed }
    }
}

/// Asks for interfaces of the network namespace that it is first used in.
pub struct Links(Kernel);

impl Default for Links {
    fn default() -> Self {
        Self(Kernel::new())
    }
}

impl Links {
    /// The interface with this index; `None` if it is gone.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn look(&mut self, index: u32) -> io::Result<Option<LinkState>> {
        self.0.state_of(index)
    }

    /// The index of the interface that has this name now.
    pub fn find(&mut self, name: &str) -> Option<u32> {
        self.0.index_of(name)
    }

    /// Whether it is one end of a virtual cable.
    pub fn is_veth(&mut self, index: u32) -> bool {
        self.0.kind_of(index).as_deref() == Some("veth")
    }

    /// How many receive queues are in use, if the driver says.
    pub fn rx_queues(&mut self, index: u32) -> Option<u32> {
        self.0.rx_queues(index)
    }

    /// How many could be, likewise.
    pub fn max_rx_queues(&mut self, index: u32) -> Option<u32> {
        self.0.max_rx_queues(index)
    }

    /// What the driver can do with XDP, if the kernel says (Linux 6.3).
    pub fn xdp(&mut self, index: u32) -> Option<Xdp> {
        self.0.xdp(index)
    }
}

/// Packets that an interface says it has received or missed while it was captured from: until it
/// is stopped, and together with those of interfaces of its name that were there before it.
///
/// Drivers count in their own time: under traffic it differs from what was captured by what is
/// on its way. Of an interface that has gone it is what was last asked for.
pub struct NicCount {
    links: RefCell<Links>,
    index: u32,
    /// What the driver had counted at the start.
    before: Option<NicCounts>,
    /// What it has counted since then, when it last said.
    since: Cell<Option<NicCounts>>,
    /// Of interfaces before this one.
    past: NicCounts,
    is_stopped: bool,
}

impl NicCount {
    /// Counts from now on.
    pub fn start(index: u32) -> Self {
        let mut links = Links::default();
        let before = counted(&mut links, index);
        Self {
            links: RefCell::new(links),
            index,
            before,
            since: Cell::new(before.map(|_| NicCounts::default())),
            past: NicCounts::default(),
            is_stopped: false,
        }
    }

    /// What is missed until now is nobody's: nothing was to be captured yet.
    pub fn forgive_missed(&mut self) {
        if let Some(now) = counted(self.links.get_mut(), self.index)
            && let Some(before) = &mut self.before
        {
            before.missed = now.missed;
        }
    }

    /// So many, `None` if the driver does not say.
    pub fn get(&self) -> Option<NicCounts> {
        if !self.is_stopped {
            let now = counted(&mut self.links.borrow_mut(), self.index);
            if let Some((now, before)) = now.zip(self.before) {
                self.since.set(Some(now.since(before)));
            }
        }
        self.since.get().map(|since| self.past + since)
    }

    /// What is received later is nobody's.
    pub fn stop(&mut self) {
        self.get();
        self.is_stopped = true;
    }

    /// Together with one of an interface that is gone, whose name this one's has taken.
    #[must_use]
    pub fn after(self, gone: &Self) -> Self {
        Self { past: gone.past + gone.since.get().unwrap_or_default(), ..self }
    }
}

fn counted(links: &mut Links, index: u32) -> Option<NicCounts> {
    links.look(index).ok().flatten()?.nic
}

impl std::fmt::Debug for NicCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NicCount").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_looked_at_by_index() {
        let mut links = Links::default();
        let index = links.find("lo").unwrap();
        let link = links.look(index).unwrap().unwrap();
        assert_eq!((link.index, link.name.as_str()), (index, "lo"));
        assert!(link.nic.is_some() && link.promiscuity.is_none());
        assert_eq!(links.find("no-such-if"), None);
        assert_eq!(links.look(u32::MAX >> 1).unwrap(), None);
        // An answer after a refusal is the answer to its own question.
        assert_eq!(links.find("lo"), Some(index));
    }

    #[test]
    fn what_is_missed_before_packets_are_wanted_is_forgiven() {
        let mut count = NicCount::start(Links::default().find("lo").unwrap());
        let at_the_start = count.before.unwrap();
        let otherwise = NicCounts { missed: at_the_start.missed + 5, ..at_the_start };
        count.before = Some(otherwise);
        count.forgive_missed();
        assert_eq!(count.before, Some(at_the_start), "only that, and as it is now");
    }

    #[test]
    fn what_is_counted_goes_on_with_another_interface() {
        let index = Links::default().find("lo").unwrap();
        let mut count = NicCount::start(index);
        count.past = NicCounts { received: 7, missed: 3 };
        count.stop();
        let stopped = count.get().unwrap();
        assert!(stopped.received >= 7 && stopped.missed >= 3);
        let mut count = NicCount::start(index).after(&count);
        assert!(count.get().unwrap().received >= stopped.received);
        // It is gone: what was last said stays.
        count.index = u32::MAX >> 1;
        assert!(count.get().unwrap().received >= stopped.received);
        assert_eq!(NicCount::start(u32::MAX >> 1).get(), None);
    }
}
