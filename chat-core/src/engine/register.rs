//! Keeping the cluster's discovery up to date about this node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::core::Core;
use crate::cluster::{ClusterError, Discovery, NodeInfo, Nodes};
use crate::model::UserId;

/// How often the load is told.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often the store is asked for a sign of life, and how long it has for that. A node without a store keeps its sessions, and is of no use
/// to new ones: within twice this the others know.
const PROBE: Duration = Duration::from_secs(2);

/// What this node tells of itself, and what it is told of the others.
#[derive(Debug)]
pub(super) struct Registration {
    discovery: Arc<dyn Discovery>,
    me: Mutex<NodeInfo>,
    changed: Notify,
    nodes: watch::Receiver<Nodes>,
}

impl Registration {
    pub(super) async fn begin(discovery: Arc<dyn Discovery>, me: NodeInfo) -> Result<Arc<Self>, ClusterError> {
        let nodes = discovery.join(me.clone()).await?;
        Ok(Arc::new(Self {
            discovery,
            me: Mutex::new(me),
            changed: Notify::new(),
            nodes,
        }))
    }

    /// Changes what is told.
    pub(super) fn change(&self, change: impl FnOnce(&mut NodeInfo)) {
        change(&mut self.me.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// The nodes there are.
    pub(super) fn nodes(&self) -> Nodes {
        self.nodes.borrow().clone()
    }

    /// The same, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Nodes> {
        self.nodes.clone()
    }

    async fn tell(&self, takes_nobody: bool) {
        let mut me = self.me.lock().unwrap_or_else(PoisonError::into_inner).clone();
        me.draining |= takes_nobody;
        if let Err(error) = self.discovery.update(me).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot tell the cluster of this node"
            );
        }
    }
}

/// Tells the cluster of this node until the engine drains; then withdraws it.
pub(super) async fn run(core: Arc<Core>, registration: Arc<Registration>) {
    tokio::select! {
        () = tell_until_drained(&core, &registration) => {}
        () = watch_store(&core, &registration) => {}
    }
    let id = registration.me.lock().unwrap_or_else(PoisonError::into_inner).id;
    if let Err(error) = registration.discovery.leave(id).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot withdraw this node from the cluster"
        );
    }
}

/// What is being told is told to the end: it must not arrive after the withdrawal.
async fn tell_until_drained(core: &Core, registration: &Registration) {
    loop {
        tokio::select! {
            () = core.draining.cancelled() => return,
            () = registration.changed.notified() => {}
            () = sleep(INTERVAL) => {}
        }
        let sessions = u32::try_from(core.router.stats().sessions).unwrap_or(u32::MAX);
        registration.me.lock().unwrap_or_else(PoisonError::into_inner).sessions = sessions;
        registration.tell(core.router.is_clock_wrong()).await;
    }
}

/// Takes no new sessions while the store does not answer, as far as those listen who choose a node.
async fn watch_store(core: &Core, registration: &Registration) {
    let mut answers = true;
    loop {
        sleep(PROBE).await;
        // Whether there is such an account does not matter.
        let asked = timeout(PROBE, core.store.account(UserId(1))).await;
        let answered = matches!(asked, Ok(Ok(_)));
        if answered != answers {
            answers = answered;
            registration.change(|me| me.draining = !answers);
            if answers {
                tracing::info!("the store answers again; this node takes new sessions");
            } else {
                tracing::warn!("the store does not answer; this node asks for no new sessions");
            }
        }
    }
}
