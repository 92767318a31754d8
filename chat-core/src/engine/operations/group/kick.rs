//! Units of work that remove, ban and unban members of a group.

use async_trait::async_trait;

use super::GroupChangeContext;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// Removes a member, withdraws a user's invitation, or refuses a user's request to join. If `ban`
/// is set, the user, who need not be a member, cannot join until unbanned. A removed member gets an
/// event in the inbox. Does nothing to a banned user, nor without `ban` to a former member. Without
/// `ban`, fails for an [outsider](Membership::Outsider).
#[derive(Clone, Debug)]
pub(in crate::engine) struct KickMember {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) ban: bool,
}

#[async_trait]
impl Operation for KickMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let by = self.context.caller.user;
        if by == self.user {
            return Err(CommandError::invalid("you cannot remove yourself; leave the group instead").into());
        }
        let has_account = tx.account(self.user).await?.is_some();
        let notified = if has_account { vec![self.user] } else { Vec::new() };
        let mut group = self.context.lock(tx, &[self.user], &notified).await?;
        group.require_rank(GroupPermission::Moderate, self.user)?;
        if !has_account {
            return Err(CommandError::not_found().into());
        }
        let state = if self.ban {
            MemberState::Banned
        } else {
            MemberState::Left
        };
        let membership = group.membership(self.user);
        if membership.is_inside() {
            let seq = group.append(&EventBody::MemberKicked {
                user: self.user,
                banned: self.ban,
            })?;
            group.remove_member(tx, self.user, state, seq).await?;
            let group_name = group.profile()?.name;
            group.append_to_inbox(
                self.user,
                &EventBody::RemovedFromGroup {
                    group: self.context.group,
                    group_name,
                    by,
                },
            )?;
        } else if membership != Membership::Banned
            && (self.ban || matches!(membership, Membership::Invited | Membership::Requested))
        {
            group.set_state(tx, self.user, state).await?;
        } else if membership == Membership::Outsider {
            return Err(CommandError::not_found().into());
        }
        group.write(tx, intents).await
    }
}

/// Lifts the ban of a user, to whom the join policy of the group then applies again. Does nothing
/// to a user who is not banned, but fails for an [outsider](Membership::Outsider).
#[derive(Clone, Debug)]
pub(in crate::engine) struct UnbanMember {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
}

#[async_trait]
impl Operation for UnbanMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.context.lock(tx, &[self.user], &[]).await?;
        group.require(GroupPermission::Moderate)?;
        match group.membership(self.user) {
            Membership::Banned => group.set_state(tx, self.user, MemberState::Left).await?,
            Membership::Outsider => return Err(CommandError::not_found().into()),
            _ => {}
        }
        group.write(tx, intents).await
    }
}
