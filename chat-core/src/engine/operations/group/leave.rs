//! Unit of work that leaves a group.

use async_trait::async_trait;

use super::GroupChangeContext;
use super::delete::delete;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, ReplyCode};
use crate::store::Transaction;

/// Ends the caller's membership, request to join, or invitation. An owner has to transfer the group
/// first, unless the group has no other member: then it is deleted. Does nothing for a former
/// member or a banned user.
#[derive(Clone, Debug)]
pub(in crate::engine) struct LeaveGroup {
    pub(in crate::engine) context: GroupChangeContext,
}

#[async_trait]
impl Operation for LeaveGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.context.caller.user;
        let mut group = self.context.lock(tx, &[], &[]).await?;
        match group.membership(me) {
            Membership::Former | Membership::Banned => return Ok(Vec::new()),
            Membership::Requested | Membership::Invited => {
                group.set_state(tx, me, MemberState::Left).await?;
                return group.write(tx, intents).await;
            }
            _ => {}
        }
        group.require(GroupPermission::Leave)?;
        if group.membership(me) == Membership::Owner {
            if group.row()?.member_count > 1 {
                return Err(CommandError::new(
                    ReplyCode::OwnerMustTransfer,
                    "make another member the owner first, or delete the group",
                )
                .into());
            }
            delete(&mut group)?;
        } else {
            let seq = group.append(&EventBody::MemberLeft { user: me })?;
            group.remove_member(tx, me, MemberState::Left, seq).await?;
        }
        group.write(tx, intents).await
    }
}
