//! The table of devices: its one writer is the `names` thread; whoever labels records, or writes
//! the devices out, reads a published copy.
//!
//! Whose an address is and what a device is called are kept with their times, so that a flow's ends
//! are those of its first packet, however late it is labelled. The number of devices is bounded,
//! and so is what is kept of each; what is not kept any more is known for a while yet of the time
//! before.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::devices::device::{DeviceAddress, cut, is_of_a_host};
use crate::devices::label::{Identity, Span};
use crate::devices::{
    Device, DevicesSetup, HostNameSource, LocalNetworks, Mac, Sighting, Sightings, Vendors,
    is_of_one_device,
};
use crate::limits::{ADDRESS_OWNERS, KEY_VLANS, PAST_OWNERS};
use crate::sync::Arc;
use crate::sync::parts::Parts;
use crate::time::Timestamp;

/// An address, and the VLANs in which it is one: outermost first, 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The VLANs.
    pub vlans: [u16; KEY_VLANS],
    /// The address.
    pub address: IpAddr,
}

/// Whose an address was from which moment on, unless it went to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    from: Timestamp,
    /// From when on it is not kept that it is this one's: the latest time there is, if it is.
    until: Timestamp,
    mac: Mac,
    sighting: Sighting,
}

impl Owner {
    const KEPT: Timestamp = Timestamp::MAX;
}

/// One thing that a device said of itself to be recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trait {
    /// See [`Device::dhcp_fingerprint`].
    DhcpFingerprint,
    /// See [`Device::dhcp_vendor`].
    DhcpVendor,
    /// See [`Device::ssdp_server`].
    SsdpServer,
    /// See [`Device::ssh_server`].
    SshServer,
    /// See [`Device::ssh_client`].
    SshClient,
}

/// All devices, as published.
#[derive(Debug, Clone, Default)]
pub struct DevicesView {
    devices: Parts<Mac, Arc<Device>>,
    /// In the order of time.
    owners: Parts<Place, Arc<[Owner]>>,
    networks: Arc<LocalNetworks>,
    /// Whether owners of other addresses of IPv4, and of IPv6, are known.
    has_others: [bool; 2],
    vendors: Arc<Vendors>,
}

impl DevicesView {
    /// One after the other, in the order of their addresses.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Device>> {
        let mut all: Vec<_> = self.devices.iter().map(|(_, device)| Arc::clone(device)).collect();
        all.sort_unstable_by_key(|device| device.mac);
        all
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which addresses are local.
    #[must_use]
    pub fn networks(&self) -> &LocalNetworks {
        &self.networks
    }

    /// Whether an address was a local host's: it is one by itself, or was seen on the link by then.
    pub(super) fn was_local(&self, place: &Place, span: Span) -> bool {
        self.networks.is_local(place.address)
            || self.has_others[usize::from(place.address.is_ipv6())]
                && self.owner(place, span).is_some()
    }

    /// Whose an address was, and how that is known.
    pub(super) fn owner(&self, place: &Place, span: Span) -> Option<(Mac, Sighting)> {
        let owner = span.choose(self.owners.get(place)?, |owner| owner.from)?;
        span.starts_before(owner.until).then_some((owner.mac, owner.sighting))
    }

    /// Who a device was.
    pub(super) fn identity(&self, mac: Mac, span: Span) -> Option<&Arc<Identity>> {
        let known = self.devices.get(&mac).and_then(|device| device.identity(span));
        known.or_else(|| self.vendors.identity_of(mac))
    }
}

/// The table, for its one writer.
#[derive(Debug)]
pub struct Devices {
    view: DevicesView,
    max_devices: usize,
    /// Whose addresses were and are not any more, by since when they were; the oldest first.
    past: VecDeque<(Place, Timestamp)>,
    evicted: u64,
    is_changed: bool,
    is_stale: bool,
}

impl Devices {
    /// With room for so many, and those of earlier runs that were seen last.
    #[must_use]
    pub fn new(setup: &DevicesSetup, max_devices: usize) -> Self {
        let DevicesSetup { networks, vendors, known } = setup;
        let (networks, vendors) = (Arc::clone(networks), Arc::clone(vendors));
        let view = DevicesView { networks, vendors, ..DevicesView::default() };
        let (past, evicted) = Default::default();
        let mut devices =
            Self { view, max_devices, past, evicted, is_changed: true, is_stale: false };
        for device in known.iter() {
            devices.restore(device.clone());
        }
        // An address may have gone to another device, and come back: it is whose it was last.
        let all = devices.view.devices.iter();
        let mut last: Vec<_> = all
            .flat_map(|(mac, device)| device.addresses.iter().map(|one| (*mac, one.clone())))
            .collect();
        last.sort_by_key(|(mac, address)| (address.seen[1], *mac));
        last.iter().for_each(|(mac, address)| devices.own_again(*mac, address, 1));
        devices
    }

    /// As it is.
    #[must_use]
    pub fn view(&self) -> &DevicesView {
        &self.view
    }

    /// Whether anything that labels depend on has changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        self.is_stale &= !self.is_changed;
        std::mem::take(&mut self.is_changed)
    }

    /// Whether anything else has: when devices were seen.
    pub fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.is_stale)
    }

    /// How many were evicted for others since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Whether devices can have this address.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        is_of_a_host(address) && self.view.networks.is_local(address)
    }

    /// Whose an address is, by the latest that is known at `time`.
    #[must_use]
    pub fn owner_at(&self, place: &Place, time: Timestamp) -> Option<Mac> {
        let owners = self.view.owners.get(place)?;
        let before = owners.partition_point(|owner| owner.from <= time);
        let owner = owners[before.checked_sub(1)?];
        (time < owner.until).then_some(owner.mac)
    }

    /// Whether an address is a local host's at `time`: it is one by itself, or is known to be on
    /// the link.
    #[must_use]
    pub fn is_local_at(&self, place: &Place, time: Timestamp) -> bool {
        self.is_local(place.address) || self.owner_at(place, time).is_some()
    }

    /// A device was seen at `time`, with an address that is its own. Nothing, if that is not local:
    /// it is, whatever it is, by what is said on the link itself, and counts as of then. Nothing
    /// else counts of such an address, so that it matters in no case what was read before what.
    pub fn see_address(&mut self, mac: Mac, place: Place, sighting: Sighting, time: Timestamp) {
        let is_local = self.is_local(place.address);
        let is_on_link = sighting.is_on_link() && is_of_a_host(place.address);
        if !is_of_one_device(mac) || !is_local && !is_on_link {
            return;
        }
        self.view.has_others[usize::from(place.address.is_ipv6())] |= !is_local;
        let device = self.device(mac, time);
        match device.see_address(place, sighting, time) {
            // It was seen before all that are kept: whose it is would never be forgotten.
            Some(gone) if gone == place => return,
            Some(gone) => self.disown(mac, gone, time),
            None => {}
        }
        self.own(place, Owner { from: time, until: Owner::KEPT, mac, sighting });
    }

    /// Devices were ends of flows. That moves no label.
    pub fn see_flows(&mut self, sightings: Sightings) {
        for (mac, place, seen) in sightings.all() {
            if !self.is_local(place.address) {
                continue;
            }
            let device = self.device(mac, seen[0]);
            device.see(seen[1]);
            device.see_flow(place, seen);
        }
    }

    /// A device gave itself a name.
    pub fn see_name(&mut self, mac: Mac, name: &str, source: HostNameSource, time: Timestamp) {
        if !is_of_one_device(mac) || name.is_empty() {
            return;
        }
        self.is_changed |= self.device(mac, time).see_name(name, source, time);
    }

    /// A device said something else of itself: the latest counts.
    pub fn see_trait(&mut self, mac: Mac, what: Trait, text: &str, time: Timestamp) {
        if !is_of_one_device(mac) || text.is_empty() {
            return;
        }
        let device = self.device(mac, time);
        let place = match what {
            Trait::DhcpFingerprint => &mut device.dhcp_fingerprint,
            Trait::DhcpVendor => &mut device.dhcp_vendor,
            Trait::SsdpServer => &mut device.ssdp_server,
            Trait::SshServer => &mut device.ssh_server,
            Trait::SshClient => &mut device.ssh_client,
        };
        let text = cut(text);
        if place.as_deref() != Some(text) {
            *place = Some(text.into());
        }
    }

    /// The device with this address, which was seen at `time`: another one is evicted if there
    /// are too many.
    fn device(&mut self, mac: Mac, time: Timestamp) -> &mut Device {
        self.is_stale = true;
        if self.view.devices.get(&mac).is_none() {
            if self.view.devices.len() >= self.max_devices {
                self.evict(time);
            }
            let mut device = Device::new(mac, time);
            device.vendor = self.view.vendors.of(mac);
            self.view.devices.insert(mac, Arc::new(device));
        }
        let device = self.view.devices.get_mut(&mac).expect("it was put in where it was not");
        let device = Arc::make_mut(device);
        device.see(time);
        device
    }

    fn restore(&mut self, mut device: Device) {
        if !is_of_one_device(device.mac) || self.view.devices.get(&device.mac).is_some() {
            return;
        }
        if self.view.devices.len() >= self.max_devices {
            self.evict(device.seen[1]);
        }
        device.vendor = self.view.vendors.of(device.mac).or(device.vendor);
        let device = device.restored();
        device.addresses.iter().for_each(|address| self.own_again(device.mac, address, 0));
        self.view.devices.insert(device.mac, Arc::new(device));
    }

    /// An address is this device's from when it was seen, first (0) or last (1), in an earlier run.
    fn own_again(&mut self, mac: Mac, address: &DeviceAddress, seen: usize) {
        let (from, until, sighting) = (address.seen[seen], Owner::KEPT, address.sighting);
        let is_local = self.is_local(address.place.address);
        // Another run may have had more prefixes.
        if !is_local && !sighting.is_on_link() {
            return;
        }
        self.view.has_others[usize::from(address.place.address.is_ipv6())] |= !is_local;
        self.own(address.place, Owner { from, until, mac, sighting });
    }

    /// An address is this device's from then on.
    fn own(&mut self, place: Place, owner: Owner) {
        let before = self.view.owners.get(&place).map(|owners| &**owners).unwrap_or_default();
        let at = before.partition_point(|other| other.from <= owner.from);
        let is_known = at.checked_sub(1).is_some_and(|latest| {
            before[latest].mac == owner.mac && owner.from < before[latest].until
        });
        if is_known {
            return;
        }
        let mut owners = before.to_vec();
        match owners.get_mut(at) {
            // It was seen earlier than known so far.
            Some(next) if next.mac == owner.mac => *next = owner,
            _ => owners.insert(at, owner),
        }
        // Of these two one is past, unless this is the first.
        let past = if at + 1 < owners.len() { Some(at) } else { at.checked_sub(1) };
        let past = past.map(|idx| owners[idx].from);
        let surplus = owners.len().saturating_sub(ADDRESS_OWNERS);
        owners.drain(..surplus);
        self.view.owners.insert(place, owners.into());
        self.is_changed = true;
        past.into_iter().for_each(|from| self.is_past(place, from));
    }

    /// From `time` on it is not kept that an address is this device's. Flows that began before may
    /// be labelled later.
    fn disown(&mut self, mac: Mac, place: Place, time: Timestamp) {
        let Some(owners) = self.view.owners.get(&place) else { return };
        let mut owners = owners.to_vec();
        for owner in owners.iter_mut().filter(|owner| owner.mac == mac) {
            owner.until = owner.until.min(time);
        }
        let latest = owners.last().filter(|owner| owner.mac == mac).map(|owner| owner.from);
        self.view.owners.insert(place, owners.into());
        self.is_changed = true;
        latest.into_iter().for_each(|from| self.is_past(place, from));
    }

    /// An address is not any more whose it was since then. When there are too many of them, it is
    /// forgotten of the oldest.
    fn is_past(&mut self, place: Place, from: Timestamp) {
        self.past.push_back((place, from));
        if self.past.len() <= PAST_OWNERS {
            return;
        }
        let Some((place, from)) = self.past.pop_front() else { return };
        let Some(owners) = self.view.owners.get(&place) else { return };
        let mut rest = owners.to_vec();
        let latest = rest.len() - 1;
        let is_past = |(idx, owner): (usize, &Owner)| {
            owner.from == from && (idx < latest || owner.until != Owner::KEPT)
        };
        let Some(idx) = rest.iter().enumerate().position(is_past) else { return };
        rest.remove(idx);
        if rest.is_empty() {
            self.view.owners.remove(&place);
        } else {
            self.view.owners.insert(place, rest.into());
        }
        self.is_changed = true;
    }

    /// Evicts those that were not seen for longest: one in sixteen at a time, as it takes a look
    /// at all.
    fn evict(&mut self, time: Timestamp) {
        let mut ages: Vec<_> =
            self.view.devices.iter().map(|(mac, device)| (device.seen[1], *mac)).collect();
        let count = ages.len().div_ceil(16);
        if count < ages.len() {
            ages.select_nth_unstable(count);
        }
        for (_, mac) in ages.drain(..count) {
            let Some(device) = self.view.devices.remove(&mac) else { continue };
            self.evicted += 1;
            device.addresses.iter().for_each(|address| self.disown(mac, address.place, time));
        }
    }
}

#[cfg(test)]
mod tests;
