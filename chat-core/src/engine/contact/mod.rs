//! Relations between users: requests, friendships, blocks.

mod answer;
mod block;
mod pair;
mod remove;
mod request;

pub(super) use answer::AnswerFriend;
pub(super) use block::SetBlocked;
pub(super) use pair::{Standing, inbox_of};
pub(super) use remove::RemoveFriend;
pub(super) use request::RequestFriend;
