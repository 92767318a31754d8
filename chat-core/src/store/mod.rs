//! [Port](crate#ports) to the persistent state, which survives a restart.
//!
//! A [`Store`] has two parts. **Reads** are the methods of [`AccountStore`], [`ContactStore`],
//! [`ConversationStore`], [`MessageStore`], [`FeedStore`] and [`OperatorStore`]. Each method reads
//! one consistent snapshot of the committed state, except that a method that takes a list of keys
//! may read the rows of different keys at different times. **Writes** are units of work, except for
//! those of [`CursorStore`] and [`Store::heartbeat`]: [`Store::transact`] runs a [`Unit`] against a
//! [`Transaction`], a set of primitives over the same tables, and commits all of its writes or
//! none. The engine decides who may send, assigns sequence numbers and answers retries; a store
//! supplies locks, uniqueness and durability.
//!
//! # Contract
//! - When `transact` returns `Ok`, all writes of the unit are durable: except in [`MemoryStore`],
//!   they survive a crash of the process and a power failure. When it returns
//!   [`StoreError::Unavailable`], the unit may or may not have been written.
//! - [`ConversationTx::lock_conversation`] excludes every other transaction that locks the same
//!   conversation, on all nodes, until this transaction ends. Later reads of that conversation in
//!   this transaction return the latest committed state.
//! - [`AccountTx::lock_device`] does the same for a device, [`ContactTx::lock_contacts`] for a pair
//!   of users, [`FeedTx::lock_feed_shard`] for a shard of a feed, and [`AuditTx::append_audit`] for
//!   the audit log.
//! - A store may run a unit more than once (after a deadlock, for example), so a unit must not keep
//!   state from one run to the next.
//! - A unit takes locks in this order, so that units do not deadlock: devices, contacts,
//!   conversations by ascending id, feeds, the audit log. A transaction may lock a conversation
//!   that it created itself at any time.
//! - A unit awaits only its transaction. If a unit panics, the store rolls it back and the caller
//!   receives [`StoreError::Defect`].
//! - When a transaction commits, the row of every conversation that it locked states where the log
//!   of that conversation ends (`last_seq` and `message_count`).
//! - Names and texts are compared and stored byte by byte. Maximum sizes: names of accounts and
//!   groups, and the keys of groups (the canonical spellings of their names), 256 bytes; skeletons
//!   3 000 bytes; names of feeds, subjects and the strings of an audit record except `detail`, 255
//!   bytes; texts 64 KiB less one byte.
//! - A store that several nodes may share reports to each node which other nodes use it
//!   ([`Store::heartbeat`]), so that a node finds the commits of its peers even if no bus connects
//!   them.
//!
//! Rows such as [`Account`](crate::model::Account) and [`Member`](crate::model::Member) are not
//! `#[non_exhaustive]`, nor are the enums in them: if a release adds a field, a store that would
//! lose it does not compile.
//!
//! The first time that the engine writes a message, it does not look up whether the message is
//! stored already. The store detects a retry by its unique key of sender and client message id and
//! returns [`StoreError::AlreadySent`] from [`MessageTx::insert_events`]; then the engine looks the
//! message up.
//!
//! [`backend`] has helpers for authors of stores. With [`TxContract`](backend::TxContract), a store
//! checks the rules about locks and logs, and turns a violation into [`StoreError::Defect`].
//! [`run_inline`](backend::run_inline) runs units in stores whose transactions never wait, and
//! [`run_catching`](backend::run_catching) in stores whose transactions do.

mod accounts;
pub mod backend;
mod contacts;
mod conversations;
mod cursors;
mod error;
mod feed_leases;
mod feeds;
mod heartbeat;
mod memory;
mod messages;
mod operators;
mod request_notices;
mod run;
#[doc(hidden)]
pub mod sql_support;
mod tx_contract;
mod unit;
mod user_change;

use std::fmt::Debug;

use async_trait::async_trait;

pub use accounts::{AccountStore, AccountTx, NewAccount};
pub use contacts::{ContactStore, ContactTx};
pub use conversations::{ConversationStore, ConversationTx, LogVersion, MembershipView, NamedGroup, NewConversation};
pub use cursors::CursorStore;
pub use error::{StoreError, TxError};
pub use feed_leases::{FeedLease, FeedShard, FeedTx, FeedTxExt};
pub use feeds::{FeedBacklog, FeedPosition, FeedStore};
pub use heartbeat::Heartbeat;
pub use memory::MemoryStore;
pub use messages::{EventPage, MessageStore, MessageTx, SentEvent};
pub use operators::{AuditId, AuditPage, AuditRecord, AuditTx, ListedGroup, NewAuditRecord, OperatorStore, StoreStats};
pub use request_notices::{RequestNotice, RequestNoticeTx};
pub use unit::Unit;
pub use user_change::UserChange;

#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;

mod internals {
    pub use super::unit::{StoreExt, TypedUnit};
}

use crate::model::{ClusterKey, NodeId, StoreEpoch, Timestamp};

/// Persistent state of the engine. See the [module documentation](self) for the contract.
#[async_trait]
pub trait Store:
    AccountStore + ContactStore + ConversationStore + MessageStore + CursorStore + FeedStore + OperatorStore
{
    /// Runs `unit` in one transaction and commits it.
    ///
    /// # Errors
    /// - [`StoreError::Aborted`]: the unit returned [`TxError::Abort`]; nothing was written.
    /// - [`StoreError::AlreadySent`]: the unit returned it; nothing was written.
    /// - [`StoreError::Full`], [`StoreError::Overloaded`]: nothing was written.
    /// - [`StoreError::Corrupt`]: the stored data is inconsistent; nothing was written.
    /// - [`StoreError::Defect`]: the unit panicked or violated the contract; nothing was written.
    /// - [`StoreError::Unavailable`]: the unit may or may not have been written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the outcome is unknown, as after [`StoreError::Unavailable`]: the
    /// transaction may still run to its end in the background.
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError>;

    /// Returns the store epoch, a random id. A new one means that the store may have lost events,
    /// as after the restore of a backup.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError>;

    /// Returns the key with which the nodes that use this store authenticate what they tell each
    /// other. The key is random and is created with the store. It changes with the epoch only.
    async fn cluster_key(&self) -> Result<ClusterKey, StoreError>;

    /// Checks with a cheap read that the store answers. Each node calls this every two seconds, and
    /// twice a second while the store does not answer.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Returns the store's time of day, with which all nodes stamp what they write. `None` if the
    /// store has no time of day of its own, as by default.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Returns the time of the newest event of all conversations, or `None` if there is none. Each
    /// node calls this once at its start, to warn if that time lies in the future. A store may read
    /// all conversations for the answer.
    async fn newest_event_time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Records that `node` is alive and returns the other live nodes and the store's time of day.
    /// Nodes call this every few seconds; a node without a heartbeat for
    /// [`Heartbeat::PEER_TIMEOUT`], by the store's own clock, is left out.
    ///
    /// The default is for a store that only one process can use: it returns no other nodes and no
    /// time.
    async fn heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        let _ = node;
        self.ping().await?;
        Ok(Heartbeat::default())
    }

    /// Returns the users whose devices or memberships were written in the last
    /// [`UserChange::WINDOW`], in any order. A node calls this every second while it cannot rely on
    /// the announcements of other nodes, and reads the logins and memberships of these users again.
    /// At other times it calls this less often, and reads only the logins.
    ///
    /// `None` means that the store does not record changes, or that there are too many: a node that
    /// cannot rely on announcements then reads the logins and memberships of all its users again.
    /// The default is `None`, which suits a store that only one process can use.
    async fn changed_users(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        Ok(None)
    }

    /// Completes the running requests, then releases files, connections and threads. Every later
    /// call returns [`StoreError::Unavailable`]. Idempotent.
    async fn close(&self);
}

/// Primitives of a unit of work, over one open transaction.
pub trait Transaction:
    AccountTx + ContactTx + ConversationTx + MessageTx + RequestNoticeTx + FeedTx + AuditTx + Debug + Send
{
}

impl<T: AccountTx + ContactTx + ConversationTx + MessageTx + RequestNoticeTx + FeedTx + AuditTx + Debug + Send>
    Transaction for T
{
}
