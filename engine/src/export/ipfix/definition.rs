//! What the number of a template stands for: in a run by the template itself, and in messages that an
//! earlier run has left, whose elements may have been others, by what was to be said of it.

use super::FIRST_TEMPLATE;
use super::template::{
    INTERFACE, MILLISECONDS, NEVER, OWN, REVERSE, REVERSE_PEN, SAMPLED_FLOWS, SAMPLED_PACKETS,
    TIMES, Template, elements, number_of,
};
use crate::export::convert::ipfix::{Element, take_element, take_short};

/// What a template's number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::export) enum Definition {
    /// One of this run.
    Ours(Template),
    /// A template record (RFC 7011 section 3.4.1).
    Stored(Box<[u8]>),
}

impl Definition {
    /// That of a template record, for a run with own elements of enterprise `pen`. `None` if it is
    /// none.
    pub(in crate::export) fn read(
        template: Template,
        record: &[u8],
        pen: Option<u32>,
    ) -> Option<Self> {
        if template & NEVER != NEVER {
            let (ours, mut described) = (Self::Ours(template), Vec::new());
            ours.describe(pen, &mut described);
            if record == described {
                return Some(ours);
            }
        }
        (record.len() >= HEADER).then(|| Self::Stored(record.into()))
    }

    /// The template's number.
    pub(super) fn number(&self) -> u16 {
        match self {
            Self::Ours(template) => number_of(*template),
            Self::Stored(record) => u16::from_be_bytes([record[0], record[1]]),
        }
    }

    /// Appends its template record.
    pub(in crate::export) fn describe(&self, pen: Option<u32>, out: &mut Vec<u8>) {
        let template = match self {
            Self::Ours(template) => *template,
            Self::Stored(record) => return out.extend_from_slice(record),
        };
        let elements = elements(template, pen.unwrap_or(0));
        let count = u16::try_from(elements.len()).expect("there are not so many elements");
        out.extend_from_slice(&number_of(template).to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        elements.iter().for_each(|element| element.describe(out));
    }
}

/// Its number, and how many elements it has.
const HEADER: usize = 4;

/// A template record that a run of ours has written: it has both its number and its elements.
#[derive(Debug, Clone, Copy)]
pub(in crate::export) struct Recognised {
    /// Of a file, where both directions are in one record: the responder has sent nothing, and its
    /// counts are left out as they are all 0. A collector's record may be of one direction only; it
    /// has times in milliseconds, too.
    pub(in crate::export) is_of_silent_responder: bool,
}

/// Sees whether a template record is ours.
pub(in crate::export) fn recognise(record: &[u8]) -> Option<Recognised> {
    let (number, described) = read(record)?;
    let has =
        |element: u16| described.iter().any(|it| it.enterprise.is_none() && it.number == element);
    let bits = [
        (10, INTERFACE),
        (82, OWN),
        (152, MILLISECONDS),
        (306, SAMPLED_PACKETS),
        (397, SAMPLED_FLOWS),
    ];
    let of_run = bits.iter().filter(|(element, _)| has(*element)).map(|(_, bit)| bit);
    let template = of_run.fold(Template::from(number - FIRST_TEMPLATE), |all, bit| all | bit);
    let pen = described.iter().filter_map(|it| it.enterprise).find(|&it| it != REVERSE_PEN);
    let mut ours = Vec::new();
    if template & NEVER != NEVER {
        Definition::Ours(template).describe(pen, &mut ours);
    }
    (ours == record).then_some(Recognised {
        is_of_silent_responder: template & (TIMES | MILLISECONDS | REVERSE) == TIMES,
    })
}

/// The number of a template record, and its elements.
fn read(mut record: &[u8]) -> Option<(u16, Vec<Element>)> {
    let (number, count) = (take_short(&mut record).ok()?, take_short(&mut record).ok()?);
    let elements = (0..count).map(|_| take_element(&mut record).ok()).collect::<Option<_>>()?;
    (number >= FIRST_TEMPLATE).then_some((number, elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_told_from_those_of_others_and_files_from_collectors() {
        for (template, pen, want) in [
            (TIMES, None, true),
            (TIMES | OWN | 0x1f7 | SAMPLED_FLOWS, Some(32_473), true),
            (TIMES | INTERFACE | SAMPLED_PACKETS, None, true),
            (TIMES | REVERSE, None, false),
            (TIMES | MILLISECONDS, None, false),
            // It may be a file's or a collector's.
            (0, None, false),
        ] {
            let mut record = Vec::new();
            Definition::Ours(template).describe(pen, &mut record);
            let recognised = recognise(&record).map(|ours| ours.is_of_silent_responder);
            assert_eq!(recognised, Some(want), "{template:#x}");
            record[1] ^= 0x40;
            assert!(recognise(&record).is_none(), "{template:#x}");
        }
        for damaged in [&[][..], &[1, 0], &[1, 0, 0, 1], &[0; 4], &[255; 16]] {
            assert!(recognise(damaged).is_none());
        }
    }
}
