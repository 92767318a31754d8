//! A conversation that sessions on this node are in: one path in which its events are delivered, in order.

use std::sync::Arc;

use super::{SharedPush, session::SessionHandle};
use crate::codec::body;
use crate::model::{ConversationId, Event, EventBody, EventKind, Push, Seq, SessionId, UserId};

/// What this node knows of a conversation, and the sessions that are in it.
#[derive(Debug)]
pub(super) struct Tracked {
    /// Highest Seq up to which everything was delivered here.
    head: Seq,
    /// Place of the last membership change up to `head`.
    members_version: Seq,
    places: Vec<Place>,
}

/// A session's place: it gets nothing from before the user became a member.
#[derive(Debug)]
struct Place {
    session: Arc<SessionHandle>,
    first_seq: Seq,
}

/// What came of offering events.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// All of them are delivered, now or before.
    Complete,
    /// There is a hole before them: read the log.
    Gap,
}

/// Changes of membership that are found in an event.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Joined(UserId),
    Left(UserId),
    Closed,
}

impl Tracked {
    pub(super) const fn new(head: Seq, members_version: Seq) -> Self {
        Self {
            head,
            members_version,
            places: Vec::new(),
        }
    }

    pub(super) const fn head(&self) -> Seq {
        self.head
    }

    pub(super) const fn members_version(&self) -> Seq {
        self.members_version
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Arc<SessionHandle>> {
        self.places.iter().map(|place| &place.session)
    }

    /// Lists a session, unless it is over or listed already. What was delivered here past `told` it has missed: it is told so.
    pub(super) fn enter(
        &mut self,
        conversation: ConversationId,
        session: &Arc<SessionHandle>,
        first_seq: Seq,
        told: Seq,
    ) {
        if session.enter(conversation) {
            self.places.push(Place {
                session: Arc::clone(session),
                first_seq,
            });
            if self.head > told && self.head >= first_seq {
                session.tell_behind(conversation, self.head);
            }
        }
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.places.retain(|place| place.session.id != session);
    }

    /// Delivers those of these events (ascending) that continue what was delivered. `local` yields a user's sessions on
    /// this node: whoever joins gets the event of it, and all that follow.
    pub(super) fn offer(
        &mut self,
        events: &[Event],
        mut local: impl FnMut(UserId) -> Vec<Arc<SessionHandle>>,
    ) -> Offered {
        for event in events {
            if event.seq <= self.head {
                continue;
            }
            if event.seq != self.head.next() {
                return Offered::Gap;
            }
            self.deliver(event, &mut local);
        }
        Offered::Complete
    }

    fn deliver(&mut self, event: &Event, local: &mut impl FnMut(UserId) -> Vec<Arc<SessionHandle>>) {
        let change = change(event);
        if let Some(Change::Joined(user)) = change {
            for session in local(user) {
                self.enter(event.conversation, &session, event.seq, self.head);
            }
        }
        let delivery = SharedPush::new(Push::Event(event.clone()));
        for place in &self.places {
            if event.seq >= place.first_seq {
                place.session.outbox.push(delivery.clone());
            }
        }
        self.head = event.seq;
        if event.kind.changes_members() {
            self.members_version = event.seq;
        }
        match change {
            Some(Change::Left(user)) => self.expel(event, |place| place.session.caller.user == user),
            Some(Change::Closed) => self.expel(event, |_| true),
            Some(Change::Joined(_)) | None => {}
        }
    }

    fn expel(&mut self, event: &Event, gone: impl Fn(&Place) -> bool) {
        self.places.retain(|place| {
            let gone = gone(place);
            if gone {
                place.session.leave(event.conversation);
            }
            !gone
        });
    }
}

fn change(event: &Event) -> Option<Change> {
    match event.kind {
        EventKind::GroupCreated => return Some(Change::Joined(event.sender)),
        EventKind::GroupDeleted => return Some(Change::Closed),
        EventKind::MemberJoined | EventKind::MemberLeft | EventKind::MemberKicked => {}
        _ => return None,
    }
    match body::decode(event.kind, &event.body) {
        Ok(EventBody::MemberJoined { user, .. }) => Some(Change::Joined(user)),
        Ok(EventBody::MemberLeft { user } | EventBody::MemberKicked { user, .. }) => Some(Change::Left(user)),
        _ => None,
    }
}
