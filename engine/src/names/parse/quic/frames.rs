//! Frames of Initial packets (RFC 9000 section 19), of which CRYPTO frames matter.
//!
//! Google's versions number their frames differently, and CRYPTO frames are as in the standard but
//! for that (`QuicFrameType` in
//! <https://github.com/google/quiche/blob/main/quiche/quic/core/quic_types.h>).

use super::header::{GOOGLE_T050, GOOGLE_T051, variable};

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_WITH_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;

/// Frames of Google's versions. Their acknowledgements are not read.
mod google {
    pub(super) const PING: u64 = 0x07;
    pub(super) const CRYPTO: u64 = 0x08;
}

/// The CRYPTO frames of a packet's content, as offsets and bytes, until there is a frame that
/// nothing may follow, or none of those that an Initial packet may have.
pub(super) fn crypto(version: u32, content: &[u8]) -> impl Iterator<Item = (i64, &[u8])> {
    let is_google = matches!(version, GOOGLE_T050 | GOOGLE_T051);
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            match variable(content, &mut at)? {
                PADDING => {}
                google::PING if is_google => {}
                google::CRYPTO if is_google => return one(content, &mut at),
                _ if is_google => return None,
                PING => {}
                kind @ (ACK | ACK_WITH_ECN) => skip_ack(content, &mut at, kind == ACK_WITH_ECN)?,
                CRYPTO => return one(content, &mut at),
                _ => return None,
            }
        }
    })
}

fn one<'a>(content: &'a [u8], at: &mut usize) -> Option<(i64, &'a [u8])> {
    let offset = i64::try_from(variable(content, at)?).ok()?;
    let length = usize::try_from(variable(content, at)?).ok()?;
    let bytes = content.get(*at..)?.get(..length)?;
    *at += length;
    Some((offset, bytes))
}

/// Each of these numbers takes a byte at least, so that there are no more than bytes.
fn skip_ack(content: &[u8], at: &mut usize, with_ecn: bool) -> Option<()> {
    variable(content, at)?;
    variable(content, at)?;
    let ranges = variable(content, at)?;
    variable(content, at)?;
    for _ in 0..ranges {
        variable(content, at)?;
        variable(content, at)?;
    }
    for _ in 0..if with_ecn { 3 } else { 0 } {
        variable(content, at)?;
    }
    Some(())
}
