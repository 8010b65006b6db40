//! The first line of an SSH connection (RFC 4253 section 4.2).

use super::Read;
use super::text::text;

/// How it begins.
pub(crate) const BEGINNING: &[u8; 4] = b"SSH-";
/// The longest that it may be, its end included.
const LINE_BYTES: usize = 255;
/// Bytes in which it is looked for behind other lines.
const LINES_BYTES: usize = 1_024;

/// Whether a stream may begin with it, in constant time.
pub(crate) fn may_begin(stream: &[u8]) -> bool {
    stream.first_chunk::<4>() == Some(BEGINNING)
}

/// Whether it stands behind other lines, which a server may send before it, in the first bytes of
/// `stream`. In constant time.
pub(crate) fn is_behind_lines(stream: &[u8]) -> bool {
    behind_lines(stream).is_some()
}

/// Whether it ends in these bytes.
pub(crate) fn is_whole(stream: &[u8]) -> bool {
    end(stream).is_some()
}

/// The line that begins `stream`, or stands behind others there, without its end.
pub(crate) fn read(stream: &[u8]) -> Read<Box<str>> {
    let stream = behind_lines(stream).filter(|_| !may_begin(stream)).unwrap_or(stream);
    let line = &stream[..stream.len().min(LINE_BYTES)];
    match end(line) {
        Some(end) => Read::Done(text(line[..end].trim_ascii_end())),
        None if line.len() < LINE_BYTES => Read::More,
        None => Read::No,
    }
}

/// From where it stands behind other lines.
fn behind_lines(stream: &[u8]) -> Option<&[u8]> {
    let looked_at = &stream[..stream.len().min(LINES_BYTES)];
    let at = looked_at.windows(5).position(|five| five == b"\nSSH-")?;
    Some(&stream[at + 1..])
}

fn end(stream: &[u8]) -> Option<usize> {
    stream.iter().take(LINE_BYTES).position(|&byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_no_more() {
        let line = b"SSH-2.0-OpenSSH_9.9 Debian-3\r\nmore";
        assert!(may_begin(line) && !may_begin(b"SSH"));
        assert_eq!(read(line), Read::Done("SSH-2.0-OpenSSH_9.9 Debian-3".into()));
        assert_eq!(read(&line[..20]), Read::More);
        assert_eq!(read(&[b'S'; 300]), Read::No);
        let behind = [b"Welcome\r\nto SSH-land\r\n", &line[..]].concat();
        assert!(
            is_behind_lines(&behind) && !is_behind_lines(line) && !is_behind_lines(&behind[..25])
        );
        assert_eq!(read(&behind), Read::Done("SSH-2.0-OpenSSH_9.9 Debian-3".into()));
        assert_eq!(read(&behind[..40]), Read::More);
        assert!(!is_behind_lines(&[&[b'x'; LINES_BYTES], &behind[..]].concat()));
    }
}
