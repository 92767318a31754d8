//! Units of work that invite a user to a group and decline an invitation.

use async_trait::async_trait;

use super::{GroupCall, GroupLimits};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::account::exists;
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// Invites a user to a group. If the user has asked to join and the caller may answer such
/// requests, the user becomes a member. Inviting the user again does nothing.
#[derive(Clone, Debug)]
pub(in crate::engine) struct InviteMember {
    pub(in crate::engine) call: GroupCall,
    pub(in crate::engine) user: UserId,
    /// True if the user's inbox contains an invitation to this group, so that it needs no other.
    pub(in crate::engine) has_notice: bool,
    pub(in crate::engine) limits: GroupLimits,
}

#[async_trait]
impl Operation for InviteMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.call.caller.user;
        if me == self.user {
            return Err(CommandError::invalid("you cannot invite yourself; name another user").into());
        }
        let (_, theirs) = tx.lock_contacts(me, self.user).await?;
        if !exists(tx, self.user).await? {
            // The caller's permission is checked first, so that a caller without it cannot find out
            // which users exist.
            let mut group = self.call.lock(tx, &[], &[]).await?;
            group.require(GroupPermission::Invite)?;
            return Err(CommandError::not_found().into());
        }
        let mut group = self.call.lock(tx, &[self.user], &[self.user]).await?;
        group.require(GroupPermission::Invite)?;
        match group.membership(self.user) {
            membership if membership.is_inside() => return Ok(Vec::new()),
            Membership::Invited if self.has_notice => return Ok(Vec::new()),
            Membership::Banned => return Err(CommandError::forbidden().into()),
            Membership::Requested if group.require(GroupPermission::AnswerJoin).is_ok() => {
                group.add_member(tx, self.user, Some(me), self.limits).await?;
                let group_name = group.profile()?.name;
                group.append_to_inbox(
                    self.user,
                    &EventBody::JoinAnswered {
                        group: self.call.group,
                        group_name,
                        accepted: true,
                    },
                )?;
            }
            // A user who blocked the caller gets no event in the inbox. The list of members shows
            // the invitation nevertheless, so that the caller does not learn of the block.
            _ if theirs.is_some_and(|contact| contact.blocked) => {
                group.set_state(tx, self.user, MemberState::Invited).await?;
            }
            _ => {
                group.set_state(tx, self.user, MemberState::Invited).await?;
                let group_name = group.profile()?.name;
                group.append_to_inbox(
                    self.user,
                    &EventBody::GroupInvited {
                        group: self.call.group,
                        group_name,
                        by: me,
                    },
                )?;
            }
        }
        group.write(tx, intents).await
    }
}

/// Declines an invitation that the caller received. The inviter, if known, gets an event in the
/// inbox.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeclineInvitation {
    pub(in crate::engine) call: GroupCall,
    /// User who invited the caller; `None` if the caller's inbox does not show it.
    pub(in crate::engine) inviter: Option<UserId>,
}

#[async_trait]
impl Operation for DeclineInvitation {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.call.caller.user;
        let notified: Vec<UserId> = self.inviter.into_iter().collect();
        let mut group = self.call.lock(tx, &[], &notified).await?;
        if group.membership(me) != Membership::Invited {
            return Err(CommandError::not_found().into());
        }
        group.set_state(tx, me, MemberState::Left).await?;
        let group_name = group.profile()?.name;
        for inviter in notified {
            group.append_to_inbox(
                inviter,
                &EventBody::InvitationDeclined {
                    group: self.call.group,
                    group_name: group_name.clone(),
                    user: me,
                },
            )?;
        }
        group.write(tx, intents).await
    }
}
