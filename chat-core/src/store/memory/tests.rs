use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::store::{AccountStore, Transaction};
use crate::testkit::store::{FaultyStore, World, act, append, new_account};

/// Writes, then waits for something that is not its transaction.
#[derive(Debug)]
struct Dawdler;

#[async_trait]
impl Unit for Dawdler {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        tx.create_account(new_account("alice")).await?;
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_unit_that_waits_for_something_else_is_refused() {
    let store = MemoryStore::new();
    let answer = store.transact(Box::new(Dawdler)).await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))));
    assert_eq!(store.account_by_name("alice").await.unwrap(), None);
}

fn faulty() -> FaultyStore {
    FaultyStore::new(Arc::new(MemoryStore::new()))
}

async fn create(store: &dyn Store, name: &'static str) -> Result<bool, StoreError> {
    let work = act(store, move |tx| {
        Box::pin(async move { Ok(tx.create_account(new_account(name)).await?.is_some()) })
    });
    work.await
}

#[tokio::test]
async fn a_fault_before_the_commit_leaves_nothing() {
    let store = faulty();
    store.fail_before_commit();
    store.fail_full();
    store.fail_overloaded();
    assert!(matches!(create(&store, "a").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(create(&store, "a").await, Err(StoreError::Full(_))));
    assert!(matches!(create(&store, "a").await, Err(StoreError::Overloaded)));
    assert!(create(&store, "a").await.unwrap());
}

#[tokio::test]
async fn a_fault_after_the_commit_leaves_everything() {
    let store = faulty();
    store.fail_after_commit();
    assert!(matches!(create(&store, "a").await, Err(StoreError::Unavailable(_))));
    assert!(!create(&store, "a").await.unwrap());
}

#[tokio::test]
async fn an_unavailable_store_does_nothing_until_it_is_back() {
    let store = faulty();
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
async fn a_held_store_answers_once_it_is_let_go() {
    let store = Arc::new(faulty());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let held = store.hold();
    let (shared, group, alice) = (Arc::clone(&store), world.group, world.alice);
    let sent = tokio::spawn(async move { append(&*shared, group, alice, vec![]).await });
    tokio::task::yield_now().await;
    assert!(!sent.is_finished());
    drop(held);
    sent.await.unwrap().unwrap();
}
