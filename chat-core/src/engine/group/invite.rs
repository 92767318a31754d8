//! Invitations.

use async_trait::async_trait;

use super::{Act, Limits};
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::{GroupAct, Place};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// Invites a user; lets in one who has asked, if the caller is an admin. Again: nothing new happens.
#[derive(Clone, Debug)]
pub(in crate::engine) struct InviteMember {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) limits: Limits,
}

#[async_trait]
impl Operation for InviteMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let me = self.act.caller.user;
        if me == self.user {
            return Err(CommandError::invalid("that is yourself").into());
        }
        let (_, theirs) = tx.lock_contacts(me, self.user).await?;
        if tx.account(self.user).await?.is_none() {
            // Whether the caller may invite at all is told first, so that strangers learn nothing of users here either.
            let mut room = self.act.enter(tx, &[], &[]).await?;
            room.check(GroupAct::Invite)?;
            return Err(CommandError::not_found().into());
        }
        let mut room = self.act.enter(tx, &[self.user], &[self.user]).await?;
        room.check(GroupAct::Invite)?;
        match room.place(self.user) {
            place if place.is_inside() => return Ok(Vec::new()),
            Place::Invited => return Ok(Vec::new()),
            Place::Banned => return Err(CommandError::forbidden().into()),
            Place::Requested if room.check(GroupAct::AnswerJoin).is_ok() => {
                room.admit(tx, self.user, Some(me), self.limits).await?;
                let group_name = room.profile()?.name;
                let group = self.act.group;
                room.notify(
                    self.user,
                    &EventBody::JoinAnswered {
                        group,
                        group_name,
                        accepted: true,
                    },
                )?;
            }
            // Somebody who blocked the caller is not reached by them, and the caller does not learn it.
            _ if theirs.is_some_and(|contact| contact.blocked) => return Ok(Vec::new()),
            _ => {
                room.set_outside(tx, self.user, MemberState::Invited).await?;
                let group_name = room.profile()?.name;
                let group = self.act.group;
                room.notify(
                    self.user,
                    &EventBody::GroupInvited {
                        group,
                        group_name,
                        by: me,
                    },
                )?;
            }
        }
        room.leave(tx, intents).await
    }
}

/// Declines an invitation. Whoever invited is told, if they could be found.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeclineInvitation {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) inviter: Option<UserId>,
}

#[async_trait]
impl Operation for DeclineInvitation {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let me = self.act.caller.user;
        let notified: Vec<UserId> = self.inviter.into_iter().collect();
        let mut room = self.act.enter(tx, &[], &notified).await?;
        if room.place(me) != Place::Invited {
            return Err(CommandError::not_found().into());
        }
        room.set_outside(tx, me, MemberState::Left).await?;
        let group_name = room.profile()?.name;
        for inviter in notified {
            room.notify(
                inviter,
                &EventBody::InvitationDeclined {
                    group: self.act.group,
                    group_name: group_name.clone(),
                    user: me,
                },
            )?;
        }
        room.leave(tx, intents).await
    }
}
