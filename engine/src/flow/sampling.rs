//! How many of the flows or packets are in the records, when not all are.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::limits::MAX_SAMPLING;

/// One in so many is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sampling {
    every: u32,
    unit: SamplingUnit,
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplingUnit {
    /// Whole flows, in both directions: by a hash of the outermost addresses, protocol and ports.
    #[default]
    Flow,
    /// Packets: each n-th that a processor sees.
    Packet,
}

impl Sampling {
    /// Everything is kept.
    pub const ALL: Self = Self { every: 1, unit: SamplingUnit::Flow };

    /// One of `every` is kept; `None` if that is 0 or more than [`MAX_SAMPLING`].
    #[must_use]
    pub fn one_in(every: u32, unit: SamplingUnit) -> Option<Self> {
        (1..=MAX_SAMPLING).contains(&every).then_some(Self { every, unit })
    }

    /// One of so many is kept.
    #[must_use]
    pub fn every(self) -> u32 {
        self.every
    }

    /// What is drawn.
    #[must_use]
    pub fn unit(self) -> SamplingUnit {
        self.unit
    }

    /// Whether anything is left out.
    #[must_use]
    pub fn is_some(self) -> bool {
        self.every > 1
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::ALL
    }
}

impl SamplingUnit {
    /// As users write and read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Packet => "packet",
        }
    }
}

/// What follows on a sentence about a source: `, one in 100 flows`, or nothing.
impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_some() {
            write!(f, ", one in {} {}s", self.every, self.unit.name())?;
        }
        Ok(())
    }
}

/// `100`, `100:flow`, `100:packet`.
impl FromStr for Sampling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (every, by) = match text.split_once(':') {
            None => (text, SamplingUnit::Flow),
            Some((every, "flow")) => (every, SamplingUnit::Flow),
            Some((every, "packet")) => (every, SamplingUnit::Packet),
            Some((_, unit)) => return Err(format!("'{unit}' is neither flow nor packet")),
        };
        let every = every.parse().ok().and_then(|every| Self::one_in(every, by));
        every.ok_or_else(|| {
            format!("'{text}' is not one in 1 to {MAX_SAMPLING}; write 100 or 100:packet")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let one_in = |every, unit| Ok(Sampling { every, unit });
        for (text, want) in [
            ("1", one_in(1, SamplingUnit::Flow)),
            ("100", one_in(100, SamplingUnit::Flow)),
            ("100:flow", one_in(100, SamplingUnit::Flow)),
            ("1000000:packet", one_in(1_000_000, SamplingUnit::Packet)),
        ] {
            assert_eq!(text.parse(), want, "{text}");
        }
        for wrong in ["", "0", "-1", "1000001", "1:", "10:byte", ":packet", "1.5"] {
            assert!(wrong.parse::<Sampling>().is_err(), "{wrong}");
        }
    }
}
