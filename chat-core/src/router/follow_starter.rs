//! Makes a user's sessions follow a conversation: adds them to its feed, the
//! [`ConversationFeed`](super::conversation_feed::ConversationFeed).

use std::sync::Arc;

use super::event_log::{EventLog, ReadLimit};
use super::local_delivery::LocalDelivery;
use super::registry::{ClientKnowledge, FollowResult, MAX_PUSHED_ON_FOLLOW, MissedEvents, Registry};
use super::session::SessionHandle;
use crate::store::{MembershipView, StoreError};

/// Maximum number of reads of missed events. A read is repeated if more events were delivered in
/// the meantime. After the last one, and after a failed one, the sessions get a `Behind` push if
/// they still miss events.
const MAX_READS_OF_MISSED: u32 = 3;
/// Bounds of one read of the events that a session missed before it joins a feed.
const MISSED_LIMIT: ReadLimit = ReadLimit {
    max_events: 2 * MAX_PUSHED_ON_FOLLOW, // more events may be delivered during the read
    max_bytes: 256 * 1024,
};

/// Component that adds sessions to conversation feeds, with a membership that is at least as recent
/// as the feed's last membership change.
#[derive(Clone, Debug)]
pub(crate) struct FollowStarter {
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) delivery: Arc<LocalDelivery>,
}

/// Returns whether the user may receive new events of this conversation.
pub(crate) fn is_active(membership: &MembershipView) -> bool {
    membership.member.is_active() && !membership.conversation.deleted
}

impl FollowStarter {
    /// Adds sessions of one user to the feed of the conversation of `membership`. The membership is
    /// read again as long as this node has delivered a newer membership change; if it has ended by
    /// then, no session is added, and clients that do not know the end of the log get a `Behind`
    /// push. `known` says what the clients know about the log. Missed events are read and pushed to
    /// the sessions if they are few and `known` is [`ClientKnowledge::Nothing`]; otherwise a
    /// `Behind` push reports them.
    pub(crate) async fn follow(
        &self,
        sessions: &[Arc<SessionHandle>],
        membership: &MembershipView,
        known: ClientKnowledge,
    ) -> Result<(), StoreError> {
        let Some(caller) = sessions.first().map(|session| session.caller) else {
            return Ok(());
        };
        let conversation = membership.conversation.id;
        let mut newer;
        let mut membership = membership;
        let mut missed = Vec::new();
        // A client that reads the log itself gets a `Behind` push instead of the missed events, so
        // that a login with many busy conversations does not wait for a read of each of their logs.
        let mut reads = match known {
            ClientKnowledge::Nothing => 0,
            ClientKnowledge::LogReaches(_) => MAX_READS_OF_MISSED,
        };
        loop {
            let events = MissedEvents {
                events: &missed,
                is_final: reads == MAX_READS_OF_MISSED,
            };
            match self.registry.follow(sessions, membership, known, events) {
                FollowResult::Following => return Ok(()),
                FollowResult::FollowingNewFeed { is_behind } => {
                    self.delivery.feed_created(conversation);
                    if is_behind {
                        // The events are known to exist, so their delivery does not wait for the
                        // subscription to the topic.
                        self.delivery.catch_up(conversation);
                    }
                    return Ok(());
                }
                FollowResult::Missed(after) => {
                    reads += 1;
                    match self.log.events_after(conversation, after, MISSED_LIMIT).await {
                        Ok(page) => missed = page.events,
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::debug!(error, %conversation, "cannot read the events that a session missed");
                            reads = MAX_READS_OF_MISSED;
                        }
                    }
                    continue;
                }
                FollowResult::OutOfDate => {}
            }
            match self
                .log
                .membership(caller.user, caller.device_or_none(), conversation)
                .await?
            {
                Some(read) => newer = read,
                None => return Ok(()),
            }
            membership = &newer;
            if !is_active(membership) {
                push_end_of_membership(sessions, membership, known);
                return Ok(());
            }
        }
    }
}

/// Notifies the clients of a user whose membership has ended of the last event that the user may
/// read, unless they know the log up to there. The clients then read the log, with the event that
/// ended the membership.
fn push_end_of_membership(sessions: &[Arc<SessionHandle>], membership: &MembershipView, known: ClientKnowledge) {
    let last_seq = membership.conversation.last_seq;
    let until_seq = membership.member.until_seq.unwrap_or(last_seq);
    let readable = until_seq.min(last_seq);
    if readable > known.seq(membership) {
        for session in sessions {
            session.push_behind(membership.conversation.id, readable);
        }
    }
}
