//! The XDP program `flowtap`: every frame goes to the AF_XDP socket of the queue it came
//! from, if there is one, else on to the host's network stack; what was decided is counted.
//!
//! It looks at no byte of the frame, so nothing on the wire can change what it does. It is
//! loaded by `engine/src/xdp/program.rs`.
#![no_std]
#![no_main]

mod shared;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{PerCpuArray, XskMap},
    programs::XdpContext,
};
use shared::{SOCKETS, Verdicts};

/// The socket of each queue of the interface.
#[map]
static XSKS: XskMap = XskMap::with_max_entries(SOCKETS, 0);

/// One entry: what this CPU has decided so far.
#[map]
static VERDICTS: PerCpuArray<Verdicts> = PerCpuArray::with_max_entries(1, 0);

/// The entry point, once per frame.
#[xdp]
pub fn flowtap(frame: XdpContext) -> u32 {
    let Some(verdicts) = VERDICTS.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the map has an entry 0, and the pointer is to this CPU's copy of it, valid while
    // the program runs. Nothing else has a reference to it: XDP runs with bottom halves off, so
    // no other run of the program interleaves on this CPU, and the engine reads by copying.
    let verdicts = unsafe { &mut *verdicts };
    verdicts.seen_packets += 1;
    verdicts.seen_bytes += (frame.data_end() - frame.data()) as u64;

    let (Ok(action) | Err(action)) =
        XSKS.redirect(frame.rx_queue_index(), u64::from(xdp_action::XDP_PASS));
    match action {
        xdp_action::XDP_REDIRECT => verdicts.redirected_packets += 1,
        xdp_action::XDP_PASS => verdicts.passed_packets += 1,
        _ => verdicts.aborted_packets += 1,
    }
    action
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing above can panic, and the verifier would refuse a program that gets here.
    loop {}
}

/// The licence the kernel asks for before it lends GPL-only helpers; this program's own
/// licence allows its use under those terms.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
