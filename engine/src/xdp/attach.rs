//! Attaching an XDP program to an interface, by a link that this process owns as a file
//! descriptor: the kernel detaches the program when the process ends, however it ends, and a
//! link replaces nobody's program. (aya's own `attach` falls back to one that stays when that
//! fails, hence the system call here.) Called by `program` and `observer`.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::{
    busy::WhenBusy,
    interface::Interface,
    refusal::{Step, is_unsupported, refused_at},
};
use crate::error::{Error, Result};

/// Where the program shall run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver; in the network stack if the driver cannot.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the network stack.
    Generic,
}

/// Where the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// In the driver, before the kernel makes a packet of the frame.
    Native,
    /// In the network stack, on the kernel's packets: slower. Why not native.
    Generic(String),
}

const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Attaches a loaded program where `mode` says, until the link is closed.
///
/// # Errors
/// If that is not possible, or another program is attached.
pub(super) fn attach(
    program: BorrowedFd<'_>,
    interface: &Interface,
    mode: XdpMode,
    when_busy: WhenBusy,
) -> Result<(OwnedFd, Attachment)> {
    // The link of a process that was killed goes a little after it.
    let attach = |flags| when_busy.attempt(|| create_link(program, interface.index, flags));
    attach_by(mode, attach).map_err(|cause| {
        let operation = format!("attach the XDP program to {}", interface.name);
        refused_at(Step::Attach, operation, &interface.name, &cause)
    })
}

/// Attaches by the first flags of `mode` that the kernel takes.
fn attach_by<L>(
    mode: XdpMode,
    mut attach: impl FnMut(u32) -> io::Result<L>,
) -> io::Result<(L, Attachment)> {
    let why = match mode {
        XdpMode::Generic => "--xdp-mode generic".to_owned(),
        XdpMode::Native | XdpMode::Auto => match attach(XDP_FLAGS_DRV_MODE) {
            Ok(link) => return Ok((link, Attachment::Native)),
            Err(refusal) if mode == XdpMode::Native || !is_of_the_driver(&refusal) => {
                return Err(refusal);
            }
            Err(refusal) if is_unsupported(&refusal) => "the driver has no native XDP".to_owned(),
            Err(refusal) => {
                let refusal = Error::new("", refusal);
                format!("the driver refuses native XDP: {}", refusal.cause())
            }
        },
    };
    Ok((attach(XDP_FLAGS_SKB_MODE)?, Attachment::Generic(why)))
}

/// Whether it is the driver that refuses its own mode: for LRO, too long an MTU, too few queues
/// for sending. What else there is would keep a program out of the network stack, too, or is
/// somebody else's program.
fn is_of_the_driver(refusal: &io::Error) -> bool {
    let others =
        [libc::EBUSY, libc::EEXIST, libc::EPERM, libc::EACCES, libc::ENODEV, libc::ENETDOWN];
    refusal.raw_os_error().is_some_and(|code| !others.contains(&code))
}

/// Has `link` run `program` in the place of another. The driver is given it for all receive queues
/// that there are now. On veth no packet is missed meanwhile.
///
/// # Errors
/// If the kernel or the driver refuses it. The other one stays.
pub(super) fn replace(
    link: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    interface: &Interface,
) -> Result<()> {
    update_link(link, program).map_err(|cause| {
        let operation = format!("attach the XDP program to added queues of {}", interface.name);
        refused_at(Step::Attach, operation, &interface.name, &cause)
    })
}

/// BPF_LINK_CREATE: attaches `program` for as long as the result is open.
fn create_link(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    /// The first members of `union bpf_attr` for this command; the kernel takes the rest as 0.
    #[repr(C)]
    struct Attributes {
        program: i32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_XDP: u32 = 37;
    let program = program.as_raw_fd();
    let attributes = Attributes { program, interface, attach_type: BPF_XDP, flags };
    let size = size_of::<Attributes>();
    // SAFETY: the kernel reads `size` bytes of `attributes`, and keeps no pointer to them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attributes, size) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just opened it for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// BPF_LINK_UPDATE: `program`, which must be another, in the place of the one that `link` has.
fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    /// As above, for this command.
    #[repr(C)]
    struct Attributes {
        link: i32,
        program: i32,
    }
    const BPF_LINK_UPDATE: libc::c_int = 29;
    let attributes = Attributes { link: link.as_raw_fd(), program: program.as_raw_fd() };
    let size = size_of::<Attributes>();
    // SAFETY: the kernel reads `size` bytes of `attributes`, and keeps no pointer to them.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_UPDATE, &raw const attributes, size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_refuses_the_network_stack_takes() {
        let no_native = "the driver has no native XDP";
        type Expected = std::result::Result<Option<&'static str>, libc::c_int>;
        let cases: [(libc::c_int, Expected); 12] = [
            (0, Ok(None)),
            (libc::EOPNOTSUPP, Ok(Some(no_native))),
            (524, Ok(Some(no_native))),
            (libc::EINVAL, Ok(Some("the driver refuses native XDP: invalid argument"))),
            (
                libc::ERANGE,
                Ok(Some("the driver refuses native XDP: numerical result out of range")),
            ),
            (libc::ENOMEM, Ok(Some("the driver refuses native XDP: cannot allocate memory"))),
            (libc::EBUSY, Err(libc::EBUSY)),
            (libc::EEXIST, Err(libc::EEXIST)),
            (libc::EPERM, Err(libc::EPERM)),
            (libc::EACCES, Err(libc::EACCES)),
            (libc::ENODEV, Err(libc::ENODEV)),
            (libc::ENETDOWN, Err(libc::ENETDOWN)),
        ];
        for (code, by_auto) in cases {
            let attached = |mode| {
                let answer = |flags| match flags == XDP_FLAGS_DRV_MODE && code != 0 {
                    true => Err(io::Error::from_raw_os_error(code)),
                    false => Ok(flags),
                };
                attach_by(mode, answer).map_err(|refusal| refusal.raw_os_error().unwrap_or(0))
            };
            let native = (XDP_FLAGS_DRV_MODE, Attachment::Native);
            let generic = |why: &str| (XDP_FLAGS_SKB_MODE, Attachment::Generic(why.to_owned()));
            let expected = by_auto.map(|why| why.map_or(native.clone(), generic));
            assert_eq!(attached(XdpMode::Auto), expected, "{code}");
            let by_native = if code == 0 { Ok(native) } else { Err(code) };
            assert_eq!(attached(XdpMode::Native), by_native, "{code}");
            assert_eq!(attached(XdpMode::Generic), Ok(generic("--xdp-mode generic")));
        }
    }
}
