//! Tests of the workers with fakes of the parts that they use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::router_ports::{HeartbeatStatus, LocalSessions, NoticeSender, SessionCloser};
use super::*;
use crate::clock::SystemClock;
use crate::cluster::{MemoryDiscovery, MemoryPresence, NodeInfo};
use crate::engine::config::EngineConfig;
use crate::engine::error::CommandError;
use crate::engine::store_access::{CommitTracker, StoreAccess};
use crate::model::{
    Caller, CloseCode, Contact, ContactState, ConversationId, DeviceId, NodeId, PresenceState, Push, Seq, SessionEpoch,
    Timestamp, UserId,
};
use crate::router::{SessionSelector, UnconfirmedCommit};
use crate::store::{MemoryStore, Store};
use crate::sync::Mutex;
use crate::testkit::store::{FaultyStore, NewEvent, World, append, transact};

const NODE: NodeId = NodeId([1; 16]);
const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// Receiver of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    /// The sessions of this user, except those of the device of this caller.
    User(UserId, Option<Caller>),
    Conversation(ConversationId),
}

/// List of the notices that a worker sent.
#[derive(Debug, Default)]
struct SentNotices(Mutex<Vec<(Receiver, Push)>>);

impl SentNotices {
    fn take(&self) -> Vec<(Receiver, Push)> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl NoticeSender for SentNotices {
    fn notify_user(&self, user: UserId, push: &Push, except: Option<Caller>) {
        self.0.lock().push((Receiver::User(user, except), push.clone()));
    }

    fn notify_conversation(&self, conversation: ConversationId, push: &Push) {
        self.0.lock().push((Receiver::Conversation(conversation), push.clone()));
    }
}

/// Sessions that a test has set.
#[derive(Debug, Default)]
struct FakeSessions(Mutex<HashMap<UserId, PresenceState>>);

impl LocalSessions for FakeSessions {
    fn of_user(&self, user: UserId) -> Vec<(Caller, PresenceState)> {
        let state = self.0.lock().get(&user).copied();
        state.map(|state| (caller(user), state)).into_iter().collect()
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// List of the users whose sessions were rechecked. A call to close sessions fails the test.
#[derive(Debug, Default)]
struct Rechecked(Mutex<Vec<(UserId, CloseCode)>>);

impl SessionCloser for Rechecked {
    fn close(&self, _: UserId, _: SessionSelector, _: CloseCode) {
        panic!("sessions were closed without a recheck");
    }

    fn close_here(&self, _: UserId, _: SessionSelector, _: CloseCode) {
        panic!("sessions were closed without a recheck");
    }

    fn recheck(&self, user: UserId, code: CloseCode) {
        self.0.lock().push((user, code));
    }
}

/// A node without peers, whose clock is right.
#[derive(Debug)]
struct Alone;

impl HeartbeatStatus for Alone {
    fn is_clock_wrong(&self) -> bool {
        false
    }

    fn has_peers(&self) -> bool {
        false
    }
}

/// Tracker for tests in which every commit is confirmed.
#[derive(Debug)]
struct NoUnconfirmedCommits;

impl CommitTracker for NoUnconfirmedCommits {
    fn track_unconfirmed(&self, commits: Vec<UnconfirmedCommit>) {
        panic!("{} commits are not confirmed", commits.len());
    }
}

fn caller(user: UserId) -> Caller {
    Caller::login(user, DeviceId([1; 16]), SessionEpoch(1))
}

fn access(store: Arc<dyn Store>) -> Arc<StoreAccess> {
    let config = EngineConfig::default();
    Arc::new(StoreAccess::new(
        store,
        Arc::new(SystemClock),
        NoUnconfirmedCommits,
        &config,
    ))
}

/// Runs a worker until it waits and no timer is due.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn presence_worker_notifies_friends_of_each_change() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let befriended = transact(&*store, |tx| {
        Box::pin(async move {
            let contact = Contact {
                owner: ALICE,
                peer: BOB,
                state: ContactState::Friend,
                blocked: false,
                since: Timestamp(0),
                note: String::new(),
            };
            Ok(tx.put_contact(&contact).await?)
        })
    });
    befriended.await.unwrap();
    let (queue, sessions, notices) = (
        Arc::new(PresenceQueue::default()),
        Arc::new(FakeSessions::default()),
        Arc::new(SentNotices::default()),
    );
    let view = PresenceView::new(Arc::new(MemoryPresence::new()), sessions.clone(), NODE);
    let worker = PresenceWorker::new(queue.clone(), Arc::new(view), access(store), notices.clone());
    let draining = CancellationToken::new();
    let running = tokio::spawn(worker.run(draining.clone()));
    for state in [PresenceState::Online, PresenceState::Offline] {
        match state {
            PresenceState::Offline => sessions.0.lock().remove(&ALICE),
            _ => sessions.0.lock().insert(ALICE, state),
        };
        for _ in 0..2 {
            queue.changed(ALICE);
            settle().await;
        }
        let push = Push::Presence { user: ALICE, state };
        assert_eq!(notices.take(), [(Receiver::User(BOB, None), push)]);
    }
    draining.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn mark_worker_notifies_other_devices_and_members_once_a_mark_is_written() {
    let world = World::new(Arc::new(MemoryStore::new())).await;
    let message = || NewEvent::message("text");
    append(&*world.store, world.group, world.bob, vec![message(), message()])
        .await
        .unwrap();
    let (config, notices) = (EngineConfig::default(), Arc::new(SentNotices::default()));
    let queue = Arc::new(MarkQueue::new(&config));
    let worker = MarkWorker::new(queue.clone(), access(world.store.clone()), notices.clone(), &config);
    let draining = CancellationToken::new();
    let running = tokio::spawn(worker.run(draining.clone()));
    let alice = caller(world.alice);
    queue.mark_read(alice, world.group, Seq(1)).unwrap();
    queue.wait_until_written(world.alice).await;
    settle().await;
    let member = world.store.member(world.group, world.alice).await.unwrap().unwrap();
    assert_eq!(member.read_seq, Seq(1));
    let read = Push::Read {
        conversation: world.group,
        read_seq: Seq(1),
        unread: 1,
        unread_mentions: 0,
    };
    let receipt = Push::Receipt {
        conversation: world.group,
        user: world.alice,
        delivered_seq: member.delivered_seq,
        read_seq: Seq(1),
    };
    let expected = [
        (Receiver::User(world.alice, Some(alice)), read),
        (Receiver::Conversation(world.group), receipt),
    ];
    assert_eq!(notices.take(), expected);

    // A mark that still waits is written when the engine drains.
    queue.mark_read(alice, world.group, Seq(2)).unwrap();
    draining.cancel();
    running.await.unwrap();
    let member = world.store.member(world.group, world.alice).await.unwrap().unwrap();
    assert_eq!(member.read_seq, Seq(2));
}

#[tokio::test(start_paused = true)]
async fn session_recheck_worker_checks_again_after_an_unknown_outcome() {
    let closer = Arc::new(Rechecked::default());
    let ender = Arc::new(SessionEnder::new(closer.clone()));
    let draining = CancellationToken::new();
    let running = tokio::spawn(SessionRecheckWorker::new(ender.clone()).run(draining.clone()));
    ender.recheck_after_failure(ALICE, CloseCode::Revoked, &CommandError::not_found());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(closer.0.lock().len(), 1, "the outcome of the change is known");
    ender.recheck_after_failure(BOB, CloseCode::Revoked, &CommandError::try_again());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(closer.0.lock()[1..], [(BOB, CloseCode::Revoked); 3]);
    draining.cancel();
    running.await.unwrap();
    assert_eq!(closer.0.lock()[1..], [(BOB, CloseCode::Revoked); 4]);
}

/// A node that advertises itself in a discovery in memory.
struct Advertised {
    advertiser: Arc<NodeAdvertiser>,
    readiness: Arc<ReadinessState>,
    sessions: Arc<FakeSessions>,
    draining: CancellationToken,
    running: JoinHandle<()>,
}

impl Advertised {
    async fn new() -> Self {
        let discovery = Arc::new(MemoryDiscovery::new());
        let advertiser = NodeAdvertiser::join(discovery, NodeInfo::new(NODE, 1)).await;
        let advertiser = Arc::new(advertiser.unwrap());
        let readiness = Arc::new(ReadinessState::new(Arc::new(Alone), Some(advertiser.clone())));
        let sessions = Arc::new(FakeSessions::default());
        let worker = AdvertiseWorker::new(advertiser.clone(), readiness.clone(), sessions.clone());
        let draining = CancellationToken::new();
        let running = tokio::spawn(worker.run(draining.clone()));
        Self {
            advertiser,
            readiness,
            sessions,
            draining,
            running,
        }
    }

    /// Returns the number of sessions that the node publishes, and whether it accepts no further
    /// ones; `None` if the discovery does not list the node.
    fn published(&self) -> Option<(u32, bool)> {
        let nodes = self.advertiser.nodes();
        nodes.first().map(|node| (node.sessions, node.accepts_no_sessions))
    }
}

#[tokio::test(start_paused = true)]
async fn advertise_worker_publishes_sessions_and_closed_listeners_and_withdraws_the_node() {
    let node = Advertised::new().await;
    assert_eq!(node.published(), Some((0, false)));
    node.sessions.0.lock().insert(ALICE, PresenceState::Online);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(node.published(), Some((1, false)));
    node.readiness.listener_closed();
    settle().await;
    assert_eq!(node.published(), Some((1, true)));
    node.readiness.listener_opened();
    settle().await;
    assert_eq!(node.published(), Some((1, false)));
    node.draining.cancel();
    node.running.await.unwrap();
    let nodes = node.advertiser.nodes();
    assert!(nodes.is_empty(), "{nodes:?}");
}

#[tokio::test(start_paused = true)]
async fn readiness_worker_publishes_an_outage_of_the_store_and_its_end_at_once() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let node = Advertised::new().await;
    let worker = ReadinessWorker::new(store.clone(), node.readiness.clone());
    let probing = tokio::spawn(worker.run(node.draining.clone()));
    // Without a change, the entry is published every 5 s; the store is probed every 2 s.
    tokio::time::sleep(Duration::from_millis(5500)).await;
    assert!(node.readiness.readiness().store_answers);
    assert_eq!(node.published(), Some((0, false)));
    store.set_unavailable(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!node.readiness.readiness().store_answers);
    assert_eq!(node.published(), Some((0, true)));
    store.set_unavailable(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(node.readiness.readiness().store_answers);
    assert_eq!(node.published(), Some((0, false)));
    node.draining.cancel();
    probing.await.unwrap();
}
