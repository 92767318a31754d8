//! [`FeedReader`]: reads from the store for a feed, restricted to the scope of the feed.

use std::sync::Arc;

use super::machine::{LogRead, LookUp, Positions, Read};
use super::options::FeedScope;
use crate::engine::error::CommandError;
use crate::engine::store_access::StoreAccess;
use crate::model::{ConversationId, Member, Page, PageFrom, Seq, UserId};
use crate::router::{EventLog, ReadLimit};
use crate::store::{FeedPosition, FeedShard};

/// Maximum number of conversations that one page of a scan examines.
const PAGE_SIZE: u32 = 500;
/// Maximum size of the bodies in one read, in bytes. A larger first event is read alone.
const MAX_READ_BYTES: u32 = 1024 * 1024;

/// Reads the events that a feed hands out, and finds the conversations in which the feed is behind:
/// those with events after the feed's cursor, in the feed of a user only with events that the user
/// may read.
#[derive(Debug)]
pub(super) struct FeedReader {
    pub(super) access: Arc<StoreAccess>,
    pub(super) log: Arc<dyn EventLog>,
    /// Name of the feed.
    pub(super) feed: String,
    pub(super) scope: FeedScope,
}

impl FeedReader {
    /// Executes a look-up. The fields of [`Positions`] say which positions it returns.
    pub(super) async fn look_up(&self, look_up: &LookUp) -> Result<Positions, CommandError> {
        match look_up {
            LookUp::Conversations(conversations) => Ok(Positions {
                positions: self.positions(conversations).await?,
                ..Positions::default()
            }),
            LookUp::Page { after, shards } => self.page(*after, shards).await,
        }
    }

    /// Examines the conversations of one page of a scan. Returns those that belong to one of
    /// `shards` and in which the feed is behind.
    async fn page(&self, after: ConversationId, shards: &[FeedShard]) -> Result<Positions, CommandError> {
        match self.scope {
            FeedScope::AllConversations => {
                let page = self.access.store().feed_backlog(&self.feed, shards, after, PAGE_SIZE);
                let page = self.access.read(page).await?;
                Ok(Positions {
                    positions: page.positions,
                    examined: Vec::new(),
                    next: page.next,
                })
            }
            FeedScope::User(user) => self.page_of_user(user, after, shards).await,
        }
    }

    /// Implements [`page`](Self::page) for the feed of a user. Also returns the examined
    /// conversations, of all shards.
    async fn page_of_user(
        &self,
        user: UserId,
        after: ConversationId,
        shards: &[FeedShard],
    ) -> Result<Positions, CommandError> {
        let members = self.access.store().members_of_user(user, after, PAGE_SIZE);
        let members: Vec<Member> = self.access.read(members).await?;
        let ids: Vec<_> = members.iter().map(|member| member.conversation).collect();
        let in_shards: Vec<_> = ids
            .iter()
            .copied()
            .filter(|id| shards.contains(&FeedShard::of(*id)))
            .collect();
        let mut positions = self.positions(&in_shards).await?;
        positions.retain(|position| {
            let member = ids.binary_search(&position.conversation).map(|index| &members[index]);
            member.is_ok_and(|member| may_read_more(member, position))
        });
        Ok(Positions {
            positions,
            next: ids.last().copied().filter(|_| ids.len() >= PAGE_SIZE as usize),
            examined: ids,
        })
    }

    /// Returns the positions of the feed in those of these conversations that exist.
    async fn positions(&self, conversations: &[ConversationId]) -> Result<Vec<FeedPosition>, CommandError> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        let positions = self.access.store().feed_positions(&self.feed, conversations);
        self.access.read(positions).await
    }

    /// Scans all conversations of the scope. Returns those that belong to one of `shards` and in
    /// which the feed is behind, each with the `Seq` of the last event of its log.
    pub(super) async fn log_ends(&self, shards: &[FeedShard]) -> Result<Vec<(ConversationId, Seq)>, CommandError> {
        let mut ends = Vec::new();
        let mut after = ConversationId(0);
        loop {
            let page = self.page(after, shards).await?;
            ends.extend(
                page.positions
                    .iter()
                    .map(|position| (position.conversation, position.last_seq)),
            );
            match page.next {
                Some(next) => after = next,
                None => return Ok(ends),
            }
        }
    }

    /// Fails while an operator has disabled the account of the feed's user, unless the account was
    /// deleted. Called after a read, so that no event that was committed after the account was
    /// disabled is handed out.
    async fn check_enabled(&self, user: UserId) -> Result<(), CommandError> {
        let account = self.access.read(self.access.store().account(user)).await?;
        match account {
            Some(account) if account.disabled && account.deleted.is_none() => Err(CommandError::account_unusable()),
            _ => Ok(()),
        }
    }

    /// Reads events of one conversation for the feed. Returns no events if the feed's user may not
    /// read the conversation.
    pub(super) async fn read(&self, read: Read) -> Result<LogRead, CommandError> {
        let max_events = u32::try_from(read.max_events).unwrap_or(u32::MAX);
        match self.scope {
            FeedScope::AllConversations => {
                let limit = ReadLimit {
                    max_events,
                    max_bytes: MAX_READ_BYTES,
                };
                let page = self.log.events_after(read.conversation, read.after, limit);
                let page = self.access.read(page).await?;
                Ok(LogRead {
                    events: page.events,
                    is_end: page.is_end,
                })
            }
            FeedScope::User(user) => {
                let mut page = Page::new(PageFrom::After(read.after), max_events);
                page.max_bytes = MAX_READ_BYTES;
                let page = self.access.store().events_for(user, read.conversation, page);
                let page = self.access.read(page).await?;
                self.check_enabled(user).await?;
                let events = page.map(|page| (page.events, page.has_more));
                let (events, has_more) = events.unwrap_or_default();
                Ok(LogRead {
                    is_end: !has_more || events.is_empty(),
                    events,
                })
            }
        }
    }
}

/// Returns whether the conversation has events after the feed's cursor that the member may read.
fn may_read_more(member: &Member, position: &FeedPosition) -> bool {
    let last = member
        .until_seq
        .map_or(position.last_seq, |until| until.min(position.last_seq));
    member.first_seq > Seq::ZERO && last > position.cursor && last >= member.first_seq
}
