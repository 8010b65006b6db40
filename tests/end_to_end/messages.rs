//! Messages of name services, and capture files with them.

use std::fs;
use std::path::Path;

use etherparse::PacketBuilder;

pub(crate) fn client(last: u8) -> [u8; 4] {
    [192, 0, 2, last]
}

pub(crate) fn server(last: u8) -> [u8; 4] {
    [198, 51, 100, last]
}

/// A question for an address, or the answer with one, and how many seconds it is good for.
pub(crate) fn dns(id: u16, name: &str, answer: Option<([u8; 4], u32)>) -> Vec<u8> {
    let flags = if answer.is_some() { 0x8180_u16 } else { 0x0100 };
    let mut bytes = [id.to_be_bytes(), flags.to_be_bytes(), [0, 1]].concat();
    bytes.extend([0, u8::from(answer.is_some()), 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    if let Some((address, ttl)) = answer {
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address);
    }
    bytes
}

/// A datagram in a frame.
pub(crate) fn udp(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.0, to.0, 64);
    packet.udp(from.1, to.1).write(&mut frame, payload).expect("a vector takes anything");
    frame
}

/// Frames at milliseconds as a capture file.
pub(crate) fn write_pcap(path: &Path, frames: impl IntoIterator<Item = (u64, Vec<u8>)>) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (ms, frame) in frames {
        let seconds = u32::try_from(1_700_000_000 + ms / 1_000).expect("until 2106");
        let micros = u32::try_from(ms % 1_000 * 1_000).expect("below a second");
        let len = u32::try_from(frame.len()).expect("frames are short");
        for word in [seconds, micros, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("a file can be written");
}
