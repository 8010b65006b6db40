//! A connection to a collector, what it was told over it, and what may not have arrived.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::backlog::Window;
use super::connection::Connection;
use super::endpoint::{Endpoint, Transport};
use super::message::Message;
use crate::export::ipfix::{self, Dialect, Templates, Told, Totals, stamp};
use crate::export::queue::Progress;
use crate::limits::{
    COLLECTOR_SILENCE, COLLECTOR_STANDS, TEMPLATES_EVERY, TEMPLATES_EVERY_MESSAGES, TOTALS_EVERY,
};

/// A transport session (RFC 7011 section 2).
pub(super) struct Session {
    connection: Connection,
    transport: Transport,
    dialect: Dialect,
    /// Since when the exporter runs.
    start: Instant,
    /// The longest message.
    most_bytes: usize,
    /// Data records that were sent over it; NetFlow's messages.
    sequence: u32,
    /// What the collector has been told over it.
    templates: Templates,
    /// Since templates were told anew.
    told: Instant,
    messages_since: u32,
    /// When totals were told.
    reported: Option<Instant>,
    /// Messages that may not have arrived, and how much was sent with each; all that there may ever
    /// be with one that was not sent whole, or not yet.
    window: Window,
    /// Since when the collector takes nothing, and how much it has taken.
    silent_since: Option<(Instant, u64)>,
    /// When something was sent over it for the first time.
    first_sent: Option<Instant>,
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        endpoint: &Endpoint,
        start: Instant,
        most_bytes: usize,
        pen: Option<u32>,
    ) -> Self {
        let dialect = endpoint.dialect();
        Self {
            connection,
            transport: endpoint.transport,
            dialect,
            start,
            most_bytes,
            sequence: 0,
            templates: Templates::new(dialect, pen),
            told: Instant::now(),
            messages_since: 0,
            reported: None,
            window: Window::new(),
            silent_since: None,
            first_sent: None,
        }
    }

    /// Whether a message has templates whose numbers stand for others here.
    pub(super) fn contradicts(&self, message: &Message) -> bool {
        message.definitions.iter().any(|it| self.templates.contradict(it))
    }

    /// Whether the collector has taken what was sent, or does within some time.
    ///
    /// # Errors
    /// If it has taken nothing for [`COLLECTOR_SILENCE`].
    pub(super) fn is_ready(&mut self, wait: Duration, progress: &Progress) -> io::Result<bool> {
        if self.connection.flush(wait, progress)? {
            self.silent_since = None;
            // Only now it is known how much there was with it.
            let sent = self.connection.sent();
            if let Some((end, _)) = self.window.back_mut().filter(|(end, _)| *end == u64::MAX) {
                *end = sent;
            }
            return Ok(true);
        }
        let sent = self.connection.sent();
        match self.silent_since {
            Some((since, then)) if then == sent => match since.elapsed() >= COLLECTOR_SILENCE {
                true => Err(io::ErrorKind::TimedOut.into()),
                false => Ok(false),
            },
            _ => {
                self.silent_since = Some((Instant::now(), sent));
                Ok(false)
            }
        }
    }

    /// Sends a message, and before it templates that it needs. Whether it is sent or not, the
    /// message belongs to the session from now on.
    ///
    /// # Errors
    /// If the connection has failed.
    pub(super) fn send(
        &mut self,
        mut message: Message,
        totals: &mut Totals,
        progress: &Progress,
    ) -> io::Result<()> {
        self.forget_templates_in_time();
        let told = self.templates.new_ones(message.definitions.iter().cloned(), self.most_bytes);
        let told = told.into_iter().try_for_each(|it| self.tell(it, totals, progress));
        let sent =
            told.and_then(|()| self.put(&mut message.bytes, message.records, totals, progress));
        if sent.is_ok() {
            totals.records += u64::from(message.records);
        }
        self.window.push_back((u64::MAX, message));
        sent?;
        self.is_ready(Duration::ZERO, progress).map(drop)
    }

    /// When totals are due.
    pub(super) fn next_report(&self) -> Instant {
        self.reported.map_or_else(Instant::now, |reported| reported + TOTALS_EVERY)
    }

    /// Says how much was sent, and how much was not; in IPFIX only.
    ///
    /// # Errors
    /// If the connection has failed.
    pub(super) fn report(&mut self, totals: &mut Totals, progress: &Progress) -> io::Result<()> {
        self.forget_templates_in_time();
        self.reported = Some(Instant::now());
        if self.dialect == Dialect::NetFlow9 {
            return Ok(());
        }
        if let Some(told) = self.templates.new_totals() {
            self.tell(told, totals, progress)?;
        }
        // They do not count the message that they are in.
        self.tell(ipfix::totals(totals), totals, progress)
    }

    /// Over UDP a template may be lost, or the collector have begun anew (RFC 7011 section 8.4).
    fn forget_templates_in_time(&mut self) {
        let is_old = self.told.elapsed() >= TEMPLATES_EVERY
            || self.messages_since >= TEMPLATES_EVERY_MESSAGES;
        if self.transport == Transport::Udp && is_old {
            self.templates.forget();
            (self.told, self.messages_since) = (Instant::now(), 0);
        }
    }

    fn tell(&mut self, told: Told, totals: &mut Totals, progress: &Progress) -> io::Result<()> {
        let Told { mut bytes, records } = told;
        self.put(&mut bytes, records, totals, progress)
    }

    fn put(
        &mut self,
        bytes: &mut [u8],
        records: u32,
        totals: &mut Totals,
        progress: &Progress,
    ) -> io::Result<()> {
        stamp(self.dialect, bytes, self.sequence, self.start.elapsed());
        self.connection.send(bytes, progress)?;
        let counts = match self.dialect {
            Dialect::Ipfix => records,
            Dialect::NetFlow9 => 1,
        };
        self.sequence = self.sequence.wrapping_add(counts);
        self.messages_since += 1;
        self.first_sent.get_or_insert_with(Instant::now);
        totals.messages += 1;
        totals.octets += bytes.len() as u64;
        Ok(())
    }

    /// Takes those messages out of the window that have arrived as far as is known.
    ///
    /// # Errors
    /// If the connection has failed since.
    pub(super) fn settle(&mut self) -> io::Result<Vec<Message>> {
        let arrived = self.connection.arrived()?;
        Ok(self.take_arrived(arrived))
    }

    /// Whether it stands since longer than a collector takes to refuse what it is sent. A datagram has
    /// always left, and only that no refusal comes back says something; over TCP a collector may end
    /// each connection that it accepts.
    pub(super) fn has_stood(&self) -> bool {
        self.first_sent.is_some_and(|it| it.elapsed() >= COLLECTOR_STANDS)
    }

    pub(super) fn is_stream(&self) -> bool {
        self.transport != Transport::Udp
    }

    fn take_arrived(&mut self, arrived: u64) -> Vec<Message> {
        let there = || self.window.pop_front_if(|(end, _)| *end <= arrived);
        std::iter::from_fn(there).map(|(_, message)| message).collect()
    }

    /// What has arrived of a session that has failed, and what is to be sent again.
    pub(super) fn end(mut self) -> (Vec<Message>, VecDeque<Message>) {
        let arrived = self.connection.arrived_before_failure();
        let arrived = self.take_arrived(arrived);
        (arrived, self.window.into_iter().map(|(_, message)| message).collect())
    }

    /// A datagram was too long for the path: from now on what is sent has up to `most` bytes, and
    /// templates come again, which may have been in it. What may not have arrived is to be sent again.
    pub(super) fn shorten(&mut self, most: usize) -> VecDeque<Message> {
        self.most_bytes = most;
        self.templates.forget();
        std::mem::take(&mut self.window).into_iter().map(|(_, message)| message).collect()
    }

    /// The longest datagram that the path takes, as far as is known.
    pub(super) fn path_bytes(&self) -> Option<usize> {
        self.connection.path_bytes()
    }

    /// What may not have arrived.
    pub(super) fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    /// Messages that may not have arrived.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Message> {
        self.window.iter().map(|(_, message)| message)
    }
}
