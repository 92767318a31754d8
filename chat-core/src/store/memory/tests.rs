//! Tests of the rollback of the memory store, and of [`FaultyStore`], which wraps a store and
//! injects faults.

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::store::{AccountStore, Transaction};
use crate::testkit::store::{FaultyStore, World, append, new_account, transact};

/// Unit of work that writes, and then awaits something other than its transaction.
#[derive(Debug)]
struct StallingUnit;

#[async_trait]
impl Unit for StallingUnit {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        tx.create_account(new_account("alice")).await?;
        std::future::pending().await
    }
}

#[tokio::test]
async fn unit_that_awaits_more_than_its_transaction_is_rejected() {
    let store = MemoryStore::new();
    let answer = store.transact(Box::new(StallingUnit)).await;
    assert!(matches!(answer, Err(StoreError::Defect(_))));
    assert_eq!(store.account_by_name("alice").await.unwrap(), None);
}

fn faulty_store() -> FaultyStore {
    FaultyStore::new(Arc::new(MemoryStore::new()))
}

/// Creates an account. Returns `false` if the name is taken.
async fn create(store: &dyn Store, name: &'static str) -> Result<bool, StoreError> {
    let work = transact(store, move |tx| {
        Box::pin(async move { Ok(tx.create_account(new_account(name)).await?.is_some()) })
    });
    work.await
}

#[tokio::test]
async fn fault_before_the_commit_discards_the_writes() {
    let store = faulty_store();
    store.fail_before_commit();
    store.fail_full();
    store.fail_overloaded();
    assert!(matches!(create(&store, "a").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(create(&store, "a").await, Err(StoreError::Full(_))));
    assert!(matches!(create(&store, "a").await, Err(StoreError::Overloaded)));
    assert!(create(&store, "a").await.unwrap());
}

#[tokio::test]
async fn fault_after_the_commit_keeps_the_writes() {
    let store = faulty_store();
    store.fail_after_commit();
    assert!(matches!(create(&store, "a").await, Err(StoreError::Unavailable(_))));
    assert!(!create(&store, "a").await.unwrap());
}

#[tokio::test]
async fn unavailable_store_rejects_reads_and_writes() {
    let store = faulty_store();
    store.set_unavailable(true);
    assert!(matches!(create(&store, "a").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(
        store.account_by_name("a").await,
        Err(StoreError::Unavailable(_))
    ));
    store.set_unavailable(false);
    assert!(create(&store, "a").await.unwrap());
}

#[tokio::test]
async fn held_store_answers_once_released() {
    let store = Arc::new(faulty_store());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let held = store.hold();
    let (shared, group, alice) = (Arc::clone(&store), world.group, world.alice);
    let sent = tokio::spawn(async move { append(&*shared, group, alice, vec![]).await });
    tokio::task::yield_now().await;
    assert!(!sent.is_finished());
    drop(held);
    sent.await.unwrap().unwrap();
}
