//! Received packets by XDP: `--observe-by xdp`, in which the host keeps its network.
//!
//! An XDP program passes each packet on to the host, and copies the first bytes of it up through
//! a ring buffer ([`crate::xdp::observer`]). [`ObserveXdp`] is one interface, [`ObserveXdpQueue`]
//! its ring buffer, which goes to one `rx` thread.
//!
//! # Which packets
//!
//! Each that the interface receives, whoever it is for, before the kernel has merged any or
//! taken a VLAN tag out (a NIC that takes tags out has done so by then). What this host sends is
//! not seen.
//!
//! # What adds up
//!
//! The program counts what it sees, and what found no room: `seen = delivered + invalid +
//! dropped`, where what is delivered is our own count.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::link::{NicCount, NicCounts};
use crate::limits::{MAX_QUEUE_FRAMES, MIN_QUEUE_FRAMES, MIN_SNAP_BYTES, SNAP_BYTES};
use crate::privileges;
use crate::source::longest::LongestFrame;
use crate::source::packet::Watch;
use crate::source::{Frame, LinkType};
use crate::xdp::attach::{Attachment, XdpMode};
use crate::xdp::busy::WhenBusy;
use crate::xdp::interface::Interface;
use crate::xdp::observer::{CopyCounters, ObserverProgram};
use crate::xdp::ringbuf::RingBuffer;
use crate::xdp::stamp::Tai;

/// Memory for one frame of `ring_frames`: as much as other sources take.
const FRAME_BYTES: u32 = 4_096;

/// How long a thread that finds nothing sleeps before it looks again: from the first to the
/// second, twice as long each time. As nobody wakes it, the second is how late a packet may be,
/// and in it the smallest default ring takes 30 million packets a second.
const NAPS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(4)];

/// What to observe, and with how much memory.
#[derive(Clone, Debug)]
pub struct ObserveXdpConfig {
    /// The interface's name.
    pub interface: String,
    /// Where the program shall run.
    pub xdp_mode: XdpMode,
    /// Frames of 4,096 bytes that the ring buffer has memory for, a power of two; of the copies
    /// it holds many more.
    pub ring_frames: u32,
    /// Bytes of a packet that are copied; rounded up to a multiple of 8.
    pub snap_bytes: u32,
}

impl ObserveXdpConfig {
    /// Bytes that are copied, and of the ring.
    fn check(&self) -> Result<(u32, u32)> {
        let refuse = |cause: String| Err(Error::new(format!("observe {}", self.interface), cause));
        let (frames, snap) = (self.ring_frames, self.snap_bytes);
        if !frames.is_power_of_two() || !(MIN_QUEUE_FRAMES..=MAX_QUEUE_FRAMES).contains(&frames) {
            return refuse(format!(
                "{frames} frames per ring is not a power of two from {MIN_QUEUE_FRAMES} to \
                 {MAX_QUEUE_FRAMES}"
            ));
        }
        if !(MIN_SNAP_BYTES..=SNAP_BYTES).contains(&snap) {
            return refuse(format!("{snap} bytes, not {MIN_SNAP_BYTES} to {SNAP_BYTES}"));
        }
        Ok((snap.next_multiple_of(8), frames * FRAME_BYTES))
    }
}

/// One interface that is observed; the program goes when this is dropped.
pub struct ObserveXdp {
    program: ObserverProgram,
    config: ObserveXdpConfig,
    interface: Interface,
    description: String,
    longest: LongestFrame,
    nic: NicCount,
}

impl ObserveXdp {
    /// Attaches the program to the interface, and makes that promiscuous.
    ///
    /// # Errors
    /// If it is down, missing, or not Ethernet, if another program is attached, or if the kernel
    /// refuses a step. Nothing stays changed then.
    pub fn open(config: &ObserveXdpConfig) -> Result<(Self, ObserveXdpQueue)> {
        Self::open_when(config, WhenBusy::Wait)
    }

    fn open_when(
        config: &ObserveXdpConfig,
        when_busy: WhenBusy,
    ) -> Result<(Self, ObserveXdpQueue)> {
        let (snap_bytes, ring_bytes) = config.check()?;
        let interface = Interface::find(&config.interface)?;
        privileges::require(&format!("observe {} by XDP", interface.name))?;
        privileges::raise_locked_memory();
        let watch = Watch::open(&interface)?;
        let (mut program, ring, counters) =
            ObserverProgram::load(interface.clone(), snap_bytes, ring_bytes)?;
        let nic = NicCount::start(interface.index);
        let attachment = program.attach(config.xdp_mode, when_busy)?;
        let longest = LongestFrame::of_mtu(watch.mtu);
        let queue = ObserveXdpQueue {
            ring,
            counters,
            longest: longest.clone(),
            watch,
            tai: Tai::now(),
            nap: NAPS[0],
            counts: Counts::default(),
            failure: None,
        };
        let description = describe(&attachment, snap_bytes);
        let config = config.clone();
        Ok((Self { program, config, interface, description, longest, nic }, queue))
    }

    /// Observes another interface that has taken the place and the name of the one that is gone.
    /// What the NICs have counted is added up. What is busy is not waited for.
    ///
    /// # Errors
    /// Those of [`ObserveXdp::open`].
    pub fn reopen(&mut self) -> Result<ObserveXdpQueue> {
        let (new, queue) = Self::open_when(&self.config, WhenBusy::Refuse)?;
        let nic = new.nic.after(&self.nic);
        *self = Self { nic, ..new };
        Ok(queue)
    }

    /// Has frames held against another MTU from now on.
    pub fn set_mtu(&self, mtu: u32) {
        self.longest.set_mtu(mtu);
    }

    /// The interface's number in this network namespace.
    pub fn index(&self) -> u32 {
        self.interface.index
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface.name
    }

    /// How packets come: `native XDP, 256 bytes of each packet received, none of those sent`.
    pub fn description(&self) -> String {
        self.description.clone()
    }

    /// Packets that the interface says it has received between open and detach; `None` if it
    /// does not say.
    pub fn nic(&self) -> Option<NicCounts> {
        self.nic.get()
    }

    /// Lets nothing new in. What is in the ring buffer can still be received.
    pub fn detach(&mut self) {
        self.program.detach();
        self.nic.stop();
    }
}

fn describe(attachment: &Attachment, snap_bytes: u32) -> String {
    let (place, why) = match attachment {
        Attachment::Native => ("native", String::new()),
        Attachment::Generic(why) => ("generic", format!(" ({why})")),
    };
    format!("{place} XDP{why}, {snap_bytes} bytes of each packet received, none of those sent")
}

/// What has become of the packets of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that the program has seen.
    pub seen: u64,
    /// Those of them for which there was no room in the ring buffer.
    pub dropped: u64,
    /// Packets that the program could not read, and records that are none.
    pub invalid: u64,
    /// Packets taken from the ring buffer.
    pub delivered: u64,
    /// Those that are longer than the interface's MTU allows: several on the wire.
    pub above_mtu: u64,
}

/// The ring buffer of an interface; owned by one thread.
pub struct ObserveXdpQueue {
    ring: RingBuffer,
    counters: CopyCounters,
    watch: Watch,
    longest: LongestFrame,
    tai: Tai,
    nap: Duration,
    /// Records that are none are in `invalid`; what the program counts is not here.
    counts: Counts,
    /// What the interface has come to.
    failure: Option<Error>,
}

impl ObserveXdpQueue {
    /// Receives up to `max` frames, and calls `each` with every one in the order they came.
    /// Returns how many.
    pub fn receive(&mut self, max: usize, mut each: impl FnMut(&Frame<'_>)) -> usize {
        let Self { ring, longest, tai, counts, .. } = self;
        let longest = longest.bytes();
        let (mut delivered, mut invalid) = (0, 0);
        ring.receive_packets(max, |record| {
            let Some(record) = record else {
                invalid += 1;
                return;
            };
            delivered += 1;
            let wire_len = record.header.wire_len;
            counts.above_mtu += u64::from(wire_len > longest);
            each(&Frame {
                bytes: record.bytes,
                wire_len,
                timestamp: Some(tai.utc(record.header.tai_ns)),
                link: LinkType::ETHERNET,
            });
        });
        counts.delivered += delivered as u64;
        counts.invalid += invalid;
        delivered
    }

    /// Sleeps until frames are there (`true`), or the time is up or a signal came (`false`).
    ///
    /// # Errors
    /// If the interface is gone or down, once all it had received was taken.
    pub fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> Result<bool> {
        let mut left = timeout;
        loop {
            if self.ring.has_record() {
                self.nap = NAPS[0];
                return Ok(true);
            }
            if self.ring.is_broken() {
                let cause = "the kernel describes records that cannot be";
                return Err(Error::new("read the ring buffer", cause));
            }
            if let Some(failure) = self.failure.take() {
                // Told once: it may come up again.
                return Err(failure);
            }
            if left.is_zero() {
                return Ok(false);
            }
            let nap = self.nap.min(left);
            self.nap = (self.nap * 2).min(NAPS[1]);
            left -= nap;
            // Looks into the ring once more after it: what came before is to be taken.
            self.failure = self.watch.wait(nap, bell)?;
        }
    }

    /// Follows the wall's clock, which packets' times are made for.
    pub fn set_by_wall(&mut self) {
        self.tai.set();
    }

    /// What has become of the packets so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn counts(&mut self) -> Result<Counts> {
        let copies = self.counters.sum()?;
        Ok(Counts {
            seen: copies.seen_packets,
            dropped: copies.ring_full_packets,
            invalid: copies.unreadable_packets + self.counts.invalid,
            ..self.counts
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_and_rounded() {
        let check = |ring_frames, snap_bytes| {
            let config = ObserveXdpConfig {
                interface: "x".into(),
                xdp_mode: XdpMode::Auto,
                ring_frames,
                snap_bytes,
            };
            config.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(64, 64), Ok((64, 256 << 10)));
        assert_eq!(check(4096, 129), Ok((136, 16 << 20)));
        assert_eq!(check(65_536, 4096), Ok((4096, 256 << 20)));
        for (frames, snap, expected) in [
            (100, 128, "observe x: 100 frames per ring is not a power of two"),
            (32, 128, "from 64 to 65536"),
            (64, 63, "observe x: 63 bytes, not 64 to 4096"),
            (64, 4097, "not 64 to 4096"),
        ] {
            let error = check(frames, snap).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_notice_says_that_nothing_sent_is_seen() {
        let native = describe(&Attachment::Native, 256);
        assert_eq!(native, "native XDP, 256 bytes of each packet received, none of those sent");
        let generic = describe(&Attachment::Generic("no driver".into()), 64);
        assert!(generic.starts_with("generic XDP (no driver), 64 bytes"), "{generic}");
    }
}
