//! Reads IPFIX files (RFC 5655) for their sums: whatever templates they have, packets and bytes
//! of both directions (RFC 5103) are added up. Knows no variable lengths and no options.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
const REVERSE_PEN: u32 = 29_305;
/// octetDeltaCount and packetDeltaCount.
const OCTETS: u16 = 1;
const PACKETS: u16 = 2;

/// What a flow file adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    /// Records; some meters write one for each direction.
    pub(super) records: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// A template's elements: number, enterprise, bytes.
type Template = Vec<(u16, u32, usize)>;

/// Adds up a file.
///
/// # Errors
/// If it cannot be read, or is not as described above.
pub(super) fn sums(path: &Path) -> Result<Sums, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut sums = Sums::default();
    let mut templates = HashMap::new();
    let mut message = Vec::new();
    loop {
        let mut header = [0; MESSAGE_HEADER];
        match file.read(&mut header[..1]).map_err(failed)? {
            0 => return Ok(sums),
            _ => file.read_exact(&mut header[1..]).map_err(failed)?,
        }
        let len = usize::from(short(&header, 2)?);
        message.resize(len.checked_sub(MESSAGE_HEADER).ok_or("a message without header")?, 0);
        file.read_exact(&mut message).map_err(failed)?;
        let sequence = u32::from_be_bytes(header[8..12].try_into().expect("four bytes"));
        if u64::from(sequence) != sums.records & 0xffff_ffff {
            return Err(format!("message {sequence} after {} records", sums.records));
        }
        let mut rest = &message[..];
        while !rest.is_empty() {
            let (number, len) = (short(rest, 0)?, usize::from(short(rest, 2)?));
            let set = rest.get(SET_HEADER..len).ok_or("a set longer than its message")?;
            rest = &rest[len..];
            match number {
                2 => learn(set, &mut templates)?,
                _ => add(set, templates.get(&number).ok_or("no template")?, &mut sums)?,
            }
        }
    }
}

fn short(bytes: &[u8], at: usize) -> Result<u16, String> {
    let bytes = bytes.get(at..at + 2).ok_or("it is cut")?;
    Ok(u16::from_be_bytes(bytes.try_into().expect("two bytes")))
}

fn learn(mut set: &[u8], templates: &mut HashMap<u16, Template>) -> Result<(), String> {
    while !set.is_empty() {
        let (number, count) = (short(set, 0)?, short(set, 2)?);
        let mut template = Template::new();
        set = &set[4..];
        for _ in 0..count {
            let (element, bytes) = (short(set, 0)?, short(set, 2)?);
            let has_enterprise = element & 0x8000 != 0;
            let enterprise = match has_enterprise {
                true => u32::from(short(set, 4)?) << 16 | u32::from(short(set, 6)?),
                false => 0,
            };
            set = &set[if has_enterprise { 8 } else { 4 }..];
            template.push((element & 0x7fff, enterprise, bytes.into()));
        }
        templates.insert(number, template);
    }
    Ok(())
}

fn add(mut set: &[u8], template: &Template, sums: &mut Sums) -> Result<(), String> {
    let record_bytes: usize = template.iter().map(|element| element.2).sum();
    if record_bytes == 0 {
        return Err("a template without elements".into());
    }
    while set.len() >= record_bytes {
        sums.records += 1;
        let mut at = 0;
        for &(number, enterprise, bytes) in template {
            let is_ours = enterprise == 0 || enterprise == REVERSE_PEN;
            if is_ours && matches!(number, OCTETS | PACKETS) {
                let digits = set[at..at + bytes].iter();
                let value = digits.fold(0, |value, &byte| value << 8 | u64::from(byte));
                *if number == OCTETS { &mut sums.bytes } else { &mut sums.packets } += value;
            }
            at += bytes;
        }
        set = &set[record_bytes..];
    }
    if set.is_empty() { Ok(()) } else { Err("a set that its records do not fill".into()) }
}
