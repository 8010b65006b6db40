//! Messages of one subject, and whether the broker takes them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::export::collector::Failure;
use crate::export::collector::backoff::Backoff;
use crate::export::stream::message::Message;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) waiting: BTreeMap<u64, Message>,
    /// Of those that wait.
    pub(super) bytes: usize,
    /// Messages that are under way.
    pub(super) under_way: usize,
    /// Until messages have been taken for a while.
    pub(super) refused: Option<Refused>,
}

/// A subject whose messages the broker does not take, or takes now and then.
#[derive(Debug)]
pub(in crate::export::stream) struct Refused {
    /// Since when.
    pub(in crate::export::stream) since: Instant,
    /// What was said the last time.
    pub(in crate::export::stream) failure: Failure,
    /// When to try again.
    backoff: Backoff,
    /// Since when messages are taken, and how many were.
    taken: Option<(Instant, usize)>,
    /// What the user knows.
    is_told: bool,
}

impl Line {
    pub(super) fn push(&mut self, number: u64, message: Message) {
        self.bytes += message.bytes();
        self.waiting.insert(number, message);
    }

    /// The oldest that waits is under way from now on.
    pub(super) fn send(&mut self) -> Option<(u64, Message)> {
        let (number, message) = self.waiting.pop_first()?;
        self.bytes -= message.bytes();
        self.under_way += 1;
        Some((number, message))
    }

    /// Takes the latest that waits.
    pub(super) fn pop_last(&mut self) -> Option<Message> {
        let (_, message) = self.waiting.pop_last()?;
        self.bytes -= message.bytes();
        Some(message)
    }

    /// Whether there is nothing to be known of it.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0 && self.refused.is_none()
    }

    /// Why nothing is taken at present.
    pub(super) fn refusal(&self) -> Option<&Refused> {
        self.refused.as_ref().filter(|it| it.taken.is_none())
    }

    /// The oldest that waits, if it is not refused.
    pub(super) fn first(&self) -> Option<u64> {
        let first = self.waiting.first_key_value().map(|(number, _)| *number);
        first.filter(|_| self.refusal().is_none())
    }

    /// When to find out whether it is still refused, unless something is under way.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let is_at_rest = self.under_way == 0 && !self.waiting.is_empty();
        self.refusal().filter(|_| is_at_rest).map(|it| it.backoff.next())
    }

    /// Whether one more may be under way, if there is `room` for so many, of which it has a `share`. What
    /// was refused begins with one, and has one more for each that is taken.
    pub(super) fn may_send(&self, room: usize, share: Option<usize>) -> bool {
        let taken = self.refused.as_ref().and_then(|it| it.taken);
        let is_eased_in = taken.is_none_or(|(_, count)| self.under_way <= count);
        let has_share = share.is_none_or(|share| self.under_way < share * (room - 1));
        is_eased_in && (self.under_way == 0 || has_share)
    }

    /// Something is taken of it. Whether the user is to know, as nothing waits any more.
    pub(super) fn accept(&mut self) -> bool {
        let Some(refused) = &mut self.refused else { return false };
        refused.taken.get_or_insert((Instant::now(), 0)).1 += 1;
        refused.backoff.succeeded();
        self.waiting.is_empty() && std::mem::take(&mut refused.is_told)
    }

    /// Nothing is taken of it, among it something that was sent then. Whether the user is to know, who
    /// is told if `tell`.
    pub(super) fn refuse(&mut self, failure: Failure, sent: Instant, tell: bool) -> bool {
        let refused = self.refused.get_or_insert_with(|| Refused {
            since: sent,
            failure: failure.clone(),
            backoff: Backoff::new(),
            taken: None,
            is_told: false,
        });
        // All that was under way may come back with the same failure, which is one.
        if Instant::now() >= refused.backoff.next() {
            refused.backoff.failed();
        }
        (refused.failure, refused.taken) = (failure, None);
        tell && !std::mem::replace(&mut refused.is_told, true)
    }

    pub(super) fn try_again(&mut self) {
        self.refused.iter_mut().for_each(|it| it.backoff.again());
    }

    /// Whether messages have been taken for so long; then it counts as refused no longer.
    pub(super) fn stands(&mut self, limit: Duration) -> Option<bool> {
        let stands = |it: &mut Refused| it.taken.is_some_and(|(since, _)| since.elapsed() >= limit);
        self.refused.take_if(stands).map(|it| it.is_told)
    }
}
