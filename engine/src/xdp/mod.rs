//! AF_XDP: frames from the driver to this process without the host's network stack between.
//!
//! From the bottom up: `umem` (the frames and who owns each),
//! `ring` (indexes and descriptors shared with the kernel), `receiver` (packets out of these),
//! `socket` (one queue's frames and rings), `attach` (a program to an interface), `program` (the
//! XDP program that sends frames to sockets), `filter` and `rules` (what it leaves out, and its
//! maps), `shunt` (what it counts by itself), `runs` (waiting for its runs), `stamp` (packets'
//! times), `observer` (another program, which copies packets and passes them on), `ringbuf`
//! (where the copies come up), `interface` (what the kernel says of an interface), `refusal`
//! (what its refusals mean). It is called by [`crate::source::afxdp`] and
//! [`crate::source::observe_xdp`] only, which have no unsafe code.
//!
//! The rings are our own, over `libc`, rather than a crate's: multi-buffer frames
//! (`XDP_USE_SG`), a UMEM on huge pages, the need-wakeup flag and busy polling are what this
//! engine is built around, and the crates that are light enough to carry lack them.
//!
//! What the kernel says is checked in release builds too: a descriptor that points outside of
//! its frame, or to a frame that was not the kernel's, is counted and skipped. A frame is
//! visible as `&[u8]` only while it is ours; nothing here makes one slice of shared memory.
//!
//! Sources: <https://docs.kernel.org/networking/af_xdp.html> and, for what is counted where,
//! <https://github.com/torvalds/linux/blob/v6.12/net/xdp/xsk.c>.
#![expect(unsafe_code, reason = "mapped memory shared with the kernel, and its system calls")]

pub(crate) mod attach;
pub mod busy;
pub mod filter;
pub mod interface;
pub mod observer;
pub mod program;
mod receiver;
pub mod refusal;
mod ring;
pub(crate) mod ringbuf;
mod rules;
pub mod runs;
pub mod shunt;
pub mod socket;
pub mod stamp;
mod umem;

/// Whether a test that needs root can run; says so if not, and fails where it must.
#[cfg(test)]
fn is_root(test: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        assert!(std::env::var_os("CI").is_none(), "{test} needs root, which CI promises");
        eprintln!("SKIPPED: {test} needs root");
    }
    is_root
}
