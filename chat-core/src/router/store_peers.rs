//! The other nodes on the same store, as the store lists them. The store is the one place that two
//! nodes are sure to share: every other connection between them may be down while both still
//! commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::NodeId;
use crate::sync::Mutex;

/// Nodes that the store listed lately. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorePeers {
    listed: Arc<Mutex<HashMap<NodeId, Instant>>>,
}

impl StorePeers {
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.listed.lock().keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.lock().is_empty()
    }

    /// Records the store's answer. Returns whether it lists a new node. A node that is no longer
    /// listed is kept for `keep`, because after an outage of the store its nodes report one by one.
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

    /// Records that the store did not answer: every node that it listed may still be alive.
    pub(crate) fn record_no_answer(&self) {
        let now = Instant::now();
        self.listed.lock().values_mut().for_each(|at| *at = now);
    }
}
