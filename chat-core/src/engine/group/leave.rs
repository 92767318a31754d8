//! Leaving a group.

use async_trait::async_trait;

use super::Act;
use super::delete::close;
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::{GroupAct, Place};
use crate::model::{Event, EventBody, MemberState, ReplyCode};
use crate::store::Transaction;

/// Leaves; takes back a request to join. An owner hands the group over first, unless nobody else is in it: then it is
/// deleted. Whoever has left already has nothing to do.
#[derive(Clone, Debug)]
pub(in crate::engine) struct LeaveGroup {
    pub(in crate::engine) act: Act,
}

#[async_trait]
impl Operation for LeaveGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let me = self.act.caller.user;
        let mut room = self.act.enter(tx, &[], &[]).await?;
        match room.place(me) {
            Place::Former | Place::Banned => return Ok(Vec::new()),
            Place::Requested | Place::Invited => {
                room.set_outside(tx, me, MemberState::Left).await?;
                return room.leave(tx, intents).await;
            }
            _ => {}
        }
        room.check(GroupAct::Leave)?;
        if room.place(me) == Place::Owner {
            if room.row()?.member_count > 1 {
                return Err(CommandError::new(
                    ReplyCode::OwnerMustTransfer,
                    "make another member the owner first, or delete the group",
                )
                .into());
            }
            close(&mut room)?;
        } else {
            let seq = room.append(&EventBody::MemberLeft { user: me })?;
            room.dismiss(tx, me, MemberState::Left, seq).await?;
        }
        room.leave(tx, intents).await
    }
}
