//! When a flow ends, by packet time.

use crate::time::{SECOND_NS, Tick};

/// Idle, active and linger timeouts, in nanoseconds; [`Timeouts::NEVER`] is no timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Idle timeout of TCP flows with data, and of protocols without one of their own.
    pub idle_ns: Tick,
    /// Idle timeout of UDP, UDP-Lite, ICMP and ICMPv6.
    pub datagram_idle_ns: Tick,
    /// Idle timeout of TCP flows whose handshake is not finished.
    pub half_open_idle_ns: Tick,
    /// How long a TCP flow stays after FIN both ways or RST, from its last packet.
    pub linger_ns: Tick,
    /// How long a record of a flow may span before it is cut.
    pub active_ns: Tick,
}

impl Timeouts {
    /// A timeout that never comes.
    pub const NEVER: Tick = Tick::MAX;

    /// The defaults with `idle` for every protocol and state, and with `active`, where
    /// they are given.
    #[must_use]
    pub fn new(idle: Option<Tick>, active: Option<Tick>) -> Self {
        let default = Self::default();
        Self {
            idle_ns: idle.unwrap_or(default.idle_ns),
            datagram_idle_ns: idle.unwrap_or(default.datagram_idle_ns),
            half_open_idle_ns: idle.unwrap_or(default.half_open_idle_ns),
            linger_ns: default.linger_ns,
            active_ns: active.unwrap_or(default.active_ns),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle_ns: 60 * SECOND_NS,
            datagram_idle_ns: 30 * SECOND_NS,
            half_open_idle_ns: 10 * SECOND_NS,
            linger_ns: 5 * SECOND_NS,
            active_ns: 1_800 * SECOND_NS,
        }
    }
}
