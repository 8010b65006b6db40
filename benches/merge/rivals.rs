//! Other maps in the global map's place, and none at all.

use std::net::IpAddr;
use std::sync::{Arc, RwLock};

use flowtap::flow::{Delta, Direction, FlowKey, FlowRecord};
use flowtap::global::cell::FlowCell;
use flowtap::global::map::GlobalMap;
use flowtap::global::map::cells::Cells;

type State = ahash::RandomState;

/// What every rival does.
pub(crate) trait Store: Sync {
    /// Begins a record or folds into it.
    fn merge(&self, published: &FlowRecord);
    /// Takes a complete record out.
    fn evict(&self, key: &FlowKey) -> Option<FlowRecord>;
    /// The packets of all live records.
    fn read(&self) -> u64;
}

impl<C: Cells> Store for GlobalMap<C> {
    fn merge(&self, published: &FlowRecord) {
        self.merge(&published.key, &published.total, |_| panic!("every flow has a key of its own"));
    }

    fn evict(&self, key: &FlowKey) -> Option<FlowRecord> {
        self.evict(key, Delta::is_complete)
    }

    fn read(&self) -> u64 {
        let mut packets = 0;
        self.for_each(|_, total| packets += total.packets());
        packets
    }
}

/// flurry's map under our protocol.
pub(crate) struct Flurry(flurry::HashMap<FlowKey, Arc<FlowCell>, State>);

impl Default for Flurry {
    fn default() -> Self {
        Self(flurry::HashMap::with_hasher(State::new()))
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

    fn for_each(
        &self,
        _: usize,
        guard: &Self::Guard<'_>,
        mut each: impl FnMut(&FlowKey, &FlowCell),
    ) {
        self.0.iter(guard).for_each(|(key, cell)| each(key, cell));
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// dashmap's map under our protocol.
#[derive(Default)]
pub(crate) struct Dash(dashmap::DashMap<FlowKey, FlowCell, State>);

impl Cells for Dash {
    type Guard<'a> = ();

    fn guard(&self) -> Self::Guard<'_> {}

    fn with<R>(
        &self,
        key: &FlowKey,
        (): &Self::Guard<'_>,
        look: impl FnOnce(&FlowCell) -> R,
    ) -> Option<R> {
        self.0.get(key).map(|cell| look(&cell))
    }

    fn insert(&self, key: FlowKey, cell: FlowCell, (): &Self::Guard<'_>) {
        self.0.insert(key, cell);
    }

    fn remove_if(
        &self,
        key: &FlowKey,
        (): &Self::Guard<'_>,
        condition: impl Fn(&FlowCell) -> bool,
    ) {
        self.0.remove_if(key, |_, cell| condition(cell));
    }

    fn for_each(&self, _: usize, (): &Self::Guard<'_>, mut each: impl FnMut(&FlowKey, &FlowCell)) {
        self.0.iter().for_each(|entry| each(entry.key(), entry.value()));
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// scc's map under our protocol.
#[derive(Default)]
pub(crate) struct Scc(scc::HashMap<FlowKey, FlowCell, State>);

impl Cells for Scc {
    type Guard<'a> = ();

    fn guard(&self) -> Self::Guard<'_> {}

    fn with<R>(
        &self,
        key: &FlowKey,
        (): &Self::Guard<'_>,
        look: impl FnOnce(&FlowCell) -> R,
    ) -> Option<R> {
        self.0.read_sync(key, |_, cell| look(cell))
    }

    fn insert(&self, key: FlowKey, cell: FlowCell, (): &Self::Guard<'_>) {
        self.0.upsert_sync(key, cell);
    }

    fn remove_if(
        &self,
        key: &FlowKey,
        (): &Self::Guard<'_>,
        condition: impl Fn(&FlowCell) -> bool,
    ) {
        self.0.remove_if_sync(key, |cell| condition(cell));
    }

    fn for_each(&self, _: usize, (): &Self::Guard<'_>, mut each: impl FnMut(&FlowKey, &FlowCell)) {
        self.0.iter_sync(|key, cell| {
            each(key, cell);
            true
        });
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// papaya with the record in its node and no cell: its own protocol in place of ours.
#[derive(Default)]
pub(crate) struct PapayaRecords(papaya::HashMap<FlowKey, Delta, State>);

impl Store for PapayaRecords {
    fn merge(&self, published: &FlowRecord) {
        let sum = |total: &Delta| {
            let mut sum = *total;
            sum.combine(&published.total);
            sum
        };
        self.0.pin().update_or_insert(published.key, sum, published.total);
    }

    fn evict(&self, key: &FlowKey) -> Option<FlowRecord> {
        let records = self.0.pin();
        let (key, total) = records.remove_if(key, |_, total| total.is_complete()).ok()??;
        Some(FlowRecord::flow(*key, *total))
    }

    fn read(&self) -> u64 {
        self.0.pin().values().map(Delta::packets).sum()
    }
}

/// Places by the number in a key, `T` in each: what is left when the map is left out.
pub(crate) struct Array<T>(Vec<RwLock<Option<T>>>);

impl<T> Array<T> {
    /// For as many live flows, numbered one after the other.
    pub(crate) fn new(live: usize) -> Self {
        Self((0..live + 1).map(|_| RwLock::new(None)).collect())
    }

    fn place(&self, key: &FlowKey) -> &RwLock<Option<T>> {
        // The number is in the end of the two that is in 10.0.0.0/8.
        let number = [Direction::Forward, Direction::Reverse].into_iter().find_map(|way| {
            let IpAddr::V4(address) = key.source_ip(way) else { panic!("IPv4 only") };
            let [first, rest @ ..] = address.octets();
            (first == 10).then(|| rest.iter().fold(0, |all, &byte| all << 8 | usize::from(byte)))
        });
        &self.0[number.expect("one end has it") % self.0.len()]
    }
}

impl Cells for Array<FlowCell> {
    type Guard<'a> = ();

    fn guard(&self) -> Self::Guard<'_> {}

    fn with<R>(
        &self,
        key: &FlowKey,
        (): &Self::Guard<'_>,
        look: impl FnOnce(&FlowCell) -> R,
    ) -> Option<R> {
        self.place(key).read().expect("no panic").as_ref().map(look)
    }

    fn insert(&self, key: FlowKey, cell: FlowCell, (): &Self::Guard<'_>) {
        *self.place(&key).write().expect("no panic") = Some(cell);
    }

    fn remove_if(
        &self,
        key: &FlowKey,
        (): &Self::Guard<'_>,
        condition: impl Fn(&FlowCell) -> bool,
    ) {
        self.place(key).write().expect("no panic").take_if(|cell| condition(cell));
    }

    fn for_each(&self, _: usize, (): &Self::Guard<'_>, _: impl FnMut(&FlowKey, &FlowCell)) {
        unreachable!("an array is not read");
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// Neither map nor epochs: a record allocated, replaced and freed.
impl Store for Array<Box<Delta>> {
    fn merge(&self, published: &FlowRecord) {
        let mut place = self.place(&published.key).write().expect("no panic");
        let mut sum = published.total;
        if let Some(total) = place.as_ref() {
            sum.combine(total);
        }
        *place = Some(Box::new(sum));
    }

    fn evict(&self, key: &FlowKey) -> Option<FlowRecord> {
        let total = self.place(key).write().expect("no panic").take()?;
        Some(FlowRecord::flow(*key, *total))
    }

    fn read(&self) -> u64 {
        unreachable!("an array is not read");
    }
}
