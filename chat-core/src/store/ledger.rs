//! What a transaction has locked and appended: the part of the contract that every store can check in the same way.

use std::collections::BTreeMap;

use super::StoreError;
use crate::model::{Conversation, ConversationId, Event, EventKind, Seq};

/// Which locks are taken, as their order goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Devices,
    Contacts,
    Conversations,
}

/// Held by a store's transaction. It refuses units that break the [contract](super) (locks out of order, appends to a
/// conversation that is not locked, holes, a row that disagrees with its log), so that a mistake shows itself on every
/// store in the same way and never reaches the disk.
#[derive(Debug, Default)]
pub struct Ledger {
    stage: Stage,
    highest: Option<ConversationId>,
    logs: BTreeMap<ConversationId, LockedLog>,
}

/// Ends of a locked conversation: of its log and of its row. They must agree when the transaction commits.
#[derive(Clone, Copy, Debug)]
struct LockedLog {
    log: End,
    row: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    last_seq: Seq,
    message_count: u64,
}

impl From<&Conversation> for End {
    fn from(row: &Conversation) -> Self {
        Self {
            last_seq: row.last_seq,
            message_count: row.message_count,
        }
    }
}

impl Ledger {
    /// Call before locking a device, or all of a user's.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a later kind of lock is held already.
    pub fn lock_devices(&mut self) -> Result<(), StoreError> {
        self.enter(Stage::Devices)
    }

    /// Call before locking a pair of users.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a conversation is locked already.
    pub fn lock_contacts(&mut self) -> Result<(), StoreError> {
        self.enter(Stage::Contacts)
    }

    /// Call before locking a conversation. `true` if this transaction has it locked already.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one with a greater id is locked already. Those that the transaction made itself do not
    /// count: nobody else can see them.
    pub fn lock_conversation(&mut self, id: ConversationId) -> Result<bool, StoreError> {
        if self.logs.contains_key(&id) {
            return Ok(true);
        }
        if let Some(highest) = self.highest.filter(|highest| *highest >= id) {
            return Err(broken(format!("conversation {id} was to be locked after {highest}")));
        }
        self.stage = Stage::Conversations;
        Ok(false)
    }

    /// Call with the row of a conversation that was just locked.
    pub fn locked(&mut self, row: &Conversation) {
        self.highest = self.highest.max(Some(row.id));
        self.hold(row);
    }

    /// Call with the row of a conversation that was just made.
    pub fn created(&mut self, row: &Conversation) {
        self.stage = Stage::Conversations;
        self.hold(row);
    }

    /// Call before inserting events.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if their conversation is not locked, or if they do not continue its log.
    pub fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            let id = event.conversation;
            let Some(held) = self.logs.get_mut(&id) else {
                return Err(broken(format!(
                    "conversation {id} was to be appended to without its lock"
                )));
            };
            let next = End {
                last_seq: held.log.last_seq.next(),
                message_count: held.log.message_count + u64::from(event.kind == EventKind::Message),
            };
            let given = End {
                last_seq: event.seq,
                message_count: event.message_count,
            };
            if given != next {
                return Err(broken(format!(
                    "conversation {id} was to be continued by {given:?}, not {next:?}"
                )));
            }
            held.log = next;
        }
        Ok(())
    }

    /// Call before replacing a conversation's row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not locked.
    pub fn update(&mut self, row: &Conversation) -> Result<(), StoreError> {
        let Some(held) = self.logs.get_mut(&row.id) else {
            return Err(broken(format!(
                "conversation {} was to be updated without its lock",
                row.id
            )));
        };
        held.row = row.into();
        Ok(())
    }

    /// Call before committing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the row of a conversation does not say where its log ends.
    pub fn check(&self) -> Result<(), StoreError> {
        for (id, held) in &self.logs {
            if held.row != held.log {
                let LockedLog { log, row } = held;
                return Err(broken(format!(
                    "conversation {id} ends at {log:?}, but its row says {row:?}"
                )));
            }
        }
        Ok(())
    }

    fn enter(&mut self, stage: Stage) -> Result<(), StoreError> {
        if stage < self.stage {
            return Err(broken(format!(
                "locks of {stage:?} were to be taken after those of {:?}",
                self.stage
            )));
        }
        self.stage = stage;
        Ok(())
    }

    fn hold(&mut self, row: &Conversation) {
        let end = End::from(row);
        self.logs.insert(row.id, LockedLog { log: end, row: end });
    }
}

fn broken(what: String) -> StoreError {
    StoreError::Corrupt(format!("a unit of work broke its contract: {what}"))
}
