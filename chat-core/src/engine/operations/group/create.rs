//! Unit of work that creates a group.

use async_trait::async_trait;

use super::GroupLimits;
use super::limits::Joiner;
use crate::engine::error::{Rejection, name_taken};
use crate::engine::operation::{Idempotent, Operation, WriteIntents};
use crate::engine::operations::fence::{fence, lock_user};
use crate::engine::operations::log::{Author, Logs};
use crate::model::{
    Caller, ClientMessageId, ConversationId, ConversationKind, Event, EventBody, EventKind, GroupProfile, Member, Role,
    Seq, Timestamp,
};
use crate::store::{NewConversation, Transaction};

/// Creates a group with the caller as its owner. A retry with the same `client_message_id` and
/// `fingerprint` returns the group that was created before.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CreateGroup {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) client_message_id: ClientMessageId,
    /// Distinguishes a retry from another use of `client_message_id`.
    pub(in crate::engine) fingerprint: u64,
    pub(in crate::engine) profile: GroupProfile,
    pub(in crate::engine) limits: GroupLimits,
    pub(in crate::engine) now: Timestamp,
}

impl Idempotent for CreateGroup {}

#[async_trait]
impl Operation for CreateGroup {
    /// The group, and the appended events. A retry that finds the group appends none.
    type Output = (ConversationId, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let user = self.caller.user;
        lock_user(tx, user).await?;
        let key = (user, self.client_message_id);
        let sent = tx.find_sent(&[key]).await?.pop().map(|sent| sent.event);
        let is_retry_of =
            |event: &Event| event.kind == EventKind::GroupCreated && event.fingerprint == self.fingerprint;
        if let Some(created) = sent.as_ref().filter(|event| is_retry_of(event)) {
            // The group exists, so a retry finds it even if the session has ended since. The
            // command checks the caller before it reads the group for the answer.
            return Ok((created.conversation, Vec::new()));
        }
        fence(tx, self.caller, self.now).await?;
        if sent.is_some() {
            return Err(crate::engine::operations::message::conflict().into());
        }
        self.limits
            .require_below_group_limits(tx, user, Joiner::Caller, false)
            .await?;
        let name = self.profile.name.clone();
        let new = NewConversation {
            kind: ConversationKind::Group,
            group: Some(self.profile.clone()),
            created: self.now,
        };
        let Some(id) = tx.create_conversation(new).await? else {
            return Err(name_taken().into());
        };
        tx.put_member(&Member::active(id, user, Role::Owner, Seq(1))).await?;
        let mut logs = Logs::lock(tx, self.now, []).await?;
        logs.add_created(tx, id).await?.change().member_count = 1;
        let author = Author {
            idempotency_key: Some((self.client_message_id, self.fingerprint)),
            ..self.caller.into()
        };
        logs.append(id, author, &EventBody::GroupCreated { name })?;
        Ok((id, logs.write(tx, intents).await?.1))
    }
}
