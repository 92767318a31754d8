//! Units of work on groups.

mod answer;
mod create;
mod delete;
mod invite;
mod join;
mod kick;
mod leave;
mod limits;
mod locked;
mod mute;
mod roles;
mod update;

pub(in crate::engine) use answer::AnswerJoin;
pub(in crate::engine) use create::CreateGroup;
pub(in crate::engine) use delete::DeleteGroup;
pub(in crate::engine) use invite::{DeclineInvitation, InviteMember};
pub(in crate::engine) use join::{JoinGroup, Joined};
pub(in crate::engine) use kick::{KickMember, UnbanMember};
pub(in crate::engine) use leave::LeaveGroup;
pub(in crate::engine) use limits::GroupLimits;
pub(in crate::engine) use locked::GroupChangeContext;
pub(in crate::engine) use mute::MuteMember;
pub(in crate::engine) use roles::{SetRole, TransferOwnership};
pub(in crate::engine) use update::UpdateGroup;
