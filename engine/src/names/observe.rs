//! Between the thread and the parsers.

use crate::names::{Conversations, Finding, Payload};

/// Reads payloads, and remembers of them what it takes to read later ones: within bounds.
pub trait Observe: Send {
    /// Adds to `findings` what `payload` says, with what was seen before it. Payloads come in the
    /// order of their ticks, as far as that is known.
    fn observe(&mut self, payload: &Payload<'_>, findings: &mut Vec<Finding>);
}

impl Observe for Conversations {
    fn observe(&mut self, payload: &Payload<'_>, findings: &mut Vec<Finding>) {
        self.forget_idle(payload.tick);
        Conversations::observe(self, payload, findings);
    }
}
