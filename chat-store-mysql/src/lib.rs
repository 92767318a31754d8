//! The store of the chat engine for many nodes: MySQL or MariaDB.
//!
//! ```no_run
//! # async fn example() -> Result<(), chat_store_mysql::OpenError> {
//! let options = chat_store_mysql::Options::default();
//! let store = chat_store_mysql::MysqlStore::open("mysql://chat:secret@db.internal/chat", options).await?;
//! # drop(store); Ok(()) }
//! ```
//!
//! **Order.** A unit that appends locks the conversation's row first; numbers, membership and sessions are read under that lock, at
//! READ COMMITTED, so whoever sees a number sees all before it. Rows that do not exist cannot be locked, so devices and
//! relations have rows of their own to lock.
//!
//! **Durability.** The server must flush its log with every commit and keep a synced binary log. Without the second, other
//! transactions see a commit shortly before it is durable (InnoDB releases locks before it flushes), and a power cut could take back
//! what another node has delivered. [`MysqlStore::open`] refuses servers that are set up otherwise. MariaDB by default also writes the text
//! of each statement into that log, which nothing needs: `binlog_annotate_row_events=OFF` saves 7 % of its CPU in a busy group.
//!
//! **Cancellation.** A connection that is given up in the middle of an answer would hand that answer to its next user. Each unit of
//! work therefore runs in a task of its own, time limits end whole units, and a connection whose use was cut short is closed.
//!
//! **Silence.** A network can lose connections without telling either side. After a second without any answer from the database a
//! connection has to show that it is alive before it is used; if it does not, all of them are given up at once. On MariaDB a
//! transaction whose node is silent for three seconds ends, so that others get what it had locked.

mod accounts;
mod batch;
mod connections;
mod contacts;
mod conversations;
mod cursors;
mod error;
mod heartbeats;
mod job;
mod memberships;
mod messages;
mod migrate;
mod options;
mod pool;
mod rows;
mod settings;
mod store;
mod tx;

pub use error::OpenError;
pub use options::Options;
pub use store::MysqlStore;
