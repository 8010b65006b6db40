//! What the global map asks of a concurrent map, and papaya, which answers it.
//!
//! Nothing here knows the protocol of merging and evicting, and [`super`] does not know
//! whose map it is: benchmarks put rivals in its place, and model checks a simple one.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use papaya::{HashMap, LocalGuard, ResizeMode};
use seize::Collector;

use crate::flow::{FlowKey, KeyHasher};
use crate::global::cell::FlowCell;
use crate::limits::MAP_PARTS;
use crate::sync::Arc;

/// A concurrent map of cells.
pub trait Cells: Sync {
    /// Keeps what a thread finds in the map from being freed.
    type Guard<'a>
    where
        Self: 'a;

    /// A guard for one call of the global map: cheap, and not to be held for long.
    fn guard(&self) -> Self::Guard<'_>;

    /// Passes the cell of `key` to `look`, if there is one.
    fn with<R>(
        &self,
        key: &FlowKey,
        guard: &Self::Guard<'_>,
        look: impl FnOnce(&FlowCell) -> R,
    ) -> Option<R>;

    /// Puts `cell` at `key`, in the place of whatever is there.
    fn insert(&self, key: FlowKey, cell: FlowCell, guard: &Self::Guard<'_>);

    /// Takes the cell of `key` out if `condition` holds for it: in one step, so that no other
    /// cell goes in its place.
    fn remove_if(
        &self,
        key: &FlowKey,
        guard: &Self::Guard<'_>,
        condition: impl Fn(&FlowCell) -> bool,
    );

    /// In how many parts all cells can be gone over, one after the other.
    fn parts(&self) -> usize {
        1
    }

    /// Passes all cells of a part to `each`, but not of one moment.
    fn for_each(&self, part: usize, guard: &Self::Guard<'_>, each: impl FnMut(&FlowKey, &FlowCell));

    /// Cells, about.
    fn count(&self) -> usize;
}

/// papaya's map, in parts by the hash of the key: each grows by itself, so that no merge has
/// to wait for all of them, and each can be gone over by itself. One collector serves them
/// all, and so does one guard; all are dropped at once, as the first frees what the collector
/// holds of any.
pub struct Papaya {
    hasher: KeyHasher,
    parts: Box<[HashMap<Hashed, FlowCell, BuildHasherDefault<Known>>]>,
}

/// A key with its hash, so that it is computed once for each call, and never to grow.
#[derive(PartialEq, Eq)]
struct Hashed {
    hash: u64,
    key: FlowKey,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Passes on a hash that is known.
#[derive(Default)]
struct Known(u64);

impl Hasher for Known {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("`Hashed` writes its hash only");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

const _: () = assert!(MAP_PARTS.is_power_of_two() && MAP_PARTS <= 256, "the part is a byte");

impl Default for Papaya {
    fn default() -> Self {
        Self::seeded(KeyHasher::default())
    }
}

impl Papaya {
    /// With this hasher. For measurements that must repeat; all others want the default, which
    /// nobody outside can aim collisions at.
    #[must_use]
    pub fn seeded(hasher: KeyHasher) -> Self {
        let collector = Arc::new(Collector::new());
        let part = |_| {
            let collector = Arc::clone(&collector);
            HashMap::builder()
                .hasher(BuildHasherDefault::new())
                .shared_collector(collector)
                // A part is small: it grows as one, and is whole again for who goes over it.
                .resize_mode(ResizeMode::Blocking)
                .build()
        };
        Self { hasher, parts: (0..MAP_PARTS).map(part).collect() }
    }

    fn hashed(&self, key: &FlowKey) -> Hashed {
        Hashed { hash: self.hasher.hash(key), key: *key }
    }

    /// The part that a key belongs to. papaya takes its places from the lower bits of the
    /// hash and its tags from the uppermost, so these come from between.
    fn part_of(&self, key: &Hashed) -> &HashMap<Hashed, FlowCell, BuildHasherDefault<Known>> {
        let byte = usize::from(key.hash.to_le_bytes()[6]);
        &self.parts[byte % MAP_PARTS]
    }
}

impl Cells for Papaya {
    type Guard<'a> = LocalGuard<'a>;

    fn guard(&self) -> Self::Guard<'_> {
        self.parts[0].guard()
    }

    fn with<R>(
        &self,
        key: &FlowKey,
        guard: &Self::Guard<'_>,
        look: impl FnOnce(&FlowCell) -> R,
    ) -> Option<R> {
        let key = self.hashed(key);
        self.part_of(&key).get(&key, guard).map(look)
    }

    fn insert(&self, key: FlowKey, cell: FlowCell, guard: &Self::Guard<'_>) {
        let key = self.hashed(&key);
        self.part_of(&key).insert(key, cell, guard);
    }

    fn remove_if(
        &self,
        key: &FlowKey,
        guard: &Self::Guard<'_>,
        condition: impl Fn(&FlowCell) -> bool,
    ) {
        let key = self.hashed(key);
        // An error says that the condition does not hold: then another cell is there.
        let _ = self.part_of(&key).remove_if(&key, |_, cell| condition(cell), guard);
    }

    fn parts(&self) -> usize {
        self.parts.len()
    }

    fn for_each(
        &self,
        part: usize,
        guard: &Self::Guard<'_>,
        mut each: impl FnMut(&FlowKey, &FlowCell),
    ) {
        self.parts[part].iter(guard).for_each(|(hashed, cell)| each(&hashed.key, cell));
    }

    fn count(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }
}
