//! `export-<sink>` for a collector: of IPFIX over TCP, TLS or UDP (RFC 7011 sections 10, 11), of
//! NetFlow version 9 over UDP (RFC 3954).
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
mod session;
mod tls;

pub(super) use self::tls::TlsConfig;
pub use endpoint::{Endpoint, Protocol, Transport};
pub use tls::TlsFiles;

use std::collections::VecDeque;
use std::time::Instant;

use self::backoff::Backoff;
use self::connection::{Connection, Failure};
use self::session::Session;
use crate::error::Error;
use crate::export::ipfix::{MESSAGE_BYTES, Packed, Packer, Template, Totals};
use crate::export::queue::{Batch, Message as Task, Queue};
use crate::export::{Context, SinkOptions};
use crate::limits::{COLLECTOR_LOOK, COLLECTOR_PATIENCE, COLLECTOR_SPOOL_BYTES};
use crate::sync::{Arc, thread};

/// A message on its way.
struct Message {
    bytes: Vec<u8>,
    records: u32,
    /// Flow records of ours, for the account.
    flows: u32,
    templates: Vec<Template>,
}

/// The thread's part.
pub(super) struct Exporter {
    endpoint: Endpoint,
    /// What TLS takes, if that is asked for.
    tls: Option<TlsConfig>,
    queue: Arc<Queue>,
    context: Context,
    packer: Packer,
    /// Of own elements.
    pen: Option<u32>,
    /// Since when it runs.
    start: Instant,
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
    /// Since the beginning, over all connections.
    totals: Totals,
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
        tls: Option<TlsConfig>,
        options: &SinkOptions,
        queue: Arc<Queue>,
        context: Context,
    ) -> Self {
        let most_bytes = match endpoint.transport {
            Transport::Tcp | Transport::Tls => MESSAGE_BYTES,
            Transport::Udp => options.datagram_bytes,
        };
        // NetFlow has no elements of one's own.
        let pen = options.pen.filter(|_| endpoint.protocol == Protocol::Ipfix);
        Self {
            packer: Packer::for_collector(
                endpoint.dialect(),
                most_bytes,
                options.uniflow,
                pen.is_some(),
            ),
            pen,
            start: Instant::now(),
            endpoint,
            tls,
            queue,
            context,
            most_bytes,
            spool: VecDeque::new(),
            spool_bytes: 0,
            session: None,
            backoff: Backoff::new(),
            down: None,
            sent_bytes: 0,
            totals: Totals::default(),
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
            Some(session) if session.unsettled().next().is_none() => Some(session.next_report()),
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
                    account.turned_away(&batch.records);
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
        if self.session.as_ref().is_some_and(|it| it.next_report() <= Instant::now()) {
            self.report();
        }
        while let Some(session) = &mut self.session
            && let Some(message) = self.spool.pop_front()
        {
            self.spool_bytes -= message.bytes.len();
            match session.send(message, &mut self.totals, &self.queue.progress) {
                Ok(()) => self.settle(),
                Err(error) => self.disconnect(error),
            }
        }
    }

    /// Says what there is to say in totals.
    fn report(&mut self) {
        let Some(session) = &mut self.session else { return };
        let lost = self.queue.account.lost();
        (self.totals.not_sent_flows, self.totals.not_sent_packets) = (lost.records, lost.packets);
        self.totals.not_sent_octets = lost.octets;
        self.totals.ignored_packets = self.context.ignored_packets.get();
        if let Err(error) = session.report(&mut self.totals, &self.queue.progress) {
            self.disconnect(error);
        }
    }

    fn connect(&mut self) {
        match Connection::open(&self.endpoint, self.tls.as_ref(), &self.queue.progress) {
            Ok(connection) => {
                let Self { endpoint, start, most_bytes, pen, .. } = self;
                self.session = Some(Session::new(connection, endpoint, *start, *most_bytes, *pen));
                // That a datagram can be sent says nothing about who receives it.
                if endpoint.transport != Transport::Udp {
                    self.is_up();
                }
            }
            Err(failure) => self.is_down(failure),
        }
    }

    /// Accounts for what has arrived.
    fn settle(&mut self) {
        let Some(session) = &mut self.session else { return };
        match session.settle() {
            Ok((arrived, is_taken)) => {
                self.account_for(arrived);
                if is_taken {
                    self.is_up();
                }
            }
            Err(error) => self.disconnect(error),
        }
    }

    fn account_for(&mut self, arrived: Vec<Message>) {
        for message in arrived {
            self.sent_bytes += message.bytes.len() as u64;
            self.queue.account.written(message.flows.into(), self.sent_bytes, true);
        }
    }

    /// The connection has failed: what has not arrived is to be sent again.
    fn disconnect(&mut self, error: std::io::Error) {
        let Some(session) = self.session.take() else { return };
        let (arrived, left) = session.end();
        self.account_for(arrived);
        for message in left.into_iter().rev() {
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

    /// Sends what is left, if that can be done soon; else it is counted. Totals come last.
    fn finish(&mut self) {
        let end = Instant::now() + COLLECTOR_PATIENCE;
        loop {
            self.send();
            let unsettled = self.session.iter().flat_map(Session::unsettled);
            let left = self.spool.iter().chain(unsettled);
            let (messages, flows) = left.fold((0_u64, 0), |(messages, flows), message| {
                (messages + 1, flows + u64::from(message.flows))
            });
            if messages == 0 || self.queue.account.is_given_up() {
                return self.report();
            }
            if Instant::now() >= end {
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
