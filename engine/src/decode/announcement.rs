//! Frames that carry no IP packet, and by which devices tell their neighbours who they are: ARP,
//! LLDP and CDP.
//!
//! None of them is in a flow: they are counted by their [`Cause`]. This finds where in the frame
//! the message stands, for who learns devices from it, and reads none.

use crate::decode::Cause;
use crate::decode::link::{self, Network};
use crate::flow::{Endpoint, FlowKey, PortKind};
use crate::limits::KEY_VLANS;
use crate::source::Frame;

/// By what a device tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// Address Resolution Protocol (RFC 826).
    Arp,
    /// Link Layer Discovery Protocol (IEEE 802.1AB).
    Lldp,
    /// Cisco Discovery Protocol.
    Cdp,
}

/// Such a message.
#[derive(Debug, Clone, Copy)]
pub struct Announcement<'a> {
    /// What it is.
    pub kind: Announced,
    /// Source and destination MAC address of its frame.
    pub macs: [Option<[u8; 6]>; 2],
    /// The VLANs that it came in, as a flow's key has them, outermost first.
    pub vlans: [u16; KEY_VLANS],
    /// The message, as far as it was captured, and what fills the frame behind it.
    pub bytes: &'a [u8],
}

/// IEEE 802.2 with SNAP: Cisco's organisation, and its protocol number.
const CDP_HEADER: [u8; 8] = [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x20, 0x00];

impl<'a> Announcement<'a> {
    /// The message in a frame that could not be decoded for `cause`, if it is one of these.
    #[cold]
    #[must_use]
    pub fn find(frame: &Frame<'a>, cause: Cause) -> Option<Self> {
        let kind = match cause {
            Cause::Arp => Announced::Arp,
            Cause::Lldp => Announced::Lldp,
            Cause::Llc => Announced::Cdp,
            _ => return None,
        };
        let mut network = Network::nothing();
        link::strip(frame, &mut network).err()?;
        let mut bytes = frame.bytes.get(network.offset..)?;
        if kind == Announced::Cdp {
            bytes = bytes.strip_prefix(&CDP_HEADER)?;
        }
        let (macs, vlans) = (network.macs(frame.bytes).get(), network.key_vlans());
        Some(Self { kind, macs, vlans, bytes })
    }

    /// A key that stands for no flow, and for the VLANs that this came in.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        let nowhere = Endpoint { address: [0; 16], port: 0 };
        FlowKey::canonical(nowhere, nowhere, 4, 0, PortKind::None, self.vlans).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoder;
    use crate::flow::KeyHasher;
    use crate::source::LinkType;

    const HEADER: [u8; 12] = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 7];

    /// What is found in a frame that begins with an Ethernet header: kind, VLANs, first byte.
    fn find(tail: &[u8]) -> Option<(Announced, [u16; KEY_VLANS], u8)> {
        let bytes = [&HEADER[..], tail].concat();
        let wire_len = u32::try_from(bytes.len()).unwrap();
        let link = LinkType::ETHERNET;
        let frame = Frame { bytes: &bytes, wire_len, timestamp: Some(0), link };
        let cause = Decoder::new(KeyHasher::default()).decode(&frame).unwrap_err();
        let found = Announcement::find(&frame, cause)?;
        assert_eq!(found.macs, [Some([2, 0, 0, 0, 0, 7]), Some([2, 0, 0, 0, 0, 9])]);
        assert_eq!(found.key().vlan(), found.vlans);
        Some((found.kind, found.vlans, *found.bytes.first()?))
    }

    #[test]
    fn messages_are_found_behind_their_headers() {
        let arp = Some((Announced::Arp, [0, 0], 77));
        assert_eq!(find(&[0x08, 0x06, 77]), arp);
        let tagged = Some((Announced::Arp, [7, 9], 77));
        assert_eq!(find(&[0x81, 0, 0, 7, 0x81, 0, 0, 9, 0x08, 0x06, 77]), tagged);
        assert_eq!(find(&[0x88, 0xcc, 77]), Some((Announced::Lldp, [0, 0], 77)));
        let cdp = [&[0, 9][..], &CDP_HEADER, &[77]].concat();
        assert_eq!(find(&cdp), Some((Announced::Cdp, [0, 0], 77)));
    }

    #[test]
    fn other_frames_announce_nothing() {
        let spanning_tree = [0, 9, 0x42, 0x42, 0x03, 0, 0, 0, 0];
        for tail in [&spanning_tree[..], &[0x88, 0x8e, 1], &[0x08, 0x06]] {
            assert_eq!(find(tail), None, "{tail:02x?}");
        }
    }
}
