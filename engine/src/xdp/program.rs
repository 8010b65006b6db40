//! The XDP program: loaded from the object in `ebpf/`, attached to one interface, its sockets
//! and its counters.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, Pod,
    maps::{MapData, MapError, PerCpuArray, PerCpuValues, XskMap},
    programs::{ProgramError, ProgramFd, Xdp},
};

use super::{
    attach::{attach, replace},
    busy::WhenBusy,
    filter::KernelFilter,
    interface::Interface,
    refusal::{Step, refused_at},
    rules::RuleMaps,
    runs::{self, Quiescence},
    shunt::ShuntMaps,
    stamp::Timestamps,
};
use crate::{
    error::{Error, Result},
    flow::Sampling,
    limits::{MAX_CORES, MAX_KERNEL_PREFIXES, MAX_SHUNTED_FLOWS},
    sync::Arc,
};

#[path = "../../../ebpf/src/shared.rs"]
pub(super) mod shared;

pub use super::attach::{Attachment, XdpMode};
pub use shared::{SOCKETS, TUNNELS, Verdicts};

/// As `cargo xtask ebpf` built it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/flowtap.bpf.o");

const _: () = assert!(SOCKETS as usize == MAX_CORES);
const _: () = assert!(shared::PREFIXES as usize == MAX_KERNEL_PREFIXES);
const _: () = assert!(shared::SHUNTED_FLOWS == MAX_SHUNTED_FLOWS);

// SAFETY: integers without padding: any bytes are a value.
unsafe impl aya::Pod for Verdicts {}

/// What the program is told before it is loaded, and stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Constants {
    /// Where packets' times come from.
    pub timestamps: Timestamps,
    /// UDP ports of tunnels, whose own ports do not tell flows apart where flows are sampled.
    pub tunnel_ports: [u16; TUNNELS],
}

/// The program, loaded; attached until [`Program::detach`] or drop.
pub struct Program {
    /// Closing it detaches the program.
    link: Option<OwnedFd>,
    object: Ebpf,
    program: ProgramFd,
    sockets: XskMap<MapData>,
    verdicts: PerCpuArray<MapData, Verdicts>,
    rules: RuleMaps,
    /// Of the shunt, if there is one.
    quiescence: Option<Arc<Quiescence>>,
    interface: Interface,
}

impl Program {
    /// Loads the program for `interface`, attached to nothing yet.
    ///
    /// # Errors
    /// If the kernel refuses it: no privilege, no BPF, or no clock for time stamps.
    pub fn load(interface: Interface, constants: Constants) -> Result<Self> {
        // A map has an entry at least.
        Self::load_with_room(interface, constants, 1)
    }

    /// The same, for a program that counts packets of shunted flows by itself, as soon as there
    /// are entries in these maps: one for each of so many cores.
    ///
    /// # Errors
    /// Likewise.
    pub fn load_with_shunt(
        interface: Interface,
        constants: Constants,
        cores: u32,
    ) -> Result<(Self, Vec<ShuntMaps>)> {
        let mut program = Self::load_with_room(interface, constants, MAX_SHUNTED_FLOWS)?;
        let quiescence = Arc::<Quiescence>::default();
        let (interface, object) = (&program.interface, &program.object);
        let maps = ShuntMaps::of(object, &interface.name, cores, &quiescence)
            .and_then(|maps| program.rules.shunt().map(|()| maps))
            .map_err(|cause| {
                let operation = format!("make a shunt for {}", interface.name);
                failed(operation, interface, &cause.into())
            })?;
        program.quiescence = Some(quiescence);
        Ok((program, maps))
    }

    fn load_with_room(
        interface: Interface,
        constants: Constants,
        shunted_flows: u32,
    ) -> Result<Self> {
        let operation = format!("load the XDP program for {}", interface.name);
        let is_by_packet = constants.timestamps == Timestamps::Packet;
        let by_batch = Constants { timestamps: Timestamps::Batch, ..constants };
        let load = |constants| load(constants, shunted_flows);
        let (object, program, sockets, verdicts, rules) = load(constants).map_err(|cause| {
            if is_by_packet && load(by_batch).is_ok() {
                return Error::new(&*operation, "the kernel has no clock for --timestamps packet")
                    .advise("it takes Linux 6.1; use --timestamps batch");
            }
            failed_at(Step::Load, operation, &interface, &cause)
        })?;
        let (link, quiescence) = (None, None);
        Ok(Self { link, object, program, sockets, verdicts, rules, quiescence, interface })
    }

    /// Waits for the end of runs, if an owner of the shunt has asked for that.
    pub fn wait_for_runs(&self) {
        if let Some(quiescence) = &self.quiescence {
            quiescence.wait();
        }
    }

    /// Attaches the program where `mode` says.
    ///
    /// # Errors
    /// If that is not possible, or another program is attached: a link replaces none.
    pub fn attach(&mut self, mode: XdpMode, when_busy: WhenBusy) -> Result<Attachment> {
        let program = self.program.as_fd();
        let (link, attachment) = attach(program, &self.interface, mode, when_busy)?;
        self.link = Some(link);
        Ok(attachment)
    }

    /// Has veth run it on queues that were added since it was attached. Other drivers do so by
    /// themselves, and some begin anew for each program that they are given; veth does only then
    /// (<https://github.com/torvalds/linux/blob/v6.12/drivers/net/veth.c>, `veth_enable_xdp`). As
    /// no program is put in its own place, it is loaded once more, with the same maps.
    ///
    /// # Errors
    /// If the kernel or the driver refuses it. It stays attached as it was.
    pub fn follow_queues(&mut self) -> Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        let again = load_program(&mut self.object).map_err(|cause| {
            let operation = format!("load the XDP program for {} once more", self.interface.name);
            failed_at(Step::Load, operation, &self.interface, &cause.into())
        })?;
        replace(link.as_fd(), again.as_fd(), &self.interface)?;
        self.program = again;
        Ok(())
    }

    /// Detaches it, and goes on for another interface: with the same rules and counters, attached
    /// to nothing yet.
    pub fn move_to(&mut self, interface: Interface) {
        self.detach();
        self.interface = interface;
    }

    /// From now on the program sends the frames of `queue` to `socket`, which must be bound to
    /// that queue. The kernel forgets the socket when it is closed.
    ///
    /// # Errors
    /// If there is no such place in the map or the kernel refuses the socket.
    pub fn insert(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<()> {
        self.sockets.set(queue, socket.as_raw_fd(), 0).map_err(|cause| {
            let operation = format!("send queue {queue} of {} to its socket", self.interface.name);
            failed(operation, &self.interface, &cause.into())
        })
    }

    /// Puts another filter, or none, in the place of the one in force, also while packets come:
    /// each is judged by either, whole, and none is lost. When this returns no packet is judged
    /// by the old one any more.
    ///
    /// Packets of queues without a socket are not filtered: they are the host's.
    ///
    /// # Errors
    /// If the filter does not fit the maps, or the kernel refuses it. Then the old one stays.
    pub fn set_filter(&mut self, filter: Option<&KernelFilter>) -> Result<()> {
        let compiled = filter.map(KernelFilter::compile).transpose()?;
        self.rules.replace(compiled.as_ref()).map_err(|cause| {
            let operation = format!("filter the packets of {}", self.interface.name);
            failed(operation, &self.interface, &cause.into())
        })
    }

    /// From now on so much of what the filter keeps is left out, too. To be called before the
    /// program is attached.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_sampling(&mut self, sampling: Sampling) -> Result<()> {
        self.rules.sample(sampling).map_err(|cause| {
            let operation = format!("sample the packets of {}", self.interface.name);
            failed(operation, &self.interface, &cause.into())
        })
    }

    /// What was decided so far, all CPUs together. Each number is exact; they belong to the
    /// same moment only when nothing arrives, so after [`Program::detach`].
    ///
    /// # Errors
    /// If the kernel does not give the map's value.
    pub fn verdicts(&self) -> Result<Verdicts> {
        let per_cpu = read_counters(&self.verdicts, &self.interface)?;
        Ok(per_cpu.iter().fold(Verdicts::default(), |sum, cpu| Verdicts {
            seen_packets: sum.seen_packets + cpu.seen_packets,
            passed_packets: sum.passed_packets + cpu.passed_packets,
            redirected_packets: sum.redirected_packets + cpu.redirected_packets,
            aborted_packets: sum.aborted_packets + cpu.aborted_packets,
            filtered_packets: sum.filtered_packets + cpu.filtered_packets,
            sampled_out_packets: sum.sampled_out_packets + cpu.sampled_out_packets,
            shunted_packets: sum.shunted_packets + cpu.shunted_packets,
        }))
    }

    /// Detaches the program. When this returns no run of it is under way: counters stand
    /// still, and what was redirected is in the sockets' rings or counted there as dropped.
    pub fn detach(&mut self) {
        if self.link.take().is_none() {
            return;
        }
        // Closing the link has stopped new runs.
        runs::wait_for_those_under_way();
    }
}

type Parts = (Ebpf, ProgramFd, XskMap<MapData>, PerCpuArray<MapData, Verdicts>, RuleMaps);

fn load(constants: Constants, shunted_flows: u32) -> std::result::Result<Parts, EbpfError> {
    let is_stamped = u8::from(constants.timestamps == Timestamps::Packet);
    let mut object = EbpfLoader::new()
        .override_global("STAMPS", &is_stamped, true)
        .override_global("TUNNEL_PORTS", &constants.tunnel_ports, true)
        .map_max_entries("SHUNTED", shunted_flows)
        .map_max_entries("SHUNT_COUNTS", shunted_flows)
        .load(OBJECT)?;
    let program = load_program(&mut object)?;
    let mut map = |name| object.take_map(name).ok_or(MapError::ElementNotFound);
    let sockets = XskMap::try_from(map("XSKS")?)?;
    let verdicts = PerCpuArray::try_from(map("VERDICTS")?)?;
    let rules = RuleMaps::of(&mut object)?;
    Ok((object, program, sockets, verdicts, rules))
}

/// Has the kernel take the program; again, if it has it already. Its code has the numbers of the
/// maps' descriptors in it: none is closed as long as there is the object.
fn load_program(object: &mut Ebpf) -> std::result::Result<ProgramFd, ProgramError> {
    let program = object.program_mut("flowtap").ok_or(ProgramError::NotLoaded)?;
    let program = <&mut Xdp>::try_from(program)?;
    // The first time there is none.
    let _ = program.unload();
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}

/// The one entry of a map of counters, for each CPU.
pub(super) fn read_counters<T: Pod>(
    map: &PerCpuArray<MapData, T>,
    interface: &Interface,
) -> Result<PerCpuValues<T>> {
    map.get(&0, 0).map_err(|cause| {
        let operation = format!("read the XDP counters of {}", interface.name);
        failed(operation, interface, &cause.into())
    })
}

/// The error of `operation`, with the kernel's word if it is somewhere in `cause`.
pub(super) fn failed(operation: String, interface: &Interface, cause: &EbpfError) -> Error {
    failed_at(Step::Other, operation, interface, cause)
}

pub(super) fn failed_at(
    step: Step,
    operation: String,
    interface: &Interface,
    cause: &EbpfError,
) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(error) = source {
        if let Some(refusal) = error.downcast_ref::<io::Error>() {
            return refused_at(step, operation, &interface.name, refusal);
        }
        source = error.source();
    }
    // One line: what the verifier said would be many.
    let cause = cause.to_string();
    Error::new(operation, cause.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests;
