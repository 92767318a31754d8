//! Delivery of the logs: processes pushes, reads missing pages, looks conversations up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::client::{ClientError, ClientEvent, event::Delivery, message_id};
use crate::codec::{Answer, Failure, RequestKind, body};
use crate::model::{
    Appended, Command, ConversationId, ConversationInfo, ConversationRef, ConversationView, Event, EventBody,
    HistoryEvent, HistoryPage, Outcome, Page, PageFrom, Push, ReplyCode, Seq, UserId,
};

use crate::sequencer::MissingRange;

use super::{
    Action, Machine, Phase, Session,
    conversations::{ConversationState, Lookup},
    listing::Listing,
    marks::Receipt,
    requests::RequestPurpose,
};

/// Maximum number of pages of logs and of look-ups requested at once, over all conversations.
const MAX_RUNNING_READS: usize = 4;
/// Maximum number of events in a page.
const MAX_PAGE_EVENTS: u32 = 500;
/// Maximum size of the event bodies in a page, in bytes.
const MAX_PAGE_BYTES: u32 = 256 * 1024;
/// Minimum delay before a failed request for a page of a log, a look-up or a page of the list of
/// conversations is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl ConversationState {
    /// Forgets that the server has reported the conversation, and the pushes that wait for that,
    /// and schedules the look-up or page whose request was lost with the connection.
    pub(super) fn connection_lost(&mut self, now: Instant) {
        self.reported = false;
        // The server may have another log in the next session, and reports that log's end.
        self.take_waiting();
        self.pushed_last = None;
        if matches!(self.lookup, Lookup::Requested(_)) {
            self.lookup = Lookup::Due(now);
        }
        if let Some(sequencer) = &mut self.sequencer {
            sequencer.disconnected(now);
        }
    }
}

impl Machine {
    /// Processes a push other than those that end the connection.
    pub(super) fn sync_push(&mut self, now: Instant, push: Push) {
        match push {
            Push::Event(event) => self.pushed_event(now, event),
            Push::Behind { conversation, last_seq } => {
                let known = self.conversations.entry(conversation);
                match &mut known.sequencer {
                    Some(sequencer) if known.reported => sequencer.behind(now, last_seq),
                    _ => known.record_pushed_last(now, last_seq),
                }
            }
            Push::Read {
                conversation,
                read_seq,
                unread,
                unread_mentions,
            } => {
                self.read_elsewhere(now, conversation, read_seq, unread, unread_mentions);
            }
            Push::Receipt {
                conversation,
                user,
                delivered_seq,
                read_seq,
            } => {
                let receipt = Receipt {
                    user,
                    delivered_seq,
                    read_seq,
                };
                if let Some(known) = self.conversations.get_mut(conversation) {
                    // A page of the list that arrives later may be older than this push. The client
                    // ignores the page's information about a conversation that is looked up.
                    known.look_up_unreported(now);
                }
                self.receipt(conversation, receipt);
            }
            Push::Typing {
                conversation,
                user,
                stopped,
            } => {
                self.events.offer(ClientEvent::Typing {
                    conversation,
                    user,
                    stopped,
                });
            }
            Push::Presence { user, state } => self.events.offer(ClientEvent::Presence { user, state }),
            _ => {}
        }
    }

    pub(super) fn pushed_event(&mut self, now: Instant, event: Event) {
        // Without a session nothing can be delivered, so the sequencer must not advance.
        let Phase::Online(Session { user: me, .. }) = self.phase else {
            return;
        };
        let id = event.conversation;
        let room = self.events.has_room();
        let known = self.conversations.entry(id);
        let sequencer = known.sequencer.as_mut().filter(|_| known.reported);
        let Some(sequencer) = sequencer else {
            return known.add_waiting(now, event);
        };
        let mut out = Vec::new();
        sequencer.push(now, event, room, &mut out);
        self.deliver(now, me, id, out);
    }

    /// Updates the read mark and the unread counts after the read mark was moved elsewhere (on
    /// another device, or by an application or operator), and informs the application.
    fn read_elsewhere(&mut self, now: Instant, id: ConversationId, read_seq: Seq, unread: u32, unread_mentions: u32) {
        let known = self.conversations.entry(id);
        known.early.read_seq = known.early.read_seq.max(read_seq);
        // A page of the list that arrives later may be older than this push. The client ignores the
        // page's information about a conversation that is looked up.
        known.look_up_unreported(now);
        if let Some(info) = &known.info {
            known.early.counts_reported_at = info.last_seq;
        }
        let changed = self.change(id, |info| {
            info.unread = unread;
            info.unread_mentions = unread_mentions;
            move_read_mark(info, read_seq);
        });
        if let Some(info) = changed {
            self.events.offer(ClientEvent::Read(info));
        }
    }

    /// Updates the read mark and the unread counts after this device marked events as read. The
    /// server reports the exact counts to the user's other sessions only; here they are bounded by
    /// the number of events after the read mark.
    pub(super) fn read_here(&mut self, id: ConversationId, seq: Seq) {
        self.change(id, |info| move_read_mark(info, seq));
    }

    /// Reports a receipt of another user, up to the last known event, and keeps it if it is past
    /// that event.
    fn receipt(&mut self, id: ConversationId, receipt: Receipt) {
        let Some(known) = self.conversations.get_mut(id) else {
            return;
        };
        let Some(last) = known.info.as_ref().map(|info| info.last_seq) else {
            return;
        };
        let known_part = receipt.up_to(last);
        if known_part != receipt {
            known.early.keep(receipt);
        }
        self.advance_peer_positions(id, known_part.delivered_seq, known_part.read_seq);
        self.events.offer(ClientEvent::Receipt {
            conversation: id,
            user: receipt.user,
            delivered_seq: known_part.delivered_seq,
            read_seq: known_part.read_seq,
        });
    }

    /// Advances the positions up to which the other user of a direct conversation has received and
    /// read. Those of the members of a group are not kept.
    fn advance_peer_positions(&mut self, id: ConversationId, delivered: Seq, read: Seq) {
        let conversation = self.conversations.get_mut(id).and_then(|known| known.info.as_ref());
        if !conversation.is_some_and(|info| matches!(info.view, ConversationView::Direct(_))) {
            return;
        }
        self.change(id, |info| {
            info.peer_delivered_seq = info.peer_delivered_seq.max(delivered);
            info.peer_read_seq = info.peer_read_seq.max(read);
        });
    }

    /// Updates the client's information about a conversation and reports it to the driver.
    fn change(
        &mut self,
        id: ConversationId,
        change: impl FnOnce(&mut ConversationInfo),
    ) -> Option<Arc<ConversationInfo>> {
        let info = self.conversations.get_mut(id)?.info.as_mut()?;
        change(Arc::make_mut(info));
        let info = Arc::clone(info);
        self.actions.push_back(Action::Conversation(Arc::clone(&info)));
        Some(info)
    }

    /// Delivers events of a conversation in the order of `found`. Each event first settles the
    /// message of this user that it stores, if any, and updates the known information about the
    /// conversation.
    fn deliver(&mut self, now: Instant, me: UserId, id: ConversationId, found: Vec<HistoryEvent>) {
        let before = self
            .conversations
            .get_mut(id)
            .and_then(|known| Some(known.info.as_ref()?.last_seq));
        let mut changed = None;
        for event in found {
            let decoded = body::decode(event.event.kind, &event.event.body).unwrap_or(EventBody::Unknown);
            self.settle_if_own(me, &event.event);
            self.look_up_opened(now, &decoded);
            let Some(conversation) = self
                .conversations
                .get_mut(id)
                .and_then(|known| known.apply(me, &event, &decoded))
            else {
                continue;
            };
            changed = Some(Arc::clone(&conversation));
            let idempotency_key = event.event.client_message_id;
            let is_from_this_device = event.event.sender == me
                && idempotency_key.is_some_and(|id| message_id::is_own(self.config.device, &id));
            self.events.put(ClientEvent::Event(Box::new(Delivery {
                conversation,
                event,
                body: decoded,
                is_from_this_device,
            })));
        }
        if let Some(info) = changed {
            let last = info.last_seq;
            self.actions.push_back(Action::Conversation(info));
            let known = self.conversations.get_mut(id);
            let reached = known.map(|known| known.early.take_reached(before.unwrap_or(last), last));
            for receipt in reached.unwrap_or_default() {
                self.receipt(id, receipt);
            }
        }
    }

    /// Settles the user's message when its event is seen in the log, whether or not the reply
    /// arrived.
    fn settle_if_own(&mut self, me: UserId, event: &Event) {
        if event.sender == me
            && let Some(id) = &event.client_message_id
        {
            let appended = Appended {
                conversation: event.conversation,
                seq: event.seq,
                event_id: event.id,
                time: event.time,
                duplicate: true,
            };
            self.settle_from_log(id, appended);
        }
    }

    /// Schedules the look-up of a direct conversation that an event of the inbox announces, if the
    /// conversation is unknown.
    fn look_up_opened(&mut self, now: Instant, body: &EventBody) {
        if let EventBody::ConversationOpened { conversation, .. } = body {
            let known = self.conversations.entry(*conversation);
            if known.sequencer.is_none() && known.lookup == Lookup::Done {
                known.lookup = Lookup::Due(now);
            }
        }
    }

    /// Returns whether another page of a log, or another look-up, may be requested.
    pub(super) fn may_request_read(&self) -> bool {
        self.requests.reads < MAX_RUNNING_READS && self.events.has_room_for_page()
    }

    /// Requests the next page of the list if it is due, and the pages of logs and look-ups that are
    /// due, as far as the limits permit. Reports, once per session, that the client is online and
    /// that it has caught up, when that is so.
    pub(super) fn sync(&mut self, now: Instant) {
        self.list(now);
        while self.may_request_read() {
            let due = |known: &ConversationState| known.due().is_some_and(|at| at <= now);
            let Some((id, known)) = self.conversations.iter_mut().find(|(_, known)| due(known)) else {
                break;
            };
            if let Lookup::Due(_) = known.lookup {
                known.lookup = Lookup::Requested(known.pushed_last);
                let command = Command::GetConversation(ConversationRef::Id(id));
                self.request(now, RequestPurpose::Lookup(id), RequestKind::Command(command));
            } else if let Some(sequencer) = &mut known.sequencer {
                let page = Page {
                    from: PageFrom::After(sequencer.read_started()),
                    max_events: MAX_PAGE_EVENTS,
                    max_bytes: MAX_PAGE_BYTES,
                };
                let conversation = ConversationRef::Id(id);
                let command = Command::ReadHistory { conversation, page };
                self.request(now, RequestPurpose::Page(id), RequestKind::Command(command));
            }
        }
        self.report_caught_up();
    }

    /// Reports once per session that nothing is missing any more.
    fn report_caught_up(&mut self) {
        let nothing_due = |known: &ConversationState| known.due().is_none() && known.lookup == Lookup::Done;
        if let Phase::Online(session) = &mut self.phase
            && !session.caught_up
            && session.listing == Listing::Done
            && self.requests.reads == 0
            && self.conversations.values().all(nothing_due)
        {
            session.caught_up = true;
            self.events.put(ClientEvent::CaughtUp);
        }
    }

    pub(super) fn page_reply(&mut self, now: Instant, id: ConversationId, result: Result<Answer, Failure>) {
        let Phase::Online(Session { user: me, .. }) = self.phase else {
            return;
        };
        match result {
            Ok(Answer::Outcome(Outcome::History(page))) => self.take_page(now, me, id, page),
            Ok(_) => self.reconnect(
                ClientError::Protocol("the server answered a request for a page with something else".into()),
                None,
            ),
            Err(failure) => {
                let known = self.conversations.get_mut(id);
                match known.and_then(|known| known.sequencer.as_mut()) {
                    Some(sequencer) if is_gone(&failure) => sequencer.close(),
                    Some(sequencer) => sequencer.read_failed(now, retry_delay(&failure)),
                    None => {}
                }
            }
        }
    }

    fn take_page(&mut self, now: Instant, me: UserId, id: ConversationId, page: HistoryPage) {
        if !self.verify_log(now, id, &page) {
            return;
        }
        let Some(known) = self.conversations.get_mut(id) else {
            return;
        };
        let Some(sequencer) = &mut known.sequencer else { return };
        let mut out = Vec::new();
        let missing = sequencer.read_finished(now, page, &mut out);
        let info = known.info.clone();
        if let (Some(MissingRange { from, to }), Some(conversation)) = (missing, info) {
            self.events.put(ClientEvent::Truncated { conversation, from, to });
        }
        self.deliver(now, me, id, out);
    }

    /// Processes the reply to a look-up. Ignores it if the conversation need not be looked up any
    /// more.
    pub(super) fn lookup_reply(&mut self, now: Instant, id: ConversationId, result: Result<Answer, Failure>) {
        let Some(known) = self.conversations.get_mut(id) else {
            return;
        };
        let Lookup::Requested(pushed_before) = known.lookup else {
            return;
        };
        match result {
            Ok(Answer::Outcome(Outcome::Conversation(info))) => self.learn(now, *info),
            Ok(_) => self.reconnect(
                ClientError::Protocol("the server answered a look-up with something else".into()),
                None,
            ),
            // A push since the request says that the user may read the conversation now.
            Err(failure) if is_gone(&failure) && known.pushed_last == pushed_before => {
                if known.sequencer.is_none() {
                    self.conversations.remove(id);
                } else {
                    known.lookup = Lookup::Done;
                }
            }
            Err(failure) => known.lookup = Lookup::Due(now + retry_delay(&failure)),
        }
    }
}

/// Moves the read mark forward to `seq`, or to the last known event if that is earlier. Bounds
/// the unread counts by the number of events after the read mark.
fn move_read_mark(info: &mut ConversationInfo, seq: Seq) {
    info.read_seq = info.read_seq.max(seq.min(info.last_seq));
    let left = u32::try_from(info.last_seq.0.saturating_sub(info.read_seq.0)).unwrap_or(u32::MAX);
    info.unread = info.unread.min(left);
    info.unread_mentions = info.unread_mentions.min(left);
}

/// Returns whether the user cannot access the conversation, or it does not exist.
fn is_gone(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Some(ReplyCode::NotFound | ReplyCode::Forbidden | ReplyCode::GroupDeleted)
    )
}

/// Returns the delay before a failed request for a page of a log, a look-up or a page of the list
/// of conversations is repeated: [`RETRY_DELAY`], or the server's delay if that is longer.
pub(super) fn retry_delay(failure: &Failure) -> Duration {
    Duration::from_millis(u64::from(failure.retry_after_ms)).max(RETRY_DELAY)
}
