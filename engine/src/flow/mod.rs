//! What a flow is, as pure data: its key, what it counts, when it ends, and its record.
//!
//! Nothing here knows threads, sources or sinks.

pub mod delta;
pub mod encapsulation;
pub mod features;
pub mod key;
pub mod protocol;
pub mod record;
pub mod round_trip;
pub mod sampling;
pub mod timeouts;
pub mod tunnel;

pub use delta::{Delta, EndReason, Opening, SideCounts, TcpEvents};
pub use encapsulation::{Encapsulation, Encapsulations, MplsLabels};
pub use features::{Features, FeaturesSet, SideFeatures};
pub use key::{Direction, Endpoint, FlowKey, KeyHasher, PortKind};
pub use record::{Counted, FlowRecord, RecordKind, TcpState};
pub use round_trip::RoundTrip;
pub use sampling::{Sampling, SamplingUnit};
pub use timeouts::Timeouts;
pub use tunnel::{Tunnel, TunnelKind};
