//! The port to what survives a restart.
//!
//! A [`Store`] has two faces. **Reads** are the narrow traits [`AccountStore`], [`ContactStore`], [`ConversationStore`],
//! [`MessageStore`] and [`CursorStore`]: each method sees one consistent snapshot of what was committed. **Writes** are
//! units of work: [`Store::transact`] runs a [`Unit`] against a [`Transaction`], a set of primitives over the same
//! tables, and commits all of it or nothing. What a unit decides (who may send, which number is next, is this a
//! retry) is written once, in the engine; a store supplies locking, uniqueness and durability.
//!
//! # Contract
//! - When `transact` returns `Ok`, everything the unit wrote is durable: it survives the death of the process and a
//!   power cut. When it returns [`StoreError::Unavailable`], it may or may not have been written.
//! - [`ConversationTx::lock_conversation`] excludes every other transaction that locks the same conversation until this
//!   one ends, on all nodes. Whatever the transaction reads of that conversation afterwards is the latest committed.
//! - Likewise [`AccountTx::lock_device`] for a device and [`ContactTx::lock_contacts`] for a pair of users.
//! - A unit may be run more than once (after a deadlock, say): it must not keep state from one run to the next. Locks are
//!   taken in the order devices, contacts, conversations by ascending id, so that units do not deadlock. Conversations
//!   that the transaction made itself may be locked at any time.
//! - A unit awaits nothing but its transaction. One that panics is rolled back; the caller sees [`StoreError::Corrupt`].
//! - When a transaction commits, the row of every conversation it locked says where that conversation's log ends
//!   (`last_seq` and `message_count`).
//! - Names and texts are compared and kept byte by byte. Names and keys have at most 256 bytes, skeletons 3 000, texts 64 KiB less one.
//!
//! - A store that several nodes may share tells each of them who else works on it: [`Store::beat`]. What another node commits is
//!   then found even if nothing else connects the two.
//!
//! Nobody looks whether a message is stored already before it is written: the store finds out, by a unique key of sender and client
//! message id, and answers [`StoreError::AlreadySent`] ([`MessageTx::insert_events`]).
//!
//! A store refuses with [`StoreError::Corrupt`] what breaks the rules about locks and logs: [`Ledger`] does that for it.
//! [`run_ready`] runs units where a
//! transaction never waits, [`run_contained`] where it does.

mod accounts;
mod beat;
mod contacts;
mod conversations;
mod cursors;
mod error;
mod ledger;
mod memory;
mod messages;
mod ready;
mod unit;

use std::fmt::Debug;

use async_trait::async_trait;

pub use accounts::{AccountStore, AccountTx, NewAccount};
pub use beat::Beat;
pub use contacts::{ContactStore, ContactTx};
pub use conversations::{ConversationStore, ConversationTx, Head, NewConversation};
pub use cursors::CursorStore;
pub use error::{StoreError, TxError};
pub use ledger::Ledger;
pub use memory::MemoryStore;
pub use messages::{EventPage, MessageStore, MessageTx, SentEvent};
pub use ready::{run_contained, run_ready};
pub use unit::{Operation, StoreExt, Unit};

use crate::model::{NodeId, StoreEpoch};

/// What survives a restart. See the [module](self) for the contract.
#[async_trait]
pub trait Store: AccountStore + ContactStore + ConversationStore + MessageStore + CursorStore {
    /// Runs `unit` in one transaction and commits it. Use [`StoreExt::run`], which hands the result out.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the unit ended with [`TxError::Abort`]; nothing was written.
    /// [`StoreError::AlreadySent`] if the unit ended with it; nothing was written.
    /// [`StoreError::Unavailable`]: it may or may not have been written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves that same doubt, nothing worse: the transaction runs to its end elsewhere.
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError>;

    /// Names the history that this store holds.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError>;

    /// Notes that this node lives, and tells which others do. Nodes call it every few seconds; who has not for
    /// [`Beat::FRESH`] by the store's own clock is not told of.
    ///
    /// The default is for a store of one process: there is nobody else.
    async fn beat(&self, node: NodeId) -> Result<Beat, StoreError> {
        let _ = node;
        self.epoch().await?;
        Ok(Beat::default())
    }

    /// Finishes what was begun and releases files, connections and threads. Afterwards every call is
    /// [`StoreError::Unavailable`]. Idempotent.
    async fn close(&self);
}

/// The primitives of a unit of work, over one open transaction.
pub trait Transaction: AccountTx + ContactTx + ConversationTx + MessageTx + Debug + Send {}

impl<T: AccountTx + ContactTx + ConversationTx + MessageTx + Debug + Send> Transaction for T {}
