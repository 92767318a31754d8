//! Delivery of one conversation's events to the sessions on this node. All its events take this
//! path, so that every session receives them in order.

use std::sync::Arc;
use std::time::Instant;

use super::session::SessionHandle;
use super::shared_push::SharedPush;
use crate::codec::body;
use crate::model::{ConversationId, Event, EventBody, EventKind, Push, Seq, SessionId, UserId};

/// Delivery state of a conversation on this node, and the sessions that follow the conversation.
#[derive(Debug)]
pub(crate) struct ConversationFeed {
    /// Highest `Seq` up to which every event was delivered here or precedes the feed.
    head: Seq,
    /// `Seq` of the last membership change up to `head`; `head` if it is not known, because a later
    /// change had been written when the feed started.
    members_version: Seq,
    subscribers: Vec<Subscriber>,
}

/// A session that follows the conversation. It receives no event before `first_seq`, the first that
/// the user may read.
#[derive(Debug)]
struct Subscriber {
    session: Arc<SessionHandle>,
    first_seq: Seq,
}

/// Result of [`ConversationFeed::deliver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedResult {
    /// Every given event has been delivered, now or earlier.
    Complete,
    /// Events before some of the given ones are missing; the log has to be read.
    Gap,
}

/// Change of membership that an event records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemberChange {
    Joined(UserId),
    Left(UserId),
    GroupDeleted,
}

impl ConversationFeed {
    pub(crate) const fn new(head: Seq, members_version: Seq) -> Self {
        Self {
            head,
            members_version,
            subscribers: Vec::new(),
        }
    }

    pub(crate) const fn head(&self) -> Seq {
        self.head
    }

    pub(crate) const fn members_version(&self) -> Seq {
        self.members_version
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Arc<SessionHandle>> {
        self.subscribers.iter().map(|subscriber| &subscriber.session)
    }

    /// Adds a session, unless it has ended or follows the feed already. The session needs no push
    /// of the events up to `known`: its client reads them from the log, or the user may not read
    /// them. If later events were delivered here before, the session has missed them: they are
    /// pushed to it from `missed`, a part of the log, or if that does not contain all of them, the
    /// session gets a `Behind` push.
    pub(crate) fn subscribe(
        &mut self,
        conversation: ConversationId,
        session: &Arc<SessionHandle>,
        first_seq: Seq,
        known: Seq,
        missed: &[Event],
    ) {
        if !session.follow(conversation) {
            return;
        }
        self.subscribers.push(Subscriber {
            session: Arc::clone(session),
            first_seq,
        });
        let first_missed = known.next().max(first_seq);
        if self.head < first_missed {
            return;
        }
        let missed = missed
            .iter()
            .filter(|event| (first_missed..=self.head).contains(&event.seq));
        let missed: Vec<_> = missed
            .map(|event| SharedPush::new(Push::Event(event.clone())))
            .collect();
        if missed.len() as u64 == self.head.0 - first_missed.previous().0 {
            session.outbox.push_all(&missed, Instant::now());
        } else {
            session.push_behind(conversation, self.head);
        }
    }

    pub(crate) fn remove(&mut self, session: SessionId) {
        self.subscribers.retain(|subscriber| subscriber.session.id != session);
    }

    /// Delivers the events that directly follow the delivered ones. `events` are ascending and of
    /// this conversation. `sessions_of` returns a user's sessions on this node, so that a user who
    /// joins gets the join event and all later events.
    pub(crate) fn deliver(
        &mut self,
        events: &[Event],
        now: Instant,
        mut sessions_of: impl FnMut(UserId) -> Vec<Arc<SessionHandle>>,
    ) -> FeedResult {
        let delivered = events.iter().take_while(|event| event.seq <= self.head).count();
        let events = events.get(delivered..).unwrap_or_default();
        let continuing = events.iter().zip(self.head.0 + 1..);
        let continuing = continuing.take_while(|(event, next)| event.seq.0 == *next).count();
        let (next, after_gap) = events.split_at(continuing);
        // A membership change decides who receives the events after it, so it forms a separate run.
        for run in next.chunk_by(|a, b| !a.kind.changes_members() && !b.kind.changes_members()) {
            match run {
                [event] if event.kind.changes_members() => self.deliver_change(event, now, &mut sessions_of),
                run => self.fan_out(run, now),
            }
        }
        match after_gap {
            [] => FeedResult::Complete,
            _ => FeedResult::Gap,
        }
    }

    /// Delivers a membership change: a user who joins receives it, and so does a user who leaves.
    fn deliver_change(
        &mut self,
        event: &Event,
        now: Instant,
        sessions_of: &mut impl FnMut(UserId) -> Vec<Arc<SessionHandle>>,
    ) {
        let change = member_change(event);
        if let Some(MemberChange::Joined(user)) = change {
            for session in sessions_of(user) {
                self.subscribe(event.conversation, &session, event.seq, self.head, &[]);
            }
        }
        self.fan_out(std::slice::from_ref(event), now);
        self.members_version = event.seq;
        match change {
            Some(MemberChange::Left(user)) => self.expel(event, |session| session.caller.user == user),
            Some(MemberChange::GroupDeleted) => self.expel(event, |_| true),
            Some(MemberChange::Joined(_)) | None => {}
        }
    }

    /// Pushes a run of consecutive events to the subscribers, to each from its first readable event
    /// on. Each recipient costs one reference count per event, and one lock and at most one wake-up
    /// per run.
    fn fan_out(&mut self, run: &[Event], now: Instant) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return;
        };
        self.head = last.seq;
        match run {
            [event] => self.push(first.seq, &[SharedPush::new(Push::Event(event.clone()))], now),
            run => {
                let pushes = run.iter().map(|event| SharedPush::new(Push::Event(event.clone())));
                self.push(first.seq, &pushes.collect::<Vec<_>>(), now);
            }
        }
    }

    fn push(&self, first: Seq, pushes: &[SharedPush], now: Instant) {
        for subscriber in &self.subscribers {
            let hidden = subscriber.first_seq.0.saturating_sub(first.0);
            let visible = usize::try_from(hidden).ok().and_then(|hidden| pushes.get(hidden..));
            if let Some(pushes @ [_, ..]) = visible {
                subscriber.session.outbox.push_all(pushes, now);
            }
        }
    }

    /// Removes the sessions that get no event after `event`: those of a user who has left, or all
    /// sessions if the group was deleted.
    fn expel(&mut self, event: &Event, has_ended_for: impl Fn(&SessionHandle) -> bool) {
        self.subscribers.retain(|Subscriber { session, .. }| {
            let has_ended = has_ended_for(session);
            if has_ended {
                session.unfollow(event.conversation);
            }
            !has_ended
        });
    }
}

/// Returns the change of membership that `event` records, if any.
fn member_change(event: &Event) -> Option<MemberChange> {
    match event.kind {
        EventKind::GroupCreated => return Some(MemberChange::Joined(event.sender)),
        EventKind::GroupDeleted => return Some(MemberChange::GroupDeleted),
        EventKind::MemberJoined | EventKind::MemberLeft | EventKind::MemberKicked => {}
        _ => return None,
    }
    match body::decode(event.kind, &event.body) {
        Ok(EventBody::MemberJoined { user, .. }) => Some(MemberChange::Joined(user)),
        Ok(EventBody::MemberLeft { user } | EventBody::MemberKicked { user, .. }) => Some(MemberChange::Left(user)),
        _ => None,
    }
}

/// Returns the user whom this event makes a member, if any.
pub(crate) fn joined_user(event: &Event) -> Option<UserId> {
    match event.kind {
        EventKind::GroupCreated | EventKind::MemberJoined => match member_change(event) {
            Some(MemberChange::Joined(user)) => Some(user),
            _ => None,
        },
        _ => None,
    }
}
