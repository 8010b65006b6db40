//! What a sink's thread does when something cannot be written, until it can be again.

use std::io;

use super::SinkThread;
use crate::error::Error;
use crate::export::outage::Outage;
use crate::export::output::{Fault, Output};
use crate::export::queue::Pause;

impl SinkThread {
    /// Waits until it is time to try again, and does so.
    pub(super) fn wait_out(&mut self) {
        let Some(outage) = &mut self.outage else { return };
        match self.queue.pause(outage.next_try(), outage.deadline.is_some() || self.is_over) {
            Pause::Leave => (self.is_over, self.output, self.outage) = (true, None, None),
            Pause::Discard => {
                self.discard();
                (self.is_over, self.outage) = (true, None);
            }
            Pause::Ends => outage.ends(),
            Pause::Elapsed => {
                self.try_again();
                if let Some(outage) = self.outage.take_if(|it| it.is_on() && it.is_given_up()) {
                    self.give_up(outage.error, &outage.cause, false);
                }
            }
        }
    }

    /// Completes what could not be written, and begins another file. A file that has no records
    /// goes on.
    fn try_again(&mut self) {
        let goes_on = self.records == 0 && !self.has_end;
        match &mut self.output {
            Some(output) if goes_on => match output.write_due() {
                Ok(()) => self.writes(),
                Err(fault) => self.fail(&fault),
            },
            output => {
                if output.is_some() {
                    self.complete();
                }
                if self.output.is_none() {
                    // What opening another one takes may fail too.
                    self.writes();
                    if !self.is_over {
                        self.open();
                    }
                }
            }
        }
    }

    /// It seems that it can be written again.
    fn writes(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.writes();
            self.queue.set_outage(None);
        }
    }

    /// It has been written for a while, or to the end.
    pub(super) fn recovered(&mut self) {
        if let Some(outage) = self.outage.take() {
            let (name, seconds) = (self.spec.name(), outage.seconds());
            self.queue.account.notice(format!("{name} is written again, after {seconds:.1} s"));
        }
    }

    /// Something could not be written.
    pub(super) fn fail(&mut self, fault: &Fault) {
        let part = self.output.as_ref().and_then(Output::current_name);
        let error = fault.error();
        let Some(part) = part.map(|part| part.display().to_string()) else {
            let by_reader = error.kind() == io::ErrorKind::BrokenPipe;
            let failure = Error::new(format!("write {}", self.spec.name()), error);
            let cause = error.kind().to_string();
            return self.give_up(failure, &cause, by_reader);
        };
        let cause = error.kind().to_string();
        let failure = Error::new(format!("write {part}"), error);
        let failure = match (error.kind(), fault) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
                failure.advise(format!("free some space; {part} holds what was written before"))
            }
            (_, Fault::Broken(_)) => failure.advise(format!("see what {part} holds")),
            _ => failure.advise("see that its folder is there and may be written to"),
        };
        if matches!(fault, Fault::Broken(_)) {
            // What can be read of it is there; it is as if nothing had been since it was.
            self.queue.account.lost_after_all(&cause, self.unsynced);
            (self.output, self.unsafe_since) = (None, None);
        }
        self.suffer(cause, failure);
    }

    /// Nothing can be written for now.
    pub(super) fn suffer(&mut self, cause: String, error: Error) {
        if self.is_over && self.output.is_none() {
            return self.give_up(error, &cause, false);
        }
        match &mut self.outage {
            Some(outage) => outage.failed_again(cause.clone(), error),
            None => {
                self.queue.account.stumbled(format!("{error}; trying again"));
                self.outage = Some(Outage::new(cause.clone(), error));
            }
        }
        if let Some(outage) = &mut self.outage {
            if self.is_over {
                outage.ends();
            }
            self.queue.set_outage(Some((cause, outage.since)));
        }
    }

    /// Takes nothing more: what waits and what is unconfirmed was not sent, for `cause`.
    pub(super) fn give_up(&mut self, failure: Error, cause: &str, by_reader: bool) {
        if self.output.as_ref().is_some_and(Output::is_gone) {
            // Nor is what was written before.
            self.queue.account.lost_after_all(cause, self.records);
        }
        (self.output, self.outage, self.is_over) = (None, None, true);
        (self.unsafe_since, self.rotates) = (None, None);
        self.queue.account.failed(failure, cause, 0, by_reader);
        self.queue.refuse(cause);
    }
}
