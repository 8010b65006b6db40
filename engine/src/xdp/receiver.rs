//! From descriptors to packets: what of one socket's memory is read, and when it is given back.
//!
//! A packet longer than a frame comes in several (`XDP_USE_SG`), each with a descriptor, all
//! but the last marked to be continued. Its headers are in the first: that is shown with the
//! length of all, and nothing is put together. Works on rings and frames only, so that tests
//! stand in for the kernel.

use super::{
    ring::{Consumer, Descriptor, Producer},
    umem::{Received, Umem},
};

/// The receive ring, the fill ring and the frames between them.
#[derive(Debug)]
pub(super) struct Receiver {
    rx: Consumer<Descriptor>,
    fill: Producer<u64>,
    umem: Umem,
    /// A packet of which more descriptors are to come.
    pending: Option<Pending>,
    invalid: u64,
    /// Whether the program puts stamps in front of packets.
    is_stamped: bool,
}

/// The part of a packet that has come.
#[derive(Debug)]
struct Pending {
    /// Its first frame; `None` if one of its descriptors was no good.
    first: Option<Received>,
    /// Bytes of all its frames so far.
    len: u32,
}

impl Receiver {
    /// Lends all frames to the kernel. The fill ring must have room for as many.
    pub(super) fn new(
        rx: Consumer<Descriptor>,
        mut fill: Producer<u64>,
        mut umem: Umem,
        is_stamped: bool,
    ) -> Self {
        fill.look();
        let lent = umem.lend_all().map(|address| fill.put(address));
        assert!(
            lent.into_iter().all(|is_put| is_put),
            "the fill ring is as long as there are frames"
        );
        fill.submit();
        Self { rx, fill, umem, pending: None, invalid: 0, is_stamped }
    }

    /// Packets that were not shown, as the kernel described them wrongly.
    pub(super) fn invalid(&self) -> u64 {
        self.invalid
    }

    /// Whether the driver waits to be called before it takes frames off the fill ring.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// Shows up to `max` packets to `each`, in the order they came: what is in their first
    /// frame, how long they are in all, and the TAI of their stamp. Then gives their frames
    /// back. Returns how many it has shown.
    pub(super) fn receive(
        &mut self,
        max: usize,
        mut each: impl FnMut(&[u8], u32, Option<u64>),
    ) -> usize {
        // As there are as many places as frames, the second bound never binds but for a moment
        // (the kernel shows packets before it shows the places that they came from); it is what
        // makes `give_back` succeed without trust in the kernel.
        let waiting = self.rx.look().min(self.fill.look().saturating_sub(self.held()));
        let mut shown = 0;
        for _ in 0..waiting {
            if shown == max {
                break;
            }
            let Some(descriptor) = self.rx.take() else { break };
            self.add(descriptor);
            if descriptor.is_continued() {
                continue;
            }
            match self.pending.take() {
                Some(Pending { first: Some(first), len }) => {
                    // Not looked for unless it is there: it is on a cache line of its own.
                    let tai_ns = if self.is_stamped { self.umem.take_stamp(&first) } else { None };
                    each(self.umem.bytes(&first), len, tai_ns);
                    shown += 1;
                    self.give_back(first);
                }
                _ => self.invalid += 1,
            }
        }
        self.rx.release();
        self.fill.submit();
        shown
    }

    /// Frames that are neither lent nor on a ring: that of the pending packet.
    fn held(&self) -> u32 {
        u32::from(self.pending.as_ref().is_some_and(|pending| pending.first.is_some()))
    }

    /// Takes in the next descriptor of the pending packet, or the first of a new one.
    fn add(&mut self, descriptor: Descriptor) {
        let received = self.umem.receive(descriptor);
        match (self.pending.take(), received) {
            (None, first) => self.pending = Some(Pending { first, len: descriptor.len }),
            (Some(Pending { first: Some(first), len }), Some(next)) => {
                self.give_back(next);
                let len = len.saturating_add(descriptor.len);
                self.pending = Some(Pending { first: Some(first), len });
            }
            // A packet of which one part is no good is none.
            (Some(Pending { first, .. }), next) => {
                first.into_iter().chain(next).for_each(|frame| self.give_back(frame));
                self.pending = Some(Pending { first: None, len: 0 });
            }
        }
    }

    fn give_back(&mut self, frame: Received) {
        let is_put = self.fill.put(self.umem.lend(frame));
        assert!(is_put, "there is a place for each");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdp::program::shared::stamp;
    use crate::xdp::ring::tests::pair;

    const FRAMES: u32 = 8;
    const FRAME_BYTES: u32 = 2048;

    /// The kernel's side.
    struct Kernel {
        rx: Producer<Descriptor>,
        fill: Consumer<u64>,
        /// Frames that it has.
        frames: Vec<u64>,
    }

    impl Kernel {
        /// Delivers packets, each in frames of such lengths.
        fn deliver(&mut self, packets: &[&[u32]]) {
            self.collect();
            self.rx.look();
            for packet in packets {
                for (idx, &len) in packet.iter().enumerate() {
                    let options = if idx + 1 < packet.len() { libc::XDP_PKT_CONTD } else { 0 };
                    let address = self.frames.remove(0) + 256;
                    assert!(self.rx.put(Descriptor { address, len, options }));
                }
            }
            self.rx.submit();
        }

        /// Takes what is on the fill ring: each frame at most once.
        fn collect(&mut self) {
            self.fill.look();
            while let Some(address) = self.fill.take() {
                assert!(!self.frames.contains(&address), "frame {address} given back twice");
                self.frames.push(address);
            }
            self.fill.release();
        }
    }

    fn both() -> (Receiver, Kernel) {
        both_of(false)
    }

    fn both_of(is_stamped: bool) -> (Receiver, Kernel) {
        let (rx_in, rx_out) = pair::<Descriptor>(FRAMES, u32::MAX - 3);
        let (fill_in, fill_out) = pair::<u64>(FRAMES, u32::MAX - 5);
        let umem = Umem::new(FRAMES, FRAME_BYTES).unwrap();
        let receiver = Receiver::new(rx_out, fill_in, umem, is_stamped);
        let mut kernel = Kernel { rx: rx_in, fill: fill_out, frames: Vec::new() };
        kernel.collect();
        assert_eq!(kernel.frames.len(), FRAMES as usize);
        (receiver, kernel)
    }

    /// First frame's length and whole length of what is shown.
    fn receive(receiver: &mut Receiver, max: usize) -> Vec<(usize, u32)> {
        let mut shown = Vec::new();
        let count = receiver.receive(max, |bytes, len, _| shown.push((bytes.len(), len)));
        assert_eq!(count, shown.len());
        shown
    }

    #[test]
    fn packets_of_any_number_of_frames_are_shown_whole_and_given_back_once() {
        let (mut receiver, mut kernel) = both();
        for round in 0..20 {
            kernel.deliver(&[&[60], &[1792, 1], &[1792, 1792, 500], &[1500]]);
            let want = [(60, 60), (1792, 1793), (1792, 4084), (1500, 1500)];
            // All at once, or one after the other.
            let mut shown = Vec::new();
            while shown.len() < want.len() {
                shown.extend(receive(&mut receiver, 1 + round % 4));
            }
            assert_eq!(shown, want);
            kernel.collect();
            assert_eq!(kernel.frames.len(), FRAMES as usize, "all are back in round {round}");
        }
        assert_eq!(receiver.invalid(), 0);
    }

    #[test]
    fn a_packet_has_its_own_stamp_or_none() {
        let packets: [&[u32]; 4] = [&[60], &[1792, 700], &[60], &[1500]];
        for is_stamped in [true, false] {
            let (mut receiver, mut kernel) = both_of(is_stamped);
            // Every frame is used several times over; each round another packet has no stamp.
            for round in 0..20_u64 {
                let mut next = 0;
                for (number, packet) in (0..).zip(packets) {
                    let address = kernel.frames[next] + 256;
                    next += packet.len();
                    if number != round % 4 {
                        let stamp = [100 * round + number, stamp::KERNEL_TAI];
                        receiver.umem.put_stamp(address, stamp);
                    }
                }
                kernel.deliver(&packets);
                let mut times = Vec::new();
                receiver.receive(64, |_, _, tai_ns| times.push(tai_ns));
                let time = |number| (number != round % 4).then_some(100 * round + number);
                let want = [0, 1, 2, 3].map(|number| time(number).filter(|_| is_stamped));
                assert_eq!(times, want, "round {round}");
                kernel.collect();
            }
        }
    }

    #[test]
    fn a_packet_that_comes_in_two_looks_is_one() {
        let (mut receiver, mut kernel) = both();
        kernel.collect();
        kernel.rx.look();
        for (options, len) in [(1, 1792), (1, 1700), (0, 10)] {
            let address = kernel.frames.remove(0);
            assert!(kernel.rx.put(Descriptor { address, len, options }));
            kernel.rx.submit();
            let want = if options == 1 { vec![] } else { vec![(1792, 3502)] };
            assert_eq!(receive(&mut receiver, 64), want);
        }
        kernel.collect();
        assert_eq!(kernel.frames.len(), FRAMES as usize);
    }

    #[test]
    fn a_packet_with_a_part_that_is_no_good_is_counted_once() {
        let (mut receiver, mut kernel) = both();
        let outside = Descriptor { address: u64::MAX, len: 10, options: 0 };
        let good = |kernel: &mut Kernel, options| Descriptor {
            address: kernel.frames.remove(0),
            len: 100,
            options,
        };
        let continued = |descriptor: Descriptor| Descriptor { options: 1, ..descriptor };
        kernel.rx.look();
        let (a, b) = (good(&mut kernel, 1), good(&mut kernel, 0));
        let (c, d) = (good(&mut kernel, 1), good(&mut kernel, 0));
        for descriptor in [outside, continued(outside), a, b, c, outside, d] {
            assert!(kernel.rx.put(descriptor));
        }
        kernel.rx.submit();
        // None; `outside`, `a` and `b`; `c` and `outside`; and `d` alone.
        assert_eq!(receive(&mut receiver, 64), [(100, 100)]);
        assert_eq!(receiver.invalid(), 3);
        kernel.collect();
        assert_eq!(kernel.frames.len(), FRAMES as usize);
    }
}
