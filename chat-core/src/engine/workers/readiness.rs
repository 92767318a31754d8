//! Readiness of the node: whether it can serve new sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::advertise::NodeAdvertiser;
use super::router_ports::HeartbeatStatus;
use crate::panics;
use crate::service::Readiness;
use crate::store::Store;

/// Pause between probes of the store, and timeout of each probe. A node whose store is
/// unavailable keeps its sessions but cannot start new ones. It notices the outage within twice
/// this time, and then publishes in discovery that it takes no sessions.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Pause between probes while the store is unavailable.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Number of consecutive answered probes after which the store counts as available again.
const MIN_ANSWERS: u32 = 2;

/// Readiness of this node, as last observed.
#[derive(Debug)]
pub(in crate::engine) struct ReadinessState {
    heartbeats: Arc<dyn HeartbeatStatus>,
    advertiser: Option<Arc<NodeAdvertiser>>,
    store_is_unavailable: AtomicBool,
    /// Number of this node's listeners that are closed because the node was not ready.
    closed_listeners: AtomicU32,
}

impl ReadinessState {
    pub(in crate::engine) fn new(
        heartbeats: Arc<dyn HeartbeatStatus>,
        advertiser: Option<Arc<NodeAdvertiser>>,
    ) -> Self {
        Self {
            heartbeats,
            advertiser,
            store_is_unavailable: AtomicBool::new(false),
            closed_listeners: AtomicU32::new(0),
        }
    }

    /// Returns the advertiser of this node, or `None` if the engine has no discovery.
    pub(in crate::engine) fn advertiser(&self) -> Option<&NodeAdvertiser> {
        self.advertiser.as_deref()
    }

    pub(in crate::engine) fn readiness(&self) -> Readiness {
        let advertiser = self.advertiser.as_deref();
        Readiness {
            store_answers: !self.store_is_unavailable.load(Ordering::Relaxed),
            clock_is_right: !self.heartbeats.is_clock_wrong(),
            another_node_accepts_sessions: advertiser
                .and_then(NodeAdvertiser::another_node_accepts_sessions)
                .unwrap_or_else(|| self.heartbeats.has_peers()),
        }
    }

    /// Returns whether the node is ready and none of its listeners is closed. If so, clients should
    /// choose this node, unless it drains.
    pub(in crate::engine) fn accepts_sessions(&self) -> bool {
        self.readiness().is_ready() && self.closed_listeners.load(Ordering::Relaxed) == 0
    }

    pub(in crate::engine) fn listener_closed(&self) {
        self.closed_listeners.fetch_add(1, Ordering::Relaxed);
        self.changed();
    }

    pub(in crate::engine) fn listener_opened(&self) {
        self.closed_listeners.fetch_sub(1, Ordering::Relaxed);
        self.changed();
    }

    /// Makes the advertiser update this node's entry in discovery.
    fn changed(&self) {
        if let Some(advertiser) = &self.advertiser {
            advertiser.request_update();
        }
    }
}

/// Decides from probes whether the store is available: it becomes unavailable after one missed
/// answer, and available again after [`MIN_ANSWERS`] answers in a row.
#[derive(Debug, Default)]
struct StoreProbes {
    is_unavailable: bool,
    /// Number of consecutive answered probes.
    answers: u32,
}

impl StoreProbes {
    fn interval(&self) -> Duration {
        if self.is_unavailable {
            RETRY_INTERVAL
        } else {
            PROBE_INTERVAL
        }
    }

    /// Records a probe. Returns whether the store's availability changed.
    fn record(&mut self, answered: bool) -> bool {
        self.answers = if answered { self.answers.saturating_add(1) } else { 0 };
        let was_unavailable = self.is_unavailable;
        self.is_unavailable = if was_unavailable {
            self.answers < MIN_ANSWERS
        } else {
            !answered
        };
        self.is_unavailable != was_unavailable
    }
}

/// Worker that probes the store, and has the node's entry in discovery updated when the node starts
/// or stops taking sessions.
#[derive(Debug)]
pub(in crate::engine) struct ReadinessWorker {
    store: Arc<dyn Store>,
    state: Arc<ReadinessState>,
    probes: StoreProbes,
}

impl ReadinessWorker {
    pub(in crate::engine) fn new(store: Arc<dyn Store>, state: Arc<ReadinessState>) -> Self {
        Self {
            store,
            state,
            probes: StoreProbes::default(),
        }
    }

    /// Runs until the engine drains.
    pub(in crate::engine) async fn run(mut self, draining: CancellationToken) {
        draining.run_until_cancelled(self.probe_forever()).await;
    }

    async fn probe_forever(&mut self) {
        let mut accepted_sessions = true;
        loop {
            sleep(self.probes.interval()).await;
            let ping = panics::step("readiness", timeout(PROBE_INTERVAL, self.store.ping())).await;
            if self.probes.record(matches!(ping, Some(Ok(Ok(_))))) {
                let is_unavailable = self.probes.is_unavailable;
                self.state.store_is_unavailable.store(is_unavailable, Ordering::Relaxed);
                if is_unavailable {
                    tracing::warn!("the store does not answer; this node cannot start new sessions");
                } else {
                    tracing::info!("the store answers again");
                }
            }
            // Whether the node accepts sessions also depends on the clock and on its listeners.
            let accepts_sessions = self.state.accepts_sessions();
            if accepts_sessions != accepted_sessions {
                accepted_sessions = accepts_sessions;
                self.state.changed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_is_unavailable_from_one_missed_probe_to_two_answers() {
        let mut probes = StoreProbes::default();
        assert!(!probes.record(true) && !probes.is_unavailable);
        assert!(probes.record(false) && probes.is_unavailable);
        assert_eq!(probes.interval(), RETRY_INTERVAL);
        assert!(!probes.record(true) && probes.is_unavailable);
        assert!(!probes.record(false) && probes.is_unavailable);
        assert!(!probes.record(true) && probes.is_unavailable);
        assert!(probes.record(true) && !probes.is_unavailable);
        assert_eq!(probes.interval(), PROBE_INTERVAL);
    }
}
