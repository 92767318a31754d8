//! Unit of work that opens a direct conversation, which happens when its first message is sent.

use async_trait::async_trait;

use super::context::check_mentions;
use super::queued_draft::{MessageLimits, QueuedDraft};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::account::account_exists;
use crate::engine::operations::contact::{Relation, inbox_of};
use crate::engine::operations::fence::fence;
use crate::engine::operations::log::Logs;
use crate::engine::operations::policy::{self, DirectPermission, StrangerPolicy};
use crate::model::{
    Caller, ConversationId, ConversationKind, Event, EventBody, EventKind, Member, Role, Seq, Timestamp, UserId,
};
use crate::store::{NewConversation, StoreError, Transaction};

/// Creates the direct conversation of two users, or a user's conversation with themselves, if the
/// caller may write to the peer. Each of the users gets an event in the inbox.
#[derive(Clone, Debug)]
pub(in crate::engine) struct OpenDirect {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for OpenDirect {
    /// The conversation, and the appended events: none if the conversation existed.
    type Output = (ConversationId, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let me = self.caller.user;
        let relation = if me == self.peer {
            Relation::Myself
        } else {
            let (own, other) = tx.lock_contacts(me, self.peer).await?;
            Relation::of(own.as_ref(), other.as_ref())
        };
        fence(tx, self.caller, self.now).await?;
        if !account_exists(tx, self.peer).await? {
            return Err(CommandError::not_found().into());
        }
        let accepts = accepts_stranger(tx, self.peer, None).await?;
        policy::check_direct(DirectPermission::Send, relation, accepts)?;
        let kind = ConversationKind::direct(me, self.peer);
        let mut users_and_peers = vec![(me, self.peer), (self.peer, me)];
        users_and_peers.dedup_by_key(|(user, _)| *user);
        let mut inboxes = Vec::with_capacity(users_and_peers.len());
        for (user, _) in &users_and_peers {
            inboxes.push(inbox_of(tx, *user).await?);
        }
        let mut logs = Logs::lock(tx, self.now, inboxes.iter().copied()).await?;
        let new = NewConversation {
            kind: kind.clone(),
            group: None,
            created: self.now,
        };
        let Some(id) = tx.create_conversation(new).await? else {
            // Another transaction has opened the conversation in the meantime.
            let id = tx.conversation_of_kind(&kind).await?;
            return id.map(|id| (id, Vec::new())).ok_or(Rejection::Outdated);
        };
        for (user, _) in &users_and_peers {
            tx.put_member(&Member::active(id, *user, Role::Member, Seq(1))).await?;
        }
        let members = u32::try_from(users_and_peers.len()).unwrap_or(2);
        logs.add_created(tx, id).await?.change().member_count = members;
        for (inbox, (_, peer)) in inboxes.iter().zip(&users_and_peers) {
            let body = EventBody::ConversationOpened {
                conversation: id,
                peer: *peer,
            };
            logs.append(*inbox, self.caller.into(), &body)?;
        }
        Ok((id, logs.write(tx, intents).await?.1))
    }
}

/// Checks whether a draft can be the first event of the direct conversation with `peer`. A draft
/// that cannot is refused before the conversation is opened, with the error that a user who may
/// write to the peer would get in a conversation without messages.
pub(in crate::engine) fn check_first_message(
    draft: &QueuedDraft,
    peer: UserId,
    limits: MessageLimits,
) -> Result<(), CommandError> {
    if draft.kind != EventKind::Message {
        return Err(CommandError::not_found());
    }
    if draft.mention_all {
        return Err(CommandError::forbidden());
    }
    check_mentions(draft, limits, |user| *user == peer || *user == draft.caller.user)?;
    match draft.reply_to {
        Some(_) => Err(CommandError::not_found()),
        None => Ok(()),
    }
}

/// Returns whether the user accepts direct messages from a user who is not a friend.
/// `conversation` is the direct conversation of the two users, if there is one.
pub(super) async fn accepts_stranger(
    tx: &mut dyn Transaction,
    user: UserId,
    conversation: Option<ConversationId>,
) -> Result<bool, StoreError> {
    let policy = StrangerPolicy::of(tx.account(user).await?.as_ref());
    let has_sent = match conversation {
        Some(conversation) if policy.depends_on_messages() => {
            let members = tx.members_in(conversation, &[user]).await?;
            members.iter().any(|member| member.has_sent)
        }
        _ => false,
    };
    Ok(policy.accepts(has_sent))
}
