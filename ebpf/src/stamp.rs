//! The time of each packet, for who receives it: written in front of its first byte, into what
//! the kernel calls metadata, which goes to the socket with the packet.
//!
//! Which clock it is, is decided here and said in the stamp. A time stamp of the NIC would come
//! from `bpf_xdp_metadata_rx_timestamp`, a function of the kernel (kfunc) that aya cannot call:
//! it would be asked for in [`now`], before the kernel's clock, and have a mark of its own in
//! `shared::stamp`.

use aya_ebpf::{
    helpers::{bpf_ktime_get_tai_ns, bpf_xdp_adjust_meta},
    programs::XdpContext,
};

use crate::shared::{Stamp, stamp};

/// Whether packets get stamps: the engine says so before the program is loaded. As the kernel
/// then knows it, it takes what is not wanted out of the program, and need not have it: the
/// clock came with Linux 6.1.
#[unsafe(no_mangle)]
static STAMPS: u8 = 0;

#[inline(always)]
pub(crate) fn is_wanted() -> bool {
    // SAFETY: a static that is initialised. Volatile, as it is not what it is at compile time.
    unsafe { (&raw const STAMPS).read_volatile() != 0 }
}

/// Writes the stamp of a packet. Where the driver has no room for metadata there is none.
#[inline(always)]
pub(crate) fn write(frame: &XdpContext) {
    // Metadata that somebody has put there already gives way.
    let already = frame.data() - frame.metadata();
    let more = already as i32 - size_of::<Stamp>() as i32;
    // SAFETY: a call of the kernel with the context that it gave us.
    if unsafe { bpf_xdp_adjust_meta(frame.ctx, more) } != 0 {
        return;
    }
    let (start, end) = (frame.metadata(), frame.data());
    if start + size_of::<Stamp>() > end {
        return;
    }
    // SAFETY: so many bytes are there, as was just asked; metadata begins at a word, and nothing
    // else refers to it.
    unsafe { (start as *mut Stamp).write_unaligned(now()) };
}

/// The time, and the mark of the clock that it is from.
#[inline(always)]
fn now() -> Stamp {
    // SAFETY: a call of the kernel without arguments.
    let time = unsafe { bpf_ktime_get_tai_ns() };
    let mut now = Stamp::default();
    now[stamp::TIME_NS] = time;
    now[stamp::MARK] = stamp::KERNEL_TAI;
    now
}
