//! From facts to verdicts: what each fact means for a capture, and the command that mends it.
//!
//! Pure functions of [`Facts`], so that drivers that nobody here has can be judged by what
//! they answer. `Bad` is what keeps `capture` from the best way that the driver has; `Warn`
//! costs speed or detail.

mod machine;

use serde::Serialize;

use crate::host::facts::{Facts, Interface, Lower, Machine};
use crate::limits::{MAX_CORES, TAP_MTU};

/// A receive ring that rides out a burst while its thread is busy.
const RING_FRAMES: u32 = 2048;

/// The first kernel that brings AF_XDP sockets frames of several buffers (`XDP_USE_SG`).
const MULTI_BUFFER_KERNEL: (u32, u32) = (6, 6);

/// How a fact weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but slower or with less detail.
    Warn,
    /// `capture` would refuse, or not work at its best.
    Bad,
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The interface; `None` for the machine.
    pub interface: Option<String>,
    /// What was looked at: `queues`.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What it means, in one line.
    pub meaning: String,
    /// The command that mends it.
    pub command: Option<String>,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, meaning: impl Into<String>) -> Self {
        Self { interface: None, check, verdict, meaning: meaning.into(), command: None }
    }

    fn ok(check: &'static str, meaning: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, meaning)
    }

    fn warn(check: &'static str, meaning: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, meaning)
    }

    fn bad(check: &'static str, meaning: impl Into<String>) -> Self {
        Self::new(check, Verdict::Bad, meaning)
    }

    fn mend(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// Judges everything: the machine first, then each interface.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = machine::judge(facts);
    for interface in &facts.interfaces {
        findings.extend(
            judge_interface(&facts.machine, interface)
                .into_iter()
                .map(|finding| Finding { interface: Some(interface.name.clone()), ..finding }),
        );
    }
    findings
}

/// Of interfaces that one capture is to take together: whether they have too many queues for that.
pub fn judge_together(facts: &Facts) -> Option<Finding> {
    // Of what is observed there are no more rings than processors.
    let cores = |interface: &Interface| {
        let queues = receiving(interface) as usize;
        let is_tapped = interface.uses.is_empty() && queues <= MAX_CORES;
        let rings = queues.min(facts.machine.processors as usize).min(MAX_CORES);
        if is_tapped { queues } else { rings }
    };
    let all: usize = facts.interfaces.iter().map(cores).sum();
    (all > MAX_CORES).then(|| {
        let meaning = format!(
            "{all} on these interfaces together, and {MAX_CORES} are the most of one capture: \
             reduce them with ethtool -L, or give each interface a capture of its own"
        );
        Finding::bad("queues", meaning)
    })
}

fn judge_interface(machine: &Machine, interface: &Interface) -> Vec<Finding> {
    let mut findings = vec![
        link(interface),
        in_use(interface),
        programs(interface),
        xdp(interface),
        mtu(machine, interface),
        queues(machine, interface),
    ];
    findings.extend(promiscuous(interface));
    findings.extend(rss(interface));
    findings.extend(rings(interface));
    findings.extend(offloads(interface));
    findings.extend(observed_offloads(interface));
    findings.extend(numa(machine, interface));
    findings.extend(left_tuned(interface));
    findings
}

fn link(interface: &Interface) -> Finding {
    let name = &interface.name;
    let driver = interface.driver.as_deref().unwrap_or("no driver's name");
    if !interface.is_up {
        return Finding::bad("link", format!("down ({driver})"))
            .mend(format!("ip link set {name} up"));
    }
    if !interface.has_carrier {
        return Finding::warn("link", format!("up, but nothing at the other end ({driver})"));
    }
    let speed = interface.speed_mbps.map(|mbps| format!(", {mbps} Mb/s")).unwrap_or_default();
    Finding::ok("link", format!("up ({driver}{speed})"))
}

fn in_use(interface: &Interface) -> Finding {
    let Some(first) = interface.uses.first() else {
        return Finding::ok("in use", "the host does not need it");
    };
    let more = match interface.uses.len() {
        1 => String::new(),
        uses => format!(" ({} more)", uses - 1),
    };
    let meaning = format!("{first}{more}: tap would cut the host off");
    Finding::bad("in use", meaning)
        .mend(format!("flowtap capture -i {} --mode observe", interface.name))
}

fn programs(interface: &Interface) -> Finding {
    let Some(program) = interface.programs.first() else {
        return Finding::ok("xdp program", "none is attached");
    };
    let meaning = format!(
        "another is attached: id {}, {}; if a link holds it (`bpftool link` names it), end its \
         owner, as `ip link` cannot detach it",
        program.id, program.mode
    );
    // `xdp` alone means whichever mode the kernel would pick now.
    let place = match &*program.mode {
        "native" => "xdpdrv",
        "generic" => "xdpgeneric",
        "offloaded" => "xdpoffload",
        _ => "xdp",
    };
    Finding::bad("xdp program", meaning).mend(format!("ip link set {} {place} off", interface.name))
}

/// The best way that the driver has.
fn xdp(interface: &Interface) -> Finding {
    let Some(xdp) = &interface.xdp else {
        return Finding::warn("xdp", "the kernel is older than 6.3 and does not say: try it");
    };
    if !xdp.native || !xdp.redirect {
        return Finding::warn("xdp", "generic copy: the driver has no native XDP");
    }
    let frames = if xdp.multi_buffer { "frames of several buffers" } else { "one buffer a frame" };
    let copies = if xdp.zero_copy { "zero-copy" } else { "copy: the driver has no zero-copy" };
    Finding::ok("xdp", format!("native {copies}; {frames}"))
}

/// Long packets take several buffers where the driver and AF_XDP know that.
fn mtu(machine: &Machine, interface: &Interface) -> Finding {
    let (mtu, name) = (interface.mtu, &interface.name);
    if mtu <= TAP_MTU {
        return Finding::ok("mtu", format!("{mtu}: a packet fits one frame"));
    }
    let shorter = format!("ip link set {name} mtu {TAP_MTU}");
    let lost = format!("packets above {TAP_MTU} are lost, and counted");
    let xdp = interface.xdp.clone().unwrap_or_default();
    if xdp.native && !xdp.multi_buffer {
        return Finding::bad("mtu", format!("{mtu}: the driver needs {TAP_MTU} or less"))
            .mend(shorter);
    }
    if machine.version() < MULTI_BUFFER_KERNEL {
        return Finding::warn("mtu", format!("{mtu}: before Linux 6.6 {lost}")).mend(shorter);
    }
    if xdp.zero_copy && xdp.zero_copy_segments.unwrap_or(1) < 2 {
        let meaning = format!("{mtu}: zero-copy takes one buffer a packet, so packets are copied");
        return Finding::warn("mtu", meaning).mend(shorter);
    }
    Finding::ok("mtu", format!("{mtu}: long packets take several buffers"))
}

/// `observe` asks for all packets by itself, as does `--tune`.
fn promiscuous(interface: &Interface) -> Option<Finding> {
    if interface.promiscuity? > 0 {
        return Some(Finding::ok("promiscuous", "every frame on the line is taken"));
    }
    let meaning = "a tap takes only frames to its own addresses: of a mirror port's hardly any";
    let command = format!("ip link set {} promisc on", interface.name);
    Some(Finding::warn("promiscuous", meaning).mend(command))
}

/// How many queues receive.
fn receiving(interface: &Interface) -> u32 {
    interface.channels.map_or(1, |channels| channels.receiving().max(1))
}

fn queues(machine: &Machine, interface: &Interface) -> Finding {
    let name = &interface.name;
    let Some(channels) = interface.channels else {
        return Finding::ok("queues", "the driver does not say: one, or those in /sys");
    };
    let (now, most) = (receiving(interface), channels.receiving_max());
    let meaning = format!("{now} of {most}, for {} processors", machine.processors);
    let mend = |to: u32| format!("ethtool -L {name} {} {to}", channels.name());
    if now as usize > MAX_CORES {
        return Finding::bad("queues", format!("{meaning}; {MAX_CORES} are the most of a tap"))
            .mend(mend(u32::try_from(MAX_CORES).unwrap_or(u32::MAX)));
    }
    if now > machine.processors {
        return Finding::warn("queues", format!("{meaning}: threads share processors"))
            .mend(mend(machine.processors));
    }
    Finding::ok("queues", meaning)
}

fn rss(interface: &Interface) -> Option<Finding> {
    let queues = receiving(interface);
    if queues < 2 {
        return None;
    }
    let Some(rss) = &interface.rss else {
        return Some(Finding::warn(
            "rss",
            "the driver does not say how it deals packets to queues",
        ));
    };
    if rss.is_symmetric() {
        return Some(Finding::ok("rss", "both directions of a flow come to one queue"));
    }
    let meaning = "the directions of a flow come to different queues: each packet is passed on";
    let key = vec!["6d:5a"; rss.key.len().max(2) / 2].join(":");
    let finding = Finding::warn("rss", meaning);
    Some(if rss.key.is_empty() {
        finding
    } else {
        finding.mend(format!("ethtool -X {} hkey {key}", interface.name))
    })
}

/// How long a receive ring of this length, and at most so long, should rather be: no longer
/// than twice what a burst takes, as what it holds should stay in a processor's caches.
pub(super) fn advised_ring([now, most]: [u32; 2]) -> Option<u32> {
    (now < RING_FRAMES && now < most).then(|| most.min(RING_FRAMES * 2))
}

fn rings(interface: &Interface) -> Option<Finding> {
    let ring @ [now, most] = interface.rx_ring?;
    let meaning = format!("{now} of {most} frames");
    let Some(best) = advised_ring(ring) else { return Some(Finding::ok("rx ring", meaning)) };
    Some(
        Finding::warn("rx ring", format!("{meaning}: short for bursts"))
            .mend(format!("ethtool -G {} rx {best}", interface.name)),
    )
}

/// What an offload does to packets before they are seen.
pub(super) struct Offload {
    /// Its name in the kernel, and `ethtool -K`'s.
    pub(super) names: [&'static str; 2],
    /// Whether it comes before a native program.
    is_in_the_card: bool,
    /// Whether it makes one packet of several.
    merges: bool,
    effect: &'static str,
}

pub(super) const OFFLOADS: [Offload; 4] = [
    Offload {
        names: ["rx-lro", "lro"],
        is_in_the_card: true,
        merges: true,
        effect: "merges packets before they are counted",
    },
    Offload {
        names: ["rx-gro-hw", "rx-gro-hw"],
        is_in_the_card: true,
        merges: true,
        effect: "merges packets before they are counted",
    },
    Offload {
        names: ["rx-vlan-hw-parse", "rxvlan"],
        is_in_the_card: true,
        merges: false,
        effect: "strips VLAN tags, which records then lack",
    },
    Offload {
        names: ["rx-gro", "gro"],
        is_in_the_card: false,
        merges: true,
        effect: "merges packets before generic XDP and observe see them",
    },
];

fn offloads(interface: &Interface) -> Vec<Finding> {
    let is_native = interface.xdp.as_ref().is_some_and(|xdp| xdp.native && xdp.redirect);
    let is_in_time = |offload: &&Offload| offload.is_in_the_card || !is_native;
    let is_on = |on: &[String], offload: &Offload| on.iter().any(|name| name == offload.names[0]);
    let own = OFFLOADS.iter().filter(|offload| is_on(&interface.offloads, offload));
    let own = own.filter(is_in_time).map(|offload| {
        let [_, name] = offload.names;
        Finding::warn("offloads", format!("{name} {}", offload.effect))
            .mend(format!("ethtool -K {} {name} off", interface.name))
    });
    // What was merged below comes merged.
    let below = interface.below.iter().flat_map(|lower| {
        let merging = OFFLOADS.iter().filter(|offload| offload.merges);
        let on = merging.filter(|offload| is_on(&lower.offloads, offload)).filter(is_in_time);
        on.map(|offload| {
            let [_, name] = offload.names;
            let meaning = format!("{name} of {}, below it, {}", lower.name, offload.effect);
            Finding::warn("offloads", meaning).mend(format!("ethtool -K {} {name} off", lower.name))
        })
    });
    let found: Vec<_> = own.chain(below).collect();
    if found.is_empty() {
        return vec![Finding::ok("offloads", "none merges packets or strips tags")];
    }
    found
}

/// What makes `observe` see one packet where several are on the wire: by name in the kernel, and
/// `ethtool -K`'s.
const OBSERVED_OFFLOADS: [[&str; 2]; 6] = [
    ["rx-gro", "gro"],
    ["tx-tcp-segmentation", "tso"],
    ["tx-tcp6-segmentation", "tso"],
    // What programs send in one call (QUIC servers do); generic segmentation does not stand for it.
    ["tx-udp-segmentation", "tx-udp-segmentation"],
    ["tx-sctp-segmentation", "tx-sctp-segmentation"],
    ["tx-generic-segmentation", "gso"],
];

/// Of an interface that is to be observed, as the host uses it: its own, and GRO of what it stands
/// on. Segments that it sends are cut there, but not before they are seen.
fn observed_offloads(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "offloads (observe)";
    if interface.uses.is_empty() {
        return None;
    }
    let is_on = |name: &str| interface.offloads.iter().any(|one| one == name);
    let mut on: Vec<_> =
        OBSERVED_OFFLOADS.iter().filter(|[name, _]| is_on(name)).map(|[_, name]| *name).collect();
    on.dedup();
    let merges = |lower: &&Lower| lower.offloads.iter().any(|name| name == "rx-gro");
    let below: Vec<_> = interface.below.iter().filter(merges).map(|lower| &*lower.name).collect();
    if on.is_empty() && below.is_empty() {
        let meaning = "none merges packets, or has them cut later";
        return Some(Finding::ok(CHECK, meaning));
    }
    let own = on.iter().map(|name| (*name).to_owned());
    let of_others = below.iter().map(|name| format!("gro of {name}"));
    let all: Vec<_> = own.chain(of_others).collect();
    let meaning =
        format!("{}: observe sees packets that are merged, or not yet cut, as one", all.join(", "));
    let off = format!("ethtool -K {} {} off", interface.name, on.join(" off "));
    let own = (!on.is_empty()).then_some(off);
    let of_others = below.iter().map(|name| format!("ethtool -K {name} gro off"));
    let commands: Vec<_> = own.into_iter().chain(of_others).collect();
    Some(Finding::warn(CHECK, meaning).mend(commands.join("; ")))
}

fn numa(machine: &Machine, interface: &Interface) -> Option<Finding> {
    let node = interface.numa_node?;
    if machine.numa_nodes.contains(&node) {
        return Some(Finding::ok("numa", format!("node {node}, as processors are")));
    }
    let meaning = format!("node {node}, but this process runs on other nodes");
    Some(
        Finding::warn("numa", meaning)
            .mend(format!("numactl --cpunodebind={node} --membind={node} flowtap capture ...")),
    )
}

/// The check of [`left_tuned`].
pub(crate) const TUNE: &str = "tune";

fn left_tuned(interface: &Interface) -> Option<Finding> {
    let was = &interface.left_tuned;
    if was.is_empty() {
        return None;
    }
    let meaning = format!("a killed capture has left it changed; before: {}", was.join(", "));
    Some(Finding::warn(TUNE, meaning).mend("flowtap doctor --restore"))
}

#[cfg(test)]
mod tests;
