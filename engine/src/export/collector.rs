//! `export-<sink>` for an IPFIX collector, over TCP or UDP (RFC 7011 section 10).
//!
//! Records become messages, which wait in a bounded spool until there is a connection, and get
//! their export time and sequence number when they leave. What TCP has not delivered when a
//! connection ends is sent again over the next one; what UDP loses on the way is never known. A
//! connection that fails is told once, and opened anew, ever more rarely. While there is none, the
//! spool fills; then nothing is taken for a while, and after that what comes is counted as not
//! sent, by cause. So it is with what is left at the end.

pub(super) mod backoff;
mod connection;
mod endpoint;

pub use endpoint::{Endpoint, Transport};

use std::collections::VecDeque;
use std::time::Instant;

use self::backoff::Backoff;
use self::connection::{Connection, Failure};
use crate::error::Error;
use crate::export::ipfix::{MESSAGE_BYTES, Packed, Packer, Template, Templates, Told, stamp};
use crate::export::queue::{Batch, Message as Task, Queue};
use crate::export::{Context, SinkOptions};
use crate::limits::{
    COLLECTOR_LOOK, COLLECTOR_PATIENCE, COLLECTOR_SPOOL_BYTES, COLLECTOR_STANDS, TEMPLATES_EVERY,
    TEMPLATES_EVERY_MESSAGES,
};
use crate::sync::{Arc, thread};

/// A message on its way.
struct Message {
    bytes: Vec<u8>,
    records: u32,
    /// Flow records of ours, for the account.
    flows: u32,
    templates: Vec<Template>,
}

/// The connection, and what was sent over it.
struct Session {
    connection: Connection,
    /// Data records that were sent over it.
    sequence: u32,
    /// What the collector has been told over it.
    templates: Templates,
    /// Since templates were told anew.
    told: Instant,
    messages_since: u32,
    /// Bytes that are to be sent with all messages so far.
    promised: u64,
    /// Messages that may not have arrived, and how much was sent with each.
    window: VecDeque<(u64, Message)>,
    /// When something was sent over it for the first time.
    first_sent: Option<Instant>,
}

/// The thread's part.
pub(super) struct Exporter {
    endpoint: Endpoint,
    queue: Arc<Queue>,
    context: Context,
    packer: Packer,
    /// Of own elements.
    pen: Option<u32>,
    /// The longest message.
    most_bytes: usize,
    /// What has not been sent, or not over a connection that still is.
    spool: VecDeque<Message>,
    spool_bytes: usize,
    session: Option<Session>,
    backoff: Backoff,
    /// Since when there is no connection, and why.
    down: Option<(Instant, Failure)>,
    sent_bytes: u64,
}

/// However the thread ends, those who wait for it are told.
impl Drop for Exporter {
    fn drop(&mut self) {
        self.queue.done();
    }
}

impl Exporter {
    pub(super) fn new(
        endpoint: Endpoint,
        options: &SinkOptions,
        queue: Arc<Queue>,
        context: Context,
    ) -> Self {
        let most_bytes = match endpoint.transport {
            Transport::Tcp => MESSAGE_BYTES,
            Transport::Udp => options.datagram_bytes,
        };
        Self {
            packer: Packer::for_collector(most_bytes, options.uniflow, options.pen.is_some()),
            pen: options.pen,
            endpoint,
            queue,
            context,
            most_bytes,
            spool: VecDeque::new(),
            spool_bytes: 0,
            session: None,
            backoff: Backoff::new(),
            down: None,
            sent_bytes: 0,
        }
    }

    pub(super) fn run(mut self) {
        // A collector that is not there is told at once.
        self.send();
        loop {
            match self.queue.next(self.next_look()) {
                Task::Records(batch) => {
                    self.take(&batch);
                    self.send();
                }
                Task::Idle => self.send(),
                // There is no file to begin.
                Task::Reopen => {}
                Task::Finish => return self.finish(),
                Task::Leave | Task::Discard => return,
            }
        }
    }

    /// When there is something to do though no record comes.
    fn next_look(&self) -> Option<Instant> {
        match &self.session {
            None => Some(self.backoff.next()),
            Some(session) if session.window.is_empty() => None,
            Some(_) => Some(Instant::now() + COLLECTOR_LOOK),
        }
    }

    /// Packs records into the spool, if there is room or will be soon.
    fn take(&mut self, batch: &Batch) {
        while self.spool_bytes >= COLLECTOR_SPOOL_BYTES {
            let account = &self.queue.account;
            match &self.down {
                _ if account.is_given_up() => return,
                Some((since, failure)) if since.elapsed() >= COLLECTOR_PATIENCE => {
                    return account.not_written(&failure.cause, batch.records.len() as u64);
                }
                _ => self.wait(),
            }
            self.send();
        }
        let Self { packer, spool, spool_bytes, .. } = self;
        packer.pack(&self.context.rows(batch), &mut |packed: Packed<'_>| {
            let mut bytes = Vec::new();
            packed.write(&mut bytes);
            *spool_bytes += bytes.len();
            let templates = packed.templates().collect();
            let (records, flows) = (packed.records, packed.flows);
            spool.push_back(Message { bytes, records, flows, templates });
        });
    }

    /// Sends as much as can be sent now.
    fn send(&mut self) {
        self.settle();
        if self.session.is_none() && Instant::now() >= self.backoff.next() {
            self.connect();
        }
        while self.session.is_some()
            && let Some(message) = self.spool.pop_front()
        {
            self.spool_bytes -= message.bytes.len();
            self.send_one(message);
        }
    }

    fn connect(&mut self) {
        match Connection::open(&self.endpoint, &self.queue.progress) {
            Ok(connection) => {
                self.session = Some(Session {
                    connection,
                    sequence: 0,
                    templates: Templates::new(self.pen),
                    told: Instant::now(),
                    messages_since: 0,
                    promised: 0,
                    window: VecDeque::new(),
                    first_sent: None,
                });
                // That a datagram can be sent says nothing about who receives it.
                if self.endpoint.transport == Transport::Tcp {
                    self.is_up();
                }
            }
            Err(failure) => self.is_down(failure),
        }
    }

    /// Sends a message, and before it templates that it needs.
    fn send_one(&mut self, mut message: Message) {
        let (progress, most) = (&self.queue.progress, self.most_bytes);
        let Some(session) = &mut self.session else { return };
        session.first_sent.get_or_insert_with(Instant::now);
        // Over UDP a template may be lost, or the collector have begun anew (section 8.4).
        let is_old = session.told.elapsed() >= TEMPLATES_EVERY
            || session.messages_since >= TEMPLATES_EVERY_MESSAGES;
        if self.endpoint.transport == Transport::Udp && is_old {
            session.templates.forget();
            (session.told, session.messages_since) = (Instant::now(), 0);
        }
        let mut send = |bytes: &mut [u8], records: u32| {
            stamp(bytes, session.sequence);
            session.sequence = session.sequence.wrapping_add(records);
            session.promised += bytes.len() as u64;
            session.connection.send(bytes, progress)
        };
        let told = session.templates.new_ones(message.templates.iter().copied(), most);
        let mut told = told.into_iter();
        let sent = told.try_for_each(|Told { mut bytes, records }| send(&mut bytes, records));
        let sent = sent.and_then(|()| send(&mut message.bytes, message.records));
        session.messages_since += 1;
        session.window.push_back((session.promised, message));
        match sent {
            Ok(()) => self.settle(),
            Err(error) => self.disconnect(error),
        }
    }

    /// Accounts for what has arrived.
    fn settle(&mut self) {
        let Some(session) = &mut self.session else { return };
        match session.connection.arrived() {
            Ok(arrived) => {
                // A datagram has always left; only that no refusal comes back says something.
                let is_taken = match self.endpoint.transport {
                    Transport::Tcp => !session.window.is_empty(),
                    Transport::Udp => {
                        session.first_sent.is_some_and(|it| it.elapsed() >= COLLECTOR_STANDS)
                    }
                };
                self.account_for(arrived);
                if is_taken {
                    self.is_up();
                }
            }
            Err(error) => self.disconnect(error),
        }
    }

    /// So many bytes have arrived.
    fn account_for(&mut self, arrived: u64) {
        let Some(session) = &mut self.session else { return };
        while let Some((_, message)) = session.window.pop_front_if(|(end, _)| *end <= arrived) {
            self.sent_bytes += message.bytes.len() as u64;
            self.queue.account.written(message.flows.into(), self.sent_bytes, true);
        }
    }

    /// The connection has failed: what has not arrived is to be sent again.
    fn disconnect(&mut self, error: std::io::Error) {
        let Some(session) = &self.session else { return };
        let arrived = session.connection.arrived_before_failure();
        self.account_for(arrived);
        let Some(session) = self.session.take() else { return };
        for (_, message) in session.window.into_iter().rev() {
            self.spool_bytes += message.bytes.len();
            self.spool.push_front(message);
        }
        self.is_down(error.into());
    }

    fn is_up(&mut self) {
        self.backoff.succeeded();
        if self.down.take().is_some() {
            self.queue.account.notice(format!("{}: connected", self.endpoint));
        }
    }

    fn is_down(&mut self, failure: Failure) {
        self.backoff.failed();
        match &mut self.down {
            Some((_, last)) => *last = failure,
            None => {
                let text = format!("{}: {}; trying again", self.endpoint, failure.text);
                self.queue.account.notice(text);
                self.down = Some((Instant::now(), failure));
            }
        }
    }

    /// Waits a little for the collector; it is known who holds up the sink. Nothing tells when what
    /// was sent is acknowledged, so that is looked at again.
    fn wait(&self) {
        self.queue.progress.note();
        thread::sleep(COLLECTOR_LOOK);
    }

    /// Sends what is left, if that can be done soon; else it is counted.
    fn finish(&mut self) {
        let end = Instant::now() + COLLECTOR_PATIENCE;
        loop {
            self.send();
            let unsettled = self.session.iter().flat_map(|session| &session.window);
            let mut left =
                self.spool.iter().chain(unsettled.map(|(_, message)| message)).peekable();
            if left.peek().is_none() || self.queue.account.is_given_up() {
                return;
            }
            if Instant::now() >= end {
                let flows = left.map(|message| u64::from(message.flows)).sum();
                return self.give_up(flows);
            }
            self.wait();
        }
    }

    fn give_up(&self, left: u64) {
        let account = &self.queue.account;
        let (cause, text) = match &self.down {
            Some((_, failure)) => (failure.cause.as_str(), failure.text.as_str()),
            None => ("not acknowledged", "the collector does not take all that was sent"),
        };
        let error = Error::new(format!("send to {}", self.endpoint), text);
        account.failed(error.advise("see that the collector runs there"), cause, left, false);
    }
}
