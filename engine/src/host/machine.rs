//! What `/proc` and `/sys` say of the machine, of this process, and of an interface's device.

use std::fs;
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::host::facts::{Interface, Machine};
use crate::host::netlink::Link;
use crate::privileges;

/// The machine, and what this process may do on it.
pub(super) fn examine() -> Machine {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let huge = |name| field(&memory, name).and_then(|n| n.parse().ok()).unwrap_or(0);
    let allowed = parse_list(field(&status, "Cpus_allowed_list").unwrap_or_default());
    Machine {
        kernel: word("/proc/sys/kernel/osrelease").unwrap_or_default(),
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpf_jit: word("/proc/sys/net/core/bpf_jit_enable").and_then(|n| n.parse().ok()),
        capabilities: privileges::effective(),
        memlock_bytes: getrlimit(Resource::RLIMIT_MEMLOCK)
            .ok()
            // The soft limit is raised to the hard one.
            .map(|(_, hard)| hard)
            .filter(|&hard| hard != RLIM_INFINITY),
        huge_pages: [huge("HugePages_Total"), huge("HugePages_Free")],
        processors: u32::try_from(allowed.len()).unwrap_or(u32::MAX),
        numa_nodes: numa_nodes(&allowed),
    }
}

/// What the device behind an interface says: driver and NUMA node. By its place on its bus,
/// which is the same in every network namespace.
pub(super) fn complete(facts: &mut Interface, link: &Link) {
    let Some((bus, device)) = &link.device else { return };
    let directory = Path::new("/sys/bus").join(bus).join("devices").join(device);
    let driver = fs::read_link(directory.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name);
    facts.driver = driver.map(|name| name.to_string_lossy().into_owned()).or(facts.driver.take());
    // -1 where there is one node only.
    facts.numa_node = word(directory.join("numa_node")).and_then(|node| node.parse().ok());
}

fn word(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of `name: value`, without a unit.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()
}

/// `0-2,5`.
fn parse_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The nodes that have any of these processors.
fn numa_nodes(processors: &[u32]) -> Vec<u32> {
    let nodes = parse_list(&word("/sys/devices/system/node/online").unwrap_or_default());
    let has_any = |node: &u32| {
        let list = word(format!("/sys/devices/system/node/node{node}/cpulist"));
        parse_list(&list.unwrap_or_default()).iter().any(|cpu| processors.contains(cpu))
    };
    nodes.into_iter().filter(has_any).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_fields_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(parse_list(""), [] as [u32; 0]);
        let text = "HugePages_Total:       4\nHugePages_Free:        3\n";
        assert_eq!(field(text, "HugePages_Free"), Some("3"));
        assert_eq!(field(text, "HugePages"), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_processors() {
        let machine = examine();
        assert!(!machine.kernel.is_empty() && machine.processors > 0, "{machine:?}");
    }
}
