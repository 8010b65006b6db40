//! A live source, whichever it is: [`Tap`], [`Observe`] or [`ObserveXdp`], and their queues
//! behind one face.
//!
//! One `rx` thread's code serves all. Which one it is, is asked once for a batch and not for
//! a packet: [`Queue::receive`] is three loops, not one over a pointer to a function.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::Result;
use crate::host::link::NicCounts;
use crate::source::afxdp::{Tap, TapQueue};
use crate::source::observe_xdp::{ObserveXdp, ObserveXdpQueue};
use crate::source::packet::{Observe, ObserveQueue};
use crate::source::{Frame, LinkType};
use crate::time::Timestamp;
use crate::xdp::filter::KernelFilter;
use crate::xdp::shunt::ShuntMaps;

/// One interface that is captured from.
pub enum Source {
    /// By AF_XDP.
    Tap(Box<Tap>),
    /// By AF_PACKET.
    Observe(Box<Observe>),
    /// By an XDP program that passes packets on.
    ObserveXdp(Box<ObserveXdp>),
}

/// What is counted for an interface as a whole. What is not counted there is 0: packets that
/// an observed interface has seen are counted by its queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// What the NIC says of packets that came.
    pub nic: Option<NicCounts>,
    /// Packets at the source's entry.
    pub seen: u64,
    /// Packets left to the host alone.
    pub passed: u64,
    /// Packets that the XDP program could not handle.
    pub aborted: u64,
    /// Packets that its filter rejected.
    pub filtered: u64,
    /// Packets that sampling left out.
    pub sampled_out: u64,
    /// Packets that its shunt has counted.
    pub shunted: u64,
}

impl Source {
    /// The interface's name.
    pub fn interface(&self) -> &str {
        match self {
            Self::Tap(tap) => tap.interface(),
            Self::Observe(observe) => observe.interface(),
            Self::ObserveXdp(observe) => observe.interface(),
        }
    }

    /// Its number in this network namespace.
    pub fn index(&self) -> u32 {
        match self {
            Self::Tap(tap) => tap.index(),
            Self::Observe(observe) => observe.index(),
            Self::ObserveXdp(observe) => observe.index(),
        }
    }

    /// Whether each receive queue has a socket of its own, so that it matters how many there are.
    pub fn is_by_queue(&self) -> bool {
        matches!(self, Self::Tap(_))
    }

    /// How frames come.
    pub fn description(&self) -> String {
        match self {
            Self::Tap(tap) => format!("tap, {}", tap.description()),
            Self::Observe(observe) => format!("observe, {}", observe.description()),
            Self::ObserveXdp(observe) => format!("observe, {}", observe.description()),
        }
    }

    /// Which clock frames' times are from.
    pub fn clock(&self) -> &'static str {
        match self {
            Self::Tap(tap) => tap.clock(),
            Self::Observe(_) => "realtime, kernel, per packet",
            Self::ObserveXdp(_) => "tai, kernel, per packet",
        }
    }

    /// What happened so far; one moment's truth only once nothing arrives any more.
    ///
    /// # Errors
    /// If the kernel does not give the counters.
    pub fn counts(&self) -> Result<SourceCounts> {
        match self {
            Self::Tap(tap) => tap.counters().map(|counters| SourceCounts {
                nic: counters.nic,
                seen: counters.seen,
                passed: counters.passed,
                aborted: counters.aborted,
                filtered: counters.filtered,
                sampled_out: counters.sampled_out,
                shunted: counters.shunted,
            }),
            Self::Observe(observe) => {
                Ok(SourceCounts { nic: observe.nic(), ..SourceCounts::default() })
            }
            Self::ObserveXdp(observe) => {
                Ok(SourceCounts { nic: observe.nic(), ..SourceCounts::default() })
            }
        }
    }

    /// Has packets come to one of its queues from now on, which must be received. Where a ring is
    /// part of opening they do so already.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn begin(&mut self, queue: &Queue) -> Result<()> {
        match (self, queue) {
            (Self::Tap(tap), Queue::Tap(queue)) => tap.begin(queue),
            _ => Ok(()),
        }
    }

    /// Captures from another interface that has taken the place and the name of the one that is
    /// gone, by `queues` at most, as it was captured from before. Counts go on. All queues of
    /// the old one must be closed.
    ///
    /// # Errors
    /// As when it was first opened. Then nothing is captured, and it can be tried again.
    pub fn reopen(&mut self, queues: usize) -> Result<Vec<Queue>> {
        match self {
            Self::Tap(tap) => {
                tap.reopen(queues).map(|queues| queues.into_iter().map(Queue::Tap).collect())
            }
            Self::Observe(observe) => {
                observe.reopen().map(|queues| queues.into_iter().map(Queue::Observe).collect())
            }
            Self::ObserveXdp(observe) => {
                observe.reopen().map(|queue| vec![Queue::ObserveXdp(Box::new(queue))])
            }
        }
    }

    /// Captures from these queues, too, which were added, if it is by queue: see [`Tap::extend`].
    ///
    /// # Errors
    /// Likewise.
    pub fn extend(&mut self, name: &str, queues: Range<u32>) -> Result<Vec<Queue>> {
        match self {
            Self::Tap(tap) => {
                let queues = tap.extend(name, queues)?;
                Ok(queues.into_iter().map(Queue::Tap).collect())
            }
            Self::Observe(_) | Self::ObserveXdp(_) => Ok(Vec::new()),
        }
    }

    /// Has the kernel leave out what another filter rejects, or nothing, if it can do that for this
    /// source: see [`Tap::set_filter`].
    ///
    /// # Errors
    /// Likewise.
    pub fn set_filter(&mut self, filter: Option<&KernelFilter>) -> Result<()> {
        match self {
            Self::Tap(tap) => tap.set_filter(filter),
            Self::Observe(_) | Self::ObserveXdp(_) => Ok(()),
        }
    }

    /// Has frames held against another MTU, which the interface has now.
    pub fn set_mtu(&self, mtu: u32) {
        match self {
            Self::Tap(tap) => tap.set_mtu(mtu),
            Self::Observe(observe) => observe.set_mtu(mtu),
            Self::ObserveXdp(observe) => observe.set_mtu(mtu),
        }
    }

    /// The maps of its shunt, one for each core, once; none if it has no shunt.
    pub fn take_shunts(&mut self) -> Vec<ShuntMaps> {
        match self {
            Self::Tap(tap) => tap.take_shunts(),
            Self::Observe(_) | Self::ObserveXdp(_) => Vec::new(),
        }
    }

    /// Waits for what its shunt's owner has asked for, if that is anything.
    pub fn wait_for_runs(&self) {
        if let Self::Tap(tap) = self {
            tap.wait_for_runs();
        }
    }

    /// Nothing new arrives after this, and what is in the queues can still be received.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn detach(&mut self) -> Result<()> {
        match self {
            Self::Tap(tap) => tap.detach(),
            Self::Observe(observe) => observe.detach(),
            Self::ObserveXdp(observe) => {
                observe.detach();
                Ok(())
            }
        }
    }
}

/// One queue of an interface; owned by one thread.
pub enum Queue {
    /// An AF_XDP socket.
    Tap(TapQueue),
    /// A ring of a packet socket.
    Observe(ObserveQueue),
    /// A ring buffer of an XDP program.
    ObserveXdp(Box<ObserveXdpQueue>),
}

/// What was counted at a queue since it was opened. What does not happen there is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Packets that came to it; of a tap its source counts them.
    pub seen: u64,
    /// Lost, as there was no room on the receive ring.
    pub rx_ring_full: u64,
    /// Lost, as there was no frame on the fill ring.
    pub fill_ring_empty: u64,
    /// Lost, as they were too long.
    pub oversize: u64,
    /// Lost, as the kernel described them wrongly.
    pub invalid: u64,
    /// Lost, as there was no room in the ring of a packet socket, or in a ring buffer.
    pub kernel: u64,
    /// How often that ring ran full.
    pub freezes: u64,
    /// Packets that this host has sent.
    pub outgoing: u64,
    /// Packets longer than the interface's MTU at the time: several on the wire.
    pub above_mtu: u64,
    /// Packets that have the time of their batch, where each should have its own.
    pub batch_timed: u64,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tap(_) => "Tap",
            Self::Observe(_) => "Observe",
            Self::ObserveXdp(_) => "ObserveXdp",
        })
    }
}

impl std::ops::Add for QueueCounts {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            seen: self.seen + more.seen,
            rx_ring_full: self.rx_ring_full + more.rx_ring_full,
            fill_ring_empty: self.fill_ring_empty + more.fill_ring_empty,
            oversize: self.oversize + more.oversize,
            invalid: self.invalid + more.invalid,
            kernel: self.kernel + more.kernel,
            freezes: self.freezes + more.freezes,
            outgoing: self.outgoing + more.outgoing,
            above_mtu: self.above_mtu + more.above_mtu,
            batch_timed: self.batch_timed + more.batch_timed,
        }
    }
}

impl Queue {
    /// What its frames begin with.
    pub fn link(&self) -> LinkType {
        match self {
            Self::Tap(_) | Self::ObserveXdp(_) => LinkType::ETHERNET,
            Self::Observe(queue) => queue.link(),
        }
    }

    /// Receives up to `max` frames, and calls `each` with every one in the order they came;
    /// `now` is the time of those that come without. Returns how many.
    #[inline]
    pub fn receive(
        &mut self,
        max: usize,
        now: Timestamp,
        mut each: impl FnMut(&Frame<'_>),
    ) -> usize {
        match self {
            Self::Tap(queue) => queue.receive(max, |bytes, wire_len, time| {
                let timestamp = Some(time.unwrap_or(now));
                each(&Frame { bytes, wire_len, timestamp, link: LinkType::ETHERNET });
            }),
            Self::Observe(queue) => queue.receive(max, each),
            Self::ObserveXdp(queue) => queue.receive(max, each),
        }
    }

    /// Blocks until frames are there (`true`), or the time is up, `bell` is rung or a signal came
    /// (`false`).
    ///
    /// # Errors
    /// If the interface is gone or down.
    pub fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> Result<bool> {
        match self {
            Self::Tap(queue) => queue.wait(timeout, bell),
            Self::Observe(queue) => queue.wait(timeout, bell),
            Self::ObserveXdp(queue) => queue.wait(timeout, bell),
        }
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn counts(&mut self) -> Result<QueueCounts> {
        match self {
            Self::Tap(queue) => queue.drops().map(|drops| QueueCounts {
                rx_ring_full: drops.rx_ring_full,
                fill_ring_empty: drops.fill_ring_empty,
                oversize: drops.oversize,
                invalid: drops.invalid,
                above_mtu: queue.above_mtu(),
                batch_timed: queue.batch_timed(),
                ..QueueCounts::default()
            }),
            Self::Observe(queue) => queue.counts().map(|counts| QueueCounts {
                seen: counts.seen,
                kernel: counts.dropped,
                freezes: counts.freezes,
                invalid: counts.invalid,
                outgoing: counts.outgoing,
                above_mtu: counts.above_mtu,
                ..QueueCounts::default()
            }),
            Self::ObserveXdp(queue) => queue.counts().map(|counts| QueueCounts {
                seen: counts.seen,
                kernel: counts.dropped,
                invalid: counts.invalid,
                above_mtu: counts.above_mtu,
                ..QueueCounts::default()
            }),
        }
    }

    /// Follows the wall's clock where frames' times are made from another.
    pub fn set_by_wall(&mut self) {
        match self {
            Self::Tap(queue) => queue.set_by_wall(),
            Self::Observe(_) => {}
            Self::ObserveXdp(queue) => queue.set_by_wall(),
        }
    }

    /// Whether nothing is on its way, of a queue that was found empty after its source was
    /// detached: a packet socket has packets in a block that is not handed over yet.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn is_drained(&mut self) -> Result<bool> {
        match self {
            Self::Tap(_) | Self::ObserveXdp(_) => Ok(true),
            Self::Observe(queue) => queue.is_empty(),
        }
    }
}
