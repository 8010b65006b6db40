//! Names for flows, learned from what is on the wire, and from nothing else.
//!
//! Parsers make [`Finding`]s of [`Payload`]s, which tables keep.

pub mod finding;
pub mod payload;

pub use finding::{DnsAnswer, DnsMessage, Finding, FlowFact, HostFact, HostHint, NameService};
pub use payload::Payload;
