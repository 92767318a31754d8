//! Store of the chat engine for many nodes: MySQL or MariaDB.
//!
//! ```no_run
//! use chat_store_mysql::{MysqlStore, Options};
//!
//! # async fn example() -> Result<(), chat_store_mysql::OpenError> {
//! let url = "mysql://chat:secret@db.internal/chat";
//! let store = MysqlStore::open(url, Options::default()).await?;
//! # drop(store); Ok(()) }
//! ```
//!
//! **Order.** A unit of work locks the row of a conversation before it appends to the log. Under
//! that lock, at READ COMMITTED, it reads sequence numbers, memberships and sessions, and it keeps
//! the lock until its commit, so a reader that sees an event sees all events before it. A row that
//! does not exist cannot be locked, so devices and contacts have separate rows to lock
//! (`user_lock`, `pair_lock`).
//!
//! **Durability.** The server must flush its log with every commit and keep a synced binary log.
//! Without the binary log, other transactions see a commit shortly before it is durable (InnoDB
//! releases locks before it flushes), and a power cut could revert what another node has
//! delivered. [`MysqlStore::open`] rejects servers with other settings, unless
//! [`Options::allow_unsafe_durability`] is set. By default, MariaDB also writes the text of each
//! statement into the binary log, which this store does not need: `binlog_annotate_row_events=OFF`
//! saves 7 % of MariaDB's CPU time in a busy group.
//!
//! **Cancellation.** A connection that is abandoned in the middle of an answer would return that
//! answer to the next request that uses it. Each unit of work therefore runs in a separate task,
//! time limits apply to whole requests, and the store closes a connection whose request was
//! interrupted.
//!
//! **Dead connections.** A network can lose connections without an error on either side. After a
//! second without any answer from the database, the store pings a connection before it uses it; if
//! the ping gets no answer within a second, the store replaces all connections that no request is
//! using. MariaDB ends a transaction whose node is silent for three seconds, which frees its locks.
//! MySQL ends the connection after ten seconds instead.

mod accounts;
mod batch;
mod clock;
mod connections;
mod contacts;
mod conversations;
mod cursors;
mod error;
mod feeds;
mod heartbeats;
mod job;
mod memberships;
mod messages;
mod migrate;
mod operators;
mod options;
mod pool;
mod request_notices;
mod rows;
mod settings;
mod store;
mod tx;
mod user_changes;

pub use error::OpenError;
pub use options::Options;
pub use store::MysqlStore;
