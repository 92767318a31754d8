//! Tunables of the router.

use std::time::Duration;

/// Intervals and bounds of the router. The defaults repair a lost doorbell within 3 s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// How often a node says that it is there, and repeats what it rang. Default 1 s.
    pub beacon_interval: Duration,
    /// How long a doorbell is repeated, and after which silence, of others or of the own beacon, a node looks for itself.
    /// Default 3 s.
    pub silence: Duration,
    /// How often a node compares everything it follows with the store, in any case. Default 30 s, give or take a third.
    pub sweep_interval: Duration,
    /// How often it does while the bus is dead. Default 1 s.
    pub poll_interval: Duration,
    /// Wait before a read of the store that failed is tried again; doubles up to ten times of this. Default 100 ms.
    pub retry_interval: Duration,
    /// Events read at once to fill a gap. Default 256.
    pub repair_page: u32,
    /// Envelopes that wait to be published; more are left to the beacon. Default 4096.
    pub publish_queue: usize,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            beacon_interval: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            sweep_interval: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            retry_interval: Duration::from_millis(100),
            repair_page: 256,
            publish_queue: 4096,
        }
    }
}
