//! Names of addresses, by who asked for them and when.
//!
//! For each client and address, and for each address alone, the latest answers in the order of
//! their time. Which of them a flow is named by is decided by the time of its first packet, not by
//! when the question is put. The `names` thread writes this; whoever labels records reads it.

mod answer;

pub use answer::{Answer, Moment};

use std::collections::HashMap;
use std::net::IpAddr;

use crate::limits::{ANSWERS_COMPARED, ANSWERS_KEPT, ANSWERS_SHARE, KEY_VLANS};
use crate::names::aging::{Aging, LOOKED_THROUGH};
use crate::names::history::{History, Ordered};
use crate::names::{AnswerWay, NameService};
use crate::sync::Arc;
use crate::sync::hash::Seed;
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

/// Who asks for names: a host in its network. Others may have the same addresses in other networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// The tags of its frames, as flow keys have them.
    pub vlan: [u16; KEY_VLANS],
    /// Its address.
    pub address: IpAddr,
}

/// Who asked, if that matters, and the address that was the answer.
type Asked = (Option<Client>, IpAddr);

/// Names of all addresses, for who reads them.
#[derive(Debug, Clone)]
pub struct AddressesView {
    answers: Reader<Asked, Entry>,
}

impl AddressesView {
    /// The name of `address` as `client` knew it at `moment`: by an answer to the client itself or
    /// to all hosts of its network, or else by any.
    #[must_use]
    pub fn name_of(&self, client: Client, address: IpAddr, moment: Moment) -> Option<AddressName> {
        let to_client = self.answers.with(&(Some(client), address), |own| {
            let known = own.known_at(moment);
            let best = best_of(known.clone(), client)?;
            let with_heard = |all: &Entry| own.name_with_heard(all, client, moment);
            let name = if best.rank(client) == Known::BEST {
                None
            } else {
                self.answers.with(&(None, address), with_heard).flatten()
            };
            Some(name.unwrap_or_else(|| best.name(known, client, false)))
        });
        let to_any = || {
            self.answers.with(&(None, address), |all| {
                let known = all.known_at(moment);
                Some(best_of(known.clone(), client)?.name(known, client, true))
            })?
        };
        to_client.flatten().or_else(to_any)
    }
}

/// An answer that counts.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    answer: &'a Answer,
    age_ns: u64,
    is_stale: bool,
}

/// The least is the best.
type Rank = (AnswerWay, bool, NameService, bool);

impl<'a> Known<'a> {
    const BEST: Rank = (AnswerWay::Asked, false, NameService::Dns, false);

    /// First comes one that somebody asked for rather than a server's on the way or the
    /// answer to a reverse look-up, one whose life is not over, by the first service that has any,
    /// in the client's own network.
    fn rank(&self, client: Client) -> Rank {
        let Self { answer, is_stale, .. } = *self;
        (answer.way, is_stale, answer.service, answer.vlan != client.vlan)
    }

    /// The name that this gives, the best of those that are `known`. Whether somebody else asked is
    /// known where those are answers to any.
    fn name(
        self,
        mut known: impl Iterator<Item = Known<'a>>,
        client: Client,
        is_to_any: bool,
    ) -> AddressName {
        let Self { answer, age_ns, is_stale } = self;
        let is_ambiguous = known.any(|other| {
            other.answer.name != answer.name
                && other.answer.is_like(answer)
                && other.rank(client) <= self.rank(client)
        });
        let doubts = [
            (is_ambiguous, Doubt::Ambiguous),
            (is_to_any && !answer.is_heard_in(client), Doubt::OtherClient),
            (is_stale, Doubt::Stale),
        ];
        AddressName {
            name: Arc::clone(&answer.name),
            service: answer.service,
            age_ns,
            doubt: doubts.into_iter().find(|(is_so, _)| *is_so).map(|(_, doubt)| doubt),
        }
    }
}

/// The best of those that are `known`, of which the latest comes first: of several that are as good
/// that one.
fn best_of<'a>(known: impl Iterator<Item = Known<'a>>, client: Client) -> Option<Known<'a>> {
    known.min_by_key(|known| known.rank(client))
}

/// The answers to one question.
#[derive(Debug)]
struct Entry {
    /// No other entry has it, of this question or another.
    number: u64,
    answers: History<Answer>,
}

impl Entry {
    /// Those that count at a moment, as many of the latest as are compared.
    fn known_at(&self, moment: Moment) -> impl Iterator<Item = Known<'_>> + Clone {
        let seen = self.answers.back_from(move |answer| answer.time <= moment.time);
        let counting = seen.filter_map(move |answer| {
            let (age_ns, is_stale) = answer.age_at(moment)?;
            Some(Known { answer, age_ns, is_stale })
        });
        counting.take(ANSWERS_COMPARED)
    }

    /// The name by these answers to `client`, and those of `all` that it hears.
    fn name_with_heard(&self, all: &Self, client: Client, moment: Moment) -> Option<AddressName> {
        let heard = all.known_at(moment).filter(|known| known.answer.is_heard_in(client));
        let known = self.known_at(moment).chain(heard);
        Some(best_of(known.clone(), client)?.name(known, client, false))
    }
}

/// The table, for its one writer.
#[derive(Debug)]
pub(super) struct Addresses {
    entries: Writer<Asked, Entry>,
    /// Each with its number, as a question may be forgotten and come again.
    aging: Aging<(Asked, u64)>,
    max_answers: usize,
    /// In all entries.
    answers: usize,
    /// Answers to each client that has any.
    clients: HashMap<Client, usize, Seed>,
    /// Clients that have more than their share.
    with_many: usize,
    /// Entries that there were.
    numbers: u64,
    /// So many are evicted before it is worth looking again for one that counts no more.
    look_in: usize,
}

impl Addresses {
    pub(super) fn new(max_answers: usize) -> Self {
        let (entries, aging, clients) = Default::default();
        Self {
            entries,
            aging,
            max_answers,
            answers: 0,
            clients,
            with_many: 0,
            numbers: 0,
            look_in: 0,
        }
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
        client: Option<Client>,
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

    /// A host takes back at a time what it has said to all hosts of its network: that `address` has
    /// this name.
    pub(super) fn take_back(&mut self, said: &Answer, address: IpAddr) {
        let asked = (None, address);
        let is_meant = |answer: &Answer| {
            (answer.name == said.name && answer.vlan == said.vlan)
                && answer.is_like(said)
                && answer.time <= said.time
        };
        let changed = self.entries.with(&asked, |Entry { number, answers }| {
            let answers = answers.with_changed(ANSWERS_COMPARED, |answer| {
                if is_meant(answer) {
                    answer.take_back(said.time);
                }
            });
            Entry { number: *number, answers }
        });
        if let Some(entry) = changed {
            self.entries.insert(asked, entry);
        }
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
        let before = entries.with(&asked, |Entry { number, answers }| {
            let last = answers.latest();
            let mut after = if last.order() <= answer.order() && is_enough(last) {
                let mut both = last.clone();
                both.absorb(answer);
                answers.with_latest(both)
            } else {
                answers.with(answer.clone())
            };
            if after.len() > ANSWERS_KEPT {
                after = after.with_earliest(|earliest| make_room(earliest, outcome));
            }
            (answers.len(), Entry { number: *number, answers: after })
        });
        let (len, entry) = before.unwrap_or_else(|| {
            self.numbers += 1;
            self.aging.add((asked, self.numbers), stamp(answer));
            (0, Entry { number: self.numbers, answers: History::new(answer.clone()) })
        });
        let more = entry.answers.len() - len;
        entries.insert(asked, entry);
        self.answers += more;
        self.count(asked, |answers| answers + more);
        while self.answers > self.max_answers {
            let Some(gone) = self.evict(answer.time) else { break };
            outcome.evicted += gone as u64;
        }
    }

    /// Evicts the answers to one question: one of which none counts any more, or else, where some
    /// clients have more than their share, one of theirs, or else what was not renewed for longest.
    /// How many there were.
    fn evict(&mut self, now: Timestamp) -> Option<usize> {
        let Self { entries, clients, max_answers, .. } = self;
        let some_have_much = self.with_many > 0;
        let latest = |(asked, number): &(Asked, u64)| {
            let of_it =
                |entry: &Entry| (entry.number == *number).then(|| stamp(entry.answers.latest()));
            entries.with(asked, of_it)?
        };
        let has_much = |asked: &Asked| match asked.0 {
            Some(client) => {
                clients.get(&client).is_some_and(|answers| is_much(*answers, *max_answers))
            }
            // Whoever has asked much has put much there.
            None => some_have_much,
        };
        let is_over = |asked: &Asked| {
            let latest_is = |entry: &Entry| entry.answers.latest().is_over(now);
            entries.with(asked, latest_is).unwrap_or(true)
        };
        // The first to go is one that is over.
        let rank = |(asked, _): &(Asked, u64)| match is_over(asked) {
            false if some_have_much && !has_much(asked) => None,
            is_over => Some(!is_over),
        };
        let (asked, _) = if some_have_much || self.look_in == 0 {
            self.aging.first_of(|key, _| latest(key), rank)?
        } else {
            self.look_in -= 1;
            self.aging.oldest(|key, _| latest(key))?
        };
        if self.look_in == 0 && !is_over(&asked) {
            self.look_in = LOOKED_THROUGH;
        }
        let gone = self.entries.remove(&asked, |entry| entry.answers.len()).unwrap_or_default();
        self.answers -= gone;
        self.count(asked, |answers| answers - gone);
        Some(gone)
    }

    /// Counts the answers to a client.
    fn count(&mut self, asked: Asked, change: impl FnOnce(usize) -> usize) {
        let Some(client) = asked.0 else { return };
        let answers = self.clients.entry(client).or_default();
        let before = std::mem::replace(answers, change(*answers));
        let (had, has) = (is_much(before, self.max_answers), is_much(*answers, self.max_answers));
        self.with_many = self.with_many + usize::from(has) - usize::from(had);
        if *answers == 0 {
            self.clients.remove(&client);
        }
    }
}

/// Whether so many answers are more than one client's share.
fn is_much(answers: usize, max_answers: usize) -> bool {
    answers > max_answers / ANSWERS_SHARE
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
