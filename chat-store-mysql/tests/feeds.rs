//! Test of a feed that two nodes share over one database.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chat_core::bus::MemoryBus;
use chat_core::engine::operator::{CreateAccount, OperatorName};
use chat_core::engine::{ActingAs, Engine, Feed, FeedOptions};
use chat_core::model::{ConversationId, ConversationRef, EventKind, Seq, UserName, UserRef};
use chat_core::prelude::Commands;
use chat_core::sync::Mutex;
use chat_store_mysql::{MysqlStore, Options};
use support::server;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Maximum time of one wait.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
const USERS: usize = 16;

/// Place of a message: its conversation and its number there.
type Position = (ConversationId, Seq);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Killed,
    Surviving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A consumer received the message.
    HandedOut,
    /// The consumer learned that its acknowledgement was recorded.
    Recorded,
}

/// Steps of the consumers on both nodes, in the order in which they happened.
#[derive(Debug, Default)]
struct Journal {
    steps: Mutex<Vec<(Node, Step, Position)>>,
    changed: Notify,
}

impl Journal {
    fn add(&self, node: Node, step: Step, position: Position) {
        self.steps.lock().push((node, step, position));
        self.changed.notify_one();
    }

    /// Returns the positions of the messages for which `node` has made the step.
    fn positions(&self, node: Node, step: Step) -> BTreeSet<Position> {
        let steps = self.steps.lock();
        let made = steps.iter().filter(|made| (made.0, made.1) == (node, step));
        made.map(|made| made.2).collect()
    }

    /// Returns whether the acknowledgement of every message of `sent` was recorded, except of at
    /// most one message that the killed node received: the node may have stopped while it waited
    /// for that acknowledgement, which may have been recorded.
    fn is_complete(&self, sent: &BTreeSet<Position>) -> bool {
        let mut recorded = self.positions(Node::Surviving, Step::Recorded);
        recorded.extend(self.positions(Node::Killed, Step::Recorded));
        let missing: Vec<_> = sent.difference(&recorded).collect();
        let by_killed = self.positions(Node::Killed, Step::HandedOut);
        missing.len() <= 1 && missing.iter().all(|position| by_killed.contains(position))
    }

    /// Waits until `is_reached` returns `true`. Calls it at first and whenever steps were added.
    /// Fails if no step is added for [`WAIT_TIMEOUT`].
    async fn wait_until(&self, is_reached: impl Fn() -> bool) {
        while !is_reached() {
            let changed = timeout(WAIT_TIMEOUT, self.changed.notified()).await;
            changed.expect("every message is acknowledged");
        }
    }

    /// Fails if a message was handed out, or acknowledged again, after an acknowledgement of it was
    /// recorded.
    fn check_order(&self) {
        let mut recorded: BTreeMap<Position, Node> = BTreeMap::new();
        for (node, step, position) in &*self.steps.lock() {
            let by = recorded.get(position);
            assert_eq!(
                by, None,
                "{step:?} by {node:?} after the acknowledgement of {position:?}"
            );
            if *step == Step::Recorded {
                recorded.insert(*position, *node);
            }
        }
    }
}

/// Starts a runtime and, on it, a node and its consumer of the feed. The node has its own
/// connections to the database.
fn start(node: Node, url: &str, bus: &Arc<MemoryBus>, journal: &Arc<Journal>) -> (Runtime, Engine) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let engine = runtime.block_on(async {
        let store = Arc::new(MysqlStore::open(url, Options::default()).await.unwrap());
        let engine = Engine::builder(store).bus(bus.clone()).build().await.unwrap();
        let mut options = FeedOptions::all_conversations("index");
        options.lease_ttl = Duration::from_secs(2);
        options.flush_interval = Duration::from_millis(5);
        let feed = engine.feed(options).await.unwrap();
        tokio::spawn(consume(feed, node, Arc::clone(journal)));
        engine
    });
    (runtime, engine)
}

/// Acknowledges every event of a feed, one after the other, until the feed ends. Adds the steps of
/// messages to `journal`.
async fn consume(feed: Feed, node: Node, journal: Arc<Journal>) {
    while let Some(item) = feed.next().await {
        let event = item.event();
        let message = (event.kind == EventKind::Message).then_some((event.conversation, event.seq));
        if let Some(position) = message {
            journal.add(node, Step::HandedOut, position);
        }
        if item.acknowledge().await.is_ok()
            && let Some(position) = message
        {
            journal.add(node, Step::Recorded, position);
        }
    }
}

async fn new_users(engine: &Engine) -> Vec<ActingAs> {
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let mut users = Vec::new();
    for number in 0..USERS {
        let account = CreateAccount::new(UserName::parse(&format!("user{number}")).unwrap());
        let user = operator.create_account(account).await.unwrap().id;
        users.push(engine.acting_as(user));
    }
    users
}

/// Sends a message from each user to the user's notes (the conversation with oneself), and adds the
/// positions of the messages to `sent`.
async fn send_round(users: &[ActingAs], sent: &mut BTreeSet<Position>) {
    for user in users {
        let notes = ConversationRef::Direct(UserRef::Id(user.user()));
        let appended = user.send_text(notes, "note").await.unwrap();
        sent.insert((appended.conversation, appended.seq));
    }
}

/// The runtime of the killed node ends without a shutdown: its tasks stop wherever they wait, with
/// their transactions open and their leases held.
#[test]
fn feed_loses_nothing_and_repeats_nothing_recorded_when_a_node_is_killed() {
    let (_server, url) = server(&[]);
    let bus = Arc::new(MemoryBus::new());
    let journal = Arc::new(Journal::default());
    let (surviving, engine) = start(Node::Surviving, &url, &bus, &journal);
    let (killed, killed_engine) = start(Node::Killed, &url, &bus, &journal);
    let mut sent = BTreeSet::new();

    let users = surviving.block_on(async {
        let users = new_users(&engine).await;
        let has_worked = |node| journal.positions(node, Step::Recorded).len() > 30;
        let work = async {
            while !(has_worked(Node::Killed) && has_worked(Node::Surviving)) {
                send_round(&users, &mut sent).await;
            }
        };
        timeout(WAIT_TIMEOUT, work).await.expect("the nodes share the feed");
        // The node is killed while it has work.
        send_round(&users, &mut sent).await;
        users
    });
    drop(killed_engine);
    killed.shutdown_background();

    surviving.block_on(async {
        for _ in 0..3 {
            send_round(&users, &mut sent).await;
        }
        journal.wait_until(|| journal.is_complete(&sent)).await;
        engine.shutdown().await;
    });
    journal.check_order();
}
