//! Measurement of the login of a user with many conversations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::store::{create_direct_conversations, register};
use crate::engine::Engine;
use crate::model::DeviceId;
use crate::store::Store;

/// Number of conversations of the user.
const CONVERSATIONS: u64 = 20_000;
/// Duration that a login must not reach: half of the default of
/// [`request_timeout`](crate::engine::EngineConfig::request_timeout).
const DURATION_LIMIT: Duration = Duration::from_millis(2500);

/// Creates a user with 20 000 conversations in `store`, logs the user in from five devices, and
/// prints the durations. Meant for release mode; takes minutes otherwise.
///
/// # Panics
/// The store fails, or a login takes 2.5 s or longer, which is half of the default of
/// [`request_timeout`](crate::engine::EngineConfig::request_timeout).
pub async fn assert_fast_logins_with_many_conversations(store: Arc<dyn Store>) {
    let user = register(&*store, "alice".to_owned()).await;
    create_direct_conversations(&*store, user, CONVERSATIONS).await;
    let engine = Engine::builder(store)
        .build()
        .await
        .expect("an engine starts on a healthy store");
    let mut durations = Vec::new();
    for number in 1..=5 {
        let started = Instant::now();
        let session = engine
            .session(user, DeviceId([number; 16]))
            .await
            .expect("a new user may log in");
        durations.push(started.elapsed());
        drop(session);
    }
    println!("logins of a user of {CONVERSATIONS} conversations: {durations:.2?}");
    assert!(
        durations.iter().all(|duration| *duration < DURATION_LIMIT),
        "{durations:.2?}"
    );
    engine.shutdown().await;
}
