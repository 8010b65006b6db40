//! Questions that wait for an answer, by what the answer is found by, and in their order.

use std::collections::{HashMap, VecDeque};

use super::{Asked, DnsQuestion, DnsTransaction};
use crate::time::Tick;

/// Questions of one key that wait at a time: with more the oldest is no longer found.
const QUESTIONS_OF_KEY: usize = 16;

/// A question's own number, counted up.
pub(super) type Number = u64;

#[derive(Debug)]
struct Question {
    transaction: DnsTransaction,
    asked: Asked,
    /// It has had an answer, and may get others.
    is_answered: bool,
}

/// The questions.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    questions: HashMap<Number, Question>,
    by_key: HashMap<Asked, Vec<Number>>,
    /// In the order in which they were asked; some are gone.
    order: VecDeque<(Number, Tick)>,
    next: Number,
}

impl Waiting {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether this question waits already; then it was repeated.
    pub(super) fn repeat(&mut self, asked: &Asked, again: &DnsTransaction) -> bool {
        let numbers = self.by_key.get(asked).map(Vec::as_slice).unwrap_or_default();
        for number in numbers {
            if let Some(there) = self.questions.get_mut(number)
                && !there.is_answered
                && there.transaction.question == again.question
            {
                there.transaction.repeats = there.transaction.repeats.saturating_add(1);
                return true;
            }
        }
        false
    }

    /// A question was asked.
    pub(super) fn add(&mut self, asked: Asked, transaction: DnsTransaction, tick: Tick) {
        let number = self.next;
        self.next += 1;
        let numbers = self.by_key.entry(asked.clone()).or_default();
        if numbers.len() == QUESTIONS_OF_KEY {
            numbers.remove(0);
        }
        numbers.push(number);
        self.questions.insert(number, Question { transaction, asked, is_answered: false });
        self.order.push_back((number, tick));
        if self.order.len() > 2 * self.questions.len() + 1_024 {
            let questions = &self.questions;
            self.order.retain(|(number, _)| questions.contains_key(number));
        }
    }

    /// Takes the oldest that has had no answer, if it `is_over` by when it was asked. Those before
    /// it that have had one are forgotten.
    pub(super) fn oldest_if(&mut self, is_over: impl Fn(Tick) -> bool) -> Option<DnsTransaction> {
        while let Some((number, tick)) = self.order.front() {
            if self.questions.contains_key(number) && !is_over(*tick) {
                return None;
            }
            let (number, _) = self.order.pop_front()?;
            let Some(question) = self.remove(number) else { continue };
            if !question.is_answered {
                return Some(question.transaction);
            }
        }
        None
    }

    /// The questions of a key that `fits` accepts, oldest first.
    pub(super) fn find(&self, asked: &Asked, fits: impl Fn(&DnsQuestion) -> bool) -> Vec<Number> {
        let numbers = self.by_key.get(asked).map(Vec::as_slice).unwrap_or_default();
        let is_it = |number: &&Number| {
            let question = self.questions.get(number);
            question.and_then(|it| it.transaction.question.as_ref()).is_none_or(&fits)
        };
        numbers.iter().filter(is_it).copied().collect()
    }

    /// The question that gets its first answer. One to a server is over with it.
    pub(super) fn answer(&mut self, number: Number) -> Option<DnsTransaction> {
        let question = self.questions.get_mut(&number).filter(|it| !it.is_answered)?;
        if matches!(question.asked, Asked::Server(..)) {
            return self.remove(number).map(|question| question.transaction);
        }
        question.is_answered = true;
        Some(question.transaction.clone())
    }

    /// The question that has had an answer, and gets another.
    pub(super) fn answered(&self, number: Number) -> Option<DnsTransaction> {
        self.questions.get(&number).map(|question| question.transaction.clone())
    }

    fn remove(&mut self, number: Number) -> Option<Question> {
        let question = self.questions.remove(&number)?;
        if let Some(numbers) = self.by_key.get_mut(&question.asked) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_key.remove(&question.asked);
            }
        }
        Some(question)
    }
}
