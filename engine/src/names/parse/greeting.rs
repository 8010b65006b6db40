//! How connections begin that may go on in TLS after some words in the clear: SMTP (RFC 3207), IMAP
//! and POP3 (RFC 2595), FTP (RFC 4217). What is said is of no use here, but what it is said in.

use crate::names::App;

/// Bytes of a line that are looked at.
const LINE_BYTES: usize = 512;
/// Ports of servers that say 220 and nothing that tells them apart.
const SMTP: [u16; 3] = [25, 587, 2_525];
const FTP: u16 = 21;
/// That of servers that may greet without a word more: Redis says so too.
const POP3: u16 = 110;

/// How servers' greetings begin, and what clients say first.
pub(crate) const BEGINNINGS: [&[u8; 4]; 9] =
    [b"220 ", b"220-", b"* OK", b"* PR", b"+OK ", b"+OK\r", b"EHLO", b"HELO", b"AUTH"];

/// Whether a stream may begin with a greeting, in constant time.
pub(crate) fn may_begin(stream: &[u8]) -> bool {
    stream.first_chunk::<4>().is_some_and(|first| BEGINNINGS.contains(&first))
}

/// What a stream speaks that begins with a greeting, which came from the first of `ports`.
pub(crate) fn read(stream: &[u8], ports: [u16; 2]) -> Option<App> {
    let line = stream[..stream.len().min(LINE_BYTES)].split(|&byte| byte == b'\n').next()?;
    let has =
        |word: &[u8]| line.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    match line {
        [b'2', b'2', b'0', ..] if has(b"SMTP") => Some(App::Smtp),
        [b'2', b'2', b'0', ..] if has(b"FTP") => Some(App::Ftp),
        [b'2', b'2', b'0', ..] if SMTP.contains(&ports[0]) => Some(App::Smtp),
        [b'2', b'2', b'0', ..] if ports[0] == FTP => Some(App::Ftp),
        [b'*', b' ', rest @ ..] if rest.starts_with(b"OK ") || rest.starts_with(b"PREAUTH ") => {
            Some(App::Imap)
        }
        [b'+', b'O', b'K', b' ', ..] => Some(App::Pop3),
        [b'+', b'O', b'K', b'\r', ..] if ports[0] == POP3 => Some(App::Pop3),
        [b'E', b'H', b'L', b'O', b' ', ..] | [b'H', b'E', b'L', b'O', b' ', ..] => Some(App::Smtp),
        [b'A', b'U', b'T', b'H', b' ', rest @ ..]
            if rest.starts_with(b"TLS") || rest.starts_with(b"SSL") =>
        {
            Some(App::Ftp)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_tell_what_follows() {
        for (line, port, want) in [
            ("220 mail.example ESMTP Postfix", 9_999, Some(App::Smtp)),
            ("220-mail.example esmtp", 25, Some(App::Smtp)),
            ("220 mail.example", 587, Some(App::Smtp)),
            ("220 (vsFTPd 3.0.5)", 2_121, Some(App::Ftp)),
            ("220 Welcome", 21, Some(App::Ftp)),
            ("220 Welcome", 9_999, None),
            ("* OK [CAPABILITY IMAP4rev1] ready", 143, Some(App::Imap)),
            ("* PREAUTH ready", 143, Some(App::Imap)),
            ("* OKAY", 143, None),
            ("+OK POP3 ready", 110, Some(App::Pop3)),
            ("+OK", 110, Some(App::Pop3)),
            ("+OK ready", 9_999, Some(App::Pop3)),
            ("+OK", 6_379, None),
            ("EHLO me.example", 40_000, Some(App::Smtp)),
            ("HELO me.example", 40_000, Some(App::Smtp)),
            ("AUTH TLS", 40_000, Some(App::Ftp)),
            ("AUTH PLAIN", 40_000, None),
            ("HTTP/1.1 220 OK", 80, None),
            ("", 25, None),
        ] {
            let line = format!("{line}\r\nmore");
            let is_begun = may_begin(line.as_bytes());
            assert_eq!(read(line.as_bytes(), [port, 1]), want, "{line}");
            assert!(is_begun || want.is_none(), "{line}");
        }
        assert!(!may_begin(b"220") && !may_begin(b""), "too little");
        // What is far behind is not looked for.
        let far = [b"220 ".as_slice(), &[b'x'; 600], b"SMTP\r\n"].concat();
        assert_eq!(read(&far, [9_999, 1]), None);
    }
}
