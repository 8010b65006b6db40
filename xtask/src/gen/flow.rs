//! What is going to be sent, before any byte of it exists: a flow is a fixed list of packets with
//! times, directions and contents. Makers of flows ([`super::tcp`], [`super::datagram`]) fill it,
//! [`super::frame`] turns each packet into bytes.

use super::host::Host;

/// IANA protocol numbers.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

/// TCP's flag byte.
pub(crate) mod flags {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
}

/// VLAN tags in front of the IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tags {
    None,
    /// 802.1Q.
    Vlan(u16),
    /// 802.1ad outside, 802.1Q inside.
    Qinq(u16, u16),
}

impl Tags {
    /// VLAN identifiers, outermost first.
    pub(crate) fn ids(self) -> Vec<u16> {
        match self {
            Self::None => vec![],
            Self::Vlan(id) => vec![id],
            Self::Qinq(outer, inner) => vec![outer, inner],
        }
    }

    /// The largest IP packet. On an interface with an MTU of 1,500 Linux sends frames of 1,514
    /// bytes, and of 1,518 if they begin with an 802.1Q tag, so two tags take from the packet.
    pub(crate) fn mtu(self) -> u16 {
        if matches!(self, Self::Qinq(..)) { 1_492 } else { 1_500 }
    }
}

/// How a flow is seen to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    /// TCP, closed by both sides.
    Fin,
    /// TCP, aborted or refused.
    Rst,
    /// TCP, a SYN (and its repetitions) without an answer.
    HalfOpen,
    /// TCP without its beginning and its end.
    Midstream,
    /// No end is seen: TCP that goes on, and everything that has no end.
    Open,
}

/// The two ends of a flow and what is constant between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) ipv6: bool,
    /// IANA protocol number; 0 when `cause` is set.
    pub(crate) protocol: u8,
    /// The client's port, or the identifier of an ICMP echo.
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
    pub(crate) tags: Tags,
}

/// A whole conversation.
pub(crate) struct Flow {
    pub(crate) ends: Ends,
    pub(crate) life: Life,
    /// The server's name, if it is there to read.
    pub(crate) sni: Option<String>,
    /// Why these frames are in no flow, if they are not.
    pub(crate) cause: Option<&'static str>,
    /// In the order of time.
    pub(crate) packets: Vec<Packet>,
}

/// One packet.
pub(crate) struct Packet {
    /// Time since the start of the flow.
    pub(crate) at_ns: u64,
    pub(crate) from_client: bool,
    pub(crate) body: Body,
}

/// What is in a packet.
pub(crate) enum Body {
    Tcp(Segment),
    /// TCP whose payload begins with these bytes; the rest is filler.
    Opening {
        segment: Segment,
        head: Box<[u8]>,
    },
    /// UDP with `len` bytes of filler.
    Udp {
        len: u16,
    },
    /// UDP with these bytes.
    Message(Box<[u8]>),
    Fragment(Fragment),
    /// ICMP or ICMPv6 echo with `len` bytes after its header of 8 bytes.
    Echo {
        request: bool,
        sequence: u16,
        len: u16,
    },
    /// SCTP: verification tag and chunks.
    Sctp {
        tag: u32,
        chunks: Box<[u8]>,
    },
    /// Not IP: destination, EtherType and payload.
    Other {
        to: [u8; 6],
        ether_type: u16,
        payload: Box<[u8]>,
    },
}

/// A TCP segment; its payload is filler.
pub(crate) struct Segment {
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) window: u16,
    pub(crate) len: u16,
    pub(crate) options: Options,
}

/// TCP options.
#[derive(Clone, Copy)]
pub(crate) enum Options {
    None,
    /// MSS, SACK permitted, window scale and, if given, timestamps (RFC 7323): value, echo.
    Syn {
        mss: u16,
        stamps: Option<(u32, u32)>,
    },
    Stamps(u32, u32),
}

/// A part of a UDP datagram.
pub(crate) struct Fragment {
    /// The same in all parts of one datagram; IPv4 uses the low half.
    pub(crate) id: u32,
    /// UDP payload of the whole datagram.
    pub(crate) datagram_len: u16,
    /// Where this part begins in the datagram, UDP header included; a multiple of 8.
    pub(crate) offset: u16,
    pub(crate) len: u16,
}

impl Fragment {
    /// Whether more parts follow.
    pub(crate) fn more(&self) -> bool {
        u32::from(self.offset) + u32::from(self.len) < u32::from(self.datagram_len) + 8
    }
}
