//! Runs the conformance suite of stores on the MySQL store, with a real MariaDB.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, Options};

/// One server for all tests, with a database for each test.
static SERVER: LazyLock<Arc<MariaDb>> = LazyLock::new(|| Arc::new(MariaDb::start(&[]).unwrap()));
/// Number of the next database.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Creates a store on a new database. The second value is the guard that the suite expects; this
/// store needs none.
async fn fresh() -> (MysqlStore, ()) {
    let name = format!("chat_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let create = format!("CREATE DATABASE {name}");
    let server = tokio::task::spawn_blocking(|| Arc::clone(&SERVER)).await.unwrap();
    server.sql(&create).unwrap();
    let store = MysqlStore::open(&server.url(&name), Options::default()).await.unwrap();
    (store, ())
}

chat_core::store_conformance!(fresh());
