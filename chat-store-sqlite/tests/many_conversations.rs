//! Measures the login of a user with many conversations. Slow, so `scripts/test-slow` runs it, in
//! release mode.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::engine::Engine;
use chat_core::model::DeviceId;
use chat_core::testkit::store::{open_directs, register};
use chat_store_sqlite::{Options, SqliteStore};

/// Number of conversations of the user.
const CONVERSATIONS: u64 = 20_000;
/// Maximum duration of a login, which is half of the deadline of a request.
const MAX_DURATION: Duration = Duration::from_millis(2500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; scripts/test-slow runs it"]
async fn user_of_twenty_thousand_conversations_logs_in_within_half_of_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), Options::default()).await.unwrap();
    let user = register(&store, "alice".to_owned()).await;
    open_directs(&store, user, CONVERSATIONS).await;
    let engine = Engine::builder(Arc::new(store)).build().await.unwrap();
    let mut durations = Vec::new();
    for number in 1..=5 {
        let started = Instant::now();
        let session = engine.session(user, DeviceId([number; 16])).await.unwrap();
        durations.push(started.elapsed());
        drop(session);
    }
    println!("logins of a user of {CONVERSATIONS} conversations: {durations:.2?}");
    assert!(
        durations.iter().all(|duration| *duration < MAX_DURATION),
        "{durations:.2?}"
    );
    engine.shutdown().await;
}
