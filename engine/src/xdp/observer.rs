//! The XDP program `observe`: loaded from the object in `ebpf/`, attached to one interface; its
//! ring buffer and its counters. It passes every packet on, and is for
//! [`crate::source::observe_xdp`] what `program` is for a tap.

use std::os::fd::{AsFd, OwnedFd};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapData, MapError, PerCpuArray},
    programs::{ProgramError, Xdp},
};

use super::{
    attach::{Attachment, XdpMode, attach},
    busy::WhenBusy,
    interface::Interface,
    program::{failed, failed_at, read_counters},
    refusal::{Step, refused},
    ringbuf::RingBuffer,
    runs,
};
use crate::{
    error::Result,
    limits::{MIN_SNAP_BYTES, SNAP_BYTES},
};

#[path = "../../../ebpf/src/record.rs"]
mod record;

pub use record::{Copies, RecordHeader};

/// As `cargo xtask ebpf` built it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/observe.bpf.o");

const _: () = assert!(record::MAX_SNAP_BYTES == SNAP_BYTES);
const _: () = assert!(record::SMALL_BYTES == MIN_SNAP_BYTES);

// SAFETY: integers without padding: any bytes are a value.
unsafe impl aya::Pod for Copies {}

/// The program, loaded; attached until [`ObserverProgram::detach`] or drop.
pub struct ObserverProgram {
    /// Closing it detaches the program.
    link: Option<OwnedFd>,
    object: Ebpf,
    interface: Interface,
}

/// What the program has counted, all CPUs together.
pub struct CopyCounters {
    per_cpu: PerCpuArray<MapData, Copies>,
    interface: Interface,
}

/// One record of the ring buffer: a packet's header and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What is known of the packet.
    pub header: RecordHeader,
    /// Its first bytes.
    pub bytes: &'a [u8],
}

impl ObserverProgram {
    /// Loads the program for `interface`, attached to nothing yet, with a ring buffer of
    /// `ring_bytes`, a power of two and of whole pages. It copies `snap_bytes` of each packet,
    /// from [`MIN_SNAP_BYTES`] to [`SNAP_BYTES`].
    ///
    /// # Errors
    /// If the kernel refuses it: no privilege, no BPF, too old (before Linux 6.1), no memory.
    pub(crate) fn load(
        interface: Interface,
        snap_bytes: u32,
        ring_bytes: u32,
    ) -> Result<(Self, RingBuffer, CopyCounters)> {
        assert!((MIN_SNAP_BYTES..=SNAP_BYTES).contains(&snap_bytes), "{snap_bytes}");
        let operation = format!("load the observing XDP program for {}", interface.name);
        let (object, records, per_cpu) = load(snap_bytes, ring_bytes)
            .map_err(|cause| failed_at(Step::Load, operation, &interface, &cause))?;
        let ring = RingBuffer::of(records.fd().as_fd(), ring_bytes).map_err(|cause| {
            let operation = format!("map the ring buffer of {}", interface.name);
            refused(operation, &interface.name, &cause)
        })?;
        let counters = CopyCounters { per_cpu, interface: interface.clone() };
        Ok((Self { link: None, object, interface }, ring, counters))
    }

    /// Attaches the program where `mode` says.
    ///
    /// # Errors
    /// If that is not possible, or another program is attached: a link replaces none.
    pub fn attach(&mut self, mode: XdpMode, when_busy: WhenBusy) -> Result<Attachment> {
        let program = xdp(&self.object).and_then(Xdp::fd).map_err(|cause| {
            let operation = format!("attach the XDP program to {}", self.interface.name);
            failed(operation, &self.interface, &cause.into())
        })?;
        let (link, attachment) = attach(program.as_fd(), &self.interface, mode, when_busy)?;
        self.link = Some(link);
        Ok(attachment)
    }

    /// Detaches the program. When this returns no run of it is under way: counters stand
    /// still, and what was copied is in the ring buffer.
    pub fn detach(&mut self) {
        if self.link.take().is_some() {
            runs::wait_for_those_under_way();
        }
    }
}

impl CopyCounters {
    /// What was counted so far. Each number is exact; they belong to the same moment only once
    /// the program is detached.
    ///
    /// # Errors
    /// If the kernel does not give the map's value.
    pub fn sum(&self) -> Result<Copies> {
        let per_cpu = read_counters(&self.per_cpu, &self.interface)?;
        Ok(per_cpu.iter().fold(Copies::default(), |sum, cpu| Copies {
            seen_packets: sum.seen_packets + cpu.seen_packets,
            copied_packets: sum.copied_packets + cpu.copied_packets,
            ring_full_packets: sum.ring_full_packets + cpu.ring_full_packets,
            unreadable_packets: sum.unreadable_packets + cpu.unreadable_packets,
        }))
    }
}

impl RingBuffer {
    /// Shows up to `max` packets to `each`, in their order; `None` for a record that is not one.
    /// Returns how many.
    pub(crate) fn receive_packets(
        &mut self,
        max: usize,
        mut each: impl FnMut(Option<Record<'_>>),
    ) -> usize {
        self.receive(max, |bytes| each(parse(bytes)))
    }
}

/// The record in these bytes, if they are as many as it says.
fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let (header, bytes) = bytes.split_first_chunk::<{ size_of::<RecordHeader>() }>()?;
    let word = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        u32::from_ne_bytes(bytes)
    };
    let (tai, _) = header.split_first_chunk::<8>()?;
    let tai_ns = u64::from_ne_bytes(*tai);
    let header = RecordHeader {
        tai_ns,
        wire_len: word(8),
        len: word(12),
        queue: word(16),
        reserved: word(20),
    };
    let bytes = bytes.get(..header.len as usize)?;
    (header.len <= header.wire_len).then_some(Record { header, bytes })
}

type Parts = (Ebpf, MapData, PerCpuArray<MapData, Copies>);

fn load(snap_bytes: u32, ring_bytes: u32) -> std::result::Result<Parts, EbpfError> {
    let btf = Btf::from_sys_fs().ok();
    let mut object = EbpfLoader::new()
        .btf(btf.as_ref())
        .override_global("SNAP_BYTES", &snap_bytes, true)
        .map_max_entries("RECORDS", ring_bytes)
        .load(OBJECT)?;
    let program = object.program_mut("observe").ok_or(ProgramError::NotLoaded)?;
    <&mut Xdp>::try_from(program)?.load()?;
    let mut map = |name| object.take_map(name).ok_or(MapError::ElementNotFound);
    let Map::RingBuf(records) = map("RECORDS")? else {
        return Err(MapError::ElementNotFound.into());
    };
    let copies = PerCpuArray::try_from(map("COPIES")?)?;
    Ok((object, records, copies))
}

fn xdp(object: &Ebpf) -> std::result::Result<&Xdp, ProgramError> {
    object.program("observe").ok_or(ProgramError::NotLoaded)?.try_into()
}

#[cfg(test)]
mod tests;
