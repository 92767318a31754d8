//! Requests to the worker that changes the node's bus subscriptions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::work_set::WorkSet;
use crate::bus::Topic;
use crate::sync::Mutex;

/// Topics whose bus subscription the worker has to check, and the callers that wait for a
/// subscription. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct TopicRequests {
    topics: WorkSet<Topic>,
    waiters: Arc<Mutex<HashMap<Topic, Vec<oneshot::Sender<()>>>>>,
    /// Maximum time that a caller waits for its subscription.
    wait_timeout: Duration,
    stop: CancellationToken,
}

impl TopicRequests {
    pub(crate) fn new(wait_timeout: Duration, stop: CancellationToken) -> Self {
        Self {
            topics: WorkSet::default(),
            waiters: Arc::default(),
            wait_timeout,
            stop,
        }
    }

    /// Returns the topics whose subscription the worker has to check.
    pub(crate) fn topics(&self) -> &WorkSet<Topic> {
        &self.topics
    }

    /// Asks the worker to check whether the node needs `topic`, and to subscribe or unsubscribe.
    pub(crate) fn recheck(&self, topic: Topic) {
        self.topics.add(topic);
    }

    /// Requests a subscription to `topic` and waits until it exists. Returns without a subscription
    /// when an attempt fails, when `wait_timeout` has passed, or when the router stops: a session
    /// also works without the bus.
    pub(crate) async fn subscribe(&self, topic: Topic) {
        let (subscribed, waiting) = oneshot::channel();
        self.waiters.lock().entry(topic).or_default().push(subscribed);
        self.topics.add(topic);
        let waiting = self.stop.run_until_cancelled(waiting);
        if timeout(self.wait_timeout, waiting).await.is_err() {
            self.remove_closed_waiters(topic);
        }
    }

    /// Wakes the callers that wait for the subscription to `topic`. Returns whether a caller was
    /// waiting.
    pub(crate) fn confirm(&self, topic: Topic) -> bool {
        let waiters = self.waiters.lock().remove(&topic);
        let mut confirmed = false;
        for waiter in waiters.into_iter().flatten() {
            confirmed |= waiter.send(()).is_ok();
        }
        confirmed
    }

    /// Wakes the callers that wait for the subscription to `topic`, because an attempt has failed.
    /// They do not learn whether a later attempt succeeds.
    pub(crate) fn give_up(&self, topic: Topic) {
        self.waiters.lock().remove(&topic);
    }

    fn remove_closed_waiters(&self, topic: Topic) {
        if let Entry::Occupied(mut entry) = self.waiters.lock().entry(topic) {
            entry.get_mut().retain(|waiter| !waiter.is_closed());
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn waiter_count(&self) -> usize {
        self.waiters.lock().values().map(Vec::len).sum()
    }
}
