//! What the global map asks of a concurrent map, and flurry, which answers it.
//!
//! Nothing here knows the protocol of merging and evicting, and [`super`] does not know
//! whose map it is: benchmarks put rivals in its place, and model checks a simple one.

use crate::flow::FlowKey;
use crate::global::cell::FlowCell;
use crate::sync::Arc;

/// A concurrent map of cells.
pub trait Cells: Sync {
    /// Keeps what a thread finds in the map from being freed.
    type Guard<'a>
    where
        Self: 'a;

    /// A guard for some calls: cheap, and not to be held for long.
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

    /// Passes all cells to `each`, but not of one moment.
    fn for_each(&self, guard: &Self::Guard<'_>, each: impl FnMut(&FlowKey, &FlowCell));

    /// Cells, about.
    fn count(&self) -> usize;
}

/// flurry's map.
pub struct Flurry(flurry::HashMap<FlowKey, Arc<FlowCell>, ahash::RandomState>);

impl Default for Flurry {
    fn default() -> Self {
        Self(flurry::HashMap::with_hasher(ahash::RandomState::new()))
    }
}

impl Cells for Flurry {
    type Guard<'a> = flurry::Guard<'a>;

    fn guard(&self) -> Self::Guard<'_> {
        self.0.guard()
    }

    fn with<R>(
        &self,
        key: &FlowKey,
        guard: &Self::Guard<'_>,
        look: impl FnOnce(&FlowCell) -> R,
    ) -> Option<R> {
        self.0.get(key, guard).map(|cell| look(cell))
    }

    fn insert(&self, key: FlowKey, cell: FlowCell, guard: &Self::Guard<'_>) {
        self.0.insert(key, Arc::new(cell), guard);
    }

    fn remove_if(
        &self,
        key: &FlowKey,
        guard: &Self::Guard<'_>,
        condition: impl Fn(&FlowCell) -> bool,
    ) {
        // flurry can remove a value or put another in its place, but not leave it alone.
        let keep = |cell: &Arc<FlowCell>| (!condition(cell)).then(|| Arc::clone(cell));
        self.0.compute_if_present(key, |_, cell| keep(cell), guard);
    }

    fn for_each(&self, guard: &Self::Guard<'_>, mut each: impl FnMut(&FlowKey, &FlowCell)) {
        self.0.iter(guard).for_each(|(key, cell)| each(key, cell));
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}
