//! Frames that are in memory already: where packets are found in a loop of their own, whose state
//! stays in registers. [`super::CaptureFile::frames`] makes them.

use super::classic::RecordFormat;
use super::window::Rest;
use crate::source::Frame;

/// Some of a capture's frames, in their order, in place in the reader's buffer. The first of them is
/// to be taken; what is left of the others comes with the next ones. It ends at damage, which the next
/// call of [`super::CaptureFile::frames`] reports.
#[must_use = "the first frame comes once"]
pub struct Frames<'a>(Found<'a>);

enum Found<'a> {
    /// In the records of a pcap file.
    Records(RecordFormat, Rest<'a>),
    /// In a block of a pcapng file, one by one.
    One(Option<Frame<'a>>),
}

impl<'a> Frames<'a> {
    /// Those of pcap's records in `rest`.
    pub(super) fn of_records(format: RecordFormat, rest: Rest<'a>) -> Self {
        Self(Found::Records(format, rest))
    }

    /// A frame that was found and taken.
    pub(super) fn of_one(frame: Frame<'a>) -> Self {
        Self(Found::One(Some(frame)))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Frame<'a>> {
        match &mut self.0 {
            Found::Records(format, rest) => {
                let (frame, record_bytes) = format.frame(rest.bytes())?;
                rest.take(record_bytes);
                Some(frame)
            }
            Found::One(frame) => frame.take(),
        }
    }
}
