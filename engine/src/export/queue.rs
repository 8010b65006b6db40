//! The bounded queue of one sink, from the threads that end records to the thread that
//! writes them.
//!
//! It holds up to [`SINK_RECORDS`] records, in batches that all sinks share. It is the one
//! place that knows whether the writing thread has something to do and does not get on: at
//! the end of a run it is then given up.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::export::account::SinkAccount;
use crate::export::intervals::Entry;
use crate::flow::{Features, FlowRecord};
use crate::limits::{
    FILE_PATIENCE, SINK_BYTES, SINK_FEATURES_BYTES, SINK_PATIENCE, SINK_PATIENCE_IN_ALL,
    SINK_RECORDS, SINK_RECORDS_READ,
};
use crate::names::{DnsTransaction, Labels};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, thread};

/// Records that all sinks share, with what some runs have beside them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<FlowRecord>,
    /// Of each record, or there are none at all.
    pub(super) features: Vec<Features>,
    /// Of those that have any, each with the record's place, in order.
    pub(super) labels: Vec<(u32, Labels)>,
    /// In place of records: transactions of name services.
    pub(super) transactions: Vec<DnsTransaction>,
    /// In place of records: statistics of an interval.
    pub(super) intervals: Box<[Entry]>,
}

impl Batch {
    /// How many records or transactions there are.
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.transactions.len() + self.intervals.len()
    }

    /// For how many records' memory it stands: transactions are of any length.
    fn places(&self) -> usize {
        let bytes: usize = self.transactions.iter().map(DnsTransaction::bytes).sum();
        self.records.len() + bytes.div_ceil(RECORD_BYTES) + self.intervals.len()
    }
}

/// Whether a batch's memory is not much more than its records take: a quarter may be empty.
pub(super) fn is_well_filled(batch: &Vec<FlowRecord>) -> bool {
    4 * batch.len() >= 3 * batch.capacity()
}

/// What a record takes at most while it waits: in a batch of its own, or in one that is no more
/// than well filled, with the counts of its `Arc` and its place in the queue; and its labels, in
/// a list that has grown. Their text is shared with the tables of names.
const RECORD_BYTES: usize = size_of::<FlowRecord>() * 4 / 3
    + 2 * size_of::<(u32, Labels)>()
    + 2 * size_of::<usize>()
    + size_of::<Batch>()
    + size_of::<Message>();
const _: () = assert!(SINK_RECORDS * RECORD_BYTES <= SINK_BYTES);
const _: () = assert!(SINK_RECORDS * size_of::<Features>() * 4 / 3 <= SINK_FEATURES_BYTES);

/// What becomes of records when a sink's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait: the packets can wait too (`read`).
    Wait,
    /// Count them as not sent: the packets cannot wait (`capture`).
    Drop,
}

/// How long the end of a run waits for a sink.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a sink that has something to do and takes nothing.
    pub silent: Duration,
    /// For any sink, and for a file to get onto its disk.
    pub in_all: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silent: SINK_PATIENCE, in_all: SINK_PATIENCE_IN_ALL }
    }
}

/// What the writing thread is to do.
pub(super) enum Message {
    /// Write these.
    Records(Arc<Batch>),
    /// There was nothing to do until the moment that was asked for.
    Idle,
    Reopen,
    /// The run is over.
    Finish,
    /// The run has failed to start: what stands under the final name stays.
    Discard,
    /// Nobody waits any more: what is written stays as it is.
    Leave,
}

/// How a pause of the writing thread ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It is time.
    Elapsed,
    /// The run is over.
    Ends,
    /// The run has failed to start.
    Discard,
    /// Nobody waits any more.
    Leave,
}

/// When the writing thread last got on. Its one writer is that thread.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    last_ns: AtomicU64,
    is_syncing: AtomicBool,
}

// Relaxed: a time and a state for show; a look that comes too early or late waits a little
// longer or less.
impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ns: AtomicU64::new(0),
            is_syncing: AtomicBool::new(false),
        }
    }

    /// Something was taken.
    pub(crate) fn note(&self) {
        let ns = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last_ns.store(ns, Ordering::Relaxed);
    }

    /// From here on, or no longer, the disk is waited for: nothing is taken meanwhile.
    pub(crate) fn set_syncing(&self, is_syncing: bool) {
        self.is_syncing.store(is_syncing, Ordering::Relaxed);
        self.note();
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_nanos(self.last_ns.load(Ordering::Relaxed))
    }
}

/// A sink's queue and account.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) account: Arc<SinkAccount>,
    pub(super) progress: Arc<Progress>,
    state: Mutex<State>,
    /// There is something to do.
    filled: Condvar,
    /// There is room, or the writing thread has ended.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    /// In `messages`, by the memory that they take.
    records: usize,
    /// Those who bring records wait for room, whoever they are.
    is_last_call: bool,
    /// Those who brought the last records would have waited.
    can_wait: bool,
    /// What comes after all messages.
    end: Option<Message>,
    /// Nothing is taken any more, for this cause.
    refuses: Option<Cow<'static, str>>,
    /// Nothing can be written at present: why, and since when.
    outage: Option<(String, Instant)>,
    /// The writing thread has something to do.
    is_busy: bool,
    /// The writing thread has ended.
    is_done: bool,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Records(_) => "Records",
            Self::Idle => "Idle",
            Self::Reopen => "Reopen",
            Self::Finish => "Finish",
            Self::Discard => "Discard",
            Self::Leave => "Leave",
        })
    }
}

impl Queue {
    pub(super) fn new(name: String) -> Self {
        Self {
            account: Arc::new(SinkAccount::new(name)),
            progress: Arc::new(Progress::new()),
            // Until it asks for something to do, the thread is beginning.
            state: Mutex::new(State { is_busy: true, ..State::default() }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Takes a batch, or accounts for it as not sent.
    pub(super) fn offer(&self, batch: &Arc<Batch>, when_full: WhenFull) {
        let mut state = self.state();
        state.can_wait = when_full == WhenFull::Wait;
        let most = match when_full {
            WhenFull::Wait => SINK_RECORDS_READ,
            WhenFull::Drop => SINK_RECORDS,
        };
        let places = batch.places();
        // One batch finds room, however long it is.
        let has_room = |state: &State| state.records == 0 || state.records + places <= most;
        let waits = |state: &State| when_full == WhenFull::Wait || state.is_last_call;
        while waits(&state) && state.refuses.is_none() && !has_room(&state) {
            let left = match &state.outage {
                None => Duration::MAX,
                Some((_, since)) => FILE_PATIENCE.saturating_sub(since.elapsed()),
            };
            if left.is_zero() {
                break;
            }
            let waited = self.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let records = batch.len() as u64;
        if let Some(cause) = &state.refuses {
            self.account.turned_away(&batch.records);
            self.account.refused(cause, records);
        } else if has_room(&state) {
            state.records += places;
            state.messages.push_back(Message::Records(Arc::clone(batch)));
            self.account.taken(records);
            self.filled.notify_one();
        } else {
            let cause = state.outage.as_ref().map_or("queue full", |(cause, _)| cause);
            self.account.turned_away(&batch.records);
            self.account.refused(cause, records);
        }
    }

    /// From now on nothing can be written, since a moment and for some cause; or it can again. What
    /// waits is kept, and those who bring records wait for room for [`FILE_PATIENCE`] at most.
    pub(super) fn set_outage(&self, outage: Option<(String, Instant)>) {
        self.state().outage = outage;
        self.emptied.notify_all();
    }

    /// Whether nothing that comes would be written: for good, or for longer than is waited.
    pub(super) fn takes_nothing(&self) -> bool {
        let state = self.state();
        let is_long = |outage: &(String, Instant)| outage.1.elapsed() >= FILE_PATIENCE;
        state.refuses.is_some() || state.outage.as_ref().is_some_and(is_long)
    }

    /// Whether packets wait as long as there is no room, so that a slow reader loses nothing. At the
    /// end of a run there is nothing that could.
    pub(super) fn can_wait(&self) -> bool {
        let state = self.state();
        state.can_wait && !state.is_last_call
    }

    /// Nothing can be written any more: what waits and what comes was not sent for `cause`.
    pub(super) fn refuse(&self, cause: &str) {
        let mut state = self.state();
        if state.refuses.is_none() {
            state.refuses = Some(Cow::Owned(cause.to_owned()));
            let lens = state.messages.drain(..).map(|message| match message {
                Message::Records(batch) => batch.len() as u64,
                _ => 0,
            });
            self.account.not_written(cause, lens.sum());
            state.records = 0;
            self.emptied.notify_all();
        }
    }

    /// No more packets come, so that nothing is lost by waiting for room: from now on all do.
    pub(super) fn last_call(&self) {
        self.state().is_last_call = true;
    }

    /// Asks for another file, after what waits now. Never lost, however full the queue is:
    /// requests with nothing between them are one.
    pub(super) fn reopen(&self) {
        let mut state = self.state();
        if !matches!(state.messages.back(), Some(Message::Reopen)) {
            state.messages.push_back(Message::Reopen);
            self.filled.notify_one();
        }
    }

    /// Says what comes after all that waits.
    pub(super) fn end(&self, end: Message) {
        self.state().end = Some(end);
        self.filled.notify_one();
    }

    /// Waits for something to do, `until` a moment if one is given. For the writing thread.
    pub(super) fn next(&self, until: Option<Instant>) -> Message {
        let mut state = self.state();
        state.is_busy = false;
        loop {
            let next = if state.refuses.is_some() {
                Some(Message::Leave)
            } else {
                state.messages.pop_front().or_else(|| state.end.take())
            };
            if let Some(message) = next {
                if let Message::Records(batch) = &message {
                    state.records -= batch.places();
                    self.emptied.notify_all();
                }
                state.is_busy = true;
                self.progress.note();
                return message;
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    state.is_busy = true;
                    self.progress.note();
                    return Message::Idle;
                }
                Some(left) => {
                    let waited = self.filled.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits `until` a moment though there may be something to write: for the writing thread, in
    /// an outage. The end of the run, unless it is known, is told at once.
    pub(super) fn pause(&self, until: Instant, knows_end: bool) -> Pause {
        let mut state = self.state();
        state.is_busy = false;
        let pause = loop {
            let left = until.saturating_duration_since(Instant::now());
            match &state.end {
                _ if state.refuses.is_some() => break Pause::Leave,
                Some(Message::Discard) => break Pause::Discard,
                Some(_) if !knows_end => break Pause::Ends,
                _ if left.is_zero() => break Pause::Elapsed,
                _ => {
                    let waited = self.filled.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        state.is_busy = true;
        self.progress.note();
        pause
    }

    /// The writing thread has ended, and takes nothing more.
    pub(super) fn done(&self) {
        let mut state = self.state();
        state.is_done = true;
        state.refuses.get_or_insert(Cow::Borrowed("stopped"));
        if thread::panicking() {
            let name = self.account.name();
            let error = Error::new(format!("write {name}"), "its thread has panicked");
            self.account.given_up("stopped", error, false);
        }
        self.emptied.notify_all();
    }

    /// Waits for the writing thread to end, up to `time`. Whether it has.
    pub(super) fn wait_done(&self, time: Duration) -> bool {
        let waited = self.emptied.wait_timeout_while(self.state(), time, |state| !state.is_done);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_done
    }

    /// Gives the writing thread up if it has held up, since `since`, the end of a run for
    /// longer than `patience` has. Whether it has been given up.
    pub(super) fn give_up_if_stuck(
        &self,
        since: Instant,
        patience: &Patience,
        error: impl FnOnce(&str) -> (Error, bool),
    ) -> bool {
        let mut state = self.state();
        // The run is over, however it came to that.
        state.is_last_call = true;
        if self.account.is_given_up() {
            return true;
        }
        if state.is_done || !state.is_busy {
            return false;
        }
        let silent = self.progress.last().max(since).elapsed();
        let is_silent =
            silent >= patience.silent && !self.progress.is_syncing.load(Ordering::Relaxed);
        let held_up = since.elapsed();
        let cause = if is_silent {
            format!("takes nothing for {} s", silent.as_secs())
        } else if held_up >= patience.in_all {
            format!("is not done after {} s", held_up.as_secs())
        } else {
            return false;
        };
        state.refuses = Some(Cow::Borrowed("stuck"));
        state.messages.clear();
        state.records = 0;
        let (error, is_loss) = error(&cause);
        self.account.given_up("stuck", error, is_loss);
        self.emptied.notify_all();
        true
    }

    /// A poisoned lock guards what is whole after each statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
