//! Commands that change what other users see of the caller: presence and typing.

use std::sync::Arc;

use crate::engine::error::CommandError;
use crate::engine::limits::UserLimits;
use crate::engine::operations::policy::{self, GroupPermission, Membership};
use crate::engine::query_lanes::ROWS_PER_QUERY;
use crate::engine::signals::may_signal;
use crate::engine::store_access::StoreAccess;
use crate::engine::workers::PresenceQueue;
use crate::model::{Caller, ConversationId, ConversationKind, Outcome, PresenceState, Push};
use crate::router::Router;

#[derive(Debug)]
pub(in crate::engine) struct PresenceCommands {
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) router: Router,
    pub(in crate::engine) queue: Arc<PresenceQueue>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) max_typing_members: u32,
}

impl PresenceCommands {
    pub(super) async fn set_presence(
        self: Arc<Self>,
        caller: Caller,
        state: PresenceState,
    ) -> Result<Outcome, CommandError> {
        caller.device().ok_or_else(CommandError::needs_device)?;
        if state == PresenceState::Offline {
            return Err(CommandError::invalid(
                "a session is online or idle; end the session to be offline",
            ));
        }
        if !self.router.has_session(caller) {
            return Err(CommandError::without_session());
        }
        self.router.set_presence(caller, state);
        self.queue.changed(caller.user);
        Ok(Outcome::Done)
    }

    pub(super) async fn typing(
        self: Arc<Self>,
        caller: Caller,
        conversation: ConversationId,
        stopped: bool,
    ) -> Result<Outcome, CommandError> {
        let device = caller.device().ok_or_else(CommandError::needs_device)?;
        self.limits.charge_read(caller.user, ROWS_PER_QUERY);
        let membership = self.access.store().membership(caller.user, device, conversation);
        let membership = self.access.read(membership).await?;
        let membership = membership.ok_or_else(CommandError::not_found)?;
        let push = Push::Typing {
            conversation,
            user: caller.user,
            stopped,
        };
        let row = &membership.conversation;
        match (&row.kind, &row.group, &membership.peer) {
            (ConversationKind::Group, Some(profile), _) => {
                let own = Membership::of(Some(&membership.member), self.access.wall_time());
                policy::check_group(GroupPermission::Signal, own, profile)?;
                if row.member_count <= self.max_typing_members && !row.deleted {
                    self.router.notify_conversation(conversation, &push, Some(caller));
                }
            }
            (ConversationKind::Direct { .. }, _, Some(peer)) => {
                if !may_signal(&self.access, caller.user, peer.user).await {
                    return Err(CommandError::forbidden());
                }
                self.router.notify_user(peer.user, &push, None);
            }
            _ => {}
        }
        Ok(Outcome::Done)
    }
}
