//! The interfaces that a pcapng section describes, and the times of their packets.

use super::order::Order;
use crate::source::LinkType;
use crate::time::{SECOND_NS, Timestamp};

/// Option codes of the interface description block.
const END_OF_OPTIONS: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// One interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interface {
    pub(super) link: LinkType,
    /// The most bytes that were captured of a packet; 0 = no limit.
    pub(super) snap_len: u32,
    scale: Scale,
    offset_ns: i128,
}

impl Interface {
    /// Reads the body of an interface description block; an error says what is wrong with
    /// the block.
    pub(super) fn read(order: Order, body: &[u8]) -> Result<Interface, &'static str> {
        let Some(([l0, l1, _, _, s0, s1, s2, s3], mut options)) = body.split_first_chunk() else {
            return Err("is too short for an interface description");
        };
        let (mut scale, mut offset_ns) = (Scale::of_tsresol(6), 0);
        while let Some(([c0, c1, n0, n1], rest)) = options.split_first_chunk() {
            let (code, len) = (order.u16([*c0, *c1]), usize::from(order.u16([*n0, *n1])));
            if code == END_OF_OPTIONS {
                break;
            }
            let value = rest.get(..len).ok_or("has an option that is longer than the block")?;
            match code {
                IF_TSRESOL => scale = value.first().map_or(scale, |&r| Scale::of_tsresol(r)),
                IF_TSOFFSET => {
                    if let Some(&seconds) = value.first_chunk() {
                        offset_ns = i128::from(order.i64(seconds)) * i128::from(SECOND_NS);
                    }
                }
                _ => {}
            }
            options = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        let link = LinkType(order.u16([*l0, *l1]));
        let snap_len = order.u32([*s0, *s1, *s2, *s3]);
        Ok(Interface { link, snap_len, scale, offset_ns })
    }

    /// The time of a packet, rounded down; `None` if it does not fit.
    #[inline]
    pub(super) fn timestamp(&self, high: u32, low: u32) -> Option<Timestamp> {
        let units = u64::from(high) << 32 | u64::from(low);
        Timestamp::try_from(self.scale.ns(units) + self.offset_ns).ok()
    }
}

/// How units of time become nanoseconds.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Multiply(u64),
    Divide(u64),
    /// Units of 2^-n seconds.
    Binary(u8),
    /// Units so small that 64 bits of them are less than a nanosecond.
    Nothing,
}

impl Scale {
    /// The scale of an `if_tsresol` option: 10^-n seconds, or 2^-n with the highest bit.
    fn of_tsresol(resolution: u8) -> Scale {
        let digits = u32::from(resolution);
        match resolution {
            0..=9 => Scale::Multiply(10_u64.pow(9 - digits)),
            10..=127 => 10_u64.checked_pow(digits - 9).map_or(Scale::Nothing, Scale::Divide),
            128.. => Scale::Binary(resolution & 127),
        }
    }

    #[inline]
    fn ns(self, units: u64) -> i128 {
        match self {
            Scale::Multiply(factor) => i128::from(units) * i128::from(factor),
            Scale::Divide(divisor) => i128::from(units / divisor),
            // Less than 2^94, so that neither the sign nor the shift is a trouble.
            Scale::Binary(bits) => (i128::from(units) * i128::from(SECOND_NS)) >> bits,
            Scale::Nothing => 0,
        }
    }
}
