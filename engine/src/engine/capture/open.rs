//! Which way each interface is captured from, and its opening.
//!
//! First a plan, which says how many cores there will be, as their tables take a while to
//! make; then, with the tables there, sources are opened by it.

use super::settings::{CaptureSettings, Mode, ObserveBy};
use crate::decode::{TunnelPorts, Tunnels};
use crate::error::{Error, Result};
use crate::host::link::Links;
use crate::limits::{MAX_CORES, SNAP_BYTES, XDP_SNAP_BYTES};
use crate::source::afxdp::{Tap, TapConfig, XdpMode, ZeroCopy, check_free};
use crate::source::live::{Queue, Source};
use crate::source::observe_xdp::{ObserveXdp, ObserveXdpConfig};
use crate::source::packet::{Observe, ObserveConfig};
use crate::xdp::filter::KernelFilter;
use crate::xdp::interface::Interface;

/// How one interface is to be captured from.
#[derive(Debug)]
pub(super) struct Plan {
    interface: String,
    /// Its number in this network namespace.
    pub(super) index: u32,
    by: By,
    /// Queues or rings, each with a core.
    pub(super) cores: usize,
    /// Queues that may be added, for which threads are held ready.
    spares: usize,
}

#[derive(Debug)]
enum By {
    /// AF_XDP; with the other way as a way out, if nobody has said which.
    Tap { or_observe: bool },
    /// As `--observe-by` says, and what is to be said of it.
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
    let mut room = MAX_CORES - cores;
    for plan in &mut plans {
        plan.spares = plan.spares.min(room);
        room -= plan.spares;
    }
    Ok(plans)
}

/// For each thread that is held ready, the number of its interface.
pub(super) fn spares(plans: &[Plan]) -> Vec<u16> {
    let of = |(number, plan): (u16, &Plan)| std::iter::repeat_n(number, plan.spares);
    (0..).zip(plans).flat_map(of).collect()
}

fn plan_one(
    settings: &CaptureSettings,
    workers: Option<usize>,
    interface: Interface,
) -> Result<Plan> {
    let (queues, index) = (interface.rx_queues() as usize, interface.index);
    let not_tap = match settings.mode {
        Mode::Tap => None,
        Mode::Observe => Some(String::new()),
        Mode::Auto => match check_free(&interface, settings.force) {
            Err(refusal) => Some(format!("; not tap: {}", refusal.cause())),
            Ok(()) if queues > MAX_CORES => {
                Some(format!("; not tap: {queues} queues, and {MAX_CORES} are the most"))
            }
            Ok(()) => workers
                .filter(|workers| *workers != queues)
                .map(|workers| format!("; not tap: {queues} queues, and --workers {workers}")),
        },
    };
    if let Some(not_tap) = not_tap {
        if let Some(flag) = flag_of_taps(settings) {
            return Err(Error::new(flag, format!("{} is observed{not_tap}", interface.name))
                .advise("leave it out: it is for a tap, --xdp-mode also for --observe-by xdp"));
        }
        let (cores, why) = count_rings(settings, workers, queues)?;
        let why = format!("{why}{not_tap}");
        let by = By::Observe { why };
        return Ok(Plan { interface: interface.name, index, by, cores, spares: 0 });
    }
    let flag = match settings {
        CaptureSettings { mode: Mode::Tap, observe_by: ObserveBy::Xdp, .. } => Some("--observe-by"),
        CaptureSettings { mode: Mode::Tap, snap_bytes: Some(_), .. } => Some("--snaplen"),
        _ => None,
    };
    if let Some(flag) = flag {
        return Err(Error::new(flag, format!("{} is tapped", interface.name))
            .advise("leave it out, or use --mode observe"));
    }
    if workers.is_some_and(|workers| workers != queues) {
        let cause = format!("{} has {queues} queues", interface.name);
        return Err(Error::new("--workers", cause).advise("leave it out: each queue has a worker"));
    }
    // By XDP it would be another number of cores, and what has refused the one program will
    // refuse the other.
    let or_observe = settings.mode == Mode::Auto
        && settings.observe_by == ObserveBy::Packet
        && flag_of_taps(settings).is_none();
    // Without privileges none could be opened.
    let most = settings.reopens.then(|| Links::default().max_rx_queues(index)).flatten();
    let spares = most.map_or(0, |most| (most as usize).saturating_sub(queues));
    let by = By::Tap { or_observe };
    Ok(Plan { interface: interface.name, index, by, cores: queues, spares })
}

/// What was asked for that only a tap has.
fn flag_of_taps(settings: &CaptureSettings) -> Option<&'static str> {
    let is_asked = settings.mode == Mode::Observe;
    let flags = [
        (
            settings.xdp_mode != XdpMode::Auto && settings.observe_by == ObserveBy::Packet,
            "--xdp-mode",
        ),
        (settings.zero_copy == ZeroCopy::On, "--zero-copy on"),
        (settings.busy_poll_us.is_some(), "--busy-poll"),
        (settings.sampling.is_some(), "--sample"),
        (settings.shunt.is_some(), "--shunt"),
        (is_asked && settings.force, "--force"),
        (is_asked && settings.zero_copy == ZeroCopy::Off, "--zero-copy off"),
    ];
    flags.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
}

/// How many rings an observed interface has, and why so many: as many as receive queues, since
/// no more processors than those bring it packets that others send; no more than processors,
/// since further threads would only take turns; and no more than a capture can have. By XDP it has
/// one.
fn count_rings(
    settings: &CaptureSettings,
    workers: Option<usize>,
    queues: usize,
) -> Result<(usize, &'static str)> {
    let processors = settings.processors();
    Ok(match (settings.observe_by, workers) {
        (ObserveBy::Xdp, None | Some(1)) => (1, "one ring buffer"),
        (ObserveBy::Xdp, Some(_)) => {
            let cause = "--observe-by xdp has one ring buffer, and so one worker";
            return Err(Error::new("--workers", cause).advise("leave it out"));
        }
        (ObserveBy::Packet, Some(workers)) => (workers, "as --workers says"),
        (ObserveBy::Packet, None) if queues.min(processors) > MAX_CORES => {
            (MAX_CORES, "as many as there can be")
        }
        (ObserveBy::Packet, None) if queues <= processors => (queues, "one per receive queue"),
        (ObserveBy::Packet, None) => (processors, "one per processor"),
    })
}

/// A queue with the number of its interface.
pub(super) type Numbered = (u16, Queue);

/// What all XDP programs of taps are given.
#[derive(Clone, Copy)]
pub(super) struct InKernel<'a> {
    pub(super) filter: Option<&'a KernelFilter>,
    pub(super) tunnels: Tunnels,
}

impl InKernel<'_> {
    /// Flows are drawn as if tunnels were opened, also where they are not: so the same are kept.
    fn tunnel_ports(self) -> TunnelPorts {
        self.tunnels.ports()
    }
}

/// Opens all sources, as planned, those that have an XDP program with this in it. What is to be said
/// of them, once packets come, is last.
///
/// # Errors
/// If one cannot be opened. Nothing stays changed then.
pub(super) fn open(
    plans: Vec<Plan>,
    settings: &CaptureSettings,
    in_kernel: InKernel<'_>,
) -> Result<(Vec<Source>, Vec<Numbered>, Vec<String>)> {
    let mut sources = Vec::with_capacity(plans.len());
    let mut queues = Vec::new();
    let mut notices = Vec::with_capacity(plans.len());
    let mut links = Links::default();
    let taps = plans.iter().filter(|plan| matches!(plan.by, By::Tap { .. }));
    let all = All {
        cores: plans.iter().map(|plan| plan.cores).sum(),
        tapped: taps.map(|plan| plan.cores).sum(),
    };
    for (idx, plan) in plans.into_iter().enumerate() {
        let number =
            u16::try_from(idx).map_err(|_| Error::new("capture", "too many interfaces"))?;
        let cores = plan.cores;
        let (source, more, why) = open_one(plan, settings, in_kernel, &all)?;
        if more.len() != cores {
            let cause = "the number of queues changed meanwhile";
            return Err(Error::new("capture", cause).advise("start it again"));
        }
        let (name, how, sampled) = (source.interface(), source.description(), settings.sampling);
        notices.push(format!("capturing on {name}: {how}{why}{sampled}"));
        if matches!(source, Source::Tap(_)) {
            let link = links.look(source.index()).ok().flatten();
            notices.extend(link.and_then(|link| of_choice(name, link.promiscuity)));
        }
        sources.push(source);
        queues.extend(more.into_iter().map(|queue| (number, queue)));
    }
    Ok((sources, queues, notices))
}

/// What is to be said of a card that nobody has asked for all packets, which a tap does not do.
pub(super) fn of_choice(name: &str, promiscuity: Option<u32>) -> Option<String> {
    (promiscuity == Some(0)).then(|| {
        format!(
            "{name} takes only frames to its own addresses: for a mirror port give --tune, or \
             `ip link set {name} promisc on`"
        )
    })
}

/// Opens one source that is observed.
fn observe(
    interface: &str,
    rings: usize,
    settings: &CaptureSettings,
) -> Result<(Source, Vec<Queue>)> {
    let interface = interface.to_owned();
    match settings.observe_by {
        ObserveBy::Packet => {
            let frames_per_ring = settings.ring_frames;
            let snap_bytes = settings.snap_bytes.unwrap_or(SNAP_BYTES);
            let config = ObserveConfig { interface, rings, frames_per_ring, snap_bytes };
            let (observe, queues) = Observe::open(&config)?;
            Ok((
                Source::Observe(Box::new(observe)),
                queues.into_iter().map(Queue::Observe).collect(),
            ))
        }
        ObserveBy::Xdp => {
            let config = ObserveXdpConfig {
                interface,
                xdp_mode: settings.xdp_mode,
                ring_frames: settings.ring_frames,
                snap_bytes: settings.snap_bytes.unwrap_or(XDP_SNAP_BYTES),
            };
            let (observe, queue) = ObserveXdp::open(&config)?;
            let queues = vec![Queue::ObserveXdp(Box::new(queue))];
            Ok((Source::ObserveXdp(Box::new(observe)), queues))
        }
    }
}

/// What is opened, one source after the other.
struct All {
    cores: usize,
    /// Those of taps.
    tapped: usize,
}

/// Opens one source. What is to be said of it comes last.
fn open_one(
    plan: Plan,
    settings: &CaptureSettings,
    in_kernel: InKernel<'_>,
    all: &All,
) -> Result<(Source, Vec<Queue>, String)> {
    let Plan { interface, by, cores, .. } = plan;
    let observe = |why: String| {
        let (source, queues) = observe(&interface, cores, settings)?;
        Ok((source, queues, format!(", {why}")))
    };
    match by {
        By::Observe { why } => observe(why),
        By::Tap { or_observe } => {
            let number = |cores| u32::try_from(cores).expect("there are at most MAX_CORES");
            // Any of them may count flows that come by this interface.
            let shunting_cores = match settings.shunt {
                Some(_) => number(all.cores),
                None => 0,
            };
            let config = TapConfig {
                force: settings.force,
                frames_per_queue: settings.ring_frames,
                xdp_mode: settings.xdp_mode,
                zero_copy: settings.zero_copy,
                busy_poll_us: settings.busy_poll_us,
                sampling: settings.sampling,
                all_queues: number(all.tapped),
                shunting_cores,
                timestamps: settings.timestamps,
                filter: in_kernel.filter.cloned(),
                tunnel_ports: *in_kernel.tunnel_ports().all(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_a_card_that_chooses_it_is_said() {
        for (promiscuity, is_said) in [(Some(0), true), (Some(1), false), (None, false)] {
            let said = of_choice("eth1", promiscuity);
            let has_command =
                said.is_some_and(|text| text.contains("`ip link set eth1 promisc on`"));
            assert_eq!(has_command, is_said, "{promiscuity:?}");
        }
    }
}
