//! Tunables of the router.

use std::time::Duration;

/// Intervals and bounds of the router. The defaults repair a lost doorbell within 3 s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// How often a node says that it is there, and repeats what it rang. Default 1 s.
    pub heartbeat_interval: Duration,
    /// How long a doorbell is repeated, and after which silence, of others or of the own beacon, a node looks for itself.
    /// Default 3 s.
    pub peer_timeout: Duration,
    /// How often a node says in the store that it is there, and asks who else is. Nodes that are, but are not heard, make it look
    /// for itself. Default 2 s: with a look each second, what they commit is found within 3 s.
    pub store_heartbeat_interval: Duration,
    /// How often a node compares everything it follows with the store, in any case. Default 30 s, give or take a third.
    pub sweep_interval: Duration,
    /// How often it does while the bus is dead, and the least time between two looks at everything. Default 1 s.
    pub poll_interval: Duration,
    /// Wait before a read of the store that failed is tried again; doubles up to ten times of this. Default 100 ms.
    pub retry_interval: Duration,
    /// After which a read of the store is given up and tried again. Default 5 s.
    pub read_timeout: Duration,
    /// After which the bus is taken to be unavailable when it does not answer. A session that begins waits no longer for
    /// it than that. Default 1 s.
    pub bus_timeout: Duration,
    /// Events read at once to fill a gap. Default 256.
    pub catch_up_page: u32,
    /// Users a second whose conversations and logins are read again after the bus lost something. Bounds what that costs the
    /// store: two reads a user. Default 100.
    pub user_rechecks_per_second: u32,
    /// Envelopes that wait to be published; more are left to the beacon, which has a queue of its own. Default 4096.
    pub max_queued_envelopes: usize,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(1),
            peer_timeout: Duration::from_secs(3),
            store_heartbeat_interval: Duration::from_secs(2),
            sweep_interval: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            retry_interval: Duration::from_millis(100),
            read_timeout: Duration::from_secs(5),
            bus_timeout: Duration::from_secs(1),
            catch_up_page: 256,
            user_rechecks_per_second: 100,
            max_queued_envelopes: 4096,
        }
    }
}

impl RouterConfig {
    /// How much a beacon's number may exceed that of the last one heard without a doorbell being lost: a doorbell that was rung
    /// right after the last one heard is repeated until `peer_timeout` has passed, so one beacon less than fit into it.
    pub(super) fn spare_beacons(&self) -> u64 {
        let interval = self.heartbeat_interval.as_millis().max(1);
        u64::try_from(self.peer_timeout.as_millis() / interval)
            .unwrap_or(u64::MAX)
            .saturating_sub(1)
            .max(1)
    }
}
