//! Unit of work that posts a system message.

use async_trait::async_trait;
use bytes::Bytes;

use super::{AuditContext, SYSTEM, account_deleted, conversation_target, group_deleted};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Idempotent, Operation, WriteIntents};
use crate::engine::operations::log::{Author, Logs};
use crate::engine::operations::message::{appended, conflict};
use crate::model::{
    Appended, ClientMessageId, Conversation, ConversationId, ConversationKind, Event, EventKind, ReplyCode, UserId,
};
use crate::store::{StoreError, Transaction};

/// Appends a system message to a group or an inbox. A retry with the same `client_message_id` finds
/// the message that was appended before.
#[derive(Clone, Debug)]
pub(in crate::engine) struct PostAsSystem {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) conversation: ConversationId,
    pub(in crate::engine) client_message_id: ClientMessageId,
    /// Distinguishes a retry from another use of `client_message_id`.
    pub(in crate::engine) fingerprint: u64,
    /// Encoded message.
    pub(in crate::engine) body: Bytes,
    /// True if the message is looked for among the stored events before it is appended. If it
    /// cannot be appended, it is looked for in any case.
    pub(in crate::engine) look_first: bool,
}

impl Idempotent for PostAsSystem {
    fn look_first(&mut self) {
        self.look_first = true;
    }
}

#[async_trait]
impl Operation for PostAsSystem {
    /// Position of the message, and the appended event. If the message was found, no event was
    /// appended.
    type Output = (Appended, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let mut logs = Logs::lock(tx, self.audit.now, [self.conversation]).await?;
        let refusal = self
            .refusal(tx, logs.log(self.conversation).map(|log| &log.row))
            .await?;
        if self.look_first || refusal.is_some() {
            let key = (UserId::SYSTEM, self.client_message_id);
            if let Some(sent) = tx.find_sent(&[key]).await?.pop() {
                let is_same =
                    sent.event.conversation == self.conversation && sent.event.fingerprint == self.fingerprint;
                return match is_same {
                    true => Ok((appended(&sent.event, true), Vec::new())),
                    false => Err(conflict().into()),
                };
            }
        }
        let Some(log) = logs.log(self.conversation).filter(|_| refusal.is_none()) else {
            return Err(refusal.unwrap_or_else(|| self.no_conversation()).into());
        };
        let author = Author {
            idempotency_key: Some((self.client_message_id, self.fingerprint)),
            ..SYSTEM
        };
        let event = log.append_encoded(self.audit.now, author, EventKind::Message, None, self.body.clone());
        let appended = appended(event, false);
        let detail = format!("message #{}", appended.seq);
        let (_, events) = logs.write(tx, intents).await?;
        self.audit
            .record(tx, "message.post", conversation_target(self.conversation), detail)
            .await?;
        Ok((appended, events))
    }
}

impl PostAsSystem {
    /// Returns the error for a conversation that accepts no new message, or `None` if it accepts
    /// one.
    async fn refusal(
        &self,
        tx: &mut dyn Transaction,
        row: Option<&Conversation>,
    ) -> Result<Option<CommandError>, StoreError> {
        let Some(row) = row else {
            return Ok(Some(self.no_conversation()));
        };
        if let ConversationKind::Inbox { owner } = row.kind {
            let account = tx.account(owner).await?;
            let is_usable = account.is_some_and(|account| account.deleted.is_none());
            return Ok((!is_usable).then(|| account_deleted(owner)));
        }
        Ok(row.deleted.then(|| group_deleted(self.conversation)))
    }

    fn no_conversation(&self) -> CommandError {
        let text = format!("conversation #{} does not exist", self.conversation);
        CommandError::new(ReplyCode::NotFound, text)
    }
}
