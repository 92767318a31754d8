//! Removing members, keeping them out, letting them return.

use async_trait::async_trait;

use super::Act;
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::{GroupAct, Place};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// Removes a member, or takes an invitation or request away; with `ban`, for good.
#[derive(Clone, Debug)]
pub(in crate::engine) struct KickMember {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) ban: bool,
}

#[async_trait]
impl Operation for KickMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let by = self.act.caller.user;
        if by == self.user {
            return Err(CommandError::invalid("that is yourself; leave the group instead").into());
        }
        let exists = tx.account(self.user).await?.is_some();
        let notified = if exists { vec![self.user] } else { Vec::new() };
        let mut room = self.act.enter(tx, &[self.user], &notified).await?;
        room.check_rank(GroupAct::Discipline, self.user)?;
        if !exists {
            return Err(CommandError::not_found().into());
        }
        let state = if self.ban {
            MemberState::Banned
        } else {
            MemberState::Left
        };
        let place = room.place(self.user);
        if place.is_inside() {
            let seq = room.append(&EventBody::MemberKicked {
                user: self.user,
                banned: self.ban,
            })?;
            room.dismiss(tx, self.user, state, seq).await?;
            let group_name = room.profile()?.name;
            room.notify(
                self.user,
                &EventBody::RemovedFromGroup {
                    group: self.act.group,
                    group_name,
                    by,
                },
            )?;
        } else if place != Place::Banned && (self.ban || matches!(place, Place::Invited | Place::Requested)) {
            room.set_outside(tx, self.user, state).await?;
        } else if place == Place::Outsider {
            return Err(CommandError::not_found().into());
        }
        room.leave(tx, intents).await
    }
}

/// Lets somebody come back who was banned.
#[derive(Clone, Debug)]
pub(in crate::engine) struct UnbanMember {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
}

#[async_trait]
impl Operation for UnbanMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let mut room = self.act.enter(tx, &[self.user], &[]).await?;
        room.check(GroupAct::Discipline)?;
        match room.place(self.user) {
            Place::Banned => room.set_outside(tx, self.user, MemberState::Left).await?,
            Place::Outsider => return Err(CommandError::not_found().into()),
            _ => {}
        }
        room.leave(tx, intents).await
    }
}
