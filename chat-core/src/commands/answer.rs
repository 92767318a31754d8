//! Typed results of commands, extracted from their outcomes.

use crate::model::{
    Appended, ContactPage, ConversationInfo, ConversationPage, DeviceInfo, GroupInfo, HistoryPage, MemberPage, Outcome,
    SessionTokens, UserInfo,
};

/// Error of an outcome that has the wrong type, or of a page of a list that names itself or an
/// earlier page as the next one. Only a defective server returns these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer does not fit the command; expected {expected}")]
pub struct UnexpectedOutcome {
    /// Description of the expected outcome, such as "a user".
    expected: &'static str,
}

/// Returns the error for a page of a list that names itself or an earlier page as the next one.
pub(super) const fn repeated_page() -> UnexpectedOutcome {
    UnexpectedOutcome {
        expected: "a later page as the next one",
    }
}

/// Result of [`Commands::join_group`](super::Commands::join_group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// The user is a member. Contains the group as the user sees it.
    Member(Box<ConversationInfo>),
    /// The user has asked to join, and waits for an admin's answer.
    Requested,
}

/// Awaits the outcome of a command and extracts the result.
async fn extract<T, E: From<UnexpectedOutcome>>(
    answer: impl Future<Output = Result<Outcome, E>>,
    expected: &'static str,
    take: impl FnOnce(Outcome) -> Option<T>,
) -> Result<T, E> {
    take(answer.await?).ok_or_else(|| UnexpectedOutcome { expected }.into())
}

/// Defines functions that await an outcome and return its typed result.
macro_rules! results {
    ($(fn $name:ident() -> $result:ty = $expected:literal { $($outcome:pat => $value:expr,)+ })*) => {$(
        pub(super) async fn $name<E: From<UnexpectedOutcome>>(
            answer: impl Future<Output = Result<Outcome, E>>,
        ) -> Result<$result, E> {
            extract(answer, $expected, |outcome| match outcome {
                $($outcome => Some($value),)+
                _ => None,
            })
            .await
        }
    )*};
}

results! {
    fn done() -> () = "no result" { Outcome::Done => (), }
    fn tokens() -> Option<SessionTokens> = "tokens or no result" {
        Outcome::PasswordChanged(tokens) => Some(tokens),
        Outcome::Done => None,
    }
    fn devices() -> Vec<DeviceInfo> = "devices" { Outcome::Devices(devices) => devices, }
    fn user() -> UserInfo = "a user" { Outcome::User(user) => user, }
    fn users() -> Vec<UserInfo> = "users" { Outcome::Users(users) => users, }
    fn contacts() -> ContactPage = "contacts" { Outcome::Contacts(page) => page, }
    fn groups() -> Vec<GroupInfo> = "groups" { Outcome::Groups(groups) => groups, }
    fn joined() -> JoinOutcome = "a conversation or no result" {
        Outcome::Conversation(info) => JoinOutcome::Member(info),
        Outcome::Done => JoinOutcome::Requested,
    }
    fn members() -> MemberPage = "members" { Outcome::Members(page) => page, }
    fn appended() -> Appended = "an appended event" { Outcome::Appended(appended) => appended, }
    fn conversation() -> ConversationInfo = "a conversation" { Outcome::Conversation(info) => *info, }
    fn conversations() -> ConversationPage = "conversations" { Outcome::Conversations(page) => page, }
    fn history() -> HistoryPage = "a page of history" { Outcome::History(page) => page, }
}
