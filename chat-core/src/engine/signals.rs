//! Decides which users see that a user is typing or has read.

use super::error::CommandError;
use super::operations::contact::Relation;
use super::operations::policy::{self, DirectPermission};
use super::units::Units;
use crate::model::{ConversationKind, DirectPolicy, UserId};

/// Returns whether `peer` may see `user` typing and reading; `false` if the store cannot be read.
pub(super) async fn may_signal(units: &Units, user: UserId, peer: UserId) -> bool {
    let store = units.store();
    let own = units.read(store.contact(user, peer)).await;
    let theirs = units.read(store.contact(peer, user)).await;
    let (Ok(own), Ok(theirs)) = (own, theirs) else {
        return false;
    };
    let relation = Relation::of(own.as_ref(), theirs.as_ref());
    let accepts = relation == Relation::Stranger && accepts_stranger(units, user, peer).await.unwrap_or(false);
    policy::direct(DirectPermission::Signal, relation, accepts).is_ok()
}

/// Returns whether `peer` accepts direct messages from `user`, who is no contact.
async fn accepts_stranger(units: &Units, user: UserId, peer: UserId) -> Result<bool, CommandError> {
    let store = units.store();
    let account = units.read(store.account(peer)).await?;
    match account.map(|account| account.direct_policy) {
        Some(DirectPolicy::Everyone) => Ok(true),
        Some(DirectPolicy::Replies) => {
            let kind = ConversationKind::direct(user, peer);
            let Some(conversation) = units.read(store.conversation_of_kind(&kind)).await? else {
                return Ok(false);
            };
            let member = units.read(store.member(conversation, peer)).await?;
            Ok(member.is_some_and(|member| member.has_sent))
        }
        Some(DirectPolicy::Friends) | None => Ok(false),
    }
}
