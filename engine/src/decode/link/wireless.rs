//! IEEE 802.11 data frames, and the headers that capturing hosts write before them: radiotap
//! (<https://www.radiotap.org>) and per-packet information (PPI).
//!
//! A frame of several packets (A-MSDU) is not decoded, as one frame gives one packet here; nor
//! is what is encrypted, nor a later fragment of a frame, which has no header. Each is counted
//! by its own [`Cause`]; what carries no data at all (management, control, null) by
//! [`Cause::Wlan`]. A frame whose checksum the capturing host found wrong counts as any other.

use crate::decode::link::{Layer, Network, mac};
use crate::decode::{Cause, le16, le32};
use crate::limits::RADIOTAP_WORDS;
use crate::source::LinkType;

/// What the capturing host says of how the frame lies in the capture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    /// The header is filled up to a multiple of four bytes.
    is_padded: bool,
}

impl Framing {
    pub(super) const NONE: Self = Self { is_padded: false };
}

/// Frame control, section 9.2.4.1: the first byte.
mod control {
    pub(super) const VERSION_AND_TYPE: u8 = 0x0f;
    pub(super) const DATA: u8 = 0x08;
    /// Of data frames: there is none.
    pub(super) const NULL: u8 = 0x40;
    pub(super) const QOS: u8 = 0x80;
}

/// The second byte.
mod flag {
    pub(super) const TO_DS: u8 = 0x01;
    pub(super) const FROM_DS: u8 = 0x02;
    pub(super) const PROTECTED: u8 = 0x40;
    /// In frames with quality of service: a high-throughput control field follows.
    pub(super) const ORDER: u8 = 0x80;
}

/// The first byte of the quality-of-service field: the frame holds several.
const AGGREGATE: u8 = 0x80;

/// A data frame's header; behind it is LLC.
pub(super) fn data(bytes: &[u8], framing: Framing, network: &mut Network) -> Result<Layer, Cause> {
    let header = bytes.get(network.offset..).unwrap_or_default();
    let [first, second] = *header.first_chunk().ok_or(Cause::Short)?;
    if first & control::VERSION_AND_TYPE != control::DATA || first & control::NULL != 0 {
        return Err(Cause::Wlan);
    }
    let is_set = |flag: u8| second & flag != 0;
    if is_set(flag::PROTECTED) {
        return Err(Cause::WlanProtected);
    }
    let fragment = le16(header, 22).ok_or(Cause::Short)? & 0x000f;
    if fragment != 0 {
        return Err(Cause::WlanFragment);
    }
    let (to_ds, from_ds) = (is_set(flag::TO_DS), is_set(flag::FROM_DS));
    let mut len = if to_ds && from_ds { 30 } else { 24 };
    // Section 9.3.2.1: where the sender's and the receiver's own addresses are.
    let (source, destination) = match (to_ds, from_ds) {
        (false, false) => (10, 4),
        (false, true) => (16, 4),
        (true, false) => (10, 16),
        (true, true) => (24, 16),
    };
    if first & control::QOS != 0 {
        if header.get(len).ok_or(Cause::Short)? & AGGREGATE != 0 {
            return Err(Cause::WlanAggregate);
        }
        len += 2 + if is_set(flag::ORDER) { 4 } else { 0 };
    }
    network.macs = [source, destination].map(|place| mac(bytes, network.offset + place));
    network.offset += if framing.is_padded { len.next_multiple_of(4) } else { len };
    Ok(Layer::Llc)
}

/// Takes a radiotap header off: of its fields only the flags matter, which come first but for a
/// time stamp. How long it is it says itself.
pub(super) fn radiotap(bytes: &[u8], network: &mut Network) -> Result<Framing, Cause> {
    const MORE_WORDS: u32 = 1 << 31;
    const TIME: u32 = 1;
    const FLAGS: u32 = 1 << 1;
    const CHECKSUM_AT_END: u8 = 0x10;
    const PADDED: u8 = 0x20;
    let header = bytes.get(network.offset..).unwrap_or_default();
    let len = usize::from(le16(header, 2).ok_or(Cause::Short)?);
    // What it says of fields behind its own end is not believed.
    let header = header.get(..len).ok_or(Cause::Short)?;
    let present = le32(header, 4).ok_or(Cause::Short)?;
    let words = (0..RADIOTAP_WORDS).take_while(|word| {
        *word == 0 || le32(header, word * 4).is_some_and(|word| word & MORE_WORDS != 0)
    });
    // The first word is at 4, and there is one more than say that another follows.
    let mut at = 4 + words.count() * 4;
    if present & TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let flags = if present & FLAGS == 0 { 0 } else { header.get(at).copied().unwrap_or(0) };
    if flags & CHECKSUM_AT_END != 0 {
        network.trailer = 4;
    }
    network.offset += len;
    Ok(Framing { is_padded: flags & PADDED != 0 })
}

/// The link type behind a PPI header, and where it is. Its fields are passed over.
pub(super) fn ppi(bytes: &[u8]) -> Result<(LinkType, usize), Cause> {
    let len = le16(bytes, 2).ok_or(Cause::Short)?;
    let link = le32(bytes, 4).and_then(|link| u16::try_from(link).ok()).ok_or(Cause::Short)?;
    if len < 8 { Err(Cause::Short) } else { Ok((LinkType(link), len.into())) }
}
