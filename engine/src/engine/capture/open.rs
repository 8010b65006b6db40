//! Which way each interface is captured from, and its opening.
//!
//! First a plan, which says how many cores there will be, as their tables take a while to
//! make; then, with the tables there, sources are opened by it.

use super::settings::{CaptureSettings, Mode};
use crate::error::{Error, Result};
use crate::limits::MAX_CORES;
use crate::source::afxdp::{Tap, TapConfig, XdpMode, ZeroCopy, check_free};
use crate::source::live::{Queue, Source};
use crate::source::packet::{Observe, ObserveConfig};
use crate::xdp::filter::KernelFilter;
use crate::xdp::interface::Interface;

/// How one interface is to be captured from.
#[derive(Debug)]
pub(super) struct Plan {
    interface: String,
    by: By,
    /// Queues or rings, each with a core.
    pub(super) cores: usize,
}

#[derive(Debug)]
enum By {
    /// AF_XDP; with the other way as a way out, if nobody has said which.
    Tap { or_observe: bool },
    /// AF_PACKET, and what is to be said of it.
    Observe { why: String },
}

/// What is decided before anything is opened, for all interfaces.
///
/// # Errors
/// If one is missing or given twice, or if there would be too many cores.
pub(super) fn plan(settings: &CaptureSettings, workers: Option<usize>) -> Result<Vec<Plan>> {
    let mut plans = Vec::with_capacity(settings.interfaces.len());
    for (idx, name) in settings.interfaces.iter().enumerate() {
        if settings.interfaces[..idx].contains(name) {
            return Err(Error::new(format!("capture on {name}"), "given twice")
                .advise("name each interface once"));
        }
        plans.push(plan_one(settings, workers, Interface::find(name)?)?);
    }
    let cores: usize = plans.iter().map(|plan| plan.cores).sum();
    if cores > MAX_CORES {
        let cause = format!("{cores} queues on all interfaces together");
        return Err(Error::new("capture", cause).advise(format!(
            "reduce them to {MAX_CORES} with ethtool -L, give fewer --workers, or name fewer \
             interfaces"
        )));
    }
    Ok(plans)
}

fn plan_one(
    settings: &CaptureSettings,
    workers: Option<usize>,
    interface: Interface,
) -> Result<Plan> {
    let queues = interface.rx_queues() as usize;
    let not_tap = match settings.mode {
        Mode::Tap => None,
        Mode::Observe => Some(String::new()),
        Mode::Auto => match check_free(&interface, settings.force) {
            Err(refusal) => Some(format!("; not tap: {}", refusal.cause())),
            Ok(()) => workers
                .filter(|workers| *workers != queues)
                .map(|workers| format!("; not tap: {queues} queues, and --workers {workers}")),
        },
    };
    if let Some(not_tap) = not_tap {
        if let Some(flag) = flag_of_taps(settings) {
            return Err(Error::new(flag, format!("{} is observed{not_tap}", interface.name))
                .advise("leave it out: only a tap has an XDP program and AF_XDP sockets"));
        }
        let (cores, why) = count_rings(settings, workers, queues);
        let why = format!("{why}{not_tap}");
        return Ok(Plan { interface: interface.name, by: By::Observe { why }, cores });
    }
    if workers.is_some_and(|workers| workers != queues) {
        let cause = format!("{} has {queues} queues", interface.name);
        return Err(Error::new("--workers", cause).advise("leave it out: each queue has a worker"));
    }
    let or_observe = settings.mode == Mode::Auto && flag_of_taps(settings).is_none();
    Ok(Plan { interface: interface.name, by: By::Tap { or_observe }, cores: queues })
}

/// What was asked for that only a tap has.
fn flag_of_taps(settings: &CaptureSettings) -> Option<&'static str> {
    let flags = [
        (settings.xdp_mode != XdpMode::Auto, "--xdp-mode"),
        (settings.zero_copy == ZeroCopy::On, "--zero-copy on"),
        (settings.busy_poll_us.is_some(), "--busy-poll"),
        (settings.sampling.is_some(), "--sample"),
    ];
    flags.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
}

/// How many rings an observed interface has, and why so many: as many as receive queues, since
/// no more processors than those bring it packets that others send; and no more than
/// processors, since further threads would only take turns.
fn count_rings(
    settings: &CaptureSettings,
    workers: Option<usize>,
    queues: usize,
) -> (usize, &'static str) {
    if let Some(workers) = workers {
        return (workers, "as --workers says");
    }
    let processors = settings.processors();
    if queues <= processors {
        (queues, "one per receive queue")
    } else {
        (processors, "one per processor")
    }
}

/// A queue with the number of its interface.
pub(super) type Numbered = (u16, Queue);

/// Opens all sources, as planned, those that have an XDP program with this filter in it; `say`
/// is told how.
///
/// # Errors
/// If one cannot be opened. Nothing stays changed then.
pub(super) fn open(
    plans: Vec<Plan>,
    settings: &CaptureSettings,
    in_kernel: Option<&KernelFilter>,
    mut say: impl FnMut(String),
) -> Result<(Vec<Source>, Vec<Numbered>)> {
    let mut sources = Vec::with_capacity(plans.len());
    let mut queues = Vec::new();
    let mut notices = Vec::with_capacity(plans.len());
    for (idx, plan) in plans.into_iter().enumerate() {
        let number =
            u16::try_from(idx).map_err(|_| Error::new("capture", "too many interfaces"))?;
        let cores = plan.cores;
        let (source, more, why) = open_one(plan, settings, in_kernel)?;
        if more.len() != cores {
            let cause = "the number of queues changed meanwhile";
            return Err(Error::new("capture", cause).advise("start it again"));
        }
        let (name, how, sampled) = (source.interface(), source.description(), settings.sampling);
        notices.push(format!("capturing on {name}: {how}{why}{sampled}"));
        sources.push(source);
        queues.extend(more.into_iter().map(|queue| (number, queue)));
    }
    // Once all are open: who reads it may rely on that.
    notices.into_iter().for_each(&mut say);
    Ok((sources, queues))
}

/// Opens one source. What is to be said of it comes last.
fn open_one(
    plan: Plan,
    settings: &CaptureSettings,
    in_kernel: Option<&KernelFilter>,
) -> Result<(Source, Vec<Queue>, String)> {
    let Plan { interface, by, cores } = plan;
    let observe = |why: String| {
        let config = ObserveConfig {
            interface: interface.clone(),
            rings: cores,
            frames_per_ring: settings.ring_frames,
        };
        let (observe, queues) = Observe::open(&config)?;
        let queues = queues.into_iter().map(Queue::Observe).collect();
        Ok((Source::Observe(Box::new(observe)), queues, format!(", {why}")))
    };
    match by {
        By::Observe { why } => observe(why),
        By::Tap { or_observe } => {
            let config = TapConfig {
                force: settings.force,
                frames_per_queue: settings.ring_frames,
                xdp_mode: settings.xdp_mode,
                zero_copy: settings.zero_copy,
                busy_poll_us: settings.busy_poll_us,
                sampling: settings.sampling,
                timestamps: settings.timestamps,
                filter: in_kernel.cloned(),
                ..TapConfig::new(&interface)
            };
            match Tap::open(&config) {
                Ok((tap, queues)) => {
                    let queues = queues.into_iter().map(Queue::Tap).collect();
                    Ok((Source::Tap(Box::new(tap)), queues, String::new()))
                }
                Err(refusal) if or_observe => {
                    observe(format!("as many as receive queues; not tap: {refusal}"))
                }
                Err(refusal) => Err(refusal),
            }
        }
    }
}
