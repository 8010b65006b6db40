//! The thread of a sink that writes a file, a pipe, a device or standard output.
//!
//! A file that cannot be written is told once. What has been taken stays in memory, what comes
//! waits in the queue, and it is tried again, ever more rarely; when it can be written, it is
//! completed and another one begins. What does not fit the queue is counted by cause, and so is
//! what is left at the end. Whatever is no file has failed for good.

mod trouble;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::export::completed::Completed;
use crate::export::outage::Outage;
use crate::export::output::Output;
use crate::export::queue::{Batch, Message, Queue};
use crate::export::{Context, Encoder, SinkSpec, Target};
use crate::sync::Arc;

/// How often it is looked whether somebody has put the clock by which files begin.
const CLOCK_LOOK: Duration = Duration::from_secs(1);

pub(super) struct SinkThread {
    spec: SinkSpec,
    encoder: Box<dyn Encoder>,
    /// What was encoded and is to be written.
    bytes: Vec<u8>,
    /// `None` in an outage in which there is none, and after the end.
    output: Option<Output>,
    /// Whether outputs are files, which are renamed when they are complete.
    is_file: bool,
    /// Records that the output has.
    records: u64,
    /// Among them: not on the disk for sure.
    unsynced: u64,
    /// Nothing more goes into the output: it is to be completed.
    has_end: bool,
    /// Since when something is not where it can be read after a crash.
    unsafe_since: Option<Instant>,
    /// When the next file begins by the wall's clock, if that is asked for.
    rotates: Option<SystemTime>,
    outage: Option<Outage>,
    /// No more records come.
    is_over: bool,
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
            encoder: spec.encoder(context.features_set),
            bytes: Vec::new(),
            output: None,
            is_file: false,
            records: 0,
            unsynced: 0,
            has_end: false,
            unsafe_since: None,
            rotates: None,
            outage: None,
            is_over: false,
            context: context.clone(),
            queue,
            finished_bytes: 0,
            completed: Completed::default(),
        }
    }

    /// Writes to `output`, and what follows it, until the queue ends.
    pub(super) fn run(mut self, output: Output) {
        self.is_file = output.current_name().is_some();
        self.begin(output);
        self.clear_away(Path::new(""));
        loop {
            if self.outage.as_ref().is_some_and(Outage::is_on) {
                self.wait_out();
            } else if self.is_over {
                self.complete();
            } else {
                match self.queue.next(self.next_look()) {
                    Message::Records(batch) => {
                        self.write(&batch);
                        self.look();
                    }
                    Message::Idle => self.look(),
                    // There is no other standard output to begin.
                    Message::Reopen if self.spec.target == Target::Stdout => {}
                    Message::Reopen => self.renew(),
                    Message::Finish => self.is_over = true,
                    Message::Leave => return,
                    Message::Discard => return self.discard(),
                }
            }
            let is_on = self.outage.as_ref().is_some_and(Outage::is_on);
            if self.is_over && self.output.is_none() && !is_on {
                return self.recovered();
            }
        }
    }

    fn discard(&mut self) {
        if let Some(output) = self.output.take() {
            output.discard();
        }
    }

    /// When something is to be done though no record comes.
    fn next_look(&self) -> Option<Instant> {
        let left = |at: SystemTime| at.duration_since(SystemTime::now()).unwrap_or_default();
        let rotates = self.rotates.map(|at| Instant::now() + left(at).min(CLOCK_LOOK));
        self.checkpoint().into_iter().chain(rotates).min()
    }

    /// When what is held back is to be written.
    fn checkpoint(&self) -> Option<Instant> {
        self.unsafe_since?.checked_add(self.spec.options.checkpoint)
    }

    /// Does what is due by now; a busy queue is never idle.
    fn look(&mut self) {
        if self.outage.as_ref().is_some_and(Outage::is_over) {
            self.recovered();
        }
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= Instant::now());
        let now = SystemTime::now();
        self.rotates = self.rotates.map(|at| by_clock(at, self.spec.options.rotate, now));
        let is_old = self.rotates.is_some_and(|at| at <= now);
        let most = self.spec.options.rotate_size;
        let is_long =
            |output: &Output| self.is_file && most.is_some_and(|most| output.bytes() >= most);
        if is_old || self.encoder.is_full() || self.output.as_ref().is_some_and(is_long) {
            self.renew();
        } else if is_due(self.checkpoint()) {
            self.flush();
        }
    }

    fn begin(&mut self, output: Output) {
        let every = self.spec.options.rotate.filter(|_| self.is_file);
        self.rotates = every.and_then(|every| next_multiple(every, SystemTime::now()));
        (self.records, self.unsynced, self.has_end) = (0, 0, false);
        self.bytes.clear();
        self.encoder.begin(&mut self.bytes);
        self.output = Some(output);
        self.put(0);
    }

    /// Completes the current file and begins another.
    fn renew(&mut self) {
        self.complete();
        if self.output.is_none() && !self.is_over {
            self.open();
        }
    }

    fn open(&mut self) {
        match Output::open(&self.spec, &self.context.interfaces, &self.queue.progress) {
            Ok(output) => self.begin(output),
            Err(error) if self.is_file => self.suffer(error.cause().to_owned(), error),
            Err(error) => self.give_up(error, "cannot reopen", false),
        }
    }

    fn write(&mut self, batch: &Batch) {
        let records = batch.len() as u64;
        self.bytes.clear();
        self.encoder.encode(&self.context.rows(batch), &mut self.bytes);
        self.put(records);
    }

    /// Writes what the encoder and the output hold back, to where it can be read after a crash.
    fn flush(&mut self) {
        self.unsafe_since = None;
        let Some(output) = &mut self.output else { return };
        self.bytes.clear();
        self.encoder.flush(&mut self.bytes);
        output.take(&self.bytes);
        match output.checkpoint() {
            Ok(()) => {
                self.unsynced = 0;
                self.queue.account.written(0, self.finished_bytes + output.bytes(), true);
            }
            Err(fault) => self.fail(&fault),
        }
    }

    /// Writes out what was encoded, with it `records` from the queue.
    fn put(&mut self, records: u64) {
        let Some(output) = &mut self.output else { return };
        output.take(&self.bytes);
        let written = output.write_due();
        self.records += records;
        self.unsynced += records;
        let is_readable = !self.encoder.holds_back() && !output.holds_back();
        self.queue.account.written(records, self.finished_bytes + output.bytes(), is_readable);
        if records > 0 && (!is_readable || self.is_file) {
            self.unsafe_since.get_or_insert_with(Instant::now);
        }
        if let Err(fault) = written {
            self.fail(&fault);
        }
    }

    /// Completes the current file.
    fn complete(&mut self) {
        (self.unsafe_since, self.rotates) = (None, None);
        let Some(output) = &mut self.output else { return };
        let account = &self.queue.account;
        if !std::mem::replace(&mut self.has_end, true) {
            self.bytes.clear();
            self.encoder.end(&mut self.bytes);
            output.take(&self.bytes);
        }
        match output.finish(&mut self.completed, || !account.is_given_up()) {
            Ok(name) => {
                self.finished_bytes += output.bytes();
                account.completed(self.finished_bytes);
                if let (None, Some(part), false) =
                    (&name, output.current_name(), account.is_given_up())
                {
                    account.notice(format!(
                        "{} was moved while it was written; it is complete, under the name it has",
                        part.display()
                    ));
                }
                self.output = None;
                if let Some(name) = name {
                    self.clear_away(&name);
                }
            }
            Err(fault) => self.fail(&fault),
        }
    }

    /// Removes finished files that are not to be kept, but not the `latest`.
    fn clear_away(&self, latest: &Path) {
        let Target::File(pattern) = &self.spec.target else { return };
        let (keep, now) = (self.spec.options.keep, SystemTime::now());
        let removed = keep.apply(pattern, &self.context.interfaces, latest, now);
        let account = &self.queue.account;
        account.removed_files(removed.files);
        if removed.files > 0 {
            let (name, files, bytes) = (self.spec.name(), removed.files, removed.bytes);
            account.notice(format!("{name}: {files} old files of {bytes} bytes removed (--keep)"));
        }
        if removed.refused > 0 {
            let (name, files) = (self.spec.name(), removed.refused);
            account.notice(format!("{name}: {files} old files could not be removed (--keep)"));
        }
    }
}

/// When a clock that says `now` will be at a multiple of `every` since 1970, UTC.
fn next_multiple(every: Duration, now: SystemTime) -> Option<SystemTime> {
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since_1970.as_nanos().checked_rem(every.as_nanos())?;
    let left = every - Duration::from_nanos(u64::try_from(since).ok()?);
    now.checked_add(left)
}

/// The next multiple, which was `at` when a file was begun, where the clock has been put back since.
fn by_clock(at: SystemTime, every: Option<Duration>, now: SystemTime) -> SystemTime {
    let is_far = |every: &Duration| at.duration_since(now).is_ok_and(|left| left > *every);
    every.filter(is_far).and_then(|every| next_multiple(every, now)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_begin_at_multiples_of_the_clock() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (every, now, next) in [
            (1, 1_700_000_000, 1_700_000_001),
            (60, 1_700_000_000, 1_700_000_040),
            (86_400, 1_700_000_000, 1_700_006_400),
        ] {
            assert_eq!(next_multiple(Duration::from_secs(every), at(now)), Some(at(next)));
        }
        assert!(next_multiple(Duration::ZERO, at(1)).is_none());
    }

    #[test]
    fn files_begin_by_the_clock_as_it_was_put() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (begun_for, now, want) in [
            (120, 100, 120),
            (120, 60, 120),
            // Put back by more; and put forward: it is due.
            (7_200, 100, 120),
            (120, 7_200, 120),
        ] {
            let next = by_clock(at(begun_for), Some(Duration::from_secs(60)), at(now));
            assert_eq!(next, at(want), "at {now}");
        }
    }
}
