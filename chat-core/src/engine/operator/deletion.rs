//! Operator actions that delete an account and free its subject.

use std::collections::HashSet;

use super::Operator;
use super::accounts::MAX_PAGE;
use crate::auth::Subject;
use crate::engine::breaker::Scope;
use crate::engine::error::CommandError;
use crate::engine::operations::operator::{
    EndContacts, EndMembership, EraseInbox, EraseMessages, FreeSubject, MarkDeleted,
};
use crate::model::{CloseCode, Conversation, ConversationId, ConversationKind, Event, EventKind, Seq, UserId, UserRef};
use crate::router::SessionSelector;

/// Maximum number of users with whom one unit of work deletes the contacts, and maximum number of
/// events whose texts one unit of work erases.
const BATCH: usize = 100;
/// Maximum number of positions in the range of a log that one read covers.
pub(super) const RANGE_EVENTS: u64 = 2_000;

/// Treatment of the texts that a deleted user wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeletedTexts {
    /// The texts stay readable to the other members of each conversation.
    #[default]
    Keep,
    /// The user's messages and their edits are erased, as if the user had recalled each message.
    ///
    /// Reactions stay, as do the names and descriptions of groups, and the notes of the user's
    /// requests in the inboxes of their receivers. A client or a consumer of a feed that has read a
    /// text before may still have a copy.
    Erase,
}

/// Treatment of the name of a deleted account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeletedName {
    /// Another account may take the name.
    Free,
    /// No account may take the name, so that other users cannot pose as the deleted one.
    #[default]
    Reserve,
}

/// Treatment of the [`Subject`] of a deleted account, the application's identifier of the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeletedSubject {
    /// The next login with the subject gets a new account.
    Free,
    /// The subject gets no other account until [`Operator::free_subject`]: logins with it fail with
    /// `AccountDisabled`. For this, the account keeps a digest of the subject, not the subject.
    #[default]
    Refuse,
}

/// Options of a deletion. The default keeps the texts, reserves the name, and refuses the subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletionOptions {
    /// Treatment of the user's texts.
    pub texts: DeletedTexts,
    /// Treatment of the account's name.
    pub name: DeletedName,
    /// Treatment of the account's subject, if it has one.
    pub subject: DeletedSubject,
}

impl DeletionOptions {
    /// Returns the options as the audit log describes them.
    fn describe(self) -> String {
        let texts = match self.texts {
            DeletedTexts::Keep => "texts kept",
            DeletedTexts::Erase => "texts erased",
        };
        let name = match self.name {
            DeletedName::Free => "name freed",
            DeletedName::Reserve => "name reserved",
        };
        let subject = match self.subject {
            DeletedSubject::Free => "subject freed",
            DeletedSubject::Refuse => "subject refused",
        };
        format!("{texts}, {name}, {subject}")
    }
}

impl Operator {
    /// Deletes an account permanently. Its sessions end. Its display name, password, devices and
    /// contacts (on both sides) are deleted, its name and subject are treated as `options` say, and
    /// the notes and messages in its inbox are erased. The user leaves all groups. A group that the
    /// user owns passes to the member whom [`disable`](Self::disable) would choose. The group is
    /// deleted if it has no other member, and stays without an owner if all other members are
    /// disabled; [`list_groups`](Self::list_groups) finds such orphaned groups. Messages of the
    /// user in direct conversations and groups remain, without their texts if
    /// [`DeletedTexts::Erase`] is chosen, and show the user as "deleted user".
    ///
    /// The user's reactions stay, as do the names and descriptions of groups that the user wrote,
    /// and the notes of the user's friend requests and requests to join, in the inboxes of their
    /// receivers.
    ///
    /// The deletion takes many transactions: the first one locks the user out. If a later one
    /// fails, delete the account again, by its id and with the same options: this completes the
    /// deletion. Deleting again also applies options that erase or free more.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account.
    pub async fn delete_account(&self, user: impl Into<UserRef>, options: DeletionOptions) -> Result<(), CommandError> {
        let user = self.find_user(&user.into()).await?;
        self.spawn(|this| async move { this.delete(user, options).await }).await
    }

    async fn delete(&self, user: UserId, options: DeletionOptions) -> Result<(), CommandError> {
        let mark = MarkDeleted {
            audit: self.audit_context(),
            user,
            free_name: options.name == DeletedName::Free,
            free_subject: options.subject == DeletedSubject::Free,
            detail: options.describe(),
        };
        let marked = self.parts.access.run(user, mark).await;
        let sessions = &self.parts.session_ender;
        let before = sessions.end_after(user, SessionSelector::All, CloseCode::AccountDisabled, marked)?;
        self.forget_name(&before.name);
        // Requests that passed their checks before the account was marked may still be committed in
        // the meantime, so the steps repeat until they find nothing new.
        let mut ended = Ended {
            conversations: HashSet::new(),
            inbox_erased_to: Seq::ZERO,
        };
        loop {
            let steps = async {
                let had_contacts = self.end_contacts(user).await?;
                Ok(had_contacts | self.end_memberships(user, options.texts, &mut ended).await?)
            };
            if !steps.await.map_err(CommandError::after_commit)? {
                break;
            }
        }
        tracing::info!(user = user.0, operator = &*self.name, "account deleted");
        Ok(())
    }

    /// Frees the subject of a deleted account, so that the next login with it gets a new account;
    /// see [`DeletedSubject::Refuse`].
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: no deleted account reserves the subject.
    pub async fn free_subject(&self, subject: Subject) -> Result<(), CommandError> {
        self.spawn(|this| async move {
            let audit = this.audit_context();
            let free = FreeSubject { audit, subject };
            let user = this.parts.access.run(Scope::NoSharedRows, free).await?;
            tracing::info!(
                user = user.0,
                operator = &*this.name,
                "subject of a deleted account freed"
            );
            Ok(())
        })
        .await
    }

    /// Deletes the user's contacts, on both sides. Returns whether there were any.
    async fn end_contacts(&self, user: UserId) -> Result<bool, CommandError> {
        let access = &self.parts.access;
        let mut last = UserId(0);
        loop {
            let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
            let peers = access.read(access.store().related_users(user, last, limit)).await?;
            let Some(end) = peers.last() else {
                return Ok(last > UserId(0));
            };
            last = *end;
            let now = access.wall_time();
            let events = access.run(user, EndContacts { user, peers, now }).await?;
            self.parts.publisher.publish(events);
        }
    }

    /// Calls [`end_membership`](Self::end_membership) for each membership of the user. Returns
    /// whether any of the calls found something new.
    async fn end_memberships(
        &self,
        user: UserId,
        texts: DeletedTexts,
        ended: &mut Ended,
    ) -> Result<bool, CommandError> {
        let access = &self.parts.access;
        let (mut last, mut is_new) = (ConversationId(0), false);
        loop {
            let members = access.store().members_of_user(user, last, MAX_PAGE);
            let members = access.read(members).await?;
            let Some(end) = members.last() else {
                return Ok(is_new);
            };
            last = end.conversation;
            for member in members {
                is_new |= self.end_membership(user, member.conversation, texts, ended).await?;
            }
        }
    }

    /// Unless `ended` contains the conversation already, runs [`EndMembership`] for it, and erases
    /// the user's messages in it if `texts` says so. In the user's inbox, erases the texts that
    /// were not erased yet. Records in `ended` what was done. Returns whether the conversation was
    /// new or, for the inbox, whether it had new events.
    async fn end_membership(
        &self,
        user: UserId,
        conversation: ConversationId,
        texts: DeletedTexts,
        ended: &mut Ended,
    ) -> Result<bool, CommandError> {
        let is_new = ended.conversations.insert(conversation);
        if is_new {
            // This unit of work waits for the lock of the conversation, and so for every
            // transaction that passed its checks before the user was locked out. The log that is
            // read below thus contains all events of the user.
            let now = self.parts.access.wall_time();
            let end = EndMembership {
                user,
                conversation,
                now,
            };
            self.run_and_publish(conversation, end).await?;
        }
        let row = self.parts.access.store().conversation(conversation);
        let Some(row) = self.parts.access.read(row).await? else {
            return Ok(false);
        };
        if matches!(row.kind, ConversationKind::Inbox { .. }) {
            let from = std::mem::replace(&mut ended.inbox_erased_to, row.last_seq);
            self.erase_inbox(&row, from.next()).await?;
            return Ok(row.last_seq > from);
        }
        if is_new && texts == DeletedTexts::Erase {
            self.erase_messages(user, &row).await?;
        }
        Ok(is_new)
    }

    /// Erases the texts of all messages of the user in a conversation.
    async fn erase_messages(&self, user: UserId, row: &Conversation) -> Result<(), CommandError> {
        let (access, store) = (&self.parts.access, self.parts.access.store());
        for (first, last) in ranges(Seq(1), row.last_seq) {
            let events = access.read(store.events_by_sender(row.id, user, first, last)).await?;
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
                    now: access.wall_time(),
                };
                self.run_and_publish(row.id, erase).await?;
            }
        }
        Ok(())
    }

    /// Erases the texts in the user's inbox from `from` up to the last event that `row` states.
    async fn erase_inbox(&self, row: &Conversation, from: Seq) -> Result<(), CommandError> {
        let (access, store) = (&self.parts.access, self.parts.access.store());
        let max = u32::try_from(RANGE_EVENTS).unwrap_or(u32::MAX);
        for (first, last) in ranges(from, row.last_seq) {
            let events = access.read(store.events(row.id, first, last, max)).await?;
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
                access.run(row.id, erase).await?;
            }
        }
        Ok(())
    }
}

/// What a deletion has done so far.
#[derive(Debug)]
struct Ended {
    /// Conversations in which the user's membership was ended.
    conversations: HashSet<ConversationId>,
    /// Position up to which the user's inbox was erased.
    inbox_erased_to: Seq,
}

/// Splits the positions of a log, from `from` up to `last_seq`, into ranges of at most
/// [`RANGE_EVENTS`] positions, given by their first and last positions.
pub(super) fn ranges(from: Seq, last_seq: Seq) -> impl Iterator<Item = (Seq, Seq)> {
    let starts = (from.0..=last_seq.0).step_by(usize::try_from(RANGE_EVENTS).unwrap_or(usize::MAX));
    starts.map(move |first| (Seq(first), Seq((first + RANGE_EVENTS - 1).min(last_seq.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_a_log_without_overlap() {
        let of = |from, last| ranges(Seq(from), Seq(last)).collect::<Vec<_>>();
        assert_eq!(of(1, 0), []);
        assert_eq!(of(1, 1), [(Seq(1), Seq(1))]);
        let two = [
            (Seq(1), Seq(RANGE_EVENTS)),
            (Seq(RANGE_EVENTS + 1), Seq(RANGE_EVENTS + 1)),
        ];
        assert_eq!(of(1, RANGE_EVENTS + 1), two);
        assert_eq!(of(7, 9), [(Seq(7), Seq(9))]);
        assert_eq!(of(10, 9), []);
    }
}
