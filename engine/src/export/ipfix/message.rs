//! Headers of messages and of sets: IPFIX's (RFC 7011 section 3), and those of NetFlow version 9
//! (RFC 3954), whose templates and records are the same but for what is too new for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::low_half;

/// RFC 7011 section 3.3.2; RFC 3954 section 5.2.
pub(super) const SET_HEADER: usize = 4;
/// RFC 7011 section 3.3.2: the set of options templates.
pub(super) const OPTIONS_SET: u16 = 3;
/// All records are of one observation domain, or source.
pub(super) const DOMAIN: u32 = 1;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Dialect {
    Ipfix,
    NetFlow9,
}

impl Dialect {
    fn version(self) -> u16 {
        match self {
            Self::Ipfix => 10,
            Self::NetFlow9 => 9,
        }
    }

    /// Bytes of a message's header.
    pub(super) fn header_bytes(self) -> usize {
        match self {
            Self::Ipfix => 16,
            Self::NetFlow9 => 20,
        }
    }

    /// The set of templates.
    pub(super) fn template_set(self) -> u16 {
        match self {
            Self::Ipfix => 2,
            Self::NetFlow9 => 0,
        }
    }

    /// Zeros behind the records of a set, at most: NetFlow's sets end at a word (RFC 3954 section
    /// 5.3).
    pub(super) fn most_padding(self) -> usize {
        match self {
            Self::Ipfix => 0,
            Self::NetFlow9 => 3,
        }
    }

    /// A message of one set with so many templates or records, but for what [`stamp`] writes.
    pub(super) fn message(self, number: u16, set: &[u8], count: usize) -> Vec<u8> {
        let mut message = Vec::new();
        self.write_header(SET_HEADER + set.len(), count, &mut message);
        self.write_set(number, set, &mut message);
        message
    }

    /// A message's header, but for what [`stamp`] writes: how many bytes, or templates and records,
    /// its sets have.
    pub(super) fn write_header(self, sets_bytes: usize, count: usize, out: &mut Vec<u8>) {
        let len = match self {
            Self::Ipfix => self.header_bytes() + sets_bytes,
            Self::NetFlow9 => count,
        };
        let len = u16::try_from(len).expect("a batch fits into a message");
        out.extend_from_slice(&self.version().to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
        out.resize(out.len() + self.header_bytes() - 8, 0);
        out.extend_from_slice(&DOMAIN.to_be_bytes());
    }

    /// A set of templates or of records.
    pub(super) fn write_set(self, number: u16, set: &[u8], out: &mut Vec<u8>) {
        let padding = match self {
            Self::Ipfix => 0,
            Self::NetFlow9 => set.len().next_multiple_of(4) - set.len(),
        };
        write_set_header(number, set.len() + padding, out);
        out.extend_from_slice(set);
        out.resize(out.len() + padding, 0);
    }
}

pub(super) fn write_set_header(number: u16, bytes: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(SET_HEADER + bytes).expect("a batch fits into a message");
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
}

/// Writes into a message that it leaves now, and what came before it: of IPFIX how many data
/// records the stream had, of NetFlow how many messages; both modulo 2^32. NetFlow has beside how
/// long the exporter runs.
pub(in crate::export) fn stamp(
    dialect: Dialect,
    message: &mut [u8],
    sequence: u32,
    uptime: Duration,
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = low_half(now).to_be_bytes();
    match dialect {
        Dialect::Ipfix => {
            message[4..8].copy_from_slice(&now);
            message[8..12].copy_from_slice(&sequence.to_be_bytes());
        }
        Dialect::NetFlow9 => {
            // It goes round after 49 days.
            let ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
            message[4..8].copy_from_slice(&low_half(ms).to_be_bytes());
            message[8..12].copy_from_slice(&now);
            message[12..16].copy_from_slice(&sequence.to_be_bytes());
        }
    }
}
