//! Nodes find each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::{Discovery, NodeInfo, Nodes};
use crate::model::NodeId;

/// More than a view takes to change.
const PATIENCE: Duration = Duration::from_secs(30);

fn node(number: u8) -> NodeInfo {
    NodeInfo {
        id: NodeId([number; 16]),
        incarnation: 100,
        addresses: vec![format!("sc1://127.0.0.1:{number}")],
        sessions: 0,
        draining: false,
    }
}

/// Waits until exactly these are in the view, in any order.
async fn shows(view: &mut watch::Receiver<Nodes>, expected: &[NodeInfo]) {
    let is = |nodes: &Nodes| {
        let mut nodes = nodes.to_vec();
        let mut expected = expected.to_vec();
        nodes.sort_by_key(|node| node.id);
        expected.sort_by_key(|node| node.id);
        nodes == expected
    };
    let waited = timeout(PATIENCE, view.wait_for(is))
        .await
        .map(|result| result.map(drop));
    match waited {
        Ok(Ok(())) => {}
        _ => panic!("{expected:?} was to be seen, not {:?}", view.borrow()),
    }
}

pub async fn whoever_joins_is_in_its_own_view(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    shows(&mut view, &[node(1)]).await;
}

pub async fn everything_that_is_told_travels(discovery: Arc<dyn Discovery>) {
    let told = NodeInfo {
        id: NodeId([0xfe; 16]),
        incarnation: u64::MAX >> 1,
        addresses: vec![
            "sc1://[::1]:7400".to_owned(),
            "tls://例え.example:443".to_owned(),
            String::new(),
        ],
        sessions: u32::MAX,
        draining: true,
    };
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(told.clone()).await.unwrap();
    shows(&mut view, &[node(1), told]).await;
}

pub async fn nodes_see_each_other(discovery: Arc<dyn Discovery>) {
    let mut one = discovery.join(node(1)).await.unwrap();
    let mut other = discovery.join(node(2)).await.unwrap();
    shows(&mut one, &[node(1), node(2)]).await;
    shows(&mut other, &[node(1), node(2)]).await;
}

pub async fn the_view_is_whole(discovery: Arc<dyn Discovery>) {
    let mut first = discovery.join(node(1)).await.unwrap();
    for number in 2..=5 {
        discovery.join(node(number)).await.unwrap();
    }
    let all: Vec<_> = (1..=6).map(node).collect();
    let mut late = discovery.join(node(6)).await.unwrap();
    shows(&mut late, &all).await;
    shows(&mut first, &all).await;
}

pub async fn whoever_leaves_is_gone(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    shows(&mut view, &[node(1), node(2)]).await;
    discovery.leave(node(2).id).await.unwrap();
    shows(&mut view, &[node(1)]).await;
    discovery.leave(node(2).id).await.unwrap();
    shows(&mut view, &[node(1)]).await;
}

pub async fn leaving_needs_no_joining(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.leave(node(9).id).await.unwrap();
    shows(&mut view, &[node(1)]).await;
}

pub async fn updates_replace(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    for sessions in [1, 1000, 0] {
        let update = NodeInfo {
            sessions,
            addresses: vec!["sc1://elsewhere:1".to_owned()],
            draining: sessions == 0,
            ..node(2)
        };
        discovery.update(update.clone()).await.unwrap();
        shows(&mut view, &[node(1), update]).await;
    }
}

pub async fn joining_again_is_one_node(discovery: Arc<dyn Discovery>) {
    discovery.join(node(1)).await.unwrap();
    let mut view = discovery.join(node(1)).await.unwrap();
    shows(&mut view, &[node(1)]).await;
}

pub async fn a_new_life_replaces_the_old(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    let reborn = NodeInfo {
        incarnation: 101,
        ..node(2)
    };
    discovery.join(reborn.clone()).await.unwrap();
    shows(&mut view, &[node(1), reborn]).await;
}

pub async fn an_old_life_replaces_nothing(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    discovery.join(node(2)).await.unwrap();
    let ghost = NodeInfo {
        incarnation: 99,
        sessions: 13,
        ..node(2)
    };
    discovery.update(ghost).await.unwrap();
    discovery.join(node(3)).await.unwrap();
    shows(&mut view, &[node(1), node(2), node(3)]).await;
}

pub async fn whoever_left_may_come_back(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    for incarnation in 100..103 {
        let comes = NodeInfo { incarnation, ..node(2) };
        discovery.join(comes.clone()).await.unwrap();
        shows(&mut view, &[node(1), comes]).await;
        discovery.leave(node(2).id).await.unwrap();
        shows(&mut view, &[node(1)]).await;
    }
}

pub async fn a_view_that_is_dropped_withdraws_nobody(discovery: Arc<dyn Discovery>) {
    let mut view = discovery.join(node(1)).await.unwrap();
    drop(discovery.join(node(2)).await.unwrap());
    discovery.join(node(3)).await.unwrap();
    shows(&mut view, &[node(1), node(2), node(3)]).await;
}

pub async fn many_join_and_leave_at_once(discovery: Arc<dyn Discovery>) {
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
    shows(&mut view, &stayed).await;
}
