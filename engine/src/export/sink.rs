//! `export-<sink>`: one thread and one bounded queue for each sink.
//!
//! A sink that fails for good takes nothing more; what it was given is counted as not sent, by
//! cause, and the other sinks go on. A file that cannot be written is tried again
//! ([`writer`](super::writer)). A sink that is stuck holds up nothing but what waits
//! for it: in a capture nothing, in `read` the reader, and the end of a run only for a while.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::export::collector::{Exporter, TlsConfig, Transport};
use crate::export::output::Output;
use crate::export::queue::{Batch, Message, Queue};
use crate::export::spool::Spool;
use crate::export::stream::{Connect, Publisher, prepare};
use crate::export::writer::SinkThread;
use crate::export::{
    Content, Context, Patience, SinkAccount, SinkOptions, SinkSpec, Target, WhenFull,
};
use crate::names::TransactionSink;
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
    /// Whether it is for histograms.
    pub(super) is_log: bool,
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
    /// `None` of a collector or broker, and once it was started.
    output: Option<Output>,
    /// What TLS takes, of a collector that wants it.
    tls: Option<TlsConfig>,
    /// Where records wait for a collector, if that is wished.
    spool: Option<Spool>,
    /// How to get a connection, to a broker.
    broker: Option<Box<dyn Connect>>,
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
                Target::Collector(_) | Target::Stream(_) => None,
                _ => Some(Output::open(spec, interfaces, &queue.progress)?),
            };
            let tls = match &spec.target {
                Target::Collector(endpoint) if endpoint.transport == Transport::Tls => {
                    Some(spec.options.tls.load()?)
                }
                _ => None,
            };
            let SinkOptions { tls: files, stream, spool, .. } = &spec.options;
            let spool = match (&spec.target, spool) {
                (Target::Collector(_), Some(options)) => Some(Spool::open(options, &spec.name())?),
                _ => None,
            };
            let broker = match &spec.target {
                Target::Stream(address) => Some(prepare(address, files, stream)?),
                _ => None,
            };
            Ok(Self { spec: spec.clone(), queue, output, tls, spool, broker })
        };
        specs.iter().map(open).collect()
    }

    /// The file, if it is one, that is written under another name until it is complete; and those of
    /// a spool.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let part = self.output.as_ref().and_then(Output::part_file);
        part.into_iter().chain(self.spool.iter().flat_map(Spool::files))
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
                    let (tls, spool) = (open.tls.take(), open.spool.take());
                    let context = context.clone();
                    let exporter = Exporter::new(endpoint, tls, spool, options, of, context);
                    Sink::spawn(queue, None, false, move || exporter.run())
                }
                (None, Target::Stream(address)) => {
                    let broker = open.broker.take().expect("it is taken here only");
                    let (encoder, options) =
                        (open.spec.encoder(context.features_set), &open.spec.options.stream);
                    let (of, context) = (Arc::clone(&queue), context.clone());
                    let publisher = Publisher::new(address, broker, encoder, options, of, context);
                    Sink::spawn(queue, None, false, move || publisher.run())
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
        let writer = SinkThread::new(spec, Arc::clone(&queue), context);
        let is_log = spec.content == Content::Histograms;
        Self::spawn(queue, part, is_log, move || writer.run(output))
    }

    fn spawn(
        queue: Arc<Queue>,
        part: Option<PathBuf>,
        is_log: bool,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let thread = thread::Builder::new()
            .name(format!("export-{}", queue.account.name()))
            .spawn(run)
            .map_err(|e| Error::new("start an export thread", e))?;
        Ok(Self { queue, is_log, part, thread: Some(thread) })
    }

    /// What the sink has done so far.
    #[must_use]
    pub fn account(&self) -> Arc<SinkAccount> {
        Arc::clone(&self.queue.account)
    }

    /// Whether what comes would not be written.
    pub fn takes_nothing(&self) -> bool {
        self.queue.takes_nothing()
    }

    /// Where transactions of name services go in.
    #[must_use]
    pub fn transactions(&self, when_full: WhenFull) -> TransactionSink {
        let queue = Arc::clone(&self.queue);
        Box::new(move |transactions| {
            let batch = Batch { transactions, ..Batch::default() };
            queue.offer(&Arc::new(batch), when_full);
        })
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
    /// `patience` once the run ends, since the moment that `ends_since` says; it is asked now and
    /// then, and may tell the user what the sinks have to say. All
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
