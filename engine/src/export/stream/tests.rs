//! A broker that fails in every way: what it keeps, and what the sink says of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::message::Message;
use super::publisher::Publisher;
use super::{Address, Answer, Connect, Link, StreamOptions};
use crate::export::collector::Failure;
use crate::export::queue::{Batch, Message as Task, Progress, Queue};
use crate::export::tests::{empty_context, tcp_record};
use crate::export::{Context, Format, SinkAccount, SinkOptions, WhenFull};
use crate::flow::{FeaturesSet, FlowRecord};
use crate::sync::{Arc, thread};

/// What the broker does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Keep,
    /// It is kept, but nobody hears of it: the connection is gone before.
    KeepSilently,
    /// The connection is gone before it comes.
    Lose,
    NotNow,
    Never,
    /// Nobody hears of it.
    Ignore,
}

#[derive(Debug, Default)]
struct State {
    /// How often each identifier came.
    kept: BTreeMap<String, u32>,
    /// What is done with the next messages; then all are kept.
    deeds: VecDeque<Deed>,
    /// Subjects of which nothing is taken, ever.
    refused: BTreeSet<&'static str>,
    /// Subjects on which nobody answers, ever.
    silent: BTreeSet<&'static str>,
    /// How often nobody is there at first.
    absences: u32,
    connections: u32,
    most_under_way: usize,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

struct FakeLink {
    state: Arc<Mutex<State>>,
    answers: Vec<(u64, Answer)>,
    is_gone: bool,
}

fn failure(cause: &str) -> Failure {
    Failure { cause: cause.to_owned(), text: format!("{cause}, in full") }
}

impl Connect for Fake {
    fn connect(&self, _: &Progress) -> Result<Box<dyn Link>, Failure> {
        let mut state = self.0.lock().unwrap();
        if state.absences > 0 {
            state.absences -= 1;
            return Err(failure("absent"));
        }
        state.connections += 1;
        let state = Arc::clone(&self.0);
        Ok(Box::new(FakeLink { state, answers: Vec::new(), is_gone: false }))
    }
}

impl Link for FakeLink {
    fn publish(&mut self, messages: &[(u64, Message)]) -> Result<(), Failure> {
        let mut state = self.state.lock().unwrap();
        state.most_under_way = state.most_under_way.max(messages.len() + self.answers.len());
        for (number, message) in messages {
            let deed = if self.is_gone {
                Deed::Lose
            } else if state.silent.contains(&*message.subject) {
                Deed::Ignore
            } else if state.refused.contains(&*message.subject) {
                Deed::NotNow
            } else {
                state.deeds.pop_front().unwrap_or(Deed::Keep)
            };
            if matches!(deed, Deed::Keep | Deed::KeepSilently) {
                *state.kept.entry(message.id.clone()).or_default() += 1;
            }
            match deed {
                Deed::Keep => self.answers.push((*number, Answer::Stored)),
                Deed::KeepSilently | Deed::Lose => self.is_gone = true,
                Deed::NotNow => self.answers.push((*number, Answer::NotNow(failure("full")))),
                Deed::Ignore => {}
                Deed::Never => self.answers.push((*number, Answer::Never(failure("too long")))),
            }
        }
        Ok(())
    }

    fn answers(&mut self, wait: Duration) -> Result<Vec<(u64, Answer)>, Failure> {
        // Another order than that in which they were asked for.
        self.answers.reverse();
        match (self.answers.is_empty(), self.is_gone) {
            (false, _) => Ok(std::mem::take(&mut self.answers)),
            (true, true) => Err(failure("gone")),
            (true, false) => {
                thread::sleep(wait.min(Duration::from_millis(1)));
                Ok(Vec::new())
            }
        }
    }
}

/// Sends so many records, each of another part of a flow, in batches of ten.
fn send(fake: &Fake, records: u32, in_flight: usize) -> Arc<SinkAccount> {
    send_as(fake, "flows", records, in_flight)
}

/// A record of a flow's part, of two interfaces in turn.
fn record(part: u32) -> FlowRecord {
    let mut record = tcp_record();
    record.total.part = part;
    record.total.opening.as_mut().unwrap().interface = u16::from(part % 2 == 1);
    record
}

/// The sink's thread, and the queue that it takes from.
fn begin(fake: &Fake, subject: &str, in_flight: usize) -> (Arc<Queue>, thread::JoinHandle<()>) {
    let address = Address::parse(&format!("nats://host/{subject}")).unwrap();
    let options = StreamOptions { in_flight, ..StreamOptions::default() };
    let queue = Arc::new(Queue::new(address.to_string()));
    let interfaces = ["eth0", "eth1"].map(str::to_owned).into_iter().collect();
    let context = Context { interfaces, ..empty_context() };
    let encoder = Format::JsonLines.encoder(FeaturesSet::Basic, &SinkOptions::default());
    let broker = Box::new(fake.clone());
    let publisher =
        Publisher::new(&address, broker, encoder, &options, Arc::clone(&queue), context);
    (queue, thread::spawn(move || publisher.run()))
}

/// The same under subjects.
fn send_as(fake: &Fake, subject: &str, records: u32, in_flight: usize) -> Arc<SinkAccount> {
    let (queue, runner) = begin(fake, subject, in_flight);
    let parts: Vec<_> = (0..records).collect();
    for parts in parts.chunks(10) {
        let records = parts.iter().map(|&part| record(part)).collect();
        queue.offer(&Arc::new(Batch { records, ..Batch::default() }), WhenFull::Wait);
    }
    queue.end(Task::Finish);
    runner.join().unwrap();
    Arc::clone(&queue.account)
}

#[test]
fn every_record_is_kept_however_the_broker_fails() {
    use Deed::{Keep, KeepSilently, Lose, NotNow};
    for deeds in [
        vec![],
        vec![Lose],
        vec![Keep, Keep, KeepSilently, Keep],
        vec![NotNow; 2],
        vec![Keep, NotNow, Keep, KeepSilently, NotNow, Lose],
    ] {
        let fake = Fake::default();
        fake.0.lock().unwrap().deeds = deeds.iter().copied().collect();
        fake.0.lock().unwrap().absences = u32::from(!deeds.is_empty());
        let account = send(&fake, 300, 7);
        let state = fake.0.lock().unwrap();
        assert_eq!(state.kept.len(), 300, "{deeds:?}");
        assert_eq!((account.records(), account.not_sent().len()), (300, 0), "{deeds:?}");
        assert!(state.most_under_way <= 7, "{deeds:?}: {}", state.most_under_way);
        let twice = state.kept.values().filter(|&&times| times > 1).count();
        let may_be = deeds.iter().filter(|&&deed| deed == KeepSilently).count();
        assert!(twice <= may_be, "{deeds:?}: {twice} came twice");
        let said = account.take_notices();
        let told = |word: &str| said.iter().filter(|text| text.contains(word)).count();
        assert_eq!(told("trying again") > 0, !deeds.is_empty(), "{said:?}");
        assert!(said.last().is_none_or(|text| text.contains("stores records again")), "{said:?}");
        assert_eq!((account.failure(), account.has_failed()), (None, false));
    }
}

#[test]
fn what_a_broker_never_takes_is_counted_and_told_once() {
    let fake = Fake::default();
    fake.0.lock().unwrap().deeds =
        [Deed::Keep, Deed::Never, Deed::Never, Deed::Keep, Deed::Never].into();
    let account = send(&fake, 100, 50);
    assert_eq!(account.records(), 97);
    assert_eq!(account.not_sent(), BTreeMap::from([("too long".to_owned(), 3)]));
    let said = account.take_notices();
    assert_eq!(said, ["nats://host:4222/flows: too long, in full; not sent"]);
}

#[test]
fn what_is_left_at_the_end_is_counted_by_cause() {
    let fake = Fake::default();
    fake.0.lock().unwrap().absences = u32::MAX;
    let account = send(&fake, 100, 50);
    assert_eq!(account.records(), 0);
    assert_eq!(account.not_sent(), BTreeMap::from([("absent".to_owned(), 100)]));
    let error = account.failure().unwrap().to_string();
    assert!(error.contains("send to nats://host:4222/flows: absent, in full"), "{error}");
}

/// As if the stream of one of them were full.
#[test]
fn a_subject_that_is_refused_holds_up_nothing_of_another() {
    for in_flight in [1, 100] {
        let fake = Fake::default();
        fake.0.lock().unwrap().refused = ["f.eth0"].into();
        let account = send_as(&fake, "f.{interface}", 300, in_flight);
        assert_eq!(account.records(), 150, "{in_flight} under way");
        assert_eq!(account.not_sent(), BTreeMap::from([("full".to_owned(), 150)]));
        let said = account.take_notices();
        assert_eq!(said, ["nats://host:4222/f.{interface}: f.eth0: full, in full; trying again"]);
        assert!(account.failure().is_some_and(|error| error.to_string().contains("full, in full")));
    }
}

/// As if nobody acknowledged what comes under one of them.
#[test]
fn a_subject_on_which_nobody_answers_holds_up_nothing_of_another() {
    for in_flight in [2, 100] {
        let fake = Fake::default();
        fake.0.lock().unwrap().silent = ["f.eth0"].into();
        let account = send_as(&fake, "f.{interface}", 300, in_flight);
        assert_eq!(account.records(), 150, "{in_flight} under way");
        assert_eq!(account.not_sent(), BTreeMap::from([("not acknowledged".to_owned(), 150)]));
    }
}

/// Nor does it if its messages are the only ones that a connection had.
#[test]
fn one_that_is_silent_alone_is_found_out() {
    let fake = Fake::default();
    fake.0.lock().unwrap().silent = ["f.eth0"].into();
    let (queue, runner) = begin(&fake, "f.{interface}", 2);
    let offer = |part| {
        let batch = Arc::new(Batch { records: vec![record(part)], ..Batch::default() });
        queue.offer(&batch, WhenFull::Wait);
    };
    offer(0);
    let connections = || fake.0.lock().unwrap().connections;
    let until = |is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60), "it is not found out");
            thread::sleep(Duration::from_millis(1));
        }
    };
    until(&|| connections() >= 2);
    // Behind it over the next connection, which is kept.
    offer(1);
    until(&|| queue.account.records() > 0);
    assert_eq!(connections(), 2);
    queue.end(Task::Leave);
    runner.join().unwrap();
}
