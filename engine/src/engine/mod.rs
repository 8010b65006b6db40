//! The engine: starts the threads, watches them, and stops them in the order of the data.
//!
//! [`read()`] runs over capture files, [`capture()`] on live interfaces; both feed the same
//! [`pipeline`]: core tables, `merge`, `reap`, sinks. Threads are scoped, so none outlives
//! its run, and all shared state is borrowed from the run's frame.

pub mod capture;
mod payloads;
mod pipeline;
mod read;
mod stage;

pub use capture::capture;
pub use capture::settings::{CaptureSettings, Mode, ObserveBy, Wait};
pub use read::read;

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::decode::Tunnels;
use crate::devices::{DevicesSetup, DevicesView};
use crate::error::Error;
use crate::export::SinkSpec;
use crate::export::intervals::IntervalsPlan;
use crate::filter::Filter;
use crate::flow::{FeaturesSet, Timeouts};
use crate::global::map::GlobalMap;
use crate::ledger::{Accounts, Ledger, Timing};
use crate::names::DevicesReader;
use crate::sync::{Arc, Ordering, SignalFlag, StopRequest};
use crate::time::Tick;
use crate::view::{View, Views, busiest};

/// Which worker of `read` gets a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dispatch {
    /// The one that counts its flow.
    #[default]
    Flow,
    /// For the two directions of a flow different ones, which pass it on to that one.
    Direction,
}

/// What statistics of intervals are wanted.
#[derive(Debug, Clone)]
pub struct IntervalsSettings {
    /// How long an interval is.
    pub every: Duration,
    /// How many names and how many talkers have lines of their own.
    pub top: usize,
    /// Where they go: none are made if there is nothing here.
    pub sinks: Vec<SinkSpec>,
}

impl IntervalsSettings {
    /// The plan of a run in which so many interfaces may lose packets, if any are wanted.
    fn plan(&self, interfaces: usize) -> Option<Arc<IntervalsPlan>> {
        let plan = |every_ns| Arc::new(IntervalsPlan::new(every_ns, self.top, interfaces));
        self.every_ns().map(plan)
    }

    /// How long an interval is, if any are wanted.
    fn every_ns(&self) -> Option<Tick> {
        // All of the time that there is would be none.
        let every_ns = Tick::try_from(self.every.as_nanos()).unwrap_or(Tick::MAX);
        (!self.sinks.is_empty()).then_some(every_ns.clamp(1, Tick::MAX - 1))
    }
}

/// What a run is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When flows end.
    pub timeouts: Timeouts,
    /// Flow-table workers, if the user said how many.
    pub workers: Option<usize>,
    /// Which worker of `read` gets a packet.
    pub dispatch: Dispatch,
    /// Merge threads.
    pub merges: usize,
    /// Flow-table slots, all cores together.
    pub max_flows: usize,
    /// What is kept of flows.
    pub features_set: FeaturesSet,
    /// Flows that said something, and answers of name services, that are kept; names are learned
    /// only if there are any.
    pub max_names: Option<usize>,
    /// What is known of devices before: they are learned where names are.
    pub devices: DevicesSetup,
    /// Where records go.
    pub sinks: Vec<SinkSpec>,
    /// Where transactions of name services go, if anywhere.
    pub dns_log: Option<SinkSpec>,
    /// What statistics of intervals are wanted.
    pub intervals: IntervalsSettings,
    /// Which IP header makes the flow.
    pub tunnels: Tunnels,
    /// Which packets count: all, if there is none.
    pub filter: Option<Arc<Filter>>,
    /// Stop after so many packets, of which the filter may reject some.
    pub count: Option<u64>,
    /// Stop after so long.
    pub duration: Option<Duration>,
}

impl Settings {
    /// All sinks: those of records, behind them that of transactions, and then those of statistics
    /// of intervals.
    #[must_use]
    pub fn all_sinks(&self) -> Vec<SinkSpec> {
        self.sinks.iter().chain(&self.dns_log).chain(&self.intervals.sinks).cloned().collect()
    }

    /// Those that [`Settings::all_sinks`] has become, by what they are for.
    fn deal<'a, T>(&self, all: &'a [T]) -> Dealt<'a, T> {
        let (records, rest) = all.split_at(self.sinks.len());
        let (dns_log, intervals) = rest.split_at(usize::from(self.dns_log.is_some()));
        Dealt { records, dns_log: dns_log.first(), intervals }
    }
}

/// Sinks by what they are for.
struct Dealt<'a, T> {
    records: &'a [T],
    dns_log: Option<&'a T>,
    intervals: &'a [T],
}

/// What signals ask of a run. Set by signal handlers, read by `main`.
#[derive(Debug, Default, Clone)]
pub struct Control {
    /// Stop, finalise, finish.
    pub stop: StopRequest,
    /// Reopen output files.
    pub reopen: SignalFlag,
    /// Print the ledger.
    pub print: SignalFlag,
}

impl Control {
    // Relaxed: a request is about itself only, and is seen at the next look.
    fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::Relaxed)
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// The final accounts.
    pub ledger: Ledger,
    /// What failed on the way; the run finished all the same.
    pub errors: Vec<Error>,
    /// Readers of sinks that did not take their records: the ledger counts what was lost.
    pub losses: Vec<Error>,
    /// The devices that are known, if names are learned.
    pub devices: Option<DevicesView>,
}

/// Tells the outside what happens, from the main thread.
pub trait Observer {
    /// About every [`TICK`]; the latest view is in `views`.
    fn tick(&mut self, views: &Views);
    /// Something that the user should know.
    fn notice(&mut self, text: &str);
    /// What went wrong, where all else goes on.
    fn fault(&mut self, text: &str);
    /// Something for users who want to know more.
    fn detail(&mut self, text: &str);
}

/// How often `main` looks after everything.
pub const TICK: Duration = Duration::from_millis(50);

/// How often a view is published.
const VIEW_EVERY: Duration = Duration::from_millis(200);

/// `main`'s part while the other threads work.
struct Watch<'a> {
    control: &'a Control,
    accounts: &'a Accounts,
    map: &'a GlobalMap,
    views: &'a Views,
    devices: Option<&'a DevicesReader>,
    intervals: Option<&'a IntervalsPlan>,
    start: Instant,
    last_view: Option<Instant>,
}

impl<'a> Watch<'a> {
    /// Of a run since `start`. Devices are read if any are learned.
    fn new(
        control: &'a Control,
        accounts: &'a Accounts,
        map: &'a GlobalMap,
        views: &'a Views,
        devices: Option<&'a DevicesReader>,
        start: Instant,
    ) -> Self {
        let (intervals, last_view) = (None, None);
        Self { control, accounts, map, views, devices, intervals, start, last_view }
    }

    /// Whether the run should stop: by signal, by duration, or because nobody listens.
    fn should_stop(&self, settings: &Settings) -> bool {
        self.control.stop.is_made()
            || settings.duration.is_some_and(|duration| self.start.elapsed() >= duration)
            || (!self.accounts.sinks.is_empty()
                && self.accounts.sinks.iter().all(|sink| sink.has_failed()))
    }

    /// Publishes a view when it is time, and lets the observer look.
    fn tick(&mut self, progress: Option<(u64, u64)>, observer: &mut dyn Observer) {
        let now = Instant::now();
        let is_wanted = self.control.print.load(Ordering::Relaxed);
        let is_due = self.last_view.is_none_or(|last| now.duration_since(last) >= VIEW_EVERY);
        if is_due || is_wanted {
            self.last_view = Some(now);
            let mut ledger = Ledger::collect(self.accounts, self.map.len() as u64, false);
            fill_usage(&mut ledger, self.start);
            self.accounts.ignored_packets.set(ledger.ignored_packets());
            if let Some(intervals) = self.intervals {
                note_losses(&ledger, intervals);
            }
            // Goes over the whole map: only when somebody wants to see it.
            let busiest = if is_wanted { busiest(self.map) } else { Vec::new() };
            let devices = self.devices.map(DevicesReader::latest);
            self.views.publish(View { ledger, busiest, progress, devices });
        }
        tell(self.accounts, observer);
        observer.tick(self.views);
    }
}

/// Says what interfaces have lost so far.
fn note_losses(ledger: &Ledger, intervals: &IntervalsPlan) {
    for (interface, lost) in ledger.interfaces.iter().zip(&intervals.lost) {
        lost.set(interface.dropped.values().sum());
    }
}

/// Tells what sinks have to say.
fn tell(accounts: &Accounts, observer: &mut dyn Observer) {
    let said = accounts.all_sinks().flat_map(|sink| sink.take_notices());
    said.for_each(|text| observer.notice(&text));
}

/// All packets have come: sinks that are not done yet may say how many were ignored.
fn all_are_counted(accounts: &Accounts) {
    accounts.ignored_packets.set(Ledger::collect(accounts, 0, true).ignored_packets());
}

/// The final ledger and what the sinks have to say.
fn conclude(
    accounts: &Accounts,
    start: Instant,
    batch_ns: Option<Timing>,
    devices: Option<&DevicesReader>,
    mut errors: Vec<Error>,
) -> Outcome {
    let mut ledger = Ledger::collect(accounts, 0, true);
    fill_usage(&mut ledger, start);
    ledger.timing.extend(batch_ns.map(|timing| ("batch_ns", timing)));
    let failed = accounts.all_sinks().filter(|sink| !sink.was_closed_by_reader());
    errors.extend(failed.filter_map(|sink| sink.failure()));
    let losses = accounts.all_sinks().filter_map(|sink| sink.loss()).collect();
    Outcome { ledger, errors, losses, devices: devices.map(DevicesReader::latest) }
}

fn fill_usage(ledger: &mut Ledger, start: Instant) {
    ledger.wall_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let ns = |time: nix::sys::time::TimeVal| {
            u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(time.tv_usec()).unwrap_or(0) * 1_000
        };
        ledger.cpu_ns = ns(usage.user_time()) + ns(usage.system_time());
        // getrusage(2): in kilobytes.
        ledger.max_rss_bytes = u64::try_from(usage.max_rss()).unwrap_or(0) * 1_024;
    }
}
