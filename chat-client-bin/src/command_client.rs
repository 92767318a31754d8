//! [`CommandClient`]: a client whose errors are failures for the user.

use std::ops::Deref;

use chat_core::client::{Client, ClientError};
use chat_core::commands::Commands;
use chat_core::model::{Appended, ClientMessageId, Command, ConversationId, ConversationRef, Draft, Outcome, Seq};

use crate::failure::Failure;
use crate::missing::Referents;

/// A client that runs commands. If the server refuses a command because it did not find something,
/// the error names the user, group, message or other thing that is missing. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CommandClient(Client);

impl CommandClient {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Deref for CommandClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Commands for CommandClient {
    type Error = Failure;

    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, Failure>> + Send {
        let referents = Referents::of(&command);
        let answer = self.0.execute(command);
        async move { explained(&self.0, referents, answer.await).await }
    }

    fn new_message_id(&self) -> ClientMessageId {
        self.0.new_message_id()
    }

    /// Puts the message into the outbox and waits for its outcome, as [`Client`] does.
    fn send(
        &self,
        conversation: impl Into<ConversationRef>,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, Failure>> + Send {
        let conversation = conversation.into();
        let referents = Referents::of_message(&conversation, &draft.content);
        let answer = self.0.send(conversation, draft);
        async move { explained(&self.0, Some(referents), answer.await).await }
    }

    async fn acknowledge(&self, conversation: ConversationId, seq: Seq) -> Result<(), Failure> {
        Client::acknowledge(&self.0, conversation, seq);
        Ok(())
    }
}

/// Turns the error of `answer` into a failure. If the server did not find one of the `referents`,
/// the text of the failure names what is missing.
async fn explained<T>(
    client: &Client,
    referents: Option<Referents>,
    answer: Result<T, ClientError>,
) -> Result<T, Failure> {
    match (answer, referents) {
        (Ok(result), _) => Ok(result),
        (Err(error), Some(referents)) => Err(referents.explain(client, error).await),
        (Err(error), None) => Err(error.into()),
    }
}
