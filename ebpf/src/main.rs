//! The XDP program `flowtap`: every frame goes to the AF_XDP socket of the queue it came
//! from, if there is one, else on to the host's network stack; what was decided is counted.
//!
//! Frames may come in several buffers (`frags`): their headers are in the first.
//!
//! Unless it is told to filter or to sample it looks at no byte of the frame. Then it reads the
//! headers in bounded steps (`parse`), and drops what the rules reject (`filter`) and what
//! sampling leaves out (`sample`): the interface is ours, so neither goes any further. Of flows
//! that the engine has seen enough of it counts the rest by itself (`shunt`). If that is wanted
//! it puts the time in front of what goes to a socket (`stamp`). It is loaded by
//! `engine/src/xdp/program.rs`.
#![no_std]
#![no_main]

mod filter;
mod hash;
mod object;
mod parse;
mod sample;
mod shared;
mod shunt;
mod stamp;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, PerCpuArray, XskMap},
    programs::XdpContext,
};
use shared::{Control, SOCKETS, Verdicts};

/// The socket of each queue of the interface.
#[map]
static XSKS: XskMap = XskMap::with_max_entries(SOCKETS, 0);

/// One entry: what this CPU has decided so far.
#[map]
static VERDICTS: PerCpuArray<Verdicts> = PerCpuArray::with_max_entries(1, 0);

/// One entry: what is asked of the program, as `shared::Control` reads it.
#[map]
static CONTROL: Array<u64> = Array::with_max_entries(1, 0);

/// The entry point, once per frame.
#[xdp(frags)]
pub fn flowtap(frame: XdpContext) -> u32 {
    let Some(verdicts) = VERDICTS.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the map has an entry 0, and the pointer is to this CPU's copy of it, valid while
    // the program runs. Nothing else has a reference to it: XDP runs with bottom halves off, so
    // no other run of the program interleaves on this CPU, and the engine reads by copying.
    let verdicts = unsafe { &mut *verdicts };
    verdicts.seen_packets += 1;

    let control = control();
    if control != Control::default() && is_done_with(&frame, control, verdicts) {
        return xdp_action::XDP_DROP;
    }
    if stamp::is_wanted() && is_ours(&frame) {
        stamp::write(&frame);
    }
    let (Ok(action) | Err(action)) =
        XSKS.redirect(frame.rx_queue_index(), u64::from(xdp_action::XDP_PASS));
    match action {
        xdp_action::XDP_REDIRECT => verdicts.redirected_packets += 1,
        xdp_action::XDP_PASS => verdicts.passed_packets += 1,
        _ => verdicts.aborted_packets += 1,
    }
    action
}

/// What is asked, read once: all that this run does is by one rule set.
#[inline(always)]
fn control() -> Control {
    let Some(word) = CONTROL.get_ptr(0) else { return Control::default() };
    // SAFETY: the map has an entry 0, aligned and valid while the program runs; the engine
    // changes one byte of it while packets come. Volatile, so that it is not read twice.
    Control(unsafe { word.read_volatile() })
}

/// Whether its queue has a socket. If not, it passes on as it came.
#[inline(always)]
fn is_ours(frame: &XdpContext) -> bool {
    XSKS.get(frame.rx_queue_index()).is_some()
}

/// Whether the packet goes no further; counts it if so.
#[inline(always)]
fn is_done_with(frame: &XdpContext, control: Control, verdicts: &mut Verdicts) -> bool {
    if !is_ours(frame) {
        return false;
    }
    if !control.keeps_all() && is_left_out(frame, control, verdicts) {
        return true;
    }
    if control.has_shunt() && shunt::is_counted(frame) {
        verdicts.shunted_packets += 1;
        return true;
    }
    false
}

/// Whether the filter or sampling leaves it out; counts it if so.
#[inline(always)]
fn is_left_out(frame: &XdpContext, control: Control, verdicts: &mut Verdicts) -> bool {
    let packet = parse::parse(frame);
    if control.set().is_some_and(|set| !filter::is_kept(&packet, set)) {
        verdicts.filtered_packets += 1;
        return true;
    }
    if control.every() > 1 && !sample::is_kept(&packet, control) {
        verdicts.sampled_out_packets += 1;
        return true;
    }
    false
}
