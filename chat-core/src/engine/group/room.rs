//! A group as a unit of work sees it: locked, the caller's fence checked, the members concerned at hand.

use std::collections::HashMap;

use crate::engine::error::{CommandError, Refusal, name_taken};
use crate::engine::fence::fence;
use crate::engine::log::{Author, Log, Logs};
use crate::engine::operation::WriteIntents;
use crate::engine::policy::{self, GroupAct, Place};
use crate::model::{
    Caller, Conversation, ConversationId, ConversationKind, Event, EventBody, GroupProfile, Member, MemberState,
    ReplyCode, Role, Seq, Timestamp, UserId,
};
use crate::store::{StoreError, Transaction};

/// What every unit of work on a group begins with.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Act {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) group: ConversationId,
    pub(in crate::engine) now: Timestamp,
}

/// The locked group.
#[derive(Debug)]
pub(super) struct Room {
    act: Act,
    logs: Logs,
    members: HashMap<UserId, Member>,
    inboxes: HashMap<UserId, ConversationId>,
}

impl Act {
    /// Locks the group, and the inboxes of `notified`; reads the places of the caller and of `users`.
    pub(super) async fn enter(
        self,
        tx: &mut dyn Transaction,
        users: &[UserId],
        notified: &[UserId],
    ) -> Result<Room, Refusal> {
        let mut inboxes = HashMap::with_capacity(notified.len());
        for user in notified {
            // Whoever does not exist has no inbox, and turns out below to have no place either.
            if let Some(inbox) = tx
                .conversation_of_kind(&ConversationKind::Inbox { owner: *user })
                .await?
            {
                inboxes.insert(*user, inbox);
            }
        }
        let ids = inboxes.values().copied().chain([self.group]);
        let mut logs = Logs::lock(tx, self.now, ids).await?;
        fence(tx, self.caller).await?;
        if logs
            .log(self.group)
            .is_none_or(|log| log.row.kind != ConversationKind::Group)
        {
            return Err(CommandError::not_found().into());
        }
        let concerned: Vec<UserId> = users.iter().copied().chain([self.caller.user]).collect();
        let members = tx.members_in(self.group, &concerned).await?;
        Ok(Room {
            act: self,
            logs,
            members: members.into_iter().map(|member| (member.user, member)).collect(),
            inboxes,
        })
    }
}

impl Room {
    /// Whether the caller may do that.
    pub(super) fn check(&mut self, act: GroupAct) -> Result<(), Refusal> {
        let place = self.place(self.act.caller.user);
        let row = self.row()?;
        if row.closed {
            return Err(if place == Place::Outsider {
                CommandError::not_found()
            } else {
                CommandError::new(ReplyCode::GroupDeleted, "the group was deleted")
            }
            .into());
        }
        policy::group(act, place, profile(row)?)?;
        Ok(())
    }

    /// The same, for somebody who must also outrank `target`.
    pub(super) fn check_rank(&mut self, act: GroupAct, target: UserId) -> Result<(), Refusal> {
        self.check(act)?;
        let active = self.members.get(&target).filter(|member| member.is_active());
        let target = active.map_or(Role::Member, |member| member.role);
        policy::outranks(self.own_role(), target)?;
        Ok(())
    }

    pub(super) fn row(&mut self) -> Result<&mut Conversation, Refusal> {
        Ok(&mut self.log()?.row)
    }

    pub(super) fn profile(&mut self) -> Result<GroupProfile, Refusal> {
        Ok(profile(self.row()?)?.clone())
    }

    pub(super) fn log(&mut self) -> Result<&mut Log, Refusal> {
        self.logs.log(self.act.group).ok_or(Refusal::Moved)
    }

    pub(super) fn place(&self, user: UserId) -> Place {
        Place::of(self.members.get(&user), self.act.now)
    }

    pub(super) fn member(&self, user: UserId) -> Option<&Member> {
        self.members.get(&user)
    }

    fn own_role(&self) -> Role {
        self.members
            .get(&self.act.caller.user)
            .map_or(Role::Member, |member| member.role)
    }

    /// Appends to the group's log in the caller's name.
    pub(super) fn append(&mut self, body: &EventBody) -> Result<Seq, Refusal> {
        let author = Author::from(self.act.caller);
        self.logs.append(self.act.group, author, body)
    }

    /// Appends to the inbox of somebody whose inbox was locked.
    pub(super) fn notify(&mut self, user: UserId, body: &EventBody) -> Result<(), Refusal> {
        let inbox = *self.inboxes.get(&user).ok_or(Refusal::Moved)?;
        self.logs.append(inbox, self.act.caller.into(), body)?;
        Ok(())
    }

    /// Makes `user` an active member, and says so in the log.
    pub(super) async fn admit(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        by: Option<UserId>,
        limits: Limits,
    ) -> Result<(), Refusal> {
        if self.row()?.member_count >= limits.group_members {
            return Err(CommandError::limit("the group is full").into());
        }
        if tx.group_count(user).await? >= limits.groups_per_user {
            return Err(CommandError::limit("that user is in too many groups").into());
        }
        let seq = self.append(&EventBody::MemberJoined { user, by })?;
        let row = self.log()?.change();
        row.member_count += 1;
        let visible = profile(row)?.history_visible;
        let first_seq = if visible { Seq(1) } else { seq };
        let mut member = Member::active(self.act.group, user, Role::Member, first_seq);
        // What was said before they came is there to be read, not to be caught up with.
        member.read_seq = seq;
        if let Some(before) = self.members.get(&user) {
            // Leaving does not end a mute.
            member.muted_until = before.muted_until;
        }
        self.put(tx, member).await
    }

    /// Takes a place away from an active member, whose last event is `seq`.
    pub(super) async fn dismiss(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        state: MemberState,
        seq: Seq,
    ) -> Result<(), Refusal> {
        let row = self.log()?.change();
        row.member_count = row.member_count.saturating_sub(1);
        let Some(mut member) = self.members.get(&user).cloned() else {
            return Err(Refusal::Moved);
        };
        member.state = state;
        member.role = Role::Member;
        member.until_seq = Some(seq);
        self.put(tx, member).await
    }

    /// Gives somebody who is not an active member another state; what they may read stays as it was.
    pub(super) async fn set_outside(
        &mut self,
        tx: &mut dyn Transaction,
        user: UserId,
        state: MemberState,
    ) -> Result<(), Refusal> {
        let group = self.act.group;
        let mut member = self.members.get(&user).cloned().unwrap_or_else(|| Member {
            first_seq: Seq::ZERO,
            ..Member::active(group, user, Role::Member, Seq::ZERO)
        });
        member.state = state;
        self.put(tx, member).await
    }

    pub(super) async fn put(&mut self, tx: &mut dyn Transaction, member: Member) -> Result<(), Refusal> {
        tx.put_member(&member).await?;
        self.members.insert(member.user, member);
        Ok(())
    }

    /// Writes it all.
    pub(super) async fn leave(self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let (names_free, events) = self.logs.write(tx, intents).await?;
        if !names_free {
            return Err(name_taken().into());
        }
        Ok(events)
    }
}

/// How full things may become.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Limits {
    pub(in crate::engine) group_members: u32,
    pub(in crate::engine) groups_per_user: u32,
}

/// What a group is.
pub(super) fn profile(row: &Conversation) -> Result<&GroupProfile, Refusal> {
    let profile = row.group.as_ref();
    profile.ok_or_else(|| StoreError::Corrupt(format!("group {} has no profile", row.id)).into())
}
