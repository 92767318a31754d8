//! Tests of the events that the consumer of a feed receives, over restarts, crashes, outages and
//! several nodes.

mod closing;
mod contents;
mod delivery;
mod nodes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::support::*;
use crate::bus::MemoryBus;
use crate::commands::Commands;
use crate::engine::operator::{DeletedName, DeletedTexts, DeletionOptions, OperatorName};
use crate::engine::{Engine, Feed, FeedError, FeedItem, FeedOptions, LocalSession, NotRecorded};
use crate::model::*;
use crate::store::{MemoryStore, Store};
use crate::sync::Mutex;
use crate::testkit::store::FaultyStore;

/// A node that takes part in several tests. After a crash, an engine with the same node takes over
/// the node's leases at once.
const NODE: NodeId = NodeId([7; 16]);

/// Returns the options of a feed of all conversations, whose leases expire after half a second.
fn all_conversations() -> FeedOptions {
    let mut options = FeedOptions::all_conversations("index");
    options.lease_ttl = Duration::from_millis(500);
    options.flush_interval = Duration::from_millis(5);
    options
}

/// Waits for the next item.
async fn next(feed: &Feed) -> FeedItem {
    let next = timeout(Duration::from_secs(20), feed.next());
    next.await.expect("no event arrived").expect("the feed has ended")
}

/// Takes items up to and including the first for which `is_last` is true, marks each as done, and
/// returns their events.
async fn drain(feed: &Feed, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let item = next(feed).await;
        let event = item.event().clone();
        item.done();
        events.push(event);
        if events.last().is_some_and(&is_last) {
            return events;
        }
    }
}

fn is_text(wanted: &str) -> impl Fn(&Event) -> bool {
    move |event| message(event).as_deref() == Some(wanted)
}

fn messages(events: &[Event]) -> Vec<String> {
    events.iter().filter_map(message).collect()
}

async fn engine_on(store: Arc<dyn Store>, node: NodeId) -> Engine {
    Engine::builder(store)
        .config(config())
        .node(node)
        .build()
        .await
        .unwrap()
}

/// Ends an engine as a crash does: no further request of it reaches the store.
fn crash(engine: Engine, store: &FaultyStore) {
    store.set_unavailable(true);
    drop(engine);
}

/// Sends a message to the user's notes, which are the user's direct conversation with itself.
async fn send(session: &LocalSession, text: &str) -> Appended {
    session.send_text(direct(session), text).await.unwrap()
}

/// Takes items up to the first message, marks those before it as done, and returns the item of the
/// message.
async fn first_message(feed: &Feed) -> FeedItem {
    loop {
        let item = next(feed).await;
        if message(item.event()).is_some() {
            return item;
        }
        item.done();
    }
}
