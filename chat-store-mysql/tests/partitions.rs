//! What the network between a node and its database does to those who depend on it.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::model::Seq;
use chat_core::store::{MessageStore, StoreError};
use chat_core::testkit::store::{Draft, World, act, append};
use chat_harness::proxy::{Proxy, Wire};
use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, Options};
use tokio::sync::Notify;

/// Nothing takes so long; what waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// In which every request has an answer, whatever happens.
const ANSWER: Duration = Duration::from_secs(6);

/// A database, and one node's way to it.
struct Place {
    link: Arc<Proxy>,
    world: World,
    store: Arc<MysqlStore>,
    database: MariaDb,
}

impl Place {
    async fn new() -> Self {
        let database = MariaDb::start(&[]).unwrap();
        database.sql("CREATE DATABASE chat").unwrap();
        let link = Proxy::start(database.address()).unwrap();
        let url = format!("mysql://root@{}/chat", link.address());
        let store = Arc::new(MysqlStore::open(&url, Options::default()).await.unwrap());
        Self {
            link: Arc::new(link),
            world: World::new(store.clone()).await,
            store,
            database,
        }
    }

    async fn say(&self, store: &MysqlStore, text: &'static str) -> Result<(), StoreError> {
        let said = append(store, self.world.group, self.world.alice, vec![Draft::message(text)]);
        let started = Instant::now();
        let answer = said.await;
        assert!(started.elapsed() < ANSWER, "{:?}", started.elapsed());
        answer.map(drop)
    }

    /// How long it takes until something is stored.
    async fn recovers(&self) -> Duration {
        let started = Instant::now();
        while self.say(&self.store, "back").await.is_err() {
            assert!(started.elapsed() < PATIENCE, "it does not come back");
        }
        started.elapsed()
    }

    /// So many connections in use at once, then all of them idle.
    async fn fill_the_pool(&self) {
        let asked: Vec<_> = (0..64)
            .map(|_| {
                let (store, group) = (Arc::clone(&self.store), self.world.group);
                tokio::spawn(async move { store.events(group, Seq(1), Seq(10), 10).await })
            })
            .collect();
        for asked in asked {
            asked.await.unwrap().unwrap();
        }
    }
}

/// A node that locked a conversation and is not heard of again holds up nobody for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_vanishes_frees_what_it_locked() {
    let place = Place::new().await;
    let elsewhere = MysqlStore::open(&place.database.url("chat"), Options::default())
        .await
        .unwrap();
    let (locked, group) = (Arc::new(Notify::new()), place.world.group);
    let (store, link, is_locked) = (Arc::clone(&place.store), Arc::clone(&place.link), Arc::clone(&locked));
    let vanishes = tokio::spawn(async move {
        act::<(), _>(&*store, move |tx| {
            let (link, is_locked) = (Arc::clone(&link), Arc::clone(&is_locked));
            Box::pin(async move {
                tx.lock_conversation(group).await?;
                link.both(Wire::hole());
                is_locked.notify_one();
                std::future::pending().await
            })
        })
        .await
    });
    locked.notified().await;
    let started = Instant::now();
    while place.say(&elsewhere, "at last").await.is_err() {
        assert!(started.elapsed() < PATIENCE, "it holds its lock for ever");
    }
    println!("a vanished node's lock is free after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(matches!(vanishes.await.unwrap(), Err(StoreError::Unavailable(_))));
}

/// Connections that lead nowhere any more, though nobody says so, are not tried one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_a_firewall_forgot_are_given_up_together() {
    let place = Place::new().await;
    for _ in 0..2 {
        place.fill_the_pool().await;
        place.link.forget();
        let took = place.recovers().await;
        println!("{} connections, back after {took:?}", place.link.connections());
        assert!(took < Duration::from_secs(11), "{took:?}");
    }
}

/// Each kind of partition: answers in time while it lasts, soon over when it ends, and nothing stored that is not whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_answered_in_time_and_overcome() {
    let place = Place::new().await;
    let clear = Wire::clear();
    let (waits, hole) = (Wire::waiting(), Wire::hole());
    for (up, down) in [(waits, waits), (clear, waits), (hole, clear)] {
        place.fill_the_pool().await;
        place.link.set(up, down);
        let refused = place.say(&place.store, "lost, or not").await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        place.link.clear();
        let took = place.recovers().await;
        println!("back after {took:?}: {:?}, {:?}", up.flow, down.flow);
        assert!(took < Duration::from_secs(11), "{took:?}");
    }
    place.link.refuse().unwrap();
    place.link.reset();
    assert!(place.say(&place.store, "refused").await.is_err());
    place.link.accept().unwrap();
    assert!(place.recovers().await < Duration::from_secs(5));
    // Ends in the middle of a packet, the server's or ours, anywhere.
    for after in 1..60 {
        let _ = place.recovers().await;
        let cut = Wire::cut(after * 7);
        place.link.set(
            if after % 2 == 0 { cut } else { clear },
            if after % 2 == 0 { clear } else { cut },
        );
        // Which of them are acknowledged depends on where the cut is.
        let _ = place.say(&place.store, "cut").await;
        place.link.clear();
    }
    place.recovers().await;
    let events = place
        .store
        .events(place.world.group, Seq(1), Seq(1000), 1000)
        .await
        .unwrap();
    let seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "no holes");
}
