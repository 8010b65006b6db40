//! A line of text while it is written: what all text formats share. Pieces go in with copies
//! of a fixed length, which are a few instructions each, and the line's end moves on by what
//! counts of them.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;

use crate::flow::features::Thousandths;
use crate::limits::RECORD_VLANS;
use crate::time::{SECOND_NS, Timestamp};

/// `2026-01-01T00:00:00`
type SecondText = [u8; 19];

/// Seconds whose text is remembered. Records that end together began close to each other.
const SECONDS: usize = 64;

/// Bytes that a line begins with; a longer one makes it grow.
const LINE_BYTES: usize = 2_048;

/// Writes a line. Remembers how it wrote times.
#[derive(Debug)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    /// `bytes[..len]` is the line.
    len: usize,
    seconds: [(i64, SecondText); SECONDS],
}

impl Default for Line {
    fn default() -> Self {
        // No timestamp has this second.
        let seconds = [(i64::MIN, [0; 19]); SECONDS];
        Self { bytes: vec![0; LINE_BYTES], len: 0, seconds }
    }
}

/// `0.` to `255.`: the digits and a dot, and how long that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut number = 0;
    while number < 256 {
        let [a, b, c] = [DIGITS[number / 100], DIGITS[number / 10 % 10], DIGITS[number % 10]];
        octets[number] = match number {
            0..10 => ([c, b'.', 0, 0], 2),
            10..100 => ([b, c, b'.', 0], 3),
            _ => ([a, b, c, b'.'], 4),
        };
        number += 1;
    }
    octets
};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `00` to `ff`.
const HEX: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Below this a number has at most eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

impl Line {
    /// What was written since the last call, and nothing from now on.
    pub(crate) fn take(&mut self) -> &[u8] {
        let len = std::mem::take(&mut self.len);
        &self.bytes[..len]
    }

    /// Where the line ends now, for [`Line::cut`].
    pub(crate) fn mark(&self) -> usize {
        self.len
    }

    /// Takes the byte at `mark` out.
    pub(crate) fn cut(&mut self, mark: usize) {
        if mark < self.len {
            self.bytes.copy_within(mark + 1..self.len, mark);
            self.len -= 1;
        }
    }

    /// The first `len` of `bytes`.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        if self.bytes.len() < self.len + N {
            self.grow(N);
        }
        self.bytes[self.len..self.len + N].copy_from_slice(bytes);
        self.len += len;
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        self.bytes.resize((self.len + more).next_power_of_two(), 0);
    }

    /// Bytes as they are; fast if their number is known to the compiler.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.bytes.len() < self.len + bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// A number in decimal.
    #[inline]
    pub(crate) fn number(&mut self, number: u64) {
        if number < 10 {
            return self.put(&[DIGITS[(number & 15) as usize]], 1);
        }
        if number >= EIGHT_DIGITS {
            self.number(number / EIGHT_DIGITS);
            return self.put(&eight_digits(number % EIGHT_DIGITS).to_le_bytes(), 8);
        }
        let digits = eight_digits(number);
        // There is a digit that is not 0: it has one of these bits.
        let zeros = (digits & 0x0f0f_0f0f_0f0f_0f0f).trailing_zeros() / 8;
        self.put(&(digits >> (zeros * 8)).to_le_bytes(), 8 - zeros as usize);
    }

    /// Yes or no.
    #[inline]
    pub(crate) fn flag(&mut self, flag: bool) {
        self.bytes(if flag { b"true" } else { b"false" });
    }

    /// 16 hexadecimal digits.
    #[inline]
    pub(crate) fn word(&mut self, word: u64) {
        let pairs = word.to_be_bytes().map(|byte| HEX[usize::from(byte)]);
        self.put(pairs.as_flattened().first_chunk::<16>().expect("eight pairs"), 16);
    }

    /// Six bytes in hexadecimal, with colons.
    #[inline]
    pub(crate) fn mac(&mut self, mac: [u8; 6]) {
        let triples = mac.map(|byte| {
            let [high, low] = HEX[usize::from(byte)];
            [high, low, b':']
        });
        self.put(triples.as_flattened().first_chunk::<18>().expect("six triples"), 17);
    }

    /// RFC 5952.
    #[inline]
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets() {
                    let (digits, len) = &OCTETS[usize::from(octet)];
                    self.put(digits, usize::from(*len));
                }
                // The last dot.
                self.len -= 1;
            }
            IpAddr::V6(address) => {
                let mut text = [0; 48];
                let mut rest = &mut text[..];
                write!(rest, "{address}").expect("an address has at most 45 letters");
                let len = 48 - rest.len();
                self.put(&text, len);
            }
        }
    }

    /// RFC 3339, in UTC with nanoseconds.
    #[inline]
    pub(crate) fn time(&mut self, time: Timestamp) {
        let second_ns = SECOND_NS.cast_signed();
        let (second, ns) = (time.div_euclid(second_ns), time.rem_euclid(second_ns).unsigned_abs());
        let place = usize::try_from(second.rem_euclid(SECONDS as i64)).expect("below 64");
        if self.seconds[place].0 != second {
            self.seconds[place] = (second, second_text(second));
        }
        let text = self.seconds[place].1;
        self.put(&text, text.len());
        self.put(&[b'.', DIGITS[(ns / EIGHT_DIGITS) as usize]], 2);
        self.put(&eight_digits(ns % EIGHT_DIGITS).to_le_bytes(), 8);
        self.put(b"Z", 1);
    }

    /// The same in UTC with microseconds, as Suricata writes it.
    pub(crate) fn time_to_micros(&mut self, time: Timestamp) {
        self.time(time);
        self.len -= "000Z".len();
        self.bytes(b"+0000");
    }

    /// Seconds with six decimals; what is less is cut off.
    pub(crate) fn seconds(&mut self, ns: i128) {
        if ns < 0 {
            self.put(b"-", 1);
        }
        let micros = ns.unsigned_abs() / 1_000;
        self.number(u64::try_from(micros / 1_000_000).unwrap_or(u64::MAX));
        let rest = u64::try_from(micros % 1_000_000).expect("below a million");
        self.put(b".", 1);
        // The last six of eight digits.
        self.put(&(eight_digits(rest) >> 16).to_le_bytes(), 6);
    }

    /// A number with three decimals; one that fits no 64 bits as the largest that does.
    #[inline]
    pub(crate) fn decimal(&mut self, number: Thousandths) {
        let Thousandths(thousandths) = number;
        self.number(u64::try_from(thousandths / 1_000).unwrap_or(u64::MAX));
        let rest = usize::try_from(thousandths % 1_000).expect("below a thousand");
        let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| DIGITS[digit]);
        self.put(b".", 1);
        self.put(&digits, 3);
    }

    /// VLAN identifiers with a separator between them; 0 is none.
    #[inline]
    pub(crate) fn vlans(&mut self, vlans: [u16; RECORD_VLANS], separator: u8) {
        self.numbers(vlans.into_iter().filter(|&vlan| vlan != 0).map(u64::from), separator);
    }

    /// Numbers with a separator between them.
    #[inline]
    pub(crate) fn numbers(&mut self, numbers: impl Iterator<Item = u64>, separator: u8) {
        for (idx, number) in numbers.enumerate() {
            if idx > 0 {
                self.put(&[separator], 1);
            }
            self.number(number);
        }
    }
}

/// Whether a character could do something to a terminal, or to the order of what is shown, or is
/// not to be seen, so that two names look the same; and so is never written as it is: those of
/// Unicode's categories Cc, Cf, Zl and Zp (Unicode 15.1,
/// <https://www.unicode.org/Public/15.1.0/ucd/extracted/DerivedGeneralCategory.txt>).
pub(crate) fn is_harmful(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control() || is_format(character) || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Category Cf. Variation selectors, which are marks (Mn), are none of it.
fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
            | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    )
}

/// What text begins with that a spreadsheet takes for a formula; also in full width, as some do.
pub(crate) const FORMULA_STARTS: [char; 8] =
    ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Text from the wire as it may be shown: what is harmful stands as `\u{1b}`.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for character in text.chars() {
        if is_harmful(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// The eight decimal digits of a number below 10^8, zeros included, the first in the lowest
/// byte. All halves are split at once, then all quarters, then all eighths.
#[inline]
fn eight_digits(number: u64) -> u64 {
    // Exact for the numbers that there are: division by 100 below 10,000, by 10 below 100.
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | (twos - tens * 10) << 8) | 0x3030_3030_3030_3030
}

/// The second as RFC 3339 without its zone.
#[cold]
fn second_text(second: i64) -> SecondText {
    let time = jiff::Timestamp::from_second(second);
    let time = time.expect("64 bits of nanoseconds are well inside jiff's range");
    let text = time.to_string();
    *text.as_bytes().first_chunk().expect("years have four digits there")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        write(&mut line);
        String::from_utf8(line.take().to_vec()).unwrap()
    }

    #[test]
    fn numbers_at_every_length() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1] {
                assert_eq!(text(|line| line.number(number)), number.to_string());
            }
        }
        for power in 0..20 {
            for number in [10_u64.pow(power), 10_u64.pow(power) - 1] {
                assert_eq!(text(|line| line.number(number)), number.to_string());
            }
        }
        assert_eq!(text(|line| line.number(u64::MAX)), u64::MAX.to_string());
    }

    #[test]
    fn seconds_have_six_places() {
        let table = [
            (0, "0.000000"),
            (1_999, "0.000001"),
            (1_500_000_001, "1.500000"),
            (-1_000, "-0.000001"),
            (i128::from(u64::MAX), "18446744073.709551"),
        ];
        for (ns, want) in table {
            assert_eq!(text(|line| line.seconds(ns)), want);
        }
        let micros = text(|line| line.time_to_micros(1_999));
        assert_eq!(micros, "1970-01-01T00:00:00.000001+0000");
    }

    #[test]
    fn decimals_have_three_places() {
        let table = [
            (0, "0.000"),
            (7, "0.007"),
            (1_050, "1.050"),
            (123_456, "123.456"),
            (u128::from(u64::MAX) * 1_000 + 999, "18446744073709551615.999"),
        ];
        for (thousandths, written) in table {
            assert_eq!(text(|line| line.decimal(Thousandths(thousandths))), written);
        }
    }

    #[test]
    fn what_turns_lines_about_or_is_not_to_be_seen_is_not_shown() {
        for (text, want) in [
            ("a\u{e9}\u{627}", "a\u{e9}\u{627}"),
            ("\u{1b}[m\u{7f}", r"\u{1b}[m\u{7f}"),
            ("\u{61c}\u{200e}\u{200f}", r"\u{61c}\u{200e}\u{200f}"),
            ("\u{2028}\u{202e}\u{2066}\u{2069}", r"\u{2028}\u{202e}\u{2066}\u{2069}"),
            ("a\u{200b}\u{200d}\u{feff}b\u{ad}c", r"a\u{200b}\u{200d}\u{feff}b\u{ad}c"),
            ("\u{2060}\u{2064}\u{206f}\u{180e}", r"\u{2060}\u{2064}\u{206f}\u{180e}"),
            ("\u{e0001}\u{e0041}\u{e007f}", r"\u{e0001}\u{e0041}\u{e007f}"),
            ("\u{2764}\u{fe0f} \u{a0}\u{2065}", "\u{2764}\u{fe0f} \u{a0}\u{2065}"),
        ] {
            assert_eq!(harmless(text), want);
        }
    }

    #[test]
    fn a_long_line_grows() {
        let long = "x".repeat(5_000);
        let written = text(|line| {
            line.bytes(long.as_bytes());
            line.number(12_345_678_901);
        });
        assert_eq!(written, long + "12345678901");
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_standard_library_writes(
            number in any::<u64>(),
            small in 0..200_000_000_u64,
            mac in any::<[u8; 6]>(),
            four in any::<[u8; 4]>(),
            six in any::<[u8; 16]>(),
        ) {
            prop_assert_eq!(text(|line| line.number(number)), number.to_string());
            prop_assert_eq!(text(|line| line.number(small)), small.to_string());
            prop_assert_eq!(text(|line| line.word(number)), format!("{number:016x}"));
            let pairs = mac.map(|byte| format!("{byte:02x}"));
            prop_assert_eq!(text(|line| line.mac(mac)), pairs.join(":"));
            let (four, six) = (IpAddr::from(four), IpAddr::from(six));
            prop_assert_eq!(text(|line| line.address(four)), four.to_string());
            prop_assert_eq!(text(|line| line.address(six)), six.to_string());
        }
    }
}
