//! Becoming a member by one's own will.

use async_trait::async_trait;

use super::{Act, Limits};
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::policy::{GroupAct, Place};
use crate::model::{Event, EventBody, MemberState, Note, Role, UserId};
use crate::store::Transaction;

/// Joins, asks to join, or accepts an invitation, whichever the group's policy and the caller's place ask for.
#[derive(Clone, Debug)]
pub(in crate::engine) struct JoinGroup {
    pub(in crate::engine) act: Act,
    pub(in crate::engine) note: Note,
    /// Whether joining seems to take an admin's answer: then the admins' inboxes are locked together with the group.
    pub(in crate::engine) by_approval: bool,
    pub(in crate::engine) limits: Limits,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Joined {
    /// The caller is a member.
    Member,
    /// An admin will answer.
    Asked,
}

#[async_trait]
impl Operation for JoinGroup {
    type Output = (Joined, Vec<Event>);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Refusal> {
        let me = self.act.caller.user;
        let admins = if self.by_approval {
            tx.members_with_role(self.act.group, Role::Admin).await?
        } else {
            Vec::new()
        };
        let admins: Vec<UserId> = admins.into_iter().map(|admin| admin.user).collect();
        let mut room = self.act.enter(tx, &[], &admins).await?;
        let place = room.place(me);
        if place.is_inside() && !room.row()?.closed {
            return Ok((Joined::Member, Vec::new()));
        }
        let refused = match room.check(GroupAct::Join) {
            Ok(()) => {
                room.admit(tx, me, None, self.limits).await?;
                return Ok((Joined::Member, room.leave(tx, intents).await?));
            }
            Err(refused) => refused,
        };
        if room.check(GroupAct::AskToJoin).is_err() {
            return Err(refused);
        }
        if place == Place::Requested {
            return Ok((Joined::Asked, Vec::new()));
        }
        if tx.group_count(me).await? >= self.limits.groups_per_user {
            return Err(CommandError::limit("you are in too many groups").into());
        }
        room.set_outside(tx, me, MemberState::Requested).await?;
        let group_name = room.profile()?.name;
        for admin in tx.members_with_role(self.act.group, Role::Admin).await? {
            let body = EventBody::JoinRequested {
                group: self.act.group,
                group_name: group_name.clone(),
                user: me,
                note: self.note.as_str().to_owned(),
            };
            room.notify(admin.user, &body)?;
        }
        Ok((Joined::Asked, room.leave(tx, intents).await?))
    }
}
