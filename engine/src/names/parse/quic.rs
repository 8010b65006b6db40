//! QUIC's first packets (RFC 9000, RFC 9001, RFC 9369): the ClientHello in them is protected by
//! keys that anybody can derive, which keeps out accidents and no observer.
//!
//! One [`Quic`] belongs to one flow. It opens Initial packets of both ends by the keys of the
//! client's first destination connection identifier, or after a Retry of its next one, and puts
//! their CRYPTO frames together. Everything behind the handshake's first messages stays closed.

mod frames;
mod header;
mod keys;

use self::keys::Keys;
use super::gquic;
use super::pieces::Pieces;
use super::tls::{self, Carrier};
use super::{Read, be32};
use crate::limits::{CRYPTO_PARTS, STREAM_BYTES};
use crate::names::FlowFact;
use crate::names::parse::pieces::Bounds;

pub(crate) use self::header::{may_begin, seems_to_begin};

/// Packets in one datagram that are looked at.
const COALESCED: usize = 8;

const CRYPTO: Bounds = Bounds { bytes: STREAM_BYTES, parts: CRYPTO_PARTS };

/// What came of a datagram.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) facts: Vec<FlowFact>,
    /// An Initial packet could not be opened.
    pub(crate) is_closed: bool,
    /// The handshake does not fit.
    pub(crate) is_full: bool,
}

/// The opening of one connection.
#[derive(Debug, Default)]
pub(crate) struct Quic {
    keys: Option<Keys>,
    client: Message,
    server: Message,
}

/// A handshake message that comes in pieces.
#[derive(Debug, Default)]
struct Message {
    pieces: Pieces,
    is_done: bool,
}

impl Quic {
    /// Bytes that are held.
    pub(crate) fn bytes(&self) -> usize {
        self.client.pieces.bytes() + self.server.pieces.bytes()
    }

    /// Lets go of what is unfinished.
    pub(crate) fn give_up(&mut self) {
        let done = || Message { is_done: true, ..Message::default() };
        *self = Self { keys: None, client: done(), server: done() };
    }

    /// Reads one datagram.
    pub(crate) fn read(&mut self, datagram: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut rest = datagram;
        for _ in 0..COALESCED {
            let Some((initial, behind)) = header::next(rest) else { break };
            if let Some(initial) = initial {
                self.initial(&initial, &mut outcome);
            }
            rest = behind;
        }
        outcome
    }

    fn initial(&mut self, initial: &header::Initial<'_>, outcome: &mut Outcome) {
        // The server may go on in another version than the client has begun in (RFC 9368 section
        // 2.3), and then the client does.
        let is_other = |keys: &&Keys| keys.version() != initial.version;
        let other = self.keys.as_ref().filter(is_other);
        let other = other.and_then(|keys| keys.in_version(initial.version));
        let known = other.as_ref().or(self.keys.as_ref());
        if let Some((is_server, plain)) = known.and_then(|keys| keys.open(initial)) {
            self.keys = other.or(self.keys.take());
            self.frames(initial.version, is_server, &plain, outcome);
            return;
        }
        // The first of a connection, or the first after a Retry, which begins the message anew
        // with another identifier (RFC 9001 section 5.2).
        let keys = Keys::new(initial.version, initial.destination_id);
        let Some(plain) = keys.as_ref().and_then(|keys| keys.client.open(initial)) else {
            outcome.is_closed = true;
            return;
        };
        *self = Self { keys, ..Self::default() };
        self.frames(initial.version, false, &plain, outcome);
    }

    fn frames(&mut self, version: u32, is_server: bool, plain: &[u8], outcome: &mut Outcome) {
        let message = if is_server { &mut self.server } else { &mut self.client };
        if message.is_done {
            return;
        }
        for (offset, bytes) in frames::crypto(version, plain) {
            outcome.is_full |= message.pieces.insert(offset, bytes, CRYPTO).is_err();
        }
        if message.pieces.start() != Some(0) {
            return;
        }
        match tls::read_message(&message.pieces.run(0), Carrier::Quic, false) {
            Read::Done(facts) => outcome.facts.extend(facts),
            Read::More if !outcome.is_full => return,
            _ => {}
        }
        *message = Message { is_done: true, ..Message::default() };
    }
}

/// What an old Google QUIC packet says, which needs no keys.
pub(crate) fn of_google(datagram: &[u8]) -> Option<FlowFact> {
    gquic::server_name(datagram).map(FlowFact::GquicSni)
}

/// The version of a packet with a long header (RFC 8999 section 5.1).
fn version(packet: &[u8]) -> Option<u32> {
    packet.first().filter(|first| **first & 0x80 != 0)?;
    be32(packet, 1)
}

#[cfg(test)]
mod tests;
