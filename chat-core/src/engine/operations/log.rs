//! [`Logs`]: appending events to logs. All units of work of the engine append through this module.
//!
//! A unit of work locks the conversations it writes to, adds events to their [`Logs`], and writes
//! all of them at its end. This module alone assigns the `Seq`, time and message count of each
//! event, and the `members_version` of each conversation.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::codec::body;
use crate::engine::error::Rejection;
use crate::engine::operation::WriteIntents;
use crate::model::{
    Caller, ClientMessageId, Conversation, ConversationId, DeviceId, Event, EventBody, EventId, EventKind,
    GroupSnapshot, Seq, Timestamp, UserId,
};
use crate::store::{StoreError, Transaction};

/// The sender of an event, with the idempotency key by which the sender requested it, if any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author {
    pub(crate) user: UserId,
    /// Device of the sender; `None` if the event is not from a session.
    pub(crate) device: Option<DeviceId>,
    /// Idempotency key, and the fingerprint of what was sent with it: a draft, a new group or a
    /// message of the system. `None` if the event was requested without a key.
    pub(crate) idempotency_key: Option<(ClientMessageId, u64)>,
}

impl From<Caller> for Author {
    fn from(caller: Caller) -> Self {
        Self {
            user: caller.user,
            device: caller.device(),
            idempotency_key: None,
        }
    }
}

/// The logs of the conversations that a transaction has locked, with the events that the
/// transaction is about to append to them.
#[derive(Debug)]
pub(crate) struct Logs {
    now: Timestamp,
    locked: BTreeMap<ConversationId, Log>,
}

/// The log of one locked conversation.
#[derive(Debug)]
pub(crate) struct Log {
    /// The conversation's row as it will be written.
    pub(crate) row: Conversation,
    events: Vec<Event>,
    ids: EventIds,
    /// True if the row has to be written even if no event is appended.
    is_row_changed: bool,
}

impl Log {
    /// Adds an event with the next `Seq`.
    pub(crate) fn append(&mut self, now: Timestamp, author: Author, body: &EventBody) -> &Event {
        self.append_encoded(now, author, body.kind(), body.target(), body::encode(body))
    }

    /// Adds an event whose body is encoded already.
    pub(crate) fn append_encoded(
        &mut self,
        now: Timestamp,
        author: Author,
        kind: EventKind,
        target: Option<Seq>,
        body: Bytes,
    ) -> &Event {
        let row = &mut self.row;
        row.last_seq = row.last_seq.next();
        row.last_time = now.max(Timestamp(row.last_time.0.saturating_add(1)));
        row.message_count += u64::from(kind == EventKind::Message);
        if kind.changes_members() {
            row.members_version = row.last_seq;
        }
        self.events.push(Event {
            conversation: row.id,
            seq: row.last_seq,
            id: self.ids.next(),
            sender: author.user,
            device: author.device,
            client_message_id: author.idempotency_key.map(|(id, _)| id),
            fingerprint: author.idempotency_key.map_or(0, |(_, fingerprint)| fingerprint),
            time: row.last_time,
            kind,
            target,
            message_count: row.message_count,
            edited_seq: None,
            recalled_seq: None,
            body,
        });
        self.events.last().expect("an event was just pushed")
    }

    /// Returns the state of the group that a member who leaves now continues to see, or `None` if
    /// the conversation is not a group.
    pub(crate) fn snapshot(&self) -> Option<GroupSnapshot> {
        Some(GroupSnapshot {
            profile: self.row.group.clone()?,
            member_count: self.row.member_count,
            last_time: self.row.last_time,
        })
    }

    /// Returns the row, to change fields that [`append`](Self::append) does not set, and marks it
    /// to be written.
    pub(crate) fn change(&mut self) -> &mut Conversation {
        self.is_row_changed = true;
        &mut self.row
    }
}

impl Logs {
    /// Locks those of these conversations that exist, in ascending order of their ids, which
    /// prevents deadlocks.
    pub(crate) async fn lock(
        tx: &mut dyn Transaction,
        now: Timestamp,
        ids: impl IntoIterator<Item = ConversationId>,
    ) -> Result<Self, StoreError> {
        let mut logs = Self {
            now,
            locked: BTreeMap::new(),
        };
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if let Some(row) = tx.lock_conversation(id).await? {
                logs.insert(row);
            }
        }
        Ok(logs)
    }

    /// Locks and adds a conversation that this transaction has just created.
    pub(crate) async fn add_created(
        &mut self,
        tx: &mut dyn Transaction,
        id: ConversationId,
    ) -> Result<&mut Log, StoreError> {
        let row = tx.lock_conversation(id).await?;
        let row = row.ok_or_else(|| {
            StoreError::Defect(format!(
                "conversation {id} is missing in the transaction that created it"
            ))
        })?;
        self.insert(row);
        self.log(id).ok_or_else(|| {
            StoreError::Defect(format!(
                "conversation {id} is missing in the transaction that created it"
            ))
        })
    }

    fn insert(&mut self, row: Conversation) {
        let log = Log {
            row,
            events: Vec::new(),
            ids: EventIds::default(),
            is_row_changed: false,
        };
        self.locked.insert(log.row.id, log);
    }

    /// Returns the log of a locked conversation, or `None` if it does not exist or was not locked.
    pub(crate) fn log(&mut self, id: ConversationId) -> Option<&mut Log> {
        self.locked.get_mut(&id)
    }

    /// Appends an event to a locked conversation. Returns the event's `Seq`, or
    /// [`Rejection::Outdated`] if the conversation does not exist or was not locked.
    pub(crate) fn append(&mut self, id: ConversationId, author: Author, body: &EventBody) -> Result<Seq, Rejection> {
        let now = self.now;
        let log = self.locked.get_mut(&id).ok_or(Rejection::Outdated)?;
        Ok(log.append(now, author, body).seq)
    }

    /// Records the appended events in `intents`, and writes them and the changed rows. Returns
    /// whether the new names of groups are free (if not, the transaction must be aborted), and the
    /// events.
    pub(crate) async fn write(
        self,
        tx: &mut dyn Transaction,
        intents: &WriteIntents,
    ) -> Result<(bool, Vec<Event>), StoreError> {
        let mut written = Vec::new();
        let mut are_names_free = true;
        for log in self.locked.into_values() {
            if log.events.is_empty() && !log.is_row_changed {
                continue;
            }
            if !log.events.is_empty() {
                intents.record(&log.events);
                tx.insert_events(&log.events).await?;
            }
            are_names_free &= tx.update_conversation(&log.row).await?;
            written.extend(log.events);
        }
        Ok((are_names_free, written))
    }
}

/// Generator of the ids of the events that one transaction appends to a log: the first id is a new
/// UUIDv7, and the last 62 bits of each further one are those of the previous one plus 1, similar
/// to method 2 in RFC 9562 §6.2. A batch thus needs random bytes only once.
#[derive(Debug, Default)]
struct EventIds {
    last: Option<u128>,
}

impl EventIds {
    fn next(&mut self) -> EventId {
        /// The 62 bits of a UUIDv7 after its variant.
        const LAST_BITS: u128 = (1 << 62) - 1;
        let id = match self.last {
            None => u128::from_be_bytes(EventId::random().0),
            Some(last) => (last & !LAST_BITS) | (last.wrapping_add(1) & LAST_BITS),
        };
        self.last = Some(id);
        EventId(id.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn event_ids_are_distinct_and_keep_version_and_variant() {
        let mut ids = EventIds::default();
        let first = ids.next();
        let mut wrapping = EventIds {
            last: Some(u128::from_be_bytes(first.0) | ((1 << 62) - 1)),
        };
        let rest: Vec<EventId> = (0..100)
            .map(|_| ids.next())
            .chain((0..100).map(|_| wrapping.next()))
            .collect();
        let all: HashSet<EventId> = rest.iter().copied().chain([first]).collect();
        assert_eq!(all.len(), 201);
        for id in rest {
            assert_eq!((id.0[..8] == first.0[..8], id.0[8] >> 6), (true, 0b10));
        }
    }
}
