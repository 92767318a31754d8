//! [`ConnectionGate`]: who may connect at all, before a byte has been read.

mod gate;
mod penalties;
#[cfg(test)]
mod tests;

pub use gate::{ConnectionGate, ConnectionPermit, GateStats, Refusal};
pub use penalties::{Offence, PenaltyOptions};

use std::time::Duration;

use crate::rate::Rate;

/// How many connections a node takes from strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections before login, on the node; up to 4 KiB each. Default 1000.
    pub unauthenticated: u32,
    /// Connections before login, of one source. Default 20.
    pub unauthenticated_per_source: u32,
    /// From this share of [`unauthenticated`](Self::unauthenticated) on, new connections are refused at random, so that a
    /// flood hits itself more often than others. Percent, default 50.
    pub early_drop_from: u8,
    /// Chance of being refused at that point; it grows to 100 at the limit. Percent, default 30.
    pub early_drop_chance: u8,
    /// Connections after login, of one source. Default 500: whole offices share an address.
    pub authenticated_per_source: u32,
    /// New connections of one source. Default 30 per 10 s, burst 60.
    pub new_per_source: Rate,
    /// Connections from this machine are not limited by source: whoever is on it has better ways to disturb the server, and people
    /// try things out there. Set it to false behind a proxy on the same machine that hides where clients come from. Default true.
    pub exempt_loopback: bool,
    /// How misbehaviour keeps a source out.
    pub penalties: PenaltyOptions,
    /// Sources remembered for rate and penalties, each by itself; about 60 bytes each. Default 65 536.
    pub table_entries: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            unauthenticated: 1000,
            unauthenticated_per_source: 20,
            early_drop_from: 50,
            early_drop_chance: 30,
            authenticated_per_source: 500,
            new_per_source: Rate::new(30, Duration::from_secs(10)).with_burst(60),
            exempt_loopback: true,
            penalties: PenaltyOptions::default(),
            table_entries: 65_536,
        }
    }
}

impl ConnectionLimits {
    /// No limits, for tests and benchmarks of other things.
    #[must_use]
    pub fn danger_unlimited() -> Self {
        Self {
            unauthenticated: u32::MAX,
            unauthenticated_per_source: u32::MAX,
            early_drop_from: 100,
            early_drop_chance: 0,
            authenticated_per_source: u32::MAX,
            new_per_source: Rate::UNLIMITED,
            penalties: PenaltyOptions::danger_none(),
            ..Self::default()
        }
    }
}
