//! Unit of work that deletes a group.

use async_trait::async_trait;

use super::GroupChangeContext;
use super::locked::LockedGroup;
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::GroupPermission;
use crate::model::{Event, EventBody};
use crate::store::Transaction;

/// Deletes a group: no event can be appended to its log any more. The log ends with `GroupDeleted`
/// and stays readable to the last members. They get no events in their inboxes, because the
/// transaction might have to lock thousands of inboxes.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DeleteGroup {
    pub(in crate::engine) context: GroupChangeContext,
}

#[async_trait]
impl Operation for DeleteGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.context.lock(tx, &[], &[]).await?;
        group.require(GroupPermission::Delete)?;
        delete(&mut group)?;
        group.write(tx, intents).await
    }
}

/// Appends `GroupDeleted` and marks the group as deleted.
pub(super) fn delete(group: &mut LockedGroup) -> Result<(), Rejection> {
    group.append(&EventBody::GroupDeleted)?;
    group.log()?.change().deleted = true;
    Ok(())
}
