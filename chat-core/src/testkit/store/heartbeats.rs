//! Nodes that say in the store that they live.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::NodeId;
use crate::store::Store;

async fn others(store: &dyn Store, node: NodeId) -> BTreeSet<NodeId> {
    let others = store.heartbeat(node).await.unwrap().peers;
    let distinct: BTreeSet<NodeId> = others.iter().copied().collect();
    assert_eq!(distinct.len(), others.len(), "each is named once");
    assert!(!distinct.contains(&node), "who asks is not among the others");
    distinct
}

/// A store of one process may know of nobody; then it never does.
pub async fn nodes_see_each_other_or_nobody_does(store: Arc<dyn Store>) {
    let [a, b, c] = [(); 3].map(|()| NodeId::random());
    assert!(others(&*store, a).await.is_empty());
    let seen_by_b = others(&*store, b).await;
    if seen_by_b.is_empty() {
        for node in [c, a, b] {
            assert!(others(&*store, node).await.is_empty());
        }
        return;
    }
    assert_eq!(seen_by_b, BTreeSet::from([a]));
    assert_eq!(others(&*store, c).await, BTreeSet::from([a, b]));
    assert_eq!(others(&*store, a).await, BTreeSet::from([b, c]));
}

pub async fn beating_again_changes_nothing(store: Arc<dyn Store>) {
    let [a, b] = [(); 2].map(|()| NodeId::random());
    let first = (others(&*store, a).await, others(&*store, b).await);
    for _ in 0..10 {
        others(&*store, a).await;
    }
    assert_eq!(others(&*store, b).await, first.1);
    assert!(first.0.is_empty());
}

pub async fn a_clock_of_its_own_goes_forward(store: Arc<dyn Store>) {
    let node = NodeId::random();
    let mut last = store.heartbeat(node).await.unwrap().time;
    for _ in 0..10 {
        let time = store.heartbeat(node).await.unwrap().time;
        assert_eq!(time.is_some(), last.is_some(), "it has one or it has none");
        assert!(time >= last, "{time:?} after {last:?}");
        last = time;
    }
}
