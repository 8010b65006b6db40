//! What is known of one device. All lists in it are short, and bounded.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::devices::label::{Identity, Span};
use crate::devices::{Mac, Place};
use crate::limits::{DEVICE_ADDRESSES, DEVICE_IDENTITIES, DEVICE_NAMES, NAME_BYTES};
use crate::sync::Arc;
use crate::time::Timestamp;

/// How it is known that an address is a device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sighting {
    /// A DHCP server gave it.
    Dhcp,
    /// It said so by ARP.
    Arp,
    /// It said so by neighbour discovery.
    Ndp,
    /// It said so in its NetBIOS status.
    Nbns,
    /// It spoke with it to all hosts of its link.
    Multicast,
    /// By a frame that cannot have come through a router.
    Frame,
}

impl Sighting {
    const ALL: [Self; 6] =
        [Self::Dhcp, Self::Arp, Self::Ndp, Self::Nbns, Self::Multicast, Self::Frame];

    /// The one that records call so.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether it shows that the address is used on the link itself, so that it is local,
    /// whatever it is.
    #[must_use]
    pub fn is_on_link(self) -> bool {
        matches!(self, Self::Arp | Self::Ndp | Self::Multicast)
    }

    /// As records show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::Arp => "arp",
            Self::Ndp => "ndp",
            Self::Nbns => "nbns",
            Self::Multicast => "multicast",
            Self::Frame => "frame",
        }
    }
}

/// Where a host name is from: what comes first here is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostNameSource {
    /// Option 12 of DHCP.
    Dhcp,
    /// Option 81 of DHCP, or 39 of DHCPv6.
    DhcpFqdn,
    /// Multicast DNS.
    Mdns,
    /// NetBIOS.
    Nbns,
    /// Link-local multicast name resolution.
    Llmnr,
    /// LLDP.
    Lldp,
    /// CDP.
    Cdp,
}

impl HostNameSource {
    const ALL: [Self; 7] =
        [Self::Dhcp, Self::DhcpFqdn, Self::Mdns, Self::Nbns, Self::Llmnr, Self::Lldp, Self::Cdp];

    /// The one that records call so.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// As records show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dhcp => "dhcp",
            Self::DhcpFqdn => "dhcp_fqdn",
            Self::Mdns => "mdns",
            Self::Nbns => "nbns",
            Self::Llmnr => "llmnr",
            Self::Lldp => "lldp",
            Self::Cdp => "cdp",
        }
    }
}

/// A name that a device gave itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName {
    /// The name.
    pub name: Arc<str>,
    /// By what.
    pub source: HostNameSource,
    /// When it did so first, and last.
    pub seen: [Timestamp; 2],
}

/// An address that a device had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    /// The address, and the VLANs in which it was seen.
    pub place: Place,
    /// How it was first known.
    pub sighting: Sighting,
    /// When it was seen first, and last.
    pub seen: [Timestamp; 2],
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its MAC address, which tells it from others.
    pub mac: Mac,
    /// Who has made it.
    pub vendor: Option<Arc<str>>,
    /// When it was seen first, and last.
    pub seen: [Timestamp; 2],
    /// Its latest names.
    pub names: Vec<DeviceName>,
    /// Its latest addresses.
    pub addresses: Vec<DeviceAddress>,
    /// Addresses at which it was an end of flows, in their order. They are kept apart as they come
    /// in no order of time, and must not move what labels depend on.
    flow_addresses: Vec<DeviceAddress>,
    /// What it asks DHCP servers for, in its order: it tells systems apart.
    pub dhcp_fingerprint: Option<Arc<str>>,
    /// What it says to DHCP servers that it is.
    pub dhcp_vendor: Option<Arc<str>>,
    /// What it says that it is by SSDP.
    pub ssdp_server: Option<Arc<str>>,
    /// What its SSH server says that it is: the first line of a connection to it.
    pub ssh_server: Option<Arc<str>>,
    /// What its SSH client says that it is.
    pub ssh_client: Option<Arc<str>>,
    /// Who it was from which moment on; in the order of time.
    identities: Vec<(Timestamp, Arc<Identity>)>,
}

impl Device {
    /// One that was seen at `time`, and of which nothing is known.
    #[must_use]
    pub fn new(mac: Mac, time: Timestamp) -> Self {
        Self {
            mac,
            vendor: None,
            seen: [time; 2],
            names: Vec::new(),
            addresses: Vec::new(),
            flow_addresses: Vec::new(),
            dhcp_fingerprint: None,
            dhcp_vendor: None,
            ssdp_server: None,
            ssh_server: None,
            ssh_client: None,
            identities: Vec::new(),
        }
    }

    /// Its name by now: by the first source that it has any from, the latest.
    #[must_use]
    pub fn hostname(&self) -> Option<&DeviceName> {
        let rank = |name: &&DeviceName| (std::cmp::Reverse(name.source), name.seen[1]);
        self.names.iter().max_by_key(rank)
    }

    /// Who it was.
    pub(super) fn identity(&self, span: Span) -> Option<&Arc<Identity>> {
        span.choose(&self.identities, |(time, _)| *time).map(|(_, identity)| identity)
    }

    /// It was seen at `time`.
    pub(super) fn see(&mut self, time: Timestamp) {
        widen(&mut self.seen, time);
    }

    /// It was an end of a flow, from its first packet to its last.
    pub(super) fn see_flow(&mut self, place: Place, seen: [Timestamp; 2]) {
        let all = &mut self.flow_addresses;
        match all.binary_search_by_key(&place, |known| known.place) {
            Ok(at) => seen.into_iter().for_each(|time| widen(&mut all[at].seen, time)),
            Err(at) => {
                all.insert(at, DeviceAddress { place, sighting: Sighting::Frame, seen });
                surplus_address(all);
            }
        }
    }

    /// Its addresses, however they are known: the same in whatever order flows were seen, and each
    /// until when. Since when, that may be forgotten where there are more than are kept.
    #[must_use]
    pub fn all_addresses(&self) -> Vec<DeviceAddress> {
        let mut all = self.addresses.clone();
        for one in &self.flow_addresses {
            match all.iter_mut().find(|known| known.place == one.place) {
                Some(known) => one.seen.into_iter().for_each(|time| widen(&mut known.seen, time)),
                None => all.push(one.clone()),
            }
        }
        while surplus_address(&mut all).is_some() {}
        all
    }

    /// It was seen with an address. The one that it has not had for longest, if there are too
    /// many: that may be this one.
    pub(super) fn see_address(
        &mut self,
        place: Place,
        sighting: Sighting,
        time: Timestamp,
    ) -> Option<Place> {
        if let Some(known) = self.addresses.iter_mut().find(|known| known.place == place) {
            widen(&mut known.seen, time);
            return None;
        }
        self.addresses.push(DeviceAddress { place, sighting, seen: [time; 2] });
        surplus_address(&mut self.addresses).map(|one| one.place)
    }

    /// It gave itself a name at `time`. Whether it is another one from then on.
    pub(super) fn see_name(&mut self, name: &str, source: HostNameSource, time: Timestamp) -> bool {
        let name = cut(name);
        if name.is_empty() {
            return false;
        }
        let same = |known: &&mut DeviceName| known.source == source && *known.name == *name;
        match self.names.iter_mut().find(same) {
            Some(known) => widen(&mut known.seen, time),
            None => {
                self.names.push(DeviceName { name: name.into(), source, seen: [time; 2] });
                surplus(&mut self.names, DEVICE_NAMES, |one| one.seen[1]);
            }
        }
        let was_earlier = self.identify_earlier(name, source, time);
        self.identify(time) | was_earlier
    }

    /// Notes who it was from `time` on, if more is known of later: an older file may be read after
    /// a newer one. Whether that is another one than was known.
    fn identify_earlier(&mut self, name: &str, source: HostNameSource, time: Timestamp) -> bool {
        let mut at = self.identities.partition_point(|(from, _)| *from <= time);
        if at == self.identities.len() {
            return false;
        }
        let before = at.checked_sub(1).and_then(|at| self.identities[at].1.hostname.as_ref());
        let stays = |(known, by): &(Arc<str>, HostNameSource)| {
            *by < source || (&**known, *by) == (name, source)
        };
        if before.is_some_and(stays) {
            return false;
        }
        let hostname = Some((name.into(), source));
        let (from, next) = &mut self.identities[at];
        if next.hostname == hostname {
            *from = time;
            return true;
        }
        if self.identities.len() >= DEVICE_IDENTITIES {
            // The first one goes.
            if at == 0 {
                return false;
            }
            self.identities.remove(0);
            at -= 1;
        }
        let vendor = self.vendor.clone();
        self.identities.insert(at, (time, Arc::new(Identity { vendor, hostname })));
        true
    }

    /// Notes who it is from `time` on, if it is another one than before.
    fn identify(&mut self, time: Timestamp) -> bool {
        let hostname = self.hostname().map(|best| (Arc::clone(&best.name), best.source));
        let latest = self.identities.last();
        if latest.is_some_and(|(_, identity)| identity.hostname == hostname) {
            return false;
        }
        // Time does not go back here, so that what was said is looked up by it.
        let time = latest.map_or(time, |(before, _)| time.max(*before));
        let vendor = self.vendor.clone();
        self.identities.push((time, Arc::new(Identity { vendor, hostname })));
        if self.identities.len() > DEVICE_IDENTITIES {
            self.identities.remove(0);
        }
        true
    }

    /// As it is known from an earlier run: within bounds, and called what it was called when.
    pub(super) fn restored(mut self) -> Self {
        while surplus_address(&mut self.addresses).is_some() {}
        let mut said = std::mem::take(&mut self.names);
        while surplus(&mut said, DEVICE_NAMES, |one| one.seen[1]).is_some() {}
        let times = |one: &DeviceName| one.seen.map(|time| (time, one.clone()));
        let mut said: Vec<_> = said.iter().flat_map(times).collect();
        said.sort_by_key(|(time, _)| *time);
        for (time, one) in said {
            self.see_name(&one.name, one.source, time);
        }
        self
    }
}

/// Text as it is kept: no longer than a name may be, cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES)]
}

pub(super) fn widen(seen: &mut [Timestamp; 2], time: Timestamp) {
    *seen = [seen[0].min(time), seen[1].max(time)];
}

/// Takes out the address that was seen last before all others, if there are too many; of several
/// the lowest, so that it matters in no case in which order they came.
fn surplus_address(all: &mut Vec<DeviceAddress>) -> Option<DeviceAddress> {
    surplus(all, DEVICE_ADDRESSES, |one| (one.seen[1], one.place))
}

/// Takes out what is oldest, if there are too many.
fn surplus<T, K: Ord>(all: &mut Vec<T>, most: usize, age: impl Fn(&T) -> K) -> Option<T> {
    let oldest = |all: &[T]| (0..all.len()).min_by_key(|&idx| age(&all[idx]));
    (all.len() > most).then(|| all.remove(oldest(all).unwrap_or(0)))
}

/// Whether an address is one that a host can have as its own.
pub(super) fn is_of_a_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !is_broadcast
}
