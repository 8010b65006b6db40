//! What could not be given to the broker yet, or has not been acknowledged: in the order in which
//! it came, so that what is sent again goes before what is new.
//!
//! Messages of a subject that the broker refuses wait apart ([`Refused`]), so that those of others
//! go on. One of them at a time finds out whether that is over, ever more rarely. All have one limit;
//! refused ones give up what is beyond their part of it when others find no room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::Message;
use crate::export::collector::Failure;
use crate::export::collector::backoff::Backoff;
use crate::limits::{COLLECTOR_SPOOL_BYTES, STREAM_REFUSED_BYTES};
use crate::sync::Arc;

/// Messages that are not settled, each under its number.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    next: u64,
    /// Of subjects that are not refused.
    waiting: BTreeMap<u64, Message>,
    refused: BTreeMap<Arc<str>, Refused>,
    /// Each with the moment at which it was sent.
    under_way: BTreeMap<u64, (Message, Instant)>,
    /// When that was of the last one that has an answer.
    answered: Option<Instant>,
    bytes: usize,
}

/// A subject whose messages the broker does not take at present.
#[derive(Debug)]
pub(super) struct Refused {
    /// Since when.
    pub(super) since: Instant,
    /// What was said the last time.
    pub(super) failure: Failure,
    /// When to try again.
    backoff: Backoff,
    /// The message that is under way for that.
    tried: Option<u64>,
    waiting: BTreeMap<u64, Message>,
    /// Of those that wait.
    bytes: usize,
}

impl Refused {
    fn new(failure: Failure) -> Self {
        let (backoff, waiting) = (Backoff::new(), BTreeMap::new());
        Self { since: Instant::now(), failure, backoff, tried: None, waiting, bytes: 0 }
    }

    fn push(&mut self, number: u64, message: Message) {
        self.bytes += message.bytes();
        self.waiting.insert(number, message);
    }

    /// When to try again, unless that is under way.
    fn next_try(&self) -> Option<Instant> {
        let is_at_rest = self.tried.is_none() && !self.waiting.is_empty();
        is_at_rest.then(|| self.backoff.next())
    }

    fn try_next(&mut self) -> Option<(u64, Message)> {
        let (number, message) = self.waiting.pop_first()?;
        self.bytes -= message.bytes();
        self.tried = Some(number);
        Some((number, message))
    }
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.bytes();
        let number = self.next;
        self.next += 1;
        self.put_back(number, message);
    }

    /// Whether it holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= COLLECTOR_SPOOL_BYTES
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// All messages that are left.
    fn all(&self) -> impl Iterator<Item = &Message> {
        let refused = self.refused.values().flat_map(|it| it.waiting.values());
        let under_way = self.under_way.values().map(|(message, _)| message);
        self.waiting.values().chain(refused).chain(under_way)
    }

    /// Records that are left, of subjects that are refused by cause and with what was said; `None` for
    /// others.
    pub(super) fn left(&self) -> Vec<(Option<&Failure>, u64)> {
        let mut left = BTreeMap::<_, (Option<&Failure>, u64)>::new();
        for message in self.all() {
            let failure = self.refused.get(&message.subject).map(|it| &it.failure);
            let cause = failure.map(|failure| failure.cause.as_str());
            left.entry(cause).or_insert((failure, 0)).1 += message.records;
        }
        left.into_values().collect()
    }

    /// Whether something that is not refused is not under way.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something is under way.
    pub(super) fn has_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// When a subject that is refused is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.refused.values().filter_map(Refused::next_try).min()
    }

    /// Why messages of a subject are not taken at present.
    pub(super) fn refusal(&self, subject: &str) -> Option<&Refused> {
        self.refused.get(subject)
    }

    /// What is to be sent now, if up to `most` messages may be under way: they are from now on. Among
    /// them is what finds out about refused subjects, if those are to be `tried`.
    pub(super) fn send(&mut self, most: usize, tried: bool) -> Vec<(u64, Message)> {
        let now = Instant::now();
        let room = most.saturating_sub(self.under_way.len());
        let is_due = |it: &&mut Refused| tried && it.next_try().is_some_and(|next| next <= now);
        let due = self.refused.values_mut().filter(is_due);
        let mut sent: Vec<_> = due.take(room).filter_map(Refused::try_next).collect();
        let first = std::iter::from_fn(|| self.waiting.pop_first());
        sent.extend(first.take(room - sent.len()));
        // A message is cheap to clone: its text is shared.
        let under_way = sent.iter().map(|(number, message)| (*number, (message.clone(), now)));
        self.under_way.extend(under_way);
        sent
    }

    /// There is an answer to a message: it is no longer under way. `None` if it was not.
    fn answered(&mut self, number: u64) -> Option<Message> {
        let (message, sent) = self.under_way.remove(&number)?;
        self.answered = self.answered.max(Some(sent));
        if let Some(refused) = self.refused.get_mut(&message.subject) {
            refused.tried.take_if(|tried| *tried == number);
        }
        Some(message)
    }

    /// A message is settled, one way or the other: it is gone. `None` if it was before.
    pub(super) fn settle(&mut self, number: u64) -> Option<Message> {
        let message = self.answered(number)?;
        self.bytes -= message.bytes();
        Some(message)
    }

    /// The broker takes what is of a subject. Whether it had refused that.
    pub(super) fn accept(&mut self, subject: &str) -> bool {
        let Some(refused) = self.refused.remove(subject) else { return false };
        self.waiting.extend(refused.waiting);
        true
    }

    /// The broker does not take a message now: it is to be sent again, and until then nothing of its
    /// subject is sent. The subject, if that is new.
    pub(super) fn refuse(&mut self, number: u64, failure: Failure) -> Option<Arc<str>> {
        let message = self.answered(number)?;
        let subject = Arc::clone(&message.subject);
        let is_new = !self.refused.contains_key(&subject);
        if is_new {
            let mut refused = Refused::new(failure.clone());
            let all = std::mem::take(&mut self.waiting);
            for (number, message) in all {
                match message.subject == subject {
                    true => refused.push(number, message),
                    false => drop(self.waiting.insert(number, message)),
                }
            }
            self.refused.insert(Arc::clone(&subject), refused);
        }
        let refused = self.refused.get_mut(&subject).expect("it is there");
        // All that was under way may come back with the same failure, which is one.
        if Instant::now() >= refused.backoff.next() {
            refused.backoff.failed();
        }
        refused.failure = failure;
        refused.push(number, message);
        is_new.then_some(subject)
    }

    /// Whatever is refused is to be tried at once.
    pub(super) fn try_all(&mut self) {
        self.refused.values_mut().for_each(|refused| refused.backoff.again());
    }

    /// Gives up the latest message of a subject that has been refused for so long, if what is refused
    /// holds more than its part.
    pub(super) fn make_room(&mut self, patience: Duration) -> Option<(Message, &Failure)> {
        let held: usize = self.refused.values().map(|refused| refused.bytes).sum();
        if held <= STREAM_REFUSED_BYTES {
            return None;
        }
        let long = self.refused.values_mut().filter(|it| it.since.elapsed() >= patience);
        let refused = long.max_by_key(|refused| refused.bytes)?;
        let (_, message) = refused.waiting.pop_last()?;
        refused.bytes -= message.bytes();
        self.bytes -= message.bytes();
        Some((message, &refused.failure))
    }

    /// Puts a message where it waits.
    fn put_back(&mut self, number: u64, message: Message) {
        match self.refused.get_mut(&message.subject) {
            Some(refused) => refused.push(number, message),
            None => drop(self.waiting.insert(number, message)),
        }
    }

    /// All that is under way is to be sent again.
    pub(super) fn take_back_all(&mut self) {
        for (number, (message, _)) in std::mem::take(&mut self.under_way) {
            self.put_back(number, message);
        }
        self.refused.values_mut().for_each(|refused| refused.tried = None);
        self.answered = None;
    }

    /// What has been under way for so long, and whether what was sent later has been answered.
    pub(super) fn late(&self, limit: Duration) -> Vec<(u64, bool)> {
        let late = self.under_way.iter().filter(|(_, (_, sent))| sent.elapsed() >= limit);
        late.map(|(number, (_, sent))| (*number, self.answered > Some(*sent))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, records: u64) -> Message {
        Message { subject: subject.into(), id: "id".to_owned(), text: "text".into(), records }
    }

    fn failure(cause: &str) -> Failure {
        Failure { cause: cause.to_owned(), text: cause.to_owned() }
    }

    fn numbers(sent: Vec<(u64, Message)>) -> Vec<u64> {
        sent.into_iter().map(|(number, _)| number).collect()
    }

    fn records(outbox: &Outbox) -> u64 {
        outbox.left().iter().map(|(_, records)| records).sum()
    }

    #[test]
    fn what_is_sent_again_goes_first() {
        let mut outbox = Outbox::default();
        (1..=5).for_each(|records| outbox.push(message("s", records)));
        assert_eq!(numbers(outbox.send(3, true)), [0, 1, 2]);
        assert_eq!(numbers(outbox.send(3, true)), [0; 0]);
        assert!(outbox.settle(1).is_some() && outbox.settle(1).is_none());
        outbox.take_back_all();
        assert_eq!((records(&outbox), outbox.has_under_way()), (13, false));
        assert_eq!(numbers(outbox.send(3, true)), [0, 2, 3]);
        for number in [0, 2, 3, 4] {
            outbox.send(9, true);
            assert!(outbox.settle(number).is_some());
        }
        assert!(outbox.is_empty() && records(&outbox) == 0 && outbox.bytes == 0);
    }

    #[test]
    fn what_is_refused_holds_up_nothing_of_another_subject() {
        let mut outbox = Outbox::default();
        ["a", "b", "a", "b", "a"].into_iter().for_each(|it| outbox.push(message(it, 1)));
        assert_eq!(numbers(outbox.send(2, true)), [0, 1]);
        assert_eq!(outbox.refuse(0, failure("full")).as_deref(), Some("a"));
        assert!(outbox.refuse(0, failure("full")).is_none());
        assert_eq!(numbers(outbox.send(9, true)), [3]);
        assert!(outbox.next_try().is_some_and(|next| next > Instant::now()));
        // What comes waits with the others of its subject.
        outbox.push(message("a", 10));
        outbox.push(message("b", 10));
        outbox.try_all();
        assert_eq!(numbers(outbox.send(9, false)), [6]);
        assert_eq!(numbers(outbox.send(9, true)), [0]);
        assert_eq!(numbers(outbox.send(9, true)), [0; 0]);
        // The second refusal is no news.
        assert_eq!(outbox.refuse(0, failure("sealed")), None);
        let mut left = outbox.left();
        left.sort_by_key(|(_, records)| *records);
        let left: Vec<_> = left.iter().map(|(it, n)| (it.map(|it| &*it.cause), *n)).collect();
        assert_eq!(left, [(None, 12), (Some("sealed"), 13)]);
        // A connection that ends says nothing of subjects.
        outbox.take_back_all();
        assert_eq!(numbers(outbox.send(9, false)), [1, 3, 6]);
        outbox.try_all();
        assert_eq!(numbers(outbox.send(9, true)), [0]);
        assert!(outbox.settle(0).is_some() && outbox.accept("a") && !outbox.accept("a"));
        assert_eq!(numbers(outbox.send(9, true)), [2, 4, 5]);
        for number in [1, 2, 3, 4, 5, 6] {
            assert!(outbox.settle(number).is_some());
        }
        assert!(outbox.is_empty() && outbox.bytes == 0);
    }

    #[test]
    fn it_is_full_at_a_bound() {
        let mut outbox = Outbox::default();
        let text = bytes::Bytes::from(vec![b'x'; COLLECTOR_SPOOL_BYTES / 4]);
        for _ in 0..4 {
            assert!(!outbox.is_full());
            outbox.push(Message { text: text.clone(), ..message("s", 1) });
        }
        assert!(outbox.is_full());
    }

    #[test]
    fn what_is_refused_leaves_room_for_others() {
        let mut outbox = Outbox::default();
        let text = bytes::Bytes::from(vec![b'x'; COLLECTOR_SPOOL_BYTES / 64]);
        while !outbox.is_full() {
            outbox.push(Message { text: text.clone(), ..message("a", 1) });
        }
        let all = outbox.next;
        outbox.send(1, true);
        outbox.refuse(0, failure("full"));
        assert!(outbox.make_room(Duration::from_secs(60)).is_none(), "it may be over soon");
        let mut lost = 0;
        while let Some((message, failure)) = outbox.make_room(Duration::ZERO) {
            lost += message.records;
            assert_eq!(failure.cause, "full");
        }
        assert!((all / 2 - 2..=all / 2 + 2).contains(&lost), "{lost} of {all}");
        assert_eq!(records(&outbox), all - lost);
        outbox.try_all();
        assert_eq!(numbers(outbox.send(1, true)), [0], "the oldest are kept");
    }

    #[test]
    fn what_the_broker_passes_by_is_told_from_one_that_says_nothing() {
        let mut outbox = Outbox::default();
        ["a", "b"].into_iter().for_each(|it| outbox.push(message(it, 1)));
        outbox.send(1, true);
        std::thread::sleep(Duration::from_millis(2));
        outbox.send(2, true);
        assert_eq!(outbox.late(Duration::from_secs(60)), []);
        assert_eq!(outbox.late(Duration::ZERO), [(0, false), (1, false)]);
        outbox.settle(1);
        assert_eq!(outbox.late(Duration::ZERO), [(0, true)]);
    }
}
