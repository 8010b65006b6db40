//! What Linux's firewall logs (`LINKTYPE_NFLOG`): an address family, and attributes, one of which
//! is the packet.

use crate::decode::link::{Layer, MAC_BYTES, Network, mac};
use crate::decode::{Cause, be16};
use crate::limits::NFLOG_ATTRIBUTES;

/// Attributes (`linux/netfilter/nfnetlink_log.h`).
mod attribute {
    /// The EtherType, before other things.
    pub(super) const PACKET_HEADER: u16 = 1;
    /// Length of the sender's address, and the address at its fourth byte.
    pub(super) const HARDWARE_ADDRESS: u16 = 8;
    pub(super) const PAYLOAD: u16 = 9;
    /// The upper bits of the type are marks.
    pub(super) const TYPE: u16 = 0x3fff;
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Finds the packet among the attributes. Each says its length and its type in the byte order of
/// the capturing host: no type is so large that its upper byte is not 0.
pub(super) fn payload(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    let family = *bytes.get(network.offset).ok_or(Cause::Short)?;
    let mut at = network.offset + 4;
    let mut kind = None;
    for _ in 0..NFLOG_ATTRIBUTES {
        let header: [u8; 4] = *bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Cause::Short)?;
        let is_little = header[2] != 0 && header[3] & 0x3f == 0;
        let number = |a, b| if is_little { [b, a] } else { [a, b] };
        let len = usize::from(u16::from_be_bytes(number(header[0], header[1])));
        let attribute = u16::from_be_bytes(number(header[2], header[3])) & attribute::TYPE;
        match attribute {
            attribute::PACKET_HEADER => kind = be16(bytes, at + 4).filter(|&kind| kind != 0),
            attribute::HARDWARE_ADDRESS if be16(bytes, at + 4) == Some(MAC_BYTES) => {
                network.macs[0] = mac(bytes, at + 8);
            }
            attribute::PAYLOAD => {
                network.offset = at + 4;
                return match (kind, family) {
                    (Some(kind), _) => Ok(Layer::EtherType(kind)),
                    (None, AF_INET | AF_INET6) => Ok(Layer::Ip),
                    (None, _) => Err(Cause::AddressFamily),
                };
            }
            _ => {}
        }
        if len < 4 {
            break;
        }
        at += len.next_multiple_of(4);
    }
    Err(Cause::Short)
}
