//! Conversations that the client knows, and the position up to which each was delivered.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::client::known;
use crate::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, Event, EventBody, GroupProfile, HistoryEvent,
    Role, Seq, UserId,
};

use super::marks::EarlyMarks;
use crate::sequencer::EventSequencer;

/// Maximum number of events of one conversation that are kept until the server has reported the
/// conversation in the session.
const MAX_WAITING_EVENTS: usize = 64;

/// State of one conversation. The server reports a conversation by sending its
/// [`ConversationInfo`], with the login, in the list of conversations or as the reply to a look-up.
#[derive(Debug, Default)]
pub(super) struct ConversationState {
    /// `None` until the server has reported the conversation.
    pub(super) info: Option<Arc<ConversationInfo>>,
    /// Puts the events into order. `None` until the server has reported the conversation, and if
    /// the client receives no events.
    pub(super) sequencer: Option<EventSequencer>,
    /// Pushed events that wait until the server has reported the conversation in this session.
    waiting: Vec<Event>,
    /// Highest position that a push has reported before the server reported the conversation in
    /// this session.
    pub(super) pushed_last: Option<Seq>,
    pub(super) lookup: Lookup,
    pub(super) early: EarlyMarks,
    /// True if the server has reported the conversation in this session.
    pub(super) reported: bool,
}

/// Progress of asking the server about a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lookup {
    /// No request is needed.
    #[default]
    Done,
    /// A request is needed, but not before this time.
    Due(Instant),
    /// The request was sent, and waits for its reply. Before the request, pushes had reported
    /// events up to this position.
    Requested(Option<Seq>),
}

/// Conversations by id: those that the server has reported, and those to look up.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    all: BTreeMap<ConversationId, ConversationState>,
}

impl Conversations {
    pub(super) fn get(&self, id: ConversationId) -> Option<&ConversationState> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConversationId) -> Option<&mut ConversationState> {
        self.all.get_mut(&id)
    }

    pub(super) fn entry(&mut self, id: ConversationId) -> &mut ConversationState {
        self.all.entry(id).or_default()
    }

    pub(super) fn remove(&mut self, id: ConversationId) {
        self.all.remove(&id);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConversationId, &mut ConversationState)> {
        self.all.iter_mut().map(|(id, known)| (*id, known))
    }

    /// Returns the known conversation that `reference` denotes. Returns `None` if there is none, or
    /// more than one, because then the known name of one of them is out of date.
    pub(super) fn find(&self, reference: &ConversationRef) -> Option<ConversationId> {
        let known = self.all.values().filter_map(|known| known.info.as_deref());
        known::only_match(reference, known).map(|info| info.id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &ConversationState> {
        self.all.values()
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}

impl ConversationState {
    /// Keeps an event until the server has reported the conversation in this session, and makes a
    /// look-up of the conversation due. Events beyond the limit are read from the log later.
    pub(super) fn add_waiting(&mut self, now: Instant, event: Event) {
        self.record_pushed_last(now, event.seq);
        if self.waiting.len() < MAX_WAITING_EVENTS {
            self.waiting.push(event);
        }
    }

    /// Records that the log has events up to `last`, while the server has not reported the
    /// conversation in this session. Makes a look-up of the conversation due, unless one is due or
    /// was requested already.
    pub(super) fn record_pushed_last(&mut self, now: Instant, last: Seq) {
        self.pushed_last = self.pushed_last.max(Some(last));
        if self.lookup == Lookup::Done {
            self.lookup = Lookup::Due(now);
        }
    }

    /// Makes a look-up of the conversation due, unless the server has reported the conversation in
    /// this session, or a look-up is due or was requested already.
    pub(super) fn look_up_unreported(&mut self, now: Instant) {
        if !self.reported && self.lookup == Lookup::Done {
            self.lookup = Lookup::Due(now);
        }
    }

    /// Passes the position that pushes reported before the server reported the conversation to the
    /// sequencer, which then reads the log up to that position.
    pub(super) fn pass_on_pushed_last(&mut self, now: Instant) {
        if let Some(last) = self.pushed_last.take()
            && let Some(sequencer) = &mut self.sequencer
            && last > sequencer.known_last()
        {
            sequencer.behind(now, last);
        }
    }

    /// Removes and returns the events that waited until the server reported the conversation.
    pub(super) fn take_waiting(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.waiting)
    }

    /// Returns whether the log may differ from the delivered events: until the server has reported
    /// the conversation in this session, and until the log has been compared if that is necessary.
    /// Returns `false` if the client delivers no events of the conversation.
    pub(super) fn is_unverified(&self) -> bool {
        let sequencer = self.sequencer.as_ref();
        sequencer.is_some_and(|sequencer| !self.reported || sequencer.is_unverified())
    }

    /// Returns the time from which the next request about this conversation may be sent. Returns
    /// `None` if no request is needed, the request was sent already, or the server has yet to
    /// report the conversation.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.lookup {
            Lookup::Due(at) => Some(at),
            Lookup::Requested(_) => None,
            Lookup::Done if !self.reported => None,
            Lookup::Done => self.sequencer.as_ref().and_then(EventSequencer::next_read_at),
        }
    }

    /// Updates the conversation by an event, unless the known information already includes the
    /// event. Returns the conversation, or `None` if it is unknown.
    pub(super) fn apply(
        &mut self,
        me: UserId,
        found: &HistoryEvent,
        body: &EventBody,
    ) -> Option<Arc<ConversationInfo>> {
        let info = Arc::make_mut(self.info.as_mut()?);
        let event = &found.event;
        if event.seq > info.last_seq {
            info.last_seq = event.seq;
            info.last_time = event.time;
            update_counts(info, me, event, body, &self.early);
            update_membership(info, me, body);
        }
        self.info.clone()
    }
}

/// Updates the unread counts. Unread messages are those of other users after the read mark. A
/// message of the user moves the read mark too, and so does a message up to which the read mark was
/// moved elsewhere (`early.read_seq`). The recall of an unread message reduces the count, unless
/// the counts that the server reported may already leave that message out. Whether a recalled
/// message mentioned the user is no longer known, so the number of mentions is only kept from
/// exceeding that of messages.
fn update_counts(info: &mut ConversationInfo, me: UserId, event: &Event, body: &EventBody, early: &EarlyMarks) {
    let message = match body {
        EventBody::Message(message) => message,
        // The user's own messages are not after the read mark.
        EventBody::Recall { target } if *target > info.read_seq.max(early.counts_reported_at) => {
            info.unread = info.unread.saturating_sub(1);
            info.unread_mentions = info.unread_mentions.min(info.unread);
            return;
        }
        _ => return,
    };
    if event.sender == me {
        info.read_seq = event.seq;
        info.unread = 0;
        info.unread_mentions = 0;
    } else if event.seq <= early.read_seq {
        info.read_seq = event.seq;
    } else {
        info.unread += 1;
        info.unread_mentions += u32::from(message.mention_all || message.mentions.contains(&me));
    }
}

/// Updates the user's membership and role, the number of members, and the profile of the group.
fn update_membership(info: &mut ConversationInfo, me: UserId, body: &EventBody) {
    match body {
        EventBody::MemberJoined { user, .. } => {
            set_active(info, me, *user, true);
            change_member_count(info, 1);
        }
        EventBody::MemberLeft { user } | EventBody::MemberKicked { user, .. } => {
            set_active(info, me, *user, false);
            change_member_count(info, -1);
        }
        EventBody::RoleChanged { user, role } if *user == me => info.role = *role,
        EventBody::OwnershipTransferred { to } if *to == me => info.role = Role::Owner,
        EventBody::OwnershipTransferred { .. } if info.role == Role::Owner => info.role = Role::Admin,
        EventBody::GroupDeleted => info.active = false,
        EventBody::GroupUpdated {
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            if let ConversationView::Group(group) = &mut info.view {
                group.profile = GroupProfile {
                    name: name.clone(),
                    key: group.profile.key.clone(),
                    skeleton: group.profile.skeleton.clone(),
                    description: description.clone(),
                    join_policy: *join_policy,
                    history_visible: *history_visible,
                    unlisted: *unlisted,
                };
            }
        }
        _ => {}
    }
}

fn set_active(info: &mut ConversationInfo, me: UserId, user: UserId, active: bool) {
    if user == me {
        info.active = active;
    }
}

fn change_member_count(info: &mut ConversationInfo, by: i32) {
    if let ConversationView::Group(group) = &mut info.view {
        group.member_count = group.member_count.saturating_add_signed(by);
    }
}

/// Returns the position of the first event to deliver, which is not before the first readable
/// event. Delivery starts after the greater of two cursors: `acknowledged`, which is ignored if it
/// is past the end of the log, and the server's. With `from_beginning`, both are ignored.
pub(super) fn delivery_start(info: &ConversationInfo, acknowledged: Option<Seq>, from_beginning: bool) -> Seq {
    let cursor = match acknowledged {
        _ if from_beginning => Seq::ZERO,
        Some(ours) if ours <= info.last_seq => info.cursor.max(ours),
        _ => info.cursor,
    };
    cursor.next().max(info.first_seq).max(Seq(1))
}
