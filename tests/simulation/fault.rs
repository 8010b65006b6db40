//! Faults on purpose, between the real components: what shows that the checks would find
//! such faults inside them.

use std::cell::Cell;
use std::rc::Rc;

use flowtap::flow::{Features, FlowRecord, RecordKind};
use flowtap::table::Outlet;
use flowtap::table::outbox::Outbox;

/// What goes wrong, once in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A delta with packets is lost.
    LoseDelta,
    /// A delta with packets is published twice.
    RepeatDelta,
    /// A delta's two directions are exchanged.
    TurnDelta,
    /// The end of a flow is not said.
    LoseEnd,
    /// An ended record is lost.
    LoseRecord,
    /// A record ends twice.
    RepeatRecord,
    /// A record ends early by a nanosecond.
    ShortenRecord,
    /// The statistics of two directions are exchanged.
    TurnFeatures,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::LoseDelta,
        Self::RepeatDelta,
        Self::TurnDelta,
        Self::LoseEnd,
        Self::LoseRecord,
        Self::RepeatRecord,
        Self::ShortenRecord,
        Self::TurnFeatures,
    ];
}

/// Does what is to go wrong, at the first occasion after `skip` others.
#[derive(Debug)]
pub(crate) struct Injector {
    fault: Option<Fault>,
    skip: Cell<usize>,
    done: Cell<bool>,
}

impl Injector {
    pub(crate) fn new(fault: Option<Fault>, skip: usize) -> Self {
        Self { fault, skip: Cell::new(skip), done: Cell::new(false) }
    }

    /// Whether the fault has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Whether this is the moment for `fault`.
    fn is_now(&self, fault: Fault) -> bool {
        if self.fault != Some(fault) || self.done.get() {
            return false;
        }
        let left = self.skip.get();
        self.skip.set(left.saturating_sub(1));
        self.done.set(left == 0);
        left == 0
    }

    /// What a delta becomes.
    fn deltas(&self, mut published: FlowRecord) -> impl Iterator<Item = FlowRecord> {
        let delta = &mut published.total;
        let mut times = 1;
        if delta.packets() > 0 {
            if self.is_now(Fault::LoseDelta) {
                times = 0;
            } else if self.is_now(Fault::RepeatDelta) {
                times = 2;
            }
        }
        if delta.sides[0] != delta.sides[1] && self.is_now(Fault::TurnDelta) {
            delta.sides.reverse();
        }
        if delta.end.is_some() && published.kind == RecordKind::Flow && self.is_now(Fault::LoseEnd)
        {
            delta.end = None;
        }
        std::iter::repeat_n(published, times)
    }

    /// What the statistics of a part become.
    fn features(&self, mut features: Features) -> Features {
        if features.0[0].lengths != features.0[1].lengths && self.is_now(Fault::TurnFeatures) {
            features.0.reverse();
        }
        features
    }

    /// What an ended record becomes.
    pub(crate) fn records(&self, mut record: FlowRecord) -> impl Iterator<Item = FlowRecord> {
        let mut times = 1;
        if self.is_now(Fault::LoseRecord) {
            times = 0;
        } else if self.is_now(Fault::RepeatRecord) {
            times = 2;
        }
        if record.total.first < record.total.last && self.is_now(Fault::ShortenRecord) {
            record.total.last -= 1;
        }
        std::iter::repeat_n(record, times)
    }
}

/// An outbox with the fault in it.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) outbox: Outbox,
    pub(crate) injector: Rc<Injector>,
}

impl Outlet for Tap {
    fn room(&self) -> usize {
        // One delta may become two.
        let spare = usize::from(self.injector.fault == Some(Fault::RepeatDelta));
        self.outbox.room().saturating_sub(spare)
    }

    fn publish(&mut self, hash: u64, published: FlowRecord) {
        for published in self.injector.deltas(published) {
            self.outbox.publish(hash, published);
        }
    }

    fn publish_features(&mut self, hash: u64, features: &Features) {
        self.outbox.publish_features(hash, &self.injector.features(*features));
    }
}
