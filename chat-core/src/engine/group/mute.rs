//! Silencing members.

use async_trait::async_trait;

use super::Act;
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::GroupAct;
use crate::model::{Event, EventBody, Timestamp, UserId};
use crate::store::Transaction;

/// Keeps a member from writing for a while; a duration of 0 ends it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct MuteMember {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) duration_ms: u64,
}

#[async_trait]
impl Operation for MuteMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let mut room = self.act.enter(tx, &[self.user], &[]).await?;
        room.check_rank(GroupAct::Discipline, self.user)?;
        let Some(mut member) = room.member(self.user).filter(|member| member.is_active()).cloned() else {
            return Err(CommandError::not_found().into());
        };
        let until = match self.duration_ms {
            0 => Timestamp(0),
            duration => self.act.now.plus_millis(duration),
        };
        if member.muted_until == until {
            return Ok(Vec::new());
        }
        member.muted_until = until;
        room.put(tx, member).await?;
        room.append(&EventBody::MemberMuted { user: self.user, until })?;
        room.leave(tx, intents).await
    }
}
