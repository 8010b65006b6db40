//! What went wrong in set-up or at the program's edges, in one line that says what to do.
//!
//! Packets never become errors: a bad packet is counted by cause (see [`crate::ledger`]).

use std::fmt;

/// A failed operation: what was tried, why it failed, and what the user can do about it.
///
/// Displayed as `operation: cause; advice`, lower case and without a final stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    operation: String,
    cause: String,
    advice: Option<String>,
}

/// The result of a fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `operation` (with its subject, such as `open x.pcap`) for `cause`.
    pub fn new(operation: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { operation: operation.into(), cause: lower_first(&cause.to_string()), advice: None }
    }

    /// Why it failed.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// The same error with a word on what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// `No such file or directory (os error 2)` -> `no such file or directory`.
fn lower_first(cause: &str) -> String {
    let cause = cause.split(" (os error").next().unwrap_or(cause).trim_end_matches('.');
    let mut letters = cause.chars();
    match (letters.next(), letters.next()) {
        // An acronym keeps its capitals.
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(letters).collect()
        }
        _ => cause.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.cause)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_operation_cause_and_advice() {
        let missing = std::io::Error::from_raw_os_error(2);
        let error = Error::new("open x.pcap", missing).advise("check the name");
        assert_eq!(error.to_string(), "open x.pcap: no such file or directory; check the name");
        assert_eq!(Error::new("bind", "EBUSY").to_string(), "bind: EBUSY");
    }
}
