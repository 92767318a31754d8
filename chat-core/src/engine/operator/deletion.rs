//! Deleting an account.

use super::Operator;
use super::accounts::MAX_PAGE;
use crate::engine::error::CommandError;
use crate::engine::operations::operator::{EndContacts, EndMembership, EraseInbox, EraseMessages, MarkDeleted};
use crate::model::{CloseCode, Conversation, ConversationId, ConversationKind, Event, EventKind, Seq, UserId, UserRef};
use crate::router::SessionSelector;

/// Number of contacts, and of messages, that one unit of work deletes.
const BATCH: usize = 100;
/// Number of events that one read looks through.
const RANGE: u64 = 2_000;

/// Treatment of the texts of a deleted user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedTexts {
    /// They stay readable to the other members of each conversation.
    Keep,
    /// They are erased, as if the user had recalled each message.
    Erase,
}

/// Treatment of the name of a deleted account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedName {
    /// Another account may take it.
    Free,
    /// No account may take it, so that no one can pose as the user.
    Reserve,
}

/// Options of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteAccount {
    /// Treatment of the user's texts.
    pub texts: DeletedTexts,
    /// Treatment of the account's name.
    pub name: DeletedName,
}

impl DeleteAccount {
    const fn describe(self) -> &'static str {
        match (self.texts, self.name) {
            (DeletedTexts::Keep, DeletedName::Free) => "texts kept, name freed",
            (DeletedTexts::Keep, DeletedName::Reserve) => "texts kept, name reserved",
            (DeletedTexts::Erase, DeletedName::Free) => "texts erased, name freed",
            (DeletedTexts::Erase, DeletedName::Reserve) => "texts erased, name reserved",
        }
    }
}

impl Operator {
    /// Deletes an account for good. Its sessions end; its display name, password, subject, devices
    /// and contacts (on both sides) are deleted, and the notes and messages in its inbox erased. It
    /// leaves its groups; a group that it owns goes to the admin, or else the member, who has been
    /// in it for the longest time, is closed if no one else is in it, or is left orphaned, see
    /// [`list_groups`](Self::list_groups). Conversations of others stay as they are, and show the
    /// user as "deleted user".
    ///
    /// Notes of the user's friend requests and requests to join stay in the inboxes of those who
    /// received them.
    ///
    /// The deletion takes many transactions: the first one locks the user out. If a later one
    /// fails, delete the account again, by its id: the deletion continues where it stopped.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account.
    pub async fn delete_account(&self, user: impl Into<UserRef>, how: DeleteAccount) -> Result<(), CommandError> {
        let user = self.find_user(&user.into()).await?;
        self.spawn(|this| async move { this.delete(user, how).await }).await
    }

    async fn delete(&self, user: UserId, how: DeleteAccount) -> Result<(), CommandError> {
        let mark = MarkDeleted {
            action: self.action(),
            user,
            free_name: how.name == DeletedName::Free,
            detail: how.describe(),
        };
        let marked = self.parts.units.run(user, mark).await;
        let sessions = &self.parts.sessions;
        let before = sessions.after(user, SessionSelector::All, CloseCode::Revoked, marked)?;
        self.forget_name(&before.name);
        self.end_contacts(user).await?;
        self.end_memberships(user, how.texts).await?;
        tracing::info!(user = user.0, operator = &*self.name, "account deleted");
        Ok(())
    }

    async fn end_contacts(&self, user: UserId) -> Result<(), CommandError> {
        let units = &self.parts.units;
        let mut last = UserId(0);
        loop {
            let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
            let peers = units.read(units.store().related_users(user, last, limit)).await?;
            let Some(end) = peers.last() else {
                return Ok(());
            };
            last = *end;
            let now = units.now();
            let events = units.run(user, EndContacts { user, peers, now }).await?;
            self.parts.publisher.publish(events);
        }
    }

    async fn end_memberships(&self, user: UserId, texts: DeletedTexts) -> Result<(), CommandError> {
        let units = &self.parts.units;
        let mut last = ConversationId(0);
        loop {
            let members = units.store().members_of_user(user, last, MAX_PAGE);
            let members = units.read(members).await?;
            let Some(end) = members.last() else {
                return Ok(());
            };
            last = end.conversation;
            for member in members {
                let row = units.store().conversation(member.conversation);
                let Some(row) = units.read(row).await? else {
                    continue;
                };
                self.end_membership(user, &row, texts).await?;
            }
        }
    }

    async fn end_membership(&self, user: UserId, row: &Conversation, texts: DeletedTexts) -> Result<(), CommandError> {
        if matches!(row.kind, ConversationKind::Inbox { .. }) {
            return self.erase_inbox(row).await;
        }
        if texts == DeletedTexts::Erase {
            self.erase_messages(user, row).await?;
        }
        let end = EndMembership {
            user,
            conversation: row.id,
            now: self.parts.units.now(),
        };
        self.append(row.id, end).await
    }

    async fn erase_messages(&self, user: UserId, row: &Conversation) -> Result<(), CommandError> {
        let (units, store) = (&self.parts.units, self.parts.units.store());
        for (first, last) in ranges(row.last_seq) {
            let events = units.read(store.events_by_sender(row.id, user, first, last)).await?;
            let has_text = |event: &Event| event.kind == EventKind::Message && event.recalled_seq.is_none();
            let targets: Vec<Seq> = events
                .iter()
                .filter(|event| has_text(event))
                .map(|event| event.seq)
                .collect();
            for targets in targets.chunks(BATCH) {
                let erase = EraseMessages {
                    user,
                    conversation: row.id,
                    targets: targets.to_vec(),
                    now: units.now(),
                };
                self.append(row.id, erase).await?;
            }
        }
        Ok(())
    }

    async fn erase_inbox(&self, row: &Conversation) -> Result<(), CommandError> {
        let (units, store) = (&self.parts.units, self.parts.units.store());
        let max = u32::try_from(RANGE).unwrap_or(u32::MAX);
        for (first, last) in ranges(row.last_seq) {
            let events = units.read(store.events(row.id, first, last, max)).await?;
            let has_text = |event: &Event| event.body().ok().and_then(EraseInbox::without_text).is_some();
            let targets: Vec<Seq> = events
                .iter()
                .filter(|event| has_text(event))
                .map(|event| event.seq)
                .collect();
            for targets in targets.chunks(BATCH) {
                let erase = EraseInbox {
                    inbox: row.id,
                    targets: targets.to_vec(),
                };
                units.run(row.id, erase).await?;
            }
        }
        Ok(())
    }
}

/// Returns the ranges of positions that a log with this end is read in.
pub(super) fn ranges(last_seq: Seq) -> impl Iterator<Item = (Seq, Seq)> {
    let starts = (1..=last_seq.0).step_by(usize::try_from(RANGE).unwrap_or(usize::MAX));
    starts.map(move |first| (Seq(first), Seq((first + RANGE - 1).min(last_seq.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_a_log_without_overlap() {
        assert_eq!(ranges(Seq::ZERO).count(), 0);
        assert_eq!(ranges(Seq(1)).collect::<Vec<_>>(), [(Seq(1), Seq(1))]);
        let two = [(Seq(1), Seq(RANGE)), (Seq(RANGE + 1), Seq(RANGE + 1))];
        assert_eq!(ranges(Seq(RANGE + 1)).collect::<Vec<_>>(), two);
    }
}
