//! The messages of TLS 1.2 (RFC 5246) and 1.3 (RFC 8446) that a meter can read: ClientHello and
//! ServerHello as browsers and libraries send them, and the headers of records whose contents
//! are encrypted, so that filler does for them. Called by [`super::session`].

use super::rng::Rng;

/// Contents of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// What is different between clients. Their servers take what they like best.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Offers TLS 1.3, and gets it.
    pub(super) is_13: bool,
    /// Offers what is not there (RFC 8701), and extensions in any order, as browsers do.
    greases: bool,
    /// Sends a share of X25519MLKEM768: the hello is longer than a segment.
    is_post_quantum: bool,
}

/// Named groups, and how long the shares of client and server are.
const X25519: (u16, usize, usize) = (0x001d, 32, 32);
const X25519_MLKEM768: (u16, usize, usize) = (0x11ec, 1_216, 1_120);

impl Style {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let is_13 = rng.percent(80);
        let greases = is_13 && rng.percent(70);
        Self { is_13, greases, is_post_quantum: greases && rng.percent(60) }
    }

    fn group(self) -> (u16, usize, usize) {
        if self.is_post_quantum { X25519_MLKEM768 } else { X25519 }
    }
}

/// A ClientHello in its record, for the server of that name.
pub(super) fn client_hello(
    style: Style,
    name: &str,
    session_id: [u8; 32],
    rng: &mut Rng,
) -> Vec<u8> {
    // One of the values that RFC 8701 sets aside; the one after it is another.
    let grease = 0x0a0a + 0x1010 * rng.length(0, 14);
    let mut extensions = client_extensions(style, name, grease, rng);
    if style.greases {
        let first = usize::from(rng.length(0, 0x7fff)) % extensions.len();
        extensions.rotate_left(first);
        extensions.insert(0, (grease, vec![]));
        extensions.push((grease + 0x1010, vec![0]));
    }
    let mut ciphers: Vec<u16> = vec![0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
    if style.is_13 {
        ciphers.splice(0..0, [0x1301, 0x1302, 0x1303]);
    }
    if style.greases {
        ciphers.insert(0, grease);
    }
    handshake_record(0x0301, 1, |out| {
        out.extend([3, 3]);
        out.extend(bytes(32, rng));
        sized::<1>(out, |out| out.extend(session_id));
        sized::<2>(out, |out| numbers(out, &ciphers));
        out.extend([1, 0]);
        write_extensions(out, &extensions);
    })
}

/// Type and contents.
type Extension = (u16, Vec<u8>);

fn client_extensions(style: Style, name: &str, grease: u16, rng: &mut Rng) -> Vec<Extension> {
    let list = |numbers_in: &[u16]| {
        let mut out = vec![];
        sized::<2>(&mut out, |out| numbers(out, numbers_in));
        out
    };
    let greased = |mut all: Vec<u16>| {
        if style.greases {
            all.insert(0, grease);
        }
        all
    };
    let mut groups = vec![X25519.0, 0x0017, 0x0018];
    if style.is_post_quantum {
        groups.insert(0, X25519_MLKEM768.0);
    }
    let protocols: &[&[u8]] = if style.is_13 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    let mut all = vec![
        (0, server_name(name)),
        (23, vec![]),
        (0xff01, vec![0]),
        (10, list(&greased(groups))),
        (11, vec![1, 0]),
        // TLS 1.2 takes a session up again, and shows the ticket that it got for that.
        (35, if style.is_13 { vec![] } else { bytes(192, rng) }),
        (16, protocol_list(protocols)),
        (5, vec![1, 0, 0, 0, 0]),
        (13, list(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601])),
    ];
    if style.is_13 {
        all.push((18, vec![]));
        all.push((51, client_shares(style, grease, rng)));
        all.push((45, vec![1, 1]));
        let mut versions = vec![];
        sized::<1>(&mut versions, |out| numbers(out, &greased(vec![0x0304, 0x0303])));
        all.push((43, versions));
    }
    all
}

fn server_name(name: &str) -> Vec<u8> {
    let mut out = vec![];
    sized::<2>(&mut out, |out| {
        out.push(0);
        sized::<2>(out, |out| out.extend(name.as_bytes()));
    });
    out
}

fn protocol_list(names: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![];
    sized::<2>(&mut out, |out| {
        for name in names {
            sized::<1>(out, |out| out.extend(*name));
        }
    });
    out
}

fn client_shares(style: Style, grease: u16, rng: &mut Rng) -> Vec<u8> {
    let mut out = vec![];
    sized::<2>(&mut out, |out| {
        if style.greases {
            numbers(out, &[grease, 1]);
            out.push(0);
        }
        if style.is_post_quantum {
            write_share(out, X25519_MLKEM768.0, X25519_MLKEM768.1, rng);
        }
        write_share(out, X25519.0, X25519.1, rng);
    });
    out
}

fn write_share(out: &mut Vec<u8>, group: u16, len: usize, rng: &mut Rng) {
    numbers(out, &[group]);
    sized::<2>(out, |out| out.extend(bytes(len, rng)));
}

/// A ServerHello in its record, and the ChangeCipherSpec behind it.
pub(super) fn server_hello(style: Style, session_id: [u8; 32], rng: &mut Rng) -> Vec<u8> {
    let extensions = if style.is_13 {
        let mut share = vec![];
        let (group, _, len) = style.group();
        write_share(&mut share, group, len, rng);
        vec![(51, share), (43, vec![3, 4])]
    } else {
        vec![(0xff01, vec![0]), (23, vec![]), (16, protocol_list(&[b"http/1.1"]))]
    };
    let mut out = handshake_record(0x0303, 2, |out| {
        out.extend([3, 3]);
        out.extend(bytes(32, rng));
        sized::<1>(out, |out| out.extend(session_id));
        numbers(out, &[if style.is_13 { 0x1301 } else { 0xc02f }]);
        out.push(0);
        write_extensions(out, &extensions);
    });
    out.extend(change_cipher_spec());
    out
}

/// The record between what can be read and what cannot.
pub(super) fn change_cipher_spec() -> [u8; 6] {
    [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]
}

/// The header of an encrypted record with `len` bytes behind it. With TLS 1.2 a handshake
/// message says so; with TLS 1.3 everything looks like data.
pub(super) fn encrypted(style: Style, is_handshake: bool, len: u16) -> [u8; 5] {
    let kind = if is_handshake && !style.is_13 { HANDSHAKE } else { APPLICATION_DATA };
    let [high, low] = len.to_be_bytes();
    [kind, 3, 3, high, low]
}

fn handshake_record(version: u16, kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![HANDSHAKE];
    numbers(&mut out, &[version]);
    sized::<2>(&mut out, |out| {
        out.push(kind);
        sized::<3>(out, body);
    });
    out
}

fn write_extensions(out: &mut Vec<u8>, extensions: &[Extension]) {
    sized::<2>(out, |out| {
        for (kind, contents) in extensions {
            numbers(out, &[*kind]);
            sized::<2>(out, |out| out.extend(contents));
        }
    });
}

/// Writes what `body` writes, with its length in `BYTES` bytes before it.
fn sized<const BYTES: usize>(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; BYTES]);
    body(out);
    let len = (out.len() - at - BYTES).to_be_bytes();
    let (lost, kept) = len.split_at(len.len() - BYTES);
    assert!(lost.iter().all(|&byte| byte == 0), "a message fits its length");
    out[at..at + BYTES].copy_from_slice(kept);
}

fn numbers(out: &mut Vec<u8>, numbers: &[u16]) {
    out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

/// So many bytes that look like keys.
pub(super) fn bytes(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut all: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| rng.bits().to_le_bytes()).collect();
    all.truncate(len);
    all
}
