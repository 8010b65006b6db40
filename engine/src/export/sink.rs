//! `export-<sink>`: one thread and one bounded queue for each sink.
//!
//! A sink that fails takes nothing more; what it was given is counted as not sent, by
//! cause, and the other sinks go on. A sink that is stuck holds up nothing but what waits
//! for it: in a capture nothing, in `read` the reader, and the end of a run only for a while.

use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::export::collector::Exporter;
use crate::export::completed::Completed;
use crate::export::output::Output;
use crate::export::queue::{Batch, Message, Queue};
use crate::export::{Context, Encoder, Patience, SinkAccount, SinkSpec, Target};
use crate::sync::{Arc, thread};

/// How often to look whether a sink that is waited for is stuck.
const LOOK: Duration = Duration::from_millis(50);

/// How long a run that has failed to start waits for a sink to clean up.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// A running sink. One that is dropped before [`Sink::finish_all`] belongs to a run that
/// failed to start: nothing is left of it.
#[derive(Debug)]
pub struct Sink {
    pub(super) queue: Arc<Queue>,
    /// What a file is called while it is written.
    part: Option<PathBuf>,
    /// `None` once it was joined, or given up.
    thread: Option<thread::JoinHandle<()>>,
}

/// A sink whose target is open, without a thread yet: what privileges are given up in between
/// is given up for that thread too. One that is dropped leaves nothing.
pub struct OpenSink {
    spec: SinkSpec,
    queue: Arc<Queue>,
    /// `None` of a collector, and once it was started.
    output: Option<Output>,
}

impl OpenSink {
    /// Opens all targets; files by a pattern are of `interfaces`.
    ///
    /// # Errors
    /// If a target cannot be opened; then nothing was written to any of them.
    pub fn open_all(specs: &[SinkSpec], interfaces: &[String]) -> Result<Vec<Self>> {
        let open = |spec: &SinkSpec| {
            let queue = Arc::new(Queue::new(spec.name()));
            // A collector may be there later; its socket needs no privilege.
            let output = match spec.target {
                Target::Collector(_) => None,
                _ => Some(Output::open(spec, interfaces, &queue.progress)?),
            };
            Ok(Self { spec: spec.clone(), queue, output })
        };
        specs.iter().map(open).collect()
    }

    /// The file, if it is one, that is written under another name until it is complete.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref()?.part_file()
    }

    /// What the sink will have done.
    #[must_use]
    pub fn account(&self) -> Arc<SinkAccount> {
        Arc::clone(&self.queue.account)
    }

    /// Starts a thread for each.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start_all(opened: Vec<Self>, context: &Context) -> Result<Vec<Sink>> {
        let start = |mut open: Self| {
            let queue = Arc::clone(&open.queue);
            match (open.output.take(), &open.spec.target) {
                (Some(output), _) => Sink::start(&open.spec, queue, output, context),
                (None, Target::Collector(endpoint)) => {
                    let (endpoint, options) = (endpoint.clone(), &open.spec.options);
                    let of = Arc::clone(&queue);
                    let exporter = Exporter::new(endpoint, options, of, context.clone());
                    Sink::spawn(queue, None, move || exporter.run())
                }
                (None, _) => unreachable!("it is taken here only"),
            }
        };
        opened.into_iter().map(start).collect()
    }
}

impl Drop for OpenSink {
    fn drop(&mut self) {
        if let Some(output) = self.output.take() {
            output.discard();
        }
    }
}

impl Sink {
    /// Opens all targets, and then starts a thread for each.
    ///
    /// # Errors
    /// If a target cannot be opened; then nothing was written to any of them.
    pub fn start_all(specs: &[SinkSpec], context: &Context) -> Result<Vec<Self>> {
        OpenSink::start_all(OpenSink::open_all(specs, &context.interfaces)?, context)
    }

    fn start(
        spec: &SinkSpec,
        queue: Arc<Queue>,
        output: Output,
        context: &Context,
    ) -> Result<Self> {
        let part = output.current_name().map(Into::into);
        let writer = SinkThread {
            spec: spec.clone(),
            encoder: spec.format.encoder(context.features_set),
            bytes: Vec::new(),
            output: None,
            held_since: None,
            rotates: None,
            context: context.clone(),
            queue: Arc::clone(&queue),
            finished_bytes: 0,
            completed: Completed::default(),
        };
        Self::spawn(queue, part, move || writer.run(output))
    }

    fn spawn(
        queue: Arc<Queue>,
        part: Option<PathBuf>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let thread = thread::Builder::new()
            .name(format!("export-{}", queue.account.name()))
            .spawn(run)
            .map_err(|e| Error::new("start an export thread", e))?;
        Ok(Self { queue, part, thread: Some(thread) })
    }

    /// What the sink has done so far.
    #[must_use]
    pub fn account(&self) -> Arc<SinkAccount> {
        Arc::clone(&self.queue.account)
    }

    /// Completes the current file and starts another under the same name, once what waits
    /// now is written.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// No more packets come: from now on those who bring records wait for room, and none is
    /// counted as not sent for the want of it.
    pub fn last_call(&self) {
        self.queue.last_call();
    }

    /// Gives the sink up if it has held up the end of a run, which began at `since`, for too
    /// long. Whether it has been given up.
    pub fn give_up_if_stuck(&self, since: Instant, patience: &Patience) -> bool {
        let name = self.queue.account.name();
        self.queue.give_up_if_stuck(since, patience, |cause| match &self.part {
            Some(part) => {
                let part = part.display();
                let error = Error::new(format!("write {part}"), format!("the disk {cause}"));
                (error.advise(format!("{part} holds what was written before")), false)
            }
            None => (Error::new(format!("write {name}"), format!("its reader {cause}")), true),
        })
    }

    /// Waits for the sinks to write and complete everything: as long as it takes, but with
    /// `patience` once the run `ends_since` a moment. All
    /// [distributors](crate::export::Distributor) must be gone.
    pub fn finish_all(
        sinks: Vec<Self>,
        patience: &Patience,
        mut ends_since: impl FnMut() -> Option<Instant>,
    ) {
        sinks.iter().for_each(|sink| sink.queue.end(Message::Finish));
        for mut sink in sinks {
            // Each is asked since when it takes nothing: to wait for them one after the other
            // takes no longer than for the slowest.
            let thread = sink.thread.take();
            loop {
                if sink.queue.wait_done(LOOK) {
                    // `done` was told also by a thread that panicked, and it has said why.
                    let _ = thread.map(thread::JoinHandle::join);
                    break;
                }
                if ends_since().is_some_and(|since| sink.give_up_if_stuck(since, patience)) {
                    break;
                }
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.queue.end(Message::Discard);
            if self.queue.wait_done(CLEAN_UP) {
                // There is nothing to lose.
                let _ = thread.join();
            }
        }
    }
}

struct SinkThread {
    spec: SinkSpec,
    encoder: Box<dyn Encoder>,
    /// What was encoded and is to be written.
    bytes: Vec<u8>,
    /// `None` once the sink has failed.
    output: Option<Output>,
    /// When the encoder began to hold records back, if it does.
    held_since: Option<Instant>,
    /// When the next file begins, if that is asked for.
    rotates: Option<Instant>,
    context: Context,
    queue: Arc<Queue>,
    /// Bytes of files that are complete.
    finished_bytes: u64,
    /// Files that are complete.
    completed: Completed,
}

/// However the thread ends, those who wait for it are told.
impl Drop for SinkThread {
    fn drop(&mut self) {
        self.queue.done();
    }
}

impl SinkThread {
    fn run(mut self, output: Output) {
        self.begin(output);
        loop {
            match self.queue.next(self.next_look()) {
                Message::Records(batch) => {
                    self.write(&batch);
                    self.look();
                }
                Message::Idle => self.look(),
                // There is no other standard output to begin.
                Message::Reopen if self.spec.target == Target::Stdout => {}
                Message::Reopen => self.renew(),
                Message::Finish => return self.complete(),
                Message::Leave => return,
                Message::Discard => {
                    if let Some(output) = self.output.take() {
                        output.discard();
                    }
                    return;
                }
            }
        }
    }

    /// When something is to be done though no record comes.
    fn next_look(&self) -> Option<Instant> {
        self.checkpoint().into_iter().chain(self.rotates).min()
    }

    /// When what is held back is to be written.
    fn checkpoint(&self) -> Option<Instant> {
        self.held_since?.checked_add(self.spec.options.checkpoint)
    }

    /// Does what is due by now; a busy queue is never idle.
    fn look(&mut self) {
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= Instant::now());
        let (is_old, most) = (is_due(self.rotates), self.spec.options.rotate_size);
        let is_long = |output: &Output| {
            output.current_name().is_some() && most.is_some_and(|most| output.bytes() >= most)
        };
        if is_old || self.encoder.is_full() || self.output.as_ref().is_some_and(is_long) {
            self.renew();
        } else if is_due(self.checkpoint()) {
            self.flush();
        }
    }

    fn begin(&mut self, output: Output) {
        let is_file = output.current_name().is_some();
        self.rotates = self.spec.options.rotate.filter(|_| is_file).and_then(next_multiple);
        self.bytes.clear();
        self.encoder.begin(&mut self.bytes);
        self.output = Some(output);
        self.put(0);
    }

    /// Completes the current file and begins another.
    fn renew(&mut self) {
        self.complete();
        if !self.queue.account.has_failed() {
            match Output::open(&self.spec, &self.context.interfaces, &self.queue.progress) {
                Ok(output) => self.begin(output),
                Err(error) => self.give_up(error, "cannot reopen", 0, false),
            }
        }
    }

    fn write(&mut self, batch: &Batch) {
        let records = batch.records.len() as u64;
        if self.output.is_none() {
            return self.queue.account.not_written("failed before", records);
        }
        self.bytes.clear();
        self.encoder.encode(&self.context.rows(batch), &mut self.bytes);
        self.put(records);
        self.held_since = match self.held_since {
            _ if !self.encoder.holds_back() => None,
            None => Some(Instant::now()),
            since => since,
        };
    }

    /// Writes what the encoder holds back.
    fn flush(&mut self) {
        self.held_since = None;
        if self.output.is_some() {
            self.bytes.clear();
            self.encoder.flush(&mut self.bytes);
            self.put(0);
        }
    }

    /// Writes out what was encoded, with it `records` from the queue.
    fn put(&mut self, records: u64) {
        let Some(output) = &mut self.output else { return };
        match output.write_all(&self.bytes).and_then(|()| output.flush_batch()) {
            Ok(is_with_system) => {
                let bytes = self.finished_bytes + output.bytes();
                let is_whole = !self.encoder.needs_end() && !self.encoder.holds_back();
                self.queue.account.written(records, bytes, is_with_system && is_whole);
            }
            Err(error) => self.fail(&error, records),
        }
    }

    /// Completes the current file.
    fn complete(&mut self) {
        (self.held_since, self.rotates) = (None, None);
        let Some(mut output) = self.output.take() else { return };
        let name = output.current_name().map(|name| name.display().to_string());
        let account = &self.queue.account;
        self.bytes.clear();
        self.encoder.end(&mut self.bytes);
        let finished = output
            .write_all(&self.bytes)
            .and_then(|()| output.finish(&mut self.completed, || !account.is_given_up()));
        match finished {
            Ok(bytes) => {
                self.finished_bytes += bytes;
                account.completed(self.finished_bytes);
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
        let by_reader = error.kind() == io::ErrorKind::BrokenPipe;
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
        self.give_up(failure, &cause, records, by_reader);
    }

    /// Takes nothing more; `records` and what is unconfirmed was not sent, for `cause`.
    fn give_up(&mut self, failure: Error, cause: &str, records: u64, by_reader: bool) {
        // Dropping a broken output may try to write once more, in vain; nothing is renamed.
        self.output = None;
        (self.held_since, self.rotates) = (None, None);
        self.queue.account.failed(failure, cause, records, by_reader);
    }
}

/// When the clock will be at a multiple of `every` since 1970, UTC.
fn next_multiple(every: Duration) -> Option<Instant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = now.as_nanos().checked_rem(every.as_nanos())?;
    let left = every - Duration::from_nanos(u64::try_from(since).ok()?);
    Instant::now().checked_add(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_begin_at_multiples_of_the_clock() {
        for every in [1, 60, 300, 86_400].map(Duration::from_secs) {
            let next = next_multiple(every).unwrap();
            let left = next.saturating_duration_since(Instant::now());
            assert!(left <= every);
            let next = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + left;
            let off = next.as_nanos() % every.as_nanos();
            let off = off.min(every.as_nanos() - off);
            // What passes between two looks at the clocks.
            assert!(off < every.as_nanos() / 3, "{every:?}: off by {off} ns");
        }
        assert!(next_multiple(Duration::ZERO).is_none());
    }
}
