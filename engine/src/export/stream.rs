//! `export-<sink>` for a broker that keeps messages and acknowledges each: NATS JetStream.
//!
//! Records become messages ([`message`]), which wait in a bounded outbox ([`outbox`]) until the
//! broker has acknowledged them; a bounded number of them is under way. Each is stored at least
//! once: what was not acknowledged when a connection ends is sent again over the next one, under
//! the same identifier, by which the broker knows what it has already.
//!
//! [`publisher`] is the thread, and knows of no protocol. A broker is what gives it a [`Link`]:
//! another one is another file beside [`nats`], and an arm where a [`Broker`] is matched.

mod address;
mod message;
mod nats;
mod outbox;
mod publisher;
#[cfg(test)]
mod tests;

pub use address::{Address, Broker};

pub(super) use self::publisher::Publisher;

use std::path::PathBuf;
use std::time::Duration;

use self::message::Message;
use self::nats::{Credentials, Nats};
use crate::error::Result;
use crate::export::collector::{Failure, TlsFiles};
use crate::export::queue::Progress;
use crate::limits::STREAM_IN_FLIGHT;

/// What is asked of sinks to brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Records in a message, at most.
    pub batch: usize,
    /// Messages that may wait for being acknowledged.
    pub in_flight: usize,
    /// A file that says who we are.
    pub credentials: Option<PathBuf>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { batch: 1, in_flight: STREAM_IN_FLIGHT, credentials: None }
    }
}

/// What has become of a message.
#[derive(Debug)]
pub(super) enum Answer {
    /// The broker keeps it.
    Stored,
    /// The broker does not take it now; it may later.
    NotNow(Failure),
    /// The broker will never take it.
    Never(Failure),
}

/// How to get a connection to a broker.
pub(super) trait Connect: Send {
    /// Connects; `progress` is told while that takes time.
    ///
    /// # Errors
    /// If there is no connection to be had now.
    fn connect(&self, progress: &Progress) -> std::result::Result<Box<dyn Link>, Failure>;
}

/// A connection to a broker. Whatever is under way when it is dropped may have been stored or not.
pub(super) trait Link: Send {
    /// Sends messages on their way, each with the number that its answer will have. There are
    /// never more of them without an answer than [`StreamOptions::in_flight`].
    ///
    /// # Errors
    /// If the connection has failed.
    fn publish(&mut self, messages: &[(u64, Message)]) -> std::result::Result<(), Failure>;

    /// What has been answered since the last call; or the first that is within `wait`.
    ///
    /// # Errors
    /// If the connection has failed; what was answered before that comes first.
    fn answers(&mut self, wait: Duration) -> std::result::Result<Vec<(u64, Answer)>, Failure>;
}

/// Reads what it takes to connect, which may take a privilege that is given up later.
///
/// # Errors
/// If a file cannot be read, or is not what it should be.
pub(super) fn prepare(
    address: &Address,
    tls: &TlsFiles,
    options: &StreamOptions,
) -> Result<Box<dyn Connect>> {
    let tls = address.is_tls.then(|| tls.load()).transpose()?;
    match address.broker {
        Broker::Nats => {
            let credentials = options.credentials.as_deref().map(Credentials::read).transpose()?;
            let address = address.clone();
            Ok(Box::new(Nats { address, tls, credentials, in_flight: options.in_flight }))
        }
    }
}
