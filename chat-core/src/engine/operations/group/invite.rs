//! Units of work that invite a user to a group and decline an invitation.

use async_trait::async_trait;

use super::{GroupChangeContext, GroupLimits};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::account::account_exists;
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// Invites a user to a group. If the user has asked to join and the caller may answer such
/// requests, the user becomes a member. Otherwise, does nothing if the user is a member, has a
/// pending invitation in the inbox, or has asked to join and blocked the caller. A repeated
/// invitation by the same caller is announced at most once within `limits.repeat_interval`.
#[derive(Clone, Debug)]
pub(in crate::engine) struct InviteMember {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) limits: GroupLimits,
}

#[async_trait]
impl Operation for InviteMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.context.caller.user;
        if me == self.user {
            return Err(CommandError::invalid("you cannot invite yourself; name another user").into());
        }
        let (_, theirs) = tx.lock_contacts(me, self.user).await?;
        if !account_exists(tx, self.user).await? {
            // The caller's permission is checked first, so that a caller without it cannot find out
            // which users exist.
            let mut group = self.context.lock(tx, &[], &[]).await?;
            group.require(GroupPermission::Invite)?;
            return Err(CommandError::not_found().into());
        }
        let mut group = self.context.lock(tx, &[self.user], &[self.user]).await?;
        group.require(GroupPermission::Invite)?;
        let is_blocked = theirs.is_some_and(|contact| contact.blocked);
        match group.membership(self.user) {
            membership if membership.is_inside() => return Ok(Vec::new()),
            Membership::Invited if group.inviter(self.user).is_some() => return Ok(Vec::new()),
            Membership::Banned => return Err(CommandError::forbidden().into()),
            Membership::Requested if group.require(GroupPermission::AnswerJoin).is_ok() => {
                group.add_member(tx, self.user, Some(me), self.limits).await?;
                let group_name = group.profile()?.name;
                group.append_to_inbox(
                    self.user,
                    &EventBody::JoinAnswered {
                        group: self.context.group,
                        group_name,
                        accepted: true,
                    },
                )?;
            }
            // An invitation that the user does not see must not end the user's own request.
            Membership::Requested if is_blocked => return Ok(Vec::new()),
            // A user who blocked the caller gets no event in the inbox. The list of members shows
            // the invitation nevertheless, so that the caller does not learn of the block.
            _ => {
                let interval = self.limits.repeat_interval;
                group.invite(tx, self.user, !is_blocked, interval).await?;
            }
        }
        group.write(tx, intents).await
    }
}

/// Declines an invitation that the caller received. The inviter gets an event in the inbox, unless
/// the account of the inviter was deleted, or no inviter is recorded because the caller had blocked
/// the inviter.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeclineInvitation {
    pub(in crate::engine) context: GroupChangeContext,
}

#[async_trait]
impl Operation for DeclineInvitation {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.context.caller.user;
        // Inboxes are locked together with the group, so the inviter is read before, and compared
        // under the lock.
        let before = tx.members_in(self.context.group, &[me]).await?.pop();
        let inviter = before.and_then(|member| member.invited_by);
        let notified = match inviter {
            Some(inviter) if account_exists(tx, inviter).await? => vec![inviter],
            _ => Vec::new(),
        };
        let mut group = self.context.lock(tx, &[], &notified).await?;
        if group.membership(me) != Membership::Invited {
            return Err(CommandError::not_found().into());
        }
        if group.inviter(me) != inviter {
            return Err(Rejection::Outdated);
        }
        group.set_state(tx, me, MemberState::Left).await?;
        let group_name = group.profile()?.name;
        for inviter in notified {
            group.append_to_inbox(
                inviter,
                &EventBody::InvitationDeclined {
                    group: self.context.group,
                    group_name: group_name.clone(),
                    user: me,
                },
            )?;
        }
        group.write(tx, intents).await
    }
}
