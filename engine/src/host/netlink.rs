//! What the kernel says of interfaces over netlink: links, drivers' answers to ethtool, XDP
//! features, routes, addresses. Reading needs no privilege.
//!
//! An answer that a driver or an older kernel does not give is `None`: only the list of links
//! must be there.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::IpAddr;

use netlink_bindings::ethtool::IterableBitset;
use netlink_bindings::netdev::{self, XdpAct};
use netlink_bindings::rt_link::{self, Ifinfomsg, IterableLinkAttrs};
use netlink_bindings::rt_route::{self, Rtmsg};
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use netlink_socket2::NetlinkSocket;

use crate::error::{Error, Result};
use crate::host::ethtool;
use crate::host::facts::{Channels, Interface, Lower, Program, Rss, Xdp};
use crate::host::link::{LinkState, NicCounts};
use crate::host::routes::{DefaultRoutes, Object};
use crate::host::taken;
use crate::xdp::refusal::refused;

/// `RTEXT_FILTER_SKIP_STATS` of linux/rtnetlink.h: an answer stays small.
const SKIP_STATS: u32 = 1 << 3;

/// `RXH_XFRM_*` of linux/ethtool.h, by our names.
pub(super) const TRANSFORMS: [(u32, &str); 2] = [(1, "symmetric-xor"), (2, "symmetric-or-xor")];

/// `RTM_GETNEXTHOP`, with a `struct nhmsg`.
const GET_NEXT_HOPS: Dump = Dump { request_type: 106, header: &[0; 8] };

/// `RTM_GETNEIGH` for all addresses that interfaces filter by (`ndo_dflt_fdb_dump` of
/// net/core/rtnetlink.c), with a `struct ndmsg`, which begins with `AF_BRIDGE`.
const GET_TAKEN: Dump = Dump { request_type: 30, header: &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };

/// A request for all that there are of something, which netlink-bindings does not have.
struct Dump {
    request_type: u16,
    header: &'static [u8],
}

impl NetlinkRequest for Dump {
    type ReplyType<'buf> = &'buf [u8];

    fn protocol(&self) -> Protocol {
        Protocol::Raw { protonum: 0, request_type: self.request_type }
    }

    fn flags(&self) -> u16 {
        // `NLM_F_DUMP`.
        0x300
    }

    fn payload(&self) -> &[u8] {
        self.header
    }

    fn decode_reply(buf: &[u8]) -> &[u8] {
        buf
    }
}

/// The socket to ask by.
pub(super) struct Kernel(NetlinkSocket);

/// One interface in the list of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// The address that it was made with, or if it has none the one that it has; as long as its
    /// kind has them.
    pub(super) own_address: Vec<u8>,
    /// The one that it has now.
    pub(super) address: Vec<u8>,
    /// What it is a part of: a bridge, a bond.
    pub(super) master: Option<u32>,
    /// What it stands on, if that is here: a VLAN's interface.
    pub(super) lower: Option<u32>,
    pub(super) is_up: bool,
    pub(super) has_carrier: bool,
    pub(super) mtu: u32,
    /// The kind of a virtual interface: `veth`.
    pub(super) kind: Option<String>,
    /// Bus and name of the device: `pci`, `0000:03:00.0`.
    pub(super) device: Option<(String, String)>,
    pub(super) programs: Vec<Program>,
    /// How many have asked for every packet on the line; `None` of a virtual one, which is given
    /// no other packets than it takes.
    pub(super) promiscuity: Option<u32>,
}

/// The one called `name`.
///
/// # Errors
/// If there is none.
pub(super) fn find<'a>(links: &'a [Link], name: &str) -> Result<&'a Link> {
    links.iter().find(|link| link.name == name).ok_or_else(|| {
        let cause = io::Error::from_raw_os_error(libc::ENODEV);
        refused(format!("find interface {name}"), name, &cause)
    })
}

impl Kernel {
    pub(super) fn new() -> Self {
        Self(NetlinkSocket::new())
    }

    /// All interfaces of this network namespace.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn links(&mut self) -> Result<Vec<Link>> {
        let fail = |cause: io::Error| Error::new("list the interfaces", cause);
        let mut request = rt_link::Request::new().op_getlink_dump(&Ifinfomsg::default());
        request.encode().push_ext_mask(SKIP_STATS);
        let mut replies = self.0.request(&request).map_err(fail)?;
        let mut links = Vec::new();
        while let Some(reply) = replies.recv() {
            let (header, link) = reply.map_err(|error| fail(error.into()))?;
            links.push(read_link(header, &link));
        }
        Ok(links)
    }

    /// The interface with this index as it is now; `None` if there is none.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn state_of(&mut self, index: u32) -> io::Result<Option<LinkState>> {
        let ifi_index = index.try_into().map_err(io::Error::other)?;
        let header = Ifinfomsg { ifi_index, ..Ifinfomsg::default() };
        let request = rt_link::Request::new().op_getlink_do(&header);
        let mut replies = self.0.request(&request)?;
        let reply = replies.recv().map(|reply| reply.map_err(io::Error::from));
        let state = match reply {
            Some(Ok((header, link))) => Ok(Some(read_state(header, &link))),
            Some(Err(error)) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        // The acknowledgement, which else would be taken for the next one's answer.
        while replies.recv().is_some() {}
        state
    }

    /// The index of the interface that has this name now.
    pub(super) fn index_of(&mut self, name: &str) -> Option<u32> {
        let name = CString::new(name).ok()?;
        let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::default());
        request.encode().push_ifname(&name).push_ext_mask(SKIP_STATS);
        self.ask(&request, |(header, _)| Some(header.ifi_index.unsigned_abs()))
    }

    /// The name of the interface that has this one, or has it as an alternative one.
    pub(super) fn name_of(&mut self, name: &str) -> Option<String> {
        let name = CString::new(name).ok()?;
        let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::default());
        // The kernel finds both kinds by it, also those that are longer than a name can be
        // (`rtnl_dev_get` of net/core/rtnetlink.c).
        request.encode().push_alt_ifname(&name).push_ext_mask(SKIP_STATS);
        self.ask(&request, |(header, link)| Some(read_link(header, &link).name))
    }

    /// The kind of a virtual interface, if it is one.
    pub(super) fn kind_of(&mut self, index: u32) -> Option<String> {
        let ifi_index = index.try_into().ok()?;
        let header = Ifinfomsg { ifi_index, ..Ifinfomsg::default() };
        let request = rt_link::Request::new().op_getlink_do(&header);
        self.ask(&request, |(header, link)| read_link(header, &link).kind)
    }

    /// How many receive queues are in use, if the driver says.
    pub(super) fn rx_queues(&mut self, index: u32) -> Option<u32> {
        Some(self.channels(index)?.receiving()).filter(|&queues| queues > 0)
    }

    /// How many could be, likewise.
    pub(super) fn max_rx_queues(&mut self, index: u32) -> Option<u32> {
        Some(self.channels(index)?.receiving_max())
    }

    /// What `link`'s driver says of itself.
    pub(super) fn interface(&mut self, link: &Link) -> Interface {
        Interface {
            name: link.name.clone(),
            driver: link.kind.clone(),
            is_up: link.is_up,
            has_carrier: link.has_carrier,
            speed_mbps: self.speed(link.index),
            mtu: link.mtu,
            xdp: self.xdp(link.index),
            programs: link.programs.clone(),
            promiscuity: link.promiscuity,
            channels: self.channels(link.index),
            rx_ring: self.rx_ring(link.index),
            rss: self.rss(link.index),
            offloads: self.offloads(link.index),
            ..Interface::default()
        }
    }

    /// What is to be known of `link` for the sake of what stands on it.
    pub(super) fn lower(&mut self, link: &Link) -> Lower {
        Lower { name: link.name.clone(), offloads: self.offloads(link.index) }
    }

    /// The interface that packets from `source`, an address of this host, to `destination` leave
    /// by; `None` if the kernel does not say.
    pub(super) fn route(&mut self, source: IpAddr, destination: IpAddr) -> Option<u32> {
        let (family, bits) = match destination {
            IpAddr::V4(_) => (libc::AF_INET, 32),
            IpAddr::V6(_) => (libc::AF_INET6, 128),
        };
        let rtm_family = u8::try_from(family).ok()?;
        let (rtm_dst_len, rtm_src_len) = (bits, bits);
        let header = Rtmsg { rtm_family, rtm_dst_len, rtm_src_len, ..Rtmsg::default() };
        let mut request = rt_route::Request::new().op_getroute_do(&header);
        // Rules may look at where they come from.
        request.encode().push_dst(destination).push_src(source);
        self.ask(&request, |(_, route)| route.get_oif().ok())
    }

    /// Default routes, of all tables.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn default_routes(&mut self) -> Result<DefaultRoutes> {
        let fail = |cause: io::Error| Error::new("list the routes", cause);
        let mut found = DefaultRoutes::default();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let rtm_family = u8::try_from(family).expect("both are small");
            let header = Rtmsg { rtm_family, ..Rtmsg::default() };
            let request = rt_route::Request::new().op_getroute_dump(&header);
            let mut replies = self.0.request(&request).map_err(fail)?;
            while let Some(reply) = replies.recv() {
                let (header, route) = reply.map_err(|error| fail(error.into()))?;
                found.add(&header, &route);
            }
        }
        if found.has_objects() {
            let mut replies = self.0.request(&GET_NEXT_HOPS).map_err(fail)?;
            let mut objects = BTreeMap::new();
            while let Some(reply) = replies.recv() {
                objects.extend(Object::parse(reply.map_err(|error| fail(error.into()))?));
            }
            found.resolve(&objects);
        }
        Ok(found)
    }

    /// Addresses that interfaces take packets for besides their own, with the interface's index;
    /// none if the kernel does not say.
    pub(super) fn taken_addresses(&mut self) -> Vec<(u32, Vec<u8>)> {
        let Ok(mut replies) = self.0.request(&GET_TAKEN) else { return Vec::new() };
        let mut found = Vec::new();
        while let Some(reply) = replies.recv() {
            found.extend(reply.ok().and_then(taken::parse));
        }
        found
    }

    fn speed(&mut self, index: u32) -> Option<u32> {
        let speed = self.ask(&ethtool::link_modes(index), |modes| modes.get_speed().ok())?;
        // SPEED_UNKNOWN.
        (speed != u32::MAX && speed != 0).then_some(speed)
    }

    /// What the driver can do with XDP, if the kernel says.
    pub(super) fn xdp(&mut self, index: u32) -> Option<Xdp> {
        let mut request = netdev::Request::new().op_dev_get_do();
        request.encode().push_ifindex(index);
        self.ask(&request, |device| {
            let bits = device.get_xdp_features().ok()?;
            let can = |act: XdpAct| bits & act as u64 != 0;
            Some(Xdp {
                native: can(XdpAct::Basic),
                redirect: can(XdpAct::Redirect),
                zero_copy: can(XdpAct::XskZerocopy),
                multi_buffer: can(XdpAct::RxSg),
                zero_copy_segments: device.get_xdp_zc_max_segs().ok(),
            })
        })
    }

    fn channels(&mut self, index: u32) -> Option<Channels> {
        self.ask(&ethtool::channels(index), |channels| {
            Some(Channels {
                rx: channels.get_rx_count().unwrap_or(0),
                rx_max: channels.get_rx_max().unwrap_or(0),
                combined: channels.get_combined_count().unwrap_or(0),
                combined_max: channels.get_combined_max().unwrap_or(0),
            })
        })
    }

    fn rx_ring(&mut self, index: u32) -> Option<[u32; 2]> {
        self.ask(&ethtool::rings(index), |rings| {
            Some([rings.get_rx().ok()?, rings.get_rx_max().ok()?])
        })
    }

    fn rss(&mut self, index: u32) -> Option<Rss> {
        self.ask(&ethtool::rss(index), |rss| {
            let table = rss.get_indir().unwrap_or_default();
            let mut queues: Vec<&[u8]> = table.chunks_exact(4).collect();
            queues.sort_unstable();
            queues.dedup();
            let input = rss.get_input_xfrm().ok();
            let transform = TRANSFORMS.iter().find(|(number, _)| Some(*number) == input);
            Some(Rss {
                key: rss.get_hkey().unwrap_or_default().to_vec(),
                queues: u32::try_from(queues.len()).ok()?,
                transform: transform.map(|(_, name)| (*name).to_owned()),
            })
        })
    }

    fn offloads(&mut self, index: u32) -> Vec<String> {
        self.ask(&ethtool::features(index), |features| {
            features.get_active().ok().map(|bits| names(&bits))
        })
        .unwrap_or_default()
    }

    /// Sends a request that changes something, and waits for what comes of it.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn make<R: NetlinkRequest>(&mut self, request: &R) -> io::Result<()> {
        let mut replies = self.0.request(request)?;
        while let Some(reply) = replies.recv() {
            reply.map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// What `read` finds in the first answer.
    fn ask<R: NetlinkRequest, T>(
        &mut self,
        request: &R,
        read: impl FnOnce(R::ReplyType<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut replies = self.0.request(request).ok()?;
        let found = replies.recv()?.ok().and_then(read);
        // The acknowledgement, which else would be taken for the next one's answer.
        while replies.recv().is_some() {}
        found
    }
}

fn names(bits: &IterableBitset<'_>) -> Vec<String> {
    let Ok(bits) = bits.get_bits() else { return Vec::new() };
    bits.get_bit()
        .filter_map(|bit| Some(bit.get_name().ok()?.to_string_lossy().into_owned()))
        .collect()
}

fn read_link(header: Ifinfomsg, link: &IterableLinkAttrs<'_>) -> Link {
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    // Of an interface in another network namespace the number means nothing here.
    let is_lower_here = link.get_link_netnsid().is_err();
    let device = link.get_parent_dev_bus_name().ok().zip(link.get_parent_dev_name().ok());
    let kind = link.get_linkinfo().and_then(|info| info.get_kind());
    // Those that pass on what a card gives them are given no more than they ask for.
    let is_above_a_card =
        |kind: &std::ffi::CStr| [c"bond", c"team", c"vlan", c"macvlan"].contains(&kind);
    let is_virtual = kind.as_ref().is_ok_and(|kind| !is_above_a_card(kind))
        || header.ifi_flags & libc::IFF_LOOPBACK.unsigned_abs() != 0;
    Link {
        index: header.ifi_index.unsigned_abs(),
        name: link.get_ifname().map(text).unwrap_or_default(),
        own_address: link.get_perm_address().or(link.get_address()).unwrap_or_default().to_vec(),
        address: link.get_address().unwrap_or_default().to_vec(),
        master: link.get_master().ok(),
        lower: link.get_link().ok().filter(|_| is_lower_here),
        is_up: header.ifi_flags & libc::IFF_UP.unsigned_abs() != 0,
        has_carrier: link.get_carrier().is_ok_and(|carrier| carrier != 0),
        mtu: link.get_mtu().unwrap_or(0),
        kind: kind.ok().map(text),
        device: device.map(|(bus, name)| (text(bus), text(name))),
        programs: link.get_xdp().map(|xdp| programs(&xdp)).unwrap_or_default(),
        promiscuity: link.get_promiscuity().ok().filter(|_| !is_virtual),
    }
}

fn read_state(header: Ifinfomsg, link: &IterableLinkAttrs<'_>) -> LinkState {
    let Link { index, name, is_up, has_carrier, mtu, promiscuity, .. } = read_link(header, link);
    LinkState {
        index,
        name,
        is_up: is_up && has_carrier,
        downs: link.get_carrier_down_count().unwrap_or(0),
        mtu,
        promiscuity,
        nic: link.get_stats64().ok().map(|counters| NicCounts {
            received: counters.rx_packets,
            missed: counters.rx_missed_errors,
        }),
    }
}

fn programs(xdp: &rt_link::IterableXdpAttrs<'_>) -> Vec<Program> {
    [
        ("native", xdp.get_drv_prog_id()),
        ("generic", xdp.get_skb_prog_id()),
        ("offloaded", xdp.get_hw_prog_id()),
    ]
    .into_iter()
    .filter_map(|(mode, id)| Some(Program { id: id.ok()?, mode: mode.to_owned() }))
    .collect()
}
