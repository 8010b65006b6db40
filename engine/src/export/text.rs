//! Values as text, appended to a buffer: what all text formats share. Nothing is allocated
//! but what the buffer grows by.

use std::io::Write as _;
use std::net::IpAddr;

use crate::export::schema::Value;
use crate::time::{SECOND_NS, Timestamp};

/// `2026-01-01T00:00:00`
type SecondText = [u8; 19];

/// Seconds whose text is remembered. Records that end together began close to each other.
const SECONDS: usize = 64;

/// Writes values. Remembers how it wrote times.
#[derive(Debug)]
pub(crate) struct Text {
    seconds: [(i64, SecondText); SECONDS],
}

impl Default for Text {
    fn default() -> Self {
        // No timestamp has this second.
        Self { seconds: [(i64::MIN, [0; 19]); SECONDS] }
    }
}

impl Text {
    /// Appends the value as plain text: nothing if absent, a list with semicolons.
    pub(crate) fn append(&mut self, value: &Value<'_>, out: &mut Vec<u8>) {
        match *value {
            Value::Absent => {}
            Value::Number(number) => append_number(number, out),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Owned(ref text) => out.extend_from_slice(text.as_bytes()),
            Value::Word(word) => append_hex(&word.to_be_bytes(), None, out),
            Value::Mac(ref mac) => append_hex(mac, Some(b':'), out),
            Value::Address(address) => append_address(address, out),
            Value::Time(time) => self.append_time(time, out),
            Value::Vlans(ref vlans) => append_list(vlans, b';', out),
        }
    }

    /// RFC 3339, in UTC with nanoseconds.
    fn append_time(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let second_ns = SECOND_NS.cast_signed();
        let (second, ns) = (time.div_euclid(second_ns), time.rem_euclid(second_ns));
        let place = usize::try_from(second.rem_euclid(SECONDS as i64)).expect("below 64");
        let known = &mut self.seconds[place];
        if known.0 != second {
            *known = (second, second_text(second));
        }
        out.extend_from_slice(&known.1);
        let mut fraction = *b".000000000Z";
        let mut rest = ns.unsigned_abs();
        for digit in fraction[1..10].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&fraction);
    }
}

/// The second as RFC 3339 without its zone.
fn second_text(second: i64) -> SecondText {
    let time = jiff::Timestamp::from_second(second);
    let time = time.expect("64 bits of nanoseconds are well inside jiff's range");
    let text = time.to_string();
    *text.as_bytes().first_chunk().expect("years have four digits there")
}

/// Appends a number in decimal.
pub(crate) fn append_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends numbers with a separator between them; 0 is none.
pub(crate) fn append_list(numbers: &[u16], separator: u8, out: &mut Vec<u8>) {
    for (idx, &number) in numbers.iter().filter(|&&number| number != 0).enumerate() {
        if idx > 0 {
            out.push(separator);
        }
        append_number(number.into(), out);
    }
}

/// Two digits a byte, with a separator between bytes.
fn append_hex(bytes: &[u8], separator: Option<u8>, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (idx, byte) in bytes.iter().enumerate() {
        if idx > 0 {
            out.extend(separator);
        }
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// RFC 5952.
fn append_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (idx, byte) in address.octets().into_iter().enumerate() {
                if idx > 0 {
                    out.push(b'.');
                }
                append_number(byte.into(), out);
            }
        }
        IpAddr::V6(address) => write!(out, "{address}").expect("a vector takes anything"),
    }
}
