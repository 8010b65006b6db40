//! Devices: which hosts there are on the local networks, and which of them a flow's ends are.
//!
//! A device is a MAC address. What it is called, which addresses it had and when comes from what
//! the `names` thread reads ([`table`]): DHCP, multicast DNS, LLMNR, NetBIOS, ARP, neighbour
//! discovery, LLDP, CDP; and from the frames themselves. Who made it is looked up by its MAC
//! address ([`vendors`]).
//!
//! # Whose a MAC address is
//!
//! A frame has the MAC address of who sent it last: of a router, if the packet came through one.
//! So an address belongs to a MAC address only where the frame cannot have come through a router
//! ([`local::is_straight`]), or where a message says both: an ARP request or announcement, a DHCP
//! server's answer, a NetBIOS node's status. An ARP answer says nothing, as routers give it for
//! others. What is in a tunnel belongs to another link than the frame. Only addresses that are
//! local count, each in the VLANs that it was seen in: by themselves ([`local::LocalNetworks`]),
//! or as of when their owner used them on the link itself ([`Sighting::is_on_link`]): in ARP, in
//! neighbour discovery, or in a datagram to all of it ([`local::speaks_to_link`]).
//!
//! Records say by the same rule which devices there are ([`sightings`]), of which nothing that is
//! read may ever have come.
//!
//! This imports nothing of [`crate::names`], which feeds it, and publishes it.

pub mod device;
pub mod label;
pub mod local;
pub mod sightings;
pub mod table;
pub mod vendors;

pub use device::{Device, DeviceAddress, DeviceName, HostNameSource, Sighting};
pub use label::DeviceLabel;
pub use local::LocalNetworks;
pub use sightings::Sightings;
pub use table::{DevicesView, Place};
pub use vendors::Vendors;

use crate::sync::Arc;

/// An address of the link layer.
pub type Mac = [u8; 6];

/// Whether a MAC address can be of one device: no group's, and not the one of loopbacks.
#[must_use]
pub fn is_of_one_device(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

/// Whether a MAC address was not given by its device's maker (the bit for local administration,
/// IEEE 802 section 8.2.2): most likely it is a random one, that changes from network to network;
/// virtual machines have it too.
#[must_use]
pub fn is_random(mac: Mac) -> bool {
    mac[0] & 2 != 0
}

/// What is known before anything is learned.
#[derive(Debug, Clone, Default)]
pub struct DevicesSetup {
    /// Which addresses are local.
    pub networks: Arc<LocalNetworks>,
    /// Who has made what.
    pub vendors: Arc<Vendors>,
    /// Devices of earlier runs.
    pub known: Arc<[Device]>,
}
