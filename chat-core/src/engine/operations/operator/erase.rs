//! Units of work that erase texts: recalls by operators, and the texts of deleted users.

use async_trait::async_trait;

use super::{AuditContext, SYSTEM, conversation_target, on_behalf_of};
use crate::codec::body;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::log::{Author, Log, Logs};
use crate::model::{ConversationId, Event, EventBody, EventKind, Message, ReplyCode, Seq, Timestamp, UserId};
use crate::store::{StoreError, Transaction};

/// Erases the texts of a message and its edits, and appends a recall event.
///
/// No event can be appended to the log of a deleted group. There the text is erased without an
/// event, and the message is marked as recalled by the last event of the log.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RecallMessage {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) conversation: ConversationId,
    pub(in crate::engine) target: Seq,
}

#[async_trait]
impl Operation for RecallMessage {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut logs = Logs::lock(tx, self.audit.now, [self.conversation]).await?;
        let target = tx.events_at(self.conversation, &[self.target]).await?.pop();
        let target = target.filter(|event| event.kind == EventKind::Message);
        let (Some(log), Some(target)) = (logs.log(self.conversation), target) else {
            let text = format!("conversation {} has no message #{}", self.conversation, self.target);
            return Err(CommandError::new(ReplyCode::NotFound, text).into());
        };
        if target.recalled_seq.is_some() {
            let text = format!(
                "message #{} of conversation {} was recalled already",
                self.target, self.conversation
            );
            return Err(CommandError::new(ReplyCode::AlreadyRecalled, text).into());
        }
        let recall = recall(log, self.audit.now, SYSTEM, self.target);
        let (_, events) = logs.write(tx, intents).await?;
        erase(tx, self.conversation, self.target, recall).await?;
        let detail = format!("message #{} of user {}", self.target, target.sender);
        self.audit
            .record(tx, "message.recall", conversation_target(self.conversation), detail)
            .await?;
        Ok(events)
    }
}

/// Erases the texts of those of `targets` that are messages of a deleted user and were not
/// recalled, and appends a recall event for each, but no events to the log of a deleted group.
#[derive(Clone, Debug)]
pub(in crate::engine) struct EraseMessages {
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) conversation: ConversationId,
    pub(in crate::engine) targets: Vec<Seq>,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for EraseMessages {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut logs = Logs::lock(tx, self.now, [self.conversation]).await?;
        let mut targets = tx.events_at(self.conversation, &self.targets).await?;
        targets.retain(|event| {
            event.kind == EventKind::Message && event.sender == self.user && event.recalled_seq.is_none()
        });
        targets.sort_by_key(|event| event.seq);
        let Some(log) = logs.log(self.conversation) else {
            return Ok(Vec::new());
        };
        let mut recalls = Vec::with_capacity(targets.len());
        for target in &targets {
            recalls.push(recall(log, self.now, on_behalf_of(self.user), target.seq));
        }
        let (_, events) = logs.write(tx, intents).await?;
        for (target, recall) in targets.iter().zip(recalls) {
            erase(tx, self.conversation, target.seq, recall).await?;
        }
        Ok(events)
    }
}

/// Appends a recall event for the message `target`, and returns the `Seq` of this event. If the
/// group is deleted, appends nothing and returns the `Seq` of the last event.
fn recall(log: &mut Log, now: Timestamp, author: Author, target: Seq) -> Seq {
    if log.row.deleted {
        return log.row.last_seq;
    }
    log.append(now, author, &EventBody::Recall { target }).seq
}

/// Replaces the bodies of a message and of its edits by tombstones (bodies without text), and marks
/// the message as recalled by the event `recall`.
async fn erase(
    tx: &mut dyn Transaction,
    conversation: ConversationId,
    target: Seq,
    recall: Seq,
) -> Result<(), StoreError> {
    let (tombstone, edit_tombstone) = (body::tombstone(), body::edit_tombstone(target));
    tx.erase(conversation, target, recall, tombstone, edit_tombstone).await
}

/// Erases the texts of the events at the positions `targets` of a deleted user's inbox. Appends no
/// events, because the inbox has no reader any more.
#[derive(Clone, Debug)]
pub(in crate::engine) struct EraseInbox {
    pub(in crate::engine) inbox: ConversationId,
    pub(in crate::engine) targets: Vec<Seq>,
}

impl EraseInbox {
    /// Returns the body of an inbox event without its text (that of a system message, or the note
    /// of a request), or `None` if the body has no such text.
    pub(in crate::engine) fn without_text(body: EventBody) -> Option<EventBody> {
        match body {
            EventBody::Message(message) if !message.text.is_empty() => Some(EventBody::Message(Message::default())),
            EventBody::FriendRequested { from, note } if !note.is_empty() => Some(EventBody::FriendRequested {
                from,
                note: String::new(),
            }),
            EventBody::JoinRequested {
                group,
                group_name,
                user,
                note,
            } if !note.is_empty() => Some(EventBody::JoinRequested {
                group,
                group_name,
                user,
                note: String::new(),
            }),
            _ => None,
        }
    }
}

#[async_trait]
impl Operation for EraseInbox {
    type Output = ();

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<(), Rejection> {
        let Some(row) = tx.lock_conversation(self.inbox).await? else {
            return Ok(());
        };
        for event in tx.events_at(self.inbox, &self.targets).await? {
            let Some(empty) = event.body().ok().and_then(Self::without_text) else {
                continue;
            };
            // An inbox contains no edits, so the tombstone of edits is not used.
            let edit_tombstone = body::edit_tombstone(event.seq);
            let tombstone = body::encode(&empty);
            tx.erase(self.inbox, event.seq, row.last_seq, tombstone, edit_tombstone)
                .await?;
        }
        Ok(())
    }
}
