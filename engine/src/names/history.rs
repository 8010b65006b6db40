//! What was said of one thing, in the order of its time: an immutable list that shares with the one
//! before it all but what is new.
//!
//! It is in chunks, and what comes is the latest nearly always: then a copy of the last chunk is
//! made, and of pointers to the others. So another entry of a list of thousands costs as much as
//! one of a list of some dozens.

use crate::sync::Arc;

/// Entries that are copied when another one comes.
const CHUNK: usize = 32;

/// What has a place among others.
pub(super) trait Ordered {
    /// What tells its place.
    type Order<'a>: Ord
    where
        Self: 'a;
    /// Its place.
    fn order(&self) -> Self::Order<'_>;
}

/// At least one entry.
#[derive(Debug, Clone)]
pub(super) struct History<T> {
    /// None is empty.
    earlier: Box<[Arc<[T]>]>,
    /// Not empty.
    last: Arc<[T]>,
    len: usize,
}

impl<T: Ordered + Clone> History<T> {
    pub(super) fn new(one: T) -> Self {
        Self { earlier: Box::default(), last: Arc::new([one]), len: 1 }
    }

    /// As many of these as there are, which are in order; `None` if there are none.
    fn of(all: &[T]) -> Option<Self> {
        let mut chunks: Vec<Arc<[T]>> = all.chunks(CHUNK).map(Arc::from).collect();
        let last = chunks.pop()?;
        Some(Self { earlier: chunks.into(), last, len: all.len() })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn latest(&self) -> &T {
        &self.last[self.last.len() - 1]
    }

    /// The earliest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.earlier.iter().chain([&self.last]).flat_map(|chunk| chunk.iter())
    }

    /// Those up to a place, the latest first; `is_within` says of each whether it is.
    pub(super) fn back_from(
        &self,
        is_within: impl Fn(&T) -> bool + Clone,
    ) -> impl Iterator<Item = &T> + Clone {
        let chunks = if is_within(&self.last[0]) {
            self.earlier.len() + 1
        } else {
            self.earlier.partition_point(|chunk| is_within(&chunk[0]))
        };
        (0..chunks).rev().flat_map(move |number| {
            let chunk = self.earlier.get(number).unwrap_or(&self.last);
            chunk[..chunk.partition_point(&is_within)].iter().rev()
        })
    }

    /// The same with one more, behind those of the same place.
    pub(super) fn with(&self, one: T) -> Self {
        let len = self.len + 1;
        let is_in_last = self.earlier.is_empty() || self.last[0].order() <= one.order();
        if is_in_last && self.last.len() < CHUNK {
            let last = inserted(&self.last, one);
            return Self { earlier: self.earlier.clone(), last, len };
        }
        let mut earlier = self.earlier.to_vec();
        if is_in_last && self.latest().order() <= one.order() {
            earlier.push(Arc::clone(&self.last));
            return Self { earlier: earlier.into(), last: Arc::new([one]), len };
        }
        if is_in_last {
            let mut first: Vec<T> = inserted(&self.last, one);
            let last = first.split_off(first.len() / 2);
            earlier.push(first.into());
            return Self { earlier: earlier.into(), last: last.into(), len };
        }
        let number = earlier.partition_point(|chunk| chunk[0].order() <= one.order());
        let number = number.saturating_sub(1);
        let mut first: Vec<T> = inserted(&earlier[number], one);
        if first.len() > 2 * CHUNK {
            let second = first.split_off(first.len() / 2);
            earlier.insert(number + 1, second.into());
        }
        earlier[number] = first.into();
        Self { earlier: earlier.into(), last: Arc::clone(&self.last), len }
    }

    /// The same with another one in place of the latest.
    pub(super) fn with_latest(&self, latest: T) -> Self {
        let mut last = self.last.to_vec();
        last.pop();
        last.push(latest);
        Self { earlier: self.earlier.clone(), last: last.into(), len: self.len }
    }

    /// The same, once `change` was made to the latest, to so many of them at least if there are as
    /// many; it moves none.
    pub(super) fn with_changed(&self, count: usize, change: impl Fn(&mut T)) -> Self {
        let mut after = self.clone();
        let mut left = count;
        for chunk in std::iter::once(&mut after.last).chain(after.earlier.iter_mut().rev()) {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(chunk.len());
            let mut changed = chunk.to_vec();
            changed.iter_mut().for_each(&change);
            *chunk = changed.into();
        }
        after
    }

    /// The same, once `change` has taken some of the earliest away, but not all. It sees as many
    /// as a chunk has, if there are as many, and no more than three times as many.
    pub(super) fn with_earliest(&self, change: impl FnOnce(&mut Vec<T>)) -> Self {
        let mut rest = &*self.earlier;
        let mut earliest = Vec::with_capacity(2 * CHUNK);
        while earliest.len() < CHUNK
            && let Some((next, others)) = rest.split_first()
        {
            earliest.extend_from_slice(next);
            rest = others;
        }
        if earliest.is_empty() {
            let mut last = self.last.to_vec();
            change(&mut last);
            return Self { earlier: Box::default(), len: last.len(), last: last.into() };
        }
        let before = earliest.len();
        change(&mut earliest);
        let len = self.len - (before - earliest.len());
        let earlier = [Arc::from(earliest)].into_iter().chain(rest.iter().cloned()).collect();
        Self { earlier, last: Arc::clone(&self.last), len }
    }

    /// The same without those that do not stay. `None` if none do.
    pub(super) fn retain(&self, stays: impl Fn(&T) -> bool) -> Option<Self> {
        let all: Vec<T> = self.iter().filter(|one| stays(one)).cloned().collect();
        Self::of(&all)
    }
}

/// A chunk with one more.
fn inserted<T: Ordered + Clone, C: FromIterator<T>>(chunk: &[T], one: T) -> C {
    let at = chunk.partition_point(|other| other.order() <= one.order());
    let (before, behind) = chunk.split_at(at);
    before.iter().cloned().chain([one]).chain(behind.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A place, and what tells those of one place apart.
    type One = (u16, usize);

    impl Ordered for One {
        type Order<'a> = u16;
        fn order(&self) -> u16 {
            self.0
        }
    }

    /// Mostly in order, as what is said comes.
    fn places() -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec((0u16..4, 0u16..600), 1..600).prop_map(|all| {
            let place =
                |(number, (kind, any)): (u16, (u16, u16))| if kind == 0 { any } else { number };
            (0..).zip(all).map(place).collect()
        })
    }

    proptest! {
        /// Against a plain list.
        #[test]
        fn it_is_a_list_in_order(places in places(), take in 0usize..40) {
            let mut list: Vec<One> = Vec::new();
            let mut history: Option<History<One>> = None;
            for (number, place) in places.into_iter().enumerate() {
                let at = list.partition_point(|other| other.0 <= place);
                list.insert(at, (place, number));
                let next = history.take().map(|before| before.with((place, number)));
                history = Some(next.unwrap_or_else(|| History::new((place, number))));
            }
            let history = history.expect("one is there");
            prop_assert!(history.iter().eq(&list));
            prop_assert_eq!((history.len(), history.latest()), (list.len(), &list[list.len() - 1]));
            prop_assert!(history.earlier.iter().all(|chunk| (1..=2 * CHUNK).contains(&chunk.len())));
            prop_assert!((1..=CHUNK).contains(&history.last.len()));
            for place in [0, 7, 300, 600] {
                let within = list.iter().rev().filter(|one| one.0 <= place);
                prop_assert!(history.back_from(|one| one.0 <= place).eq(within));
            }
            // Some of the earliest are gone, and the latest is another.
            let mut gone = 0;
            let fewer = history.with_earliest(|all| {
                assert_eq!(*all, list[..all.len()]);
                gone = take.min(all.len() - 1);
                all.drain(..gone);
            });
            prop_assert!(fewer.iter().eq(&list[gone..]));
            prop_assert_eq!(fewer.len(), list.len() - gone);
            prop_assert!(fewer.earlier.iter().all(|chunk| (1..3 * CHUNK).contains(&chunk.len())));
            let other = fewer.with_latest((u16::MAX, 0));
            prop_assert_eq!((other.latest(), other.len()), (&(u16::MAX, 0), fewer.len()));
            let changed = history.with_changed(70, |one| one.1 += 1_000);
            let are_others: Vec<_> = changed.iter().map(|one| one.1 >= 1_000).collect();
            let first = are_others.iter().position(|is| *is).expect("some are");
            prop_assert!(first <= list.len().saturating_sub(70) && first + 200 > list.len());
            prop_assert!(are_others[first..].iter().all(|is| *is));
            prop_assert!(changed.iter().zip(&list).all(|(one, other)| one.1 % 1_000 == other.1));
            let stays = |one: &One| one.1.is_multiple_of(3);
            let rest: Vec<_> = list.iter().filter(|one| stays(one)).collect();
            let retained = history.retain(stays);
            prop_assert!(retained.iter().flat_map(History::iter).eq(rest.iter().copied()));
            prop_assert_eq!(retained.map_or(0, |it| it.len()), rest.len());
        }
    }
}
