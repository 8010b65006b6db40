//! The thread of a sink that writes a file, a pipe, a device or standard output.

use std::io::{self, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::export::completed::Completed;
use crate::export::output::Output;
use crate::export::queue::{Batch, Message, Queue};
use crate::export::{Context, Encoder, SinkSpec, Target};
use crate::sync::Arc;

pub(super) struct SinkThread {
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
    pub(super) fn new(spec: &SinkSpec, queue: Arc<Queue>, context: &Context) -> Self {
        Self {
            spec: spec.clone(),
            encoder: spec.format.encoder(context.features_set),
            bytes: Vec::new(),
            output: None,
            held_since: None,
            rotates: None,
            context: context.clone(),
            queue,
            finished_bytes: 0,
            completed: Completed::default(),
        }
    }

    /// Writes to `output`, and what follows it, until the queue ends.
    pub(super) fn run(mut self, output: Output) {
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
