//! Attaching an XDP program to an interface, by a link that this process owns as a file
//! descriptor: the kernel detaches the program when the process ends, however it ends, and a
//! link replaces nobody's program. (aya's own `attach` falls back to one that stays when that
//! fails, hence the system call here.) Called by `program` and `observer`.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::{
    busy::retry_while_busy,
    interface::Interface,
    refusal::{Step, is_unsupported, refused_at},
};
use crate::error::Result;

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
) -> Result<(OwnedFd, Attachment)> {
    let attach = |flags| {
        // The link of a process that was killed goes a little after it.
        retry_while_busy(|| create_link(program, interface.index, flags))
    };
    let refused = |cause| {
        let operation = format!("attach the XDP program to {}", interface.name);
        refused_at(Step::Attach, operation, &interface.name, &cause)
    };
    let generic = |why: &str| {
        let link = attach(XDP_FLAGS_SKB_MODE).map_err(refused)?;
        Ok((link, Attachment::Generic(why.to_owned())))
    };
    match mode {
        XdpMode::Generic => generic("--xdp-mode generic"),
        XdpMode::Native | XdpMode::Auto => match attach(XDP_FLAGS_DRV_MODE) {
            Ok(link) => Ok((link, Attachment::Native)),
            // A driver without native XDP; every other refusal has a cause to be cured.
            Err(native) if mode == XdpMode::Auto && is_unsupported(&native) => {
                generic("the driver has no native XDP")
            }
            Err(native) => Err(refused(native)),
        },
    }
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
