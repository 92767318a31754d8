//! [`BatchContext`]: decides whether a draft may be appended, from rows read under the
//! conversation's lock, and from the relations of the senders, read under the lock of the contacts.

use std::collections::{HashMap, HashSet};

use super::queued_draft::{MessageLimits, QueuedDraft, senders};
use crate::engine::error::CommandError;
use crate::engine::operations::contact::Relation;
use crate::engine::operations::policy::{self, DirectPermission, GroupPermission, Membership};
use crate::model::{Conversation, ConversationKind, Event, EventKind, Member, ReplyCode, Role, Seq, Timestamp, UserId};
use crate::store::{StoreError, Transaction};

/// State of a conversation while a batch is checked: the stored state, and the events that the
/// batch has appended so far.
#[derive(Debug)]
pub(super) struct BatchContext {
    row: Conversation,
    /// Memberships of the senders and of the mentioned users, and if there is a recall, of the
    /// senders of `targets`.
    members: HashMap<UserId, Member>,
    /// Events that drafts refer to: those that they edit, recall, react or reply to. If
    /// `refers_to_new` is set, also every event that the batch has appended so far.
    targets: HashMap<Seq, Event>,
    /// True if a draft refers to an event that is not stored yet, and that this batch may append.
    refers_to_new: bool,
    /// Relation of each sender to the peer of a direct conversation, and for a stranger, whether
    /// the peer accepts messages from the sender.
    relations: HashMap<UserId, (Relation, bool)>,
    limits: MessageLimits,
    now: Timestamp,
}

impl BatchContext {
    /// Reads the rows that are needed to check the drafts.
    pub(super) async fn load(
        tx: &mut dyn Transaction,
        row: &Conversation,
        drafts: &[QueuedDraft],
        relations: HashMap<UserId, (Relation, bool)>,
        limits: MessageLimits,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let wanted: HashSet<Seq> = drafts
            .iter()
            .flat_map(|draft| draft.target.into_iter().chain(draft.reply_to))
            .collect();
        let refers_to_new = wanted.iter().any(|seq| *seq > row.last_seq);
        let wanted: Vec<Seq> = wanted
            .into_iter()
            .filter(|seq| *seq > Seq::ZERO && *seq <= row.last_seq)
            .collect();
        let found = if wanted.is_empty() {
            Vec::new()
        } else {
            tx.events_at(row.id, &wanted).await?
        };
        let targets: HashMap<Seq, Event> = found.into_iter().map(|event| (event.seq, event)).collect();
        let mut users = senders(drafts);
        for draft in drafts {
            // A draft with more mentions is refused, so its further mentions need no lookup.
            users.extend(draft.mentions.iter().take(limits.max_mentions));
        }
        if drafts.iter().any(|draft| draft.kind == EventKind::Recall) {
            users.extend(targets.values().map(|event| event.sender));
        }
        let users: Vec<UserId> = users.into_iter().collect();
        let members = tx.members_in(row.id, &users).await?;
        Ok(Self {
            row: row.clone(),
            members: members.into_iter().map(|member| (member.user, member)).collect(),
            targets,
            refers_to_new,
            relations,
            limits,
            now,
        })
    }

    /// Records that a member sends a message. Returns the changed membership if this is the
    /// member's first message to a direct conversation.
    pub(super) fn note_first_message(&mut self, sender: UserId) -> Option<Member> {
        if !matches!(self.row.kind, ConversationKind::Direct { .. }) {
            return None;
        }
        let member = self.members.get_mut(&sender).filter(|member| !member.has_sent)?;
        member.has_sent = true;
        Some(member.clone())
    }

    /// Records an event that the batch appends, so that later drafts can refer to it. An edit or a
    /// recall also marks its target, so that later drafts are checked against the new state.
    pub(super) fn note_appended(&mut self, event: &Event) {
        match (event.kind, event.target) {
            (EventKind::Edit, Some(target)) => {
                if let Some(target) = self.targets.get_mut(&target) {
                    target.edited_seq = Some(event.seq);
                }
            }
            (EventKind::Recall, Some(target)) => {
                if let Some(target) = self.targets.get_mut(&target) {
                    target.recalled_seq = Some(event.seq);
                }
            }
            _ => {}
        }
        if self.refers_to_new {
            self.targets.insert(event.seq, event.clone());
        }
    }

    /// Checks whether the draft may be appended.
    pub(super) fn check(&self, draft: &QueuedDraft) -> Result<(), CommandError> {
        self.check_sender(draft)?;
        match draft.kind {
            EventKind::Message => self.check_message(draft),
            EventKind::Edit => self.check_edit(draft),
            EventKind::Recall => self.check_recall(draft),
            EventKind::Reaction => self.target(draft).and_then(not_recalled),
            _ => Err(CommandError::invalid("events of this kind cannot be sent by clients")),
        }
    }

    /// Checks whether the sender may send drafts of this kind to the conversation at all.
    fn check_sender(&self, draft: &QueuedDraft) -> Result<(), CommandError> {
        let sender = draft.caller.user;
        match &self.row.kind {
            ConversationKind::Group => {
                let membership = Membership::of(self.members.get(&sender), self.now);
                if self.row.deleted && membership != Membership::Outsider {
                    return Err(CommandError::new(ReplyCode::GroupDeleted, "the group was deleted"));
                }
                let profile = self
                    .row
                    .group
                    .as_ref()
                    .ok_or_else(|| CommandError::defect("a group has no profile"))?;
                let permission = match draft.kind {
                    EventKind::Edit => GroupPermission::EditOwn,
                    EventKind::Recall => GroupPermission::RecallOwn,
                    _ if draft.mention_all => GroupPermission::MentionAll,
                    _ => GroupPermission::Send,
                };
                policy::check_group(permission, membership, profile)
            }
            ConversationKind::Direct { .. } => {
                let Some((relation, accepts)) = self.relations.get(&sender) else {
                    return Err(CommandError::not_found());
                };
                if draft.mention_all {
                    return Err(CommandError::forbidden());
                }
                let permission = match draft.kind {
                    EventKind::Recall => DirectPermission::RecallOwn,
                    _ => DirectPermission::Send,
                };
                policy::check_direct(permission, *relation, *accepts)
            }
            ConversationKind::Inbox { owner } if *owner == sender => Err(CommandError::forbidden()),
            ConversationKind::Inbox { .. } => Err(CommandError::not_found()),
        }
    }

    fn check_message(&self, draft: &QueuedDraft) -> Result<(), CommandError> {
        let is_active = |user: &UserId| self.members.get(user).is_some_and(Member::is_active);
        check_mentions(draft, self.limits, is_active)?;
        match draft.reply_to {
            Some(seq) => self.readable(draft, seq).map(drop),
            None => Ok(()),
        }
    }

    fn check_edit(&self, draft: &QueuedDraft) -> Result<(), CommandError> {
        let target = self.target(draft)?;
        if target.sender != draft.caller.user {
            return Err(CommandError::forbidden());
        }
        not_recalled(target)?;
        self.check_age(target)
    }

    fn check_recall(&self, draft: &QueuedDraft) -> Result<(), CommandError> {
        let target = self.target(draft)?;
        if target.sender == draft.caller.user {
            not_recalled(target)?;
            return self.check_age(target);
        }
        let ConversationKind::Group = self.row.kind else {
            return Err(CommandError::forbidden());
        };
        let profile = self
            .row
            .group
            .as_ref()
            .ok_or_else(|| CommandError::defect("a group has no profile"))?;
        let membership = Membership::of(self.members.get(&draft.caller.user), self.now);
        policy::check_group(GroupPermission::RecallOthers, membership, profile)?;
        let author = self.members.get(&target.sender).filter(|member| member.is_active());
        if author.is_some_and(|author| author.role == Role::Owner) {
            return Err(CommandError::forbidden());
        }
        not_recalled(target)
    }

    /// Checks that a message is young enough to be edited or recalled.
    fn check_age(&self, target: &Event) -> Result<(), CommandError> {
        if self.now.millis_since(target.time) > self.limits.edit_window_ms {
            return Err(CommandError::new(
                ReplyCode::TooLate,
                "the message is too old to be edited or recalled",
            ));
        }
        Ok(())
    }

    /// Returns the message that the draft edits, recalls or reacts to.
    fn target(&self, draft: &QueuedDraft) -> Result<&Event, CommandError> {
        self.readable(draft, draft.target.unwrap_or(Seq::ZERO))
    }

    /// Returns the message at `seq`, if it exists and the sender may read it.
    fn readable(&self, draft: &QueuedDraft, seq: Seq) -> Result<&Event, CommandError> {
        let reader = self
            .members
            .get(&draft.caller.user)
            .filter(|member| member.may_read(seq));
        let event = reader.and_then(|_| self.targets.get(&seq));
        event
            .filter(|event| event.kind == EventKind::Message)
            .ok_or_else(CommandError::not_found)
    }
}

/// Checks the users that a message mentions. `is_member` says whether a user is in the
/// conversation.
pub(super) fn check_mentions(
    draft: &QueuedDraft,
    limits: MessageLimits,
    is_member: impl Fn(&UserId) -> bool,
) -> Result<(), CommandError> {
    if draft.mentions.len() > limits.max_mentions {
        return Err(CommandError::limit("the message mentions too many users"));
    }
    if !draft.mentions.iter().all(is_member) {
        return Err(CommandError::invalid(
            "a message can mention members of the conversation only",
        ));
    }
    Ok(())
}

fn not_recalled(target: &Event) -> Result<(), CommandError> {
    match target.recalled_seq {
        Some(_) => Err(CommandError::new(
            ReplyCode::AlreadyRecalled,
            "the message was recalled",
        )),
        None => Ok(()),
    }
}
