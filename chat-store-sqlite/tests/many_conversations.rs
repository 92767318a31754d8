//! Measures the login of a user with many conversations. Slow, so `scripts/test-slow` runs it, in
//! release mode.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;

use chat_core::testkit::assert_fast_logins_with_many_conversations;
use chat_store_sqlite::{Options, SqliteStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; scripts/test-slow runs it"]
async fn user_of_twenty_thousand_conversations_logs_in_within_half_of_the_request_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), Options::default()).await.unwrap();
    assert_fast_logins_with_many_conversations(Arc::new(store)).await;
}
