//! Start or continuation of delivery in a new session, and the check that the logs are unchanged.
//!
//! A cursor usually contains the identity of the event at its position: its id and time. If the log
//! ends at the cursor, and the time of its last event, if known, is that of the identity, it counts
//! as the same log, and nothing is read. If the log is longer or the times differ, the client reads
//! from the event at the cursor on, so that the first page contains that event and any new ones.
//! If another event is at the cursor, or the log ends before the cursor, the server's operator
//! restored a backup, after which the log may have continued differently. Events that were
//! delivered may then no longer exist, and the log is delivered again from the last position that
//! both logs are known to share. A cursor without an identity is trusted, unless the log ends
//! before it.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::client::{ClientEvent, Cursor};
use crate::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, GroupName, HistoryPage, Seq, UserName, UserRef,
};

use crate::sequencer::{EventSequencer, LogEnd};

use super::{
    Action, Machine, Receive,
    conversations::{Lookup, delivery_start},
    marks::EarlyMarks,
};

impl Machine {
    /// Processes conversations that the login, or a page of the list, reported.
    pub(super) fn begin_sync(&mut self, now: Instant, conversations: Vec<ConversationInfo>) {
        for info in conversations {
            let id = info.id;
            self.learn(now, info);
            self.reacknowledge(now, id);
        }
    }

    /// Repeats the last acknowledgement if the server's cursor shows that the server has not
    /// received it. Does nothing while the log is unverified; the check of the log calls this
    /// again.
    fn reacknowledge(&mut self, now: Instant, id: ConversationId) {
        if let Some(ours) = self.acks.acknowledged.get(&id)
            && self.config.receive == Receive::FromCursor
            && let Some(known) = self.conversations.get_mut(id)
            && !known.is_unverified()
            && let Some(info) = &known.info
            && ours.seq > info.cursor
            && ours.seq <= info.last_seq
        {
            let seq = ours.seq;
            self.report_acknowledged(now, id, seq);
        }
    }

    /// Processes the server's information about a conversation: starts or continues its delivery,
    /// or restarts it if the log is shorter than what was delivered or acknowledged.
    pub(super) fn learn(&mut self, now: Instant, info: ConversationInfo) {
        for reference in references_to(&info) {
            self.outbox.learn(&reference, info.id);
        }
        let acknowledged = self.acks.acknowledged.get(&info.id).copied();
        let receive = self.config.receive;
        let id = info.id;
        let known = self.conversations.entry(id);
        known.lookup = Lookup::Done;
        known.reported = true;
        let is_past_end = |head: Seq| info.active && head > info.last_seq;
        let is_shorter = known
            .sequencer
            .as_ref()
            .is_some_and(|sequencer| is_past_end(sequencer.head()))
            || acknowledged.is_some_and(|ours| is_past_end(ours.seq));
        // If the log is shorter than what was delivered, an older copy of it was restored. Of the
        // known positions, only the server's cursor of this device is then known to be part of both
        // logs.
        let acknowledged = acknowledged.filter(|_| !is_shorter);
        let start = delivery_start(
            &info,
            acknowledged.map(|ours| ours.seq),
            receive == Receive::FromBeginning,
        );
        // The identity is that of the acknowledged event, so it is used only if delivery continues
        // there.
        let continued = acknowledged.filter(|ours| ours.seq.next() == start);
        let begin = Cursor {
            seq: start.previous(),
            identity: continued.and_then(|ours| ours.identity),
        };
        if receive != Receive::Nothing {
            let end = LogEnd::of(&info);
            match &mut known.sequencer {
                Some(sequencer) if !is_shorter => sequencer.resume(now, end),
                _ => known.sequencer = Some(EventSequencer::new(begin, end, now)),
            }
        }
        let info = Arc::new(info);
        known.info = Some(Arc::clone(&info));
        if is_shorter {
            // Receipts and read marks that wait for their events refer to the longer log.
            known.early = EarlyMarks::default();
        }
        let waiting = known.take_waiting();
        self.actions.push_back(Action::Conversation(Arc::clone(&info)));
        if is_shorter {
            self.void_acknowledgements(info, begin);
        }
        for event in waiting {
            self.pushed_event(now, event);
        }
        if let Some(known) = self.conversations.get_mut(id) {
            known.pass_on_pushed_last(now);
        }
    }

    /// Checks an unverified log by a page of it. If the page shows another log than the one that
    /// was delivered, restarts delivery and returns `false`. Otherwise repeats the acknowledgement
    /// that may have waited for the check. Returns `true` also if there is nothing to check.
    pub(super) fn verify_log(&mut self, now: Instant, id: ConversationId, page: &HistoryPage) -> bool {
        let Some(sequencer) = self
            .conversations
            .get_mut(id)
            .and_then(|known| known.sequencer.as_mut())
        else {
            return true;
        };
        if !sequencer.is_unverified() {
            return true;
        }
        if !sequencer.verify(page) {
            self.rewind(now, id);
            return false;
        }
        self.reacknowledge(now, id);
        true
    }

    /// Restarts delivery at the last position that both logs are known to share.
    fn rewind(&mut self, now: Instant, id: ConversationId) {
        let Some(known) = self.conversations.get_mut(id) else {
            return;
        };
        let (Some(sequencer), Some(info)) = (&mut known.sequencer, &known.info) else {
            return;
        };
        // The server's cursor was restored together with the log, so it should be before the first
        // position at which the logs differ. If it is not even before the position that differs,
        // nothing is known to be shared, and delivery starts at the first readable event.
        let common = Some(info.cursor).filter(|cursor| *cursor < sequencer.head());
        let begin = common.unwrap_or(Seq::ZERO).max(info.first_seq.previous());
        let end = LogEnd::of(info).at_least(sequencer.known_last());
        *sequencer = EventSequencer::new(begin.into(), end, now);
        let info = Arc::clone(info);
        self.void_acknowledgements(info, begin.into());
    }

    /// Makes the acknowledgements of a conversation void, because its log differs from the
    /// delivered events after `begin`. Saves `begin` in place of a cursor without an identity. An
    /// application that receives events gets [`ClientEvent::Rewound`].
    fn void_acknowledgements(&mut self, conversation: Arc<ConversationInfo>, begin: Cursor) {
        let id = conversation.id;
        // The saved cursor stays if it has an identity: until the application acknowledges another
        // event, each run detects by the identity that the log has another event there. A cursor
        // without an identity must be replaced, because it would count as valid once the log has
        // grown past it.
        if self
            .acks
            .acknowledged
            .get(&id)
            .is_some_and(|ours| ours.identity.is_none())
        {
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

/// Returns the references to a conversation other than its id. Returns no reference to a
/// conversation that the user has left or that was deleted: its name may belong to another one.
fn references_to(info: &ConversationInfo) -> Vec<ConversationRef> {
    if !info.active {
        return Vec::new();
    }
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
