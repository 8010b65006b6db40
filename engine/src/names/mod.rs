//! Names for flows, learned from what is on the wire, and from nothing else.
//!
//! [`interest`] says of a payload whether there may be something in it, for `rx` threads.
//! [`Conversations`] puts payloads of a flow together and gives them to the parsers in `parse`,
//! which make [`Finding`]s of [`Payload`]s, which tables keep.

pub mod conversations;
pub mod finding;
pub mod interest;
mod parse;
pub mod payload;

pub use conversations::{Conversations, ParserCounters};
pub use finding::{DnsAnswer, DnsMessage, Finding, FlowFact, HostFact, HostHint, NameService};
pub use payload::Payload;
