//! Classic pcap with nanoseconds (magic 0xa1b23c4d), little-endian, Ethernet: written by `gen`,
//! read by `send`. Reads nothing else: captures of other kinds are for the engine.
//! Format: <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html>.

use std::io::{self, Read, Write};

const MAGIC_NS: u32 = 0xa1b2_3c4d;
const MAGIC_US: u32 = 0xa1b2_c3d4;
const LINK_ETHERNET: u32 = 1;
/// The largest frame recorded, and the largest we accept to read.
const SNAP_LEN: u32 = 65_535;
const SECOND_NS: u64 = 1_000_000_000;

/// Writes the file header.
///
/// # Errors
/// If `out` does not take it.
pub(crate) fn write_header(out: &mut impl Write) -> io::Result<()> {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&MAGIC_NS.to_le_bytes());
    header[4..8].copy_from_slice(&[2, 0, 4, 0]);
    header[16..20].copy_from_slice(&SNAP_LEN.to_le_bytes());
    header[20..].copy_from_slice(&LINK_ETHERNET.to_le_bytes());
    out.write_all(&header)
}

/// Writes one frame, at `at_ns` of Unix time.
///
/// # Errors
/// If `out` does not take it.
pub(crate) fn write_frame(out: &mut impl Write, at_ns: u64, frame: &[u8]) -> io::Result<()> {
    let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let seconds = u32::try_from(at_ns / SECOND_NS).map_err(io::Error::other)?;
    let mut header = [0; 16];
    header[..4].copy_from_slice(&seconds.to_le_bytes());
    header[4..8].copy_from_slice(&((at_ns % SECOND_NS) as u32).to_le_bytes());
    header[8..12].copy_from_slice(&len.to_le_bytes());
    header[12..].copy_from_slice(&len.to_le_bytes());
    out.write_all(&header)?;
    out.write_all(frame)
}

/// Reads and checks the file header.
///
/// # Errors
/// If it cannot be read, or is of another kind of file.
pub(crate) fn read_header(input: &mut impl Read) -> Result<(), String> {
    let mut header = [0; 24];
    input.read_exact(&mut header).map_err(|error| error.to_string().to_lowercase())?;
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if !matches!(number(0), MAGIC_NS | MAGIC_US) {
        return Err("not a classic little-endian pcap file".into());
    }
    if number(20) & 0xffff != LINK_ETHERNET {
        return Err("not a capture of Ethernet frames".into());
    }
    Ok(())
}

/// Replaces `frame` by the next one; false at the end of the file.
///
/// # Errors
/// If the file breaks off in a frame, or a frame was cut or is too long.
pub(crate) fn read_frame(input: &mut impl Read, frame: &mut Vec<u8>) -> Result<bool, String> {
    let mut header = [0; 16];
    match input.read(&mut header).map_err(|error| error.to_string())? {
        0 => return Ok(false),
        len => input.read_exact(&mut header[len..]).map_err(|_| "it breaks off in a frame")?,
    }
    let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    let original = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if captured != original {
        return Err(format!("a frame of {original} bytes was cut to {captured}"));
    }
    if captured > SNAP_LEN {
        return Err(format!("a frame has {captured} bytes"));
    }
    frame.resize(captured as usize, 0);
    input.read_exact(frame).map_err(|_| "it breaks off in a frame")?;
    Ok(true)
}
