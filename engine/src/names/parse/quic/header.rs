//! Long headers (RFC 9000 section 17.2): where packets of a datagram begin and end, and which of
//! them are Initial packets.

use super::keys::is_known;
use super::version;

/// An Initial packet, its header still protected.
#[derive(Debug)]
pub(super) struct Initial<'a> {
    pub(super) version: u32,
    pub(super) destination_id: &'a [u8],
    /// The packet from its first byte to its last.
    pub(super) packet: &'a [u8],
    /// Where the packet number begins.
    pub(super) number_at: usize,
}

/// The longest connection identifier of the versions that are known.
const ID_BYTES: usize = 20;
/// QUIC version 2 numbers its packet types differently (RFC 9369 section 3.2).
pub(super) const VERSION_2: u32 = 0x6b33_43cf;
/// Google's "T050" and "T051": these headers and the handshake of TLS, in Google's own frames.
pub(super) const GOOGLE_T050: u32 = 0x5430_3530;
/// See [`GOOGLE_T050`].
pub(super) const GOOGLE_T051: u32 = 0x5430_3531;

/// Whether a datagram may begin a connection of a version that is known, in constant time.
pub(crate) fn may_begin(datagram: &[u8]) -> bool {
    let Some(version) = version(datagram) else { return false };
    let is_initial =
        |packet: &[u8]| packet.first().is_some_and(|&first| kind(first, version) == Kind::Initial);
    if !is_known(version) {
        return false;
    }
    match kind(datagram[0], version) {
        Kind::Initial => true,
        // Data that the client sends at once stands behind the Initial packet as a rule, but need
        // not (RFC 9000 section 12.2).
        Kind::ZeroRtt => next(datagram).is_some_and(|(_, behind)| is_initial(behind)),
        _ => false,
    }
}

/// Whether that may be so, by the first bytes of the flags and the version: without a branch, as what
/// is in datagrams cannot be foretold.
#[inline]
pub(crate) fn seems_to_begin(datagram: &[u8]) -> bool {
    let Some([first, version]) = datagram.first_chunk() else { return false };
    (first & 0x80 != 0) & matches!(version, 0 | 0x6b | 0xfa | 0xff | b'T')
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Initial,
    /// The client's data before the handshake: with a length.
    ZeroRtt,
    /// With a length too.
    Handshake,
    /// It takes the rest of the datagram.
    Retry,
}

fn kind(first: u8, version: u32) -> Kind {
    let bits = first >> 4 & 3;
    let bits = if version == VERSION_2 { bits.wrapping_sub(1) & 3 } else { bits };
    match bits {
        0 => Kind::Initial,
        1 => Kind::ZeroRtt,
        2 => Kind::Handshake,
        _ => Kind::Retry,
    }
}

/// The next packet of a datagram, if it is an Initial one, and what follows it; `None` if nothing
/// more can be told apart.
pub(super) fn next(datagram: &[u8]) -> Option<(Option<Initial<'_>>, &[u8])> {
    let version = version(datagram).filter(|&version| is_known(version))?;
    let kind = kind(datagram[0], version);
    if kind == Kind::Retry {
        return None;
    }
    let mut at = 5;
    let destination_id = counted(datagram, &mut at)?;
    counted(datagram, &mut at)?;
    if kind == Kind::Initial {
        let token = variable(datagram, &mut at)?;
        at = at.checked_add(usize::try_from(token).ok()?)?;
    }
    let length = variable(datagram, &mut at)?;
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    if end > datagram.len() {
        // Cut by the snap length, and then nobody can tell whether it was changed.
        return None;
    }
    let (packet, behind) = datagram.split_at(end);
    let initial = (kind == Kind::Initial).then_some(Initial {
        version,
        destination_id,
        packet,
        number_at: at,
    });
    Some((initial, behind))
}

/// A connection identifier with its length before it.
fn counted<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let length = usize::from(*bytes.get(*at)?);
    let id = bytes.get(*at + 1..)?.get(..length).filter(|id| id.len() <= ID_BYTES)?;
    *at += 1 + length;
    Some(id)
}

/// A number of one to eight bytes (RFC 9000 section 16), at `at` within `bytes`.
pub(super) fn variable(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let length = 1 << (first >> 6);
    let number = bytes.get(*at..)?.get(..length)?;
    *at += length;
    let rest = number[1..].iter();
    Some(rest.fold(u64::from(first & 0x3f), |value, &byte| value << 8 | u64::from(byte)))
}
