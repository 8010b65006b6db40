//! The end of a run: what is left is sent, left on disk, or counted.

use std::time::Instant;

use super::Exporter;
use super::backlog::Window;
use super::connection::Failure;
use super::session::Session;
use crate::error::Error;
use crate::limits::{COLLECTOR_LOOK, COLLECTOR_PATIENCE};

impl Exporter {
    /// Sends what is left, if that can be done soon; else it is left on disk, or counted. Totals come
    /// last. What the collector does not take at once is on disk while it is waited for, as whoever
    /// waits for us may lose patience.
    pub(super) fn finish(&mut self) {
        let start = Instant::now();
        let end = start + COLLECTOR_PATIENCE;
        // What would be left on disk is worth another attempt.
        if self.backlog.has_spool() {
            self.backoff.again();
        }
        loop {
            self.send(COLLECTOR_LOOK);
            let (_, is_nothing_left) = self.left();
            if is_nothing_left || self.queue.account.is_given_up() {
                self.report();
                return self.backlog.close();
            }
            let is_late = Instant::now() >= end;
            let is_away = self.session.is_none() && self.connecting.is_none();
            if self.backlog.has_spool() && (is_late || is_away) && self.leave() {
                return;
            }
            if is_late {
                return self.give_up();
            }
            // One that takes it has said so by then.
            if start.elapsed() >= COLLECTOR_LOOK {
                self.secure();
            }
            if self.session.is_none() || !self.backlog.has_more() {
                self.wait();
            }
        }
    }

    /// Flow records that are in memory alone, and whether there is nothing left at all.
    fn left(&mut self) -> (u64, bool) {
        let none = &mut Window::new();
        let window = self.session.as_mut().map_or(none, Session::window);
        self.backlog.left(window)
    }

    /// Puts what is in memory alone on disk, if there is a spool, and goes on from there.
    fn secure(&mut self) {
        if self.backlog.has_spool() && self.left().0 > 0 {
            self.queue.progress.set_syncing(true);
            let none = &mut Window::new();
            let window = self.session.as_mut().map_or(none, Session::window);
            self.backlog.spill(window);
            self.queue.progress.set_syncing(false);
        }
    }

    /// Leaves what is left to the next run. Whether all of it is on disk.
    fn leave(&mut self) -> bool {
        self.report();
        // From here on it is the disk that is waited for, and the socket for a moment.
        self.queue.progress.set_syncing(true);
        self.end_session();
        let is_on_disk = self.backlog.spill(&mut Window::new());
        self.backlog.close();
        self.queue.progress.set_syncing(false);
        if !is_on_disk {
            return false;
        }
        let account = &self.queue.account;
        let left = account.spooled() + account.spool().map_or(0, |spool| spool.left);
        account.notice(format!("{}: {left} records are spooled for the next run", self.endpoint));
        true
    }

    fn give_up(&mut self) {
        let (left, _) = self.left();
        let account = &self.queue.account;
        let failure = self.down.as_ref().map_or_else(
            || Failure {
                cause: "not acknowledged".to_owned(),
                text: "the collector does not take all that was sent".to_owned(),
            },
            |(_, failure)| failure.clone(),
        );
        let error = Error::new(format!("send to {}", self.endpoint), &failure.text);
        let error = error.advise(failure.advice("collector"));
        account.failed(error, &failure.cause, left, false);
    }
}
