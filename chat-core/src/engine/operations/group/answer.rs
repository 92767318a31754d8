//! Unit of work that answers a request to join a group.

use async_trait::async_trait;

use super::{GroupChangeContext, GroupLimits};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, UserId};
use crate::store::Transaction;

/// Accepts or declines a user's request to join the group. The user gets an event in the inbox.
/// Accepting does nothing if the user is a member already.
#[derive(Clone, Debug)]
pub(in crate::engine) struct AnswerJoin {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) accept: bool,
    pub(in crate::engine) limits: GroupLimits,
}

#[async_trait]
impl Operation for AnswerJoin {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.context.lock(tx, &[self.user], &[self.user]).await?;
        group.require(GroupPermission::AnswerJoin)?;
        let membership = group.membership(self.user);
        if membership.is_inside() && self.accept {
            return Ok(Vec::new());
        }
        if membership != Membership::Requested {
            return Err(CommandError::not_found().into());
        }
        if self.accept {
            let by = Some(self.context.caller.user);
            group.add_member(tx, self.user, by, self.limits).await?;
        } else {
            group.set_state(tx, self.user, MemberState::Left).await?;
        }
        let group_name = group.profile()?.name;
        group.append_to_inbox(
            self.user,
            &EventBody::JoinAnswered {
                group: self.context.group,
                group_name,
                accepted: self.accept,
            },
        )?;
        group.write(tx, intents).await
    }
}
