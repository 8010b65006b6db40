//! The thread: takes records from the sink's queue, and sees that each is acknowledged, or counted
//! by cause.
//!
//! A connection that fails holds up all of them; a subject that is refused holds up its own, and the
//! others go on.

use std::time::{Duration, Instant};

use super::address::Address;
use super::message::{Message, Packer};
use super::outbox::Outbox;
use super::{Answer, Connect, Link, StreamOptions};
use crate::error::Error;
use crate::export::collector::Failure;
use crate::export::collector::backoff::Backoff;
use crate::export::queue::{Batch, Message as Task, Queue};
use crate::export::{Context, Encoder};
use crate::limits::{
    COLLECTOR_LOOK, COLLECTOR_PATIENCE, STREAM_ANSWER, STREAM_IDLE_LOOK, STREAM_STANDS,
};
use crate::sync::{Arc, thread};

/// The thread's part.
pub(in crate::export) struct Publisher {
    /// Where to, for the user.
    name: String,
    /// What subjects are made by.
    pattern: String,
    broker: Box<dyn Connect>,
    queue: Arc<Queue>,
    context: Context,
    packer: Packer,
    /// Messages that may be under way.
    in_flight: usize,
    outbox: Outbox,
    link: Option<Box<dyn Link>>,
    /// When to connect, or to find out whether the broker answers.
    backoff: Backoff,
    /// Since when the broker does not answer, and why.
    down: Option<(Instant, Failure)>,
    /// When to look for what is not answered.
    look: Instant,
    /// When something was stored, or refused for ever.
    last_settled: Instant,
    stored_bytes: u64,
    /// For what it was told that records are lost.
    told_lost: Option<String>,
}

/// However the thread ends, those who wait for it are told.
impl Drop for Publisher {
    fn drop(&mut self) {
        self.queue.done();
    }
}

impl Publisher {
    pub(in crate::export) fn new(
        address: &Address,
        broker: Box<dyn Connect>,
        encoder: Box<dyn Encoder>,
        options: &StreamOptions,
        queue: Arc<Queue>,
        context: Context,
    ) -> Self {
        Self {
            name: address.to_string(),
            pattern: address.subject.clone(),
            broker,
            queue,
            context,
            packer: Packer::new(encoder, &address.subject, options.batch),
            in_flight: options.in_flight,
            outbox: Outbox::default(),
            link: None,
            backoff: Backoff::new(),
            down: None,
            look: Instant::now(),
            last_settled: Instant::now(),
            stored_bytes: 0,
            told_lost: None,
        }
    }

    pub(in crate::export) fn run(mut self) {
        // A broker that is not there is told at once.
        self.exchange(Duration::ZERO);
        loop {
            match self.queue.next(Some(self.next_look())) {
                Task::Records(batch) => {
                    self.take(&batch);
                    self.exchange(Duration::ZERO);
                }
                // What was taken goes on without waiting for what may come.
                Task::Idle if self.is_busy() => self.exchange(COLLECTOR_LOOK),
                Task::Idle => self.exchange(Duration::ZERO),
                // There is no file to begin.
                Task::Reopen => {}
                Task::Finish => return self.finish(),
                Task::Leave | Task::Discard => return,
            }
        }
    }

    /// Whether as much is under way as may be, and more waits.
    fn is_busy(&self) -> bool {
        self.link.is_some() && self.outbox.has_waiting() && self.outbox.has_under_way()
    }

    /// When there is something to do though no record comes.
    fn next_look(&self) -> Instant {
        let now = Instant::now();
        match (self.outbox.has_waiting(), self.outbox.has_under_way()) {
            _ if self.link.is_none() => self.backoff.next(),
            (true, true) => now,
            (false, true) => now + COLLECTOR_LOOK,
            // It is to find out whether the broker answers.
            (true, false) => self.backoff.next().min(now + STREAM_IDLE_LOOK),
            // The broker has refused some; or it may want to know whether we are there.
            (false, false) => {
                let idle = now + STREAM_IDLE_LOOK;
                let next = self.outbox.next_try().map_or(idle, |next| next.min(idle));
                // Whether the broker answers at all comes first.
                if self.down.is_some() { next.max(self.backoff.next()) } else { next }
            }
        }
    }

    /// Packs records into the outbox, if there is room or will be soon. What finds none is what a
    /// spool would take.
    fn take(&mut self, batch: &Batch) {
        if self.outbox.is_full()
            && let Some(failure) = self.is_down_for_long()
        {
            let account = &self.queue.account;
            account.turned_away(&batch.records);
            return account.not_written(&failure.cause, batch.len() as u64);
        }
        let mut messages = Vec::new();
        self.packer.pack(&self.context.rows(batch), |message| messages.push(message));
        messages.into_iter().for_each(|message| self.put(message));
    }

    /// Why nothing is stored, if that has been so for long.
    fn is_down_for_long(&self) -> Option<&Failure> {
        let (since, failure) = self.down.as_ref()?;
        (since.elapsed() >= COLLECTOR_PATIENCE).then_some(failure)
    }

    /// Puts a message into the outbox. While that is full it waits, but for what will not come soon.
    fn put(&mut self, message: Message) {
        while self.outbox.is_full() {
            let account = &self.queue.account;
            if account.is_given_up() {
                return;
            }
            if let Some(failure) = self.is_down_for_long() {
                return account.not_written(&failure.cause, message.records);
            }
            match self.outbox.refusal(&message.subject) {
                Some(refused) if refused.since.elapsed() >= COLLECTOR_PATIENCE => {
                    return account.not_written(&refused.failure.cause, message.records);
                }
                Some(_) => self.wait(),
                None => match self.outbox.make_room(COLLECTOR_PATIENCE) {
                    Some((lost, failure)) => account.not_written(&failure.cause, lost.records),
                    None => self.wait(),
                },
            }
        }
        self.outbox.push(message);
    }

    /// Waits a little for answers; it is known who holds up the sink.
    fn wait(&mut self) {
        self.queue.progress.note();
        if self.link.is_none() && Instant::now() < self.backoff.next() {
            thread::sleep(COLLECTOR_LOOK);
        }
        self.exchange(COLLECTOR_LOOK);
    }

    /// Publishes as much as can be under way now, and takes answers, the first of them within
    /// `wait`; for as long as there is more to publish then.
    fn exchange(&mut self, mut wait: Duration) {
        loop {
            if self.link.is_none() && Instant::now() >= self.backoff.next() {
                self.connect();
            }
            self.publish();
            let Some(link) = &mut self.link else { return };
            match link.answers(wait) {
                Ok(answers) if answers.is_empty() => break,
                Ok(answers) => answers.into_iter().for_each(|(number, it)| self.settle(number, it)),
                Err(failure) => return self.disconnect(failure),
            }
            wait = Duration::ZERO;
        }
        self.look_for_late();
    }

    /// What is not answered is sent again over another connection; unless what was sent later is, or it
    /// was so there: then it is its subject that nobody answers on.
    fn look_for_late(&mut self) {
        if Instant::now() < self.look {
            return;
        }
        self.look = Instant::now() + COLLECTOR_LOOK;
        for subject in self.outbox.standing(STREAM_STANDS) {
            self.tell(&subject, STORES);
        }
        let late = self.outbox.late(STREAM_ANSWER);
        if late.is_empty() {
            return;
        }
        let text = format!(
            "no acknowledgement for {} s; see that a stream takes it, and gives them",
            STREAM_ANSWER.as_secs()
        );
        let failure = Failure { cause: "not acknowledged".to_owned(), text };
        // Over a connection that has said nothing yet it is no news either. One that is dead is noticed
        // by the link.
        let is_down = self.down.is_some();
        let (of_subjects, others): (Vec<_>, Vec<_>) =
            late.into_iter().partition(|it| is_down || it.is_of_subject);
        for late in of_subjects {
            let subject = self.outbox.refuse_late(late.number, failure.clone(), !is_down);
            self.tell_refused(subject, &failure);
        }
        if !others.is_empty() {
            self.disconnect(failure);
        }
    }

    fn publish(&mut self) {
        let Some(link) = &mut self.link else { return };
        // One that nobody has refused yet, if there is any.
        let tries_refused = self.down.is_none() || !self.outbox.has_waiting();
        let messages = match &self.down {
            None => self.outbox.send(self.in_flight, tries_refused),
            Some(_) if Instant::now() >= self.backoff.next() => {
                self.outbox.probe(self.in_flight, tries_refused)
            }
            Some(_) => return,
        };
        if !messages.is_empty()
            && let Err(failure) = link.publish(&messages)
        {
            self.disconnect(failure);
        }
    }

    fn connect(&mut self) {
        match self.broker.connect(&self.queue.progress) {
            Ok(link) => {
                self.link = Some(link);
                // What was wrong there may have been mended meanwhile.
                self.outbox.try_all();
                if self.outbox.is_empty() {
                    self.is_up(Some("connected"));
                } else if let Some((since, _)) = &mut self.down {
                    // A message is to find out whether it is over, and has time for that.
                    *since = Instant::now();
                }
            }
            Err(failure) => self.is_down(failure),
        }
    }

    /// The connection has failed: what was not acknowledged is to be sent again.
    fn disconnect(&mut self, failure: Failure) {
        self.link = None;
        self.outbox.take_back_all();
        self.is_down(failure);
    }

    fn settle(&mut self, number: u64, answer: Answer) {
        self.queue.progress.note();
        match answer {
            Answer::Stored => {
                self.is_up(Some(STORES));
                if let Some((message, is_news)) = self.outbox.stored(number) {
                    self.stored_bytes += message.text.len() as u64;
                    self.queue.account.written(message.records, self.stored_bytes, true);
                    self.last_settled = Instant::now();
                    if is_news {
                        self.tell(&message.subject, STORES);
                    }
                }
            }
            Answer::NotNow(failure) => {
                // It answers, which is what was not known.
                self.is_up(None);
                let subject = self.outbox.refuse(number, failure.clone(), true);
                self.tell_refused(subject, &failure);
            }
            Answer::Never(failure) => {
                self.is_up(None);
                if let Some(message) = self.outbox.give_up(number) {
                    self.lose(message.records, &failure);
                    self.last_settled = Instant::now();
                }
            }
        }
    }

    /// The broker takes nothing of a subject at present, if there is one of which that is news.
    fn tell_refused(&self, subject: Option<Arc<str>>, failure: &Failure) {
        if let Some(subject) = subject {
            self.tell(&subject, &format!("{}; trying again", failure.text));
        }
    }

    /// Tells the user something of a subject, which is named where there may be others.
    fn tell(&self, subject: &str, text: &str) {
        let Self { name, pattern, .. } = self;
        self.queue.account.notice(match subject == pattern {
            true => format!("{name}: {text}"),
            false => format!("{name}: {subject}: {text}"),
        });
    }

    /// These records cannot be stored; that is told once for each cause in a row.
    fn lose(&mut self, records: u64, failure: &Failure) {
        let error = Error::new(format!("send to {}", self.name), &failure.text);
        self.queue.account.not_taken(&failure.cause, records, error);
        if self.told_lost.as_ref() != Some(&failure.cause) {
            self.queue.account.notice(format!("{}: {}; not sent", self.name, failure.text));
            self.told_lost = Some(failure.cause.clone());
        }
    }

    /// The broker answers. If that is news, it is told in these words; or what follows says it.
    fn is_up(&mut self, text: Option<&str>) {
        if self.down.take().is_some() {
            self.backoff.succeeded();
            if let Some(text) = text {
                self.queue.account.notice(format!("{}: {text}", self.name));
            }
        }
    }

    /// All that was under way may come back with the same failure, which is one.
    fn is_down(&mut self, failure: Failure) {
        if Instant::now() >= self.backoff.next() {
            self.backoff.failed();
        }
        match &mut self.down {
            Some((_, last)) => *last = failure,
            None => {
                let text = format!("{}: {}; trying again", self.name, failure.text);
                self.queue.account.notice(text);
                self.down = Some((Instant::now(), failure));
            }
        }
    }

    /// Sends what is left, as long as the broker goes on storing; else it is counted.
    fn finish(&mut self) {
        // It is tried at once.
        self.backoff = Backoff::new();
        self.outbox.try_all();
        let start = Instant::now();
        loop {
            self.exchange(COLLECTOR_LOOK);
            if self.outbox.is_empty() || self.queue.account.is_given_up() {
                return;
            }
            if self.last_settled.max(start).elapsed() >= COLLECTOR_PATIENCE {
                return self.give_up();
            }
            self.wait();
        }
    }

    /// Counts what is left, each subject's by why that is refused.
    fn give_up(&self) {
        for (refused, records) in self.outbox.left() {
            let unanswered = Failure {
                cause: "not acknowledged".to_owned(),
                text: "the broker does not acknowledge all that was sent".to_owned(),
            };
            let down = self.down.as_ref().map(|(_, failure)| failure);
            let failure = refused.or(down).unwrap_or(&unanswered);
            let mut error = Error::new(format!("send to {}", self.name), &failure.text);
            if self.link.is_none() {
                error = error.advise(failure.advice("server"));
            }
            self.queue.account.failed(error, &failure.cause, records, false);
        }
    }
}

/// What is told when it does so again.
const STORES: &str = "stores records again";
