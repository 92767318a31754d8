//! Units of work on relations between users: friend requests, friendships and blocks.

mod answer;
mod block;
mod end;
mod pair;
mod request;

pub(in crate::engine) use answer::AnswerFriend;
pub(in crate::engine) use block::SetBlocked;
pub(in crate::engine) use end::RemoveFriend;
pub(in crate::engine) use pair::{Relation, inbox_of};
pub(in crate::engine) use request::{RequestFriend, accepts_request};
