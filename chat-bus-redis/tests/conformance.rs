//! Runs the conformance suites of bus, presence and discovery against a real Redis.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use chat_bus_redis::{Options, RedisBackend};
use chat_core::model::ClusterKey;
use chat_harness::services::Redis;

/// Server that all tests share. Each test uses a prefix of its own.
static SERVER: LazyLock<Redis> = LazyLock::new(|| Redis::start(&[]).unwrap());
/// Number in the prefix of the next test.
static NEXT_PREFIX: AtomicU32 = AtomicU32::new(0);

async fn backend() -> RedisBackend {
    let url = tokio::task::spawn_blocking(|| SERVER.url()).await.unwrap();
    let mut options = Options::default();
    options.prefix = format!("test-{}:", NEXT_PREFIX.fetch_add(1, Ordering::Relaxed));
    RedisBackend::open(&url, ClusterKey::from_bytes([1; 32]), options).unwrap()
}

mod bus {
    async fn fresh() -> (chat_bus_redis::RedisBus, ()) {
        (super::backend().await.bus(), ())
    }

    chat_core::bus_conformance!(fresh());
}

mod presence {
    async fn fresh() -> (chat_bus_redis::RedisPresence, ()) {
        (super::backend().await.presence(), ())
    }

    chat_core::presence_conformance!(fresh());
}

mod discovery {
    async fn fresh() -> (chat_bus_redis::RedisDiscovery, ()) {
        (super::backend().await.discovery(), ())
    }

    chat_core::discovery_conformance!(fresh());
}
