//! A packet socket with its ring: what it is told, and what it counts.
//!
//! It is opened deaf, by a filter that lets nothing through, and is bound and put into its
//! group like that: else it would get all packets of the interface until it has joined. The
//! filter is replaced by one that cuts packets to the snap length, which starts the capture,
//! and by the first one again to stop it: what comes then was never seen.

use std::io;
use std::os::fd::OwnedFd;

use crate::limits::RETIRE_BLOCK_MS;
use crate::memory::Mapping;
use crate::socket::{self, Name};
use crate::source::LinkType;

/// Head room before each packet: for a VLAN tag (4 bytes), and such that IP headers stay
/// aligned as they are without it.
const RESERVE_BYTES: libc::c_int = 16;

const _: () = assert!(RESERVE_BYTES as u32 >= super::ring::TAG_BYTES);

/// How large a ring is. All numbers are powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) blocks: u32,
    pub(super) block_bytes: u32,
}

/// What a socket has counted since it was last asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statistics {
    /// Packets that came to the socket.
    pub(super) seen: u32,
    /// Those of them for which there was no room in the ring.
    pub(super) dropped: u32,
    /// How often the ring ran full.
    pub(super) freezes: u32,
}

/// An option of level `SOL_PACKET`.
fn packet(name: libc::c_int) -> Name {
    (libc::SOL_PACKET, name)
}

/// A deaf socket of no interface yet, with its ring.
pub(super) fn open(layout: Layout) -> io::Result<(OwnedFd, Mapping)> {
    let fd = socket::open(libc::AF_PACKET)?;
    let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
    socket::set_option(&fd, packet(libc::PACKET_VERSION), &version)?;
    socket::set_option(&fd, packet(libc::PACKET_RESERVE), &RESERVE_BYTES)?;
    let request = libc::tpacket_req3 {
        tp_block_size: layout.block_bytes,
        tp_block_nr: layout.blocks,
        // Of no effect in this version, where packets take the room they need; but checked.
        tp_frame_size: layout.block_bytes,
        tp_frame_nr: layout.blocks,
        tp_retire_blk_tov: RETIRE_BLOCK_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    socket::set_option(&fd, packet(libc::PACKET_RX_RING), &request)?;
    let bytes = layout.blocks as usize * layout.block_bytes as usize;
    let mapping = Mapping::shared(std::os::fd::AsFd::as_fd(&fd), 0, bytes)?;
    close_ears(&fd)?;
    Ok((fd, mapping))
}

/// Binds the socket to all packets of an interface, in both directions. What they begin with;
/// `None` if it is nothing that we decode.
pub(super) fn bind(fd: &OwnedFd, interface: u32) -> io::Result<Link> {
    bind_to(fd, interface, ETH_P_ALL)
}

/// The same for received packets of one protocol (EtherType).
pub(super) fn bind_to(fd: &OwnedFd, interface: u32, protocol: u16) -> io::Result<Link> {
    let address = libc::sockaddr_ll {
        // 17: fits.
        sll_family: libc::AF_PACKET.unsigned_abs().try_into().unwrap_or_default(),
        sll_protocol: protocol.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    socket::bind(fd, &address)?;
    socket::link_kind(fd).map(Link)
}

/// `libc::ETH_P_ALL`, as wide as the field that it goes to.
const ETH_P_ALL: u16 = 3;
const _: () = assert!(ETH_P_ALL as libc::c_int == libc::ETH_P_ALL);

/// What kind of link a socket is bound to, by its number in linux/if_arp.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u16);

impl Link {
    /// Whether packets come back on it as they are sent, so that each shows twice.
    pub(super) fn is_loopback(self) -> bool {
        self.0 == libc::ARPHRD_LOOPBACK
    }

    /// What its packets begin with; `None` if that is nothing we decode.
    pub(super) fn link_type(self) -> Option<LinkType> {
        /// In linux/if_arp.h; not in libc.
        const ARPHRD_RAWIP: u16 = 519;
        match self.0 {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::ETHERNET),
            // TUN, WireGuard, IP in IP: their devices have no header of their own.
            libc::ARPHRD_NONE
            | ARPHRD_RAWIP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_PPP => Some(LinkType::RAW),
            _ => None,
        }
    }
}

/// Has the interface take all packets that come by, as long as the socket is open.
pub(super) fn make_promiscuous(fd: &OwnedFd, interface: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        // 1: fits.
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default(),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    socket::set_option(fd, packet(libc::PACKET_ADD_MEMBERSHIP), &request)
}

/// Makes a group of the sockets, each of which gets the packets whose hash falls to it: the
/// same for both directions of a flow (`__skb_get_hash_symmetric`).
pub(super) fn make_group(sockets: &[OwnedFd]) -> io::Result<()> {
    let [first, others @ ..] = sockets else { return Ok(()) };
    let join = |fd, id: u32, kind: u32| {
        socket::set_option(fd, packet(libc::PACKET_FANOUT), &(id | kind << 16))
    };
    // The kernel finds a number that no other program has.
    let fresh = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID;
    join(first, 0, fresh)?;
    let group: libc::c_int = socket::option(first, packet(libc::PACKET_FANOUT))?;
    let id = group.cast_unsigned() & 0xffff;
    others.iter().try_for_each(|fd| join(fd, id, libc::PACKET_FANOUT_HASH))
}

/// Lets packets in, cut to this length; of those that come twice only one.
pub(super) fn open_ears(fd: &OwnedFd, link: Link, snap_bytes: u32) -> io::Result<()> {
    let mut keep = vec![statement(libc::BPF_RET, snap_bytes)];
    if link.is_loopback() {
        let kind = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
        let mut unless_sent = vec![
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, kind),
            jump_over_unless(libc::PACKET_OUTGOING),
            statement(libc::BPF_RET, 0),
        ];
        unless_sent.append(&mut keep);
        keep = unless_sent;
    }
    socket::attach_filter(fd, &mut keep)
}

/// Lets nothing in any more.
pub(super) fn close_ears(fd: &OwnedFd) -> io::Result<()> {
    socket::attach_filter(fd, &mut [statement(libc::BPF_RET, 0)])
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    // 16 bits hold all codes that there are.
    libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt: 0, jf: 0, k }
}

fn jump_over_unless(value: u8) -> libc::sock_filter {
    let jump = statement(libc::BPF_JMP | libc::BPF_JEQ, value.into());
    libc::sock_filter { jf: 1, ..jump }
}

/// What the socket has counted since this was last asked.
pub(super) fn statistics(fd: &OwnedFd) -> io::Result<Statistics> {
    let counted: libc::tpacket_stats_v3 = socket::option(fd, packet(libc::PACKET_STATISTICS))?;
    let libc::tpacket_stats_v3 { tp_packets, tp_drops, tp_freeze_q_cnt } = counted;
    Ok(Statistics { seen: tp_packets, dropped: tp_drops, freezes: tp_freeze_q_cnt })
}

/// The error that the socket has come to, which is none of our doing: its interface is down.
pub(super) fn take_error(fd: &OwnedFd) -> io::Result<Option<io::Error>> {
    let code: libc::c_int = socket::option(fd, (libc::SOL_SOCKET, libc::SO_ERROR))?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}
