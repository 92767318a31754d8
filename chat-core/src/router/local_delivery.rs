//! Delivery of events and notices to the sessions on this node.

use std::sync::Arc;
use std::time::Instant;

use super::commit_watch::CommitWatches;
use super::envelope::{Audience, Doorbell, ExceptDevice};
use super::registry::Registry;
use super::session::SessionHandle;
use super::shared_push::SharedPush;
use super::topic_requests::TopicRequests;
use super::work_set::WorkSet;
use crate::bus::Topic;
use crate::codec::body;
use crate::model::{CloseCode, ConversationId, DeviceId, Event, EventBody, EventKind, Push, UserId};

/// Component that delivers events and notices to the sessions on this node. It queues further work
/// for the workers: gaps to fill, subscriptions to change, conversations to join.
#[derive(Debug)]
pub(crate) struct LocalDelivery {
    registry: Arc<Registry>,
    /// `None` if this router receives no messages from a bus.
    topics: Option<TopicRequests>,
    queues: DeliveryQueues,
}

/// Work that delivery leaves to the workers, and the watches that it notifies.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeliveryQueues {
    /// Conversations whose logs extend beyond the delivered events.
    pub(crate) catch_up: WorkSet<ConversationId>,
    /// Conversations whose logs may extend beyond the delivered events: conversations that the node
    /// has just started to follow, and all conversations that it follows, in a sweep (a comparison
    /// of the node's conversations and users with the store, made at intervals and on request) or
    /// while the heartbeat of another node is late.
    pub(crate) compare: WorkSet<ConversationId>,
    /// Users who became members of a conversation that their sessions here do not follow yet.
    pub(crate) joins: WorkSet<(UserId, ConversationId)>,
    /// Devices whose presence has to be published.
    pub(crate) presence: WorkSet<(UserId, DeviceId)>,
    /// Watches that are notified when any log has grown, even if no session on this node follows
    /// its conversation.
    pub(crate) watches: CommitWatches,
}

impl LocalDelivery {
    pub(crate) fn new(registry: Arc<Registry>, topics: Option<TopicRequests>, queues: DeliveryQueues) -> Self {
        Self {
            registry,
            topics,
            queues,
        }
    }

    /// Delivers those of `events` that directly follow the events delivered before. If events
    /// between them are missing, requests a read of the log. `events` are ascending and of one
    /// conversation. Also notifies the watches, and if the conversation is an inbox, lets the
    /// sessions of its owner follow the conversations that `events` report as opened or joined.
    pub(crate) fn deliver(&self, conversation: ConversationId, events: &[Event]) {
        if let Some(last) = events.last() {
            self.queues.watches.grown(conversation, last.seq);
        }
        let Some(delivered) = self.registry.deliver(conversation, events, Instant::now()) else {
            return;
        };
        if delivered.has_gap {
            self.queues.catch_up.add(conversation);
        }
        if delivered.is_new {
            self.feed_created(conversation);
        }
        if delivered.has_ended {
            self.recheck_topic(Topic::Conversation(conversation));
        }
        for opened in events.iter().filter_map(opened_conversation) {
            // The event is in an inbox, which only its owner follows.
            let owners = self.registry.users_in(conversation);
            self.queues
                .joins
                .add_all(owners.into_iter().map(|owner| (owner, opened)));
        }
    }

    /// Handles a doorbell: notifies the watches, and requests a read of the log if the log extends
    /// beyond the events that were delivered to the sessions here.
    pub(crate) fn handle_doorbell(&self, doorbell: Doorbell) {
        self.queues.watches.grown(doorbell.conversation, doorbell.last_seq);
        let head = self.registry.head(doorbell.conversation);
        if head.is_some_and(|head| head < doorbell.last_seq) {
            self.queues.catch_up.add(doorbell.conversation);
        }
    }

    /// Notifies the watches that a user may have joined a conversation.
    pub(crate) fn joined(&self, user: UserId, conversation: ConversationId) {
        self.queues.watches.joined(user, conversation);
    }

    /// Pushes a notice to the sessions of an audience, except those of one device. A receipt goes
    /// to no session of the user who received or read the events.
    pub(crate) fn notify(&self, audience: Audience, push: &SharedPush, except: Option<ExceptDevice>) {
        let subject = match push.push() {
            Push::Receipt { user, .. } => Some(*user),
            _ => None,
        };
        let (now, push) = (Instant::now(), std::slice::from_ref(push));
        let notify = |session: &Arc<SessionHandle>| {
            let caller = session.caller;
            let is_excepted =
                except.is_some_and(|(user, device)| caller.user == user && caller.device() == Some(device));
            if !is_excepted && subject != Some(caller.user) {
                session.outbox.push_all(push, now);
            }
        };
        match audience {
            Audience::Conversation(conversation) => self.registry.for_each_in(conversation, notify),
            Audience::User(user) => self.registry.for_each_of_user(user, notify),
        }
    }

    /// Handles a [`ConversationFeed`](super::conversation_feed::ConversationFeed) that is new on
    /// this node: the node subscribes to the conversation's topic (if it has a bus) and then
    /// compares the feed with the log, because it missed the earlier announcements.
    pub(crate) fn feed_created(&self, conversation: ConversationId) {
        match &self.topics {
            Some(topics) => topics.recheck(Topic::Conversation(conversation)),
            None => self.queues.compare.add(conversation),
        }
    }

    /// Requests a read of the events of a conversation's log after those that were delivered.
    pub(crate) fn catch_up(&self, conversation: ConversationId) {
        self.queues.catch_up.add(conversation);
    }

    /// Ends a session: sends the close code to its client, and removes the session.
    pub(crate) fn close(&self, session: &SessionHandle, code: CloseCode) {
        session.outbox.close(code);
        self.remove(session);
    }

    /// Ends a session without a close code, and removes it. Requests the changes of bus
    /// subscriptions and presence that follow.
    pub(crate) fn remove(&self, session: &SessionHandle) {
        let removed = self.registry.remove(session);
        for conversation in removed.conversations {
            self.recheck_topic(Topic::Conversation(conversation));
        }
        if removed.was_last_of_user {
            self.recheck_topic(Topic::User(session.caller.user));
        }
        self.publish_presence(session);
    }

    /// Requests that the presence of a session's device is published.
    pub(crate) fn publish_presence(&self, session: &SessionHandle) {
        if let Some(device) = session.caller.device() {
            self.queues.presence.add((session.caller.user, device));
        }
    }

    fn recheck_topic(&self, topic: Topic) {
        if let Some(topics) = &self.topics {
            topics.recheck(topic);
        }
    }
}

/// Returns the conversation of which the owner of an inbox became a member, if `event` reports
/// this. An inbox is the log of requests and invitations of one user, its owner.
fn opened_conversation(event: &Event) -> Option<ConversationId> {
    if !matches!(event.kind, EventKind::ConversationOpened | EventKind::JoinAnswered) {
        return None;
    }
    match body::decode(event.kind, &event.body) {
        Ok(EventBody::ConversationOpened { conversation, .. }) => Some(conversation),
        Ok(EventBody::JoinAnswered { group, accepted, .. }) => accepted.then_some(group),
        _ => None,
    }
}
