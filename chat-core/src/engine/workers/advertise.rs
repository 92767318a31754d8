//! Worker that keeps this node's entry in the cluster's discovery up to date.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::readiness::ReadinessState;
use super::router_ports::LocalSessions;
use crate::cluster::{ClusterError, Discovery, NodeInfo, Nodes};
use crate::panics;
use crate::sync::Mutex;

/// Maximum pause between two updates of the entry. Regular updates keep its number of sessions
/// recent.
const UPDATE_INTERVAL: Duration = Duration::from_secs(5);

/// This node's entry in the cluster's discovery, and the nodes that the discovery reports.
#[derive(Debug)]
pub(in crate::engine) struct NodeAdvertiser {
    discovery: Arc<dyn Discovery>,
    me: Mutex<NodeInfo>,
    changed: Notify,
    nodes: watch::Receiver<Nodes>,
}

impl NodeAdvertiser {
    /// Joins the cluster.
    ///
    /// # Errors
    /// [`Discovery::join`] failed. That of a backend which adds the node later, such as the Redis
    /// one, does not fail.
    pub(in crate::engine) async fn join(discovery: Arc<dyn Discovery>, me: NodeInfo) -> Result<Self, ClusterError> {
        let nodes = discovery.join(me.clone()).await?;
        Ok(Self {
            discovery,
            me: Mutex::new(me),
            changed: Notify::new(),
            nodes,
        })
    }

    /// Changes this node's entry, and requests that it is published.
    pub(in crate::engine) fn update(&self, change: impl FnOnce(&mut NodeInfo)) {
        change(&mut self.me.lock());
        self.request_update();
    }

    /// Requests that this node's entry is published, because the entry or the node's readiness may
    /// have changed.
    pub(in crate::engine) fn request_update(&self) {
        self.changed.notify_one();
    }

    /// Returns the nodes of the cluster, including this one, as the discovery reported them last.
    pub(in crate::engine) fn nodes(&self) -> Nodes {
        self.nodes.borrow().clone()
    }

    /// Returns a receiver that holds the newest list of the nodes of the cluster, and reports when
    /// the list has changed.
    pub(in crate::engine) fn watch(&self) -> watch::Receiver<Nodes> {
        self.nodes.clone()
    }

    /// Returns whether another node accepts sessions, or `None` if no other node is known.
    pub(in crate::engine) fn another_node_accepts_sessions(&self) -> Option<bool> {
        let me = self.me.lock().id;
        let nodes = self.nodes();
        let mut others = nodes.iter().filter(|node| node.id != me).peekable();
        others.peek()?;
        Some(others.any(|node| !node.accepts_no_sessions))
    }

    /// Publishes this node's entry with this number of sessions. Its `accepts_no_sessions` is also
    /// set if `accepts_sessions` is false. A failure is only logged.
    async fn publish(&self, sessions: usize, accepts_sessions: bool) {
        let me = {
            let mut me = self.me.lock();
            me.sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
            let mut me = me.clone();
            me.accepts_no_sessions |= !accepts_sessions;
            me
        };
        if let Err(error) = self.discovery.update(me).await {
            tracing::warn!(
                error = &error as &dyn Error,
                "cannot advertise this node in the cluster; trying again in at most 5 s"
            );
        }
    }

    async fn leave(&self) {
        let me = self.me.lock().id;
        if let Err(error) = self.discovery.leave(me).await {
            tracing::warn!(
                error = &error as &dyn Error,
                "cannot withdraw this node from the cluster; other nodes may list it for a while"
            );
        }
    }
}

/// Worker that advertises this node, and withdraws it when the engine drains.
#[derive(Debug)]
pub(in crate::engine) struct AdvertiseWorker {
    advertiser: Arc<NodeAdvertiser>,
    readiness: Arc<ReadinessState>,
    sessions: Arc<dyn LocalSessions>,
}

impl AdvertiseWorker {
    pub(in crate::engine) fn new(
        advertiser: Arc<NodeAdvertiser>,
        readiness: Arc<ReadinessState>,
        sessions: Arc<dyn LocalSessions>,
    ) -> Self {
        Self {
            advertiser,
            readiness,
            sessions,
        }
    }

    /// Runs until the engine drains. A running update is finished before the node is withdrawn, so
    /// that it does not arrive after the withdrawal.
    pub(in crate::engine) async fn run(self, draining: CancellationToken) {
        loop {
            tokio::select! {
                () = draining.cancelled() => break,
                () = self.advertiser.changed.notified() => {}
                () = sleep(UPDATE_INTERVAL) => {}
            }
            let publish = async {
                let sessions = self.sessions.count();
                self.advertiser
                    .publish(sessions, self.readiness.accepts_sessions())
                    .await;
            };
            panics::step("advertise", publish).await;
        }
        panics::step("advertise", self.advertiser.leave()).await;
    }
}
