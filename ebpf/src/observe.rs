//! The XDP program `observe`: every frame goes on to the host, and a copy of its first bytes up
//! through a ring buffer; what found no room there is counted.
//!
//! Whatever happens, the verdict is to pass. Nobody is woken for a record: that costs a fifth of
//! the rate, and the reader looks by itself. It is loaded by `engine/src/xdp/observer.rs`.
#![no_std]
#![no_main]

mod object;
mod record;

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_RB_NO_WAKEUP, xdp_action},
    helpers::{
        bpf_ktime_get_tai_ns, bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit,
        bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
    macros::{map, xdp},
    maps::{PerCpuArray, RingBuf},
    programs::XdpContext,
};
use record::{Copies, MAX_SNAP_BYTES, RecordHeader, SMALL_BYTES};

/// The records; the engine says how large it is.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(4_096, 0);

/// One entry: what this CPU has counted so far.
#[map]
static COPIES: PerCpuArray<Copies> = PerCpuArray::with_max_entries(1, 0);

/// Bytes of a packet that are copied, from [`SMALL_BYTES`] to [`MAX_SNAP_BYTES`]. The engine
/// writes it before the program is loaded, so that the verifier knows it as a constant.
#[unsafe(no_mangle)]
static SNAP_BYTES: u32 = 256;

const HEADER_BYTES: u32 = size_of::<RecordHeader>() as u32;

/// The entry point, once per frame.
#[xdp(frags)]
pub fn observe(frame: XdpContext) -> u32 {
    copy(&frame);
    xdp_action::XDP_PASS
}

#[inline(always)]
fn copy(frame: &XdpContext) {
    let Some(copies) = COPIES.get_ptr_mut(0) else { return };
    // SAFETY: as of the verdicts in `main.rs`.
    let copies = unsafe { &mut *copies };
    copies.seen_packets += 1;
    // SAFETY: a call of the kernel with the context that it gave us.
    let wire_len = unsafe { bpf_xdp_get_buff_len(frame.as_ptr().cast()) } as u32;
    let Some(record) = reserve(wire_len) else {
        copies.ring_full_packets += 1;
        return;
    };
    if fill(frame, record, wire_len) {
        copies.copied_packets += 1;
        // SAFETY: it was reserved, and is not used any more.
        unsafe { bpf_ringbuf_submit(record.cast(), u64::from(BPF_RB_NO_WAKEUP)) };
    } else {
        copies.unreadable_packets += 1;
        // SAFETY: as above.
        unsafe { bpf_ringbuf_discard(record.cast(), u64::from(BPF_RB_NO_WAKEUP)) };
    }
}

#[inline(always)]
fn snap_bytes() -> u32 {
    // SAFETY: a static. Volatile, as its value is another one by the time that this runs.
    unsafe { (&raw const SNAP_BYTES).read_volatile() }
}

/// A record with room for a packet of this length, or for its snap; the verifier wants each
/// size to be a constant.
#[inline(always)]
fn reserve(wire_len: u32) -> Option<*mut u8> {
    let ring = (&raw const RECORDS).cast_mut().cast::<c_void>();
    let record = if wire_len <= SMALL_BYTES {
        // SAFETY: a call of the kernel with a map of its kind.
        unsafe { bpf_ringbuf_reserve(ring, u64::from(HEADER_BYTES + SMALL_BYTES), 0) }
    } else {
        let bytes = HEADER_BYTES + snap_bytes();
        // SAFETY: as above.
        unsafe { bpf_ringbuf_reserve(ring, u64::from(bytes), 0) }
    };
    (!record.is_null()).then_some(record.cast())
}

/// Writes all of a record. Whether the packet could be read.
#[inline(always)]
fn fill(frame: &XdpContext, record: *mut u8, wire_len: u32) -> bool {
    let len = if wire_len <= SMALL_BYTES { wire_len } else { wire_len.min(snap_bytes()) };
    // No frame is empty; the verifier wants to see it.
    if len == 0 || len > MAX_SNAP_BYTES {
        return false;
    }
    let header = RecordHeader {
        // SAFETY: a call of the kernel without arguments.
        tai_ns: unsafe { bpf_ktime_get_tai_ns() },
        wire_len,
        len,
        queue: frame.rx_queue_index() as u32,
        reserved: 0,
    };
    // SAFETY: a record begins with room for its header, on 8 bytes as the kernel aligns it.
    unsafe { record.cast::<RecordHeader>().write(header) };
    // SAFETY: there is room for more than its header.
    let bytes = unsafe { record.add(HEADER_BYTES as usize) };
    // SAFETY: a call of the kernel with the context that it gave us; behind the header there is
    // room for `len` bytes, as the verifier has seen.
    unsafe { bpf_xdp_load_bytes(frame.as_ptr().cast(), 0, bytes.cast(), len) == 0 }
}
