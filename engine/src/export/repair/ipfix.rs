//! Whole messages of an IPFIX file (RFC 5655), and how many data records they have: a set has as
//! many as its template says fit (RFC 7011 section 3.3 and 3.4).

use std::collections::HashMap;
use std::io::BufRead;

use super::{Recovered, Stop, damage};
use crate::export::output::Output;

/// RFC 7011 section 3.1.
const VERSION: u16 = 10;
const HEADER: usize = 16;
/// RFC 7011 section 3.3.2.
const SET_HEADER: usize = 4;
const TEMPLATE_SET: u16 = 2;
const FIRST_DATA_SET: u16 = 256;
/// Of an element of its own enterprise, RFC 7011 section 3.2.
const ENTERPRISE: u16 = 0x8000;
/// Of an element with its length before each value, RFC 7011 section 7.
const VARIABLE: u16 = u16::MAX;

/// Lengths of a template's elements.
type Templates = HashMap<u16, Vec<u16>>;

pub(super) fn recover(rows: &mut dyn BufRead, output: &mut Output) -> Recovered {
    let (mut records, mut templates) = (0, Templates::new());
    let mut copy = || {
        let mut message = Vec::new();
        while !rows.fill_buf().map_err(|error| damage(&error))?.is_empty() {
            message.resize(HEADER, 0);
            rows.read_exact(&mut message).map_err(|error| damage(&error))?;
            let (version, len) = (number(&message, 0), usize::from(number(&message, 2)));
            if version != VERSION || len < HEADER {
                return Err(Stop::Damage("what follows is no IPFIX message".to_owned()));
            }
            message.resize(len, 0);
            rows.read_exact(&mut message[HEADER..]).map_err(|error| damage(&error))?;
            records += count(&message[HEADER..], &mut templates);
            output.take(&message);
            output.write_some()?;
        }
        Ok(())
    };
    let stop = copy();
    (records, stop)
}

/// The data records of a message's sets.
fn count(mut sets: &[u8], templates: &mut Templates) -> u64 {
    let mut records = 0;
    while sets.len() >= SET_HEADER {
        let (id, len) = (number(sets, 0), usize::from(number(sets, 2)));
        if !(SET_HEADER..=sets.len()).contains(&len) {
            break;
        }
        let (set, rest) = sets.split_at(len);
        match id {
            TEMPLATE_SET => learn(&set[SET_HEADER..], templates),
            FIRST_DATA_SET.. => {
                let elements = templates.get(&id).map_or(&[][..], Vec::as_slice);
                records += records_of(&set[SET_HEADER..], elements);
            }
            _ => {}
        }
        sets = rest;
    }
    records
}

fn learn(mut set: &[u8], templates: &mut Templates) {
    while set.len() >= 4 {
        let (id, count) = (number(set, 0), number(set, 2));
        set = &set[4..];
        let mut lengths = Vec::new();
        for _ in 0..count {
            if set.len() < 4 {
                return;
            }
            let bytes = if number(set, 0) & ENTERPRISE == 0 { 4 } else { 8 };
            lengths.push(number(set, 2));
            set = set.get(bytes..).unwrap_or_default();
        }
        templates.insert(id, lengths);
    }
}

/// What is left at the end of a set is padding, shorter than a record.
fn records_of(mut set: &[u8], elements: &[u16]) -> u64 {
    let mut records = 0;
    while !set.is_empty()
        && let Some(rest) = elements.iter().try_fold(set, |set, &len| after_element(set, len))
        && rest.len() < set.len()
    {
        records += 1;
        set = rest;
    }
    records
}

fn after_element(set: &[u8], len: u16) -> Option<&[u8]> {
    match (len, set) {
        (VARIABLE, [255, high, low, rest @ ..]) => {
            rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)
        }
        (VARIABLE, [len, rest @ ..]) => rest.get(usize::from(*len)..),
        _ => set.get(usize::from(len)..),
    }
}

fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
