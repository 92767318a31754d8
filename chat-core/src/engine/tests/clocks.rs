//! Tests of clocks: of nodes whose clock differs from that of the store, of a node on a store
//! without a clock, and of a mute that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::support::*;
use crate::clock::{Clock, SystemClock};
use crate::commands::Commands;
use crate::engine::{Engine, OperatorName};
use crate::model::*;
use crate::store::{ConversationStore as _, MemoryStore, Store as _};
use crate::testkit::store::FaultyStore;

const DAY_MS: i64 = 24 * 3600 * 1000;
/// Maximum difference between two readings of the same clock in a test.
const TOLERANCE_MS: i64 = 60_000;

/// Clock of a node that is ahead of the real time by this number of milliseconds, or behind the
/// real time if the number is negative.
#[derive(Debug)]
struct ClockAhead(AtomicI64);

impl Clock for ClockAhead {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}

/// Returns a node on the store. The clock of the node is `ahead_ms` ahead of the real time.
async fn node(store: &Arc<FaultyStore>, ahead_ms: i64) -> Engine {
    let clock = Arc::new(ClockAhead(AtomicI64::new(ahead_ms)));
    let builder = Engine::builder(store.clone()).config(config()).clock(clock);
    builder.build().await.unwrap()
}

fn is_now(time: Timestamp) -> bool {
    (time.0 - SystemClock.now().0).abs() < TOLERANCE_MS
}

#[tokio::test]
async fn node_with_a_wrong_clock_stamps_with_the_time_of_the_store() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    store.set_time(Some(SystemClock.now()));
    let right = node(&store, 0).await;
    let olga = new_user(&right, "olga").await;
    let group = create_group(&olga, "crowd").await;
    let sent = olga.send_text(ConversationRef::Id(group), "before").await.unwrap();
    let bob = new_user(&right, "bob").await;
    join(&bob, group).await;

    for ahead_ms in [DAY_MS, -DAY_MS] {
        let wrong = node(&store, ahead_ms).await;
        let session = wrong.session(olga.user().id, DeviceId::random()).await.unwrap();
        let stamped = session.send_text(ConversationRef::Id(group), "stamped").await.unwrap();
        assert!(is_now(stamped.time), "{ahead_ms}");
        // Messages can be edited and recalled for a day, so a node that used its own clock, a day
        // ahead, would refuse this.
        let edit = Draft::edit(sent.seq, text("edited"));
        session.send(ConversationRef::Id(group), edit).await.unwrap();
        let mute = Command::MuteMember {
            group: ConversationRef::Id(group),
            user: user(&bob),
            duration_ms: 60_000,
        };
        session.execute(mute).await.unwrap();
        let member = store.member(group, bob.user().id).await.unwrap().unwrap();
        let until = member.muted_until;
        assert!(is_now(Timestamp(until.0 - 60_000)), "{ahead_ms} {until:?}");
        let recall = Draft::recall(stamped.seq);
        session.send(ConversationRef::Id(group), recall).await.unwrap();
        wrong.shutdown().await;
    }
    assert!(is_now(store.newest_event_time().await.unwrap().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn node_whose_clock_changes_keeps_the_time_of_the_store() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let start = SystemClock.now();
    store.set_time(Some(start));
    let clock = Arc::new(ClockAhead(AtomicI64::new(0)));
    let builder = Engine::builder(store.clone()).config(config()).clock(clock.clone());
    let engine = builder.build().await.unwrap();
    clock.0.store(DAY_MS, Ordering::Relaxed);
    assert!(
        (engine.now().0 - start.0).abs() < TOLERANCE_MS,
        "before the next heartbeat"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        (engine.now().0 - start.0).abs() < TOLERANCE_MS,
        "after the next heartbeat"
    );
}

#[tokio::test]
async fn store_without_a_time_of_day_leaves_the_time_to_the_node() {
    let clock = Arc::new(ClockAhead(AtomicI64::new(DAY_MS)));
    let engine = builder().clock(clock).build().await.unwrap();
    assert!(!is_now(engine.now()));
}

#[tokio::test]
async fn mute_that_has_ended_is_not_listed() {
    let clock = Arc::new(ClockAhead(AtomicI64::new(0)));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "crowd").await;
    join(&bob, group).await;
    olga.mute_member(group, bob.user().id, Duration::from_secs(60))
        .await
        .unwrap();
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let listed = async || {
        let page = olga.members(group, UserId(0), 10).await.unwrap();
        let details = operator.group(group).await.unwrap();
        [page.members, details.members].map(|members| {
            let member = members.iter().find(|member| member.user.id == bob.user().id);
            member.unwrap().muted_until != Timestamp(0)
        })
    };
    assert_eq!(listed().await, [true, true]);
    clock.0.store(60_001, Ordering::Relaxed);
    assert_eq!(listed().await, [false, false]);
}
