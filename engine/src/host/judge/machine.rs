//! Verdicts on the machine, and on what this process may do.

use crate::host::facts::{Facts, Machine};
use crate::host::judge::{Finding, receiving};
use crate::limits::{DEFAULT_QUEUE_FRAMES, LOCKED_QUEUE_FRAMES};
use crate::privileges::{GRANT, NEEDED, missing_among};

/// The first kernel that loads programs for frames of several buffers, as ours is
/// (`BPF_F_XDP_HAS_FRAGS`).
const OLDEST_KERNEL: (u32, u32) = (5, 18);

/// The bytes of one frame.
const FRAME_BYTES: u64 = 4096;

/// Judges everything that is not an interface's.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let machine = &facts.machine;
    vec![
        kernel(machine),
        btf(machine),
        jit(machine),
        capabilities(machine),
        memlock(facts),
        huge_pages(machine),
    ]
}

fn kernel(machine: &Machine) -> Finding {
    let release = &machine.kernel;
    if machine.version() < OLDEST_KERNEL {
        return Finding::bad("kernel", format!("Linux {release} is older than 5.18: no tap"));
    }
    Finding::ok("kernel", format!("Linux {release}"))
}

fn btf(machine: &Machine) -> Finding {
    if machine.has_btf {
        return Finding::ok("btf", "the kernel describes its types");
    }
    Finding::warn("btf", "the kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)")
}

fn jit(machine: &Machine) -> Finding {
    match machine.bpf_jit {
        Some(0) => Finding::warn("bpf jit", "XDP programs are interpreted: several times slower")
            .mend("sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) => Finding::ok("bpf jit", "XDP programs are compiled"),
        // A kernel built to compile always has no such switch; another needs root to say.
        None => Finding::ok("bpf jit", "no switch: the kernel decides"),
    }
}

fn capabilities(machine: &Machine) -> Finding {
    let missing = missing_among(&machine.capabilities);
    if missing.is_empty() {
        return Finding::ok("capabilities", format!("has {}", NEEDED.join(", ")));
    }
    Finding::bad("capabilities", format!("missing: {}", missing.join(", "))).mend(GRANT)
}

fn memlock(facts: &Facts) -> Finding {
    let machine = &facts.machine;
    if machine.capabilities.iter().any(|name| name == "CAP_IPC_LOCK") {
        return Finding::ok("memlock", "CAP_IPC_LOCK: no limit");
    }
    let queues: u64 = facts.interfaces.iter().map(|one| u64::from(receiving(one))).sum();
    let bytes = |frames: u32| queues.max(1) * u64::from(frames) * FRAME_BYTES;
    let (least, wanted) = (bytes(LOCKED_QUEUE_FRAMES), bytes(DEFAULT_QUEUE_FRAMES));
    let mend = format!("ulimit -l {}", wanted >> 10);
    match machine.memlock_bytes {
        Some(limit) if limit < least => Finding::bad(
            "memlock",
            format!("{} KiB may be locked, {} are needed", limit >> 10, least >> 10),
        )
        .mend(mend),
        Some(limit) if limit < wanted => Finding::warn(
            "memlock",
            format!("{} KiB may be locked: queues get fewer frames", limit >> 10),
        )
        .mend(mend),
        Some(limit) => Finding::ok("memlock", format!("{} KiB may be locked", limit >> 10)),
        None => Finding::ok("memlock", "no limit"),
    }
}

fn huge_pages(machine: &Machine) -> Finding {
    let [total, free] = machine.huge_pages;
    if free > 0 {
        return Finding::ok("huge pages", format!("{free} of {total} are free"));
    }
    Finding::warn("huge pages", "none is free: large tables are slower")
        .mend("sysctl -w vm.nr_hugepages=128")
}
