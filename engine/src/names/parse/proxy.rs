//! What a load balancer says before all else of whom it passes on: the PROXY protocol of HAProxy,
//! in versions 1 and 2. Only where it ends is of use here.

use super::{Read, be16};

/// How the header begins, by version.
pub(crate) const BEGINNINGS: [&[u8; 4]; 2] = [b"PROX", b"\r\n\r\n"];

/// Bytes of the line of version 1 at most.
const LINE_BYTES: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What stands before the addresses in version 2: version, family and their length, too.
const FIXED_BYTES: usize = 16;

/// Whether a stream may begin with such a header, in constant time.
pub(crate) fn may_begin(stream: &[u8]) -> bool {
    stream.first_chunk::<4>().is_some_and(|first| BEGINNINGS.contains(&first))
}

/// Whether `stream` surely begins with one, whatever becomes of it.
pub(crate) fn is_header(stream: &[u8]) -> bool {
    stream.starts_with(b"PROXY ") || stream.starts_with(SIGNATURE)
}

/// The length of the header that begins `stream`.
pub(crate) fn header_bytes(stream: &[u8]) -> Read<usize> {
    if stream.starts_with(b"PROXY ") {
        let line = &stream[..stream.len().min(LINE_BYTES)];
        return match line.windows(2).position(|bytes| bytes == b"\r\n") {
            Some(end) => Read::Done(end + 2),
            None if line.len() < LINE_BYTES => Read::More,
            None => Read::No,
        };
    }
    let known = &stream[..stream.len().min(SIGNATURE.len())];
    let is_version_2 = stream.get(SIGNATURE.len()).is_none_or(|byte| byte >> 4 == 2);
    if !SIGNATURE.starts_with(known) || !is_version_2 {
        return Read::No;
    }
    let length = be16(stream, FIXED_BYTES - 2).map(|length| FIXED_BYTES + usize::from(length));
    length.filter(|length| *length <= stream.len()).map_or(Read::More, Read::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_where_they_say() {
        let v2 = [&SIGNATURE[..], b"\x21\x11\0\x0c", &[9; 12]].concat();
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 100], b"\r\n"].concat();
        for (stream, want) in [
            (&b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\n\x16\x03"[..], Read::Done(41)),
            (b"PROXY UNKNOWN\r\n", Read::Done(15)),
            (b"PROXY TCP6 2001:db8::1", Read::More),
            (&long, Read::No),
            (b"PROXIMITY", Read::No),
            (&v2, Read::Done(28)),
            (&[&v2[..], b"GET "].concat(), Read::Done(28)),
            (&v2[..27], Read::More),
            (&v2[..5], Read::More),
            (b"\r\n\r\nGET / HTTP/1.1", Read::No),
            (&[&SIGNATURE[..], b"\x31\x11\0\0"].concat(), Read::No),
        ] {
            assert_eq!(header_bytes(stream), want, "{stream:?}");
        }
        assert!(may_begin(b"PROXY ") && may_begin(&v2) && !may_begin(b"PRO"));
    }
}
