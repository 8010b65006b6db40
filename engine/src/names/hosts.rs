//! What payloads say of the hosts that sent them, into the table of devices.
//!
//! What a host's SSH says of it comes in a segment of TCP. Which segments are copied depends in
//! part on which flows forget each other ([`crate::names::pick`]), but one that begins with a
//! banner always is; so what is known of devices stays a function of the packets.
//!
//! A host's word counts for itself: a name for the device whose address the message comes from, an
//! address for the MAC address that the message names beside it; in NetBIOS and of a DHCP client,
//! where the frame is the host's own, only if that is the frame's too. In ARP it need not be:
//! bridges of wireless networks put their own into the frame. Which MAC address a sender has is the
//! rule of [`crate::devices`].

use std::net::IpAddr;

use crate::devices::local::{is_straight, speaks_to_link};
use crate::devices::table::{Devices, Trait};
use crate::devices::{HostNameSource, Mac, Place, Sighting};
use crate::flow::protocol;
use crate::names::interest::port;
use crate::names::{DnsMessage, HostFact, HostHint, NameService, Payload};
use crate::time::Timestamp;

/// Who has sent a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    /// When.
    time: Timestamp,
    /// From which address; none where it is not of a packet, or is in a tunnel.
    place: Option<Place>,
    /// The MAC address, if the frame is the sender's own.
    mac: Option<Mac>,
}

impl Sender {
    /// Of `payload`. A frame without a time says nothing of when, so it says nothing.
    pub(super) fn of(payload: &Payload<'_>) -> Option<Self> {
        let time = payload.timestamp?;
        let (address, to) = (payload.sender(), payload.key.source_ip(payload.direction.opposite()));
        let is_packet = payload.announced.is_none();
        let is_inside = payload.key.tunnel().is_some();
        let is_own = !is_packet || is_straight(address, to, (payload.ttl, payload.ttl));
        let place = Place { vlans: payload.key.vlan(), address };
        Some(Self {
            time,
            place: (is_packet && !is_inside).then_some(place),
            mac: payload.macs[0].filter(|_| is_own && !is_inside),
        })
    }

    /// Notes that it was there. Which segments of TCP are copied depends on which flows forget
    /// each other ([`crate::names::pick`]), so these say nothing: what is known of devices is a
    /// function of the packets.
    pub(super) fn see(&self, payload: &Payload<'_>, devices: &mut Devices) {
        let (Some(place), Some(mac)) = (self.place, self.mac) else { return };
        if payload.key.protocol() == protocol::TCP {
            return;
        }
        let opposite = payload.direction.opposite();
        let to = (
            payload.key.source_ip(opposite),
            payload.key.source_port(opposite).unwrap_or_default(),
        );
        let sighting = if payload.key.protocol() == protocol::ICMPV6 {
            Sighting::Ndp
        } else if !devices.is_local(place.address) && speaks_to_link(place.address, to, payload.ttl)
        {
            Sighting::Multicast
        } else {
            Sighting::Frame
        };
        devices.see_address(mac, place, sighting, self.time);
    }

    /// Takes what a name service's message says of its sender: a name that it has given for the
    /// address that it sends from. NetBIOS says so in a hint of its own.
    pub(super) fn name(&self, message: &DnsMessage, devices: &mut Devices) {
        let source = match message.service {
            NameService::Mdns => HostNameSource::Mdns,
            NameService::Llmnr => HostNameSource::Llmnr,
            NameService::Dns | NameService::Nbns => return,
        };
        let Some(place) = self.place else { return };
        if !message.is_response || !devices.is_local_at(&place, self.time) {
            return;
        }
        let mut stays = message.answers.iter().filter(|answer| !message.takes_back(answer));
        let own = stays.find(|answer| answer.address == place.address);
        if let (Some(answer), Some(mac)) = (own, self.device(devices)) {
            devices.see_name(mac, &answer.name, source, self.time);
        }
    }

    /// Whether a hint is of another device than the one whose frame it came in.
    fn is_relayed(&self, hint: &HostHint) -> bool {
        self.mac.is_some_and(|own| hint.mac.is_some_and(|said| said != own))
    }

    /// Whether it is one of ARP. It counts all the same: bridges of wireless networks put their own
    /// address into the frame, and who forges a message can forge its frame.
    pub(super) fn is_relayed_arp(&self, hint: &HostHint) -> bool {
        hint.fact == HostFact::ArpAddress && self.is_relayed(hint)
    }

    /// Takes a hint about a host. `vlans` are those that it came in.
    pub(super) fn hint(&self, payload: &Payload<'_>, hint: HostHint, devices: &mut Devices) {
        let is_of_another = self.is_relayed(&hint);
        let HostHint { mac: said_mac, address, fact } = hint;
        // What a relay says for DHCP clients comes from another port.
        let is_of_client = payload.key.source_port(payload.direction) == Some(port::DHCP_CLIENT);
        if is_of_another && is_of_client {
            return;
        }
        let is_netbios = matches!(fact, HostFact::NetbiosName(_));
        let said_mac = said_mac.filter(|_| !(is_of_another && is_netbios));
        let Some(mac) = self.device_of_hint(said_mac, address, devices) else { return };
        let (name, source) = match fact {
            HostFact::DhcpAddress => {
                return self.own(payload, mac, address, Sighting::Dhcp, devices);
            }
            HostFact::ArpAddress => return self.own(payload, mac, address, Sighting::Arp, devices),
            HostFact::DhcpVendor(text) => {
                return devices.see_trait(mac, Trait::DhcpVendor, &text, self.time);
            }
            HostFact::DhcpParameters(text) => {
                return devices.see_trait(mac, Trait::DhcpFingerprint, &text, self.time);
            }
            HostFact::SsdpServer(text) => {
                return devices.see_trait(mac, Trait::SsdpServer, &text, self.time);
            }
            HostFact::SshBanner(text) => {
                let place = self.place.filter(|place| devices.is_local_at(place, self.time));
                if place.is_some() {
                    devices.see_trait(mac, ssh_trait(payload), &text, self.time);
                }
                return;
            }
            // It says nothing that names a host.
            HostFact::SsdpUsn(_) => return,
            HostFact::DhcpName(name) => (name, HostNameSource::Dhcp),
            HostFact::DhcpFqdn(name) => (name, HostNameSource::DhcpFqdn),
            HostFact::LldpName(name) => (name, HostNameSource::Lldp),
            HostFact::CdpName(name) => (name, HostNameSource::Cdp),
            HostFact::NetbiosName(name) => {
                if said_mac.is_some() {
                    self.own(payload, mac, address, Sighting::Nbns, devices);
                }
                (name, HostNameSource::Nbns)
            }
        };
        devices.see_name(mac, &name, source, self.time);
    }

    /// An address is a device's by its own word, or by a server's.
    fn own(
        &self,
        payload: &Payload<'_>,
        mac: Mac,
        address: Option<IpAddr>,
        sighting: Sighting,
        devices: &mut Devices,
    ) {
        let Some(address) = address else { return };
        let place = Place { vlans: payload.key.vlan(), address };
        devices.see_address(mac, place, sighting, self.time);
    }

    /// The device that sent it: by its frame, or by whose the address was by then.
    fn device(&self, devices: &Devices) -> Option<Mac> {
        self.mac.or_else(|| devices.owner_at(&self.place?, self.time))
    }

    /// The device that a hint is about: whose MAC address it names, or else its sender. In DHCPv6
    /// that may be another interface's of the same host (RFC 8415 section 11), so there the
    /// frame's comes first.
    fn device_of_hint(
        &self,
        mac: Option<Mac>,
        address: Option<IpAddr>,
        devices: &Devices,
    ) -> Option<Mac> {
        let of_sender = || {
            let is_sender = self.place.is_none_or(|place| address == Some(place.address));
            self.device(devices).filter(|_| is_sender)
        };
        match address {
            Some(IpAddr::V6(_)) => self.mac.or(mac).or_else(of_sender),
            _ => mac.or_else(of_sender),
        }
    }
}

/// Whether a banner is a server's or a client's: clients have ports that are given to them, which
/// are above those of servers.
fn ssh_trait(payload: &Payload<'_>) -> Trait {
    let [from, to] = [payload.direction, payload.direction.opposite()]
        .map(|direction| payload.key.source_port(direction));
    if from <= to { Trait::SshServer } else { Trait::SshClient }
}

#[cfg(test)]
mod tests;
