//! The XDP program `feed`: gives frames of a template to an interface, each from another end; or
//! to another XDP program or the host, as if its interface had received them.
//!
//! It runs on frames that the kernel makes itself (BPF_PROG_TEST_RUN with live frames), and is
//! attached to no interface. Each frame gets its length, addresses, port and checksums anew,
//! whatever is in it: the kernel uses a page again without restoring it. One run at a time: the
//! state is not shared. It is loaded by `xtask/src/live/feed.rs`, for IPv4 without tags and
//! options.
//!
//! It also keeps the pace: a run takes 25 ms to begin and end, so runs cannot be short.
#![no_std]
#![no_main]

mod object;
mod orders;

use aya_ebpf::{
    bindings::xdp_action,
    helpers::{bpf_ktime_get_ns, bpf_redirect, bpf_xdp_adjust_tail},
    macros::{map, xdp},
    maps::{Array, ProgramArray},
    programs::XdpContext,
};
use orders::{KINDS, Kind, Orders, State, kind, order, state};

/// One entry: what all frames are like.
#[map]
static ORDERS: Array<Orders> = Array::with_max_entries(1, 0);

/// The kinds of frames.
#[map]
static KIND: Array<Kind> = Array::with_max_entries(KINDS, 0);

/// How many of each kind were made.
#[map]
static SENT: Array<u64> = Array::with_max_entries(KINDS, 0);

/// One entry: how far we are.
#[map]
static STATE: Array<State> = Array::with_max_entries(1, 0);

/// One entry, or none: the program that gets the frames instead of an interface.
#[map]
static RECEIVER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Ethernet, IPv4, and as much of TCP as has the checksum.
const HEADERS_LEN: usize = 14 + 20 + 18;
/// How often the clock is asked for one frame: some 100 microseconds.
const LOOKS: u32 = 4_096;
/// Being late by more than this is not made up for.
const FORGIVEN_NS: u64 = 10_000_000;

/// The entry point, once per frame.
#[xdp(frags)]
pub fn feed(frame: XdpContext) -> u32 {
    make(&frame).unwrap_or(xdp_action::XDP_ABORTED)
}

#[inline(always)]
fn make(frame: &XdpContext) -> Option<u32> {
    let orders = ORDERS.get(0)?;
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: the map has an entry 0, valid while the program runs. Only one thread runs the
    // program, frame by frame, and reads the entry when it is done.
    let state = unsafe { &mut *state };
    let flow = next_flow(state, orders[order::FLOWS]);
    let kind = draw_kind(state)?;
    wait(state, kind[kind::INTERVAL_NS]);
    let shorter = kind[kind::SHORTER];
    // SAFETY: a call of the kernel with the context that it gave us.
    if shorter > 0 && unsafe { bpf_xdp_adjust_tail(frame.ctx, -(shorter as i32)) } != 0 {
        return None;
    }
    let (data, end) = (frame.data(), frame.data_end());
    if data + HEADERS_LEN > end {
        return None;
    }
    // SAFETY: so many bytes are there, as was just asked, and nothing else refers to them.
    let headers = unsafe { &mut *(data as *mut [u8; HEADERS_LEN]) };
    write(headers, orders, kind, flow)?;
    if orders[order::IS_RECEIVED] == 1 {
        // SAFETY: nothing here waits to be dropped.
        unsafe { RECEIVER.tail_call(frame, 0) };
        // It returned, so there is no other program.
        return Some(xdp_action::XDP_PASS);
    }
    // SAFETY: a call of the kernel that takes two numbers.
    Some(unsafe { bpf_redirect(orders[order::INTERFACE], 0) } as u32)
}

/// The flow of the next frame: each once, then any.
#[inline(always)]
fn next_flow(state: &mut State, flows: u32) -> u32 {
    let made = state[state::MADE];
    state[state::MADE] = made + 1;
    if made < flows as u64 {
        return made as u32;
    }
    ((random(state) as u64 * flows as u64) >> 32) as u32
}

/// What kind of frame is next; counts it.
#[inline(always)]
fn draw_kind(state: &mut State) -> Option<&'static Kind> {
    let drawn = random(state);
    for number in 0..KINDS {
        let kind = KIND.get(number)?;
        if drawn <= kind[kind::UP_TO] {
            let sent = SENT.get_ptr_mut(number)?;
            // SAFETY: as of the state.
            unsafe { *sent += 1 };
            return Some(kind);
        }
    }
    None
}

#[inline(always)]
fn random(state: &mut State) -> u32 {
    // Constants of Knuth's MMIX; the high half is the random one.
    let next = state[state::RANDOM]
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    state[state::RANDOM] = next;
    (next >> 32) as u32
}

/// Returns when the next frame may go, or after [`LOOKS`] looks at the clock.
#[inline(always)]
fn wait(state: &mut State, interval_ns: u32) {
    if interval_ns == 0 {
        return;
    }
    let due = state[state::DUE_NS];
    let mut now = 0;
    for _ in 0..LOOKS {
        // SAFETY: a call of the kernel without arguments.
        now = unsafe { bpf_ktime_get_ns() };
        if now >= due {
            break;
        }
    }
    let from = if now > due + FORGIVEN_NS { now } else { due };
    state[state::DUE_NS] = from + interval_ns as u64;
}

/// Writes all that is different between frames.
#[inline(always)]
fn write(headers: &mut [u8; HEADERS_LEN], orders: &Orders, kind: &Kind, flow: u32) -> Option<()> {
    let (to_span, from_span) = (orders[order::TO_SPAN], orders[order::FROM_SPAN]);
    let port_span = orders[order::PORT_SPAN];
    // BPF divides by zero without complaint; Rust does not.
    if to_span == 0 || from_span == 0 || port_span == 0 {
        return None;
    }
    let to = orders[order::TO_FIRST] + flow % to_span;
    let rest = flow / to_span;
    let from = orders[order::FROM_FIRST] + rest % from_span;
    let port = orders[order::PORT_FIRST] + rest / from_span % port_span;
    // The low halves of the MAC addresses are those of the IP addresses.
    put(headers, 4, to);
    put(headers, 10, from);
    put(headers, 16, kind[kind::IP_LEN]);
    put(headers, 24, checksum(kind[kind::IP_SUM] + from + to));
    put(headers, 28, from);
    put(headers, 32, to);
    put(headers, 34, port);
    let sum = checksum(kind[kind::TRANSPORT_SUM] + from + to + port);
    if orders[order::IS_UDP] == 1 {
        put(headers, 38, kind[kind::IP_LEN] - 20);
        // Zero would mean that there is none.
        put(headers, 40, if sum == 0 { 0xffff } else { sum });
    } else {
        put(headers, 50, sum);
    }
    Some(())
}

/// Writes the low 16 bits.
#[inline(always)]
fn put(headers: &mut [u8; HEADERS_LEN], at: usize, number: u32) {
    headers[at] = (number >> 8) as u8;
    headers[at + 1] = number as u8;
}

/// The one's complement of a sum of less than 2^20.
#[inline(always)]
fn checksum(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !sum & 0xffff
}
