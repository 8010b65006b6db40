//! Questions that wait for their answer: only an answer that somebody asked for names anything.

use std::collections::{HashMap, VecDeque};

use crate::flow::{FlowKey, protocol};
use crate::limits::{QUESTION_LIFE_NS, QUESTIONS};
use crate::names::{DnsMessage, NameService, Payload};
use crate::sync::hash::Seed;
use crate::time::Tick;

/// Names in a multicast answer of which one must have been asked for, the first of them.
const NAMES_OF_ANSWER: usize = 8;

/// What a question and its answer have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Asked {
    /// Of a server: the flow and the identifier in it.
    Server(FlowKey, u16),
    /// Of all hosts: what was asked. Who answers does so by another flow.
    All(NameService, Box<str>),
}

/// Questions of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// What was asked, and when.
    waiting: HashMap<Asked, (Option<Box<str>>, Tick), Seed>,
    /// The same in order; what was asked again is here more than once.
    order: VecDeque<(Asked, Tick)>,
}

impl Questions {
    /// A question was seen. How many others were forgotten for it that may still be answered.
    pub(super) fn asked(&mut self, payload: &Payload<'_>, message: &DnsMessage) -> u64 {
        let name = message.question.as_ref().map(|(name, _)| name.clone());
        let Some(asked) = asked(payload, message, name.as_deref()) else { return 0 };
        self.order.push_back((asked.clone(), payload.tick));
        self.waiting.insert(asked, (name, payload.tick));
        let mut forgotten = 0;
        while let Some((oldest, tick)) = self.order.front() {
            let is_over = payload.tick.saturating_sub(*tick) > QUESTION_LIFE_NS;
            if !is_over && self.order.len() <= QUESTIONS {
                break;
            }
            // Unless it was asked again, or answered.
            if self.waiting.get(oldest).is_some_and(|(_, asked)| asked == tick) {
                self.waiting.remove(oldest);
                forgotten += u64::from(!is_over);
            }
            self.order.pop_front();
        }
        forgotten
    }

    /// An answer was seen. Whether its question was, not long before.
    pub(super) fn answered(&mut self, payload: &Payload<'_>, message: &DnsMessage) -> bool {
        let question = message.question.as_ref().map(|(name, _)| name.as_ref());
        let is_recent =
            |tick: Tick| payload.tick.checked_sub(tick).is_some_and(|ns| ns <= QUESTION_LIFE_NS);
        if is_for_all(payload, message.service) {
            // Answers of multicast DNS have no question in them (RFC 6762 section 6).
            let answers = message.answers.iter().map(|answer| answer.name.as_ref());
            return question.into_iter().chain(answers).take(NAMES_OF_ANSWER).any(|name| {
                let asked = Asked::All(message.service, name.into());
                self.waiting.get(&asked).is_some_and(|(_, tick)| is_recent(*tick))
            });
        }
        let Some(asked) = asked(payload, message, None) else { return false };
        let is_its = self.waiting.get(&asked).is_some_and(|(name, tick)| {
            (question.is_none() || name.as_deref() == question) && is_recent(*tick)
        });
        if is_its {
            // One answer for one question.
            self.waiting.remove(&asked);
        }
        is_its
    }
}

/// Whether questions like this go to all hosts.
fn is_for_all(payload: &Payload<'_>, service: NameService) -> bool {
    payload.key.protocol() == protocol::UDP && service != NameService::Dns
}

fn asked(payload: &Payload<'_>, message: &DnsMessage, name: Option<&str>) -> Option<Asked> {
    if is_for_all(payload, message.service) {
        return Some(Asked::All(message.service, name?.into()));
    }
    Some(Asked::Server(payload.key, message.id))
}
