//! Deleting a group.

use async_trait::async_trait;

use super::GroupCall;
use super::locked::LockedGroup;
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::GroupPermission;
use crate::model::{Event, EventBody};
use crate::store::Transaction;

/// Closes a group for everyone. Its log stays readable to its last members and ends with
/// `GroupDeleted`. That event alone informs them: an event in the inbox of each member would lock
/// thousands of inboxes.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeleteGroup {
    pub(in crate::engine) call: GroupCall,
}

#[async_trait]
impl Operation for DeleteGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.call.lock(tx, &[], &[]).await?;
        group.require(GroupPermission::Delete)?;
        close(&mut group)?;
        group.commit(tx, intents).await
    }
}

/// Appends `GroupDeleted` and closes the group.
pub(super) fn close(group: &mut LockedGroup) -> Result<(), Rejection> {
    group.append(&EventBody::GroupDeleted)?;
    group.log()?.change().closed = true;
    Ok(())
}
