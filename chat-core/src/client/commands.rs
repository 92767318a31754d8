//! [`Commands`] of a [`Client`]: a typed method for each command.

use crate::commands::Commands;
use crate::model::{Appended, ClientMessageId, Command, ConversationId, ConversationRef, Draft, Outcome, Seq};

use super::{Client, ClientError, SendOutcome, message_id};

/// Messages go through the outbox: [`send`](Commands::send) and the calls that are built on it put
/// a message there and wait for its outcome. Use [`Client::enqueue`] to send without waiting for
/// the outcome.
impl Commands for Client {
    type Error = ClientError;

    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, ClientError>> + Send {
        Self::execute(self, command)
    }

    /// Returns an idempotency key by which this device recognises the message as its own.
    fn new_message_id(&self) -> ClientMessageId {
        message_id::new_id(self.device())
    }

    /// Puts the message into the outbox and waits until the server has stored it.
    ///
    /// # Errors
    /// The errors of [`Client::enqueue_draft`], and the reason of [`SendOutcome::NotStored`], such
    /// as the refusal of the server. [`ClientError::Closed`]: the client ended before the server
    /// answered; the message stays in the outbox. [`ClientError::Interrupted`]: it is unknown
    /// whether the message was stored.
    fn send(
        &self,
        conversation: impl Into<ConversationRef>,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, ClientError>> + Send {
        let conversation = conversation.into();
        async move {
            let mut handle = self.enqueue_draft(conversation, draft, None).await?;
            match handle.outcome().await? {
                SendOutcome::Stored(appended) => Ok(appended),
                SendOutcome::NotStored(error) => Err(error),
                SendOutcome::Unknown => Err(ClientError::Interrupted),
            }
        }
    }

    /// Acknowledges every event up to `seq`; see [`Client::acknowledge`]. Returns at once.
    fn acknowledge(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> impl Future<Output = Result<(), ClientError>> + Send {
        Self::acknowledge(self, conversation, seq);
        std::future::ready(Ok(()))
    }
}
