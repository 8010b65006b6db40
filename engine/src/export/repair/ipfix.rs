//! Whole messages of an IPFIX file (RFC 5655), and how many data records they have: a set has as
//! many as its template says fit (RFC 7011 section 3.3 and 3.4).

use std::collections::HashMap;
use std::io::BufRead;

use super::{Recovered, Stop, damage};
use crate::export::convert::ipfix::{
    FIRST_DATA_SET, SET_HEADER, short_at, take_element, take_short, take_value,
};
use crate::export::output::Output;

/// RFC 7011 section 3.1.
const VERSION: u16 = 10;
const HEADER: usize = 16;
/// RFC 7011 section 3.3.2.
const TEMPLATE_SET: u16 = 2;

/// Lengths of a template's elements.
type Templates = HashMap<u16, Vec<u16>>;

pub(super) fn recover(rows: &mut dyn BufRead, output: &mut Output) -> Recovered {
    let (mut records, mut templates) = (0, Templates::new());
    let mut copy = || {
        let mut message = Vec::new();
        while !rows.fill_buf().map_err(|error| damage(&error))?.is_empty() {
            message.resize(HEADER, 0);
            rows.read_exact(&mut message).map_err(|error| damage(&error))?;
            let (version, len) = (short_at(&message, 0), usize::from(short_at(&message, 2)));
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
        let (id, len) = (short_at(sets, 0), usize::from(short_at(sets, 2)));
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

/// What is shorter than a template is padding; one that is cut counts as none.
fn learn(mut set: &[u8], templates: &mut Templates) {
    while let (Ok(id), Ok(count)) = (take_short(&mut set), take_short(&mut set)) {
        let lengths = (0..count).map(|_| take_element(&mut set).map(|element| element.bytes));
        let Ok(lengths) = lengths.collect() else { return };
        templates.insert(id, lengths);
    }
}

/// What is left at the end of a set is padding, shorter than a record.
fn records_of(mut set: &[u8], elements: &[u16]) -> u64 {
    let mut records = 0;
    while !set.is_empty() {
        let before = set.len();
        let is_whole = elements.iter().all(|&bytes| take_value(&mut set, bytes).is_ok());
        if !is_whole || set.len() == before {
            break;
        }
        records += 1;
    }
    records
}
