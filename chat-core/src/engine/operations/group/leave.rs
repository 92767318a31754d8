//! Leaving a group.

use async_trait::async_trait;

use super::GroupCall;
use super::delete::close;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::{GroupPermission, Membership};
use crate::model::{Event, EventBody, MemberState, ReplyCode};
use crate::store::Transaction;

/// Leaves the group, or withdraws the caller's request to join. An owner has to transfer the group
/// first, unless no one else is in it: then it is deleted. Does nothing for a former member.
#[derive(Clone, Debug)]
pub(in crate::engine) struct LeaveGroup {
    pub(in crate::engine) call: GroupCall,
}

#[async_trait]
impl Operation for LeaveGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let me = self.call.caller.user;
        let mut group = self.call.lock(tx, &[], &[]).await?;
        match group.membership(me) {
            Membership::Former | Membership::Banned => return Ok(Vec::new()),
            Membership::Requested | Membership::Invited => {
                group.set_state(tx, me, MemberState::Left).await?;
                return group.commit(tx, intents).await;
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
            close(&mut group)?;
        } else {
            let seq = group.append(&EventBody::MemberLeft { user: me })?;
            group.remove_member(tx, me, MemberState::Left, seq).await?;
        }
        group.commit(tx, intents).await
    }
}
