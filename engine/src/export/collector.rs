//! `export-<sink>` for a collector: of IPFIX over TCP, TLS or UDP (RFC 7011 sections 10, 11), of
//! NetFlow version 9 over UDP (RFC 3954).
//!
//! Records become messages, which wait in a bounded [backlog] until there is a connection, and get
//! their export time and sequence number when they leave. What TCP has not delivered when a
//! connection ends is sent again over the next one; what UDP loses on the way is never known. A
//! connection that fails is told once, and opened anew, ever more rarely. A datagram that is too long
//! for the path is [split](shorten). While there is no connection, the backlog fills; then nothing is
//! taken for a while, and after that what comes is counted as not sent, by cause. So it is with what
//! is left at the end. With a [spool](super::spool) the backlog is on disk while there is no
//! connection, and what is left at the end is the next run's to send.

mod backlog;
pub(super) mod backoff;
mod connecting;
mod connection;
mod end;
mod endpoint;
mod message;
mod session;
mod shorten;
mod tls;

pub(super) use self::connection::{Failure, NAME_NOT_FOUND, NOT_AUTHORIZED};
pub(super) use self::endpoint::{HostPort, host_and_port};
pub(super) use self::tls::{TlsConfig, refusal};
pub use endpoint::{Endpoint, Protocol, Transport};
pub use tls::TlsFiles;

use std::time::{Duration, Instant};

use self::backlog::{Backlog, Window};
use self::backoff::Backoff;
use self::connecting::{Connecting, Opened};
use self::connection::{Connection, is_too_long};
use self::message::Message;
use self::session::Session;
use crate::export::ipfix::{MESSAGE_BYTES, Packed, Packer, Totals};
use crate::export::queue::{Batch, Message as Task, Queue};
use crate::export::spool::Spool;
use crate::export::{Context, SinkOptions};
use crate::limits::{COLLECTOR_LOOK, COLLECTOR_PATIENCE, COLLECTOR_SLICE};
use crate::sync::{Arc, thread};

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
    is_uniflow: bool,
    /// How often in a row the path has taken no message, though none is longer than is known of it.
    refusals: u32,
    /// It was told that a record is too long for the path.
    is_told_lost: bool,
    /// What has not been sent, or not over a connection that still is.
    backlog: Backlog,
    session: Option<Session>,
    /// The next one, if it is waited for by the way.
    connecting: Option<Connecting>,
    backoff: Backoff,
    /// Since when there is no connection, and why.
    down: Option<(Instant, Failure)>,
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
        spool: Option<Spool>,
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
        let is_uniflow = options.uniflow;
        Self {
            packer: packer(&endpoint, most_bytes, is_uniflow, pen),
            pen,
            start: Instant::now(),
            endpoint,
            tls,
            backlog: Backlog::new(spool, Arc::clone(&queue.account), pen),
            queue,
            context,
            most_bytes,
            is_uniflow,
            refusals: 0,
            is_told_lost: false,
            session: None,
            connecting: None,
            backoff: Backoff::new(),
            down: None,
            totals: Totals::default(),
        }
    }

    pub(super) fn run(mut self) {
        // A collector that is not there is told at once.
        self.send(Duration::ZERO);
        loop {
            match self.queue.next(self.next_look()) {
                Task::Records(batch) => {
                    self.take(&batch);
                    self.send(Duration::ZERO);
                }
                Task::Idle => self.send(COLLECTOR_LOOK),
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
            None if self.connecting.is_some() => Some(Instant::now() + COLLECTOR_LOOK),
            None => Some(self.backoff.next()),
            Some(_) if self.backlog.has_more() => Some(Instant::now()),
            Some(session) if session.unsettled().next().is_none() => Some(session.next_report()),
            Some(_) => Some(Instant::now() + COLLECTOR_LOOK),
        }
    }

    /// Packs records into the backlog, if there is room or will be soon.
    fn take(&mut self, batch: &Batch) {
        while self.backlog.is_full() {
            let account = &self.queue.account;
            match &self.down {
                _ if account.is_given_up() => return,
                Some((since, failure)) if since.elapsed() >= COLLECTOR_PATIENCE => {
                    account.turned_away(&batch.records);
                    return account.not_written(&failure.cause, batch.records.len() as u64);
                }
                // Else it is waited for while it is sent to.
                _ if self.session.is_none() || !self.backlog.has_spool() => self.wait(),
                _ => {}
            }
            self.send(COLLECTOR_LOOK);
        }
        let Self { packer, backlog, .. } = self;
        packer.pack(&self.context.rows(batch), &mut |packed: Packed<'_>| {
            backlog.push(Message::new(&packed));
        });
    }

    /// Sends as much as can be sent now; out of a spool a little, so that records do not wait for all
    /// of it to be sent. May wait so long for the collector.
    fn send(&mut self, wait: Duration) {
        self.settle();
        if self.session.is_none() {
            self.connect(wait);
        }
        // What it has not taken the last time.
        let progress = &self.queue.progress;
        let is_ready = self.session.as_mut().map(|it| it.is_ready(Duration::ZERO, progress));
        if let Some(Err(error)) = is_ready {
            self.fails(error);
        }
        if self.session.as_ref().is_some_and(|it| it.next_report() <= Instant::now()) {
            self.report();
        }
        self.arrange();
        let has_spool = self.backlog.has_spool();
        let mut most = if has_spool { COLLECTOR_SLICE } else { usize::MAX };
        while most > 0
            && let Some(session) = &mut self.session
            && let Some(message) = self.backlog.front()
        {
            most -= 1;
            if message.bytes.len() > self.most_bytes {
                self.split_next();
                continue;
            }
            if session.contradicts(message) {
                if session.unsettled().next().is_some() {
                    thread::sleep(wait);
                    break;
                }
                self.begin_anew(wait);
                continue;
            }
            // What is sent waits for the collector, what goes to disk does not.
            let progress = &self.queue.progress;
            match if has_spool { session.is_ready(wait, progress) } else { Ok(true) } {
                Ok(true) => self.send_next(),
                Ok(false) => break,
                Err(error) => self.fails(error),
            }
        }
        self.arrange();
        // There is something to send that cannot be read at present.
        if self.session.is_some() && self.backlog.front().is_none() && self.backlog.has_more() {
            thread::sleep(wait);
        }
    }

    fn send_next(&mut self) {
        let Some(session) = &mut self.session else { return };
        let Some(message) = self.backlog.pop() else { return };
        match session.send(message, &mut self.totals, &self.queue.progress) {
            Ok(()) => {
                self.refusals = 0;
                self.settle();
            }
            Err(error) => self.fails(error),
        }
    }

    /// Over another connection the same numbers may stand for other templates.
    fn begin_anew(&mut self, wait: Duration) {
        self.report();
        if self.session.take().is_some() {
            self.backoff.again();
            self.connect(wait);
        }
    }

    /// Puts on disk what belongs there.
    fn arrange(&mut self) {
        let can_wait = self.queue.can_wait();
        match &mut self.session {
            Some(session) => self.backlog.arrange(session.window(), true, can_wait),
            None => {
                // One that nothing is said against yet is most likely there.
                let may_be_there = self.connecting.is_some() && self.down.is_none();
                self.backlog.arrange(&mut Window::new(), may_be_there, can_wait);
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
            self.fails(error);
        }
    }

    /// Connects if it is time to. With a spool that is not waited for, or only so long.
    fn connect(&mut self, wait: Duration) {
        let Self { endpoint, tls, queue, .. } = self;
        let opened = if let Some(connecting) = self.connecting.take() {
            connecting.result(wait).ok_or(connecting)
        } else if Instant::now() < self.backoff.next() {
            return;
        } else if self.backlog.has_spool() {
            let progress = Arc::clone(&queue.progress);
            match Connecting::start(endpoint.clone(), tls.clone(), progress) {
                Ok(connecting) => connecting.result(wait).ok_or(connecting),
                Err(failure) => Ok(Err(failure)),
            }
        } else {
            Ok(Connection::open(endpoint, tls.as_ref(), &queue.progress, true))
        };
        match opened {
            Ok(opened) => self.begin(opened),
            Err(connecting) => self.connecting = Some(connecting),
        }
    }

    fn begin(&mut self, opened: Opened) {
        match opened {
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
            Ok(arrived) => {
                let has_stood = session.has_stood();
                self.account_for(arrived);
                if has_stood {
                    self.backoff.succeeded();
                    self.is_up();
                }
            }
            Err(error) => self.fails(error),
        }
    }

    fn account_for(&mut self, arrived: Vec<Message>) {
        arrived.iter().for_each(|message| self.backlog.arrived(message));
    }

    /// What becomes of a connection over which nothing could be sent or heard.
    fn fails(&mut self, error: std::io::Error) {
        match is_too_long(&error) {
            true => self.shorten(),
            false => self.disconnect(error),
        }
    }

    /// The connection has failed: what has not arrived is to be sent again.
    fn disconnect(&mut self, error: std::io::Error) {
        if let Some(session) = &self.session {
            // That the end of a stream was not seen before says that nobody looked.
            if session.is_stream() && session.has_stood() {
                self.backoff.succeeded();
            }
            self.end_session();
            self.is_down(error.into());
        }
    }

    fn end_session(&mut self) {
        let Some(session) = self.session.take() else { return };
        let (arrived, left) = session.end();
        self.account_for(arrived);
        self.backlog.put_back(left);
    }

    fn is_up(&mut self) {
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
}

/// What packs messages for a collector.
fn packer(endpoint: &Endpoint, most_bytes: usize, is_uniflow: bool, pen: Option<u32>) -> Packer {
    Packer::for_collector(endpoint.dialect(), most_bytes, is_uniflow, pen.is_some())
}
