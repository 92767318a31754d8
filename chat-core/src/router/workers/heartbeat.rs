//! Heartbeats on the bus. Each node publishes one a second by default, which repeats its recent
//! announcements. A node that does not receive its own heartbeats, or those of another node, polls
//! the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::bus::Topic;
use crate::model::ConversationId;
use crate::panics;
use crate::router::announcements::RecentAnnouncements;
use crate::router::envelope::EnvelopeCodec;
use crate::router::other_nodes::OtherNodes;
use crate::router::peer_monitor::{BusHealth, PeerMonitor};
use crate::router::publish_queue::PublishQueue;
use crate::router::registry::Registry;
use crate::router::sweep_request::SweepRequest;
use crate::router::work_set::WorkSet;

/// Worker that publishes heartbeats and derives the health of the bus from received ones. It does
/// no other work that could delay it, because the other nodes poll the store while a node's
/// heartbeats are missing. Without a bus, it only makes this node poll the store while the store
/// lists other nodes.
#[derive(Debug)]
pub(crate) struct HeartbeatWorker {
    pub(crate) interval: Duration,
    pub(crate) others: OtherNodes,
    /// `None` without a bus.
    pub(crate) bus: Option<BusParts>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) compare: WorkSet<ConversationId>,
    pub(crate) sweep: SweepRequest,
}

/// The parts of the worker that exist only with a bus.
#[derive(Debug)]
pub(crate) struct BusParts {
    pub(crate) codec: EnvelopeCodec,
    pub(crate) recent: RecentAnnouncements,
    /// Separate queue for heartbeats, so that no other envelope delays them.
    pub(crate) queue: PublishQueue,
    pub(crate) monitor: Arc<PeerMonitor>,
}

impl HeartbeatWorker {
    pub(crate) async fn run(self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = BusHealth::default();
        for number in 1_u64.. {
            ticks.tick().await;
            let beat = async { self.beat(number, last) };
            last = panics::step("heartbeat", beat).await.unwrap_or(last);
        }
    }

    /// Publishes a heartbeat, if there is a bus. Requests a sweep if heartbeats are missing. If a
    /// heartbeat is only late, queues the conversations that sessions on this node follow for
    /// comparison with the store. Returns the health of the bus. Logs it if `own_missing`,
    /// `peer_unseen` or `peer_isolated` has changed since `last`.
    fn beat(&self, number: u64, last: BusHealth) -> BusHealth {
        let health = self.publish(number);
        let reported = |health: BusHealth| (health.own_missing, health.peer_unseen, health.peer_isolated);
        if reported(health) != reported(last) {
            self.log_health(health);
        }
        if health.own_missing || health.peer_unseen || health.peer_lost {
            self.sweep.request();
        } else if health.peer_late {
            self.compare.add_all(self.registry.conversations());
        }
        health
    }

    /// Publishes a heartbeat if there is a bus. Returns the health of the bus.
    fn publish(&self, number: u64) -> BusHealth {
        let others = self.others.ids();
        match &self.bus {
            Some(bus) => {
                for content in bus.recent.heartbeat(number) {
                    bus.queue.send(Topic::Control, bus.codec.encode(content));
                }
                bus.monitor.health(&others)
            }
            // Without a bus, no heartbeat can arrive.
            None => BusHealth {
                peer_unseen: !others.is_empty(),
                ..BusHealth::default()
            },
        }
    }

    fn log_health(&self, health: BusHealth) {
        match (health.own_missing, health.peer_unseen, &self.bus) {
            (true, ..) => {
                tracing::warn!("this node does not receive its own heartbeats from the bus; polling the store")
            }
            (_, true, Some(_)) if health.peer_isolated => {
                tracing::warn!("the heartbeats of another node do not arrive on the bus; polling the store")
            }
            (_, true, Some(_)) => {
                tracing::info!("another node has probably stopped; polling the store until it is no longer listed")
            }
            (_, true, None) => tracing::warn!("another node uses this store, and there is no bus; polling the store"),
            (false, false, Some(_)) => tracing::info!("the heartbeats of all listed nodes arrive on the bus again"),
            (false, false, None) => tracing::info!("no other node uses this store any more"),
        }
    }
}
