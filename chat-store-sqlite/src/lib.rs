//! Embedded store of the chat engine in one SQLite file. The store answers a write once the write
//! is durable.
//!
//! ```no_run
//! use chat_store_sqlite::{Options, SqliteStore};
//!
//! # async fn example() -> Result<(), chat_store_sqlite::OpenError> {
//! let store = SqliteStore::open("chat-data", Options::default()).await?;
//! # drop(store); Ok(()) }
//! ```
//!
//! One thread does all writes. It commits the units of work that arrived since its last commit
//! together (group commit), in write-ahead-log mode with `synchronous=FULL`, and answers a unit
//! when its writes are on the disk. Reads run on separate threads and connections, each on one
//! snapshot, and do not wait for the writer. A data directory belongs to one process at a time;
//! [`backup`] may run beside that process.

mod accounts;
mod backup;
mod contacts;
mod conversations;
mod cursor_sql;
mod cursors;
mod error;
mod feeds;
mod job;
mod lock;
mod messages;
mod migrate;
mod open;
mod operators;
// The tests use the number of bytes that a thread has read, which only Linux counts.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod page_reads;
mod pairing;
#[cfg(test)]
mod plans;
mod private;
mod queue;
mod readers;
mod request_notices;
mod rows;
mod store;
mod tx;
mod writer;

pub use backup::{BackupError, Restored, backup, restore};
pub use error::OpenError;
pub use open::{DATABASE_FILE, Options};
pub use store::SqliteStore;

/// Compiles the programs in the READMEs.
#[cfg(doctest)]
mod readme {
    #[doc = include_str!("../../README.md")]
    struct English;

    #[doc = include_str!("../../README.zh-CN.md")]
    struct Chinese;
}
