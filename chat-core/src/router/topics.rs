//! Keeps the subscriptions at what the sessions on this node need. One task changes them, and asks the registry at that
//! moment, so that a session that comes cannot be crossed by one that goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Shared;
use super::pending::{Pace, Pending, work};
use crate::bus::{BusError, Topic, Topics};

/// Subscriptions that are changed at the same time.
const AT_ONCE: usize = 16;

/// Topics to look at, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct TopicRequests {
    topics: Pending<Topic>,
    waiters: Mutex<HashMap<Topic, Vec<oneshot::Sender<()>>>>,
}

impl TopicRequests {
    fn waiters(&self) -> MutexGuard<'_, HashMap<Topic, Vec<oneshot::Sender<()>>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiters().values().map(Vec::len).sum()
    }

    /// Frees the places of those who wait for `topic` no longer.
    fn forget_who_left(&self, topic: Topic) {
        if let Entry::Occupied(mut entry) = self.waiters().entry(topic) {
            entry.get_mut().retain(|waiter| !waiter.is_closed());
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

/// Subscribes to what is needed of `topic`. Returns once that is so, but after the bus's timeout in any case: whoever waits
/// does without the bus, as everything can.
pub(super) async fn request(shared: &Shared, topic: Topic) {
    if let Some(link) = &shared.link {
        let (done, waiting) = oneshot::channel();
        link.topics.waiters().entry(topic).or_default().push(done);
        link.topics.topics.add(topic);
        let waiting = shared.stop.run_until_cancelled(waiting);
        let answered = timeout(shared.config.bus_timeout, waiting).await.is_ok();
        if !answered {
            link.topics.forget_who_left(topic);
        }
    }
}

/// Whether `topic` is needed may have changed.
pub(super) fn changed(shared: &Shared, topic: Topic) {
    if let Some(link) = &shared.link {
        link.topics.topics.add(topic);
    }
}

/// What is known of a subscription that was begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subscription {
    Sure,
    /// The bus did not say.
    Unsure,
}

pub(super) async fn run(shared: Arc<Shared>, topics: Box<dyn Topics>) {
    let Some(link) = &shared.link else { return };
    let subscribed: Mutex<HashMap<Topic, Subscription>> = Mutex::default();
    let pace = Pace {
        at_once: AT_ONCE,
        retry: shared.config.retry_interval,
        what: "change a subscription",
    };
    work(&link.topics.topics, pace, |topic| {
        adjust(&shared, &*topics, &subscribed, topic)
    })
    .await;
}

async fn adjust(
    shared: &Shared,
    topics: &dyn Topics,
    subscribed: &Mutex<HashMap<Topic, Subscription>>,
    topic: Topic,
) -> Result<(), BusError> {
    let subscribed = || subscribed.lock().unwrap_or_else(PoisonError::into_inner);
    let known = subscribed().get(&topic).copied();
    if wanted(shared, topic) {
        if known != Some(Subscription::Sure) {
            subscribed().insert(topic, Subscription::Unsure);
            in_time(shared, topics.subscribe(topic)).await?;
            subscribed().insert(topic, Subscription::Sure);
        }
        heard_from_now_on(shared, topic);
    } else if known.is_some() {
        // If it fails, nobody knows; whoever wants the topic again has to subscribe anew.
        subscribed().insert(topic, Subscription::Unsure);
        in_time(shared, topics.unsubscribe(topic)).await?;
        subscribed().remove(&topic);
    }
    Ok(())
}

/// What was rung before has passed unheard: it has to be looked for.
fn heard_from_now_on(shared: &Shared, topic: Topic) {
    let waiters = shared
        .link
        .as_ref()
        .and_then(|link| link.topics.waiters().remove(&topic));
    let mut answered = false;
    for waiter in waiters.into_iter().flatten() {
        answered |= waiter.send(()).is_ok();
    }
    match topic {
        Topic::Conversation(id) => shared.fresh.add(id),
        // Who waited reads everything after this.
        Topic::User(id) if !answered => shared.checks.add(id),
        _ => {}
    }
}

async fn in_time(shared: &Shared, change: impl Future<Output = Result<(), BusError>>) -> Result<(), BusError> {
    let result = timeout(shared.config.bus_timeout, change).await;
    result.unwrap_or_else(|_| Err(BusError::Unavailable("it did not answer in time".into())))
}

fn wanted(shared: &Shared, topic: Topic) -> bool {
    match topic {
        Topic::Conversation(id) => shared.registry.follows(id),
        Topic::User(id) => shared.registry.has_user(id),
        Topic::Node(id) => id == shared.writer.node,
        Topic::Control => true,
    }
}
