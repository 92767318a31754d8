//! Pages of logs.

use std::collections::HashMap;

use super::core::Core;
use super::error::CommandError;
use crate::codec::body;
use crate::model::{
    Caller, ConversationRef, Event, EventBody, EventKind, HistoryEvent, HistoryPage, Member, Page, Seq, UserId,
};

impl Core {
    /// Waits until the user may read another page.
    pub(super) async fn wait_for_page(&self, user: UserId) -> Result<(), CommandError> {
        let wait = self.limits.pages.take(user);
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.draining.cancelled() => Err(CommandError::shutting_down()),
        }
    }

    /// A page of what the caller may read, each message with its latest edit.
    pub(super) async fn read_history(
        &self,
        caller: Caller,
        conversation: &ConversationRef,
        page: Page,
    ) -> Result<HistoryPage, CommandError> {
        let id = self.find(caller.user, conversation).await?.id;
        let page = Page {
            max_events: page.max_events.clamp(1, self.config.max_page_events),
            max_bytes: page.max_bytes.clamp(1, self.config.max_page_bytes),
            ..page
        };
        let read = self.read(self.store.events_for(caller.user, id, page)).await?;
        let read = read.ok_or_else(CommandError::not_found)?;
        let wanted: Vec<Seq> = read
            .events
            .iter()
            .filter_map(|event| visible_edit(event, &read.member))
            .collect();
        let edits = if wanted.is_empty() {
            HashMap::new()
        } else {
            let edits = self.read(self.store.events_at(id, &wanted)).await?;
            edits
                .into_iter()
                .filter_map(|edit| Some((edit.seq, edit_text(&edit)?)))
                .collect()
        };
        let last_seq = read.member.until_seq.unwrap_or(read.last_seq).min(read.last_seq);
        let events = read.events.into_iter().map(|mut event| {
            event.edited_seq = visible_edit(&event, &read.member);
            let edited_text = event.edited_seq.and_then(|seq| edits.get(&seq)).cloned();
            HistoryEvent { event, edited_text }
        });
        Ok(HistoryPage {
            conversation: id,
            events: events.collect(),
            more: read.more,
            first_seq: read.member.first_seq,
            last_seq,
        })
    }
}

/// The latest edit of a message, unless the message was recalled or the edit was made after the reader had left.
fn visible_edit(event: &Event, reader: &Member) -> Option<Seq> {
    event
        .edited_seq
        .filter(|seq| event.recalled_seq.is_none() && reader.may_read(*seq))
}

fn edit_text(edit: &Event) -> Option<String> {
    match body::decode(EventKind::Edit, &edit.body) {
        Ok(EventBody::Edit { text, .. }) => Some(text),
        _ => None,
    }
}
