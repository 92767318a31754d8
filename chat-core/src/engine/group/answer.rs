//! Answering those who asked to join.

use async_trait::async_trait;

use super::{Act, Limits};
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::{GroupAct, Place};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// An admin lets somebody in who asked, or does not.
#[derive(Clone, Debug)]
pub(in crate::engine) struct AnswerJoin {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) accept: bool,
    pub(in crate::engine) limits: Limits,
}

#[async_trait]
impl Operation for AnswerJoin {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let mut room = self.act.enter(tx, &[self.user], &[self.user]).await?;
        room.check(GroupAct::AnswerJoin)?;
        let place = room.place(self.user);
        if place.is_inside() && self.accept {
            return Ok(Vec::new());
        }
        if place != Place::Requested {
            return Err(CommandError::not_found().into());
        }
        if self.accept {
            let by = Some(self.act.caller.user);
            room.admit(tx, self.user, by, self.limits).await?;
        } else {
            room.set_outside(tx, self.user, MemberState::Left).await?;
        }
        let group_name = room.profile()?.name;
        room.notify(
            self.user,
            &EventBody::JoinAnswered {
                group: self.act.group,
                group_name,
                accepted: self.accept,
            },
        )?;
        room.leave(tx, intents).await
    }
}
