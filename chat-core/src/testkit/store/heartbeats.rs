//! Cases about heartbeats of nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::NodeId;
use crate::store::Store;

/// Sends a heartbeat of `node`, and returns the other nodes that the store reports.
async fn peers(store: &dyn Store, node: NodeId) -> BTreeSet<NodeId> {
    let peers = store.heartbeat(node).await.unwrap().peers;
    let distinct: BTreeSet<NodeId> = peers.iter().copied().collect();
    assert_eq!(distinct.len(), peers.len(), "each peer is listed once");
    assert!(!distinct.contains(&node), "a node is not its own peer");
    distinct
}

/// A store for a single process may return no peers, but then it must never return any.
pub async fn heartbeats_return_all_peers_or_none(store: Arc<dyn Store>) {
    let [a, b, c] = [(); 3].map(|()| NodeId::random());
    assert!(peers(&*store, a).await.is_empty());
    let seen_by_b = peers(&*store, b).await;
    if seen_by_b.is_empty() {
        for node in [c, a, b] {
            assert!(peers(&*store, node).await.is_empty());
        }
        return;
    }
    assert_eq!(seen_by_b, BTreeSet::from([a]));
    assert_eq!(peers(&*store, c).await, BTreeSet::from([a, b]));
    assert_eq!(peers(&*store, a).await, BTreeSet::from([b, c]));
}

pub async fn repeated_heartbeat_changes_nothing(store: Arc<dyn Store>) {
    let [a, b] = [(); 2].map(|()| NodeId::random());
    let first = (peers(&*store, a).await, peers(&*store, b).await);
    for _ in 0..10 {
        peers(&*store, a).await;
    }
    assert_eq!(peers(&*store, b).await, first.1);
    assert!(first.0.is_empty());
}

pub async fn store_clock_never_goes_backwards(store: Arc<dyn Store>) {
    let node = NodeId::random();
    let mut last = store.heartbeat(node).await.unwrap().time;
    for _ in 0..10 {
        let time = store.heartbeat(node).await.unwrap().time;
        assert_eq!(
            time.is_some(),
            last.is_some(),
            "a store either always or never has a clock"
        );
        assert!(time >= last, "{time:?} after {last:?}");
        last = time;
    }
}
