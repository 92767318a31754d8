//! Tests of network faults between a node and its database.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::model::Seq;
use chat_core::store::{MessageStore, StoreError};
use chat_core::testkit::store::{NewEvent, World, append, transact};
use chat_harness::proxy::{Proxy, Wire};
use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, Options};
use tokio::sync::Notify;

/// Maximum time of a test step. Only a step that fails takes this long.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// Time within which the store must answer a request. By default, the store ends a request after
/// 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// Time within which an append must succeed after a fault: two earlier ones may fail after 5 s
/// each.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(11);

/// A database, and the store of one node that is connected to it through a proxy.
struct Setup {
    proxy: Arc<Proxy>,
    world: World,
    store: Arc<MysqlStore>,
    database: MariaDb,
}

impl Setup {
    async fn new() -> Self {
        let database = MariaDb::start(&[]).unwrap();
        database.sql("CREATE DATABASE chat").unwrap();
        let proxy = Proxy::start(database.address()).unwrap();
        let url = format!("mysql://root@{}/chat", proxy.address());
        let store = Arc::new(MysqlStore::open(&url, Options::default()).await.unwrap());
        Self {
            proxy: Arc::new(proxy),
            world: World::new(store.clone()).await,
            store,
            database,
        }
    }

    async fn append(&self, store: &MysqlStore, text: &'static str) -> Result<(), StoreError> {
        let appending = append(store, self.world.group, self.world.alice, vec![NewEvent::message(text)]);
        let started = Instant::now();
        let answer = appending.await;
        assert!(started.elapsed() < ANSWER_TIMEOUT, "{:?}", started.elapsed());
        answer.map(drop)
    }

    /// Appends until that succeeds. Returns the time that this took.
    async fn time_to_recover(&self) -> Duration {
        let started = Instant::now();
        while self.append(&self.store, "back").await.is_err() {
            assert!(started.elapsed() < STEP_TIMEOUT, "the store does not recover");
        }
        started.elapsed()
    }

    /// Uses many connections at once, then leaves all of them idle.
    async fn fill_the_pool(&self) {
        let reads: Vec<_> = (0..64)
            .map(|_| {
                let (store, group) = (Arc::clone(&self.store), self.world.group);
                tokio::spawn(async move { store.events(group, Seq(1), Seq(10), 10).await })
            })
            .collect();
        for read in reads {
            read.await.unwrap().unwrap();
        }
    }
}

/// A node that loses its network while it has a conversation locked blocks other nodes for seconds
/// only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnected_node_loses_its_locks() {
    let setup = Setup::new().await;
    let other_node = MysqlStore::open(&setup.database.url("chat"), Options::default())
        .await
        .unwrap();
    let (locked, group) = (Arc::new(Notify::new()), setup.world.group);
    let (store, proxy, is_locked) = (Arc::clone(&setup.store), Arc::clone(&setup.proxy), Arc::clone(&locked));
    let abandoned = tokio::spawn(async move {
        transact::<(), _>(&*store, move |tx| {
            let (proxy, is_locked) = (Arc::clone(&proxy), Arc::clone(&is_locked));
            Box::pin(async move {
                tx.lock_conversation(group).await?;
                proxy.set_both(Wire::dropping());
                is_locked.notify_one();
                std::future::pending().await
            })
        })
        .await
    });
    locked.notified().await;
    let started = Instant::now();
    while setup.append(&other_node, "at last").await.is_err() {
        assert!(
            started.elapsed() < STEP_TIMEOUT,
            "the disconnected node still holds its lock"
        );
    }
    println!(
        "the lock of the disconnected node was released after {:?}",
        started.elapsed()
    );
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(matches!(abandoned.await.unwrap(), Err(StoreError::Unavailable(_))));
}

/// If a firewall silently dropped all pooled connections, the store discards them together instead
/// of timing out on each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_connections_are_retired_together() {
    let setup = Setup::new().await;
    for _ in 0..2 {
        setup.fill_the_pool().await;
        setup.proxy.forget();
        let took = setup.time_to_recover().await;
        println!("{} connections, back after {took:?}", setup.proxy.connections());
        assert!(took < RECOVERY_TIMEOUT, "{took:?}");
    }
}

/// During a partition, of several kinds, a request fails in time. After each partition the store
/// recovers within seconds. In the end, the log has no gaps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_fail_in_time_during_a_partition_and_succeed_afterwards() {
    let setup = Setup::new().await;
    let clear = Wire::clear();
    let (frozen, dropping) = (Wire::frozen(), Wire::dropping());
    for (up, down) in [(frozen, frozen), (clear, frozen), (dropping, clear)] {
        setup.fill_the_pool().await;
        setup.proxy.set(up, down);
        let refused = setup.append(&setup.store, "lost, or not").await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        setup.proxy.clear();
        let took = setup.time_to_recover().await;
        println!("back after {took:?}: {:?}, {:?}", up.flow, down.flow);
        assert!(took < RECOVERY_TIMEOUT, "{took:?}");
    }
    setup.proxy.refuse().unwrap();
    setup.proxy.reset();
    assert!(setup.append(&setup.store, "refused").await.is_err());
    setup.proxy.accept().unwrap();
    assert!(setup.time_to_recover().await < Duration::from_secs(5));
    // Ends the connection after 7, 14, 21 … bytes, alternately of each direction.
    for after in 1..60 {
        let _ = setup.time_to_recover().await;
        let cut = Wire::cut(after * 7);
        setup.proxy.set(
            if after % 2 == 0 { cut } else { clear },
            if after % 2 == 0 { clear } else { cut },
        );
        // The position of the cut decides which appends are acknowledged.
        let _ = setup.append(&setup.store, "cut").await;
        setup.proxy.clear();
    }
    setup.time_to_recover().await;
    let events = setup
        .store
        .events(setup.world.group, Seq(1), Seq(1000), 1000)
        .await
        .unwrap();
    let seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
    assert_eq!(
        seqs,
        (1..=seqs.len() as u64).collect::<Vec<_>>(),
        "sequence numbers have no gaps"
    );
}
