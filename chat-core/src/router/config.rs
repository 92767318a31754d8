//! Configuration of the router.

use std::time::Duration;

use crate::rate::Rate;

/// Intervals and bounds of the router. With the defaults, a node recovers from a lost doorbell
/// within 3 s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterConfig {
    /// Interval between the heartbeats that this node publishes on the bus. Each repeats the node's
    /// recent announcements. Default 1 s.
    pub heartbeat_interval: Duration,
    /// Time for which announcements are repeated. A peer counts as lost after this time without a
    /// heartbeat. If the node's own heartbeats do not return for this time, the node polls the
    /// store. Default 3 s.
    pub peer_timeout: Duration,
    /// Interval between heartbeats to the store, which answers with the other nodes that use it.
    /// While the heartbeats of one of these nodes do not arrive on the bus, this node polls the
    /// store. Default 2 s: together with `poll_interval`, commits of a node that is not on the bus
    /// are found within 3 s.
    pub store_heartbeat_interval: Duration,
    /// Average interval between sweeps, in which the node compares every conversation and user that
    /// it serves with the store. Each interval varies randomly by up to a third. Sweeps that follow
    /// each other at `poll_interval` compare only the users whose change the store has recorded,
    /// and all users only once in this interval. Without a bus and without other nodes, a sweep
    /// that was not requested compares all users only every tenth time. Default 30 s.
    pub sweep_interval: Duration,
    /// Minimum interval between sweeps, and so the interval between them while the node polls the
    /// store: while the bus loses messages, or there are other nodes but no bus. Also the interval
    /// between checks of commits that the store did not confirm, and the
    /// [`retry_interval`](Self::retry_interval) of calls to the presence service. Default 1 s.
    pub poll_interval: Duration,
    /// Delay before a failed read of the store, or a failed change of a bus subscription, is
    /// retried. Doubles with each failure, up to ten times this value. Default 100 ms.
    pub retry_interval: Duration,
    /// Timeout of one read of the store by the router's workers, which retry a read that timed out.
    /// Default 5 s.
    pub read_timeout: Duration,
    /// Timeout of one call to the bus or to the presence service. It is also the longest time for
    /// which a starting session waits for the node's subscription to the user's topic. Default 1 s.
    pub bus_timeout: Duration,
    /// Maximum number of events in one read that fills a gap. Default 256.
    pub max_catch_up_events: u32,
    /// Maximum size of the event bodies in one read that fills a gap, in bytes. Default 1 MiB. A
    /// larger single event is still read.
    pub max_catch_up_bytes: u32,
    /// Maximum rate at which the memberships and logins of users are read again, in sweeps and
    /// after announcements may have been lost. It does not apply to users whose change the store
    /// has recorded. Each user costs at least two reads of the store. The burst of the rate is
    /// ignored, and a `count` of 0 counts as 1. Default 100 users per second.
    pub user_recheck_rate: Rate,
    /// Maximum number of envelopes that wait to be published. Further envelopes are dropped:
    /// heartbeats, which have a separate queue, repeat the announcements in them, and notices may
    /// be lost. Default 4096.
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
            max_catch_up_events: 256,
            max_catch_up_bytes: 1024 * 1024,
            user_recheck_rate: Rate::new(100, Duration::from_secs(1)),
            max_queued_envelopes: 4096,
        }
    }
}

impl RouterConfig {
    /// Returns the minimum number of consecutive heartbeats that repeat an announcement. An
    /// announcement is repeated until `peer_timeout` has passed. The heartbeat at the end of that
    /// time may come too late, so the result is one less than the number of heartbeat intervals in
    /// that time, but at least 1.
    pub(crate) fn min_heartbeat_repeats(&self) -> u64 {
        let interval = self.heartbeat_interval.as_millis().max(1);
        u64::try_from(self.peer_timeout.as_millis() / interval)
            .unwrap_or(u64::MAX)
            .saturating_sub(1)
            .max(1)
    }
}
