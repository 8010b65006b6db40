//! What the kernel's refusals mean, in one line that says what to do.

use std::io;

use crate::error::Error;

/// The error of `operation` on `interface` that the kernel refused with `cause`.
pub fn refused(operation: impl Into<String>, interface: &str, cause: &io::Error) -> Error {
    let operation = operation.into();
    match cause.raw_os_error().and_then(|code| advice(code, interface)) {
        Some(advice) => Error::new(operation, cause).advise(advice),
        None => Error::new(operation, cause),
    }
}

fn advice(code: i32, interface: &str) -> Option<String> {
    let advice = match code {
        libc::EPERM | libc::EACCES => {
            "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON"
        }
        libc::ENODEV | libc::ENXIO => "`ip link` lists the interfaces there are",
        libc::EBUSY => "another program holds the queue or has attached an XDP program",
        libc::EEXIST => {
            return Some(format!(
                "an XDP program is attached already; `ip link set {interface} xdp off` detaches it"
            ));
        }
        libc::ENETDOWN => return Some(format!("bring it up with `ip link set {interface} up`")),
        libc::ENOMEM => "free memory, or use fewer frames per queue",
        libc::ENOBUFS => "raise the limit of locked memory (`ulimit -l`), or use fewer frames",
        libc::ERANGE => {
            return Some(format!(
                "a frame must fit one page less headroom; `ip link set {interface} mtu 3490` or less"
            ));
        }
        libc::EOPNOTSUPP => "neither the driver nor the kernel can do that; use observe mode",
        libc::EAFNOSUPPORT | libc::ENOSYS => {
            "the kernel has no AF_XDP (CONFIG_XDP_SOCKETS); use observe mode"
        }
        libc::EINVAL => "the queue is gone (`ethtool -l`), or the kernel is older than 5.9",
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_one_line_that_says_what_to_do() {
        let line = |code| {
            refused("bind queue 3 of eth0", "eth0", &io::Error::from_raw_os_error(code)).to_string()
        };
        let codes = [
            (libc::EPERM, "operation not permitted; run as root"),
            (libc::ENODEV, "no such device; `ip link` lists the interfaces there are"),
            (libc::EBUSY, "device or resource busy; another program holds the queue"),
            (libc::EEXIST, "`ip link set eth0 xdp off`"),
            (libc::ENETDOWN, "network is down; bring it up with `ip link set eth0 up`"),
            (libc::ENOMEM, "cannot allocate memory; free memory"),
            (libc::ENOBUFS, "ulimit -l"),
            (libc::ERANGE, "`ip link set eth0 mtu 3490` or less"),
            (libc::EOPNOTSUPP, "operation not supported; neither"),
            (libc::EINVAL, "invalid argument; the queue is gone"),
        ];
        for (code, expected) in codes {
            let line = line(code);
            assert!(line.starts_with("bind queue 3 of eth0: "), "{line}");
            assert!(line.contains(expected) && !line.contains('\n'), "{line}");
        }
        assert_eq!(line(libc::EIO), "bind queue 3 of eth0: input/output error");
    }
}
