//! Runs the conformance suite of stores on the SQLite store.

#![allow(clippy::unwrap_used)] // these are tests

use chat_store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

async fn fresh() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path(), Options::default()).await.unwrap();
    (store, directory)
}

chat_core::store_conformance!(fresh());
