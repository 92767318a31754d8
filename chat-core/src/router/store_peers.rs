//! The other nodes on the same store, as the store lists them. A node needs the store to commit, so
//! every node that commits is in this list soon after its start, even if every other connection
//! between the nodes is down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::NodeId;
use crate::sync::Mutex;

/// Nodes that the store has listed recently. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorePeers {
    /// Each node with the time at which the store last listed it.
    listed: Arc<Mutex<HashMap<NodeId, Instant>>>,
}

impl StorePeers {
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.listed.lock().keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.lock().is_empty()
    }

    /// Records the nodes that the store lists. Returns whether one of them is new. A node that is
    /// no longer listed is kept for `keep`, because after an outage of the store, the nodes send
    /// their next heartbeats at different times.
    pub(crate) fn record(&self, nodes: &[NodeId], keep: Duration) -> bool {
        let now = Instant::now();
        let mut listed = self.listed.lock();
        let mut has_new = false;
        for node in nodes {
            has_new |= listed.insert(*node, now).is_none();
        }
        listed.retain(|_, at| at.elapsed() <= keep);
        has_new
    }

    /// Records that the store did not answer. Every known node may still be alive, so it is kept as
    /// if the store had listed it now.
    pub(crate) fn record_no_answer(&self) {
        let now = Instant::now();
        self.listed.lock().values_mut().for_each(|at| *at = now);
    }
}
