//! Checks of the transaction contract that are the same for every store: lock order, appends to and
//! updates of locked conversations only, logs without gaps, and rows that agree with their logs.

use std::collections::BTreeMap;

use super::StoreError;
use crate::model::{Conversation, ConversationId, Event, EventKind, Seq};

/// Kinds of locks, in the order in which a transaction takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum LockStage {
    #[default]
    Devices,
    Contacts,
    Conversations,
    Feeds,
    Audit,
}

/// Tracks the locks, appends and row updates of one transaction, and rejects units that violate the
/// [contract](super): locks out of order; appends to, updates of or snapshots of a conversation
/// that is not locked; request notices in an inbox that is not locked; events that do not continue
/// their log; or a row that disagrees with its log.
///
/// Each transaction of the stores of this project has one, so such a violation causes the same
/// error on each of them. A store does not commit a unit that returns the error.
#[derive(Debug, Default)]
pub struct TxContract {
    /// Latest kind of lock that the transaction has taken; the first kind if it has taken none.
    stage: LockStage,
    /// Greatest id of a locked conversation, without those that the transaction created.
    highest_locked: Option<ConversationId>,
    /// Logs of the conversations that the transaction has locked or created.
    logs: BTreeMap<ConversationId, LockedLog>,
}

/// End of a conversation that the transaction has locked or created, according to its log and to
/// its row. The two must agree when the transaction commits.
#[derive(Clone, Copy, Debug)]
struct LockedLog {
    log: LogEnd,
    row: LogEnd,
}

/// Last sequence number of a log, and the number of messages up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LogEnd {
    last_seq: Seq,
    message_count: u64,
}

impl From<&Conversation> for LogEnd {
    fn from(row: &Conversation) -> Self {
        Self {
            last_seq: row.last_seq,
            message_count: row.message_count,
        }
    }
}

impl TxContract {
    /// Records that the transaction is about to lock a device, or all devices of a user.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the transaction already holds a later kind of lock.
    pub fn before_lock_devices(&mut self) -> Result<(), StoreError> {
        self.enter(LockStage::Devices)
    }

    /// Records that the transaction is about to lock a pair of users.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the transaction already holds a later kind of lock.
    pub fn before_lock_contacts(&mut self) -> Result<(), StoreError> {
        self.enter(LockStage::Contacts)
    }

    /// Records that the transaction is about to lock a conversation. Returns `true` if it has
    /// locked or created the conversation already.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the transaction already holds a later kind of lock, or has locked a
    /// conversation with a greater id. Conversations that the transaction created itself do not
    /// count, because no other transaction can see them.
    pub fn before_lock_conversation(&mut self, id: ConversationId) -> Result<bool, StoreError> {
        if self.logs.contains_key(&id) {
            return Ok(true);
        }
        if let Some(highest) = self.highest_locked.filter(|highest| *highest >= id) {
            return Err(violation(format!(
                "it locks conversation {id} after conversation {highest}, not by ascending id"
            )));
        }
        self.enter(LockStage::Conversations)?;
        Ok(false)
    }

    /// Records that the transaction is about to lock a shard of a feed, or to delete a feed. A
    /// transaction that locks several shards must lock them in the order of their numbers, which
    /// this does not check.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the transaction already holds the lock of the audit log.
    pub fn before_lock_feeds(&mut self) -> Result<(), StoreError> {
        self.enter(LockStage::Feeds)
    }

    /// Records that the transaction is about to lock the audit log.
    ///
    /// # Errors
    /// Never, because this is the last kind of lock.
    pub fn before_lock_audit(&mut self) -> Result<(), StoreError> {
        self.enter(LockStage::Audit)
    }

    /// Records the row of a conversation that the transaction has just locked.
    pub fn after_lock_conversation(&mut self, row: &Conversation) {
        self.highest_locked = self.highest_locked.max(Some(row.id));
        self.track(row);
    }

    /// Records the row of a conversation that the transaction has just created, which counts as a
    /// lock of a conversation: the transaction can lock neither devices nor contacts afterwards.
    pub fn after_create_conversation(&mut self, row: &Conversation) {
        self.stage = self.stage.max(LockStage::Conversations);
        self.track(row);
    }

    /// Records that the transaction is about to insert events.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the conversation of an event is not locked, or an event does not
    /// continue its log.
    pub fn before_append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            let id = event.conversation;
            let Some(tracked) = self.logs.get_mut(&id) else {
                return Err(violation(format!(
                    "it appends to conversation {id} without the lock of that conversation"
                )));
            };
            let next = LogEnd {
                last_seq: tracked.log.last_seq.next(),
                message_count: tracked.log.message_count + u64::from(event.kind == EventKind::Message),
            };
            let given = LogEnd {
                last_seq: event.seq,
                message_count: event.message_count,
            };
            if given != next {
                return Err(violation(format!(
                    "it continues conversation {id} with {given:?} instead of {next:?}"
                )));
            }
            tracked.log = next;
        }
        Ok(())
    }

    /// Records that the transaction is about to replace the row of a conversation.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the conversation is not locked.
    pub fn before_update_conversation(&mut self, row: &Conversation) -> Result<(), StoreError> {
        let Some(tracked) = self.logs.get_mut(&row.id) else {
            return Err(violation(format!(
                "it updates conversation {} without the lock of that conversation",
                row.id
            )));
        };
        tracked.row = row.into();
        Ok(())
    }

    /// Checks that the transaction may write the snapshot of a group.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the group is not locked, or does not exist.
    pub fn before_put_snapshot(&self, group: ConversationId) -> Result<(), StoreError> {
        if self.logs.contains_key(&group) {
            return Ok(());
        }
        Err(violation(format!(
            "it writes a snapshot of group {group} without the lock of that group"
        )))
    }

    /// Checks that the transaction may record or delete notices of requests in an inbox.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the inbox is not locked, or does not exist.
    pub fn before_write_request_notices(&self, inbox: ConversationId) -> Result<(), StoreError> {
        if self.logs.contains_key(&inbox) {
            return Ok(());
        }
        Err(violation(format!(
            "it records or deletes a notice of inbox {inbox} without the lock of that inbox"
        )))
    }

    /// Checks the transaction before it commits.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the row of a conversation does not state where its log ends.
    pub fn before_commit(&self) -> Result<(), StoreError> {
        for (id, tracked) in &self.logs {
            if tracked.row != tracked.log {
                let LockedLog { log, row } = tracked;
                return Err(violation(format!(
                    "the log of conversation {id} ends at {log:?}, but its row states {row:?}"
                )));
            }
        }
        Ok(())
    }

    /// Checks that the transaction holds no later kind of lock, and records this kind.
    fn enter(&mut self, stage: LockStage) -> Result<(), StoreError> {
        if stage < self.stage {
            return Err(violation(format!(
                "it takes a lock of {stage:?} after locks of {:?}",
                self.stage
            )));
        }
        self.stage = stage;
        Ok(())
    }

    /// Starts to track the log of a conversation, which ends where `row` states.
    fn track(&mut self, row: &Conversation) {
        let end = LogEnd::from(row);
        self.logs.insert(row.id, LockedLog { log: end, row: end });
    }
}

fn violation(what: String) -> StoreError {
    StoreError::Defect(format!("a unit of work broke its contract: {what}"))
}
