//! The XDP program `feed`: gives frames of a template to an interface, each from another end.
//!
//! It runs on frames that the kernel makes itself (BPF_PROG_TEST_RUN with live frames), and is
//! attached to no interface. Each frame gets its addresses, ports and checksums anew, whatever
//! is in it: the kernel uses a page again without restoring it. One run at a time: the state is
//! not shared. It is loaded by `xtask/src/live/feed.rs`, for IPv4 without tags and options.
#![no_std]
#![no_main]

mod orders;

use aya_ebpf::{
    bindings::xdp_action,
    helpers::bpf_redirect,
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};
use orders::{Orders, State, next_flow, order};

/// One entry: what the frames are like.
#[map]
static ORDERS: Array<Orders> = Array::with_max_entries(1, 0);

/// One entry: how far we are.
#[map]
static STATE: Array<State> = Array::with_max_entries(1, 0);

/// Ethernet, IPv4, and as much of TCP as has the checksum.
const HEADERS_LEN: usize = 14 + 20 + 18;

/// The entry point, once per frame.
#[xdp]
pub fn feed(frame: XdpContext) -> u32 {
    let (Some(orders), Some(state)) = (ORDERS.get(0), STATE.get_ptr_mut(0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the map has an entry 0, valid while the program runs. Only one thread runs the
    // program, frame by frame, and reads the entry when it is done.
    let state = unsafe { &mut *state };
    let (data, end) = (frame.data(), frame.data_end());
    if data + HEADERS_LEN > end {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: so many bytes are there, as was just asked, and nothing else refers to them.
    let headers = unsafe { &mut *(data as *mut [u8; HEADERS_LEN]) };

    let flow = next_flow(state, orders[order::FLOWS]);
    let (to_span, from_span) = (orders[order::TO_SPAN], orders[order::FROM_SPAN]);
    let port_span = orders[order::PORT_SPAN];
    // BPF divides by zero without complaint; Rust does not.
    if to_span == 0 || from_span == 0 || port_span == 0 {
        return xdp_action::XDP_ABORTED;
    }
    let to = orders[order::TO_FIRST] + flow % to_span;
    let rest = flow / to_span;
    let from = orders[order::FROM_FIRST] + rest % from_span;
    let port = orders[order::PORT_FIRST] + rest / from_span % port_span;
    put(headers, 4, to);
    put(headers, 10, from);
    put(headers, 28, from);
    put(headers, 32, to);
    put(headers, 34, port);
    put(headers, 24, checksum(orders[order::IP_SUM] + from + to));
    let sum = checksum(orders[order::TRANSPORT_SUM] + from + to + port);
    match orders[order::CHECKSUM_AT] {
        // Zero would mean that there is none.
        40 => put(headers, 40, if sum == 0 { 0xffff } else { sum }),
        _ => put(headers, 50, sum),
    }
    // SAFETY: a call of the kernel that takes two numbers.
    unsafe { bpf_redirect(orders[order::INTERFACE], 0) as u32 }
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

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing above can panic, and the verifier would refuse a program that gets here.
    loop {}
}

/// As in `main.rs`.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
