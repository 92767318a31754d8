//! Deleting a group.

use async_trait::async_trait;

use super::Act;
use super::room::Room;
use crate::engine::error::Refusal;
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::GroupAct;
use crate::model::{Event, EventBody};
use crate::store::Transaction;

/// Ends a group for everybody. Its log stays readable to those who were in it and ends with `GroupDeleted`, which is how
/// they learn of it: writing to the inboxes of thousands would hold all of them locked.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeleteGroup {
    pub(in crate::engine) act: Act,
}

#[async_trait]
impl Operation for DeleteGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let mut room = self.act.enter(tx, &[], &[]).await?;
        room.check(GroupAct::Delete)?;
        close(&mut room)?;
        room.leave(tx, intents).await
    }
}

/// Appends the last event.
pub(super) fn close(room: &mut Room) -> Result<(), Refusal> {
    room.append(&EventBody::GroupDeleted)?;
    room.log()?.change().closed = true;
    Ok(())
}
