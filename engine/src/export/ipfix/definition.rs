//! What the number of a template stands for: in a run by the template itself, and in messages that an
//! earlier run has left, whose elements may have been others, by what was to be said of it.

use super::template::{NEVER, Template, elements, number_of};

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
