//! Heartbeats to the store, which answers with the list of other nodes and its time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::model::NodeId;
use crate::panics;
use crate::router::clock_skew::{ClockSkew, ClockStatus};
use crate::router::event_log::EventLog;
use crate::router::store_peers::StorePeers;
use crate::router::sweep_request::SweepRequest;
use crate::store::StoreError;
use crate::time::now;

/// Worker that reports to the store that this node is alive. From the answers, it learns which
/// other nodes are alive, and how far this node's clock is from the store's.
#[derive(Debug)]
pub(crate) struct StoreHeartbeat {
    pub(crate) node: NodeId,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interval: Duration,
    pub(crate) peers: StorePeers,
    pub(crate) clock_status: ClockStatus,
    pub(crate) sweep: SweepRequest,
}

impl StoreHeartbeat {
    pub(crate) async fn run(self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_failing = false;
        let mut skew = ClockSkew::Synchronised;
        loop {
            ticks.tick().await;
            match panics::contain(self.beat(skew)).await {
                Ok(latest) => {
                    is_failing = false;
                    skew = latest;
                }
                Err(error) => {
                    self.peers.record_no_answer();
                    if !is_failing {
                        is_failing = true;
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot ask the store which other nodes use it; retrying");
                    }
                }
            }
        }
    }

    async fn beat(&self, last: ClockSkew) -> Result<ClockSkew, StoreError> {
        let (asked, before) = (now(), self.clock.now());
        let answer = self.log.heartbeat(self.node).await?;
        if self.peers.record(&answer.peers, self.interval * 2) {
            // The new node may have committed before this node knew of it.
            self.sweep.request();
        }
        let Some(time) = answer.time else {
            return Ok(last);
        };
        let (skew, difference) = ClockSkew::between(before, self.clock.now(), time);
        self.clock_status.record_store_time(asked, time);
        skew.log_change(last, difference);
        self.clock_status.set(skew);
        Ok(skew)
    }
}
