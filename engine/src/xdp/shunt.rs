//! The shunt's maps: which flows the program counts by itself, and what it has counted.
//!
//! The two maps of an interface are shared by all cores: each has [`ShuntMaps`] of its own, with
//! a range of numbers that no other uses, and enters the keys of flows that it counts, which no
//! other does. It decides nothing: who is shunted, when counts come home and when an entry may
//! be used again is said in [`mod@crate::engine::capture`]'s shunt.
//!
//! **A run may still have an entry that was removed**, and the kernel gives a removed entry's
//! memory to the next one at once
//! (<https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/hashtab.c>, `free_htab_elem`). So
//! whoever inserts or removes does it in a [turn](Quiescence::try_take) that nobody else has; and
//! whoever removes asks for an [end of runs](Quiescence::ask), before which it neither ends its
//! turn nor takes the counts for final.

use std::os::fd::AsFd;

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};

use super::{
    program::shared::{ShuntCounts, ShuntEntry, ShuntKey, shunt_count as at, shunt_entry},
    runs::Quiescence,
};
use crate::{
    error::{Error, Result},
    flow::SideCounts,
    limits::MAX_SHUNTED_FLOWS,
    sync::Arc,
};

/// How often counts are looked at that a packet is changing.
const LOOKS: u32 = 4;

/// What the program has counted of one entry since it was inserted, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// From the lower end to the higher one, and back. Fragments are never shunted.
    pub sides: [SideCounts; 2],
    /// When the last packet came, by [`monotonic_ns`]; 0 if none did.
    pub last_ns: u64,
}

/// One core's part of the maps of one interface.
pub struct ShuntMaps {
    flows: HashMap<MapData, ShuntKey, ShuntEntry>,
    counts: PerCpuArray<MapData, ShuntCounts>,
    /// The number of its first entry, and how many it has.
    first: u32,
    len: u32,
    cpus: usize,
    interface: String,
    /// Waited for by the thread that owns the program.
    quiescence: Arc<Quiescence>,
}

impl std::fmt::Debug for ShuntMaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShuntMaps").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl ShuntMaps {
    /// The maps of a loaded object, for so many cores.
    pub(super) fn of(
        object: &Ebpf,
        interface: &str,
        cores: u32,
        quiescence: &Arc<Quiescence>,
    ) -> std::result::Result<Vec<Self>, MapError> {
        let find = |name| object.map(name).ok_or(MapError::ElementNotFound);
        let (Map::HashMap(flows), Map::PerCpuArray(counts)) =
            (find("SHUNTED")?, find("SHUNT_COUNTS")?)
        else {
            return Err(MapError::ElementNotFound);
        };
        let cpus = nr_cpus().map_err(|(_, cause)| MapError::IoError(cause))?;
        let len = MAX_SHUNTED_FLOWS / cores.max(1);
        let make = |core| {
            Ok(Self {
                flows: Map::HashMap(again(flows)?).try_into()?,
                counts: Map::PerCpuArray(again(counts)?).try_into()?,
                first: core * len,
                len,
                cpus,
                interface: interface.to_owned(),
                quiescence: Arc::clone(quiescence),
            })
        };
        (0..cores).map(make).collect()
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.len
    }

    /// From now on the program counts the flow's packets, as entry `number`: one that no run
    /// has any more. What it had counted before is forgotten. Only within a
    /// [turn](Quiescence::try_take).
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn insert(&mut self, key: &ShuntKey, number: u32) -> Result<()> {
        let failed = |cause| self.failed("add a flow to", &cause);
        let zeros = PerCpuValues::try_from(vec![[0; at::COUNT]; self.cpus])
            .map_err(|cause| failed(MapError::IoError(cause)))?;
        let number = self.place(number);
        let mut entry = ShuntEntry::default();
        entry[shunt_entry::NUMBER] = number;
        let result = self.counts.set(number, zeros, 0);
        let result = result.and_then(|()| self.flows.insert(key, entry, 0));
        result.map_err(|cause| self.failed("add a flow to", &cause))
    }

    /// From now on no more runs begin to count the flow's packets. Only within a
    /// [turn](Quiescence::try_take).
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn remove(&mut self, key: &ShuntKey) -> Result<()> {
        self.flows.remove(key).map_err(|cause| self.failed("take a flow out of", &cause))
    }

    /// What entry `number` has counted; `None` if a packet of it was being counted each time
    /// that we looked.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn read(&self, number: u32) -> Result<Option<Counted>> {
        for _ in 0..LOOKS {
            let per_cpu = self
                .counts
                .get(&self.place(number), 0)
                .map_err(|cause| self.failed("read the counts of", &cause))?;
            if per_cpu.iter().all(|cpu| cpu[at::DONE] == cpu[at::BEGUN]) {
                return Ok(Some(Self::sum(&per_cpu)));
            }
        }
        Ok(None)
    }

    /// Where an entry of this core is among those of all.
    fn place(&self, number: u32) -> u32 {
        assert!(number < self.len, "entry {number} of {}", self.len);
        self.first + number
    }

    fn sum(per_cpu: &PerCpuValues<ShuntCounts>) -> Counted {
        per_cpu.iter().fold(Counted::default(), |mut sum, cpu| {
            for (idx, from) in [at::FORWARD, at::REVERSE].into_iter().enumerate() {
                let side = &mut sum.sides[idx];
                side.packets += cpu[from + at::PACKETS];
                side.bytes += cpu[from + at::IP_BYTES];
                side.frame_bytes += cpu[from + at::FRAME_BYTES];
                side.payload_bytes += cpu[from + at::PAYLOAD_BYTES];
                side.tcp_flags |= cpu[at::TCP_FLAGS].to_le_bytes()[idx];
            }
            sum.last_ns = sum.last_ns.max(cpu[at::LAST_NS]);
            sum
        })
    }

    /// Who waits for the end of runs.
    #[must_use]
    pub fn quiescence(&self) -> &Quiescence {
        &self.quiescence
    }

    fn failed(&self, operation: &str, cause: &MapError) -> Error {
        Error::new(format!("{operation} the shunt of {}", self.interface), cause)
    }
}

/// The same map once more.
fn again(map: &MapData) -> std::result::Result<MapData, MapError> {
    MapData::from_fd(map.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError)?)
}

/// The clock that the program stamps packets by, which is also that of `std::time::Instant`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to `now`, which is valid for that, and keeps no pointer to it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(result, 0, "this clock is always there");
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
