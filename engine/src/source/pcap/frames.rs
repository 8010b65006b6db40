//! Frames that are in memory already: where packets are found in a loop of their own, whose state
//! stays in registers.

use super::classic::Record;
use crate::source::Frame;

/// Some of a capture's frames, in their order, in place in the reader's buffer. What is not taken of
/// them comes with the next ones.
pub struct Frames<'a> {
    /// What was read and not yet taken.
    rest: &'a [u8],
    /// Where that begins in the buffer.
    start: &'a mut usize,
    /// How records of `rest` are read.
    record: Record,
    /// A frame that was found by itself; then `rest` is empty.
    single: Option<Frame<'a>>,
}

impl<'a> Frames<'a> {
    /// Those of pcap's records in `rest`, which begins at `start` in the buffer.
    pub(super) fn of_records(record: Record, (start, rest): (&'a mut usize, &'a [u8])) -> Self {
        Self { rest, start, record, single: None }
    }

    /// A frame that was found and taken.
    pub(super) fn of_one(frame: Frame<'a>, start: &'a mut usize) -> Self {
        Self { rest: &[], start, record: Record::NONE, single: Some(frame) }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Frame<'a>> {
        if let Some(frame) = self.single.take() {
            return Some(frame);
        }
        // What is damaged is not here either: who asks for more finds out.
        let (frame, rest) = self.record.split(self.rest)?;
        *self.start += self.rest.len() - rest.len();
        self.rest = rest;
        Some(frame)
    }
}
