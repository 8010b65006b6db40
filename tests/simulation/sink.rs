//! The end of the engine's middle: what takes ended records, and what a record says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use flowtap::flow::{
    Direction, EndReason, Features, FlowKey, FlowRecord, RecordKind, RoundTrip, SideCounts,
};
use flowtap::global::map::GlobalMap;
use flowtap::global::{Ended, GlobalCounters};
use flowtap::time::Timestamp;

use crate::fault::Injector;

/// An ended record, with its statistics if there are any.
pub(crate) type Ending = (FlowRecord, Option<Features>);

/// What was exported: all that a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) key: FlowKey,
    pub(crate) is_overflow: bool,
    pub(crate) flow_id: u64,
    /// Place of the flow's first packet in the input; tells flows of a key apart.
    pub(crate) ordinal: Option<u32>,
    pub(crate) flow_start: Option<Timestamp>,
    pub(crate) part: u32,
    pub(crate) initiator: Direction,
    pub(crate) macs: [Option<[u8; 6]>; 2],
    pub(crate) first_packet: Option<Direction>,
    pub(crate) icmp: Option<(u8, u8)>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) sides: [SideCounts; 2],
    /// In ns.
    pub(crate) handshake: [Option<u32>; 2],
    /// Of a flow, in the extended set.
    pub(crate) features: Option<Features>,
    /// [`flowtap::flow::TcpEvents`].
    pub(crate) tcp: u8,
    pub(crate) end: Option<EndReason>,
    /// Whether the flow has ended.
    pub(crate) is_complete: bool,
}

impl Exported {
    pub(crate) fn of((record, features): &Ending) -> Self {
        let (total, opening) = (&record.total, record.opening());
        Self {
            key: record.key,
            is_overflow: record.kind == RecordKind::Overflow,
            features: features.filter(|_| record.kind == RecordKind::Flow),
            flow_id: record.flow_id(),
            ordinal: opening.map(|o| o.ordinal),
            flow_start: opening.and_then(|o| o.flow_start),
            part: total.part,
            initiator: record.initiator(),
            macs: opening.map_or([None; 2], |o| o.macs),
            first_packet: opening.map(|o| o.first_packet),
            icmp: opening.and_then(|o| o.icmp),
            first: total.first,
            last: total.last,
            sides: total.sides,
            handshake: total.handshake.map(RoundTrip::ns),
            tcp: total.tcp.0,
            end: total.end,
            is_complete: total.is_complete(),
        }
    }

    pub(crate) fn packets(&self) -> u64 {
        self.sides[0].packets + self.sides[1].packets
    }

    /// The first and the last timestamp, if any packet had one.
    pub(crate) fn times(&self) -> Option<(Timestamp, Timestamp)> {
        (self.first <= self.last).then_some((self.first, self.last))
    }
}

/// A slow sink: batches wait, and it writes one at a time. Shared by all who end records.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    waiting: VecDeque<Vec<Ending>>,
    pub(crate) written: Vec<Ending>,
}

impl Sink {
    /// Batches that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Writes one batch, if any waits.
    pub(crate) fn step(&mut self) {
        self.written.extend(self.waiting.pop_front().unwrap_or_default());
    }
}

/// Collects ended records into batches for the sink: the engine's `Distributor`.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    pub(crate) batch: Vec<Ending>,
    pub(crate) batch_records: usize,
    pub(crate) sink: Rc<RefCell<Sink>>,
    pub(crate) injector: Rc<Injector>,
    /// Who evicts while `merge` ends a record, if anybody does. `merge` then has not yet put
    /// another cell in the place of the one that it closed: nobody may end that once more.
    pub(crate) beside: Option<Evictor<'a>>,
}

/// Evicts complete records, as `reap` does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evictor<'a> {
    pub(crate) map: &'a GlobalMap,
    pub(crate) counters: &'a GlobalCounters,
}

impl Evictor<'_> {
    /// Takes the record of `key` if it is complete, after `inside`, which may be called again.
    pub(crate) fn evict(&self, key: &FlowKey, inside: impl Fn()) -> Option<FlowRecord> {
        let record = self.map.evict(key, |total| {
            inside();
            total.is_complete()
        });
        record.inspect(|record| {
            self.counters.ended.add(1);
            self.counters.packets_in_flows.add(record.total.packets());
        })
    }
}

impl Ended for Recorder<'_> {
    fn ended(&mut self, record: FlowRecord) {
        self.take((record, None));
    }

    fn ended_with(&mut self, record: FlowRecord, features: &Features) {
        self.take((record, Some(*features)));
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.sink.borrow_mut().waiting.push_back(std::mem::take(&mut self.batch));
        }
    }
}

impl Recorder<'_> {
    fn take(&mut self, (record, features): Ending) {
        let beside = self.beside.and_then(|beside| beside.evict(&record.key, || ()));
        self.batch.extend(beside.map(|record| (record, None)));
        for record in self.injector.records(record) {
            self.batch.push((record, features));
        }
        if self.batch.len() >= self.batch_records {
            self.flush();
        }
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
