//! An attempt to connect that nobody waits for: a name may take long to be looked up, and an address
//! to say nothing, and meanwhile records come.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::connection::{Connection, Failure};
use super::endpoint::Endpoint;
use super::tls::TlsConfig;
use crate::export::queue::Progress;
use crate::sync::{Arc, thread};

/// What becomes of a connection.
pub(super) type Opened = Result<Connection, Failure>;

/// See the module.
pub(super) struct Connecting(Receiver<Opened>);

impl Connecting {
    /// Begins to connect, in a thread of its own. One that is left alone ends by itself.
    pub(super) fn start(
        endpoint: Endpoint,
        tls: Option<TlsConfig>,
        progress: Arc<Progress>,
    ) -> Result<Self, Failure> {
        let (sender, receiver) = channel();
        let connect = move || {
            let opened = Connection::open(&endpoint, tls.as_ref(), &progress, false);
            // Whoever asked for it may have gone.
            let _ = sender.send(opened);
        };
        thread::Builder::new().name("connect".to_owned()).spawn(connect)?;
        Ok(Self(receiver))
    }

    /// What has become of it, if that is known within some time.
    pub(super) fn result(&self, wait: Duration) -> Option<Opened> {
        match self.0.recv_timeout(wait) {
            Ok(opened) => Some(opened),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let text = "its thread has panicked".to_owned();
                Some(Err(Failure { cause: "stopped".to_owned(), text }))
            }
        }
    }
}
