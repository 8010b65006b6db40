//! Records that a twin of the kernel has written, over the end of the ring and wrong ones.

use super::*;

const PAGE: usize = 4096;
const RING: u32 = 4096;

/// The producer, on the same pages. It writes to both images of the data.
struct Twin {
    ring: RingBuffer,
    at: u64,
}

impl Twin {
    fn new() -> Self {
        let map = |bytes| Mapping::anonymous(bytes).unwrap();
        let ring = RingBuffer::on(map(PAGE), map(PAGE + 2 * RING as usize), PAGE, RING).unwrap();
        Self { ring, at: 0 }
    }

    /// Writes a header; the record's bytes are those there were.
    fn header(&mut self, header: u32) {
        let slot = PAGE + usize::try_from(self.at).unwrap() % RING as usize;
        for image in [slot, slot + RING as usize] {
            if let Some(word) = self.ring.producer.at::<u32>(image, 1) {
                // SAFETY: inside the mapping, and nothing refers to it.
                unsafe { word.write(header) };
            }
        }
    }

    fn byte(&mut self, at: u64, byte: u8) {
        let slot = PAGE + usize::try_from(at).unwrap() % RING as usize;
        for image in [slot, slot + RING as usize] {
            let place = self.ring.producer.at::<u8>(image, 1).unwrap();
            // SAFETY: inside the mapping, and nothing refers to it.
            unsafe { place.write(byte) };
        }
    }

    /// A record of `len` times the same byte.
    fn record(&mut self, len: u32, flags: u32, byte: u8) {
        self.header(len | flags);
        (0..len.into()).for_each(|idx| self.byte(self.at + 8 + idx, byte));
        self.at += (u64::from(len) + 8).next_multiple_of(8);
        self.publish(self.at);
    }

    fn publish(&self, end: u64) {
        position(&self.ring.producer).store(end, Ordering::Release);
    }

    fn take(&mut self, max: usize) -> Vec<(usize, u8)> {
        let mut taken = Vec::new();
        let shown = self.ring.receive(max, |bytes| {
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
            taken.push((bytes.len(), bytes[0]));
        });
        assert_eq!(shown, taken.len());
        taken
    }

    fn consumed(&self) -> u64 {
        position(&self.ring.consumer).load(Ordering::Relaxed)
    }
}

#[test]
fn records_come_in_order_round_and_round() {
    let mut twin = Twin::new();
    assert!(!twin.ring.has_record());
    for round in 0..200_u32 {
        let byte = u8::try_from(round % 251).unwrap();
        for len in [1, 8, 60, 1_013] {
            twin.record(len, 0, byte);
        }
        assert!(twin.ring.has_record());
        assert_eq!(twin.take(3), [(1, byte), (8, byte), (60, byte)], "{round}");
        assert_eq!(twin.take(64), [(1_013, byte)], "{round}");
        assert_eq!(twin.consumed(), twin.at, "the room is given back");
    }
}

#[test]
fn what_is_busy_is_waited_for_and_what_is_discarded_is_skipped() {
    let mut twin = Twin::new();
    twin.record(24, DISCARD, 1);
    twin.record(24, 0, 2);
    let busy = twin.at;
    twin.record(24, BUSY, 3);
    twin.record(24, 0, 4);
    assert_eq!(twin.take(64), [(24, 2)]);
    assert!(!twin.ring.has_record() && twin.consumed() == busy);
    let end = std::mem::replace(&mut twin.at, busy);
    twin.header(24);
    twin.at = end;
    assert_eq!(twin.take(64), [(24, 3), (24, 4)]);
    assert!(!twin.ring.is_broken());
}

#[test]
fn what_cannot_be_is_not_read() {
    for (name, header, end) in [
        ("a record longer than the ring", 5_000, 32),
        ("a record beyond the last", 100, 32),
        ("more than there is room for", 24, u64::from(RING) + 8),
        ("behind what was read", 24, u64::MAX - 7),
        ("no multiple of 8", 24, 33),
    ] {
        let mut twin = Twin::new();
        twin.header(header);
        twin.publish(end);
        assert_eq!(twin.take(64), [], "{name}");
        assert!(twin.ring.is_broken() && twin.consumed() == 0, "{name}");
        assert!(!twin.ring.has_record(), "{name}");
    }
}

#[test]
fn pages_that_do_not_fit_are_refused() {
    let map = |bytes| Mapping::anonymous(bytes).unwrap();
    for (bytes, ring) in [(PAGE + 4096, RING), (PAGE + 2 * 4096, 2048), (PAGE + 6000, 3000)] {
        assert!(RingBuffer::on(map(PAGE), map(bytes), PAGE, ring).is_none(), "{bytes} {ring}");
    }
}
