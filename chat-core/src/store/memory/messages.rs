//! Logs of conversations, in the memory store.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;

use super::MemoryStore;
use super::tables::{StoredConversation, Tables};
use super::tx::MemoryTx;
use crate::model::{ClientMessageId, ConversationId, Event, EventKind, Member, Page, PageFrom, Seq, UserId};
use crate::store::sql_support::{PageBudget, unknown_event};
use crate::store::{EventPage, MessageStore, MessageTx, SentEvent, StoreError};

impl Tables {
    fn find_sent(&self, sender: UserId, id: ClientMessageId) -> Option<SentEvent> {
        let (conversation, seq) = self.sent.get(&(sender, id))?;
        let event = self.conversations.get(conversation)?.event(*seq)?.clone();
        Some(SentEvent {
            sender,
            client_message_id: id,
            event,
        })
    }

    fn page(&self, reader: UserId, conversation: ConversationId, page: Page) -> Option<EventPage> {
        let stored = self.conversations.get(&conversation)?;
        let member = stored
            .members
            .get(&reader)
            .filter(|member| member.first_seq > Seq::ZERO)?;
        let (first, last) = (member.first_seq, stored.readable_end(member));
        let (events, has_more) = match page.from {
            PageFrom::After(seq) => {
                let candidates = stored.range(first.max(Seq(seq.0.saturating_add(1))), last);
                let taken = stored.count_fitting(member, candidates.iter(), page);
                (&candidates[..taken], taken < candidates.len())
            }
            PageFrom::Before(seq) => stored.last_events(member, first, last.min(seq.previous()), page),
            PageFrom::Newest => stored.last_events(member, first, last, page),
        };
        Some(EventPage {
            edits: events
                .iter()
                .filter_map(|event| stored.edit_of(member, event))
                .cloned()
                .collect(),
            events: events.to_vec(),
            has_more,
            member: member.clone(),
            last_seq: stored.row.last_seq,
        })
    }
}

impl StoredConversation {
    /// Returns the last events of `first..=last` that fit `page`, and whether the range contains
    /// earlier events.
    fn last_events(&self, reader: &Member, first: Seq, last: Seq, page: Page) -> (&[Event], bool) {
        let candidates = self.range(first, last);
        let taken = self.count_fitting(reader, candidates.iter().rev(), page);
        let left_out = candidates.len() - taken;
        (&candidates[left_out..], left_out > 0)
    }

    /// Returns how many of the first `events` fit `page` with their edits. The first event fits
    /// whatever its size.
    fn count_fitting<'a>(&self, reader: &Member, events: impl Iterator<Item = &'a Event>, page: Page) -> usize {
        let mut budget = PageBudget::new(page.max_bytes);
        let sizes = events.take(page.max_events as usize).map(|event| {
            let edit = self.edit_of(reader, event).map_or(0, |edit| edit.body.len());
            (event.body.len() + edit) as u64
        });
        sizes.take_while(|size| budget.take(*size)).count()
    }

    /// Returns the latest edit of an event, if `reader` may see it.
    fn edit_of(&self, reader: &Member, event: &Event) -> Option<&Event> {
        self.event(event.edit_visible_to(reader)?)
    }
}

#[async_trait]
impl MessageStore for MemoryStore {
    async fn events_for(
        &self,
        reader: UserId,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Option<EventPage>, StoreError> {
        self.read(|tables| tables.page(reader, conversation, page))
    }

    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(|tables| {
            let Some(stored) = tables.conversations.get(&conversation) else {
                return Vec::new();
            };
            let events = stored.range(first, last);
            events[..events.len().min(max_events as usize)].to_vec()
        })
    }

    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        self.read(|tables| tables.events_at(conversation, seqs))
    }

    async fn events_by_sender(
        &self,
        conversation: ConversationId,
        sender: UserId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(|tables| {
            let stored = tables.conversations.get(&conversation);
            let events = stored.into_iter().flat_map(|stored| stored.range(first, last));
            events.filter(|event| event.sender == sender).cloned().collect()
        })
    }

    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError> {
        self.read(|tables| {
            let ids: HashSet<_> = ids.iter().copied().collect();
            ids.into_iter().filter_map(|id| tables.find_sent(sender, id)).collect()
        })
    }
}

impl Tables {
    fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Vec<Event> {
        let Some(stored) = self.conversations.get(&conversation) else {
            return Vec::new();
        };
        let seqs: HashSet<_> = seqs.iter().copied().collect();
        seqs.into_iter().filter_map(|seq| stored.event(seq)).cloned().collect()
    }

    /// Removes the last `count` events of a log, and their entries in the index `sent`.
    fn remove_events(&mut self, conversation: ConversationId, count: usize) {
        let Some(stored) = self.conversations.get_mut(&conversation) else {
            return;
        };
        for event in stored.events.drain(stored.events.len() - count..) {
            if let Some(id) = event.client_message_id {
                self.sent.remove(&(event.sender, id));
            }
        }
    }
}

#[async_trait]
impl MessageTx for MemoryTx<'_> {
    async fn find_sent(&mut self, ids: &[(UserId, ClientMessageId)]) -> Result<Vec<SentEvent>, StoreError> {
        let ids: HashSet<_> = ids.iter().copied().collect();
        Ok(ids
            .into_iter()
            .filter_map(|(sender, id)| self.tables.find_sent(sender, id))
            .collect())
    }

    async fn events_at(&mut self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        Ok(self.tables.events_at(conversation, seqs))
    }

    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.contract.before_append(events)?;
        for event in events {
            let conversation = event.conversation;
            if let Some(id) = event.client_message_id {
                let position = (conversation, event.seq);
                if self.tables.sent.contains_key(&(event.sender, id)) {
                    return Err(StoreError::AlreadySent);
                }
                self.tables.sent.insert((event.sender, id), position);
            }
            let Some(stored) = self.tables.conversations.get_mut(&conversation) else {
                return Err(StoreError::Defect(format!(
                    "conversation {conversation} does not exist"
                )));
            };
            stored.events.push(event.clone());
            self.on_rollback(move |tables| tables.remove_events(conversation, 1));
        }
        Ok(())
    }

    async fn mark_edited(&mut self, conversation: ConversationId, target: Seq, edit: Seq) -> Result<(), StoreError> {
        let event = self.event_mut(conversation, target)?;
        let old = event.edited_seq.replace(edit);
        self.on_rollback(move |tables| {
            if let Some(event) = tables.event_mut(conversation, target) {
                event.edited_seq = old;
            }
        });
        Ok(())
    }

    async fn erase(
        &mut self,
        conversation: ConversationId,
        target: Seq,
        recall: Seq,
        tombstone: Bytes,
        edit_tombstone: Bytes,
    ) -> Result<(), StoreError> {
        let message = self.event_mut(conversation, target)?;
        let mut erased = vec![message.clone()];
        message.recalled_seq = Some(recall);
        message.body = tombstone;
        let Some(stored) = self.tables.conversations.get_mut(&conversation) else {
            return Ok(());
        };
        let index_after_target = usize::try_from(target.0).unwrap_or(usize::MAX).min(stored.events.len());
        for edit in &mut stored.events[index_after_target..] {
            if edit.kind == EventKind::Edit && edit.target == Some(target) {
                erased.push(edit.clone());
                edit.body = edit_tombstone.clone();
            }
        }
        let of_target = |mention: &&(UserId, Seq)| mention.1 == target;
        let mentions: Vec<_> = stored.mentions.iter().filter(of_target).copied().collect();
        stored.mentions.retain(|mention| mention.1 != target);
        self.on_rollback(move |tables| {
            for old in erased {
                if let Some(event) = tables.event_mut(conversation, old.seq) {
                    *event = old;
                }
            }
            if let Some(stored) = tables.conversations.get_mut(&conversation) {
                stored.mentions.extend(mentions);
            }
        });
        Ok(())
    }

    async fn put_mentions(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        let Some(stored) = self.tables.conversations.get_mut(&conversation) else {
            return Err(StoreError::Defect(format!(
                "conversation {conversation} does not exist"
            )));
        };
        let new = users
            .iter()
            .map(|user| (*user, seq))
            .filter(|mention| !stored.mentions.contains(mention));
        let new: Vec<_> = new.collect();
        stored.mentions.extend(new.iter().copied());
        self.on_rollback(move |tables| {
            if let Some(stored) = tables.conversations.get_mut(&conversation) {
                for mention in new {
                    stored.mentions.remove(&mention);
                }
            }
        });
        Ok(())
    }
}

impl MemoryTx<'_> {
    fn event_mut(&mut self, conversation: ConversationId, seq: Seq) -> Result<&mut Event, StoreError> {
        let event = self.tables.event_mut(conversation, seq);
        event.ok_or_else(|| unknown_event(conversation, seq))
    }
}

impl Tables {
    fn event_mut(&mut self, conversation: ConversationId, seq: Seq) -> Option<&mut Event> {
        self.conversations.get_mut(&conversation)?.event_mut(seq)
    }
}
