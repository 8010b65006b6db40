//! Keys of Initial packets (RFC 9001 section 5), and what they open. RustCrypto has the
//! cryptography; here is only how QUIC uses it.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::{Aes128Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;

use super::header::{GOOGLE_T050, GOOGLE_T051, Initial, VERSION_2};

/// Bytes of an authentication tag, and of what header protection samples.
const TAG: usize = 16;
const SAMPLE: usize = 16;
/// Where the sample begins, behind the place of the longest packet number.
const LONGEST_NUMBER: usize = 4;

/// The salt of a version: RFC 9001 section 5.2, RFC 9369 section 3.3.1, and what drafts had.
fn salt(version: u32) -> Option<&'static [u8; 20]> {
    match version {
        // And draft-ietf-quic-tls-33 and -34.
        0x0000_0001 | 0xff00_0021..=0xff00_0022 => Some(
            b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
        ),
        VERSION_2 => Some(
            b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
        ),
        // draft-ietf-quic-tls-29 to -32.
        0xff00_001d..=0xff00_0020 => Some(
            b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99",
        ),
        // draft-ietf-quic-tls-23 to -28, and mvfst's own numbers for -27.
        0xff00_0017..=0xff00_001c | 0xface_b002 | 0xface_b00e => Some(
            b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02",
        ),
        // draft-ietf-quic-tls-22, the first with these headers, and mvfst's own number for it.
        0xff00_0016 | 0xface_b001 => Some(
            b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a",
        ),
        GOOGLE_T050 => Some(
            b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10",
        ),
        GOOGLE_T051 => Some(
            b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d",
        ),
        _ => None,
    }
}

/// Whether keys of this version can be derived.
pub(super) fn is_known(version: u32) -> bool {
    salt(version).is_some()
}

/// The keys of both ends.
#[derive(Debug)]
pub(super) struct Keys {
    version: u32,
    /// What they were made of.
    destination_id: Box<[u8]>,
    pub(super) client: Opener,
    pub(super) server: Opener,
}

/// What opens the Initial packets of one end. The ciphers are set up for each packet, as that takes
/// less than what they would hold for each connection.
#[derive(Debug)]
pub(super) struct Opener {
    packet: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl Keys {
    /// The keys that belong to the destination identifier of a client's packet; `None` for
    /// versions that are not known.
    pub(super) fn new(version: u32, destination_id: &[u8]) -> Option<Self> {
        let initial = Hkdf::<Sha256>::new(Some(salt(version)?), destination_id);
        let end = |label: &str| {
            let mut secret = [0; 32];
            expand(&initial, label, &mut secret);
            Opener::new(version, &secret)
        };
        let (client, server) = (end("client in"), end("server in"));
        Some(Self { version, destination_id: destination_id.into(), client, server })
    }

    /// Those of the same connection in another version (RFC 9369 section 4.1).
    pub(super) fn in_version(&self, version: u32) -> Option<Self> {
        Self::new(version, &self.destination_id)
    }

    /// The content of a packet that one of the ends protected, and whether that is the server.
    pub(super) fn open(&self, initial: &Initial<'_>) -> Option<(bool, Vec<u8>)> {
        // The server's packets go by the keys of the same identifier.
        let of_client = self.client.open(initial).map(|plain| (false, plain));
        of_client.or_else(|| self.server.open(initial).map(|plain| (true, plain)))
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }
}

impl Opener {
    fn new(version: u32, secret: &[u8; 32]) -> Self {
        let labels = match version {
            VERSION_2 => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
            _ => ["quic key", "quic iv", "quic hp"],
        };
        let secret = Hkdf::<Sha256>::from_prk(secret).expect("as long as the hash");
        let mut opener = Self { packet: [0; 16], iv: [0; 12], header: [0; 16] };
        expand(&secret, labels[0], &mut opener.packet);
        expand(&secret, labels[1], &mut opener.iv);
        expand(&secret, labels[2], &mut opener.header);
        opener
    }

    /// Packet key, initialization vector and header-protection key, for tests that protect.
    #[cfg(test)]
    pub(super) fn parts(&self) -> ([u8; 16], [u8; 12], [u8; 16]) {
        (self.packet, self.iv, self.header)
    }

    /// The content of a packet that this end protected; `None` if it did not.
    pub(super) fn open(&self, initial: &Initial<'_>) -> Option<Vec<u8>> {
        let Initial { packet, number_at, .. } = *initial;
        let sample_at = number_at + LONGEST_NUMBER;
        let mut mask: [u8; SAMPLE] = *packet.get(sample_at..)?.first_chunk()?;
        let block: &mut aes_gcm::aes::Block = (&mut mask).into();
        Aes128::new(&self.header.into()).encrypt_block(block);

        // RFC 9001 section 5.4.1: four bits of the first byte, and the packet number.
        let first = packet[0] ^ mask[0] & 0x0f;
        let number_bytes = usize::from(first & 3) + 1;
        let content_at = number_at + number_bytes;
        let mut header = packet[..content_at].to_vec();
        header[0] = first;
        let mut number = 0;
        for (byte, mask) in header[number_at..].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            number = number << 8 | u64::from(*byte);
        }

        let (content, tag) = packet[content_at..].split_last_chunk::<TAG>()?;
        let mut content = content.to_vec();
        let nonce = self.nonce(number);
        let buffer = content.as_mut_slice().into();
        let cipher = Aes128Gcm::new(&self.packet.into());
        let opened = cipher.decrypt_inout_detached(&nonce.into(), &header, buffer, &(*tag).into());
        opened.ok().map(|()| content)
    }

    /// First packets have small numbers, of which no upper part is left out.
    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1), without context.
fn expand(secret: &Hkdf<Sha256>, label: &str, out: &mut [u8]) {
    let length = u8::try_from(out.len()).expect("keys are short");
    let label_length = u8::try_from("tls13 ".len() + label.len()).expect("labels are short");
    let info = [&[0, length, label_length], b"tls13 ".as_slice(), label.as_bytes(), &[0]].concat();
    secret.expand(&info, out).expect("no more than 255 hashes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Key, initialization vector and header-protection key of client and server.
    fn check(version: u32, ends: [[&str; 3]; 2]) {
        let id = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let keys = Keys::new(version, &id).unwrap();
        let got = [&keys.client, &keys.server]
            .map(|end| [hex(&end.packet), hex(&end.iv), hex(&end.header)]);
        assert_eq!(got, ends, "version {version:08x}");
    }

    #[test]
    fn keys_of_the_documents() {
        // RFC 9001 appendix A.1.
        check(
            1,
            [
                [
                    "1f369613dd76d5467730efcbe3b1a22d",
                    "fa044b2f42a3fd3b46fb255c",
                    "9f50449e04a0e810283a1e9933adedd2",
                ],
                [
                    "cf3a5331653c364c88f0f379b6067e37",
                    "0ac1493ca1905853b0bba03e",
                    "c206b8d9b9f0f37644430b490eeaa314",
                ],
            ],
        );
        // RFC 9369 appendix A.1.
        check(
            VERSION_2,
            [
                [
                    "8b1a0bc121284290a29e0971b5cd045d",
                    "91f73e2351d8fa91660e909f",
                    "45b95e15235d6f45a6b19cbcb0294ba9",
                ],
                [
                    "82db637861d55e1d011f19ea71d5d2a7",
                    "dd13c276499c0249d3310652",
                    "edf6d05c83121201b436e16877593c3a",
                ],
            ],
        );
        // draft-ietf-quic-tls-29 appendix A.1.
        check(
            0xff00_001d,
            [
                [
                    "175257a31eb09dea9366d8bb79ad80ba",
                    "6b26114b9cba2b63a9e8dd4f",
                    "9ddd12c994c0698b89374a9c077a3077",
                ],
                [
                    "149d0b1662ab871fbe63c49b5e655a5d",
                    "bab2b12a4c76016ace47856d",
                    "c0c499a65a60024a18a250974ea01dfa",
                ],
            ],
        );
    }
}
