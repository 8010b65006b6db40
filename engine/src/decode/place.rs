//! Where in its datagram a fragment stands, for who joins the payloads of fragments.
//!
//! Read again from a frame that was decoded: so it costs nothing where nobody asks.

use crate::decode::link::Network;
use crate::decode::{Packet, ip};
use crate::flow::protocol::UDP;
use crate::source::Frame;

/// The place of a fragment's payload in its datagram (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentPlace {
    /// What the fragments of a datagram have in common, beside its ends.
    pub identification: u32,
    /// The first byte of the payload, from the beginning of what is fragmented, in bytes.
    pub start: u32,
    /// Whether it is the first one, which has the transport header.
    pub is_first: bool,
    /// Whether no other follows it.
    pub is_last: bool,
}

impl FragmentPlace {
    /// That of `packet`, whose payload begins at `payload` in `frame`; `None` if it is whole.
    #[must_use]
    pub fn find(packet: &Packet, frame: &Frame<'_>, payload: usize) -> Option<Self> {
        let headers = packet.bytes.checked_sub(packet.payload_bytes)?;
        let network = payload.checked_sub(headers as usize)?;
        // Nearly all show at once that they are.
        let is_whole = match *frame.bytes.get(network..)?.first_chunk::<8>()? {
            [0x40..=0x4f, .., flags, offset] => flags & 0x3f | offset == 0,
            [.., next_header, _] => next_header == UDP,
        };
        if is_whole {
            return None;
        }
        let header = ip::parse(frame, &Network::nothing().inside(network)).ok()?;
        let fragment = header.fragment?;
        let bytes = packet.bytes.checked_sub(fragment.header_bytes)?;
        // Of headers only: the length itself may be whatever the wire's is said to be.
        let before_payload = bytes.checked_sub(packet.payload_bytes)?;
        Some(Self {
            identification: fragment.identification,
            start: u32::from(fragment.offset) * 8 + before_payload,
            is_first: fragment.offset == 0,
            is_last: fragment.is_last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoder, TunnelPorts, Tunnels};
    use crate::flow::KeyHasher;
    use crate::source::LinkType;

    /// Behind an Ethernet header: identification, start, whether it is the first, and the last.
    fn check(ethernet: &[u8], packet: &[u8], want: Option<(u32, u32, bool, bool)>) {
        let bytes = [&[2; 12], ethernet, packet, b"padding"].concat();
        let wire_len = u32::try_from(bytes.len()).unwrap();
        let link = LinkType::ETHERNET;
        let frame = Frame { bytes: &bytes, wire_len, timestamp: Some(0), link };
        let mut packet = Packet::NONE;
        let inner = Tunnels::Inner(TunnelPorts::default());
        let mut decoder = Decoder::new(KeyHasher::default()).with_tunnels(inner);
        let payload = decoder.decode_to(&frame, &mut packet).unwrap();
        let place = FragmentPlace::find(&packet, &frame, payload);
        let got = place.map(|it| (it.identification, it.start, it.is_first, it.is_last));
        assert_eq!(got, want, "{bytes:?}");
    }

    /// An IPv4 header and 16 bytes behind it, the first eight of which may be of UDP.
    fn v4(flags: u8, offset: u8) -> Vec<u8> {
        let header = [0x45, 0, 0, 36, 1, 7, flags, offset, 64, UDP, 0, 0];
        let ends = [10, 0, 0, 1, 10, 0, 0, 2];
        [&header[..], &ends, &[0x9c, 0x40, 0, 53, 0, 80, 0, 0], &[9; 8]].concat()
    }

    /// The same of IPv6, with `before` between the fragment header and that.
    fn v6(next: u8, offset: u8, before: &[u8]) -> Vec<u8> {
        let length = u8::try_from(8 + before.len() + 16).unwrap();
        let header = [0x60, 0, 0, 0, 0, length, 44, 64];
        let fragment = [next, 0, 0, offset, 0, 1, 0, 7];
        let rest = [0x9c, 0x40, 0, 53, 0, 80, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9];
        [&header[..], &[0xfd; 16], &[0xfe; 16], &fragment, before, &rest].concat()
    }

    #[test]
    fn a_length_that_is_said_to_be_the_longest_overflows_nothing() {
        let mut packet = v4(0x1f, 0xff);
        packet[2..4].fill(0);
        let bytes = [&[2; 12], &[8, 0][..], &packet].concat();
        let (wire_len, link) = (u32::MAX, LinkType::ETHERNET);
        let frame = Frame { bytes: &bytes, wire_len, timestamp: Some(0), link };
        let mut packet = Packet::NONE;
        let payload = Decoder::new(KeyHasher::default()).decode_to(&frame, &mut packet).unwrap();
        let place = FragmentPlace::find(&packet, &frame, payload).unwrap();
        assert_eq!((place.start, place.is_last), (0xfff8, true));
    }

    #[test]
    fn fragments_say_where_they_stand() {
        let (is_v4, is_v6) = ([8, 0], [0x86, 0xdd]);
        check(&is_v4, &v4(0x40, 0), None);
        check(&is_v4, &v4(0x20, 0), Some((0x107, 8, true, false)));
        check(&is_v4, &v4(0x20, 3), Some((0x107, 24, false, false)));
        check(&is_v4, &v4(0, 5), Some((0x107, 40, false, true)));
        check(&[0x81, 0, 0, 9, 8, 0], &v4(0, 5), Some((0x107, 40, false, true)));
        let outer = [0x45, 0, 0, 56, 0, 0, 0, 0, 64, 4, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2];
        check(&is_v4, &[&outer[..], &v4(0, 5)].concat(), Some((0x107, 40, false, true)));
        check(&is_v6, &v6(UDP, 1, &[]), Some((0x1_0007, 8, true, false)));
        check(&is_v6, &v6(UDP, 5 << 3, &[]), Some((0x1_0007, 40, false, true)));
        check(&is_v6, &v6(UDP, 0, &[]), None);
        let options = [UDP, 0, 1, 4, 0, 0, 0, 0];
        check(&is_v6, &v6(60, 1, &options), Some((0x1_0007, 16, true, false)));
    }
}
