//! Tests of users with many conversations. The slow one measures a login, and `scripts/test-slow`
//! runs it, in release mode.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use std::sync::Arc;

use chat_core::model::{ConversationId, DeviceId};
use chat_core::store::{ConversationStore as _, Store as _};
use chat_core::testkit::assert_fast_logins_with_many_conversations;
use chat_core::testkit::store::{create_direct_conversations, register};
use chat_store_mysql::{MysqlStore, Options};
use support::{rows_read, server};

#[tokio::test]
async fn page_of_memberships_reads_few_rows_of_other_pages() {
    let (server, url) = server(&[]);
    let store = MysqlStore::open(&url, Options::default()).await.unwrap();
    let user = register(&store, "alice".to_owned()).await;
    create_direct_conversations(&store, user, 1000).await;
    let cost_of = async |limit| {
        let before = rows_read(&server);
        let page = store
            .memberships(user, DeviceId([1; 16]), ConversationId(0), limit)
            .await;
        assert_eq!(page.unwrap().len(), limit as usize);
        rows_read(&server) - before
    };
    let (small, large) = (cost_of(10).await, cost_of(500).await);
    assert!(
        small * 5 < large,
        "10 memberships: {small} rows, 500 memberships: {large} rows"
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; scripts/test-slow runs it"]
async fn user_of_twenty_thousand_conversations_logs_in_within_half_of_the_request_timeout() {
    let (_server, url) = server(&[]);
    let store = MysqlStore::open(&url, Options::default()).await.unwrap();
    assert_fast_logins_with_many_conversations(Arc::new(store)).await;
}
