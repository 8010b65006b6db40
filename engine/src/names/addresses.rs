//! Names of addresses, by who asked for them and when.
//!
//! For each client and address, and for each address alone, the latest answers in the order of
//! their time. Which of them a flow is named by is decided by the time of its first packet, not by
//! when the question is put. The `names` thread writes this; whoever labels records reads a
//! published copy.

use std::net::IpAddr;

use crate::limits::{ANSWERS_KEPT, STALE_NS, TTL_SECONDS};
use crate::names::NameService;
use crate::names::aging::Aging;
use crate::names::parts::Parts;
use crate::sync::Arc;
use crate::time::{SECOND_NS, Timestamp};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// When it was seen.
    pub time: Timestamp,
    /// What it is good for, in ns.
    pub life_ns: u64,
    /// What was asked.
    pub name: Arc<str>,
    /// By what.
    pub service: NameService,
}

impl Answer {
    /// One that says itself that it is good for `ttl_seconds`.
    #[must_use]
    pub fn new(time: Timestamp, ttl_seconds: u32, name: Arc<str>, service: NameService) -> Self {
        let [least, most] = TTL_SECONDS;
        let life_ns = u64::from(ttl_seconds.clamp(least, most)) * SECOND_NS;
        Self { time, life_ns, name, service }
    }

    /// How old it is at `time`, if it still counts, and whether it is stale.
    fn age_at(&self, time: Timestamp) -> Option<(u64, bool)> {
        let age_ns = u64::try_from(time.checked_sub(self.time)?).ok()?;
        let counts = age_ns <= self.life_ns.saturating_add(STALE_NS);
        counts.then_some((age_ns, age_ns > self.life_ns))
    }
}

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

/// Names of all addresses, as published.
#[derive(Debug, Clone, Default)]
pub struct AddressesView {
    answers: Parts<Asked, Arc<[Answer]>>,
}

impl AddressesView {
    /// The name of `address` as `client` knew it at `time`: by an answer to the client itself, or
    /// else by any.
    #[must_use]
    pub fn name_of(&self, client: IpAddr, address: IpAddr, time: Timestamp) -> Option<AddressName> {
        let own = self.answers.get(&(Some(client), address));
        own.and_then(|answers| choose(answers, time, false)).or_else(|| {
            let any = self.answers.get(&(None, address))?;
            choose(any, time, true)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.len() == 0
    }
}

/// The name by `answers`, which are in the order of time: by the first service that has any that
/// still counts at `time`, the latest.
fn choose(answers: &[Answer], time: Timestamp, is_by_others: bool) -> Option<AddressName> {
    let counting = || {
        let with_age = |answer| Answer::age_at(answer, time).map(|age| (answer, age));
        answers.iter().rev().filter_map(with_age)
    };
    // The latest of the first service.
    let (best, (age_ns, is_stale)) = counting().min_by_key(|(answer, _)| answer.service)?;
    let is_ambiguous = counting().any(|(other, (_, other_is_stale))| {
        other.name != best.name && other.service == best.service && other_is_stale <= is_stale
    });
    // All hosts hear the answers of multicast services.
    let is_by_others = is_by_others && matches!(best.service, NameService::Dns);
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
    view: AddressesView,
    aging: Aging<Asked>,
    max_answers: usize,
    /// In all entries.
    answers: usize,
}

impl Addresses {
    pub(super) fn new(max_answers: usize) -> Self {
        Self { view: AddressesView::default(), aging: Aging::default(), max_answers, answers: 0 }
    }

    pub(super) fn view(&self) -> &AddressesView {
        &self.view
    }

    /// How many answers there are.
    pub(super) fn answers(&self) -> usize {
        self.answers
    }

    /// Keeps an answer to `client`, if one client asked. Returns how many answers were evicted for
    /// it.
    pub(super) fn add(&mut self, client: Option<IpAddr>, address: IpAddr, answer: &Answer) -> u64 {
        let mut evicted = 0;
        if client.is_some() {
            evicted += self.add_to((client, address), answer);
        }
        // Many clients may ask the same: one answer in half a life is enough.
        let any = self.view.answers.get(&(None, address));
        let is_known = any.is_some_and(|answers| {
            answers.iter().any(|other| {
                other.name == answer.name
                    && other.service == answer.service
                    && u64::try_from(answer.time.saturating_sub(other.time))
                        .is_ok_and(|since| since < other.life_ns / 2)
            })
        });
        if !is_known {
            evicted += self.add_to((None, address), answer);
        }
        evicted
    }

    fn add_to(&mut self, asked: Asked, answer: &Answer) -> u64 {
        let entries = &mut self.view.answers;
        let mut evicted = 0;
        if let Some(before) = entries.get(&asked) {
            let surplus = (before.len() + 1).saturating_sub(ANSWERS_KEPT);
            evicted += surplus;
            let mut all = before[surplus..].to_vec();
            let place = all.partition_point(|other| other.time <= answer.time);
            all.insert(place, answer.clone());
            entries.insert(asked, all.into());
        } else {
            entries.insert(asked, Arc::new([answer.clone()]));
            self.aging.add(asked, stamp(answer));
        }
        self.answers += 1;
        self.answers -= evicted;
        while self.answers > self.max_answers {
            let renewed = |asked: &Asked, _: u64| Some(stamp(entries.get(asked)?.last()?));
            let Some(oldest) = self.aging.oldest(renewed) else { break };
            let gone = entries.remove(&oldest).map_or(0, |answers| answers.len());
            self.answers -= gone;
            evicted += gone;
        }
        evicted as u64
    }
}

/// The time of an answer, as a number that is not negative.
fn stamp(answer: &Answer) -> u64 {
    answer.time.abs_diff(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Answers as (second, client or 0, address, name, ttl).
    fn table(max: usize, answers: &[(i64, u8, u8, &str, u32)]) -> (Addresses, u64) {
        let mut table = Addresses::new(max);
        let mut evicted = 0;
        for &(second, client, address, name, ttl) in answers {
            let (client, service) = match client {
                0 => (None, NameService::Mdns),
                client => (Some(ip(client)), NameService::Dns),
            };
            let answer = Answer::new(second * SECOND, ttl, name.into(), service);
            evicted += table.add(client, ip(address), &answer);
        }
        (table, evicted)
    }

    /// Name, age in seconds and doubt of an address, for a client at a second.
    fn ask(table: &Addresses, second: i64, client: u8, address: u8) -> String {
        let name = table.view().name_of(ip(client), ip(address), second * SECOND);
        name.map_or_else(String::new, |name| {
            let doubt = name.doubt.map(|doubt| format!(" {doubt:?}")).unwrap_or_default();
            format!("{} {}{doubt}", name.name, name.age_ns / SECOND_NS)
        })
    }

    #[test]
    fn the_name_is_the_one_of_the_time_and_of_the_client() {
        let answers = [
            (10, 1, 9, "a.example", 60),
            (20, 2, 9, "b.example", 60),
            (90, 1, 9, "c.example", 60),
            (30, 0, 8, "printer.local", 60),
        ];
        let (table, _) = table(1_000, &answers);
        for (second, client, address, want) in [
            (9, 1, 9, ""),
            (10, 1, 9, "a.example 0"),
            (70, 1, 9, "a.example 60"),
            (71, 1, 9, "a.example 61 Stale"),
            (90, 1, 9, "c.example 0"),
            // Fresh and stale are not confused, two that are stale are.
            (151, 1, 9, "c.example 61 Ambiguous"),
            (80, 2, 9, "b.example 60"),
            (15, 3, 9, "a.example 5 OtherClient"),
            (25, 3, 9, "b.example 5 Ambiguous"),
            (40, 3, 8, "printer.local 10"),
            (90 + 60 + 600, 1, 9, "c.example 660 Stale"),
            (90 + 60 + 601, 1, 9, ""),
            (10, 1, 7, ""),
        ] {
            assert_eq!(ask(&table, second, client, address), want, "{second} {client} {address}");
        }
    }

    #[test]
    fn answers_may_come_in_any_order() {
        let mut answers = vec![
            (10, 1, 9, "a.example", 60),
            (20, 1, 9, "b.example", 60),
            (30, 1, 9, "c.example", 60),
        ];
        let (forward, _) = table(1_000, &answers);
        answers.reverse();
        let (backward, _) = table(1_000, &answers);
        for second in 0..100 {
            assert_eq!(ask(&forward, second, 1, 9), ask(&backward, second, 1, 9), "{second}");
        }
    }

    #[test]
    fn a_table_keeps_within_its_bounds_and_evicts_what_is_oldest() {
        let mut answers: Vec<_> = (0..100).map(|n| (n, 1, 9, "a.example", 60)).collect();
        let (one, evicted) = table(1_000, &answers);
        // One answer in half a minute for the address alone.
        assert_eq!(one.answers(), ANSWERS_KEPT + 4);
        assert_eq!(evicted, 100 - ANSWERS_KEPT as u64);
        assert_eq!(ask(&one, 99, 1, 9), "a.example 0");

        answers = (0..200).map(|n| (i64::from(n), 1, n, "a.example", 60)).collect();
        let (many, evicted) = table(100, &answers);
        assert_eq!((many.answers(), evicted), (100, 300));
        assert_eq!(ask(&many, 200, 1, 149), "");
        assert_eq!(ask(&many, 200, 1, 150), "a.example 50");
    }

    #[test]
    fn what_is_asked_again_is_not_the_oldest() {
        let mut answers = vec![(0, 1, 0, "kept.example", 600)];
        for n in 1..200 {
            answers.push((n, 1, u8::try_from(n).unwrap(), "a.example", 60));
            answers.push((n, 1, 0, "kept.example", 600));
        }
        let (table, _) = table(100, &answers);
        assert_eq!(ask(&table, 200, 1, 0), "kept.example 1");
    }
}
