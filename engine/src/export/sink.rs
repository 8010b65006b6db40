//! `export-<sink>`: one thread and one bounded queue for each sink, and the hand that
//! passes each batch of ended records to all of them.
//!
//! A sink that fails takes nothing more; what it was given is counted as not sent, by
//! cause, and the other sinks go on.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::error::{Error, Result};
use crate::export::output::Output;
use crate::export::schema::Row;
use crate::export::{Encoder, SinkSpec, Target};
use crate::flow::FlowRecord;
use crate::global::Ended;
use crate::limits::{BATCH_RECORDS, SINK_BATCHES};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, thread};

type Batch = Arc<[FlowRecord]>;

/// What becomes of records when a sink's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait: the packets can wait too (`read`).
    Wait,
    /// Count them as not sent: the packets cannot wait (`capture`).
    Drop,
}

enum Message {
    Records(Batch),
    Reopen,
    /// The run is over. A queue that closes without this belongs to a run that failed to
    /// start: what stands under the final name then stays.
    Finish,
}

/// What one sink has done.
#[derive(Debug, Default)]
pub struct SinkAccount {
    name: String,
    records: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    failed: AtomicBool,
    closed_by_reader: AtomicBool,
    not_sent: Mutex<BTreeMap<String, u64>>,
    failure: Mutex<Option<Error>>,
}

// All counters here are relaxed: they order nothing, and are exact once the sink's thread
// was joined.
impl SinkAccount {
    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records written.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes written, compressed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Operations that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Whether the sink has given up.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the reader of a pipe went away: its wish, and not an error.
    #[must_use]
    pub fn was_closed_by_reader(&self) -> bool {
        self.closed_by_reader.load(Ordering::Relaxed)
    }

    /// What made the sink give up.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        lock(&self.failure).clone()
    }

    /// Records that were not sent, by cause.
    #[must_use]
    pub fn not_sent(&self) -> BTreeMap<String, u64> {
        lock(&self.not_sent).clone()
    }

    fn add_not_sent(&self, cause: &str, records: u64) {
        if records > 0 {
            *lock(&self.not_sent).entry(cause.to_owned()).or_default() += records;
        }
    }
}

/// A poisoned lock guards plain numbers: they are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A running sink.
pub struct Sink {
    queue: SyncSender<Message>,
    account: Arc<SinkAccount>,
    thread: thread::JoinHandle<()>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Sink {
    /// Opens all targets, and then starts a thread for each.
    ///
    /// # Errors
    /// If a target cannot be opened; then nothing was written to any of them.
    pub fn start_all(specs: &[SinkSpec], interfaces: &Arc<[String]>) -> Result<Vec<Self>> {
        let mut outputs = Vec::with_capacity(specs.len());
        for spec in specs {
            match Output::open(spec) {
                Ok(output) => outputs.push(output),
                Err(error) => {
                    outputs.into_iter().for_each(Output::discard);
                    return Err(error);
                }
            }
        }
        let start = |(spec, output)| Self::start(spec, output, Arc::clone(interfaces));
        specs.iter().zip(outputs).map(start).collect()
    }

    fn start(spec: &SinkSpec, output: Output, interfaces: Arc<[String]>) -> Result<Self> {
        let account = Arc::new(SinkAccount { name: spec.name(), ..SinkAccount::default() });
        let (queue, messages) = sync_channel(SINK_BATCHES);
        let writer = SinkThread {
            spec: spec.clone(),
            encoder: spec.format.encoder(),
            output: None,
            interfaces,
            account: Arc::clone(&account),
            unconfirmed: 0,
            finished_bytes: 0,
            completed: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name(format!("export-{}", spec.name()))
            .spawn(move || writer.run(output, &messages))
            .map_err(|e| Error::new("start an export thread", e))?;
        Ok(Self { queue, account, thread })
    }

    /// What the sink has done so far.
    #[must_use]
    pub fn account(&self) -> Arc<SinkAccount> {
        Arc::clone(&self.account)
    }

    /// Completes the current file and starts another under the same name.
    pub fn reopen(&self) {
        // A full queue means that records wait; the next signal may try again.
        let _ = self.queue.try_send(Message::Reopen);
    }

    /// Ends the sink of a run that failed to start: nothing is left of it.
    pub fn abandon(self) {
        drop(self.queue);
        // There is nothing to lose.
        let _ = self.thread.join();
    }

    /// Waits for the sink to write and complete everything. All [`Distributor`]s must be
    /// gone.
    pub fn finish(self) {
        // An error means that the thread is gone, which joining it tells.
        let _ = self.queue.send(Message::Finish);
        drop(self.queue);
        if self.thread.join().is_err() {
            self.account.errors.fetch_add(1, Ordering::Relaxed);
            self.account.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// Passes ended records to every sink. Each `merge` or `reap` thread has its own.
pub struct Distributor {
    batch: Vec<FlowRecord>,
    sinks: Vec<(SyncSender<Message>, Arc<SinkAccount>)>,
    when_full: WhenFull,
}

impl std::fmt::Debug for Distributor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distributor").field("when_full", &self.when_full).finish_non_exhaustive()
    }
}

impl Distributor {
    /// To all of `sinks`.
    #[must_use]
    pub fn new(sinks: &[Sink], when_full: WhenFull) -> Self {
        let sinks = sinks.iter().map(|s| (s.queue.clone(), Arc::clone(&s.account))).collect();
        Self { batch: Vec::with_capacity(BATCH_RECORDS), sinks, when_full }
    }
}

impl Ended for Distributor {
    fn ended(&mut self, record: FlowRecord) {
        self.batch.push(record);
        if self.batch.len() == BATCH_RECORDS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch: Batch = self.batch.drain(..).collect();
        for (queue, account) in &self.sinks {
            let message = Message::Records(Arc::clone(&batch));
            let lost = match self.when_full {
                WhenFull::Wait => queue.send(message).err().map(|_| "stopped"),
                WhenFull::Drop => match queue.try_send(message) {
                    Ok(()) => None,
                    Err(TrySendError::Full(_)) => Some("queue full"),
                    Err(TrySendError::Disconnected(_)) => Some("stopped"),
                },
            };
            if let Some(cause) = lost {
                account.add_not_sent(cause, batch.len() as u64);
            }
        }
    }
}

impl Drop for Distributor {
    fn drop(&mut self) {
        self.flush();
    }
}

struct SinkThread {
    spec: SinkSpec,
    encoder: Box<dyn Encoder>,
    /// `None` once the sink has failed.
    output: Option<Output>,
    interfaces: Arc<[String]>,
    account: Arc<SinkAccount>,
    /// Records written that may still be in a compressor when something fails.
    unconfirmed: u64,
    /// Bytes of files that are complete.
    finished_bytes: u64,
    /// Files that are complete.
    completed: Vec<PathBuf>,
}

impl SinkThread {
    fn run(mut self, output: Output, messages: &Receiver<Message>) {
        self.begin(output);
        for message in messages {
            match message {
                Message::Records(batch) => self.write(&batch),
                // There is no other standard output to begin.
                Message::Reopen if self.spec.target == Target::Stdout => {}
                Message::Reopen => {
                    self.complete();
                    if !self.account.has_failed() {
                        match Output::open(&self.spec) {
                            Ok(output) => self.begin(output),
                            Err(error) => self.give_up(error, "cannot reopen", 0),
                        }
                    }
                }
                Message::Finish => return self.complete(),
            }
        }
        if let Some(output) = self.output.take() {
            output.discard();
        }
    }

    fn begin(&mut self, mut output: Output) {
        let begun = self.encoder.begin(&mut output);
        self.output = Some(output);
        if let Err(error) = begun {
            self.fail(&error, 0);
        }
    }

    fn write(&mut self, batch: &[FlowRecord]) {
        let Some(output) = &mut self.output else {
            return self.account.add_not_sent("failed before", batch.len() as u64);
        };
        let mut write = || {
            for record in batch {
                let row = Row { record, interfaces: &self.interfaces };
                self.encoder.encode(&row, output)?;
            }
            output.flush_batch()
        };
        match write() {
            Ok(is_confirmed) => {
                self.account.bytes.store(self.finished_bytes + output.bytes(), Ordering::Relaxed);
                self.account.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.unconfirmed += batch.len() as u64;
                if is_confirmed {
                    self.unconfirmed = 0;
                }
            }
            Err(error) => self.fail(&error, batch.len() as u64),
        }
    }

    /// Completes the current file.
    fn complete(&mut self) {
        let Some(output) = self.output.take() else { return };
        let name = output.current_name().map(|name| name.display().to_string());
        match output.finish(&mut self.completed) {
            Ok(bytes) => {
                self.finished_bytes += bytes;
                self.unconfirmed = 0;
                self.account.bytes.store(self.finished_bytes, Ordering::Relaxed);
            }
            Err(error) => self.fail_named(name, &error, 0),
        }
    }

    fn fail(&mut self, error: &io::Error, records: u64) {
        let name = self.output.as_ref().and_then(Output::current_name);
        let name = name.map(|name| name.display().to_string());
        self.fail_named(name, error, records);
    }

    fn fail_named(&mut self, part: Option<String>, error: &io::Error, records: u64) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.account.closed_by_reader.store(true, Ordering::Relaxed);
        }
        let name = part.clone().unwrap_or_else(|| self.spec.name());
        let failure = Error::new(format!("write {name}"), error);
        let failure = match (error.kind(), part) {
            (io::ErrorKind::StorageFull, Some(part)) => failure.advise(format!(
                "free some space and run again; {part} holds what was written before"
            )),
            (_, Some(part)) => failure.advise(format!("{part} holds what was written before")),
            (_, None) => failure,
        };
        let cause = error.kind().to_string();
        self.give_up(failure, &cause, records);
    }

    /// Takes nothing more; `records` and what is unconfirmed was not sent, for `cause`.
    fn give_up(&mut self, failure: Error, cause: &str, records: u64) {
        // Dropping a broken output may try to write once more, in vain; nothing is renamed.
        self.output = None;
        self.account.errors.fetch_add(1, Ordering::Relaxed);
        self.account.records.fetch_sub(self.unconfirmed, Ordering::Relaxed);
        self.account.add_not_sent(cause, records + self.unconfirmed);
        self.unconfirmed = 0;
        lock(&self.account.failure).get_or_insert(failure);
        self.account.failed.store(true, Ordering::Relaxed);
    }
}
