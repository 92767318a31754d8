//! Creation of groups.

use super::GroupCommands;
use std::sync::Arc;
use std::time::Instant;

use crate::codec::body;
use crate::engine::caller_check::check_caller;
use crate::engine::error::CommandError;
use crate::engine::operations::group::CreateGroup;
use crate::engine::operations::message::fingerprint;
use crate::engine::store_access::within;
use crate::engine::workers::is_temporary;
use crate::model::{
    Caller, ClientMessageId, ConversationId, Event, EventBody, EventKind, GroupProfile, NewGroup, Outcome,
};

impl GroupCommands {
    /// Creates a group. A retry finds the group that was created before, even if the creation would
    /// now be refused permanently. A retry of a caller that may not act any more is refused,
    /// because the answer shows the group as it is now.
    pub(in crate::engine::commands) async fn create(
        self: Arc<Self>,
        caller: Caller,
        new: NewGroup,
    ) -> Result<Outcome, CommandError> {
        // The fingerprint is that of the requested group, so a retry has the same one even if hooks
        // change the group differently.
        let (id, fingerprint) = (new.client_message_id, fingerprint_of(&profile_of(&new)));
        let deadline = self.access.deadline() + self.hooks.max_delay();
        let (group, is_new) = match self.create_new(caller, new, fingerprint, deadline).await {
            Err(refusal) if !is_temporary(&refusal) => {
                let found = self.created_before(caller, id, fingerprint);
                let found = within(deadline, found).await?;
                (found.ok_or(refusal)?, false)
            }
            created => created?,
        };
        let answer = async {
            // The unit of work checks the caller only if it creates the group.
            if !is_new {
                check_caller(&self.access, caller).await?;
            }
            self.conversation(caller, group).await
        };
        within(deadline, answer).await.map_err(CommandError::after_commit)
    }

    /// Returns the group that an earlier attempt of the same command created, if any.
    async fn created_before(
        &self,
        caller: Caller,
        id: ClientMessageId,
        fingerprint: u64,
    ) -> Result<Option<ConversationId>, CommandError> {
        let ids = [id];
        let sent = self.access.store().find_sent(caller.user, &ids);
        let sent = self.access.read(sent).await?.pop().map(|sent| sent.event);
        let is_creation = |event: &Event| event.kind == EventKind::GroupCreated && event.fingerprint == fingerprint;
        Ok(sent.filter(is_creation).map(|event| event.conversation))
    }

    /// Creates the group, unless an earlier attempt did. Returns the group, and whether it is new.
    async fn create_new(
        &self,
        caller: Caller,
        new: NewGroup,
        fingerprint: u64,
        deadline: Instant,
    ) -> Result<(ConversationId, bool), CommandError> {
        self.limits.charge_attempt(caller.user).await?;
        let mut charge = self.limits.group_creations.charge(caller.user)?;
        let new = self.hooks.before_create_group(caller, new, &mut charge).await?;
        let create = CreateGroup {
            caller,
            client_message_id: new.client_message_id,
            fingerprint,
            profile: profile_of(&new),
            limits: self.group_limits,
            now: self.access.wall_time(),
        };
        let mut outcome_unknown = false;
        let created = self
            .access
            .run_idempotent(caller, create, deadline, &mut outcome_unknown);
        let (group, events) = created.await?;
        // Without events, the unit of work found the group of an earlier attempt, and the charge is
        // refunded, unless the hooks were asked.
        let is_new = !events.is_empty();
        if is_new {
            charge.keep();
        }
        self.publisher.publish(events);
        Ok((group, is_new))
    }
}

fn profile_of(new: &NewGroup) -> GroupProfile {
    GroupProfile {
        name: new.name.as_str().to_owned(),
        key: new.name.key(),
        skeleton: new.name.skeleton().as_str().to_owned(),
        description: new.description.as_str().to_owned(),
        join_policy: new.join_policy,
        history_visible: new.history_visible,
        unlisted: new.unlisted,
    }
}

/// Returns a digest that distinguishes a retry of creating a group from another use of its
/// idempotency key.
fn fingerprint_of(profile: &GroupProfile) -> u64 {
    // Unlike the body of `GroupCreated`, which contains the name only, this one contains everything
    // that the command sets. It is hashed, and not stored.
    let body = EventBody::GroupUpdated {
        name: profile.name.clone(),
        description: profile.description.clone(),
        join_policy: profile.join_policy,
        history_visible: profile.history_visible,
        unlisted: profile.unlisted,
    };
    fingerprint(EventKind::GroupCreated, &body::encode(&body))
}
