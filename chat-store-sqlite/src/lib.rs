//! The embedded store of the chat engine: one SQLite file, durable before it answers.
//!
//! ```no_run
//! # async fn example() -> Result<(), chat_store_sqlite::OpenError> {
//! let store = chat_store_sqlite::SqliteStore::open("chat-data", chat_store_sqlite::Options::default()).await?;
//! # drop(store); Ok(()) }
//! ```
//!
//! All writes go through one thread, which takes every unit of work that has come in since its last commit and commits
//! them together (group commit), in write-ahead-log mode with `synchronous=FULL`: a unit is answered when what it wrote
//! is on the disk. Reads run on their own threads and connections, each on one snapshot, and wait for no writer. A data
//! directory belongs to one process at a time; [`backup`] may run beside it.

mod accounts;
mod backup;
mod contacts;
mod conversations;
mod cursor_sql;
mod cursors;
mod error;
mod job;
mod lock;
mod messages;
mod migrate;
mod open;
#[cfg(test)]
mod plans;
mod private;
mod queue;
mod readers;
mod rows;
mod store;
mod tx;
mod writer;

pub use backup::{BackupError, backup};
pub use error::OpenError;
pub use open::{DATABASE_FILE, Options};
pub use store::SqliteStore;

/// The READMEs' programs, compiled.
#[cfg(doctest)]
mod readme {
    #[doc = include_str!("../../README.md")]
    struct English;

    #[doc = include_str!("../../README.zh-CN.md")]
    struct Chinese;
}
