//! Operator actions that recall messages and post system messages.

use super::Operator;
use crate::codec::body;
use crate::engine::error::CommandError;
use crate::engine::operations::message::{appended, fingerprint};
use crate::engine::operations::operator::{PostAsSystem, RecallMessage, no_group};
use crate::model::{
    Appended, ClientMessageId, ConversationId, ConversationKind, ConversationRef, EventBody, EventKind, Message,
    MessageText, ReplyCode, Seq, UserId, UserRef,
};

impl Operator {
    /// Recalls a message of any user and any age: erases its text and the texts of its edits, and
    /// appends a recall event whose sender is [`UserId::SYSTEM`](crate::model::UserId::SYSTEM).
    ///
    /// In a deleted group, to whose log no event can be appended, the texts are erased without an
    /// event.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no message at this position. `AlreadyRecalled`: the
    /// message was recalled before.
    pub async fn recall(&self, conversation: ConversationId, target: Seq) -> Result<(), CommandError> {
        self.spawn(|this| async move {
            let recall = RecallMessage {
                audit: this.audit_context(),
                conversation,
                target,
            };
            this.run_and_publish(conversation, recall).await
        })
        .await
    }

    /// Posts a system message to a group: its sender is
    /// [`UserId::SYSTEM`](crate::model::UserId::SYSTEM). A retry with the same id appends nothing.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such group. `GroupDeleted`: the group is deleted.
    /// `Conflict`: the id was used for another message. `InvalidArgument`: `group` is a
    /// [`ConversationRef::Direct`]; the id of a direct conversation gives `NotFound`.
    pub async fn post_to_group(
        &self,
        group: impl Into<ConversationRef>,
        text: MessageText,
        id: ClientMessageId,
    ) -> Result<Appended, CommandError> {
        let group = self.find_group(&group.into()).await.map(|group| group.id);
        self.post(group, text, id).await
    }

    /// Posts a system message to a user's inbox, where the user cannot answer it. Its sender is
    /// [`UserId::SYSTEM`](crate::model::UserId::SYSTEM). A retry with the same id appends nothing.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account, or it is deleted. `Conflict`: the id
    /// was used for another message.
    pub async fn post_to_user(
        &self,
        user: impl Into<UserRef>,
        text: MessageText,
        id: ClientMessageId,
    ) -> Result<Appended, CommandError> {
        let inbox = self.inbox(&user.into()).await;
        self.post(inbox, text, id).await
    }

    /// Returns the id of a user's inbox.
    async fn inbox(&self, user: &UserRef) -> Result<ConversationId, CommandError> {
        let kind = ConversationKind::Inbox {
            owner: self.find_user(user).await?,
        };
        let access = &self.parts.access;
        let inbox = access.read(access.store().conversation_of_kind(&kind)).await?;
        inbox.ok_or_else(|| CommandError::defect("a user has no inbox"))
    }

    /// Posts a message to a conversation. If the conversation was not found, the group or account
    /// may have been renamed or deleted since an earlier call. This method then looks for the
    /// message among those posted before, and fails with `NotFound` only if it is not found either.
    async fn post(
        &self,
        conversation: Result<ConversationId, CommandError>,
        text: MessageText,
        id: ClientMessageId,
    ) -> Result<Appended, CommandError> {
        let body = body::encode(&EventBody::Message(Message::new(text.as_str())));
        let fingerprint = fingerprint(EventKind::Message, &body);
        let conversation = match conversation {
            Ok(conversation) => conversation,
            Err(error) => return self.posted_before(id, fingerprint, error).await,
        };
        self.spawn(|this| async move {
            let post = PostAsSystem {
                audit: this.audit_context(),
                conversation,
                client_message_id: id,
                fingerprint,
                body,
                look_first: false,
            };
            let access = &this.parts.access;
            let deadline = access.deadline();
            let mut outcome_unknown = false;
            let posted = access.run_idempotent(conversation, post, deadline, &mut outcome_unknown);
            let (appended, events) = posted.await?;
            this.parts.publisher.publish(events);
            Ok(appended)
        })
        .await
    }

    /// Returns the position of the message that was posted before with this id and fingerprint, if
    /// `error` is `NotFound`. Otherwise, or if there is no such message, fails with `error`.
    async fn posted_before(
        &self,
        id: ClientMessageId,
        fingerprint: u64,
        error: CommandError,
    ) -> Result<Appended, CommandError> {
        if error.code != ReplyCode::NotFound {
            return Err(error);
        }
        let access = &self.parts.access;
        let sent = access.read(access.store().find_sent(UserId::SYSTEM, &[id])).await?;
        let same = sent.into_iter().find(|sent| sent.event.fingerprint == fingerprint);
        same.map(|sent| appended(&sent.event, true)).ok_or(error)
    }

    /// Returns the row of a group, deleted or not. A deleted group is found only by its id. Fails
    /// with `NotFound` if there is no such group, and with `InvalidArgument` for a
    /// [`ConversationRef::Direct`].
    pub(super) async fn find_group(&self, group: &ConversationRef) -> Result<crate::model::Conversation, CommandError> {
        let (access, store) = (&self.parts.access, self.parts.access.store());
        let id = match group {
            ConversationRef::Id(id) => *id,
            ConversationRef::Group(name) => {
                let id = access.read(store.group_by_key(&name.key())).await?;
                let unknown_name = || CommandError::new(ReplyCode::NotFound, format!("group {name} does not exist"));
                id.ok_or_else(unknown_name)?
            }
            ConversationRef::Direct(_) => return Err(CommandError::invalid("a direct conversation is not a group")),
        };
        let row = access.read(store.conversation(id)).await?;
        row.filter(|row| row.kind == ConversationKind::Group)
            .ok_or_else(|| no_group(id))
    }
}
