//! The ceiling of a reader: reads a capture in large pieces, walks its packets' headers, hashes
//! addresses, protocol and ports, and does nothing else. Knows what `gen` writes (classic pcap
//! of this machine's byte order, Ethernet, VLAN tags, IPv4 and IPv6), and fails on other files.

use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::path::PathBuf;

use foldhash::fast::FixedState;

/// What to walk.
#[derive(clap::Args)]
pub(crate) struct Args {
    capture: PathBuf,
}

/// Bytes of the file header, and before each packet.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// Bytes of one read: as many as stay in the second cache.
const PIECE: usize = 1 << 18;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const VLAN: [u8; 2] = [0x81, 0x00];
const SERVICE_VLAN: [u8; 2] = [0x88, 0xa8];
/// ARP and LLDP, which are in no flow.
const OF_NO_FLOW: [[u8; 2]; 2] = [[0x08, 0x06], [0x88, 0xcc]];

const UNKNOWN: &str = "walk: a frame that gen does not write";

/// Walks the file, and says how many packets there were and what their hashes come to.
///
/// # Errors
/// If it cannot be read, or is not as `gen` writes them.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("read {}: {error}", args.capture.display());
    let mut file = File::open(&args.capture).map_err(failed)?;
    let hasher = FixedState::default();
    let (mut buffer, mut held) = (vec![0; PIECE], 0);
    let (mut packets, mut bytes, mut sum) = (0_u64, 0_u64, 0_u64);
    let mut begin = FILE_HEADER;
    loop {
        let read = file.read(&mut buffer[held..]).map_err(failed)?;
        held += read;
        while let Some(frame) = frame_at(&buffer[begin.min(held)..held]) {
            begin += PACKET_HEADER + frame.len();
            let Some((ether_type, ip)) = network(frame) else { return Err(UNKNOWN.into()) };
            if OF_NO_FLOW.contains(&ether_type) {
                continue;
            }
            let (ip_len, key) = key_of(ether_type, ip).ok_or(UNKNOWN)?;
            sum ^= hasher.hash_one(key);
            packets += 1;
            bytes += u64::from(ip_len);
        }
        if read == 0 {
            break;
        }
        let rest = begin.min(held);
        buffer.copy_within(rest..held, 0);
        held -= rest;
        begin -= rest;
    }
    println!("packets {packets} bytes {bytes} sum {sum:x}");
    Ok(())
}

/// The first frame, if all of it is there.
fn frame_at(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_at_checked(PACKET_HEADER)?;
    let len = u32::from_ne_bytes(header[8..12].try_into().expect("four bytes"));
    rest.get(..usize::try_from(len).ok()?)
}

/// The EtherType behind VLAN tags, and what follows it.
fn network(frame: &[u8]) -> Option<([u8; 2], &[u8])> {
    let mut at = 12;
    loop {
        let (ether_type, rest) = frame.get(at..)?.split_first_chunk()?;
        if ![VLAN, SERVICE_VLAN].contains(ether_type) {
            return Some((*ether_type, rest));
        }
        at += 4;
    }
}

/// IP length; addresses, ports and protocol as five words.
fn key_of(ether_type: [u8; 2], ip: &[u8]) -> Option<(u16, [u64; 5])> {
    let word = |at: usize| Some(u64::from_ne_bytes(ip.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u32::from_ne_bytes(ip.get(at..at + 4)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_be_bytes(ip.get(at..at + 2)?.try_into().ok()?));
    match ether_type {
        IPV4 => {
            let header = usize::from(ip.first()? & 15) * 4;
            let ports = u64::from(half(header)?) | u64::from(ip[9]) << 32;
            Some((short(2)?, [word(12)?, ports, 0, 0, 0]))
        }
        IPV6 => {
            let ports = u64::from(half(40)?) | u64::from(ip[6]) << 32;
            Some((short(4)? + 40, [word(8)?, word(16)?, word(24)?, word(32)?, ports]))
        }
        _ => None,
    }
}
