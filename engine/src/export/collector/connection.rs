//! A connected socket to a collector: who sends waits until the collector takes it, or what it does
//! not take at once is kept and comes before what is sent next.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::endpoint::{Endpoint, Transport};
use super::tls::{TlsConfig, TlsStream};
use crate::export::queue::Progress;
use crate::limits::{COLLECTOR_CONNECT, COLLECTOR_SILENCE};
use crate::socket::{never_fragment, path_mtu, unacknowledged};

/// Bytes written at once: a slow collector is seen to take something.
const WRITE_BYTES: usize = 1 << 14;

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(in crate::export) struct Failure {
    /// In the ledger.
    pub(in crate::export) cause: String,
    /// In full.
    pub(in crate::export) text: String,
}

/// A failure's cause: nobody knows the host by its name.
pub(in crate::export) const NAME_NOT_FOUND: &str = "name not found";

/// A failure's cause: we are not whom it lets in.
pub(in crate::export) const NOT_AUTHORIZED: &str = "not authorized";

impl Failure {
    /// What the user can do about it; `peer` is what we wanted to speak to.
    pub(in crate::export) fn advice(&self, peer: &str) -> String {
        match self.cause.as_str() {
            NAME_NOT_FOUND => "check the name".to_owned(),
            NOT_AUTHORIZED => "check user and password, token or key".to_owned(),
            _ => format!("see that the {peer} runs there"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let cause = error.kind().to_string();
        Self { text: cause.clone(), cause }
    }
}

/// Why a record is lost that the path does not take even alone.
pub(super) const TOO_LONG: &str = "message too long";

/// Whether the path takes no datagram of this length: a router on it has said so, or the interface.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

/// A socket, and how many bytes it has taken.
pub(super) struct Connection {
    socket: Socket,
    sent: u64,
    /// What it has not taken yet, from a place on.
    pending: Vec<u8>,
    taken: usize,
    /// Whether sending waits.
    waits: bool,
}

enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    Udp(UdpSocket),
}

impl Connection {
    /// Connects to the first of the host's addresses that takes it; `progress` is told of each, as
    /// each may take [`COLLECTOR_CONNECT`] to say nothing. Sending `waits`, or does not.
    pub(super) fn open(
        endpoint: &Endpoint,
        tls: Option<&TlsConfig>,
        progress: &Progress,
        waits: bool,
    ) -> Result<Self, Failure> {
        let looked_up = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
        let not_found = |text: String| Failure { cause: NAME_NOT_FOUND.to_owned(), text };
        let addresses = looked_up.map_err(|error| not_found(error.to_string()))?;
        let mut failure = not_found("the name has no address".to_owned());
        for address in addresses {
            progress.note();
            let opened = match endpoint.transport {
                Transport::Udp => connect_udp(address).map(Socket::Udp),
                Transport::Tcp | Transport::Tls => connect_tcp(address).map(Socket::Tcp),
            };
            let opened = match (opened, tls) {
                (Ok(Socket::Tcp(stream)), Some(config)) => {
                    progress.note();
                    TlsStream::open(stream, &endpoint.host, config).map(Box::new).map(Socket::Tls)
                }
                (opened, _) => opened.map_err(Failure::from),
            };
            let opened = opened.and_then(|socket| Ok(Self::new(socket, waits)?));
            match opened {
                Ok(connection) => return Ok(connection),
                Err(refused) => failure = refused,
            }
        }
        Err(failure)
    }

    fn new(socket: Socket, waits: bool) -> io::Result<Self> {
        if let Some(stream) = socket.stream() {
            stream.set_nonblocking(true)?;
        }
        Ok(Self { socket, sent: 0, pending: Vec::new(), taken: 0, waits })
    }

    /// Sends a whole message; `progress` is told of every piece. What is not taken at once is waited
    /// for, or [flushed](Self::flush) later.
    pub(super) fn send(&mut self, message: &[u8], progress: &Progress) -> io::Result<()> {
        if let Socket::Udp(socket) = &self.socket {
            self.sent += socket.send(message)? as u64;
            progress.note();
            return Ok(());
        }
        // Else what is written after the collector's end would be found lost later.
        if self.socket.is_closed()? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.pending.extend_from_slice(message);
        let wait = if self.waits { COLLECTOR_SILENCE } else { Duration::ZERO };
        match self.flush(wait, progress)? {
            false if self.waits => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Sends what was not taken before. Whether all of it is taken now; the collector has so long for
    /// the next piece.
    pub(super) fn flush(&mut self, wait: Duration, progress: &Progress) -> io::Result<bool> {
        let Self { socket, sent, pending, taken, .. } = self;
        loop {
            let left = &pending[*taken..];
            let piece = &left[..left.len().min(WRITE_BYTES)];
            let written = match socket {
                Socket::Tls(stream) if stream.wants_write() => stream.write().map(|()| 0),
                _ if piece.is_empty() => {
                    pending.clear();
                    *taken = 0;
                    return Ok(true);
                }
                Socket::Tls(stream) => stream.put(piece).map(|()| piece.len()),
                Socket::Tcp(stream) => stream.write(piece).inspect(|&len| *sent += len as u64),
                Socket::Udp(_) => unreachable!("a datagram is sent whole"),
            };
            match written {
                Ok(len) => {
                    *taken += len;
                    progress.note();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !socket.is_writable(wait)? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if let Socket::Tls(stream) = socket {
                *sent = stream.sent();
            }
        }
    }

    /// The longest datagram that the path takes, as far as is known (RFC 7011 section 10.3.3).
    pub(super) fn path_bytes(&self) -> Option<usize> {
        let Socket::Udp(socket) = &self.socket else { return None };
        let is_v6 = socket.peer_addr().ok()?.is_ipv6();
        // IP's header without options, and UDP's.
        let headers = if is_v6 { 40 + 8 } else { 20 + 8 };
        (path_mtu(socket, is_v6).ok()? as usize).checked_sub(headers)
    }

    /// Bytes that the socket has taken.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Of the bytes sent, how many have arrived as far as is known; or what has failed since.
    pub(super) fn arrived(&mut self) -> io::Result<u64> {
        let error = match &mut self.socket {
            Socket::Tcp(stream) => stream.take_error()?,
            // What it says is mostly that it refuses what comes.
            Socket::Tls(stream) => match stream.is_closed()? {
                true => Some(io::ErrorKind::ConnectionAborted.into()),
                false => stream.socket().take_error()?,
            },
            // A refusal that has come back is all that is ever heard.
            Socket::Udp(socket) => socket.take_error()?,
        };
        match (error, &self.socket) {
            (Some(error), _) => Err(error),
            (None, Socket::Tcp(_) | Socket::Tls(_)) => Ok(self.arrived_before_failure()),
            (None, Socket::Udp(_)) => Ok(self.sent),
        }
    }

    /// The same of a connection that has failed. Nothing that is not known yet has arrived over
    /// UDP.
    pub(super) fn arrived_before_failure(&self) -> u64 {
        let Some(stream) = self.socket.stream() else { return 0 };
        match unacknowledged(stream.as_fd()) {
            Ok(outstanding) => self.sent.saturating_sub(outstanding.into()),
            Err(_) => 0,
        }
    }
}

impl Socket {
    /// `None` of datagrams.
    fn stream(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.socket()),
            Self::Udp(_) => None,
        }
    }

    /// Whether the collector has ended the connection.
    fn is_closed(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => is_closed(stream),
            Self::Tls(stream) => stream.is_closed(),
            Self::Udp(_) => Ok(false),
        }
    }

    /// Whether it takes something within some time.
    fn is_writable(&self, wait: Duration) -> io::Result<bool> {
        let Some(stream) = self.stream() else { return Ok(true) };
        let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        Ok(poll(&mut fds, wait)? != 0)
    }
}

fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, COLLECTOR_CONNECT)?;
    stream.set_write_timeout(Some(COLLECTOR_SILENCE))?;
    Ok(stream)
}

fn connect_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    // A message must not be longer than the path takes (RFC 7011 section 10.3.3).
    never_fragment(&socket, address.is_ipv6())?;
    socket.connect(address)?;
    Ok(socket)
}

/// Whether the collector has ended the connection. It has nothing else to say (RFC 7011 section
/// 10.4.2); what it says all the same is not kept.
fn is_closed(stream: &mut TcpStream) -> io::Result<bool> {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Ok(false);
    }
    Ok(stream.read(&mut [0; 512])? == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_on_what_has_failed() {
        let advice =
            |cause: &str| Failure { cause: cause.to_owned(), text: String::new() }.advice("server");
        assert_eq!(advice(NAME_NOT_FOUND), "check the name");
        assert_eq!(advice(NOT_AUTHORIZED), "check user and password, token or key");
        assert_eq!(advice("connection refused"), "see that the server runs there");
    }
}
