//! Announcements to the other nodes.

use super::announcements::RecentAnnouncements;
use super::envelope::{Audience, Content, Doorbell, EnvelopeCodec, ExceptDevice};
use super::publish_queue::PublishQueue;
use super::shared_push::SharedPush;
use crate::bus::Topic;
use crate::model::{CloseCode, ConversationId, UserId};

/// Maximum number of times that a flush repeats announcements that the bus did not accept.
const MAX_FLUSH_RETRIES: u32 = 3;

/// Announces changes made on this node to the other nodes, and sends them notices. Without a bus it
/// does nothing; the other nodes then find the changes in the store, and get no notices. Only
/// [`flush`](Self::flush) waits.
#[derive(Clone, Debug)]
pub(crate) struct ClusterLink {
    /// `None` without a bus.
    link: Option<Link>,
}

#[derive(Clone, Debug)]
struct Link {
    codec: EnvelopeCodec,
    queue: PublishQueue,
    recent: RecentAnnouncements,
    /// True if this node sends heartbeats, which repeat the recent announcements.
    has_heartbeats: bool,
}

impl ClusterLink {
    /// Creates the link of a node, which also sends heartbeats with the `recent` announcements.
    pub(crate) fn of_node(codec: EnvelopeCodec, queue: PublishQueue, recent: RecentAnnouncements) -> Self {
        Self::new(codec, queue, recent, true)
    }

    /// Creates the link of a program that announces commits and sends no heartbeats.
    pub(crate) fn of_announcer(codec: EnvelopeCodec, queue: PublishQueue, recent: RecentAnnouncements) -> Self {
        Self::new(codec, queue, recent, false)
    }

    fn new(codec: EnvelopeCodec, queue: PublishQueue, recent: RecentAnnouncements, has_heartbeats: bool) -> Self {
        let link = Link {
            codec,
            queue,
            recent,
            has_heartbeats,
        };
        Self { link: Some(link) }
    }

    /// Creates a link that announces nothing, for a node without a bus.
    pub(crate) fn without_bus() -> Self {
        Self { link: None }
    }

    /// Returns whether this node has a bus.
    pub(crate) fn has_bus(&self) -> bool {
        self.link.is_some()
    }

    /// Waits until no envelope is queued or being published. Repeats recent announcements if the
    /// bus did not accept all of them. Returns whether the bus has accepted all announcements, or
    /// in their place a request to compare everything with the store; `true` without a bus.
    pub(crate) async fn flush(&self) -> bool {
        let Some(link) = &self.link else {
            return true;
        };
        for _ in 0..MAX_FLUSH_RETRIES {
            if link.queue.flushed().await {
                return true;
            }
            if !link.repeat() {
                return false;
            }
        }
        link.queue.flushed().await
    }

    /// Announces that a conversation's log has grown.
    pub(crate) fn ring(&self, doorbell: Doorbell) {
        if let Some(link) = &self.link {
            link.recent.add_doorbell(doorbell);
            link.queue.ring(doorbell);
        }
    }

    /// Announces that a user became a member of a conversation.
    pub(crate) fn announce_join(&self, user: UserId, conversation: ConversationId) {
        if let Some(link) = &self.link {
            link.recent.add_join(user, conversation);
            let content = Content::UserJoined { user, conversation };
            link.queue.send(Topic::User(user), link.codec.encode(content));
        }
    }

    /// Announces that sessions of a user may have ended. Other nodes compare the user's sessions
    /// with the store, and close those that have ended: with `code`, unless the store shows a more
    /// exact reason.
    pub(crate) fn announce_changed_sessions(&self, user: UserId, code: CloseCode) {
        if let Some(link) = &self.link {
            link.recent.add_changed_sessions(user, code);
            let content = Content::SessionsChanged { user, code };
            link.queue.send(Topic::User(user), link.codec.encode(content));
        }
    }

    /// Sends a notice (a push that may be lost, such as a receipt) to the sessions of an audience
    /// on other nodes. Heartbeats do not repeat it.
    pub(crate) fn publish_notice(&self, audience: Audience, push: &SharedPush, except: Option<ExceptDevice>) {
        if let Some(link) = &self.link {
            let envelope = link.codec.encode_notice(audience, push, except);
            link.queue.send(audience.topic(), envelope);
        }
    }

    /// Asks the other nodes to compare everything with the store, because this node does not know
    /// which announcements are missing: by the next heartbeats, or at once if it sends none.
    pub(crate) fn announce_overflow(&self) {
        if let Some(link) = &self.link {
            link.recent.mark_overflowed();
            link.request_sweep();
        }
    }
}

impl Link {
    /// Queues the remembered announcements again. If some are missing, queues a request to the
    /// other nodes to compare everything with the store instead; or if this node's heartbeats
    /// contain that request, queues nothing and returns `false`.
    fn repeat(&self) -> bool {
        let Some((doorbells, others)) = self.recent.all() else {
            return self.request_sweep();
        };
        for doorbell in doorbells {
            self.queue.ring(doorbell);
        }
        for content in others {
            let (Content::UserJoined { user, .. } | Content::SessionsChanged { user, .. }) = content else {
                continue;
            };
            self.queue.send(Topic::User(user), self.codec.encode(content));
        }
        true
    }

    /// Queues a request to the other nodes to compare everything with the store. Returns `false`,
    /// and queues nothing, if this node sends heartbeats: those contain the request.
    fn request_sweep(&self) -> bool {
        if self.has_heartbeats {
            return false;
        }
        // The receivers need only the flag. This sender has no sequence of heartbeats to number.
        let content = Content::Heartbeat {
            number: 0,
            doorbells: Vec::new(),
            joins: Vec::new(),
            changed_sessions: Vec::new(),
            overflowed: true,
        };
        self.queue.send(Topic::Control, self.codec.encode(content));
        true
    }
}
