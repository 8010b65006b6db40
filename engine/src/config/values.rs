//! Values on the command line: durations, bytes, numbers within bounds, prefixes.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;

use crate::export::Keep;
use crate::flow::Timeouts;
use crate::limits::{
    DATAGRAM_BYTES_BOUNDS, MAX_QUEUE_FRAMES, MIN_QUEUE_FRAMES, SPOOL_BYTES_LEAST,
    STREAM_BATCH_BOUNDS, STREAM_IN_FLIGHT_BOUNDS,
};
use crate::time::Tick;

/// A duration on the command line: `500ms`, `15s`, `5m`, `1h`.
///
/// # Errors
/// A text for the user, if it is none, is negative, or does not fit.
pub fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write 500ms, 15s, 5m or 1h");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| wrong())?;
    // All times of the engine are nanoseconds in 64 bits.
    match u64::try_from(duration.as_nanos()) {
        Ok(_) => Ok(duration),
        Err(_) => Err(format!("'{text}' is too long; 500 years are the most")),
    }
}

/// A timeout: a duration, or `off` for never.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_timeout(text: &str) -> std::result::Result<Tick, String> {
    if text == "off" {
        return Ok(Timeouts::NEVER);
    }
    let duration = parse_duration(text).map_err(|wrong| format!("{wrong}, or off"))?;
    Tick::try_from(duration.as_nanos()).map_err(|_| format!("'{text}' is too long; write off"))
}

/// Frames of a receive queue: a power of two within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_ring_frames(text: &str) -> std::result::Result<u32, String> {
    let bounds = MIN_QUEUE_FRAMES..=MAX_QUEUE_FRAMES;
    let is_right = |frames: &u32| frames.is_power_of_two() && bounds.contains(frames);
    text.parse().ok().filter(is_right).ok_or_else(|| {
        format!("'{text}' is not a power of two from {MIN_QUEUE_FRAMES} to {MAX_QUEUE_FRAMES}")
    })
}

/// A duration that something is done over and over after: not 0.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_interval(text: &str) -> std::result::Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err(format!("'{text}' is no time at all")),
        interval => Ok(interval),
    }
}

/// A number of bytes: `500`, `20k`, `100M`, `1G`.
///
/// # Errors
/// A text for the user, if it is none, or 0.
pub fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((end, 'k')) => (&text[..end], 1_000),
        Some((end, 'M')) => (&text[..end], 1_000_000),
        Some((end, 'G')) => (&text[..end], 1_000_000_000),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let wrong = || format!("'{text}' is not a number of bytes; write 500k, 100M or 1G");
    bytes.filter(|&bytes| bytes > 0).ok_or_else(wrong)
}

/// Bytes of a spool: a number of bytes that is large enough.
///
/// # Errors
/// A text for the user, if it is none, or too small.
pub fn parse_spool_bytes(text: &str) -> std::result::Result<u64, String> {
    match parse_bytes(text)? {
        bytes if bytes >= SPOOL_BYTES_LEAST => Ok(bytes),
        _ => {
            Err(format!("'{text}' is too little; {} M is the least", SPOOL_BYTES_LEAST / 1_000_000))
        }
    }
}

/// What is kept of finished files: a number of bytes, `500M`, `10GB`, or an age, `12h`, `7d`.
///
/// # Errors
/// A text for the user, if it is neither.
pub fn parse_keep(text: &str) -> std::result::Result<Keep, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let age = match days.and_then(|days| days.checked_mul(24)) {
        Some(hours) => parse_interval(&format!("{hours}h")),
        None => parse_interval(text),
    };
    let bytes = parse_bytes(text.strip_suffix('B').unwrap_or(text));
    match (age, bytes) {
        (Ok(age), _) => Ok(Keep { age: Some(age), bytes: None }),
        (_, Ok(bytes)) => Ok(Keep { bytes: Some(bytes), age: None }),
        _ => Err(format!("'{text}' is neither bytes nor an age; write 500M, 10GB, 12h or 7d")),
    }
}

/// Bytes of a datagram, within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_datagram_bytes(text: &str) -> std::result::Result<usize, String> {
    parse_within(text, DATAGRAM_BYTES_BOUNDS)
}

/// Records in a message to a broker, within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_batch(text: &str) -> std::result::Result<usize, String> {
    parse_within(text, STREAM_BATCH_BOUNDS)
}

/// Messages to a broker that may be under way, within bounds.
///
/// # Errors
/// A text for the user, if it is not.
pub fn parse_in_flight(text: &str) -> std::result::Result<usize, String> {
    parse_within(text, STREAM_IN_FLIGHT_BOUNDS)
}

fn parse_within(text: &str, bounds: RangeInclusive<usize>) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
        format!("'{text}' is not a number from {} to {}", bounds.start(), bounds.end())
    })
}

/// A prefix of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
///
/// # Errors
/// A text for the user, if it is none.
pub fn parse_prefix(text: &str) -> std::result::Result<IpNet, String> {
    let prefix = text.parse::<IpNet>().map(|prefix| prefix.trunc());
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    prefix.or_else(|_| address()).map_err(|_| {
        format!("'{text}' is no prefix; write 192.0.2.0/24, 2001:db8::/32, or one address")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_timeout("off"), Ok(Timeouts::NEVER));
        for wrong in ["", "5", "s", "-5s", "5 parsecs", "999999999999h", "off"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_read_with_their_unit() {
        assert_eq!(parse_bytes("500"), Ok(500));
        assert_eq!(parse_bytes("20k"), Ok(20_000));
        assert_eq!(parse_bytes("3M"), Ok(3_000_000));
        assert_eq!(parse_bytes("1G"), Ok(1_000_000_000));
        for wrong in ["", "0", "k", "-1", "1.5M", "1T", "99999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_interval("5m"), Ok(Duration::from_secs(300)));
        assert!(parse_interval("0s").is_err());
    }

    #[test]
    fn what_is_kept_is_bytes_or_an_age() {
        let bytes = |bytes| Ok(Keep { bytes: Some(bytes), age: None });
        let age =
            |hours: u64| Ok(Keep { bytes: None, age: Some(Duration::from_secs(3_600 * hours)) });
        assert_eq!(parse_keep("500M"), bytes(500_000_000));
        assert_eq!(parse_keep("10GB"), bytes(10_000_000_000));
        assert_eq!(parse_keep("700B"), bytes(700));
        assert_eq!((parse_keep("12h"), parse_keep("7d")), (age(12), age(168)));
        for wrong in ["", "0", "0d", "-1d", "d", "7 parsecs", "GB", "999999999999d"] {
            assert!(parse_keep(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ring_has_a_power_of_two_of_frames() {
        assert_eq!(parse_ring_frames("64"), Ok(64));
        assert_eq!(parse_ring_frames("65536"), Ok(65_536));
        for wrong in ["", "0", "32", "100", "131072", "-64", "64k"] {
            assert!(parse_ring_frames(wrong).is_err(), "{wrong}");
        }
    }
}
