//! Conformance cases of [`Discovery`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::{Discovery, NodeInfo, Nodes};
use crate::model::NodeId;

/// Maximum time until a change is visible in a view.
const VIEW_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the info of the node with this number. Its incarnation leaves room for older ones.
fn node(number: u8) -> NodeInfo {
    NodeInfo {
        id: NodeId([number; 16]),
        incarnation: 100,
        addresses: vec![format!("sc1://127.0.0.1:{number}")],
        sessions: 0,
        accepts_no_sessions: false,
    }
}

/// Waits until a view (the list of nodes that [`Discovery::join`] returns) contains exactly these
/// nodes, in any order. Panics if that takes longer than [`VIEW_TIMEOUT`].
async fn wait_for_view(view: &mut watch::Receiver<Nodes>, expected: &[NodeInfo]) {
    let is_expected = |nodes: &Nodes| {
        let mut nodes = nodes.to_vec();
        let mut expected = expected.to_vec();
        nodes.sort_by_key(|node| node.id);
        expected.sort_by_key(|node| node.id);
        nodes == expected
    };
    let waited = timeout(VIEW_TIMEOUT, view.wait_for(is_expected))
        .await
        .map(|result| result.map(drop));
    match waited {
        Ok(Ok(())) => {}
        _ => panic!("expected {expected:?}, the view is {:?}", view.borrow()),
    }
}

pub async fn node_sees_itself(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    wait_for_view(&mut view, &[node(1)]).await;
}

pub async fn node_info_arrives_complete(discovery: Arc<dyn Discovery>) {
    let other = NodeInfo {
        id: NodeId([0xfe; 16]),
        incarnation: u64::MAX >> 1,
        addresses: vec![
            "sc1://[::1]:7400".to_owned(),
            "tls://例え.example:443".to_owned(),
            String::new(),
        ],
        sessions: u32::MAX,
        accepts_no_sessions: true,
    };
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(other.clone()).await.unwrap();
    wait_for_view(&mut view, &[node(1), other]).await;
}

pub async fn nodes_see_each_other(discovery: Arc<dyn Discovery>) {
    let mut one = discovery.join(node(1)).await.unwrap();
    let mut other = discovery.join(node(2)).await.unwrap();
    wait_for_view(&mut one, &[node(1), node(2)]).await;
    wait_for_view(&mut other, &[node(1), node(2)]).await;
}

pub async fn view_is_complete(discovery: Arc<dyn Discovery>) {
    let mut first = discovery.join(node(1)).await.unwrap();
    for number in 2..=5 {
        discovery.join(node(number)).await.unwrap();
    }
    let all: Vec<_> = (1..=6).map(node).collect();
    let mut late = discovery.join(node(6)).await.unwrap();
    wait_for_view(&mut late, &all).await;
    wait_for_view(&mut first, &all).await;
}

pub async fn leave_removes_the_node(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    wait_for_view(&mut view, &[node(1), node(2)]).await;
    discovery.leave(node(2).id).await.unwrap();
    wait_for_view(&mut view, &[node(1)]).await;
    discovery.leave(node(2).id).await.unwrap();
    wait_for_view(&mut view, &[node(1)]).await;
}

pub async fn leave_needs_no_join(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.leave(node(9).id).await.unwrap();
    wait_for_view(&mut view, &[node(1)]).await;
}

pub async fn update_replaces_the_info(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    for sessions in [1, 1000, 0] {
        let update = NodeInfo {
            sessions,
            addresses: vec!["sc1://elsewhere:1".to_owned()],
            accepts_no_sessions: sessions == 0,
            ..node(2)
        };
        discovery.update(update.clone()).await.unwrap();
        wait_for_view(&mut view, &[node(1), update]).await;
    }
}

pub async fn join_is_idempotent(discovery: Arc<dyn Discovery>) {
    discovery.join(node(1)).await.unwrap();
    let mut view = discovery.join(node(1)).await.unwrap();
    wait_for_view(&mut view, &[node(1)]).await;
}

pub async fn newer_incarnation_replaces_the_older(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    let restarted = NodeInfo {
        incarnation: 101,
        ..node(2)
    };
    discovery.join(restarted.clone()).await.unwrap();
    wait_for_view(&mut view, &[node(1), restarted]).await;
}

pub async fn older_incarnation_changes_nothing(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    let older = NodeInfo {
        incarnation: 99,
        sessions: 13,
        ..node(2)
    };
    discovery.update(older).await.unwrap();
    discovery.join(node(3)).await.unwrap();
    wait_for_view(&mut view, &[node(1), node(2), node(3)]).await;
}

pub async fn node_rejoins_after_leaving(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    for incarnation in 100..103 {
        let returned = NodeInfo { incarnation, ..node(2) };
        discovery.join(returned.clone()).await.unwrap();
        wait_for_view(&mut view, &[node(1), returned]).await;
        discovery.leave(node(2).id).await.unwrap();
        wait_for_view(&mut view, &[node(1)]).await;
    }
}

pub async fn dropped_view_removes_no_node(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    drop(discovery.join(node(2)).await.unwrap());
    discovery.join(node(3)).await.unwrap();
    wait_for_view(&mut view, &[node(1), node(2), node(3)]).await;
}

pub async fn concurrent_joins_and_leaves_lose_nothing(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    let tasks = (2..40).map(|number| {
        let discovery = Arc::clone(&discovery);
        tokio::spawn(async move {
            discovery.join(node(number)).await.unwrap();
            if number % 2 == 0 {
                discovery.leave(node(number).id).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let stayed: Vec<_> = (1..40).filter(|number| number % 2 == 1).map(node).collect();
    wait_for_view(&mut view, &stayed).await;
}
