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

/// Returns the sum of these status variables of the server. They count from its start, over all
/// connections.
#[allow(dead_code)] // not every test program uses it
pub(crate) fn status_sum(server: &MariaDb, variables: &[&str]) -> u64 {
    let names: Vec<String> = variables.iter().map(|name| format!("'{name}'")).collect();
    let sql = format!(
        "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ({})",
        names.join(", ")
    );
    let sum = server.sql(&sql).unwrap();
    sum.trim().parse::<f64>().unwrap() as u64
}

/// Returns how often statements have read a row of a table or an index since the server started.
/// Does not count reads of the first or the last row of an index.
#[allow(dead_code)] // not every test program uses it
pub(crate) fn rows_read(server: &MariaDb) -> u64 {
    let variables = [
        "HANDLER_READ_KEY",
        "HANDLER_READ_NEXT",
        "HANDLER_READ_PREV",
        "HANDLER_READ_RND",
        "HANDLER_READ_RND_NEXT",
    ];
    status_sum(server, &variables)
}
