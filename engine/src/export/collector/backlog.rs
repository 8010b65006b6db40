//! Messages that a collector has not got yet: in memory, and in a spool on disk if there is one.
//!
//! They leave in the order in which they came. Of three queues each is older than the next: `waiting`
//! is what goes next, behind it is what the spool has that was not read, behind that `late`, which is
//! still to go to disk or to `waiting`. With a collector that takes all, nothing goes to disk.

mod parts;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Instant;

use self::parts::Split;
use super::backoff::Backoff;
use super::connection::TOO_LONG;
use super::message::{Kept, Message};
use crate::export::SinkAccount;
use crate::export::account::SpoolAccount;
use crate::export::spool::{self, Lost, Spool};
use crate::limits::{COLLECTOR_READ_AHEAD, COLLECTOR_SPOOL_BYTES};
use crate::sync::Arc;

/// What was sent and may not have arrived, with how much was sent then.
pub(super) type Window = VecDeque<(u64, Message)>;

/// See the module.
pub(super) struct Backlog {
    account: Arc<SinkAccount>,
    /// Of own elements.
    pen: Option<u32>,
    waiting: VecDeque<Message>,
    late: VecDeque<Message>,
    /// Of what both have in memory alone.
    bytes: usize,
    disk: Option<Disk>,
    /// Of all that has arrived.
    sent_bytes: u64,
}

struct Disk {
    spool: Spool,
    split: Split,
    /// When to try again, if it does not take anything.
    trouble: Option<Backoff>,
    /// It was told that the oldest goes.
    is_told_full: bool,
    scratch: Vec<u8>,
}

impl Backlog {
    pub(super) fn new(spool: Option<Spool>, account: Arc<SinkAccount>, pen: Option<u32>) -> Self {
        if let Some(spool) = &spool {
            let (path, found) = (spool.path().display(), spool.found());
            if found.records > 0 {
                account.notice(format!("{path}: {} records of earlier runs", found.records));
            }
            if found.damaged_bytes > 0 {
                let bytes = found.damaged_bytes;
                account.notice(format!("{path}: {bytes} bytes are cut or damaged, and lost"));
            }
            account.has_spool(SpoolAccount {
                bytes: spool.bytes(),
                found: found.records,
                left: found.records,
                damaged_bytes: found.damaged_bytes,
                ..SpoolAccount::default()
            });
        }
        let disk = spool.map(|spool| Disk {
            spool,
            split: Split::default(),
            trouble: None,
            is_told_full: false,
            scratch: Vec::new(),
        });
        let (waiting, late) = Default::default();
        Self { account, pen, waiting, late, bytes: 0, disk, sent_bytes: 0 }
    }

    /// Whether there is a spool.
    pub(super) fn has_spool(&self) -> bool {
        self.disk.is_some()
    }

    /// Whether memory takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= COLLECTOR_SPOOL_BYTES
    }

    /// Takes the latest message.
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += in_memory(&message);
        self.late.push_back(message);
    }

    /// Whether something is left that could be sent now.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
            || !self.late.is_empty()
            || self.disk.as_ref().is_some_and(|disk| disk.spool.has_unread())
    }

    /// What goes next.
    pub(super) fn front(&self) -> Option<&Message> {
        self.waiting.front()
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.waiting.pop_front()?;
        self.bytes -= in_memory(&message);
        Some(message)
    }

    /// Puts what a connection has not delivered back before all others.
    pub(super) fn put_back(&mut self, left: VecDeque<Message>) {
        for message in left.into_iter().rev() {
            if let Kept::Gone { is_former } = message.kept {
                self.account.spool_lost(spool::FULL, message.flows.into(), is_former);
            } else {
                self.bytes += in_memory(&message);
                self.waiting.push_front(message);
            }
        }
    }

    /// A message has arrived.
    pub(super) fn arrived(&mut self, message: &Message) {
        self.sent_bytes += message.bytes.len() as u64;
        let bytes = self.sent_bytes;
        match (message.kept, &mut self.disk) {
            (Kept::Disk(place), Some(disk)) => {
                let settled = disk.split.arrived(place, message.flows);
                let arrived = settled.map_or(0, |parts| parts.arrived.into());
                self.account.spool_sent(arrived, place.is_former, bytes);
                if let Some(parts) = settled {
                    self.account.spool_lost(TOO_LONG, parts.too_long.into(), place.is_former);
                    disk.spool.done(&place);
                    disk.is_told_full &= !disk.spool.is_empty();
                    disk.tell_size(&self.account);
                }
            }
            (Kept::Gone { is_former }, _) => {
                self.account.spool_sent(message.flows.into(), is_former, bytes);
            }
            _ => self.account.written(message.flows.into(), bytes, true),
        }
    }

    /// Puts pieces in the place of a message that went next, and is `kept` like this: with `lost` flow
    /// records less, which are too long. Whether all before it has arrived (`is_oldest`) says whether a
    /// later run need not find it again, if nothing is left of it.
    pub(super) fn replace(&mut self, kept: Kept, pieces: Vec<Message>, lost: u32, is_oldest: bool) {
        let count = pieces.len();
        for piece in pieces.into_iter().rev() {
            self.bytes += in_memory(&piece);
            self.waiting.push_front(piece);
        }
        match (kept, &mut self.disk) {
            (Kept::Disk(place), Some(disk)) => {
                if let Some(parts) = disk.split.split(place, count, lost) {
                    let (arrived, is_former) = (parts.arrived.into(), place.is_former);
                    self.account.spool_sent(arrived, is_former, self.sent_bytes);
                    self.account.spool_lost(TOO_LONG, parts.too_long.into(), is_former);
                    match is_oldest {
                        true => disk.spool.done(&place),
                        false => disk.spool.give_up(&place),
                    }
                    disk.tell_size(&self.account);
                }
            }
            (Kept::Gone { is_former }, _) => {
                self.account.spool_lost(TOO_LONG, lost.into(), is_former);
            }
            _ => self.account.not_written(TOO_LONG, lost.into()),
        }
    }

    /// Flow records of messages that are in memory alone, with those in `window`; and whether there
    /// is nothing left, also on disk.
    pub(super) fn left(&self, window: &Window) -> (u64, bool) {
        let queued = self.waiting.iter().chain(&self.late);
        let all = queued.chain(window.iter().map(|(_, message)| message));
        let (mut flows, mut is_none) = (0, self.disk.as_ref().is_none_or(|it| it.spool.is_empty()));
        for message in all {
            is_none = false;
            flows += match message.kept {
                Kept::Memory => u64::from(message.flows),
                Kept::Disk(_) | Kept::Gone { .. } => 0,
            };
        }
        (flows, is_none)
    }

    /// Puts messages where they belong. If the collector `is_there`, they go to disk only behind
    /// others, or if it takes too little and nobody can wait for it.
    pub(super) fn arrange(&mut self, window: &mut Window, is_there: bool, can_wait: bool) {
        if let Some(disk) = &self.disk {
            let is_behind = disk.spool.has_unread() || self.is_full();
            if !is_there || is_behind && !can_wait {
                self.spill(window);
            }
        }
        if is_there || self.disk.is_none() {
            self.refill();
        }
    }

    /// Puts all that is in memory alone on disk, the oldest first. Whether that is done.
    pub(super) fn spill(&mut self, window: &mut Window) -> bool {
        let is_spilled = self.try_spill(window);
        if let Some(disk) = &mut self.disk {
            disk.tell_size(&self.account);
        }
        is_spilled
    }

    fn try_spill(&mut self, window: &mut Window) -> bool {
        if self.disk.as_ref().is_none_or(Disk::is_in_trouble) {
            return false;
        }
        for idx in 0..window.len() {
            if window[idx].1.kept == Kept::Memory {
                // Then nothing younger is on disk, and all that is there has been read.
                let Some(entry) = self.entry(&window[idx].1) else { return false };
                let Some(place) = self.store(entry, window[idx].1.flows, window) else {
                    return false;
                };
                window[idx].1.kept = Kept::Disk(place);
                self.disk.iter_mut().for_each(|disk| disk.spool.skip_unread());
            }
        }
        // So it is here. These and what is behind them need not stay in memory: they come back.
        let is_kept = |message: &&Message| message.kept != Kept::Memory;
        let kept = self.waiting.iter().take_while(is_kept).count();
        let mut younger = self.waiting.split_off(kept);
        younger.append(&mut self.late);
        self.late = younger;
        while let Some(message) = self.late.pop_front() {
            let entry = self.entry(&message);
            if entry.and_then(|entry| self.store(entry, message.flows, window)).is_none() {
                self.late.push_front(message);
                return false;
            }
            self.bytes -= in_memory(&message);
        }
        true
    }

    /// A message as it stands on disk, if that takes anything at present.
    fn entry(&mut self, message: &Message) -> Option<Vec<u8>> {
        let disk = self.disk.as_mut().filter(|disk| !disk.is_in_trouble())?;
        let mut entry = mem::take(&mut disk.scratch);
        entry.clear();
        message.write(self.pen, &mut entry);
        Some(entry)
    }

    /// Puts it there, and makes room for it.
    fn store(&mut self, entry: Vec<u8>, flows: u32, window: &mut Window) -> Option<spool::Place> {
        while let Some(disk) = self.disk.as_mut().filter(|it| it.spool.needs_room(entry.len())) {
            let Some(lost) = disk.spool.drop_oldest() else { break };
            self.forget(lost, window);
        }
        let disk = self.disk.as_mut()?;
        let place = disk.spool.append(&entry, flows);
        disk.scratch = entry;
        match place {
            Ok(place) => {
                if disk.trouble.take().is_some() {
                    self.account.notice(format!("{}: spools again", disk.spool.path().display()));
                }
                self.account.spooled_some(flows.into());
                Some(place)
            }
            Err(error) => {
                disk.fails(&error, &self.account);
                None
            }
        }
    }

    /// A segment had to make room. What is on its way may still arrive.
    fn forget(&mut self, lost: Lost, window: &mut Window) {
        let is_of_it = |message: &Message| matches!(message.kept, Kept::Disk(it) if it.segment == lost.segment);
        let mut on_their_way = 0;
        for (_, message) in window.iter_mut().filter(|(_, message)| is_of_it(message)) {
            message.kept = Kept::Gone { is_former: lost.is_former };
            on_their_way += u64::from(message.flows);
        }
        self.waiting.retain(|message| !is_of_it(message));
        let split = self.disk.as_mut().map(|disk| disk.split.take(lost.segment));
        let (arrived, too_long) = split.unwrap_or_default();
        let rest = lost.records - on_their_way - arrived - too_long;
        self.account.spool_sent(arrived, lost.is_former, self.sent_bytes);
        self.account.spool_lost(TOO_LONG, too_long, lost.is_former);
        self.account.spool_lost(spool::FULL, rest, lost.is_former);
        if let Some(disk) = &mut self.disk
            && !mem::replace(&mut disk.is_told_full, true)
        {
            let path = disk.spool.path().display();
            self.account.notice(format!("{path}: full; the oldest records make room"));
        }
    }

    /// Takes as much to what goes next as is sent soon.
    fn refill(&mut self) {
        let Self { account, pen, waiting, late, disk, .. } = self;
        if let Some(disk) = disk.as_mut().filter(|disk| disk.spool.has_unread()) {
            let mut ahead: usize = waiting.iter().map(|message| message.bytes.len()).sum();
            while ahead < COLLECTOR_READ_AHEAD
                && let Some(entry) = disk.spool.next()
            {
                if let Some(message) = Message::read(&entry, *pen) {
                    ahead += message.bytes.len();
                    waiting.push_back(message);
                } else {
                    let place = entry.place;
                    account.spool_lost(spool::DAMAGED, place.records.into(), place.is_former);
                    disk.spool.give_up(&place);
                }
            }
            disk.tell_damage(account);
            if disk.spool.has_unread() {
                return;
            }
        }
        waiting.append(late);
    }

    /// The run is over: waits for the spool to be on the disk.
    pub(super) fn close(&mut self) {
        if let Some(disk) = &mut self.disk {
            if let Err(error) = disk.spool.sync() {
                disk.fails(&error, &self.account);
            }
            disk.tell_size(&self.account);
        }
    }
}

/// Bytes of a message that is in memory alone.
fn in_memory(message: &Message) -> usize {
    if message.kept == Kept::Memory { message.bytes.len() } else { 0 }
}

impl Disk {
    /// Whether it is not to be tried yet.
    fn is_in_trouble(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| Instant::now() < trouble.next())
    }

    /// It does not take anything: told once.
    fn fails(&mut self, error: &io::Error, account: &SinkAccount) {
        if self.trouble.is_none() {
            let error = crate::error::Error::new(self.spool.path().display().to_string(), error);
            account.stumbled(format!("{error}; what waits stays in memory, trying again"));
        }
        self.trouble.get_or_insert_with(Backoff::new).failed();
    }

    fn tell_damage(&mut self, account: &SinkAccount) {
        for Lost { records, is_former, .. } in self.spool.take_damaged() {
            account.spool_lost(spool::DAMAGED, records, is_former);
            let path = self.spool.path().display();
            account.notice(format!("{path}: {records} records are damaged, and lost"));
        }
    }

    fn tell_size(&self, account: &SinkAccount) {
        account.spool_has(self.spool.bytes(), self.spool.former_records());
    }
}

#[cfg(test)]
mod tests;
