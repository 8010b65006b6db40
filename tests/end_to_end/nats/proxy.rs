//! Stands between the program and a server: of the first connection it keeps back what the server
//! says after a while, and then ends it. Others it passes on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Acknowledgements that are passed on, and then kept back, of the first connection.
const PASSED: usize = 1_500;
const KEPT_BACK: usize = 500;

pub(super) struct Proxy {
    pub(super) port: u16,
    published: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of the server at this port.
    pub(super) fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let published = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&published);
        // It goes with the test program.
        thread::spawn(move || {
            for (place, client) in listener.incoming().enumerate() {
                let counts = Arc::clone(&counts);
                // What fails is an end of the connection, as others are.
                thread::spawn(move || client.and_then(|it| pass(it, server, place == 0, &counts)));
            }
        });
        Ok(Self { port, published })
    }

    /// Messages that were published so far, over all connections.
    pub(super) fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }
}

fn pass(client: TcpStream, server: u16, is_first: bool, published: &AtomicUsize) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = Counter::new(b"HPUB ");
            let ended = copy(&server, &client, |bytes| {
                published.fetch_add(count.take(bytes), Ordering::Relaxed);
                Some(true)
            });
            let _ = server.shutdown(Shutdown::Both);
            ended
        });
        // An acknowledgement is a message to us.
        let mut count = Counter::new(b"MSG ");
        let mut acknowledged = 0;
        let ended = copy(&client, &server, |bytes| {
            acknowledged += count.take(bytes);
            (!is_first || acknowledged < PASSED + KEPT_BACK)
                .then_some(!is_first || acknowledged < PASSED)
        });
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        ended
    })
}

/// Copies what comes; `look` says whether it goes on, or `None` to end.
fn copy(
    mut to: &TcpStream,
    mut from: &TcpStream,
    mut look: impl FnMut(&[u8]) -> Option<bool>,
) -> io::Result<()> {
    let mut bytes = [0; 4_096];
    loop {
        let len = from.read(&mut bytes)?;
        match look(&bytes[..len]) {
            Some(true) if len > 0 => to.write_all(&bytes[..len])?,
            Some(false) if len > 0 => {}
            _ => return Ok(()),
        }
    }
}

/// Counts a word in a stream, also where it is cut.
struct Counter {
    word: &'static [u8],
    rest: Vec<u8>,
}

impl Counter {
    fn new(word: &'static [u8]) -> Self {
        Self { word, rest: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend_from_slice(bytes);
        let found = self.rest.windows(self.word.len()).filter(|it| *it == self.word).count();
        // What may be the beginning of the next.
        let keep = self.rest.len().min(self.word.len() - 1);
        self.rest.drain(..self.rest.len() - keep);
        found
    }
}
