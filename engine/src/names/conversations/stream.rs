//! One direction of a TCP connection, until it has said its name: its first payloads in whatever
//! order they come, and the message that begins with one of them.
//!
//! That is the first payload as a rule, and a later one behind a greeting, which says what is
//! spoken and ends nothing (STARTTLS); likewise what asks a proxy to pass on what follows
//! (CONNECT), and what a proxy says of whom it passes on (the PROXY protocol). DNS is a row of
//! messages with their lengths, which has no end: of bytes that are missing in it nobody knows how
//! many messages they were. For [`OVERTAKEN_NS`] they may still come; then it is read on from where
//! a message surely begins.

use super::ports;
use crate::limits::{COPIED_BYTES, OVERTAKEN_NS, STREAM_BYTES, STREAM_PARTS, STREAM_PAYLOADS};
use crate::names::interest::{BEGINNING_BYTES, Beginning, beginning, follow_ups, port};
use crate::names::parse::pieces::{Bounds, Pieces};
use crate::names::parse::{Read, dns, greeting, http, proxy, ssh, tls};
use crate::names::{App, Finding, FlowFact, HostFact, HostHint, NameService, Payload};
use crate::time::Tick;

const BOUNDS: Bounds = Bounds { bytes: STREAM_BYTES, parts: STREAM_PARTS };
const _: () = assert!(COPIED_BYTES <= STREAM_BYTES, "an empty stream takes any payload");

/// A sequence number so far from the last belongs to another connection with the same ports.
const SAME_CONNECTION: i64 = 1 << 22;
/// So does, of a direction that has said what it has to say, a message that begins so far from it.
const SAME_MESSAGE: i64 = STREAM_BYTES as i64;

/// Why a stream that should have said something did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    TooLong,
    Unfinished,
    Malformed,
    Gap,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The sequence number of the payload that came last, and its offset: from the one which came
    /// first, as far away as that may be by now.
    last: Option<(u32, i64)>,
    /// The sequence number that it begins with, if that is known.
    begins_at: Option<u32>,
    pieces: Pieces,
    payloads: u32,
    state: State,
    /// Findings of the message that were told, though more may follow.
    told: usize,
    /// With which payload all have come that are copied of the message that has begun.
    all_at: Option<u32>,
    /// Of a row of messages.
    place: Place,
    /// Since when bytes of it are missing.
    gap_since: Option<Tick>,
    /// Why a message that surely began was refused, and whether that was told: the first one.
    refused: Option<(Loss, bool)>,
}

/// Where a row of messages is read on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// With the payload that comes first.
    #[default]
    First,
    /// Where the last message ended.
    At(i64),
    /// Where one surely begins again.
    Lost,
}

/// Proxies that one payload may tell of, one behind the other.
const PASSED_ON: u32 = 4;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No message has begun.
    #[default]
    Waiting,
    /// One has, and needs more.
    Begun,
    /// Nothing more is read.
    Closed,
}

impl Stream {
    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.bytes()
    }

    /// Whether a message has begun, and its end has not come.
    pub(super) fn is_unfinished(&self) -> bool {
        self.state == State::Begun
    }

    /// Whether nothing more is read.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether no message has begun.
    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether it is known where the next message of a row of them begins.
    pub(super) fn is_in_step(&self) -> bool {
        matches!(self.place, Place::At(_))
    }

    /// Takes one payload, and adds what it makes whole to `found`.
    pub(super) fn observe(
        &mut self,
        payload: &Payload<'_>,
        in_detail: bool,
        found: &mut Vec<Finding>,
    ) -> Option<Loss> {
        let sequence = payload.sequence.unwrap_or_default();
        if let Some(begins_at) = payload.begins_at
            && self.begins_at != Some(begins_at)
        {
            // Another connection with the same ports. What came first of it may have overtaken
            // what a row of messages begins with.
            let is_row = ports(payload).contains(&port::DNS);
            let place =
                if is_row { Place::At(distance(sequence, begins_at)) } else { Place::First };
            *self = Self { begins_at: Some(begins_at), place, ..Self::default() };
        }
        let (last_sequence, last_offset) = self.last.unwrap_or((sequence, 0));
        let step = distance(last_sequence, sequence);
        let begins_anew = self.is_closed() && beginning(payload.bytes).is_some();
        let mut offset = last_offset + step;
        if step.abs() > if begins_anew { SAME_MESSAGE } else { SAME_CONNECTION } {
            *self = Self::default();
            offset = 0;
        }
        self.last = Some((sequence, offset));
        if self.state == State::Closed {
            return None;
        }
        self.payloads = self.payloads.saturating_add(1);
        let is_full = self.pieces.insert(offset, payload.bytes, BOUNDS).is_err();
        if ports(payload).contains(&port::DNS) {
            return self.read_dns(payload, offset, is_full, in_detail, found);
        }
        // Behind the payload in which a message began so many more are copied.
        let is_last =
            is_full || self.has_all() && self.told > 0 || self.payloads >= STREAM_PAYLOADS;
        let is_cut = is_last || payload.wire_bytes as usize > payload.bytes.len();
        let read = self.read(payload, is_cut, found);
        let refused = self.take_refused();
        if let Some(facts) = read {
            // What it speaks, and nothing else; or nothing more than was told.
            let is_short = self.told > 0;
            let says_nothing = facts.len() <= usize::from(!is_short);
            found.extend(facts);
            self.close();
            // It is read as it is, since it did not fit.
            let is_too_long = is_full || says_nothing && is_short;
            return is_too_long.then_some(Loss::TooLong).or(refused);
        }
        if !is_last {
            if self.has_all()
                && let Some(facts) = self.read_beginning(payload)
            {
                found.extend(facts);
                self.close();
            }
            return refused;
        }
        let had_begun = self.is_unfinished();
        self.close();
        had_begun.then_some(if is_full { Loss::TooLong } else { Loss::Unfinished }).or(refused)
    }

    /// Why a message that surely began cannot be read, if that was not told yet: it is once for all
    /// of this direction, as what looks like a beginning may be another protocol's.
    fn take_refused(&mut self) -> Option<Loss> {
        let (loss, is_told) = self.refused.as_mut()?;
        (!std::mem::replace(is_told, true)).then_some(*loss)
    }

    /// The first message that is whole, wherever it begins.
    fn read(
        &mut self,
        payload: &Payload<'_>,
        is_cut: bool,
        found: &mut Vec<Finding>,
    ) -> Option<Vec<Finding>> {
        let (mut next, mut passed) = (0, 0);
        while next < self.pieces.parts() {
            let idx = next;
            next += 1;
            let (mut goes_on_at, mut refused) = (None, None);
            let (has_begun, read) = match self.pieces.run(idx) {
                run if run.is_empty() => continue,
                run => match begins(&run, payload) {
                    Some(Beginning::Greeting) => {
                        let app = greeting::read(&run, ports(payload)).map(FlowFact::App);
                        found.extend(app.map(Finding::Flow));
                        (false, Read::No)
                    }
                    Some(beginning) => {
                        goes_on_at = behind(beginning, &run);
                        let read = read(beginning, &run, is_cut, payload);
                        if read == Read::No {
                            refused = why_refused(beginning, &run, is_cut, payload);
                        } else if payload.is_too_long() && needs_more(beginning, &run, payload) {
                            refused = Some(Loss::TooLong);
                        }
                        (true, read)
                    }
                    None if run.len() < BEGINNING_BYTES => (false, Read::More),
                    None => (false, Read::No),
                },
            };
            match read {
                Read::Done(facts) => {
                    self.refused = self.refused.or(refused.map(|loss| (loss, false)));
                    let facts = facts.into_iter().skip(self.told);
                    let Some(length) = goes_on_at.filter(|_| passed < PASSED_ON) else {
                        return Some(facts.collect());
                    };
                    passed += 1;
                    found.extend(facts);
                    self.go_on(idx, length);
                    next = 0;
                }
                Read::Part(facts) => {
                    self.state = State::Begun;
                    let count = facts.len();
                    found.extend(facts.into_iter().skip(self.told));
                    if self.told == 0 {
                        self.told = count;
                    }
                    self.expect_rest(payload);
                }
                Read::More if has_begun => {
                    self.state = State::Begun;
                    self.expect_rest(payload);
                }
                Read::More => {}
                Read::No => {
                    self.pieces.refuse(idx);
                    self.refused = self.refused.or(refused.map(|loss| (loss, false)));
                }
            }
        }
        if self.pieces.is_refused() && self.is_unfinished() {
            self.state = State::Waiting;
        }
        None
    }

    /// Behind the payload in which a message begins so many more are copied.
    fn expect_rest(&mut self, payload: &Payload<'_>) {
        self.all_at.get_or_insert(self.payloads + u32::from(follow_ups(payload.bytes)));
    }

    fn has_all(&self) -> bool {
        self.all_at.is_some_and(|all| self.payloads >= all)
    }

    /// Goes on behind so many bytes of what begins with part `idx`, as if nothing had been before.
    fn go_on(&mut self, idx: usize, length: usize) {
        (self.state, self.told, self.all_at) = Default::default();
        let start = self.pieces.start_of(idx).unwrap_or_default();
        self.pieces.take_to(start + i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// What the beginning of a message says, if that is more than what is spoken.
    fn read_beginning(&self, payload: &Payload<'_>) -> Option<Vec<Finding>> {
        (0..self.pieces.parts()).find_map(|idx| {
            let run = self.pieces.run(idx);
            match read(begins(&run, payload)?, &run, true, payload) {
                Read::Done(facts) if facts.len() > 1 => Some(facts),
                _ => None,
            }
        })
    }

    /// The messages that are whole from where the stream was read to.
    fn read_dns(
        &mut self,
        payload: &Payload<'_>,
        offset: i64,
        is_full: bool,
        in_detail: bool,
        found: &mut Vec<Finding>,
    ) -> Option<Loss> {
        let mut loss = None;
        if let Some(since) = self.gap_since(payload.tick) {
            if is_full || payload.tick.saturating_sub(since) >= OVERTAKEN_NS {
                loss = Some(Loss::Gap);
                self.place = Place::Lost;
            }
            if is_full {
                self.pieces = Pieces::default();
                // An empty one has room for any payload.
                let _ = self.pieces.insert(offset, payload.bytes, BOUNDS);
            }
        }
        if self.place == Place::Lost && !self.resume() {
            self.lose();
            return loss;
        }
        let is_too_long = is_full && loss.is_none();
        let is_cut = payload.wire_bytes as usize > payload.bytes.len();
        let start = self.pieces.start()?;
        if matches!(self.place, Place::At(next) if start > next) {
            self.state = State::Begun;
            return loss;
        }
        let run = self.pieces.run(0);
        let mut at = 0;
        let mut is_message = true;
        while is_message
            && let Some(rest) = run.get(at..)
            && let Some(length) = dns::framed_bytes(rest)
        {
            let is_part = rest.len() < length;
            if is_part && !is_cut && !is_too_long {
                break;
            }
            let bytes = &rest[2..length.min(rest.len())];
            let message = dns::parse(NameService::Dns, bytes, in_detail);
            is_message = is_part || message.is_some();
            if message.is_some() && dns::is_too_long(bytes) {
                loss = loss.or(Some(Loss::TooLong));
            }
            found.extend(message.map(Finding::Dns));
            at += length;
        }
        let is_past = at > run.len();
        drop(run);
        let next = start + i64::try_from(at).unwrap_or(i64::MAX);
        self.pieces.take_to(next);
        self.place = Place::At(next);
        if at > 0 {
            self.gap_since = None;
        }
        self.state = if self.pieces.bytes() > 0 { State::Begun } else { State::Waiting };
        if !is_message || is_too_long {
            self.lose();
            return Some(if is_message { Loss::TooLong } else { Loss::Malformed });
        }
        if is_cut && !is_past {
            // A message begins in what was not captured, or none does: that is not known.
            self.lose();
        }
        loss.or(payload.is_too_long().then_some(Loss::TooLong))
    }

    /// Since when bytes are missing before some that are held, if there are any.
    fn gap_since(&mut self, tick: Tick) -> Option<Tick> {
        let Place::At(next) = self.place else { return None };
        if self.pieces.is_whole_from(next) {
            self.gap_since = None;
            return None;
        }
        Some(*self.gap_since.get_or_insert(tick))
    }

    /// Goes on where a message surely begins: with a segment from which on whole messages fill up
    /// all that is held without a gap. False if there is none.
    fn resume(&mut self) -> bool {
        let begins = |idx: &usize| dns::is_row(&self.pieces.run(*idx));
        let idx = (0..self.pieces.parts()).find(begins);
        let Some(start) = idx.and_then(|idx| self.pieces.start_of(idx)) else { return false };
        self.pieces.take_to(start);
        self.place = Place::At(start);
        self.gap_since = None;
        true
    }

    /// Where the next message begins is not known any more.
    fn lose(&mut self) {
        self.place = Place::Lost;
        self.pieces = Pieces::default();
        self.gap_since = None;
        self.state = State::Waiting;
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.pieces = Pieces::default();
    }
}

/// What a direction begins with. What stands behind other lines is looked for only where a server
/// may send them.
fn begins(run: &[u8], payload: &Payload<'_>) -> Option<Beginning> {
    let is_behind_lines = || ports(payload)[0] == port::SSH && ssh::is_behind_lines(run);
    beginning(run).or_else(|| is_behind_lines().then_some(Beginning::Ssh))
}

/// How long that is which begins a stream that goes on behind it with something else.
fn behind(beginning: Beginning, run: &[u8]) -> Option<usize> {
    match beginning {
        Beginning::Http => http::passed_on_from(run),
        Beginning::Proxy => match proxy::header_bytes(run) {
            Read::Done(length) => Some(length),
            _ => None,
        },
        _ => None,
    }
}

/// Reads one message from its beginning.
fn read(
    beginning: Beginning,
    run: &[u8],
    is_cut: bool,
    payload: &Payload<'_>,
) -> Read<Vec<Finding>> {
    let (app, facts) = match beginning {
        Beginning::Tls => (App::Tls, tls::read(run, is_cut)),
        Beginning::Http => (App::Http, http::read(run, is_cut)),
        // It is read where it is found.
        Beginning::Greeting => return Read::No,
        // It says nothing of what follows.
        Beginning::Proxy => return proxy::header_bytes(run).map(|_| Vec::new()),
        Beginning::Ssh => {
            let hint = |banner| HostHint {
                mac: None,
                address: Some(payload.key.source_ip(payload.direction)),
                fact: HostFact::SshBanner(banner),
            };
            return ssh::read(run).map(|banner| vec![Finding::Host(hint(banner))]);
        }
    };
    facts.map(|facts| [FlowFact::App(app)].into_iter().chain(facts).map(Finding::Flow).collect())
}

/// Whether what is there of a message is not all that is read of it.
fn needs_more(beginning: Beginning, run: &[u8], payload: &Payload<'_>) -> bool {
    matches!(read(beginning, run, false, payload), Read::More | Read::Part(_))
}

/// Why what cannot be read of a message is lost, if it surely begins `run`: as it is damaged, or as
/// the rest of it was cut.
fn why_refused(
    beginning: Beginning,
    run: &[u8],
    is_cut: bool,
    payload: &Payload<'_>,
) -> Option<Loss> {
    let is_sure = match beginning {
        Beginning::Tls => tls::is_hello(run),
        Beginning::Http => http::has_version(run),
        Beginning::Ssh => true,
        Beginning::Proxy => proxy::is_header(run),
        Beginning::Greeting => false,
    };
    let is_damaged = || !is_cut || read(beginning, run, false, payload) == Read::No;
    is_sure.then(|| if is_damaged() { Loss::Malformed } else { Loss::Unfinished })
}

/// How far `to` is behind `from`, negative if before it: sequence numbers begin again after 2^32.
fn distance(from: u32, to: u32) -> i64 {
    i64::from(to.wrapping_sub(from).cast_signed())
}
