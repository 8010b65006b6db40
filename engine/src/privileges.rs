//! What this process may do: what a capture needs, and how it gives up all of it once its
//! sockets and files are open.
//!
//! [`require`] says what is missing before anything is tried; [`confine()`] gives up. Both act on
//! the calling thread and on threads that it starts later, so [`confine()`] refuses if there are
//! others. What is given up cannot be had back: capabilities are cleared (but those that opening
//! an interface anew takes, if that is wanted), `no_new_privs` is set, and Landlock, where the
//! kernel has it, leaves the output folders to write to.

mod confine;

pub use confine::{Confinement, confine};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::error::{Error, Result};

/// Capabilities without which a live capture cannot start: to attach the XDP program, to open
/// AF_XDP and packet sockets, to load the program; and CAP_PERFMON, as the verifier allows
/// pointers to be subtracted with it only, which is how a program knows a frame's length.
pub const NEEDED: [&str; 4] = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"];

/// How a user who is not root gets them.
pub const GRANT: &str = "setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep $(which flowtap)";

/// The names of the capabilities in effect, in order.
#[must_use]
pub fn effective() -> Vec<String> {
    let set = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut names: Vec<_> = set.iter().map(Capability::to_string).collect();
    names.sort();
    names
}

/// Those of [`NEEDED`] that are not among `those`.
#[must_use]
pub fn missing_among(those: &[String]) -> Vec<&'static str> {
    let has = |name: &str| those.iter().any(|one| one == name);
    // What these two allow was CAP_SYS_ADMIN's once, and still is.
    let is_split_off = |name: &str| ["CAP_BPF", "CAP_PERFMON"].contains(&name);
    let stands_in = |name: &str| is_split_off(name) && has("CAP_SYS_ADMIN");
    NEEDED.into_iter().filter(|name| !has(name) && !stands_in(name)).collect()
}

/// Checks that nothing is missing for `operation`.
///
/// # Errors
/// If something is, by name.
pub fn require(operation: &str) -> Result<()> {
    let missing = missing_among(&effective());
    if missing.is_empty() {
        return Ok(());
    }
    let (plural, list) = (if missing.len() == 1 { "y" } else { "ies" }, missing.join(", "));
    Err(Error::new(operation, format!("missing capabilit{plural} {list}"))
        .advise(format!("run as root, or grant them with `{GRANT}`")))
}

/// Gives up all but CAP_NET_ADMIN, for good: a process that sets an interface's settings back at
/// the end does nothing else.
///
/// # Errors
/// If the kernel refuses it.
pub fn keep_net_admin() -> Result<()> {
    let keep = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
    let fail = |cause: String| Error::new("give up capabilities", cause);
    // An effective capability must be permitted.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &keep).map_err(|error| fail(error.to_string()))?;
    }
    caps::clear(None, CapSet::Inheritable).map_err(|error| fail(error.to_string()))?;
    nix::sys::prctl::set_no_new_privs().map_err(|errno| fail(errno.desc().to_owned()))
}

/// Raises the limit of locked memory as far as that needs no privilege.
pub fn raise_locked_memory() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK)
        && soft < hard
    {
        // What is too little all the same is refused in words where it is locked.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard);
    }
}

/// The most memory that may be locked, in bytes; `None` without a limit.
#[must_use]
pub fn lockable_bytes() -> Option<u64> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_IPC_LOCK).unwrap_or(false) {
        return None;
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cap_sys_admin_stands_in_for_what_was_split_off() {
        let those = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN"].map(str::to_owned);
        assert_eq!(missing_among(&those), [""; 0]);
        assert_eq!(missing_among(&those[..1]), ["CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"]);
    }
}
