//! `capture`: live interfaces.

use crate::engine::{Control, Observer, Outcome, Settings};
use crate::error::{Error, Result};
use crate::view::Views;

/// Captures.
///
/// # Errors
/// Always.
pub fn capture(
    _settings: &Settings,
    _interfaces: &[String],
    _force: bool,
    _control: &Control,
    _views: &Views,
    _observer: &mut dyn Observer,
) -> Result<Outcome> {
    Err(Error::new("capture", "not built yet"))
}
