//! Making a group.

use async_trait::async_trait;

use super::Limits;
use crate::engine::core::Idempotent;
use crate::engine::error::{CommandError, Refusal, name_taken};
use crate::engine::fence::{fence, lock_user};
use crate::engine::log::{Author, Logs};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{
    Caller, ClientMessageId, ConversationId, ConversationKind, Event, EventBody, EventKind, GroupProfile, Member, Role,
    Seq, Timestamp,
};
use crate::store::{NewConversation, Transaction};

/// What somebody wants to have.
#[derive(Clone, Debug)]
pub(in crate::engine) struct GroupWish {
    pub(in crate::engine) client_message_id: ClientMessageId,
    pub(in crate::engine) fingerprint: u64,
    pub(in crate::engine) profile: GroupProfile,
}

/// Makes a group with the caller as its owner; a retry finds the one it made.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CreateGroup {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) wish: GroupWish,
    pub(in crate::engine) limits: Limits,
    pub(in crate::engine) now: Timestamp,
}

impl Idempotent for CreateGroup {}

#[async_trait]
impl Operation for CreateGroup {
    /// The group, and what was appended; nothing, if it existed.
    type Output = (ConversationId, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Refusal> {
        let user = self.caller.user;
        lock_user(tx, user).await?;
        let key = (user, self.wish.client_message_id);
        let sent = tx.find_sent(&[key]).await?.pop().map(|sent| sent.event);
        let is_mine =
            |event: &Event| event.kind == EventKind::GroupCreated && event.fingerprint == self.wish.fingerprint;
        if let Some(made) = sent.as_ref().filter(|event| is_mine(event)) {
            // Also if the session is over by now: it exists.
            return Ok((made.conversation, Vec::new()));
        }
        fence(tx, self.caller).await?;
        if sent.is_some() {
            return Err(super::super::message::conflict().into());
        }
        if tx.group_count(user).await? >= self.limits.groups_per_user {
            return Err(CommandError::limit("you are in too many groups").into());
        }
        let name = self.wish.profile.name.clone();
        let new = NewConversation {
            kind: ConversationKind::Group,
            group: Some(self.wish.profile.clone()),
            created: self.now,
        };
        let Some(id) = tx.create_conversation(new).await? else {
            return Err(name_taken().into());
        };
        tx.put_member(&Member::active(id, user, Role::Owner, Seq(1))).await?;
        let mut logs = Logs::lock(tx, self.now, []).await?;
        logs.made(tx, id).await?.change().member_count = 1;
        let author = Author {
            sent: Some((self.wish.client_message_id, self.wish.fingerprint)),
            ..self.caller.into()
        };
        logs.append(id, author, &EventBody::GroupCreated { name })?;
        Ok((id, logs.write(tx, intents).await?.1))
    }
}
