//! MPLS (RFC 3032): labels down to the bottom of the stack, and a guess at what they carry, as
//! they do not say it.
//!
//! The first four bits behind the stack decide (RFC 4928): 4 and 6 are IP; 0 is the control word
//! of a pseudowire (RFC 4385), behind which an Ethernet frame is taken to be. Anything else is left
//! as [`Cause::Mpls`], such as an Ethernet pseudowire without that word: unless it begins with a
//! MAC address whose first digit is 0, 4 or 6, which is taken for one of these.

use crate::decode::link::{Layer, Network};
use crate::decode::{Cause, be32};
use crate::limits::MPLS_LABELS;

const CONTROL_WORD_BYTES: usize = 4;

pub(super) fn labels(bytes: &[u8], network: &mut Network) -> Result<Layer, Cause> {
    for _ in 0..MPLS_LABELS {
        let entry = be32(bytes, network.offset).ok_or(Cause::Short)?;
        network.offset += 4;
        network.labels.push(entry >> 12);
        let is_bottom = entry & 0x100 != 0;
        if is_bottom {
            return match bytes.get(network.offset).map(|first| first >> 4) {
                Some(4 | 6) => Ok(Layer::Ip),
                Some(0) => {
                    network.offset += CONTROL_WORD_BYTES;
                    Ok(Layer::Ethernet)
                }
                _ => Err(Cause::Mpls),
            };
        }
    }
    Err(Cause::Mpls)
}
