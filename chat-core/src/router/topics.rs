//! Keeps the subscriptions at what the sessions on this node need. One task changes them, and asks the registry at that
//! moment, so that a session that comes cannot be crossed by one that goes.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Shared;
use crate::bus::{Topic, Topics};

/// Topics to look at, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct TopicRequests {
    requests: Mutex<HashMap<Topic, Vec<oneshot::Sender<()>>>>,
    added: Notify,
}

impl TopicRequests {
    fn add(&self, topic: Topic, waiter: Option<oneshot::Sender<()>>) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.entry(topic).or_default().extend(waiter);
        drop(requests);
        self.added.notify_one();
    }

    async fn take(&self) -> HashMap<Topic, Vec<oneshot::Sender<()>>> {
        loop {
            let requests = std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner));
            if !requests.is_empty() {
                return requests;
            }
            self.added.notified().await;
        }
    }
}

/// Subscribes to what is needed of `topic`, and returns once that is so, or failed and will be tried again.
pub(super) async fn request(shared: &Shared, topic: Topic) {
    if let Some(link) = &shared.link {
        let (done, waiting) = oneshot::channel();
        link.topics.add(topic, Some(done));
        // After the end of the router nobody answers.
        let _ = shared.stop.run_until_cancelled(waiting).await;
    }
}

/// Whether `topic` is needed may have changed.
pub(super) fn changed(shared: &Shared, topic: Topic) {
    if let Some(link) = &shared.link {
        link.topics.add(topic, None);
    }
}

pub(super) async fn run(shared: std::sync::Arc<Shared>, topics: Box<dyn Topics>) {
    let Some(link) = &shared.link else { return };
    let mut subscribed: HashSet<Topic> = HashSet::new();
    loop {
        let mut failed = Vec::new();
        for (topic, waiters) in link.topics.take().await {
            let wanted = wanted(&shared, topic);
            let result = match (wanted, subscribed.contains(&topic)) {
                (true, false) => topics.subscribe(topic).await,
                (false, true) => topics.unsubscribe(topic).await,
                _ => Ok(()),
            };
            match result {
                Ok(()) if wanted => _ = subscribed.insert(topic),
                Ok(()) => _ = subscribed.remove(&topic),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%topic, error, "cannot change a subscription; trying again");
                    failed.push(topic);
                }
            }
            // Whoever waits goes on: without a bell, its conversations are repaired by sweeps.
            for waiter in waiters {
                let _ = waiter.send(());
            }
        }
        if !failed.is_empty() {
            tokio::time::sleep(shared.config.retry_interval).await;
            failed.into_iter().for_each(|topic| link.topics.add(topic, None));
        }
    }
}

fn wanted(shared: &Shared, topic: Topic) -> bool {
    match topic {
        Topic::Conversation(id) => shared.registry.follows(id),
        Topic::User(id) => shared.registry.has_user(id),
        Topic::Node(id) => id == shared.writer.node,
        Topic::Control => true,
    }
}
