//! Keeping the cluster's discovery up to date about this node.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::core::Core;
use crate::cluster::{ClusterError, Discovery, NodeInfo, Nodes};
use crate::sync::Mutex;

/// How often the load is told.
const INTERVAL: Duration = Duration::from_secs(5);

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
        change(&mut self.me.lock());
        self.has_changed();
    }

    /// What is told is out of date.
    pub(super) fn has_changed(&self) {
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

    /// Whether one of the others takes sessions; `None` if no others are known.
    pub(super) fn others_serve(&self) -> Option<bool> {
        let me = self.me.lock().id;
        let nodes = self.nodes();
        let mut others = nodes.iter().filter(|node| node.id != me).peekable();
        others.peek()?;
        Some(others.any(|node| !node.draining))
    }

    async fn tell(&self, takes_sessions: bool) {
        let mut me = self.me.lock().clone();
        me.draining |= !takes_sessions;
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
    tell_until_drained(&core, &registration).await;
    let id = registration.me.lock().id;
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
        registration.me.lock().sessions = sessions;
        registration.tell(core.takes_sessions()).await;
    }
}
