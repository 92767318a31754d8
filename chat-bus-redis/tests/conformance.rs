//! Runs the conformance suites of bus, presence and discovery against a real Redis.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use chat_bus_redis::{Options, RedisBackend};
use chat_harness::services::Redis;

/// One server for all tests, with a different prefix for each test.
static SERVER: LazyLock<Redis> = LazyLock::new(|| Redis::start(&[]).unwrap());
static NEXT: AtomicU32 = AtomicU32::new(0);

async fn backend() -> RedisBackend {
    let url = tokio::task::spawn_blocking(|| SERVER.url()).await.unwrap();
    let mut options = Options::default();
    options.prefix = format!("test-{}:", NEXT.fetch_add(1, Ordering::Relaxed));
    RedisBackend::open(&url, options).unwrap()
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
