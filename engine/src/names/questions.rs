//! Questions that wait for their answer: only an answer that somebody asked for names anything.

use std::collections::{HashMap, VecDeque};

use crate::flow::{FlowKey, protocol};
use crate::limits::{QUESTION_LIFE_NS, QUESTIONS};
use crate::names::{DnsMessage, NameService, Payload};
use crate::sync::hash::Seed;
use crate::time::Tick;

/// What a question and its answer have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asked {
    /// Of a server: the flow, the identifier in it, and name and type: some clients give two
    /// questions one identifier.
    Server(FlowKey, u16, (Box<str>, u16)),
    /// Of all hosts: what was asked. Who answers does so by another flow.
    All(NameService, Box<str>),
}

/// Questions of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// What was asked, and when.
    waiting: HashMap<Asked, Tick, Seed>,
    /// The same in order; what was asked again is here more than once.
    order: VecDeque<(Asked, Tick)>,
}

impl Questions {
    /// A question was seen. How many others were forgotten for it that may still be answered.
    pub(super) fn asked(&mut self, payload: &Payload<'_>, message: &DnsMessage) -> u64 {
        let mut forgotten = 0;
        for asked in all_asked(payload, message) {
            self.order.push_back((asked.clone(), payload.tick));
            self.waiting.insert(asked, payload.tick);
            while let Some((oldest, tick)) = self.order.front() {
                let is_over = payload.tick.saturating_sub(*tick) > QUESTION_LIFE_NS;
                if !is_over && self.order.len() <= QUESTIONS {
                    break;
                }
                // Unless it was asked again, or answered.
                if self.waiting.get(oldest).is_some_and(|asked| asked == tick) {
                    self.waiting.remove(oldest);
                    forgotten += u64::from(!is_over);
                }
                self.order.pop_front();
            }
        }
        forgotten
    }

    /// An answer was seen. Whether its question was, not long before: of a multicast answer, which
    /// need not have a question in it (RFC 6762 section 6), one of the names that it answers.
    pub(super) fn answered(&mut self, payload: &Payload<'_>, message: &DnsMessage) -> bool {
        let is_awaited = self.waits_for(payload, message);
        if !is_for_all(payload, message.service) {
            // One answer for one question.
            let asked = all_asked(payload, message).next();
            asked.and_then(|asked| self.waiting.remove(&asked));
        }
        is_awaited
    }

    /// The same, of an answer with which the question is not over.
    pub(super) fn waits_for(&self, payload: &Payload<'_>, message: &DnsMessage) -> bool {
        let is_recent =
            |tick: &Tick| payload.tick.checked_sub(*tick).is_some_and(|ns| ns <= QUESTION_LIFE_NS);
        let mut names = all_asked(payload, message);
        names.any(|asked| self.waiting.get(&asked).is_some_and(is_recent))
    }
}

/// Whether questions like this go to all hosts.
fn is_for_all(payload: &Payload<'_>, service: NameService) -> bool {
    payload.key.protocol() == protocol::UDP && service != NameService::Dns
}

/// What a message asks, or answers.
fn all_asked(payload: &Payload<'_>, message: &DnsMessage) -> impl Iterator<Item = Asked> {
    let is_for_all = is_for_all(payload, message.service);
    let (key, id, service) = (payload.key, message.id, message.service);
    let first = message.question.iter().map(move |question| match is_for_all {
        true => Asked::All(service, question.0.clone()),
        false => Asked::Server(key, id, question.clone()),
    });
    let others = message.other_names.iter().filter(move |_| is_for_all);
    first.chain(others.map(move |name| Asked::All(service, name.clone())))
}
