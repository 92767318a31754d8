//! Databases and stores for the tests.

use std::sync::Arc;

use chat_core::testkit::store::World;
use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, Options};

/// Starts a server with an empty database. Returns the URL of the database too.
pub(crate) fn server(options: &[&str]) -> (MariaDb, String) {
    let server = MariaDb::start(options).unwrap();
    server.sql("CREATE DATABASE chat").unwrap();
    let url = server.url("chat");
    (server, url)
}

/// Opens the store, and fills it with the users and conversations of a [`World`].
#[allow(dead_code)] // not every test program uses it
pub(crate) async fn world(url: &str) -> (World, Arc<MysqlStore>) {
    let store = Arc::new(MysqlStore::open(url, Options::default()).await.unwrap());
    (World::new(store.clone()).await, store)
}
