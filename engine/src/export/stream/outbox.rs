//! What could not be given to the broker yet, or has not been acknowledged: in the order in which
//! it came, so that what is sent again goes before what is new.
//!
//! Each subject has a [`Line`] of its own, so that one of which the broker takes nothing, or says
//! nothing, holds up no other. One message at a time finds out whether that is over, ever more rarely;
//! and only when all has been taken for a while it is believed. All lines have one limit of bytes:
//! refused ones give up what is beyond their part of it when others find no room. Of what may be under
//! way each leaves a part to the others.

mod line;

pub(super) use self::line::Refused;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::line::Line;
use super::message::Message;
use crate::export::collector::Failure;
use crate::limits::{COLLECTOR_SPOOL_BYTES, STREAM_REFUSED_BYTES, STREAM_SHARE};
use crate::sync::Arc;

/// Messages that are not settled, each under its number.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    next: u64,
    lines: BTreeMap<Arc<str>, Line>,
    under_way: BTreeMap<u64, Sent>,
    /// Messages that were sent so far.
    sent: u64,
    /// The last one that has an answer, of these.
    answered: u64,
    /// The subject of the last one that came.
    last: Option<Arc<str>>,
    /// Whether there was another before.
    has_several: bool,
    bytes: usize,
}

/// A message that is under way.
#[derive(Debug)]
struct Sent {
    message: Message,
    at: Instant,
    /// Its place among all that were sent.
    place: u64,
}

/// What has been under way for long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) number: u64,
    /// It is due to its subject: what was sent later has been answered, or it is no news that nothing
    /// is taken of that.
    pub(super) is_of_subject: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.bytes();
        let last = self.last.replace(Arc::clone(&message.subject));
        self.has_several |= last.is_some_and(|last| last != message.subject);
        let number = self.next;
        self.next += 1;
        self.line(&message.subject).push(number, message);
    }

    fn line(&mut self, subject: &Arc<str>) -> &mut Line {
        self.lines.entry(Arc::clone(subject)).or_default()
    }

    /// Whether it holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= COLLECTOR_SPOOL_BYTES
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.lines.values().all(|line| line.waiting.is_empty())
    }

    /// Records that are left, of subjects that are refused by cause and with what was said; `None` for
    /// others.
    pub(super) fn left(&self) -> Vec<(Option<&Failure>, u64)> {
        let waiting = self.lines.values().flat_map(|line| line.waiting.values());
        let all = waiting.chain(self.under_way.values().map(|sent| &sent.message));
        let mut left = BTreeMap::<_, (Option<&Failure>, u64)>::new();
        for message in all {
            let refused = self.lines.get(&message.subject).and_then(|it| it.refused.as_ref());
            let failure = refused.map(|it| &it.failure);
            let cause = failure.map(|failure| failure.cause.as_str());
            left.entry(cause).or_insert((failure, 0)).1 += message.records;
        }
        left.into_values().collect()
    }

    /// Whether something that is not refused is not under way.
    pub(super) fn has_waiting(&self) -> bool {
        self.lines.values().any(|line| line.first().is_some())
    }

    /// Whether something is under way.
    pub(super) fn has_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// When a subject that is refused is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.lines.values().filter_map(Line::next_try).min()
    }

    /// Why messages of a subject are not taken at present.
    pub(super) fn refusal(&self, subject: &str) -> Option<&Refused> {
        self.lines.get(subject)?.refusal()
    }

    /// What is to be sent now, if up to `most` messages may be under way: they are from now on. Among
    /// them is what finds out about refused subjects, if those are to be `tried`.
    pub(super) fn send(&mut self, most: usize, tried: bool) -> Vec<(u64, Message)> {
        self.send_shared(most, tried, self.has_several.then_some(STREAM_SHARE))
    }

    /// The same, to find out whether the broker answers: one message of each subject, as one alone may
    /// be of a subject on which nobody does.
    pub(super) fn probe(&mut self, most: usize, tried: bool) -> Vec<(u64, Message)> {
        self.send_shared(most, tried, Some(0))
    }

    /// The same; where subjects share, each has at most so many times what is left to others.
    fn send_shared(
        &mut self,
        most: usize,
        tried: bool,
        share: Option<usize>,
    ) -> Vec<(u64, Message)> {
        let now = Instant::now();
        let mut room = most.saturating_sub(self.under_way.len());
        let mut sent = Vec::new();
        if tried {
            let is_tried = |line: &&Line| line.refusal().is_some() && line.under_way > 0;
            let under_way = self.lines.values().filter(is_tried).count();
            let tries = (most / 2).max(1).saturating_sub(under_way).min(room);
            let is_due = |line: &&mut Line| line.next_try().is_some_and(|next| next <= now);
            let due = self.lines.values_mut().filter(is_due);
            sent.extend(due.take(tries).filter_map(Line::send));
            room -= sent.len();
        }
        // The oldest of all goes first.
        let lines = self.lines.values_mut();
        let mut first: BTreeMap<_, _> = lines.filter_map(|it| Some((it.first()?, it))).collect();
        while room > 0
            && let Some((_, line)) = first.pop_first()
        {
            // There is ever less room: what may not now may not later.
            if line.may_send(room, share) {
                sent.extend(line.send());
                room -= 1;
                first.extend(line.first().map(|number| (number, line)));
            }
        }
        for (number, message) in &sent {
            self.sent += 1;
            // A message is cheap to clone: its text is shared.
            let under_way = Sent { message: message.clone(), at: now, place: self.sent };
            self.under_way.insert(*number, under_way);
        }
        sent
    }

    /// There is an answer to a message: it is no longer under way. `None` if it was not.
    fn answered(&mut self, number: u64) -> Option<Sent> {
        let sent = self.no_longer_under_way(number)?;
        self.answered = self.answered.max(sent.place);
        Some(sent)
    }

    fn no_longer_under_way(&mut self, number: u64) -> Option<Sent> {
        let sent = self.under_way.remove(&number)?;
        self.line(&sent.message.subject).under_way -= 1;
        Some(sent)
    }

    /// The broker keeps a message: it is gone. `None` if it was before. Also whether it is news that its
    /// subject is taken.
    pub(super) fn stored(&mut self, number: u64) -> Option<(Message, bool)> {
        let message = self.answered(number)?.message;
        let is_news = self.line(&message.subject).accept();
        Some((self.forget(message), is_news))
    }

    /// The broker will never keep a message: it is gone. `None` if it was before.
    pub(super) fn give_up(&mut self, number: u64) -> Option<Message> {
        let message = self.answered(number)?.message;
        Some(self.forget(message))
    }

    fn forget(&mut self, message: Message) -> Message {
        self.bytes -= message.bytes();
        if self.line(&message.subject).is_over() {
            self.lines.remove(&message.subject);
        }
        message
    }

    /// The broker does not take a message now: it is to be sent again, and until then nothing of its
    /// subject is sent. The subject, if the user does not know and is to be told.
    pub(super) fn refuse(&mut self, number: u64, failure: Failure, tell: bool) -> Option<Arc<str>> {
        let sent = self.answered(number)?;
        self.wait_again(number, sent, failure, tell)
    }

    /// The same of one that has no answer.
    pub(super) fn refuse_late(
        &mut self,
        number: u64,
        failure: Failure,
        tell: bool,
    ) -> Option<Arc<str>> {
        let sent = self.no_longer_under_way(number)?;
        self.wait_again(number, sent, failure, tell)
    }

    fn wait_again(
        &mut self,
        number: u64,
        Sent { message, at, .. }: Sent,
        failure: Failure,
        tell: bool,
    ) -> Option<Arc<str>> {
        let subject = Arc::clone(&message.subject);
        let line = self.line(&subject);
        line.push(number, message);
        line.refuse(failure, at, tell).then_some(subject)
    }

    /// Whatever is refused is to be tried at once.
    pub(super) fn try_all(&mut self) {
        self.lines.values_mut().for_each(Line::try_again);
    }

    /// Forgets which subjects were refused, if messages have been taken for so long. Those of which that
    /// is news.
    pub(super) fn standing(&mut self, limit: Duration) -> Vec<Arc<str>> {
        let mut told = Vec::new();
        self.lines.retain(|subject, line| {
            if line.stands(limit) == Some(true) {
                told.push(Arc::clone(subject));
            }
            !line.is_over()
        });
        told
    }

    /// Gives up the latest message of a subject that has been refused for so long, if what is refused
    /// holds more than its part.
    pub(super) fn make_room(&mut self, patience: Duration) -> Option<(Message, &Failure)> {
        let refused = self.lines.values_mut().filter(|line| line.refusal().is_some());
        let refused: Vec<_> = refused.collect();
        if refused.iter().map(|line| line.bytes).sum::<usize>() <= STREAM_REFUSED_BYTES {
            return None;
        }
        let is_long =
            |line: &&mut Line| line.refusal().is_some_and(|it| it.since.elapsed() >= patience);
        let line = refused.into_iter().filter(is_long).max_by_key(|line| line.bytes)?;
        let message = line.pop_last()?;
        self.bytes -= message.bytes();
        Some((message, &line.refusal()?.failure))
    }

    /// All that is under way is to be sent again.
    pub(super) fn take_back_all(&mut self) {
        for (number, Sent { message, .. }) in std::mem::take(&mut self.under_way) {
            let line = self.line(&message.subject);
            line.under_way -= 1;
            line.push(number, message);
        }
    }

    /// What has been under way for so long.
    pub(super) fn late(&self, limit: Duration) -> Vec<Late> {
        let late = self.under_way.iter().filter(|(_, sent)| sent.at.elapsed() >= limit);
        late.map(|(&number, Sent { message, place, .. })| {
            let is_of_subject = self.answered > *place || self.refusal(&message.subject).is_some();
            Late { number, is_of_subject }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
