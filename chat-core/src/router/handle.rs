//! The router's API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use super::clock_skew::{ClockStatus, StoreClock};
use super::cluster_link::ClusterLink;
use super::commit_watch::{CommitWatch, CommitWatches};
use super::conversation_feed::joined_user;
use super::envelope::{Audience, Doorbell, ExceptDevice};
use super::event_log::EventLog;
use super::follow_starter::{FollowStarter, is_active};
use super::local_delivery::LocalDelivery;
use super::membership_pages::MembershipPages;
use super::other_nodes::OtherNodes;
use super::outbox::Outbox;
use super::registry::{ClientKnowledge, Registry};
use super::session::SessionHandle;
use super::session_selector::SessionSelector;
use super::shared_push::SharedPush;
use super::store_peers::StorePeers;
use super::subscription::SubscriptionGuard;
use super::sweep_request::SweepRequest;
use super::tasks::Tasks;
use super::topic_requests::TopicRequests;
use super::unconfirmed::{UnconfirmedCommit, UnconfirmedCommits};
use super::work_set::WorkSet;
use crate::bus::Topic;
use crate::clock::Clock;
use crate::cluster::Nodes;
use crate::model::{Caller, CloseCode, ConversationId, Event, PresenceState, Push, Seq, SessionId, Timestamp, UserId};
use crate::store::{MembershipView, StoreError};

/// Counts of a router's sessions, conversations and reads of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterStats {
    /// Number of sessions on this node.
    pub sessions: usize,
    /// Number of conversations that sessions on this node follow: the sessions receive the events
    /// of these conversations.
    pub conversations: usize,
    /// Number of reads of the store that found events which this node had not delivered, since the
    /// start. Most follow an announcement of another node.
    pub repairs: u64,
    /// Number of sweeps since the start. A sweep compares with the store all conversations that
    /// sessions on this node follow, and the users of the sessions: all of them, or those whose
    /// change the store has recorded.
    pub sweeps: u64,
}

/// Component that delivers events and notices to the sessions on this node, and announces them to
/// the other nodes. A notice is a push that no log contains, for example that a user is typing.
/// Clones share one state. The router's tasks end with [`Router::stop`] or [`Router::shutdown`], or
/// when the last clone and the last [`SubscriptionGuard`] are dropped.
#[derive(Clone, Debug)]
pub struct Router {
    pub(crate) registry: Arc<Registry>,
    pub(crate) delivery: Arc<LocalDelivery>,
    pub(crate) follow_starter: FollowStarter,
    /// The event log without a timeout, because callers of [`Router::subscribe`] have their own
    /// timeout.
    pub(crate) log: Arc<dyn EventLog>,
    /// `None` if this router receives no messages from a bus.
    pub(crate) topics: Option<TopicRequests>,
    pub(crate) link: ClusterLink,
    pub(crate) nodes: NodeStatus,
    /// Users who joined a conversation that their sessions here do not follow yet.
    pub(crate) joins: WorkSet<(UserId, ConversationId)>,
    /// Users whose sessions have to be compared with the store, each with the close code for
    /// sessions whose login is no longer valid.
    pub(crate) logins: WorkSet<(UserId, CloseCode)>,
    pub(crate) unconfirmed: UnconfirmedCommits,
    pub(crate) sweep: SweepRequest,
    pub(crate) watches: CommitWatches,
    pub(crate) counters: Counters,
    pub(crate) tasks: Arc<Tasks>,
}

/// State of the other nodes and of this node's clock, as far as the router knows it.
#[derive(Clone, Debug)]
pub(crate) struct NodeStatus {
    pub(crate) others: OtherNodes,
    pub(crate) store_peers: StorePeers,
    pub(crate) clock: ClockStatus,
}

/// Counts for [`RouterStats`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) repairs: Arc<AtomicU64>,
    pub(crate) sweeps: Arc<AtomicU64>,
}

impl Router {
    /// Gives the router the list of nodes that the cluster's discovery keeps. The router then polls
    /// the store if the heartbeats of a listed node do not arrive. Without this call, the router
    /// expects heartbeats only from nodes that the store lists; if a node that the store does not
    /// list has sent heartbeats, the router notices when they stop. Only the first call has an
    /// effect, and none without a bus.
    pub fn watch_nodes(&self, nodes: watch::Receiver<Nodes>) {
        if self.link.has_bus() {
            self.nodes.others.watch(nodes);
        }
    }

    /// Starts a session on this node: from now on, `outbox` receives the pushes of the user's
    /// conversations. Also returns the user's memberships as seen from the device. Pushes may
    /// repeat events up to the `last_seq` of a membership's conversation. Every event after it is
    /// pushed, or reported by a [`Push::Behind`].
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read; no session was started.
    ///
    /// # Cancel safety
    /// If the future is dropped, no session was started.
    pub async fn subscribe(
        &self,
        caller: Caller,
        outbox: Arc<Outbox>,
    ) -> Result<(SubscriptionGuard, Vec<MembershipView>), StoreError> {
        let session = self.registry.add(caller, outbox);
        // From here on, dropping the guard removes the session and its subscriptions.
        let guard = SubscriptionGuard::new(
            Arc::clone(&session),
            Arc::clone(&self.delivery),
            Arc::clone(&self.tasks),
        );
        if let Some(topics) = &self.topics {
            topics.subscribe(Topic::User(caller.user)).await;
        }
        let mut memberships = Vec::new();
        let mut pages = MembershipPages::new(&*self.log, caller.user, caller.device_or_none());
        while let Some(page) = pages.next().await? {
            for membership in page.iter().filter(|membership| is_active(membership)) {
                let known = ClientKnowledge::LogReaches(membership.conversation.last_seq);
                self.follow_starter
                    .follow(std::slice::from_ref(&session), membership, known)
                    .await?;
            }
            memberships.extend(page);
        }
        self.delivery.publish_presence(&session);
        Ok((guard, memberships))
    }

    /// Delivers events that were just committed, and announces them to the other nodes. Call it in
    /// the order of `Seq` for each conversation: events out of order cost a read of the store.
    /// Never waits.
    pub fn committed(&self, events: &[Event]) {
        for events in events.chunk_by(|a, b| a.conversation == b.conversation) {
            let (Some(first), Some(last)) = (events.first(), events.last()) else {
                continue;
            };
            self.delivery.deliver(first.conversation, events);
            self.link.ring(Doorbell {
                conversation: last.conversation,
                last_seq: last.seq,
            });
            for event in events {
                if let Some(user) = joined_user(event) {
                    self.watches.joined(user, event.conversation);
                    self.link.announce_join(user, event.conversation);
                }
            }
        }
    }

    /// Tracks commits that the store did not confirm. Their events are delivered here and announced
    /// to the other nodes as soon as they appear in the store. If there are too many such commits,
    /// every node compares everything with the store.
    pub fn track_unconfirmed(&self, commits: impl IntoIterator<Item = UnconfirmedCommit>) {
        for commit in commits {
            if !self.unconfirmed.add(commit) {
                self.sweep.request();
                self.link.announce_overflow();
            }
        }
    }

    /// Returns whether this node's clock differs from the store's by more than 5 min. Then the node
    /// should admit no new session.
    #[must_use]
    pub fn is_clock_wrong(&self) -> bool {
        self.nodes.clock.is_wrong()
    }

    /// Returns the clock from which the engine takes the times that it stores. It shows the store's
    /// time of day, or that of `own` while the store has told none.
    pub(crate) fn store_clock(&self, own: Arc<dyn Clock>) -> StoreClock {
        StoreClock::new(own, self.nodes.clock.clone())
    }

    /// Records the store's time of day in an answer to a request that was sent at `asked`.
    pub(crate) fn record_store_time(&self, asked: Instant, time: Timestamp) {
        self.nodes.clock.record_store_time(asked, time);
    }

    /// Returns whether the store has recently listed other nodes.
    pub(crate) fn has_peers(&self) -> bool {
        !self.nodes.store_peers.is_empty()
    }

    /// Makes a user's sessions, here and on other nodes, follow a conversation that the user
    /// joined. This call is not needed after
    /// [`GroupCreated`](crate::model::EventKind::GroupCreated) and
    /// [`MemberJoined`](crate::model::EventKind::MemberJoined), whose delivery does the same.
    pub fn joined(&self, user: UserId, conversation: ConversationId) {
        self.joins.add((user, conversation));
        self.watches.joined(user, conversation);
        self.link.announce_join(user, conversation);
    }

    /// Returns the event log that the router reads, without a timeout.
    pub(crate) fn event_log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.log)
    }

    /// Returns a watch that reports the growth of all logs and, if `user` is given, the
    /// conversations that the user joins. It needs no session.
    pub(crate) fn watch_commits(&self, user: Option<UserId>) -> CommitWatch {
        self.watches.watch(user)
    }

    /// Pushes a notice to the sessions that follow a conversation, here and on other nodes, except
    /// those of the device of `except`. Best effort.
    pub fn notify_conversation(&self, conversation: ConversationId, push: &Push, except: Option<Caller>) {
        self.notify(Audience::Conversation(conversation), push, except);
    }

    /// Pushes a notice to a user's sessions, here and on other nodes, except those of the device of
    /// `except`. Best effort.
    pub fn notify_user(&self, user: UserId, push: &Push, except: Option<Caller>) {
        self.notify(Audience::User(user), push, except);
    }

    fn notify(&self, audience: Audience, push: &Push, except: Option<Caller>) {
        let push = SharedPush::new(push.clone());
        let except: Option<ExceptDevice> = except.and_then(|caller| Some((caller.user, caller.device()?)));
        self.delivery.notify(audience, &push, except);
        self.link.publish_notice(audience, &push, except);
    }

    /// Ends the sessions of a user that `selector` selects, on this node at once. Other nodes are
    /// asked to read the user's logins from the store, and end the sessions whose login is no
    /// longer valid. So the caller must commit the change of logins first.
    pub fn close_sessions(&self, user: UserId, selector: SessionSelector, code: CloseCode) {
        self.close_sessions_here(user, selector, code);
        self.link.announce_changed_sessions(user, code);
    }

    /// Ends the sessions of a user on this node that `selector` selects.
    pub(crate) fn close_sessions_here(&self, user: UserId, selector: SessionSelector, code: CloseCode) {
        for session in self.registry.of_user(user) {
            if selector.matches(&session.caller) {
                self.delivery.close(&session, code);
            }
        }
    }

    /// Compares a user's sessions, here and on other nodes, with the store, and ends those whose
    /// login is no longer valid. Call it after a change of logins that the store did not confirm.
    pub fn recheck_sessions(&self, user: UserId, code: CloseCode) {
        self.logins.add((user, code));
        self.link.announce_changed_sessions(user, code);
    }

    /// Waits until all announcements of this router are published on the bus. Returns whether the
    /// bus accepted all of them. Without a bus, returns `true` at once.
    pub async fn flush_announcements(&self) -> bool {
        self.link.flush().await
    }

    /// Returns a user's sessions on this node, with the presence of each.
    #[must_use]
    pub fn local_sessions(&self, user: UserId) -> Vec<(Caller, PresenceState)> {
        let mut sessions = Vec::new();
        self.registry
            .for_each_of_user(user, |session| sessions.push((session.caller, session.presence())));
        sessions
    }

    /// Returns up to `limit` sessions on this node with the lowest ids that are greater than
    /// `after`, ascending.
    pub(crate) fn sessions_after(&self, after: SessionId, limit: usize) -> Vec<Arc<SessionHandle>> {
        self.registry.sessions_after(after, limit)
    }

    /// Returns the sessions of a user on this node.
    pub(crate) fn sessions_of(&self, user: UserId) -> Vec<Arc<SessionHandle>> {
        self.registry.of_user(user)
    }

    /// Returns whether the caller has a session on this node that has not ended.
    #[must_use]
    pub fn has_session(&self, caller: Caller) -> bool {
        let mut has_session = false;
        self.registry.for_each_of_user(caller.user, |session| {
            has_session |= session.caller == caller && !session.outbox.is_closed();
        });
        has_session
    }

    /// Returns whether the caller's session on this node follows a conversation, and every event up
    /// to `seq` was delivered here or precedes the first event that was delivered here. `None` if
    /// the caller has no session here.
    #[must_use]
    pub fn has_delivered(&self, caller: Caller, conversation: ConversationId, seq: Seq) -> Option<bool> {
        let mut is_following = None;
        self.registry.for_each_of_user(caller.user, |session| {
            if is_following.is_none() && session.caller == caller {
                is_following = Some(session.is_following(conversation));
            }
        });
        let head = || self.registry.head(conversation);
        Some(is_following? && head().is_some_and(|head| seq <= head))
    }

    /// Sets the presence of the caller's session on this node, if there is one, and publishes that
    /// of its device.
    pub fn set_presence(&self, caller: Caller, state: PresenceState) {
        self.registry.for_each_of_user(caller.user, |session| {
            if session.caller == caller {
                session.set_presence(state);
                self.delivery.publish_presence(session);
            }
        });
    }

    /// Returns the router's counts.
    #[must_use]
    pub fn stats(&self) -> RouterStats {
        RouterStats {
            sessions: self.registry.session_count(),
            conversations: self.registry.conversation_count(),
            repairs: self.counters.repairs.load(Ordering::Relaxed),
            sweeps: self.counters.sweeps.load(Ordering::Relaxed),
        }
    }

    /// Stops the router's tasks without waiting for them.
    pub fn stop(&self) {
        self.tasks.stop();
    }

    /// Stops the router's tasks and waits until they have ended. Afterwards, sessions get no pushes
    /// of changes that other nodes make, and no missing events from the store. Idempotent.
    pub async fn shutdown(&self) {
        self.tasks.shutdown().await;
    }
}
