//! Where handing out begins, or goes on, once a session stands; and whether the logs are still those that were handed out.
//!
//! Of each conversation the client knows what stands at its cursor. A log that ends there says so by the time of its last event, and is not
//! read. One that has more is read from the cursor's own entry on, so that the first page shows both what is known and what is new. If
//! something else stands there, a copy was restored, and has grown again: what was handed out is void.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::client::{ClientEvent, Cursor};
use crate::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, GroupName, HistoryPage, Seq, UserName, UserRef,
};

use super::{
    Action, Machine, Receive,
    conversations::{Lookup, start_of},
    track::{Tail, Track},
};

impl Machine {
    /// Takes over what the login told: where handing out begins, or what came in between.
    pub(super) fn begin_sync(&mut self, now: Instant, conversations: Vec<ConversationInfo>) {
        for info in conversations {
            let id = info.id;
            self.learn(now, info);
            self.reacknowledge(now, id);
        }
    }

    /// The server may not have heard the last acknowledgements. It is told only of a log that is known to be the same.
    fn reacknowledge(&mut self, now: Instant, id: ConversationId) {
        if let Some(ours) = self.acks.acknowledged.get(&id)
            && self.config.receive == Receive::FromCursor
            && let Some(known) = self.conversations.get_mut(id)
            && !known.is_unproven()
            && let Some(info) = &known.info
            && ours.seq > info.cursor
            && ours.seq <= info.last_seq
        {
            let seq = ours.seq;
            self.report_acknowledged(now, id, seq);
        }
    }

    /// Takes over what the server says of a conversation.
    pub(super) fn learn(&mut self, now: Instant, info: ConversationInfo) {
        for name in names_of(&info) {
            self.sends.learn(&name, info.id);
        }
        let acknowledged = self.acks.acknowledged.get(&info.id).copied();
        let receive = self.config.receive;
        let id = info.id;
        let known = self.conversations.entry(id);
        known.lookup = Lookup::Done;
        let is_void = |head: Seq| info.active && head > info.last_seq;
        let went_back = known.track.as_ref().is_some_and(|track| is_void(track.head()))
            || acknowledged.is_some_and(|ours| is_void(ours.seq));
        // Of a log that went back only what the server knows of this device is common to both.
        let acknowledged = acknowledged.filter(|_| !went_back);
        let start = start_of(
            &info,
            acknowledged.map(|ours| ours.seq),
            receive == Receive::FromBeginning,
        );
        let mark = acknowledged.filter(|ours| ours.seq.next() == start);
        let begin = Cursor {
            seq: start.previous(),
            mark: mark.and_then(|ours| ours.mark),
        };
        if receive != Receive::Nothing {
            let tail = Tail::of(&info);
            match &mut known.track {
                Some(track) if !went_back => track.resume(now, tail),
                _ => known.track = Some(Track::new(begin, tail, now)),
            }
        }
        let info = Arc::new(info);
        known.info = Some(Arc::clone(&info));
        let waiting = known.take_waiting();
        self.actions.push_back(Action::Conversation(Arc::clone(&info)));
        if went_back {
            self.begin_anew(info, begin);
        }
        for event in waiting {
            self.pushed_event(now, event);
        }
    }

    /// Takes the first look at a page. `false`: this log is another one than what was handed out is from, and is read anew.
    pub(super) fn is_same_log(&mut self, now: Instant, id: ConversationId, page: &HistoryPage) -> bool {
        let Some(track) = self.conversations.get_mut(id).and_then(|known| known.track.as_mut()) else {
            return true;
        };
        if !track.is_unproven() {
            return true;
        }
        if !track.prove(page) {
            self.rewind(now, id);
            return false;
        }
        self.reacknowledge(now, id);
        true
    }

    /// Begins anew at the last place that is known to be common to both logs.
    fn rewind(&mut self, now: Instant, id: ConversationId) {
        let Some(known) = self.conversations.get_mut(id) else {
            return;
        };
        let (Some(track), Some(info)) = (&mut known.track, &known.info) else {
            return;
        };
        // What the server knows of this device was restored together with the log, so that is before the place where they part.
        let common = Some(info.cursor).filter(|cursor| *cursor < track.head());
        let begin = common.unwrap_or(Seq::ZERO).max(info.first_seq.previous());
        let tail = Tail::of(info).at_least(track.known_last());
        *track = Track::new(begin.into(), tail, now);
        let info = Arc::clone(info);
        self.begin_anew(info, begin.into());
    }

    /// What the application was handed after `begin` is void.
    fn begin_anew(&mut self, conversation: Arc<ConversationInfo>, begin: Cursor) {
        let id = conversation.id;
        // A kept cursor shows by its mark that it is void, as often as it is looked at, until the application has heard of it and acknowledges
        // something else. One without a mark must not count again once the log has grown past it.
        if self.acks.acknowledged.get(&id).is_some_and(|ours| ours.mark.is_none()) {
            let cursors = BTreeMap::from([(id, begin)]);
            self.actions.push_back(Action::SaveCursors(cursors));
        }
        if self.config.receive == Receive::Nothing {
            self.acks.forget(id);
        } else {
            self.acks.reset(id);
            let to = begin.seq;
            self.events.put(ClientEvent::Rewound { conversation, to });
        }
    }
}

/// What a conversation can be called beside its id.
fn names_of(info: &ConversationInfo) -> Vec<ConversationRef> {
    match &info.view {
        ConversationView::Direct(peer) => {
            let name = UserName::parse_any(&peer.name).ok().map(UserRef::Name);
            let both = [Some(UserRef::Id(peer.id)), name];
            both.into_iter().flatten().map(ConversationRef::Direct).collect()
        }
        ConversationView::Group(group) => {
            let name = GroupName::parse_any(&group.profile.name).ok();
            name.into_iter().map(ConversationRef::Group).collect()
        }
        ConversationView::Inbox => Vec::new(),
    }
}
