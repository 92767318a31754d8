//! The sessions on this node, by user and by conversation.
//!
//! Lock order: a conversation's entry, then a user's entry, then a session's state, then an outbox.
//! No guard leaves this file, so no guard is held across an await. The `visit` closures of
//! callers run under a guard, so they must not call the registry.

use std::cmp::Ordering as CmpOrdering;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::conversation_feed::{ConversationFeed, FeedResult};
use super::outbox::Outbox;
use super::session::SessionHandle;
use crate::model::{Caller, ConversationId, DeviceId, Event, Seq, SessionId, UserId};
use crate::store::MembershipView;

/// Sessions by user, and [conversation feeds](ConversationFeed).
#[derive(Debug, Default)]
pub(crate) struct Registry {
    users: DashMap<UserId, Vec<Arc<SessionHandle>>>,
    conversations: DashMap<ConversationId, ConversationFeed>,
    /// Number of sessions in `users`.
    sessions: AtomicUsize,
    /// Number in the id of the newest session.
    last_session: AtomicU64,
}

/// Result of [`Registry::follow`], which adds sessions to a conversation's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowResult {
    /// The sessions follow the feed, except those that have ended.
    Following,
    /// The sessions follow the feed, which is new on this node: the node has to subscribe to the
    /// conversation's topic, if it has a bus, and compare the feed with the log.
    FollowingNewFeed {
        /// The log extends beyond the head of the feed.
        is_behind: bool,
    },
    /// No session was added, because the sessions would miss the events after this `Seq`, which
    /// were delivered here before: the caller has to read those events from the log.
    Missed(Seq),
    /// No session was added, because this node has delivered a membership change that is newer than
    /// the given membership: the caller has to read the membership again.
    OutOfDate,
}

/// What a client knows about the log of a conversation when its session starts to follow the
/// conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientKnowledge {
    /// The client knows that the log reaches this `Seq`, and reads the log itself.
    LogReaches(Seq),
    /// The client does not know the conversation.
    Nothing,
}

impl ClientKnowledge {
    /// Returns the `Seq` up to which a client with this membership needs no push.
    pub(crate) fn seq(self, membership: &MembershipView) -> Seq {
        match self {
            Self::LogReaches(seq) => seq,
            Self::Nothing => membership.member.first_seq.previous(),
        }
    }
}

/// Result of delivering events to a conversation's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Events between those delivered before and some of the new ones are missing, so that the log
    /// has to be read.
    pub(crate) has_gap: bool,
    /// The feed is new on this node.
    pub(crate) is_new: bool,
    /// The feed lost its last session and was removed.
    pub(crate) has_ended: bool,
}

/// Result of the removal of a session.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// Conversations that no session on this node follows any more.
    pub(crate) conversations: Vec<ConversationId>,
    /// The removed session was the user's last one on this node.
    pub(crate) was_last_of_user: bool,
}

/// Events that sessions missed before they follow a feed, as far as the caller of
/// [`Registry::follow`] has read them from the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MissedEvents<'a> {
    /// The events, ascending; empty if none were read.
    pub(crate) events: &'a [Event],
    /// True if the caller reads no more events. Sessions that missed others get a `Behind` push.
    pub(crate) is_final: bool,
}

impl MissedEvents<'_> {
    fn reach(&self, head: Seq) -> bool {
        self.events.last().is_some_and(|last| last.seq >= head)
    }
}

/// Maximum number of missed events for which the log is read, to push them to a session that starts
/// to follow a conversation. If the session missed more, its client gets a `Behind` push instead.
/// Events that are delivered here during the read are pushed in addition, if the read returns them.
pub(crate) const MAX_PUSHED_ON_FOLLOW: u32 = 64;

/// A session that is compared by its id.
struct ById(Arc<SessionHandle>);

impl Ord for ById {
    fn cmp(&self, other: &Self) -> CmpOrdering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<CmpOrdering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Registry {
    /// Adds a session, which follows no conversation yet.
    pub(crate) fn add(&self, caller: Caller, outbox: Arc<Outbox>) -> Arc<SessionHandle> {
        let id = SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        let session = SessionHandle::new(id, caller, outbox);
        self.users.entry(caller.user).or_default().push(Arc::clone(&session));
        self.sessions.fetch_add(1, Ordering::Relaxed);
        session
    }

    /// Ends a session and removes it from its user and from all feeds.
    pub(crate) fn remove(&self, session: &SessionHandle) -> Removed {
        let mut removed = Removed::default();
        for conversation in session.end() {
            if let Entry::Occupied(mut entry) = self.conversations.entry(conversation) {
                entry.get_mut().remove(session.id);
                if entry.get().is_empty() {
                    entry.remove();
                    removed.conversations.push(conversation);
                }
            }
        }
        if let Entry::Occupied(mut entry) = self.users.entry(session.caller.user) {
            let before = entry.get().len();
            entry.get_mut().retain(|other| other.id != session.id);
            if entry.get().len() < before {
                self.sessions.fetch_sub(1, Ordering::Relaxed);
            }
            if entry.get().is_empty() {
                entry.remove();
                removed.was_last_of_user = true;
            }
        }
        removed
    }

    /// Adds sessions of one user to the feed of a conversation, so that they follow it, unless the
    /// result is [`FollowResult::Missed`] or [`FollowResult::OutOfDate`]. `membership` was read
    /// after the sessions were added to the registry, and is active.
    pub(crate) fn follow(
        &self,
        sessions: &[Arc<SessionHandle>],
        membership: &MembershipView,
        known: ClientKnowledge,
        missed: MissedEvents<'_>,
    ) -> FollowResult {
        let (conversation, first_seq) = (&membership.conversation, membership.member.first_seq);
        let known_seq = known.seq(membership);
        let subscribe = |feed: &mut ConversationFeed| {
            for session in sessions {
                feed.subscribe(conversation.id, session, first_seq, known_seq, missed.events);
            }
        };
        match self.conversations.entry(conversation.id) {
            Entry::Occupied(mut entry) => {
                if entry.get().members_version() > conversation.members_version {
                    return FollowResult::OutOfDate;
                }
                let head = entry.get().head();
                let before = known_seq.max(first_seq.previous());
                let count = head.0.saturating_sub(before.0);
                let is_short = (1..=u64::from(MAX_PUSHED_ON_FOLLOW)).contains(&count);
                let can_follow = || sessions.iter().any(|session| session.can_follow(conversation.id));
                if is_short && !missed.is_final && !missed.reach(head) && can_follow() {
                    return FollowResult::Missed(before);
                }
                subscribe(entry.get_mut());
                FollowResult::Following
            }
            Entry::Vacant(entry) => {
                // If the client knows nothing, and may read only a few events, the feed starts
                // before these and catches up with the log afterwards, so that they are pushed.
                // Otherwise the feed starts at the end of the log. A client that does not know the
                // log up to there then gets the missed events or a `Behind` push.
                let unknown = conversation.last_seq.0.saturating_sub(known_seq.0);
                let head = match known {
                    ClientKnowledge::Nothing if unknown <= u64::from(MAX_PUSHED_ON_FOLLOW) => known_seq,
                    _ => conversation.last_seq,
                };
                let mut feed = ConversationFeed::new(head, conversation.members_version.min(head));
                subscribe(&mut feed);
                if feed.is_empty() {
                    return FollowResult::Following;
                }
                entry.insert(feed);
                FollowResult::FollowingNewFeed {
                    is_behind: head < conversation.last_seq,
                }
            }
        }
    }

    /// Delivers events of one conversation, ascending, to its feed. Returns `None` if no session on
    /// this node follows the conversation before the events, and none follows it after them.
    pub(crate) fn deliver(&self, conversation: ConversationId, events: &[Event], now: Instant) -> Option<Delivered> {
        let sessions_of = |user| self.of_user(user);
        match self.conversations.entry(conversation) {
            Entry::Occupied(mut entry) => {
                let result = entry.get_mut().deliver(events, now, sessions_of);
                let has_ended = entry.get().is_empty();
                if has_ended {
                    entry.remove();
                }
                Some(Delivered {
                    has_gap: result == FeedResult::Gap,
                    is_new: false,
                    has_ended,
                })
            }
            Entry::Vacant(entry) => {
                // No session follows the conversation yet. A user with sessions here may join by
                // one of the events, so the feed starts at the first change of members.
                let first = events.iter().position(|event| event.kind.changes_members())?;
                let events = events.get(first..).unwrap_or_default();
                let before = events.first()?.seq.previous();
                let mut feed = ConversationFeed::new(before, before);
                let result = feed.deliver(events, now, sessions_of);
                if feed.is_empty() {
                    return None;
                }
                entry.insert(feed);
                Some(Delivered {
                    has_gap: result == FeedResult::Gap,
                    is_new: true,
                    has_ended: false,
                })
            }
        }
    }

    /// Returns the head of a conversation's feed: the `Seq` up to which every event was delivered
    /// here or precedes the feed. `None` if no session here follows the conversation.
    pub(crate) fn head(&self, conversation: ConversationId) -> Option<Seq> {
        self.conversations.get(&conversation).map(|feed| feed.head())
    }

    /// Returns a user's sessions on this node.
    pub(crate) fn of_user(&self, user: UserId) -> Vec<Arc<SessionHandle>> {
        self.users
            .get(&user)
            .map(|sessions| sessions.clone())
            .unwrap_or_default()
    }

    /// Calls `visit` with each of a user's sessions on this node.
    pub(crate) fn for_each_of_user(&self, user: UserId, visit: impl FnMut(&Arc<SessionHandle>)) {
        if let Some(sessions) = self.users.get(&user) {
            sessions.iter().for_each(visit);
        }
    }

    /// Calls `visit` with each session on this node that follows a conversation.
    pub(crate) fn for_each_in(&self, conversation: ConversationId, visit: impl FnMut(&Arc<SessionHandle>)) {
        if let Some(feed) = self.conversations.get(&conversation) {
            feed.sessions().for_each(visit);
        }
    }

    /// Returns the users with a session on this node that follows a conversation.
    pub(crate) fn users_in(&self, conversation: ConversationId) -> HashSet<UserId> {
        let mut users = HashSet::new();
        self.for_each_in(conversation, |session| {
            users.insert(session.caller.user);
        });
        users
    }

    /// Returns all users with a session on this node.
    pub(crate) fn users(&self) -> Vec<UserId> {
        self.users.iter().map(|entry| *entry.key()).collect()
    }

    /// Returns the device of each session on this node that has one.
    pub(crate) fn devices(&self) -> Vec<(UserId, DeviceId)> {
        let mut devices = Vec::with_capacity(self.session_count());
        for entry in &self.users {
            devices.extend(
                entry
                    .value()
                    .iter()
                    .filter_map(|session| Some((*entry.key(), session.caller.device()?))),
            );
        }
        devices
    }

    /// Returns up to `limit` sessions on this node with the lowest ids that are greater than
    /// `after`, ascending.
    pub(crate) fn sessions_after(&self, after: SessionId, limit: usize) -> Vec<Arc<SessionHandle>> {
        // The greatest id is on top, so that the heap never holds more than `limit` sessions.
        let mut lowest = BinaryHeap::with_capacity(limit + 1);
        for entry in &self.users {
            let later = entry.value().iter().filter(|session| session.id > after);
            for session in later {
                lowest.push(ById(Arc::clone(session)));
                if lowest.len() > limit {
                    lowest.pop();
                }
            }
        }
        lowest
            .into_sorted_vec()
            .into_iter()
            .map(|ById(session)| session)
            .collect()
    }

    /// Returns all conversations that a session on this node follows.
    pub(crate) fn conversations(&self) -> Vec<ConversationId> {
        self.conversations.iter().map(|entry| *entry.key()).collect()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(crate) fn conversation_count(&self) -> usize {
        self.conversations.len()
    }

    /// Returns whether a session on this node follows a conversation.
    pub(crate) fn follows(&self, conversation: ConversationId) -> bool {
        self.conversations.contains_key(&conversation)
    }

    pub(crate) fn has_user(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }
}
