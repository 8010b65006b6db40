//! Seeds: one, many, and one with a fault in it.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::checks::{Met, check};
use crate::fault::{Fault, Injector};
use crate::rng::Rng;
use crate::setting::Setting;
use crate::sink::Exported;
use crate::traffic::Traffic;
use crate::world::run;

/// Failing seeds after which a sweep stops.
const FAILED_MAX: u64 = 10;

/// The independent streams of a seed.
const TRAFFIC: u64 = 1;
const SETTING: u64 = 2;
const SCHEDULE: u64 = 3;

/// What came of many seeds.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) met: Met,
}

impl Sweep {
    pub(crate) fn summary(&self) -> String {
        let met = self.met.0.iter().map(|(name, seeds)| format!("\n{seeds:>12} {name}"));
        let Self { passed, failed, .. } = self;
        format!("{passed} seeds passed, {failed} failed{}", met.collect::<String>())
    }
}

/// Runs all seeds of a range on `threads` threads, and prints those that fail.
pub(crate) fn sweep(seeds: Range<u64>, threads: usize) -> Sweep {
    catch_panics();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Sweep::default());
    let work = || {
        loop {
            // Relaxed: who takes which seed does not matter.
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let result = attempt(seed, None, Injector::new(None, 0)).0;
            if let Err(problem) = &result {
                report(seed, problem);
            }
            let mut total = total.lock().expect("nothing panics with it");
            match result {
                Ok(met) => {
                    total.passed += 1;
                    total.met.add(&met);
                }
                Err(_) => total.failed += 1,
            }
            if total.failed >= FAILED_MAX {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    total.into_inner().expect("nothing panics with it")
}

/// Prints how to run a failing seed again, with as few of its packets as fail.
fn report(seed: u64, problem: &str) {
    let fails = |packets: &usize| attempt(seed, Some(*packets), Injector::new(None, 0)).0.is_err();
    let all = Traffic::random(&mut Rng::new(seed, TRAFFIC)).sent.len();
    let packets = (0..all).find(fails).unwrap_or(all);
    eprintln!(
        "seed {seed} failed: {problem}\n\
         it fails with {packets} of its {all} packets; replay that with:\n\
         cargo test -p flowtap --test simulation -- --seed {seed} --packets {packets}"
    );
}

/// Runs one seed and prints what happens. Whether it passed.
pub(crate) fn replay(seed: u64, packets: Option<usize>) -> bool {
    let (traffic, setting) = made_of(seed, packets);
    println!("seed {seed}: {setting:#?}\npackets:");
    for (number, sent) in traffic.sent.iter().enumerate() {
        println!("  {number}: {sent}");
    }
    println!("steps:");
    let injector = Rc::new(Injector::new(None, 0));
    let run = run(&setting, &traffic.sent, Rng::new(seed, SCHEDULE), &injector, true);
    let verdict = run.and_then(|run| {
        println!("records:");
        run.records.iter().for_each(|record| println!("  {:?}", Exported::of(record)));
        check(&setting, &run)
    });
    match &verdict {
        Ok(_) => println!("seed {seed} passed"),
        Err(problem) => println!("seed {seed} failed: {problem}"),
    }
    verdict.is_ok()
}

fn made_of(seed: u64, packets: Option<usize>) -> (Traffic, Setting) {
    let mut traffic = Traffic::random(&mut Rng::new(seed, TRAFFIC));
    let setting = Setting::random(&mut Rng::new(seed, SETTING), &traffic);
    traffic.sent.truncate(packets.unwrap_or(usize::MAX));
    (traffic, setting)
}

/// Runs one seed. A panic of the engine is a failure. Also says whether the fault happened.
fn attempt(seed: u64, packets: Option<usize>, injector: Injector) -> (Result<Met, String>, bool) {
    let injector = Rc::new(injector);
    let whole = || {
        let (traffic, setting) = made_of(seed, packets);
        let schedule = Rng::new(seed, SCHEDULE);
        let run = run(&setting, &traffic.sent, schedule, &injector, false)?;
        check(&setting, &run)
    };
    let result = catch_unwind(AssertUnwindSafe(whole))
        .unwrap_or_else(|_| Err(PANIC.with_borrow_mut(std::mem::take)));
    (result, injector.is_done())
}

thread_local! {
    /// What the latest panic of this thread said.
    static PANIC: RefCell<String> = RefCell::default();
}

/// Keeps what panics say, instead of printing it, on threads that run seeds.
fn catch_panics() {
    set_hook(Box::new(|info| PANIC.with_borrow_mut(|text| *text = info.to_string())));
}

/// Whether seeds give the same run again: the same steps, and the same records.
pub(crate) fn replays() -> Result<(), String> {
    const SEEDS: u64 = 300;
    for seed in 0..SEEDS {
        let once = || {
            let (traffic, setting) = made_of(seed, None);
            let injector = Rc::new(Injector::new(None, 0));
            let run = run(&setting, &traffic.sent, Rng::new(seed, SCHEDULE), &injector, false)?;
            let mut records: Vec<_> = run.records.iter().map(Exported::of).collect();
            // The map gives what is left at the end in any order.
            records.sort_by_key(|record| (record.ordinal, record.part, record.is_overflow));
            Ok::<_, String>((run.steps, records))
        };
        if once()? != once()? {
            return Err(format!("seed {seed} gave another run"));
        }
    }
    Ok(())
}

/// Whether `fault`, done once in each of many seeds, is found in every one.
pub(crate) fn faults_found(fault: Fault) -> Result<(), String> {
    const WANTED: u64 = 200;
    catch_panics();
    let (mut done, mut seed) = (0, 0);
    while done < WANTED {
        seed += 1;
        if !is_for(fault, &made_of(seed, None).1) {
            continue;
        }
        let skip = Rng::new(seed, SCHEDULE + 1).below(8);
        let (result, is_done) = attempt(seed, None, Injector::new(Some(fault), skip));
        match result {
            Ok(_) if is_done => return Err(format!("seed {seed}: {fault:?} was not found")),
            Err(problem) if !is_done => return Err(format!("seed {seed}: {problem}")),
            _ => done += u64::from(is_done),
        }
    }
    Ok(())
}

/// Whether a run of this setting must show the fault.
fn is_for(fault: Fault, setting: &Setting) -> bool {
    match fault {
        Fault::LoseDelta | Fault::LoseRecord | Fault::RepeatRecord => true,
        // There must be room for two.
        Fault::RepeatDelta => setting.batch_deltas * setting.delta_batches > setting.batch_packets,
        // With the reference, which knows how many flows and parts there are; and without
        // overflow aggregates, which have one direction.
        Fault::LoseEnd | Fault::TurnDelta | Fault::ShortenRecord => {
            setting.mode.is_read() && setting.is_ample
        }
        Fault::TurnFeatures => {
            setting.mode.is_read() && setting.is_ample && setting.features_set.is_extended()
        }
    }
}
