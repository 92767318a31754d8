//! Makes sessions follow the conversations that their users joined.

use std::sync::Arc;

use crate::model::{ConversationId, UserId};
use crate::router::event_log::EventLog;
use crate::router::follow_starter::{FollowStarter, is_active};
use crate::router::registry::{ClientKnowledge, Registry};
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::store::StoreError;

/// Worker that adds the sessions of an active member of a conversation to its feed, the
/// [`ConversationFeed`](crate::router::conversation_feed::ConversationFeed). The [`FollowStarter`]
/// or, in a new feed, [`CatchUp`](super::catch_up::CatchUp) then delivers the events that the log
/// holds already. If there are many, the sessions get a `Behind` push instead.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) joins: WorkSet<(UserId, ConversationId)>,
    pub(crate) options: WorkerOptions,
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) follow_starter: FollowStarter,
}

impl Join {
    pub(crate) async fn run(self) {
        let join = |(user, conversation)| self.join(user, conversation);
        self.joins.drain_forever(self.options, join).await;
    }

    async fn join(&self, user: UserId, conversation: ConversationId) -> Result<(), StoreError> {
        let mut sessions = self.registry.of_user(user);
        sessions.retain(|session| session.can_follow(conversation));
        let Some(device) = sessions.first().map(|session| session.caller.device_or_none()) else {
            return Ok(());
        };
        match self.log.membership(user, device, conversation).await? {
            Some(membership) if is_active(&membership) => {
                self.follow_starter
                    .follow(&sessions, &membership, ClientKnowledge::Nothing)
                    .await
            }
            _ => Ok(()),
        }
    }
}
