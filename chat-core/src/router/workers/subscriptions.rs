//! Keeps the node's bus subscriptions consistent with its sessions. A single worker changes them
//! and asks the registry at that moment whether a topic is needed, so that a starting session and
//! an ending session cannot race.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::bus::{BusError, Topic, Topics};
use crate::model::{ConversationId, NodeId, UserId};
use crate::router::registry::Registry;
use crate::router::topic_requests::TopicRequests;
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::sync::Mutex;

/// Worker that subscribes to topics and unsubscribes from them.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    pub(crate) requests: TopicRequests,
    pub(crate) options: WorkerOptions,
    pub(crate) topics: Box<dyn Topics>,
    pub(crate) node: NodeId,
    pub(crate) registry: Arc<Registry>,
    /// Conversations whose feeds have to be compared with the store.
    pub(crate) compare: WorkSet<ConversationId>,
    /// Users whose logins and conversations have to be read from the store.
    pub(crate) users: WorkSet<UserId>,
    pub(crate) call_timeout: Duration,
}

/// State of a subscription that the bus has or may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscription {
    Confirmed,
    /// The last change is in progress, or failed or was not answered, so the bus may or may not
    /// have the subscription.
    Unconfirmed,
}

/// The subscriptions that the bus has or may have, by topic.
type Known = Mutex<HashMap<Topic, Subscription>>;

impl Subscriptions {
    pub(crate) async fn run(self) {
        let known = Known::default();
        let adjust = |topic| self.adjust(&known, topic);
        self.requests.topics().drain_forever(self.options, adjust).await;
    }

    async fn adjust(&self, known: &Known, topic: Topic) -> Result<(), BusError> {
        let subscription = known.lock().get(&topic).copied();
        if self.is_needed(topic) {
            if subscription != Some(Subscription::Confirmed) {
                known.lock().insert(topic, Subscription::Unconfirmed);
                let subscribed = self.within(self.topics.subscribe(topic)).await;
                if subscribed.is_err() {
                    self.requests.give_up(topic);
                }
                subscribed?;
                known.lock().insert(topic, Subscription::Confirmed);
            }
            self.subscribed(topic);
        } else if subscription.is_some() {
            // If the call fails, the subscription may or may not exist. If a session needs the
            // topic again, the worker repeats the subscription.
            known.lock().insert(topic, Subscription::Unconfirmed);
            self.within(self.topics.unsubscribe(topic)).await?;
            known.lock().remove(&topic);
        }
        Ok(())
    }

    fn is_needed(&self, topic: Topic) -> bool {
        match topic {
            Topic::Conversation(conversation) => self.registry.follows(conversation),
            Topic::User(user) => self.registry.has_user(user),
            Topic::Node(node) => node == self.node,
            Topic::Control => true,
        }
    }

    /// Handles a topic to which the node is subscribed, newly or since an earlier request: the node
    /// may have missed announcements made before, so the conversation or user has to be read from
    /// the store.
    fn subscribed(&self, topic: Topic) {
        let was_awaited = self.requests.confirm(topic);
        match topic {
            Topic::Conversation(conversation) => self.compare.add(conversation),
            // A session that waited for the subscription reads everything afterwards.
            Topic::User(user) if !was_awaited => self.users.add(user),
            _ => {}
        }
    }

    async fn within(&self, change: impl Future<Output = Result<(), BusError>>) -> Result<(), BusError> {
        let result = timeout(self.call_timeout, change).await;
        result.unwrap_or_else(|_| Err(BusError::timed_out(self.call_timeout)))
    }
}
