//! What could not be given to the broker yet, or has not been acknowledged: in the order in which
//! it came, so that what is sent again goes before what is new.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::Message;
use crate::limits::COLLECTOR_SPOOL_BYTES;

/// Messages that are not settled, each under its number.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    next: u64,
    waiting: BTreeMap<u64, Message>,
    /// Each with the moment at which it was sent.
    under_way: BTreeMap<u64, (Message, Instant)>,
    bytes: usize,
    records: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.bytes();
        self.records += message.records;
        self.waiting.insert(self.next, message);
        self.next += 1;
    }

    /// Whether it holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= COLLECTOR_SPOOL_BYTES
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Records that are left.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Whether something is not under way.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something is under way.
    pub(super) fn has_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// What is to be sent now, if up to `most` messages may be under way: they are from now on.
    pub(super) fn send(&mut self, most: usize) -> Vec<(u64, Message)> {
        let now = Instant::now();
        let room = most.saturating_sub(self.under_way.len());
        let first = std::iter::from_fn(|| self.waiting.pop_first());
        let sent: Vec<_> = first.take(room).collect();
        // A message is cheap to clone: its text is shared.
        let under_way = sent.iter().map(|(number, message)| (*number, (message.clone(), now)));
        self.under_way.extend(under_way);
        sent
    }

    /// A message is settled, one way or the other: it is gone. `None` if it was before.
    pub(super) fn settle(&mut self, number: u64) -> Option<Message> {
        let (message, _) = self.under_way.remove(&number)?;
        self.bytes -= message.bytes();
        self.records -= message.records;
        Some(message)
    }

    /// A message is to be sent again.
    pub(super) fn take_back(&mut self, number: u64) {
        if let Some((message, _)) = self.under_way.remove(&number) {
            self.waiting.insert(number, message);
        }
    }

    /// All that is under way is to be sent again.
    pub(super) fn take_back_all(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        self.waiting.extend(under_way.into_iter().map(|(number, (message, _))| (number, message)));
    }

    /// For how long the first message that is under way has been.
    pub(super) fn oldest(&self) -> Duration {
        self.under_way.first_key_value().map_or(Duration::ZERO, |(_, (_, sent))| sent.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(records: u64) -> Message {
        Message { subject: "s".into(), id: "id".to_owned(), text: "text".into(), records }
    }

    #[test]
    fn what_is_sent_again_goes_first() {
        let mut outbox = Outbox::default();
        (1..=5).for_each(|records| outbox.push(message(records)));
        let numbers = |sent: Vec<(u64, Message)>| {
            sent.into_iter().map(|(number, _)| number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(outbox.send(3)), [0, 1, 2]);
        assert_eq!(numbers(outbox.send(3)), [0; 0]);
        assert!(outbox.settle(1).is_some() && outbox.settle(1).is_none());
        outbox.take_back(2);
        outbox.take_back_all();
        assert_eq!((outbox.records(), outbox.has_under_way()), (13, false));
        assert_eq!(numbers(outbox.send(3)), [0, 2, 3]);
        for number in [0, 2, 3, 4] {
            outbox.send(9);
            assert!(outbox.settle(number).is_some());
        }
        assert!(outbox.is_empty() && outbox.records() == 0 && outbox.bytes == 0);
    }

    #[test]
    fn it_is_full_at_a_bound() {
        let mut outbox = Outbox::default();
        let text = bytes::Bytes::from(vec![b'x'; COLLECTOR_SPOOL_BYTES / 4]);
        for _ in 0..4 {
            assert!(!outbox.is_full());
            outbox.push(Message { text: text.clone(), ..message(1) });
        }
        assert!(outbox.is_full());
    }
}
