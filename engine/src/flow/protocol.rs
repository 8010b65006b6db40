//! IP protocol numbers that the engine treats in a way of their own (IANA registry,
//! <https://www.iana.org/assignments/protocol-numbers>).

/// Internet Control Message Protocol.
pub const ICMP: u8 = 1;
/// IPv4 in IP (RFC 2003).
pub const IP_IN_IP: u8 = 4;
/// Transmission Control Protocol.
pub const TCP: u8 = 6;
/// User Datagram Protocol.
pub const UDP: u8 = 17;
/// Datagram Congestion Control Protocol.
pub const DCCP: u8 = 33;
/// IPv6 in IP (RFC 4213).
pub const IPV6_IN_IP: u8 = 41;
/// Generic Routing Encapsulation.
pub const GRE: u8 = 47;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// Stream Control Transmission Protocol.
pub const SCTP: u8 = 132;
/// Lightweight User Datagram Protocol.
pub const UDP_LITE: u8 = 136;
