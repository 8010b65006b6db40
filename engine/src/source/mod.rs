//! Where frames come from: capture files, AF_XDP sockets, packet sockets.
//!
//! A source hands over one [`Frame`] at a time, in the order of the wire or the file,
//! borrowed from its own memory. It counts what it saw and what it had to drop; it does
//! not decode and does not know flows.

pub mod afxdp;
pub mod live;
mod longest;
pub mod observe_xdp;
pub mod packet;
pub mod pcap;

use crate::time::Timestamp;

/// One frame as it reached us.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The bytes that were captured, layer 2 included; shorter than `wire_len` if cut.
    pub bytes: &'a [u8],
    /// The frame's length on the wire, in bytes, as the source recorded it.
    pub wire_len: u32,
    /// When it was captured; `None` if the source does not say (pcapng simple packets) or
    /// if the time does not fit a [`Timestamp`].
    pub timestamp: Option<Timestamp>,
    /// What the frame starts with.
    pub link: LinkType,
}

/// A link-layer header type, by its number in the tcpdump.org registry
/// (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC-like framing.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing (RFC 1662), or Cisco HDLC.
    pub const PPP_SERIAL: Self = Self(50);
    /// A PPPoE session's header and what follows.
    pub const PPPOE: Self = Self(51);
    /// Cisco HDLC.
    pub const CISCO_HDLC: Self = Self(104);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback: a 4-byte address family in network order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// Per-packet information, which says another link type that follows.
    pub const PPI: Self = Self(192);
    /// PPP behind a byte that says which way it went.
    pub const PPP_WITH_DIRECTION: Self = Self(204);
    /// An MPLS label stack and what follows.
    pub const MPLS: Self = Self(219);
    /// Solaris's IP observability.
    pub const IPNET: Self = Self(226);
    /// What Linux's firewall logs.
    pub const NFLOG: Self = Self(239);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
    /// Raw IPv4 or IPv6.
    pub const RAW: Self = Self(101);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
}
