//! The world of one seed: the engine's real components as virtual threads on one real one,
//! and a scheduler that decides which of them moves.
//!
//! Only the order of steps is simulated. A step is what a thread does between two looks at
//! the others: a batch counted, a batch merged, a round of `reap`. What happens inside of
//! one is for the model checks; but for [`crate::cleanup`], which merges inside an eviction.

use std::cell::RefCell;
use std::rc::Rc;

use flowtap::decode::Packet;
use flowtap::global::Step;
use flowtap::global::map::GlobalMap;
use flowtap::global::merge::Merge;
use flowtap::global::reap::Reap;
use flowtap::ledger::{Accounts, Ledger};
use flowtap::sync::ring::ring;
use flowtap::table::exchange::{Order, Senders, exchange, senders};
use flowtap::table::outbox::outbox;
use flowtap::table::{CoreTable, TableConfig};
use flowtap::time::Tick;

use crate::books::Books;
use crate::cleanup::CleanUp;
use crate::fault::{Injector, Tap};
use crate::rng::Rng;
use crate::setting::{Mode, Setting};
use crate::sink::{Ending, Evictor, Recorder, Sink};
use crate::threads::{Core, Feed, Queue, Source, Wire};
use crate::traffic::Sent;

/// A run takes some thousand steps; one that takes so many will never end.
const STEPS_MAX: usize = 500_000;

/// Threads that every run has: the source, the clean-up at any moment, the sink, `reap`.
const FIXED: usize = 4;

/// What came of a run.
pub(crate) struct Run {
    pub(crate) records: Vec<Ending>,
    pub(crate) books: Books,
    pub(crate) accounts: Accounts,
    /// What the tables were to count: of all packets, or of each core with its own clock.
    pub(crate) inputs: Vec<Input>,
    /// Records that are left in the map.
    pub(crate) live: usize,
    pub(crate) was_stopped: bool,
    pub(crate) steps: usize,
}

/// Packets in the order of one clock.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) packets: Vec<Packet>,
    /// The clock at the end of the input.
    pub(crate) end: Tick,
}

/// What virtual threads share.
pub(crate) struct Shared {
    pub(crate) rng: Rng,
    pub(crate) wire: Wire,
    pub(crate) books: Books,
    pub(crate) inputs: Vec<Input>,
    /// Whether what happens is printed.
    pub(crate) is_loud: bool,
}

/// Prints a line about what happens, if that is wanted.
macro_rules! say {
    ($shared:expr, $($text:tt)*) => {
        if $shared.is_loud {
            println!("  {}", format_args!($($text)*));
        }
    };
}
pub(crate) use say;

/// The virtual threads.
struct World<'a> {
    source: Option<Source<'a>>,
    cores: Vec<Option<Core<'a>>>,
    merges: Vec<Option<Merge<'a, Recorder<'a>>>>,
    reap: Option<Reap<'a, Recorder<'a>>>,
    clean_up: CleanUp<'a>,
    sink: Rc<RefCell<Sink>>,
    map: &'a GlobalMap,
    accounts: &'a Accounts,
    shared: Shared,
    /// The step before which a thread does not move, by thread.
    stalled_until: Vec<usize>,
}

/// Runs the engine over `sent` to its end; `schedule` decides who moves when.
pub(crate) fn run(
    setting: &Setting,
    sent: &[Sent],
    schedule: Rng,
    injector: &Rc<Injector>,
    is_loud: bool,
) -> Result<Run, String> {
    let (map, accounts) = (GlobalMap::default(), accounts(setting));
    let ((was_stopped, steps), shared, sink) = {
        let mut world = World::new(setting, sent, schedule, injector, &map, &accounts, is_loud);
        (world.run(setting)?, world.shared, world.sink)
    };
    let records = std::mem::take(&mut sink.borrow_mut().written);
    let Shared { books, inputs, .. } = shared;
    Ok(Run { records, books, inputs, live: map.len(), was_stopped, steps, accounts })
}

/// One account for each `merge` thread, for `reap`, and for [`CleanUp`].
fn accounts(setting: &Setting) -> Accounts {
    let name = ["wire".to_owned()].into();
    Accounts::new(name, 1, setting.cores, setting.merges + 1, Vec::new())
}

impl<'a> World<'a> {
    fn new(
        setting: &Setting,
        sent: &'a [Sent],
        schedule: Rng,
        injector: &Rc<Injector>,
        map: &'a GlobalMap,
        accounts: &'a Accounts,
        is_loud: bool,
    ) -> Self {
        let sink = Rc::new(RefCell::new(Sink::default()));
        let evictor = Evictor { map, counters: &accounts.globals[setting.merges + 1] };
        let recorder = |beside| Recorder {
            batch: Vec::new(),
            batch_records: setting.batch_records,
            sink: Rc::clone(&sink),
            injector: Rc::clone(injector),
            beside,
        };
        let mut lanes: Vec<_> = (0..setting.merges).map(|_| Vec::new()).collect();
        let (to_cores, feeds) = feeds(setting, sent);
        let mut cores = Vec::new();
        for (number, feed) in feeds.into_iter().enumerate() {
            let Setting { merges, delta_batches, batch_deltas, features_set, .. } = *setting;
            let (outbox, inboxes) = outbox(merges, delta_batches, batch_deltas, features_set);
            lanes.iter_mut().zip(inboxes).for_each(|(lane, inbox)| lane.push(inbox));
            let config = TableConfig {
                capacity: setting.capacity,
                timeouts: setting.timeouts,
                pace: setting.pace,
                sweep_slots: setting.sweep_slots,
                is_populated: false,
                features_set,
            };
            let table = CoreTable::new(config, setting.hasher.clone(), &accounts.tables[number])
                .expect("memory");
            let tap = Tap { outbox, injector: Rc::clone(injector) };
            cores.push(Some(Core::new(number, table, tap, feed, setting.batch_packets)));
        }
        let mut merges = Vec::new();
        let mut finished = Vec::new();
        for (number, inboxes) in lanes.into_iter().enumerate() {
            let (hint, hints) = ring(setting.hints);
            finished.push(hints);
            merges.push(Some(Merge {
                inboxes,
                map,
                finished: hint,
                ended: recorder(Some(evictor)),
                counters: &accounts.globals[number],
            }));
        }
        let reap = Some(Reap {
            finished,
            map,
            ended: recorder(None),
            counters: &accounts.globals[setting.merges],
        });
        let keys = sent.iter().map(|sent| sent.packet.key).collect();
        let inputs = if setting.mode.is_read() { 1 } else { setting.cores };
        Self {
            source: Some(Source::new(
                sent,
                to_cores,
                setting.mode == Mode::Read,
                setting.cores,
                accounts,
            )),
            cores,
            merges,
            reap,
            clean_up: CleanUp::new(evictor, keys, recorder(None)),
            sink,
            map,
            accounts,
            shared: Shared {
                rng: schedule,
                wire: Wire::new(setting.cores),
                books: Books::default(),
                inputs: (0..inputs).map(|_| Input::default()).collect(),
                is_loud,
            },
            stalled_until: vec![0; FIXED + setting.cores + setting.merges],
        }
    }

    /// Runs all threads to their end. Whether the run was stopped before the input
    /// ended, and the number of steps.
    fn run(&mut self, setting: &Setting) -> Result<(bool, usize), String> {
        let threads = self.stalled_until.len();
        let speeds: Vec<_> = setting.speeds.iter().copied().cycle().take(threads).collect();
        let turns: usize = speeds.iter().sum();
        let mut was_stopped = false;
        for step in 0..STEPS_MAX {
            if self.is_over() {
                return Ok((was_stopped, step));
            }
            if setting.stop_at == Some(step)
                && let Some(source) = &mut self.source
            {
                say!(self.shared, "told to stop");
                was_stopped |= source.stop();
            }
            self.disturb(step)?;
            let mut turn = self.shared.rng.below(turns);
            let passes = |speed: &usize| {
                let is_it = turn < *speed;
                turn = turn.saturating_sub(*speed);
                is_it
            };
            let thread = speeds.iter().position(passes).expect("turns is the sum of speeds");
            if self.stalled_until[thread] <= step {
                self.step(thread, setting);
            }
        }
        Err(format!("not over after {STEPS_MAX} steps"))
    }

    fn is_over(&self) -> bool {
        self.reap.is_none() && self.sink.borrow().waiting() == 0
    }

    /// What happens beside the threads: one is stalled, somebody looks at the ledger and the
    /// map.
    fn disturb(&mut self, step: usize) -> Result<(), String> {
        let rng = &mut self.shared.rng;
        if rng.one_in(64) {
            let thread = rng.below(self.stalled_until.len());
            self.stalled_until[thread] = step + rng.pick(&[5, 50, 500]);
            say!(self.shared, "thread {thread} stalls until step {}", self.stalled_until[thread]);
        } else if rng.one_in(256) {
            let mut live = 0;
            self.map.for_each(|_, _| live += 1);
            let residuals = Ledger::collect(self.accounts, live, false).residuals;
            if residuals != Default::default() {
                return Err(format!("at step {step} the ledger says {residuals:?}"));
            }
        }
        Ok(())
    }

    /// One step of a thread: of the [`FIXED`] ones, the cores, the `merge` threads. Who may
    /// end records waits for the sink.
    fn step(&mut self, thread: usize, setting: &Setting) {
        let may_end = self.sink.borrow().waiting() < setting.record_batches;
        match thread {
            0 => step_of(&mut self.source, |source| source.step(&mut self.shared)),
            1 if may_end => self.clean_up.step(&mut self.merges, &mut self.shared),
            2 => self.sink.borrow_mut().step(),
            3 if may_end => self.reap(),
            1 | 3 => {}
            _ if thread - FIXED < setting.cores => {
                step_of(&mut self.cores[thread - FIXED], |core| core.step(&mut self.shared));
            }
            _ if may_end => {
                let number = thread - FIXED - setting.cores;
                step_of(&mut self.merges[number], |merge| {
                    let step = merge.step();
                    say!(self.shared, "merge {number}: {step:?}");
                    step == Step::Done
                });
            }
            _ => {}
        }
    }

    fn reap(&mut self) {
        let Some(reap) = &mut self.reap else { return };
        let step = reap.step();
        say!(self.shared, "reap: {step:?}");
        if step == Step::Done {
            self.reap.take().expect("it has just made a step").finalise();
            self.clean_up.finish();
        }
    }
}

/// Where each core's packets come from; and the reader's way to them, if there is one.
fn feeds(setting: &Setting, sent: &[Sent]) -> (Option<Senders>, Vec<Feed>) {
    let Setting { mode, cores, packet_batches, batch_packets, .. } = *setting;
    let exchange = |order| exchange(cores, order, packet_batches, batch_packets);
    if !mode.is_read() {
        let start = sent.iter().find_map(|sent| sent.packet.timestamp).unwrap_or_default();
        let mut exchanges =
            if mode == Mode::Queues { exchange(Order::Time) } else { Vec::new() }.into_iter();
        let queue = |number| Feed::Queue(Queue::new(number, start, exchanges.next()));
        return (None, (0..cores).map(queue).collect());
    }
    let (to_cores, readers) = senders(cores, Order::Place, packet_batches, batch_packets);
    let feeds = match mode {
        Mode::Direction => {
            let pairs = readers.into_iter().zip(exchange(Order::Place));
            pairs.map(|(reader, exchange)| Feed::Passed(reader, exchange)).collect()
        }
        _ => readers.into_iter().map(Feed::Dealt).collect(),
    };
    (Some(to_cores), feeds)
}

/// One step of a thread, which goes when it is done.
fn step_of<T>(thread: &mut Option<T>, step: impl FnOnce(&mut T) -> bool) {
    if thread.as_mut().is_some_and(step) {
        *thread = None;
    }
}
