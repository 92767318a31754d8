//! Unit of work that mutes a member of a group.

use async_trait::async_trait;

use super::GroupChangeContext;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::GroupPermission;
use crate::model::{Event, EventBody, ReplyCode, Role, Timestamp, UserId};
use crate::store::Transaction;

/// Mutes a member who is neither an admin nor the owner, for the given duration. A duration of 0
/// ends the mute.
#[derive(Clone, Debug)]
pub(in crate::engine) struct MuteMember {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) duration_ms: u64,
}

#[async_trait]
impl Operation for MuteMember {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.context.lock(tx, &[self.user], &[]).await?;
        group.require_rank(GroupPermission::Moderate, self.user)?;
        let Some(mut member) = group.active_member(self.user).cloned() else {
            return Err(CommandError::not_found().into());
        };
        if member.role > Role::Member {
            let text = "admins cannot be muted; make the admin a member first";
            return Err(CommandError::new(ReplyCode::Forbidden, text).into());
        }
        let until = match self.duration_ms {
            0 => Timestamp(0),
            duration => self.context.now.plus_millis(duration),
        };
        if member.muted_until == until {
            return Ok(Vec::new());
        }
        member.muted_until = until;
        group.put_member(tx, member).await?;
        group.append(&EventBody::MemberMuted { user: self.user, until })?;
        group.write(tx, intents).await
    }
}
