//! Unit of work that changes a group's profile.

use async_trait::async_trait;

use super::GroupChangeContext;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::policy::GroupPermission;
use crate::model::{Event, EventBody, GroupChanges, GroupProfile};
use crate::store::Transaction;

/// Changes the name, description and policies of a group, as far as `changes` contains other
/// values.
#[derive(Clone, Debug)]
pub(in crate::engine) struct UpdateGroup {
    pub(in crate::engine) context: GroupChangeContext,
    pub(in crate::engine) changes: GroupChanges,
    /// `Ok` if the caller's rate allows a change, otherwise the error with which a change is
    /// refused.
    pub(in crate::engine) allowed: Result<(), CommandError>,
}

#[async_trait]
impl Operation for UpdateGroup {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut group = self.context.lock(tx, &[], &[]).await?;
        group.require(GroupPermission::Update)?;
        let old = group.profile()?;
        let mut new = old.clone();
        apply_changes(&self.changes, &mut new);
        if new == old {
            return Ok(Vec::new());
        }
        self.allowed.clone()?;
        group.append(&EventBody::GroupUpdated {
            name: new.name.clone(),
            description: new.description.clone(),
            join_policy: new.join_policy,
            history_visible: new.history_visible,
            unlisted: new.unlisted,
        })?;
        group.log()?.change().group = Some(new);
        group.write(tx, intents).await
    }
}

fn apply_changes(changes: &GroupChanges, profile: &mut GroupProfile) {
    if let Some(name) = &changes.name {
        profile.name = name.as_str().to_owned();
        profile.key = name.key();
        profile.skeleton = name.skeleton().as_str().to_owned();
    }
    if let Some(description) = &changes.description {
        profile.description = description.as_str().to_owned();
    }
    profile.join_policy = changes.join_policy.unwrap_or(profile.join_policy);
    profile.history_visible = changes.history_visible.unwrap_or(profile.history_visible);
    profile.unlisted = changes.unlisted.unwrap_or(profile.unlisted);
}
