//! Google's QUIC before there was a standard ("Q025" and its kin): its client hello is not TLS, and
//! says the server's name under a tag of its own, in the clear.

use super::text::text;

/// How far into a packet a client hello may begin.
const HELLO_WITHIN: usize = 160;
/// Entries of a hello that are looked at.
const ENTRIES: usize = 64;

/// Whether a datagram may be the first of a connection: it names a version "Q" and three digits,
/// behind an identifier of eight bytes, or in a long header (from Q044 on). In constant time.
pub(crate) fn may_begin(datagram: &[u8]) -> bool {
    let at = match datagram.first() {
        Some(first) if first & 0x80 != 0 => 1,
        // Public flags: a version, and an identifier of eight bytes.
        Some(first) if first & 0x09 == 0x09 => 9,
        _ => return false,
    };
    let version = datagram.get(at..).and_then(<[u8]>::first_chunk::<4>);
    version.is_some_and(|[q, digits @ ..]| *q == b'Q' && digits.iter().all(u8::is_ascii_digit))
}

/// Whether that may be so, by the flags and the first byte of the version: without a branch, as what
/// is in datagrams cannot be foretold.
#[inline]
pub(crate) fn seems_to_begin(datagram: &[u8]) -> bool {
    let Some([first, next]) = datagram.first_chunk() else { return false };
    let far = datagram.get(9).copied().unwrap_or_default();
    (first & 0x80 != 0) & (*next == b'Q') | (first & 0x09 == 0x09) & (far == b'Q')
}

/// The name in the first packet of a client.
pub(super) fn server_name(datagram: &[u8]) -> Option<Box<str>> {
    if !may_begin(datagram) {
        return None;
    }
    let head = &datagram[..datagram.len().min(HELLO_WITHIN)];
    let hello = &datagram[head.windows(4).position(|four| four == b"CHLO")?..];
    // The tag, how many entries, two bytes of nothing; then tags with the ends of their values.
    let count = usize::from(u16::from_le_bytes(*hello.get(4..)?.first_chunk()?));
    let table = hello.get(8..8 + count * 8)?.as_chunks::<8>().0;
    let values = &hello[8 + count * 8..];
    let mut start = 0;
    for &[a, b, c, d, end @ ..] in table.iter().take(ENTRIES) {
        let end = usize::try_from(u32::from_le_bytes(end)).ok()?;
        if [a, b, c, d] == *b"SNI\0" {
            return values.get(start..end).filter(|name| !name.is_empty()).map(text);
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_found() {
        let mut packet = b"\x0d\x01\x02\x03\x04\x05\x06\x07\x08Q025\x01".to_vec();
        packet.extend([0xaa; 14]);
        packet.extend(b"CHLO\x02\x00\x00\x00PAD\x00\x03\x00\x00\x00SNI\x00\x0e\x00\x00\x00");
        packet.extend(b"---example.org");
        assert_eq!(server_name(&packet).as_deref(), Some("example.org"));
        for cut in 0..packet.len() {
            assert_eq!(server_name(&packet[..cut]), None);
        }
        packet[9] = b'X';
        assert_eq!(server_name(&packet), None);
    }
}
