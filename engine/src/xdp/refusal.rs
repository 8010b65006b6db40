//! What the kernel's refusals mean, in one line that says what to do.

use std::io;

use crate::error::Error;
use crate::limits::TAP_MTU;
use crate::privileges;

/// What was refused, where the same code means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Loading the program.
    Load,
    /// Attaching the program to the interface.
    Attach,
    /// Binding a socket to a queue.
    Bind,
    /// Anything else.
    Other,
}

/// `ENOTSUPP` of the kernel's own include/linux/errno.h, which drivers let slip out.
const ENOTSUPP: i32 = 524;

/// Whether a driver or the kernel has said that it cannot do such a thing at all.
pub fn is_unsupported(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::EOPNOTSUPP | ENOTSUPP))
}

/// The error of `operation` on `interface` that the kernel refused with `cause`.
pub fn refused(operation: impl Into<String>, interface: &str, cause: &io::Error) -> Error {
    refused_at(Step::Other, operation, interface, cause)
}

/// The same, at a step that gives the cause a meaning of its own.
pub fn refused_at(
    step: Step,
    operation: impl Into<String>,
    interface: &str,
    cause: &io::Error,
) -> Error {
    let operation = operation.into();
    let advice = cause
        .raw_os_error()
        .and_then(|code| at_step(step, code, interface).or_else(|| advice(code, interface)));
    match advice {
        Some(advice) => Error::new(operation, cause).advise(advice),
        None => Error::new(operation, cause),
    }
}

/// What a code means at this step only.
fn at_step(step: Step, code: i32, interface: &str) -> Option<String> {
    Some(match (step, code) {
        (Step::Load, libc::EACCES | libc::EINVAL | libc::E2BIG | libc::ENOSPC) => {
            return verifier_refused();
        }
        (Step::Attach, libc::EBUSY | libc::EEXIST) => format!(
            "another program is attached, which is left alone: `flowtap doctor -i {interface}` \
             names it and what detaches it; if a link holds it (`bpftool link`), end its owner"
        ),
        (Step::Attach, libc::EINVAL) => format!(
            "the driver refuses: mostly for LRO, too many queues, or, if it takes no frames of \
             several buffers, an MTU above {TAP_MTU}; `flowtap doctor -i {interface}` tells, \
             --xdp-mode generic does without it"
        ),
        (Step::Attach, libc::EOPNOTSUPP | ENOTSUPP) => {
            "the driver has no native XDP; use --xdp-mode auto or generic".to_owned()
        }
        (Step::Attach, libc::ENOMEM | libc::ENOSPC) => format!(
            "the driver has no queues or memory left for it; use fewer: `ethtool -L {interface}`"
        ),
        (Step::Bind, libc::EBUSY) => {
            "another AF_XDP socket holds the queue, maybe a second flowtap; `ss --xdp -p` tells whose"
                .to_owned()
        }
        (Step::Bind, libc::EOPNOTSUPP | ENOTSUPP) => {
            "the driver has no zero-copy; use --zero-copy auto or off".to_owned()
        }
        (Step::Bind, libc::EINVAL) => format!(
            "there is no such queue any more (`ethtool -l {interface}`), or its ring is shorter \
             than zero-copy needs"
        ),
        _ => return None,
    })
}

fn advice(code: i32, interface: &str) -> Option<String> {
    let advice = match code {
        libc::EPERM | libc::EACCES => return Some(no_permission()),
        libc::ENODEV | libc::ENXIO => "`ip link` lists the interfaces there are",
        libc::EBUSY => "another program holds it",
        libc::EEXIST => "it is there already",
        libc::ENETDOWN => return Some(format!("bring it up with `ip link set {interface} up`")),
        libc::ENOMEM => "free memory, or use fewer frames per queue",
        libc::ENOBUFS => {
            "too little memory may be locked: raise the limit (`ulimit -l`, LimitMEMLOCK=), or \
             grant CAP_IPC_LOCK"
        }
        libc::ERANGE => {
            return Some(format!(
                "the driver takes no frames of several buffers, so one must fit a page less \
                 headroom; `ip link set {interface} mtu {TAP_MTU}` or less, or --xdp-mode generic"
            ));
        }
        libc::EOPNOTSUPP | ENOTSUPP => {
            "neither the driver nor the kernel can do that; use --mode observe"
        }
        libc::EAFNOSUPPORT | libc::ENOSYS => {
            "the kernel has no AF_XDP (CONFIG_XDP_SOCKETS); use --mode observe"
        }
        libc::EINVAL => "the kernel is older than 5.18, or knows the option by another form",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// Without CAP_PERFMON that is what the verifier misses; with it nothing that a user does helps.
fn verifier_refused() -> Option<String> {
    privileges::missing_among(&privileges::effective()).is_empty().then(|| {
        "the kernel's verifier refuses the program: is it older than 5.18, or than 6.1 with \
         --observe-by xdp? If not, please report it with what `uname -r` says; --mode observe \
         does without it"
            .to_owned()
    })
}

/// Which capability is missing; if none is, who else may forbid it.
fn no_permission() -> String {
    let missing = privileges::missing_among(&privileges::effective());
    if missing.is_empty() {
        return "all capabilities are there: a container, lockdown or a security module forbids it"
            .to_owned();
    }
    format!("{} is missing: run as root, or `{}`", missing.join(", "), privileges::GRANT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_one_line_that_says_what_to_do() {
        use Step::{Attach, Bind, Load, Other};
        let line = |step, code| {
            let cause = io::Error::from_raw_os_error(code);
            refused_at(step, "bind queue 3 of eth0", "eth0", &cause).to_string()
        };
        let cases = [
            (Other, libc::EPERM, "operation not permitted; "),
            (Other, libc::ENODEV, "no such device; `ip link` lists the interfaces there are"),
            (Attach, libc::EBUSY, "device or resource busy; another program is attached"),
            (Attach, libc::EEXIST, "if a link holds it (`bpftool link`), end its owner"),
            (Attach, libc::EINVAL, "if it takes no frames of several buffers, an MTU above 3490"),
            (Attach, libc::EOPNOTSUPP, "operation not supported; the driver has no native XDP"),
            (Attach, ENOTSUPP, "the driver has no native XDP"),
            (Attach, libc::ENOMEM, "`ethtool -L eth0`"),
            (Attach, libc::ERANGE, "`ip link set eth0 mtu 3490` or less"),
            (Attach, libc::EPERM, "operation not permitted; "),
            (Bind, libc::EBUSY, "another AF_XDP socket holds the queue"),
            (Bind, libc::EOPNOTSUPP, "--zero-copy auto or off"),
            (Bind, libc::EINVAL, "no such queue any more (`ethtool -l eth0`)"),
            (Bind, libc::ENETDOWN, "network is down; bring it up with `ip link set eth0 up`"),
            (Other, libc::ENETDOWN, "`ip link set eth0 up`"),
            (Other, libc::ENOMEM, "cannot allocate memory; free memory"),
            (Other, libc::ENOBUFS, "(`ulimit -l`, LimitMEMLOCK=), or grant CAP_IPC_LOCK"),
            (Other, libc::EOPNOTSUPP, "operation not supported; neither"),
            (Other, libc::EAFNOSUPPORT, "CONFIG_XDP_SOCKETS"),
        ];
        // As root, as who else could load it; CI is.
        if privileges::missing_among(&privileges::effective()).is_empty() {
            for code in [libc::EACCES, libc::EINVAL] {
                let line = line(Load, code);
                assert!(line.contains("verifier refuses") && line.contains("report it"), "{line}");
                assert!(line.contains("than 6.1 with --observe-by xdp"), "{line}");
                assert!(!line.contains("as root"), "{line}");
            }
        }
        for (step, code, expected) in cases {
            let line = line(step, code);
            assert!(line.starts_with("bind queue 3 of eth0: "), "{line}");
            assert!(line.contains(expected) && !line.contains('\n'), "{expected}: {line}");
        }
        assert_eq!(line(Other, libc::EIO), "bind queue 3 of eth0: input/output error");
    }
}
