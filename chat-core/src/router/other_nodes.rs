//! The other nodes that are listed as alive.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::store_peers::StorePeers;
use crate::cluster::Nodes;
use crate::model::NodeId;

/// The other nodes, as the store and the cluster's discovery list them. Clones share the lists.
#[derive(Clone, Debug)]
pub(crate) struct OtherNodes {
    own: NodeId,
    store_peers: StorePeers,
    discovered: Arc<OnceLock<watch::Receiver<Nodes>>>,
}

impl OtherNodes {
    pub(crate) fn new(own: NodeId, store_peers: StorePeers) -> Self {
        Self {
            own,
            store_peers,
            discovered: Arc::default(),
        }
    }

    /// Sets the list of nodes that the cluster's discovery keeps. Only the first call has an
    /// effect.
    pub(crate) fn watch(&self, nodes: watch::Receiver<Nodes>) {
        // `set` fails if a list was set before.
        let _ = self.discovered.set(nodes);
    }

    /// Returns the nodes that the store or the discovery lists, without this node.
    pub(crate) fn ids(&self) -> HashSet<NodeId> {
        let mut ids: HashSet<NodeId> = self.store_peers.nodes().into_iter().collect();
        if let Some(nodes) = self.discovered.get() {
            ids.extend(nodes.borrow().iter().map(|node| node.id));
        }
        ids.remove(&self.own);
        ids
    }
}
