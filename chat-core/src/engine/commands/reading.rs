//! Commands that read conversations, and that move delivery cursors and read marks.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::codec::body;
use crate::engine::config::EngineConfig;
use crate::engine::directory::Directory;
use crate::engine::error::CommandError;
use crate::engine::limits::UserLimits;
use crate::engine::query_lanes::{QueryPermit, ROWS_PER_CONVERSATION, ROWS_PER_QUERY};
use crate::engine::store_access::StoreAccess;
use crate::engine::views::{conversation_info, conversation_infos, is_ended_and_received, without_descriptions};
use crate::engine::workers::MarkQueue;
use crate::model::{
    Caller, ConversationId, ConversationPage, ConversationQuery, ConversationRef, Event, EventBody, EventKind,
    HistoryEvent, HistoryPage, Outcome, Page, Seq, UserId,
};
use crate::router::Router;

/// Maximum size of a page of history, and of a page of the list of conversations.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct PageLimits {
    pub(super) max_events: u32,
    pub(super) max_bytes: u32,
    /// Maximum number of conversations in a page of the list.
    pub(super) max_list_length: u32,
}

impl From<&EngineConfig> for PageLimits {
    fn from(config: &EngineConfig) -> Self {
        Self {
            max_events: config.max_page_events,
            max_bytes: config.max_page_bytes,
            max_list_length: config.max_list_length,
        }
    }
}

#[derive(Debug)]
pub(in crate::engine) struct ReadingCommands {
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) directory: Arc<Directory>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) router: Router,
    pub(in crate::engine) marks: Arc<MarkQueue>,
    pub(in crate::engine) page_limits: PageLimits,
    pub(in crate::engine) draining: CancellationToken,
}

impl ReadingCommands {
    pub(super) async fn list_conversations(
        self: Arc<Self>,
        caller: Caller,
        query: ConversationQuery,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let limit = query.limit.clamp(1, self.page_limits.max_list_length);
        let (user, device) = (caller.user, caller.device_or_none());
        let memberships = self.access.store().memberships(user, device, query.after, limit);
        let mut memberships = self.access.read(memberships).await?;
        permit.add_rows(memberships.len() * ROWS_PER_CONVERSATION);
        let last = memberships.iter().map(|membership| membership.conversation.id).max();
        let next = last.filter(|_| memberships.len() >= limit as usize);
        if !query.include_ended {
            memberships.retain(|membership| !is_ended_and_received(membership));
        }
        let mut conversations = conversation_infos(&self.access, user, memberships).await?;
        if !query.include_descriptions {
            conversations = without_descriptions(conversations);
        }
        Ok(Outcome::Conversations(ConversationPage { conversations, next }))
    }

    pub(super) async fn get_conversation(
        self: Arc<Self>,
        caller: Caller,
        conversation: ConversationRef,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        permit.add_rows(ROWS_PER_CONVERSATION);
        let id = self.directory.find(caller.user, &conversation).await?.id;
        let info = conversation_info(&self.access, caller, id).await?;
        Ok(Outcome::Conversation(Box::new(info)))
    }

    /// Returns a page of the events that the caller may read, each message with its latest edit
    /// that the caller [may see](Event::edit_visible_to).
    pub(super) async fn read_history(
        self: Arc<Self>,
        caller: Caller,
        conversation: ConversationRef,
        page: Page,
        _permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let (access, store) = (&self.access, self.access.store());
        let id = self.directory.find(caller.user, &conversation).await?.id;
        let page = Page {
            max_events: page.max_events.clamp(1, self.page_limits.max_events),
            max_bytes: page.max_bytes.clamp(1, self.page_limits.max_bytes),
            ..page
        };
        let page = access.read(store.events_for(caller.user, id, page)).await?;
        let page = page.ok_or_else(CommandError::not_found)?;
        let edits = page.edits.iter().filter_map(|edit| Some((edit.seq, edit_text(edit)?)));
        let mut edits: HashMap<Seq, String> = edits.collect();
        let last_seq = page.member.until_seq.unwrap_or(page.last_seq).min(page.last_seq);
        let events = page.events.into_iter().map(|mut event| {
            event.edited_seq = event.edit_visible_to(&page.member);
            let edited_text = event.edited_seq.and_then(|seq| edits.remove(&seq));
            HistoryEvent { event, edited_text }
        });
        Ok(Outcome::History(HistoryPage {
            conversation: id,
            events: events.collect(),
            has_more: page.has_more,
            first_seq: page.member.first_seq,
            last_seq,
        }))
    }

    /// Charges a page of history to the user's rate of pages when the future is first polled, and
    /// waits until the user may read it, which can take long. Fails with `ShuttingDown` if the
    /// engine drains during the wait.
    pub(super) fn wait_for_page(
        self: &Arc<Self>,
        user: UserId,
    ) -> impl Future<Output = Result<(), CommandError>> + Send + 'static {
        let reading = Arc::clone(self);
        async move {
            let wait = reading.limits.pages.charge_paced(user);
            if wait.is_zero() {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => Ok(()),
                () = reading.draining.cancelled() => Err(CommandError::shutting_down()),
            }
        }
    }

    /// Records that the caller's device has received every event up to `seq`. Returns `None`, and
    /// records nothing, if the caller has no session on this node, or
    /// [`has_delivered`](Router::has_delivered) returns `false`; then call
    /// [`acknowledge_checked`](Self::acknowledge_checked). Reports an acknowledgement as done, and
    /// records nothing, if the session ends during this call.
    pub(super) fn acknowledge(
        &self,
        caller: Caller,
        conversation: ConversationId,
        seq: Seq,
    ) -> Option<Result<Outcome, CommandError>> {
        let Some(device) = caller.device() else {
            return Some(Err(CommandError::needs_device()));
        };
        // Without a session here, the store says whether the caller may still act.
        if !self.router.has_session(caller) {
            return None;
        }
        // `None`: the session has ended since the check above, for example because the device
        // logged in again or was revoked. Its acknowledgement is dropped.
        match self.router.has_delivered(caller, conversation, seq) {
            Some(false) => return None,
            Some(true) => {
                let recorded = self.marks.acknowledge(caller, device, conversation, seq);
                return Some(recorded.map(|()| Outcome::Done));
            }
            None => {}
        }
        Some(Ok(Outcome::Done))
    }

    /// Records an acknowledgement for which [`acknowledge`](Self::acknowledge) returned `None`: for
    /// example, the session read the events from the log, they do not exist yet, or the session is
    /// not subscribed to the conversation. Asks the store which events the caller may read.
    pub(super) fn acknowledge_checked(
        self: Arc<Self>,
        caller: Caller,
        conversation: ConversationId,
        seq: Seq,
    ) -> impl Future<Output = Result<Outcome, CommandError>> + Send + 'static {
        let expected = self.marks.expect_mark();
        async move {
            let device = caller.device().ok_or_else(CommandError::needs_device)?;
            let seq = seq.min(self.last_readable(caller, conversation).await?);
            self.marks.acknowledge(caller, device, conversation, seq)?;
            drop(expected);
            Ok(Outcome::Done)
        }
    }

    /// Records that the user has read every event up to `seq`. Returns `None`, and records nothing,
    /// if the caller has no session on this node, as an application has none, or
    /// [`has_delivered`](Router::has_delivered) returns `false`; then call
    /// [`mark_read_checked`](Self::mark_read_checked).
    pub(super) fn mark_read(
        &self,
        caller: Caller,
        conversation: ConversationId,
        seq: Seq,
    ) -> Option<Result<Outcome, CommandError>> {
        let was_delivered = self.router.has_delivered(caller, conversation, seq) == Some(true);
        was_delivered.then(|| {
            let recorded = self.marks.mark_read(caller, conversation, seq);
            recorded.map(|()| Outcome::Done)
        })
    }

    /// Records a read mark for which [`mark_read`](Self::mark_read) returned `None`. Asks the store
    /// which events the caller may read.
    pub(super) fn mark_read_checked(
        self: Arc<Self>,
        caller: Caller,
        conversation: ConversationId,
        seq: Seq,
    ) -> impl Future<Output = Result<Outcome, CommandError>> + Send + 'static {
        let expected = self.marks.expect_mark();
        async move {
            let seq = seq.min(self.last_readable(caller, conversation).await?);
            self.marks.mark_read(caller, conversation, seq)?;
            drop(expected);
            Ok(Outcome::Done)
        }
    }

    /// Returns the `Seq` of the last event of a conversation that the caller may read now. A mark
    /// beyond this event is reduced to it before it is queued. Otherwise the mark would also cover
    /// events that are appended before it is written.
    ///
    /// # Errors
    /// [`NotFound`](crate::model::ReplyCode::NotFound): the caller may read no event of the
    /// conversation. Otherwise the errors of [`StoreAccess::read`].
    async fn last_readable(&self, caller: Caller, conversation: ConversationId) -> Result<Seq, CommandError> {
        let store = self.access.store();
        self.limits.charge_read(caller.user, ROWS_PER_QUERY);
        let member = self.access.read(store.member(conversation, caller.user)).await?;
        let reader = member.filter(|member| member.first_seq > Seq::ZERO);
        let reader = reader.ok_or_else(CommandError::not_found)?;
        if let Some(until_seq) = reader.until_seq {
            return Ok(until_seq);
        }
        let row = self.access.read(store.conversation(conversation)).await?;
        row.map(|row| row.last_seq).ok_or_else(CommandError::not_found)
    }
}

fn edit_text(edit: &Event) -> Option<String> {
    match body::decode(EventKind::Edit, &edit.body) {
        Ok(EventBody::Edit { text, .. }) => Some(text),
        _ => None,
    }
}
