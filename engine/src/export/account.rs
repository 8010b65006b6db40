//! What became of the records that were given to one sink: each of them waits, was written, is on
//! disk for later, or was not sent for some cause. One lock holds it all, so that this is true at any
//! moment. So it is with what earlier runs have left on disk, which has an account of its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::error::Error;
use crate::flow::FlowRecord;
use crate::limits::SINK_NOTICES;

/// What one sink has done.
#[derive(Debug, Default)]
pub struct SinkAccount {
    name: String,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Taken over and not settled yet.
    waiting: u64,
    records: u64,
    /// Among `records`: may still be in a compressor when something fails.
    unconfirmed: u64,
    bytes: u64,
    errors: u64,
    removed: u64,
    not_sent: BTreeMap<String, u64>,
    /// Waits on disk.
    spooled: u64,
    spool: Option<SpoolAccount>,
    /// What those count that were turned away.
    turned_away: Lost,
    has_failed: bool,
    was_closed_by_reader: bool,
    is_given_up: bool,
    failure: Option<Error>,
    loss: Option<Error>,
    notices: Vec<String>,
}

/// What a sink's spool holds, and what became of the records that earlier runs have left in it: each
/// of them was sent, is left, or was not sent for some cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpoolAccount {
    /// Bytes on disk.
    pub bytes: u64,
    /// Records of earlier runs that were there at the start.
    pub found: u64,
    /// Those of them that were sent.
    pub sent: u64,
    /// Those of them that are still there, as the spool counts them.
    pub left: u64,
    /// Those of them that were lost, by cause.
    pub not_sent: BTreeMap<String, u64>,
    /// Bytes that were found cut or damaged: how many records that were is not known.
    pub damaged_bytes: u64,
}

/// What was not sent, for whatever cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) records: u64,
    /// What they count, as far as they were turned away while the run went on.
    pub(super) packets: u64,
    pub(super) octets: u64,
}

impl Tally {
    fn lose(&mut self, cause: &str, records: u64) {
        if records > 0 {
            *self.not_sent.entry(cause.to_owned()).or_default() += records;
        }
    }

    /// Takes back what was written and may not have arrived. Returns how much that was.
    fn take_unconfirmed(&mut self) -> u64 {
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        self.records -= unconfirmed;
        unconfirmed
    }
}

impl SinkAccount {
    pub(super) fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records written.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.tally().records
    }

    /// Bytes written, compressed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tally().bytes
    }

    /// Operations that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.tally().errors
    }

    /// Finished files that were removed, as they are not to be kept.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.tally().removed
    }

    /// Whether the sink takes nothing more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.tally().has_failed
    }

    /// Whether the reader of a pipe went away: its wish, and not an error.
    #[must_use]
    pub fn was_closed_by_reader(&self) -> bool {
        self.tally().was_closed_by_reader
    }

    /// What made the sink fail.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.tally().failure.clone()
    }

    /// Why records were lost to a reader that does not read, or not these: a loss, and not a
    /// failure.
    #[must_use]
    pub fn loss(&self) -> Option<Error> {
        self.tally().loss.clone()
    }

    /// Records that were not sent, by cause.
    #[must_use]
    pub fn not_sent(&self) -> BTreeMap<String, u64> {
        self.tally().not_sent.clone()
    }

    /// Records that are on disk, to be sent later: at the end of a run, by the next one.
    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.tally().spooled
    }

    /// What its spool holds, if it has one.
    #[must_use]
    pub fn spool(&self) -> Option<SpoolAccount> {
        self.tally().spool.clone()
    }

    /// What the user should know of the sink, since the last call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.tally().notices)
    }

    /// Tells the user something; what nobody takes is not kept without bound.
    pub(super) fn notice(&self, text: String) {
        let mut tally = self.tally();
        if tally.notices.len() < SINK_NOTICES {
            tally.notices.push(text);
        }
    }

    /// `records` were put into the sink's queue.
    pub(super) fn taken(&self, records: u64) {
        self.tally().waiting += records;
    }

    /// `records` were not put into the sink's queue.
    pub(super) fn refused(&self, cause: &str, records: u64) {
        self.tally().lose(cause, records);
    }

    /// These records are turned away.
    pub(super) fn turned_away(&self, records: &[FlowRecord]) {
        let sides = || records.iter().flat_map(|record| &record.total.sides);
        let (packets, octets): (u64, u64) =
            (sides().map(|side| side.packets).sum(), sides().map(|side| side.bytes).sum());
        let lost = &mut self.tally().turned_away;
        (lost.packets, lost.octets) = (lost.packets + packets, lost.octets + octets);
    }

    /// What was not sent so far.
    pub(super) fn lost(&self) -> Lost {
        let tally = self.tally();
        Lost { records: tally.not_sent.values().sum(), ..tally.turned_away }
    }

    /// `records` from the queue were written, and `bytes` in all are with the system; so
    /// are all records, if that `is_confirmed`.
    pub(super) fn written(&self, records: u64, bytes: u64, is_confirmed: bool) {
        let mut tally = self.tally();
        if tally.is_given_up {
            return;
        }
        tally.waiting -= records;
        tally.records += records;
        tally.unconfirmed = if is_confirmed { 0 } else { tally.unconfirmed + records };
        tally.bytes = bytes;
    }

    /// `records` from the queue were not written.
    pub(super) fn not_written(&self, cause: &str, records: u64) {
        let mut tally = self.tally();
        if !tally.is_given_up {
            tally.waiting -= records;
            tally.lose(cause, records);
        }
    }

    /// There is a spool, in which earlier runs have left this.
    pub(super) fn has_spool(&self, spool: SpoolAccount) {
        self.tally().spool = Some(spool);
    }

    /// `records` from the queue are on disk.
    pub(super) fn spooled_some(&self, records: u64) {
        let mut tally = self.tally();
        if !tally.is_given_up {
            tally.waiting -= records;
            tally.spooled += records;
        }
    }

    /// `records` from the spool were sent; `bytes` in all are with the system.
    pub(super) fn spool_sent(&self, records: u64, is_former: bool, bytes: u64) {
        let mut tally = self.tally();
        if tally.is_given_up {
            return;
        }
        tally.bytes = bytes;
        match &mut tally.spool {
            Some(spool) if is_former => spool.sent += records,
            _ => {
                tally.spooled -= records;
                tally.records += records;
            }
        }
    }

    /// `records` in the spool were lost.
    pub(super) fn spool_lost(&self, cause: &str, records: u64, is_former: bool) {
        let mut tally = self.tally();
        if tally.is_given_up || records == 0 {
            return;
        }
        match &mut tally.spool {
            Some(spool) if is_former => {
                *spool.not_sent.entry(cause.to_owned()).or_default() += records;
            }
            _ => {
                tally.spooled -= records;
                tally.lose(cause, records);
            }
        }
    }

    /// The spool has so many bytes, and so many records of earlier runs.
    pub(super) fn spool_has(&self, bytes: u64, left: u64) {
        let mut tally = self.tally();
        if tally.is_given_up {
            return;
        }
        if let Some(spool) = &mut tally.spool {
            (spool.bytes, spool.left) = (bytes, left);
        }
    }

    /// A file was completed; all files have `bytes`.
    pub(super) fn completed(&self, bytes: u64) {
        self.written(0, bytes, true);
    }

    /// `records` from the queue were not written, and cannot be, while others can. The first such
    /// `error` is told at the end.
    pub(super) fn not_taken(&self, cause: &str, records: u64, error: Error) {
        self.not_written(cause, records);
        self.tally().loss.get_or_insert(error);
    }

    /// Finished files were removed.
    pub(super) fn removed_files(&self, files: u64) {
        self.tally().removed += files;
    }

    /// An operation has failed, and will be tried again; the user is told.
    pub(super) fn stumbled(&self, text: String) {
        self.tally().errors += 1;
        self.notice(text);
    }

    /// `records` that counted as written were lost after all, with them what is unconfirmed.
    pub(super) fn lost_after_all(&self, cause: &str, records: u64) {
        let mut tally = self.tally();
        if !tally.is_given_up {
            tally.unconfirmed = 0;
            tally.records -= records;
            tally.lose(cause, records);
        }
    }

    /// The sink has failed and takes nothing more; `records` from the queue and what is
    /// unconfirmed were not sent for `cause`.
    pub(super) fn failed(&self, failure: Error, cause: &str, records: u64, by_reader: bool) {
        let mut tally = self.tally();
        if tally.is_given_up {
            return;
        }
        let lost = records + tally.take_unconfirmed();
        tally.waiting -= records;
        tally.lose(cause, lost);
        tally.errors += 1;
        tally.has_failed = true;
        tally.was_closed_by_reader |= by_reader;
        tally.failure.get_or_insert(failure);
    }

    /// Nobody waits for the sink any more: all that is not known to be written was not sent
    /// for `cause`, and what its thread does from now on does not count.
    pub(super) fn given_up(&self, cause: &str, error: Error, is_loss: bool) {
        let mut tally = self.tally();
        if tally.is_given_up {
            return;
        }
        let lost = std::mem::take(&mut tally.waiting) + tally.take_unconfirmed();
        tally.lose(cause, lost);
        tally.is_given_up = true;
        tally.has_failed = true;
        if is_loss {
            tally.loss = Some(error);
        } else {
            tally.errors += 1;
            tally.failure.get_or_insert(error);
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.tally().is_given_up
    }

    /// A poisoned lock guards plain numbers: they are as good as before.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::tcp_record;

    #[test]
    fn what_was_not_sent_is_counted_in_records_packets_and_octets() {
        let account = SinkAccount::default();
        let records = [tcp_record(); 2];
        let sides = records[0].total.sides;
        account.turned_away(&records);
        account.refused("queue full", 2);
        account.turned_away(&records[..1]);
        account.taken(1);
        account.not_written("connection refused", 1);
        let lost = account.lost();
        assert_eq!(lost.records, 3);
        assert_eq!(lost.packets, 3 * (sides[0].packets + sides[1].packets));
        assert_eq!(lost.octets, 3 * (sides[0].bytes + sides[1].bytes));
    }
}
