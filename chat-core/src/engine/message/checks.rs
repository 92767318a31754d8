//! Whether a draft may be appended, given everything that was read under the lock.

use std::collections::{HashMap, HashSet};

use super::batch::{BatchRules, senders};
use super::prepared::Prepared;
use crate::engine::contact::Standing;
use crate::engine::error::CommandError;
use crate::engine::policy::{self, DirectAct, GroupAct, Place};
use crate::model::{Conversation, ConversationKind, Event, EventKind, Member, ReplyCode, Role, Seq, Timestamp, UserId};
use crate::store::{StoreError, Transaction};

/// The conversation while a batch is checked: what it was, and what the batch has added so far.
#[derive(Debug)]
pub(super) struct Scene {
    row: Conversation,
    members: HashMap<UserId, Member>,
    /// Events that drafts are about.
    targets: HashMap<Seq, Event>,
    standings: HashMap<UserId, (Standing, bool)>,
    rules: BatchRules,
    now: Timestamp,
}

impl Scene {
    /// Reads what the drafts need.
    pub(super) async fn look(
        tx: &mut dyn Transaction,
        row: &Conversation,
        drafts: &[Prepared],
        standings: HashMap<UserId, (Standing, bool)>,
        rules: BatchRules,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let wanted: HashSet<Seq> = drafts
            .iter()
            .flat_map(|draft| draft.target.into_iter().chain(draft.reply_to))
            .collect();
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
            // One draft too many mentions is refused below; it need not be looked up.
            users.extend(draft.mentions.iter().take(rules.mentions));
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
            standings,
            rules,
            now,
        })
    }

    /// The last place before this batch.
    pub(super) fn last_seq_before(&self) -> Seq {
        self.row.last_seq
    }

    /// Lets later drafts of the batch be about this event.
    pub(super) fn appended(&mut self, event: &Event) {
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
        self.targets.insert(event.seq, event.clone());
    }

    /// Whether the draft may be appended now.
    pub(super) fn check(&self, draft: &Prepared) -> Result<(), CommandError> {
        self.check_place(draft)?;
        match draft.kind {
            EventKind::Message => self.check_message(draft),
            EventKind::Edit => self.check_edit(draft),
            EventKind::Recall => self.check_recall(draft),
            EventKind::Reaction => self.target(draft).and_then(not_recalled),
            _ => Err(CommandError::invalid("that cannot be sent")),
        }
    }

    /// Whether the sender may do this kind of thing here at all.
    fn check_place(&self, draft: &Prepared) -> Result<(), CommandError> {
        let sender = draft.caller.user;
        match &self.row.kind {
            ConversationKind::Group => {
                let place = Place::of(self.members.get(&sender), self.now);
                if self.row.closed && place != Place::Outsider {
                    return Err(CommandError::new(ReplyCode::GroupDeleted, "the group was deleted"));
                }
                let profile = self.row.group.as_ref().ok_or_else(CommandError::internal)?;
                let act = match draft.kind {
                    EventKind::Edit => GroupAct::EditOwn,
                    EventKind::Recall => GroupAct::RecallOwn,
                    _ if draft.mention_all => GroupAct::MentionAll,
                    _ => GroupAct::Send,
                };
                policy::group(act, place, profile)
            }
            ConversationKind::Direct { .. } => {
                let Some((standing, everyone)) = self.standings.get(&sender) else {
                    return Err(CommandError::not_found());
                };
                if draft.mention_all {
                    return Err(CommandError::forbidden());
                }
                let act = match draft.kind {
                    EventKind::Recall => DirectAct::RecallOwn,
                    _ => DirectAct::Send,
                };
                policy::direct(act, *standing, *everyone)
            }
            ConversationKind::Inbox { owner } if *owner == sender => Err(CommandError::forbidden()),
            ConversationKind::Inbox { .. } => Err(CommandError::not_found()),
        }
    }

    fn check_message(&self, draft: &Prepared) -> Result<(), CommandError> {
        if draft.mentions.len() > self.rules.mentions {
            return Err(CommandError::limit("too many mentions in one message"));
        }
        let is_active = |user: &UserId| self.members.get(user).is_some_and(Member::is_active);
        if !draft.mentions.iter().all(is_active) {
            return Err(CommandError::invalid("only members can be mentioned"));
        }
        match draft.reply_to {
            Some(seq) => self.readable(draft, seq).map(drop),
            None => Ok(()),
        }
    }

    fn check_edit(&self, draft: &Prepared) -> Result<(), CommandError> {
        let target = self.target(draft)?;
        if target.sender != draft.caller.user {
            return Err(CommandError::forbidden());
        }
        not_recalled(target)?;
        self.check_age(target)
    }

    fn check_recall(&self, draft: &Prepared) -> Result<(), CommandError> {
        let target = self.target(draft)?;
        if target.sender == draft.caller.user {
            not_recalled(target)?;
            return self.check_age(target);
        }
        let ConversationKind::Group = self.row.kind else {
            return Err(CommandError::forbidden());
        };
        let profile = self.row.group.as_ref().ok_or_else(CommandError::internal)?;
        let place = Place::of(self.members.get(&draft.caller.user), self.now);
        policy::group(GroupAct::RecallOthers, place, profile)?;
        let author = self.members.get(&target.sender).filter(|member| member.is_active());
        if author.is_some_and(|author| author.role == Role::Owner) {
            return Err(CommandError::forbidden());
        }
        not_recalled(target)
    }

    fn check_age(&self, target: &Event) -> Result<(), CommandError> {
        if self.now.millis_since(target.time) > self.rules.edit_window_ms {
            return Err(CommandError::new(
                ReplyCode::TooLate,
                "that message is too old to be changed",
            ));
        }
        Ok(())
    }

    /// The message that the draft is about.
    fn target(&self, draft: &Prepared) -> Result<&Event, CommandError> {
        self.readable(draft, draft.target.unwrap_or(Seq::ZERO))
    }

    /// The message at `seq`, if there is one and the sender may read it.
    fn readable(&self, draft: &Prepared, seq: Seq) -> Result<&Event, CommandError> {
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

fn not_recalled(target: &Event) -> Result<(), CommandError> {
    match target.recalled_seq {
        Some(_) => Err(CommandError::new(
            ReplyCode::AlreadyRecalled,
            "that message was recalled",
        )),
        None => Ok(()),
    }
}
