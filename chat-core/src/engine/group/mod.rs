//! Groups: making, joining, leaving, roles.

mod answer;
mod create;
mod delete;
mod invite;
mod join;
mod kick;
mod leave;
mod mute;
mod roles;
mod room;
mod update;

pub(super) use answer::AnswerJoin;
pub(super) use create::{CreateGroup, GroupWish};
pub(super) use delete::DeleteGroup;
pub(super) use invite::{DeclineInvitation, InviteMember};
pub(super) use join::{JoinGroup, Joined};
pub(super) use kick::{KickMember, UnbanMember};
pub(super) use leave::LeaveGroup;
pub(super) use mute::MuteMember;
pub(super) use roles::{SetRole, TransferOwnership};
pub(super) use room::{Act, Limits};
pub(super) use update::UpdateGroup;
