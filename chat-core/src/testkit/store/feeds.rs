//! Cases about cursors and leases of feeds (named consumers of events).

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{World, messages, transact};
use crate::model::{ConversationId, NodeId, Seq};
use crate::store::{FeedLease, FeedPosition, FeedShard, FeedTxExt, Store, StoreError};

/// Duration of a lease that does not expire during a case.
const LONG: Duration = Duration::from_secs(3600);
const FEED: &str = "索引 search";

async fn claim(store: &dyn Store, shard: FeedShard, node: NodeId, ttl: Duration) -> Option<FeedLease> {
    let work = transact(store, move |tx| {
        Box::pin(async move { Ok(tx.claim_feed(FEED, shard, node, ttl).await?) })
    });
    work.await.unwrap()
}

async fn advance(store: &dyn Store, lease: &FeedLease, moves: &[(ConversationId, Seq)]) -> bool {
    let (lease, moves) = (lease.clone(), moves.to_vec());
    let work = transact(store, move |tx| {
        let (lease, moves) = (lease.clone(), moves.clone());
        Box::pin(async move { Ok(tx.advance_feed(&lease, &moves).await?) })
    });
    work.await.unwrap()
}

async fn renew(store: &dyn Store, lease: &FeedLease, ttl: Duration) -> Option<FeedLease> {
    let lease = lease.clone();
    let work = transact(store, move |tx| {
        let lease = lease.clone();
        Box::pin(async move { Ok(tx.renew_feed(&lease, ttl).await?) })
    });
    work.await.unwrap()
}

async fn release(store: &dyn Store, lease: &FeedLease) {
    let lease = lease.clone();
    let work = transact(store, move |tx| {
        let lease = lease.clone();
        Box::pin(async move { Ok(tx.release_feed(&lease).await?) })
    });
    work.await.unwrap();
}

async fn position(store: &dyn Store, conversation: ConversationId) -> FeedPosition {
    // An id that is passed twice is answered once.
    let found = store.feed_positions(FEED, &[conversation, conversation]).await.unwrap();
    assert_eq!(found.len(), 1);
    found[0]
}

/// Returns the shard that contains every conversation whose id is a multiple of 16.
fn first_shard() -> FeedShard {
    FeedShard::of(ConversationId(0))
}

pub async fn feed_cursor_only_grows(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(5)).await;
    let (store, group) = (&*world.store, world.group);
    assert_eq!(
        position(store, group).await,
        FeedPosition::new(group, Seq::ZERO, Seq(5))
    );
    let lease = claim(store, FeedShard::of(group), NodeId::random(), LONG)
        .await
        .unwrap();
    assert!(advance(store, &lease, &[(group, Seq(2)), (group, Seq(3)), (group, Seq(1))]).await);
    assert_eq!(position(store, group).await.cursor, Seq(3));
    assert!(advance(store, &lease, &[(group, Seq(2))]).await);
    assert_eq!(position(store, group).await.cursor, Seq(3));
    assert!(advance(store, &lease, &[]).await);
    let unknown = store.feed_positions(FEED, &[ConversationId(77)]).await.unwrap();
    assert_eq!(unknown, []);
    let other = store.feed_positions("another feed", &[group]).await.unwrap();
    assert_eq!(other, [FeedPosition::new(group, Seq::ZERO, Seq(5))]);
}

pub async fn backlog_finds_logs_that_continue_beyond_the_cursors(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(2)).await;
    let (store, group, direct) = (&*world.store, world.group, world.direct);
    let all_shards: Vec<FeedShard> = FeedShard::all().collect();
    let behind = async |shards: &[FeedShard], limit| {
        let (mut found, mut after) = (Vec::new(), ConversationId(0));
        loop {
            let page = store.feed_backlog(FEED, shards, after, limit).await.unwrap();
            found.extend(page.positions);
            match page.next {
                Some(next) => {
                    assert!(next > after);
                    after = next;
                }
                None => return found,
            }
        }
    };
    let expected = [FeedPosition::new(group, Seq::ZERO, Seq(2))];
    for limit in [1, 2, 100] {
        assert_eq!(
            behind(&all_shards, limit).await,
            expected,
            "the direct conversation is empty"
        );
    }
    assert_eq!(behind(&[FeedShard::of(group)], 100).await, expected);
    assert_eq!(behind(&[FeedShard::of(direct)], 100).await, []);
    let lease = claim(store, FeedShard::of(group), NodeId::random(), LONG)
        .await
        .unwrap();
    advance(store, &lease, &[(group, Seq(2))]).await;
    assert_eq!(behind(&all_shards, 100).await, []);
    world.say(messages(1)).await;
    let expected = [FeedPosition::new(group, Seq(2), Seq(3))];
    assert_eq!(behind(&all_shards, 100).await, expected);
}

pub async fn lease_excludes_other_nodes_until_released(store: Arc<dyn Store>) {
    let [a, b] = [(); 2].map(|()| NodeId::random());
    let store = &*store;
    let first = claim(store, first_shard(), a, LONG).await.unwrap();
    assert_eq!((first.feed.as_str(), first.shard, first.node), (FEED, first_shard(), a));
    assert_eq!(claim(store, first_shard(), b, LONG).await, None);
    let other_shard = FeedShard::of(ConversationId(1));
    assert!(claim(store, other_shard, b, LONG).await.is_some());
    release(store, &first).await;
    let second = claim(store, first_shard(), b, LONG).await.unwrap();
    assert!(second.term > first.term);
    release(store, &first).await;
    assert_eq!(
        claim(store, first_shard(), a, LONG).await,
        None,
        "an old lease releases nothing"
    );
}

pub async fn expired_lease_goes_to_another_node(store: Arc<dyn Store>) {
    let [a, b] = [(); 2].map(|()| NodeId::random());
    let (store, id) = (&*store, ConversationId(16));
    let first = claim(store, first_shard(), a, Duration::ZERO).await.unwrap();
    assert!(advance(store, &first, &[(id, Seq(1))]).await, "expired, but not lost");
    let renewed = renew(store, &first, LONG).await.unwrap();
    assert_eq!(renewed.term, first.term);
    assert_eq!(claim(store, first_shard(), b, LONG).await, None);
    renew(store, &first, Duration::ZERO).await.unwrap();
    let second = claim(store, first_shard(), b, LONG).await.unwrap();
    assert!(!advance(store, &first, &[(id, Seq(9))]).await, "lost");
    assert_eq!(renew(store, &first, LONG).await, None);
    assert!(advance(store, &second, &[(id, Seq(2))]).await);
}

pub async fn second_claim_of_a_node_fences_off_the_first(store: Arc<dyn Store>) {
    let (store, node) = (&*store, NodeId::random());
    let before_restart = claim(store, first_shard(), node, LONG).await.unwrap();
    let after_restart = claim(store, first_shard(), node, LONG).await.unwrap();
    assert!(after_restart.term > before_restart.term);
    assert!(!advance(store, &before_restart, &[]).await);
    assert!(advance(store, &after_restart, &[]).await);
}

pub async fn feed_leases_lists_live_leases(store: Arc<dyn Store>) {
    let (store, node) = (&*store, NodeId::random());
    let [one, other, expired] = [0, 1, 2].map(|id| FeedShard::of(ConversationId(id)));
    let leases = [
        claim(store, one, node, LONG).await.unwrap(),
        claim(store, other, node, LONG).await.unwrap(),
    ];
    claim(store, expired, node, Duration::ZERO).await.unwrap();
    let mut listed = store.feed_leases(FEED).await.unwrap();
    listed.sort_by_key(|lease| lease.shard);
    assert_eq!(listed, leases);
    assert_eq!(store.feed_leases("another feed").await.unwrap(), []);
}

pub async fn deleting_a_feed_deletes_cursors_and_leases(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(1)).await;
    let (store, group) = (&*world.store, world.group);
    let lease = claim(store, FeedShard::of(group), NodeId::random(), LONG)
        .await
        .unwrap();
    advance(store, &lease, &[(group, Seq(1))]).await;
    let work = transact(store, |tx| Box::pin(async move { Ok(tx.delete_feed(FEED).await?) }));
    work.await.unwrap();
    assert_eq!(position(store, group).await.cursor, Seq::ZERO);
    assert_eq!(store.feed_leases(FEED).await.unwrap(), []);
    assert!(!advance(store, &lease, &[(group, Seq(1))]).await);
}

pub async fn shard_is_claimed_by_one_of_many(store: Arc<dyn Store>) {
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        claims.spawn(async move { claim(&*store, first_shard(), NodeId::random(), LONG).await });
    }
    let won = claims.join_all().await.into_iter().flatten().count();
    assert_eq!(won, 1);
}

pub async fn conversations_are_locked_before_feeds(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (group, node) = (world.group, NodeId::random());
    let in_order = transact(&*world.store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(group).await?;
            tx.claim_feed(FEED, first_shard(), node, LONG).await?;
            Ok(())
        })
    });
    in_order.await.unwrap();
    let out_of_order = transact(&*world.store, move |tx| {
        Box::pin(async move {
            tx.claim_feed(FEED, first_shard(), node, LONG).await?;
            tx.lock_conversation(group).await?;
            Ok(())
        })
    });
    assert!(matches!(out_of_order.await, Err(StoreError::Defect(_))));
}
