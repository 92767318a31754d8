//! [`ConnectionGate`]: admission of connections, before their first byte is read.

mod gate;
mod penalties;
#[cfg(test)]
mod tests;

pub use gate::{ConnectionGate, ConnectionPermit, ConnectionRefused, GateStats};
pub use penalties::{Offence, PenaltyOptions};

use std::time::Duration;

use crate::rate::Rate;

/// Limits on connections, most of them for connections before login. A source is an IPv4 address or
/// an IPv6 /64 network. An IPv6 /48 network has 8 times the limits of a source, and gets an eighth
/// of each penalty of its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Maximum number of connections before login on the node. Default 1000. Each may hold a
    /// packet of up to 4 KiB, or over SC1 a record of up to 16 KiB, in memory.
    pub max_unauthenticated: u32,
    /// Maximum number of connections before login from one source. Default 20.
    pub max_unauthenticated_per_source: u32,
    /// Share of [`max_unauthenticated`](Self::max_unauthenticated), in percent, from which the gate
    /// rejects new connections at random, so that most of the rejected connections belong to a
    /// flood. Default 50.
    pub early_drop_from: u8,
    /// Probability of a rejection at the share [`early_drop_from`](Self::early_drop_from), in
    /// percent; it grows to 100 at the maximum. Default 30.
    pub early_drop_chance: u8,
    /// Maximum number of connections after login from one source. Default 500, because the users of
    /// an office share an address.
    pub max_authenticated_per_source: u32,
    /// Rate of new connections from one source. Default 30 per 10 s, burst 60.
    pub connection_rate_per_source: Rate,
    /// Exempts connections from this machine from the limits per source and from penalties, because
    /// local programs have other ways to disturb the server. Set it to false behind a proxy on the
    /// same machine that hides the addresses of clients. Default true.
    pub exempt_loopback: bool,
    /// Penalties for misbehaviour of a source.
    pub penalties: PenaltyOptions,
    /// Maximum number of entries in each of four tables of sources: rates, penalties for
    /// connections, penalties for logins, and sources of successful logins. An entry takes about 60
    /// bytes. Default 65 536.
    pub max_table_entries: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_unauthenticated: 1000,
            max_unauthenticated_per_source: 20,
            early_drop_from: 50,
            early_drop_chance: 30,
            max_authenticated_per_source: 500,
            connection_rate_per_source: Rate::new(30, Duration::from_secs(10)).with_burst(60),
            exempt_loopback: true,
            penalties: PenaltyOptions::default(),
            max_table_entries: 65_536,
        }
    }
}

impl ConnectionLimits {
    /// Returns limits that never apply, for tests and benchmarks of other code.
    #[must_use]
    pub fn danger_unlimited() -> Self {
        Self {
            max_unauthenticated: u32::MAX,
            max_unauthenticated_per_source: u32::MAX,
            early_drop_from: 100,
            early_drop_chance: 0,
            max_authenticated_per_source: u32::MAX,
            connection_rate_per_source: Rate::UNLIMITED,
            penalties: PenaltyOptions::danger_none(),
            ..Self::default()
        }
    }
}
