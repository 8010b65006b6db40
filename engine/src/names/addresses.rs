//! Names of addresses, by who asked for them and when.
//!
//! For each client and address, and for each address alone, the latest answers in the order of
//! their time. Which of them a flow is named by is decided by the time of its first packet, not by
//! when the question is put. The `names` thread writes this; whoever labels records reads it.

mod answer;

pub use answer::{Answer, Moment};

use std::net::IpAddr;

use crate::limits::ANSWERS_KEPT;
use crate::names::NameService;
use crate::names::aging::Aging;
use crate::sync::Arc;
use crate::sync::shared_map::{Reader, Writer};
use crate::time::Timestamp;

/// Why a name that was learned for an address may be another flow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The answer's time to live has passed.
    Stale,
    /// Another client asked.
    OtherClient,
    /// There are several names that it may be; this is the latest.
    Ambiguous,
}

impl Doubt {
    const ALL: [Self; 3] = [Self::Stale, Self::OtherClient, Self::Ambiguous];

    /// The one that records call so.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|doubt| doubt.name() == name)
    }

    /// As records have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::OtherClient => "other_client",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// A name for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressName {
    /// The name.
    pub name: Arc<str>,
    /// By what it was learned.
    pub service: NameService,
    /// How long before.
    pub age_ns: u64,
    /// The gravest doubt, if there is one.
    pub doubt: Option<Doubt>,
}

/// Who asked, if that matters, and the address that was the answer.
type Asked = (Option<IpAddr>, IpAddr);

/// Names of all addresses, for who reads them.
#[derive(Debug, Clone)]
pub struct AddressesView {
    answers: Reader<Asked, Box<[Answer]>>,
}

impl AddressesView {
    /// The name of `address` as `client` knew it at `moment`: by an answer to the client itself,
    /// or else by any.
    #[must_use]
    pub fn name_of(&self, client: IpAddr, address: IpAddr, moment: Moment) -> Option<AddressName> {
        let choose_of = |client: Option<IpAddr>| {
            self.answers.with(&(client, address), |all| choose(all, moment, client.is_none()))?
        };
        choose_of(Some(client)).or_else(|| choose_of(None))
    }
}

/// The name by `answers`, which are in the order of time, of those that still count at `moment`: one
/// that somebody asked for rather than a server's on the way or the answer to a reverse look-up,
/// one whose life is not over, by the first service that has any; and of them the latest.
fn choose(answers: &[Answer], moment: Moment, is_by_others: bool) -> Option<AddressName> {
    let counting = || {
        let with_age = |answer| Answer::age_at(answer, moment).map(|age| (answer, age));
        answers.iter().rev().filter_map(with_age)
    };
    let rank =
        |(answer, (_, is_stale)): &(&Answer, (u64, bool))| (answer.way, *is_stale, answer.service);
    // Of several the first that comes here, which is the latest.
    let (best, (age_ns, is_stale)) = counting().min_by_key(rank)?;
    let is_ambiguous = counting().any(|(other, (_, other_is_stale))| {
        other.name != best.name && other.is_like(best) && other_is_stale <= is_stale
    });
    // All hosts hear the answers of mDNS, and who says its own name by NetBIOS tells all.
    let is_by_others =
        is_by_others && matches!(best.service, NameService::Dns | NameService::Llmnr);
    let doubts = [
        (is_ambiguous, Doubt::Ambiguous),
        (is_by_others, Doubt::OtherClient),
        (is_stale, Doubt::Stale),
    ];
    Some(AddressName {
        name: Arc::clone(&best.name),
        service: best.service,
        age_ns,
        doubt: doubts.into_iter().find(|(is_so, _)| *is_so).map(|(_, doubt)| doubt),
    })
}

/// The table, for its one writer.
#[derive(Debug)]
pub(super) struct Addresses {
    entries: Writer<Asked, Box<[Answer]>>,
    aging: Aging<Asked>,
    max_answers: usize,
    /// In all entries.
    answers: usize,
}

impl Addresses {
    pub(super) fn new(max_answers: usize) -> Self {
        let (entries, aging) = Default::default();
        Self { entries, aging, max_answers, answers: 0 }
    }

    pub(super) fn view(&self) -> AddressesView {
        AddressesView { answers: self.entries.reader().clone() }
    }

    /// How many answers there are.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    /// Keeps an answer to `client`, if one client asked. It may have been kept if it `is_again`.
    pub(super) fn add(
        &mut self,
        client: Option<IpAddr>,
        address: IpAddr,
        answer: &Answer,
        is_again: bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if client.is_some() {
            let is_enough = |last: &Answer| is_again && last.is_renewed_by(answer);
            self.add_to((client, address), answer, is_enough, &mut outcome);
        }
        // Many clients may ask the same: one answer in half a life is enough.
        let half_life_ns = answer.fresh_until.abs_diff(answer.time) / 2;
        let is_enough = |last: &Answer| {
            last.is_renewed_by(answer) && answer.time.abs_diff(last.time) < half_life_ns
        };
        self.add_to((None, address), answer, is_enough, &mut outcome);
        outcome
    }

    /// Keeps an answer among those of `asked`; if the last of them, which is not after it,
    /// `is_enough`, by letting that one stand for both.
    fn add_to(
        &mut self,
        asked: Asked,
        answer: &Answer,
        is_enough: impl Fn(&Answer) -> bool,
        outcome: &mut Outcome,
    ) {
        let entries = &mut self.entries;
        if let Some(mut all) = entries.with(&asked, |before| before.to_vec()) {
            let before = all.len();
            let place = all.partition_point(|other| other.order() <= answer.order());
            match all.last_mut() {
                Some(last) if place == before && is_enough(last) => last.absorb(answer),
                _ => all.insert(place, answer.clone()),
            }
            if all.len() > ANSWERS_KEPT {
                make_room(&mut all, outcome);
            }
            self.answers += all.len() - before;
            entries.insert(asked, all.into());
        } else {
            entries.insert(asked, Box::new([answer.clone()]));
            self.aging.add(asked, stamp(answer));
            self.answers += 1;
        }
        while self.answers > self.max_answers {
            let renewed = |asked: &Asked, _| entries.with(asked, |all| all.last().map(stamp))?;
            let Some(oldest) = self.aging.oldest(renewed) else { break };
            let gone = entries.remove(&oldest, |answers| answers.len()).unwrap_or_default();
            self.answers -= gone;
            outcome.evicted += gone as u64;
        }
    }
}

/// What became of others for an answer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Answers that are gone.
    pub(super) evicted: u64,
    /// Answers that another one with the same name stands for.
    pub(super) merged: u64,
}

/// Makes one of `answers` stand for the next, which renews it, so that ages change as little as may
/// be, and nothing else: the newest stays, and what follows another name. If there is none such,
/// the oldest is gone.
fn make_room(answers: &mut Vec<Answer>, outcome: &mut Outcome) {
    let renewal = |later: usize| {
        let other = &answers[later];
        let before = answers[..later].iter().rposition(|one| one.is_like(other))?;
        let one = Some(&answers[before]).filter(|one| one.is_renewed_by(other))?;
        // One that was stale in between makes more of a difference.
        let was_stale = other.time > one.fresh_until;
        Some(((was_stale, other.time.abs_diff(one.time)), before, later))
    };
    let least = (1..answers.len() - 1).filter_map(renewal).min();
    if let Some((_, before, later)) = least {
        let later = answers.remove(later);
        answers[before].absorb(&later);
        outcome.merged += 1;
    } else {
        answers.remove(0);
        outcome.evicted += 1;
    }
}

/// The time of an answer, as a number that is not negative.
fn stamp(answer: &Answer) -> u64 {
    answer.time.abs_diff(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
