//! Who gets what happened, and where they are.
//!
//! Every event reaches a conversation's sessions on one ordered path, whether this node committed it, a doorbell told of
//! it, or a look into the store found it: an event that continues what was delivered is delivered, an older one is dropped, and
//! anything else is a gap, which is read from the log. Pushing never waits: a session that does not read has an
//! [`Outbox`] that overflows, and catches up by itself.
//!
//! The bus only rings. A bell that was lost is noticed by the next event, by the beacons in which every node repeats what
//! it rang, or by comparing with the store.

mod attachment;
mod beacon;
mod config;
mod delivery;
mod doubts;
mod envelope;
mod inbound;
mod neighbours;
mod outbox;
mod outgoing;
mod pending;
mod registry;
mod repair;
mod session;
mod shared;
mod topics;
mod tracked;

#[cfg(test)]
mod tests;

/// The messages of `chat.node.v1`, generated from `proto/chat/v1/node.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
#[rustfmt::skip]
#[path = "generated/chat.node.v1.rs"]
mod proto;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use attachment::SubscriptionGuard;
pub use config::RouterConfig;
pub use delivery::SharedPush;
pub use doubts::UnconfirmedCommit;
pub use outbox::{Outbox, OutboxLimits};

use self::beacon::{Heard, Recent};
use self::doubts::Doubts;
use self::envelope::{Audience, Content, Doorbell, Writer};
use self::neighbours::Neighbours;
use self::outgoing::Outgoing;
use self::pending::Pending;
use self::registry::{Registry, Told};
use self::session::SessionHandle;
use self::shared::{Link, Shared, goes_on};
use self::topics::TopicRequests;
use crate::bus::{BusError, MessageBus, Topic};
use crate::clock::Clock;
use crate::cluster::{Nodes, Presence};
use crate::codec::body;
use crate::model::{
    Caller, CloseCode, ConversationId, DeviceId, Event, EventBody, EventKind, NodeId, PresenceState, Push,
    SessionEpoch, SessionId, StoreEpoch, UserId,
};
use crate::store::{MembershipView, Store, StoreError};

/// Envelopes of beacons that wait to be published: more than one beacon ever takes.
const BEACON_QUEUE: usize = 256;

/// What a router works with.
#[derive(Debug)]
pub struct RouterParts {
    /// Where the logs are.
    pub store: Arc<dyn Store>,
    /// Carries doorbells to other nodes. Without one, nodes on the same store find each other's events by asking it each second;
    /// what is not stored does not reach the others.
    pub bus: Option<Arc<dyn MessageBus>>,
    /// Where sessions on this node are claimed.
    pub presence: Arc<dyn Presence>,
    /// This node's time of day, to be compared with the store's.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: u64,
    /// Names the store's history.
    pub epoch: StoreEpoch,
    /// Tunables.
    pub config: RouterConfig,
}

/// Which of a user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionSelector {
    /// All.
    All,
    /// Those of this device.
    Device(DeviceId),
    /// Those of every other device.
    AllExcept(DeviceId),
    /// Those of this device that began before this login.
    OlderThan(DeviceId, SessionEpoch),
}

/// How much the router has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterStats {
    /// Sessions on this node.
    pub sessions: usize,
    /// Conversations that one of them is in.
    pub conversations: usize,
    /// Gaps that were filled from the store since the start.
    pub repairs: u64,
    /// How often everything was compared with the store since the start.
    pub sweeps: u64,
}

/// Delivers events and notices to the sessions on this node, and rings the other nodes. Clones share one state; its
/// tasks end with [`Router::shutdown`], or when the last clone and the last [`SubscriptionGuard`] are dropped.
#[derive(Clone, Debug)]
pub struct Router {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// Stops the tasks when nobody is left who could use them.
#[derive(Debug)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Router {
    /// Starts a router and its tasks on the current tokio runtime.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn start(parts: RouterParts) -> Result<Self, BusError> {
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        let connection = match &parts.bus {
            Some(bus) => Some((Arc::clone(bus), bus.connect().await?)),
            None => None,
        };
        let link = connection.is_some().then(|| Link {
            outgoing: Outgoing::new(parts.config.max_queued_envelopes),
            beacons: Outgoing::new(BEACON_QUEUE),
            topics: TopicRequests::default(),
            recent: Recent::new(parts.config.peer_timeout),
            nodes: OnceLock::new(),
        });
        let shared = Arc::new(Shared {
            store: parts.store,
            presence: parts.presence,
            clock: parts.clock,
            writer: Writer {
                epoch: parts.epoch,
                node: parts.node,
                incarnation: parts.incarnation,
            },
            config: parts.config,
            registry: Registry::default(),
            next_session: AtomicU64::new(1),
            repairs: AtomicU64::new(0),
            sweeps: AtomicU64::new(0),
            dirty: Pending::default(),
            fresh: Pending::default(),
            placed: Pending::default(),
            logins: Pending::default(),
            checks: Pending::default(),
            claims: Pending::default(),
            heard: Heard::default(),
            neighbours: Neighbours::default(),
            doubts: Doubts::default(),
            link,
            stop: stop.clone(),
        });
        let spawn = |task| drop(tracker.spawn(stop.clone().run_until_cancelled_owned(task)));
        spawn(Box::pin(repair::run(Arc::clone(&shared))) as futures_util::future::BoxFuture<'static, ()>);
        spawn(Box::pin(neighbours::run(Arc::clone(&shared))));
        spawn(Box::pin(beacon::run(Arc::clone(&shared))));
        if let Some((bus, subscriber)) = connection {
            spawn(Box::pin(topics::run(Arc::clone(&shared), subscriber.topics())));
            spawn(Box::pin(outgoing::run(Arc::clone(&shared), Arc::clone(&bus), |link| {
                &link.outgoing
            })));
            spawn(Box::pin(outgoing::run(Arc::clone(&shared), bus, |link| &link.beacons)));
            spawn(Box::pin(inbound::run(Arc::clone(&shared), subscriber)));
            topics::request(&shared, Topic::Control).await;
        }
        tracker.close();
        Ok(Self {
            shared,
            tasks: Arc::new(Tasks { tracker, stop }),
        })
    }

    /// Tells the router which nodes there are, so that it notices those it does not hear. Without, it notices nodes that fall silent,
    /// but not those that were never heard.
    pub fn watch_nodes(&self, nodes: watch::Receiver<Nodes>) {
        if let Some(link) = &self.shared.link {
            // The first stays.
            let _ = link.nodes.set(nodes);
        }
    }

    /// Begins a session on this node: from now on `outbox` gets what happens in the user's conversations. Yields where the user's
    /// device stands in each of them; what is pushed continues from there, or from before.
    ///
    /// # Errors
    /// The store cannot be read; nothing was begun.
    ///
    /// # Cancel safety
    /// Dropping the future begins nothing.
    pub async fn attach(
        &self,
        caller: Caller,
        outbox: Arc<Outbox>,
    ) -> Result<(SubscriptionGuard, Vec<MembershipView>), StoreError> {
        let shared = &self.shared;
        let id = SessionId(shared.next_session.fetch_add(1, Ordering::Relaxed));
        let session = SessionHandle::new(id, caller, outbox);
        // From here on a drop of the attachment takes back whatever was done.
        let attachment = SubscriptionGuard {
            router: self.clone(),
            session: Arc::clone(&session),
        };
        shared.registry.add(&session);
        topics::request(shared, Topic::User(caller.user)).await;

        let heads = shared.store.memberships(caller.user, caller.device).await?;
        for head in heads.iter().filter(|head| goes_on(head)) {
            let told = Told::UpTo(head.conversation.last_seq);
            shared.enter(std::slice::from_ref(&session), head, told).await?;
        }
        shared.claims.add((caller.user, caller.device));
        Ok((attachment, heads))
    }

    /// Delivers what was just committed, and rings the other nodes. Call it in the order of `Seq` for each conversation; out of
    /// order costs a look into the store. Never waits.
    pub fn committed(&self, events: &[Event]) {
        for events in events.chunk_by(|a, b| a.conversation == b.conversation) {
            let (Some(first), Some(last)) = (events.first(), events.last()) else {
                continue;
            };
            self.shared.offer(first.conversation, events);
            self.shared.ring(Doorbell {
                conversation: last.conversation,
                last_seq: last.seq,
            });
            for event in events {
                if let Some(user) = joins(event) {
                    self.shared.ring_place(user, event.conversation);
                }
            }
        }
    }

    /// The store did not say whether this was committed: what comes of it is delivered, and the other nodes are told, as soon as
    /// the store shows it.
    pub fn track_unconfirmed(&self, doubts: impl IntoIterator<Item = UnconfirmedCommit>) {
        for doubt in doubts {
            if !self.shared.doubts.add(doubt) {
                self.shared.heard.ask_for_sweep();
                if let Some(link) = &self.shared.link {
                    link.recent.lost();
                }
            }
        }
    }

    /// Whether this node's clock and the store's are minutes apart: nobody should begin anything here then.
    #[must_use]
    pub fn is_clock_wrong(&self) -> bool {
        self.shared.neighbours.is_clock_wrong()
    }

    /// Whether the store told of other nodes, when it answered last.
    pub(crate) fn has_peers(&self) -> bool {
        !self.shared.neighbours.nodes().is_empty()
    }

    /// A user is in a conversation from now on: their sessions, here and elsewhere, follow it. Not needed for
    /// [`EventKind::GroupCreated`] and [`EventKind::MemberJoined`], which say it themselves.
    pub fn joined(&self, user: UserId, conversation: ConversationId) {
        self.shared.placed.add((user, conversation));
        self.shared.ring_place(user, conversation);
    }

    /// Tells the sessions in a conversation, here and elsewhere, except the one that caused it. Best effort.
    pub fn notify_conversation(&self, conversation: ConversationId, push: &Push, except: Option<Caller>) {
        let (topic, audience) = (Topic::Conversation(conversation), Audience::Conversation(conversation));
        let except = except.map(|caller| (caller.user, caller.device));
        self.shared.notify(audience, push, except);
        self.shared.ring_notice(topic, audience, push, except);
    }

    /// Tells a user's sessions, here and elsewhere, except the one that caused it. Best effort.
    pub fn notify_user(&self, user: UserId, push: &Push, except: Option<Caller>) {
        let except = except.map(|caller| (caller.user, caller.device));
        self.shared.notify(Audience::User(user), push, except);
        self.shared
            .ring_notice(Topic::User(user), Audience::User(user), push, except);
    }

    /// Ends sessions of a user, here at once, elsewhere as soon as the node there has looked into the store: so write to
    /// the store first.
    pub fn close_sessions(&self, user: UserId, which: SessionSelector, code: CloseCode) {
        for session in self.shared.registry.of_user(user) {
            if which.matches(&session.caller) {
                self.shared.close(&session, code);
            }
        }
        self.shared.ring_logins(user, code);
    }

    /// Compares a user's sessions, here and elsewhere, with the store, and ends those that it says are over: for changes of which
    /// it is not known whether they were committed.
    pub fn recheck_sessions(&self, user: UserId, code: CloseCode) {
        self.shared.logins.add((user, code));
        self.shared.ring_logins(user, code);
    }

    /// Sessions of a user on this node, and their states.
    #[must_use]
    pub fn local_sessions(&self, user: UserId) -> Vec<(Caller, PresenceState)> {
        let sessions = self.shared.registry.of_user(user);
        sessions
            .iter()
            .map(|session| (session.caller, session.presence()))
            .collect()
    }

    /// Whether a session of this node gets what happens in a conversation; `None` if there is no such session.
    #[must_use]
    pub fn is_subscribed(&self, caller: Caller, conversation: ConversationId) -> Option<bool> {
        let sessions = self.shared.registry.of_user(caller.user);
        let session = sessions.iter().find(|session| session.caller == caller)?;
        Some(session.is_in(conversation))
    }

    /// Whether this session of this node is online or idle.
    pub fn set_presence(&self, caller: Caller, state: PresenceState) {
        for session in self.shared.registry.of_user(caller.user) {
            if session.caller == caller {
                session.set_presence(state);
                self.shared.claims.add((caller.user, caller.device));
            }
        }
    }

    /// How much there is to do.
    #[must_use]
    pub fn stats(&self) -> RouterStats {
        RouterStats {
            sessions: self.shared.registry.session_count(),
            conversations: self.shared.registry.conversation_count(),
            repairs: self.shared.repairs.load(Ordering::Relaxed),
            sweeps: self.shared.sweeps.load(Ordering::Relaxed),
        }
    }

    /// Ends the router's tasks without waiting for them.
    pub fn stop(&self) {
        self.tasks.stop.cancel();
    }

    /// Ends the router's tasks and waits for them. Sessions get nothing more. Idempotent.
    pub async fn shutdown(&self) {
        self.tasks.stop.cancel();
        self.tasks.tracker.wait().await;
    }
}

/// Tells every node that logins of a user were ended, for a program that changed them in the store and is no node itself. Write to the
/// store first. Best effort: a node that does not hear it finds out when it compares everything.
///
/// # Errors
/// The bus cannot be reached.
pub async fn announce_ended_logins(
    bus: &dyn MessageBus,
    epoch: StoreEpoch,
    user: UserId,
    code: CloseCode,
) -> Result<(), BusError> {
    let writer = Writer {
        epoch,
        node: NodeId::random(),
        incarnation: 0,
    };
    bus.publish(Topic::User(user), writer.write(Content::SessionsChanged { user, code }))
        .await
}

impl SessionSelector {
    fn matches(self, caller: &Caller) -> bool {
        match self {
            Self::All => true,
            Self::Device(device) => caller.device == device,
            Self::AllExcept(device) => caller.device != device,
            Self::OlderThan(device, epoch) => caller.device == device && caller.epoch < epoch,
        }
    }
}

/// Who becomes a member by an event.
pub(crate) fn joins(event: &Event) -> Option<UserId> {
    match event.kind {
        EventKind::GroupCreated => Some(event.sender),
        EventKind::MemberJoined => match body::decode(event.kind, &event.body) {
            Ok(EventBody::MemberJoined { user, .. }) => Some(user),
            _ => None,
        },
        _ => None,
    }
}
