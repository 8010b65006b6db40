//! Writers of capture files, as simple as can be.

/// Byte order of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Little,
    Big,
}

pub(super) const BOTH: [End; 2] = [End::Little, End::Big];

impl End {
    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        if self == End::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        if self == End::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub(super) fn i64(self, value: i64) -> [u8; 8] {
        if self == End::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|&word| self.u32(word)).collect()
    }
}

/// A pcap file.
pub(super) struct Classic {
    end: End,
    modified: bool,
    pub(super) file: Vec<u8>,
}

impl Classic {
    pub(super) fn new(end: End, magic: u32, network: u32) -> Classic {
        let mut file = end.u32(magic).to_vec();
        file.extend([end.u16(2), end.u16(4)].concat());
        file.extend(end.words(&[0, 0, 65_535, network]));
        Classic { end, modified: magic == 0xa1b2_cd34, file }
    }

    /// Little endian, microseconds, Ethernet.
    pub(super) fn plain() -> Classic {
        Classic::new(End::Little, 0xa1b2_c3d4, 1)
    }

    pub(super) fn record(mut self, time: (u32, u32), lens: (u32, u32), bytes: &[u8]) -> Classic {
        self.file.extend(self.end.words(&[time.0, time.1, lens.0, lens.1]));
        if self.modified {
            self.file.extend([0xee; 8]);
        }
        self.file.extend(bytes);
        self
    }

    /// A whole packet at `seconds`.
    pub(super) fn packet(self, seconds: u32, bytes: &[u8]) -> Classic {
        let len = u32::try_from(bytes.len()).unwrap();
        self.record((seconds, 0), (len, len), bytes)
    }
}

/// A pcapng file.
pub(super) struct Ng {
    end: End,
    pub(super) file: Vec<u8>,
}

impl Ng {
    /// A file that starts with a section header.
    pub(super) fn new(end: End) -> Ng {
        Ng { end, file: Vec::new() }.section(end)
    }

    pub(super) fn section(mut self, end: End) -> Ng {
        self.end = end;
        let mut body = end.u32(0x1a2b_3c4d).to_vec();
        body.extend([end.u16(1), end.u16(0)].concat());
        body.extend(end.i64(-1));
        self.block(0x0a0d_0d0a, &body)
    }

    /// A block with this body, padded.
    pub(super) fn block(mut self, kind: u32, body: &[u8]) -> Ng {
        let bytes = u32::try_from(12 + body.len().next_multiple_of(4)).unwrap();
        self.file.extend(self.end.words(&[kind, bytes]));
        self.file.extend(body);
        self.file.extend(vec![0; body.len().next_multiple_of(4) - body.len()]);
        self.file.extend(self.end.u32(bytes));
        self
    }

    pub(super) fn interface(self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> Ng {
        let mut body = [self.end.u16(link), [0xff; 2]].concat();
        body.extend(self.end.u32(snap));
        for (code, value) in options {
            body.extend(self.end.u16(*code));
            body.extend(self.end.u16(u16::try_from(value.len()).unwrap()));
            body.extend(*value);
            body.extend(vec![0; value.len().next_multiple_of(4) - value.len()]);
        }
        self.block(1, &body)
    }

    /// An enhanced packet block.
    pub(super) fn packet(self, interface: u32, time: u64, wire_len: u32, bytes: &[u8]) -> Ng {
        let head = self.head(interface, time, wire_len, bytes);
        self.block(6, &[head, bytes.to_vec()].concat())
    }

    /// The obsolete packet block.
    pub(super) fn obsolete(self, interface: u16, time: u64, wire_len: u32, bytes: &[u8]) -> Ng {
        let mut body = self.head(0, time, wire_len, bytes);
        body[..4].copy_from_slice(&[self.end.u16(interface), [0xaa; 2]].concat());
        body.extend(bytes);
        self.block(2, &body)
    }

    pub(super) fn simple(self, wire_len: u32, bytes: &[u8]) -> Ng {
        let body = [&self.end.u32(wire_len), bytes].concat();
        self.block(3, &body)
    }

    fn head(&self, interface: u32, time: u64, wire_len: u32, bytes: &[u8]) -> Vec<u8> {
        let (high, low) = (u32::try_from(time >> 32).unwrap(), (time & 0xffff_ffff) as u32);
        self.end.words(&[interface, high, low, u32::try_from(bytes.len()).unwrap(), wire_len])
    }
}
