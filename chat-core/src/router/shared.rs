//! What the router's handles and tasks share, and the ways of an event and of a notice through it.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::beacon::{Heard, Recent};
use super::doubts::Doubts;
use super::envelope::{Audience, Content, Doorbell, Exception, Writer};
use super::neighbours::Neighbours;
use super::outgoing::Outgoing;
use super::pending::Pending;
use super::registry::{Entered, Registry, Told};
use super::session::SessionHandle;
use super::topics::{self, TopicRequests};
use super::{RouterConfig, SharedPush};
use crate::bus::Topic;
use crate::clock::Clock;
use crate::cluster::{Nodes, Presence};
use crate::codec::body;
use crate::model::{Caller, CloseCode, ConversationId, DeviceId, Event, EventBody, EventKind, NodeId, Push, UserId};
use crate::store::{MembershipView, Store, StoreError};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) presence: Arc<dyn Presence>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Writer,
    pub(super) config: RouterConfig,
    pub(super) registry: Registry,
    pub(super) next_session: AtomicU64,
    pub(super) repairs: AtomicU64,
    pub(super) sweeps: AtomicU64,
    /// Conversations whose log is longer than what was delivered.
    pub(super) dirty: Pending<ConversationId>,
    /// Conversations of which this may be so: those that are followed since now, or all.
    pub(super) fresh: Pending<ConversationId>,
    /// Users who came into a conversation that this node may have to follow.
    pub(super) placed: Pending<(UserId, ConversationId)>,
    /// Users whose logins changed, with the code for those who are out.
    pub(super) logins: Pending<(UserId, CloseCode)>,
    /// Users of whom a bell may have been lost.
    pub(super) checks: Pending<UserId>,
    /// Devices whose claim has to be renewed or withdrawn.
    pub(super) claims: Pending<(UserId, DeviceId)>,
    pub(super) heard: Heard,
    pub(super) neighbours: Neighbours,
    pub(super) doubts: Doubts,
    pub(super) link: Option<Link>,
    pub(super) stop: CancellationToken,
}

/// The way to the other nodes.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) outgoing: Outgoing,
    /// Apart, so that nothing delays them: others take a node's silence for death.
    pub(super) beacons: Outgoing,
    pub(super) topics: TopicRequests,
    pub(super) recent: Recent,
    pub(super) nodes: OnceLock<watch::Receiver<Nodes>>,
}

/// Whether more may happen to the user in this conversation.
pub(super) fn goes_on(head: &MembershipView) -> bool {
    head.member.is_active() && !head.conversation.closed
}

impl Shared {
    /// Reads from the store, within a bound.
    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = timeout(self.config.read_timeout, read).await;
        answer.unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time")))
    }

    /// Lists a user's sessions under a conversation, reading the user's place again while this node knows a newer state.
    pub(super) async fn enter(
        &self,
        sessions: &[Arc<SessionHandle>],
        head: &MembershipView,
        told: Told,
    ) -> Result<(), StoreError> {
        let id = head.conversation.id;
        let mut newer;
        let mut head = head;
        loop {
            match self.registry.enter(sessions, head, told) {
                Entered::Listed => return Ok(()),
                Entered::First => {
                    self.follow(id);
                    return Ok(());
                }
                Entered::Stale => {}
            }
            let Some(Caller { user, device, .. }) = sessions.first().map(|session| session.caller) else {
                return Ok(());
            };
            match self.read(self.store.membership(user, device, id)).await? {
                Some(read) => newer = read,
                None => return Ok(()),
            }
            head = &newer;
            if !goes_on(head) {
                tell_the_end(sessions, head, told);
                return Ok(());
            }
        }
    }

    /// This node follows a conversation from now on; what was committed before that may have passed it.
    fn follow(&self, conversation: ConversationId) {
        if self.link.is_some() {
            topics::changed(self, Topic::Conversation(conversation));
        } else {
            self.fresh.add(conversation);
        }
    }

    /// A conversation stands there: look, if that is further than what was delivered here.
    pub(super) fn heard(&self, doorbell: Doorbell) {
        let head = self.registry.head(doorbell.conversation);
        if head.is_some_and(|head| head < doorbell.last_seq) {
            self.dirty.add(doorbell.conversation);
        }
    }

    /// Delivers events of one conversation to the sessions here, as far as they continue what was delivered.
    pub(super) fn offer(&self, conversation: ConversationId, events: &[Event]) {
        let Some(offer) = self.registry.offer(conversation, events) else {
            return;
        };
        if offer.gap {
            self.dirty.add(conversation);
        }
        if offer.begun {
            self.follow(conversation);
        }
        if offer.ended {
            topics::changed(self, Topic::Conversation(conversation));
        }
        for event in events {
            if let Some(opened) = opens(event) {
                let owners = self.registry.in_conversation(conversation);
                let owners: HashSet<UserId> = owners.iter().map(|session| session.caller.user).collect();
                self.placed.add_all(owners.into_iter().map(|owner| (owner, opened)));
            }
        }
    }

    pub(super) fn notify(&self, audience: Audience, push: &Push, except: Exception) {
        let sessions = match audience {
            Audience::Conversation(conversation) => self.registry.in_conversation(conversation),
            Audience::User(user) => self.registry.of_user(user),
        };
        let delivery = SharedPush::new(push.clone());
        for session in sessions {
            if except != Some((session.caller.user, session.caller.device)) {
                session.outbox.push(delivery.clone());
            }
        }
    }

    pub(super) fn close(&self, session: &SessionHandle, code: CloseCode) {
        session.outbox.close(code);
        self.forget(session);
    }

    pub(super) fn forget(&self, session: &SessionHandle) {
        let (abandoned, user_gone) = self.registry.remove(session);
        for conversation in abandoned {
            topics::changed(self, Topic::Conversation(conversation));
        }
        if user_gone {
            topics::changed(self, Topic::User(session.caller.user));
        }
        self.claims.add((session.caller.user, session.caller.device));
    }

    /// Nodes that are said to be there, by the store or by the cluster, without this one.
    pub(super) fn other_nodes(&self) -> HashSet<NodeId> {
        let nodes = self.link.as_ref().and_then(|link| link.nodes.get());
        let nodes = nodes.map(|nodes| nodes.borrow().clone());
        let ids = nodes.iter().flat_map(|nodes| nodes.iter()).map(|node| node.id);
        let ids = ids.chain(self.neighbours.nodes());
        ids.filter(|id| *id != self.writer.node).collect()
    }

    pub(super) fn ring(&self, doorbell: Doorbell) {
        if let Some(link) = &self.link {
            link.recent.rang(doorbell);
            link.outgoing.ring(doorbell);
        }
    }

    pub(super) fn ring_place(&self, user: UserId, conversation: ConversationId) {
        if let Some(link) = &self.link {
            link.recent.placed(user, conversation);
            link.outgoing.send(
                Topic::User(user),
                self.writer.write(Content::PlacesChanged { user, conversation }),
            );
        }
    }

    pub(super) fn ring_logins(&self, user: UserId, code: CloseCode) {
        if let Some(link) = &self.link {
            link.recent.logins_changed(user, code);
            link.outgoing.send(
                Topic::User(user),
                self.writer.write(Content::SessionsChanged { user, code }),
            );
        }
    }

    pub(super) fn ring_notice(&self, topic: Topic, audience: Audience, push: &Push, except: Exception) {
        if let Some(link) = &self.link {
            let push = push.clone();
            link.outgoing
                .send(topic, self.writer.write(Content::Notice { audience, push, except }));
        }
    }
}

/// The conversation that an event of an inbox brings its owner into.
fn opens(event: &Event) -> Option<ConversationId> {
    if !matches!(event.kind, EventKind::ConversationOpened | EventKind::JoinAnswered) {
        return None;
    }
    match body::decode(event.kind, &event.body) {
        Ok(EventBody::ConversationOpened { conversation, .. }) => Some(conversation),
        Ok(EventBody::JoinAnswered { group, accepted, .. }) => accepted.then_some(group),
        _ => None,
    }
}

/// Whoever is no longer in a conversation that they were told goes on has its end to read.
fn tell_the_end(sessions: &[Arc<SessionHandle>], head: &MembershipView, told: Told) {
    let last_seq = head.conversation.last_seq;
    let last_seq = head.member.until_seq.map_or(last_seq, |until| until.min(last_seq));
    let told = match told {
        Told::UpTo(seq) => seq,
        Told::Nothing => head.member.first_seq.previous(),
    };
    if last_seq > told {
        for session in sessions {
            session.tell_behind(head.conversation.id, last_seq);
        }
    }
}
