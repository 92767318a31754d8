//! Typed calls: methods for every [`Command`], with typed arguments and results.
//!
//! [`Commands`] is implemented by everything that acts for a user: a remote
//! [`Client`](crate::client::Client), a [`LocalSession`](crate::engine::LocalSession) of an engine
//! in this process, [`ActingAs`](crate::engine::ActingAs), by which an application that has no
//! session acts for a user, and [`OperatorActingAs`](crate::engine::operator::OperatorActingAs), by
//! which an operator acts for a user with a record in the audit log. Code that is generic over
//! `impl Commands` runs unchanged on each.
//!
//! ```
//! use chat_core::commands::Commands;
//! use chat_core::model::{GroupName, NewGroup, Page};
//!
//! async fn say_hello<C: Commands>(chat: &C) -> Result<(), Box<dyn std::error::Error>> {
//!     let group = chat.create_group(NewGroup::new(GroupName::parse("rust")?)).await?;
//!     chat.send_text(group.id, "hello").await?;
//!     let page = chat.history(group.id, Page::newest(50)).await?;
//!     assert_eq!(page.last_seq, page.events.last().expect("the message").event.seq);
//!     Ok(())
//! }
//! ```

mod answer;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Duration;

pub use answer::{JoinOutcome, UnexpectedOutcome};

use crate::model::{
    Appended, ClientMessageId, Command, ContactInfo, ContactPage, ConversationId, ConversationInfo, ConversationPage,
    ConversationQuery, ConversationRef, DeviceId, DeviceInfo, Draft, Emoji, GroupChanges, GroupInfo, HistoryPage,
    MemberPage, MessageText, NewGroup, Note, Outcome, Page, PresenceState, ProfileChanges, Role, Secret, Seq,
    SessionTokens, TextError, UserId, UserInfo, UserRef,
};

/// Calls that a user can make, with typed arguments and results. Where a method says “for admins”,
/// the owner of the group may call it too.
///
/// Unless an implementation overrides it, every method except
/// [`new_message_id`](Self::new_message_id), [`contacts`](Self::contacts),
/// [`conversations`](Self::conversations) and [`conversations_from`](Self::conversations_from) runs
/// one [`Command`] with [`execute`](Self::execute). The method calls `execute` before it returns
/// its future, so that the order that an implementation guarantees for calls of `execute` holds for
/// these methods too.
///
/// A `limit`, and the `max_events` of a [`Page`], should be at least 1: an engine in this process
/// counts 0 as 1, and a remote server replaces it by a default. An engine lowers a number above its
/// maximum (`EngineConfig::max_list_length`, or `max_page_events`); a remote server refuses a
/// number above 50 in a search, and above 500 elsewhere.
///
/// # Errors
/// Methods that run commands fail as `execute` fails, and with an [`UnexpectedOutcome`] converted
/// to [`Error`](Self::Error).
///
/// # Cancel safety
/// If a future is dropped, the command may or may not take effect.
pub trait Commands: Sync {
    /// Error of a failed command.
    type Error: std::error::Error + Send + Sync + From<UnexpectedOutcome> + From<TextError> + 'static;

    /// Runs a command.
    ///
    /// # Errors
    /// The command was refused or could not be submitted, or its outcome is unknown.
    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Returns a fresh idempotency key for one message of this user.
    fn new_message_id(&self) -> ClientMessageId {
        ClientMessageId::random()
    }

    // Account and devices

    /// Ends the session and invalidates its token. A client keeps its token until the server has
    /// answered, because it needs the token to repeat a logout whose answer was lost.
    fn logout(&self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::Logout))
    }

    /// Changes the user's password and ends the user's other sessions. Returns the new tokens of
    /// this device, or `None` if this device has no tokens, because its session was started without
    /// credentials.
    fn change_password(
        &self,
        old: Secret,
        new: Secret,
    ) -> impl Future<Output = Result<Option<SessionTokens>, Self::Error>> + Send {
        answer::tokens(self.execute(Command::ChangePassword { old, new }))
    }

    /// Returns the user's devices.
    fn devices(&self) -> impl Future<Output = Result<Vec<DeviceInfo>, Self::Error>> + Send {
        answer::devices(self.execute(Command::ListDevices))
    }

    /// Revokes a device of the user: ends its session and deletes the device.
    fn revoke_device(&self, device: DeviceId) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::RevokeDevice(device)))
    }

    /// Changes the user's profile. Returns the changed profile.
    fn update_profile(&self, changes: ProfileChanges) -> impl Future<Output = Result<UserInfo, Self::Error>> + Send {
        answer::user(self.execute(Command::UpdateProfile(changes)))
    }

    /// Sets the presence of the session to online or idle.
    fn set_presence(&self, presence: PresenceState) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::SetPresence(presence)))
    }

    // Users and contacts

    /// Returns at most `limit` users whose id is `query` or whose name begins with it. Disabled
    /// users are left out.
    fn search_users(
        &self,
        query: impl Into<String>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<UserInfo>, Self::Error>> + Send {
        let query = query.into();
        answer::users(self.execute(Command::SearchUsers { query, limit }))
    }

    /// Returns the profiles of those of `users`, at most 200, that exist. A deleted user, who is
    /// found only by id, has the name `deleted user`.
    fn users(
        &self,
        users: impl IntoIterator<Item = UserRef>,
    ) -> impl Future<Output = Result<Vec<UserInfo>, Self::Error>> + Send {
        answer::users(self.execute(Command::GetUsers(users.into_iter().collect())))
    }

    /// Sends a friend request to `user`, or accepts the request of `user`.
    fn request_friend(
        &self,
        user: impl Into<UserRef>,
        note: Note,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let user = user.into();
        answer::done(self.execute(Command::RequestFriend { user, note }))
    }

    /// Accepts or declines the friend request of `user`.
    fn answer_friend(
        &self,
        user: impl Into<UserRef>,
        accept: bool,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let user = user.into();
        answer::done(self.execute(Command::AnswerFriend { user, accept }))
    }

    /// Ends the friendship with `user`, or withdraws the friend request to `user`.
    fn remove_friend(&self, user: impl Into<UserRef>) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::RemoveFriend(user.into())))
    }

    /// Blocks `user`: ends a friendship with `user`, discards open friend requests between the two,
    /// and from then on hides friend requests and invitations of `user`, and refuses direct
    /// messages between the two.
    fn block(&self, user: impl Into<UserRef>) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::Block(user.into())))
    }

    /// Unblocks `user`.
    fn unblock(&self, user: impl Into<UserRef>) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::Unblock(user.into())))
    }

    /// Returns all contacts of the user (friends, friend requests and blocked users) in the order
    /// of their ids, with the presence of friends. Runs one command for each page of the list.
    fn contacts(&self) -> impl Future<Output = Result<Vec<ContactInfo>, Self::Error>> + Send {
        let mut after = UserId(0);
        let mut next_page = Box::pin(self.contact_page(after, ContactPage::MAX_LIMIT));
        async move {
            let mut all = Vec::new();
            loop {
                let page = next_page.as_mut().await?;
                let last = page.contacts.last().map(|contact| contact.user.id);
                all.extend(page.contacts);
                if !page.has_more {
                    break;
                }
                after = match last {
                    Some(last) if last > after => last,
                    _ => return Err(answer::repeated_page().into()),
                };
                next_page = Box::pin(self.contact_page(after, ContactPage::MAX_LIMIT));
            }
            Ok(all)
        }
    }

    /// Returns at most `limit` contacts of the user whose ids are greater than `after`, in the
    /// order of their ids. The first page begins after `UserId(0)`.
    fn contact_page(&self, after: UserId, limit: u32) -> impl Future<Output = Result<ContactPage, Self::Error>> + Send {
        answer::contacts(self.execute(Command::ListContacts { after, limit }))
    }

    // Groups

    /// Creates a group that the user owns. A retry with the same [`NewGroup`] returns the group
    /// that was created.
    fn create_group(&self, group: NewGroup) -> impl Future<Output = Result<ConversationInfo, Self::Error>> + Send {
        answer::conversation(self.execute(Command::CreateGroup(group)))
    }

    /// Returns at most `limit` groups whose id is `query` or whose name begins with it. Unlisted
    /// groups are not found by name, and by id only by their members and users who are invited or
    /// have asked to join.
    fn search_groups(
        &self,
        query: impl Into<String>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<GroupInfo>, Self::Error>> + Send {
        let query = query.into();
        answer::groups(self.execute(Command::SearchGroups { query, limit }))
    }

    /// Accepts an invitation to a group if the user has one. Otherwise joins the group or asks to
    /// join it, as the group's [`JoinPolicy`](crate::model::JoinPolicy) allows.
    fn join_group(
        &self,
        group: impl Into<ConversationRef>,
        note: Note,
    ) -> impl Future<Output = Result<JoinOutcome, Self::Error>> + Send {
        let group = group.into();
        answer::joined(self.execute(Command::JoinGroup { group, note }))
    }

    /// Accepts or declines the request of `user` to join a group. For admins.
    fn answer_join(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
        accept: bool,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let (group, user) = (group.into(), user.into());
        answer::done(self.execute(Command::AnswerJoin { group, user, accept }))
    }

    /// Invites `user` to a group, or admits `user` if `user` has asked to join; see
    /// [`Command::InviteMember`].
    fn invite_member(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let (group, user) = (group.into(), user.into());
        answer::done(self.execute(Command::InviteMember { group, user }))
    }

    /// Declines an invitation to a group.
    fn decline_invitation(
        &self,
        group: impl Into<ConversationRef>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::DeclineInvitation(group.into())))
    }

    /// Leaves a group, or withdraws from joining it; see [`Command::LeaveGroup`].
    fn leave_group(&self, group: impl Into<ConversationRef>) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::LeaveGroup(group.into())))
    }

    /// Deletes a group for all its members. For the owner.
    fn delete_group(&self, group: impl Into<ConversationRef>) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::DeleteGroup(group.into())))
    }

    /// Removes a member from a group, withdraws a user's invitation, or refuses a user's request to
    /// join. With `ban`, the user cannot join until [unbanned](Self::unban_member). For admins;
    /// only the owner can remove an admin.
    fn kick_member(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
        ban: bool,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let (group, user) = (group.into(), user.into());
        answer::done(self.execute(Command::KickMember { group, user, ban }))
    }

    /// Ends the ban of a user, who may then join the group again. For admins.
    fn unban_member(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let (group, user) = (group.into(), user.into());
        answer::done(self.execute(Command::UnbanMember { group, user }))
    }

    /// Mutes a member who is neither an admin nor the owner, from now on for `duration`, which is
    /// rounded up to milliseconds; a duration of zero unmutes the member. For admins.
    fn mute_member(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
        duration: Duration,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        // Rounded up, because zero would unmute the member.
        let millis = duration.as_nanos().div_ceil(1_000_000);
        answer::done(self.execute(Command::MuteMember {
            group: group.into(),
            user: user.into(),
            duration_ms: u64::try_from(millis).unwrap_or(u64::MAX),
        }))
    }

    /// Makes a member an admin, or an admin a member. For the owner.
    fn set_role(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
        role: Role,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let (group, user) = (group.into(), user.into());
        answer::done(self.execute(Command::SetRole { group, user, role }))
    }

    /// Makes another member the owner of a group. For the owner.
    fn transfer_ownership(
        &self,
        group: impl Into<ConversationRef>,
        user: impl Into<UserRef>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let (group, user) = (group.into(), user.into());
        answer::done(self.execute(Command::TransferOwnership { group, user }))
    }

    /// Changes the name, the description or the policies of a group. For admins.
    fn update_group(
        &self,
        group: impl Into<ConversationRef>,
        changes: GroupChanges,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let group = group.into();
        answer::done(self.execute(Command::UpdateGroup { group, changes }))
    }

    /// Returns at most `limit` members of a group whose ids are greater than `after`, in the order
    /// of their ids. The first page begins after `UserId(0)`. Admins and the owner also get the
    /// users who are invited, have asked to join, or are banned.
    fn members(
        &self,
        group: impl Into<ConversationRef>,
        after: UserId,
        limit: u32,
    ) -> impl Future<Output = Result<MemberPage, Self::Error>> + Send {
        let group = group.into();
        answer::members(self.execute(Command::ListMembers { group, after, limit }))
    }

    // Messages

    /// Appends a draft to a conversation. It is durable once the future returns `Ok`. After an
    /// error, sending the same draft again is safe: it is stored at most once.
    fn send(
        &self,
        conversation: impl Into<ConversationRef>,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send {
        let conversation = conversation.into();
        answer::appended(self.execute(Command::Send { conversation, draft }))
    }

    /// Sends a text message; see [`send`](Self::send).
    ///
    /// # Errors
    /// Also [`TextError`], converted: the text is empty, too long or contains NUL. No command was
    /// executed.
    fn send_text(
        &self,
        conversation: impl Into<ConversationRef>,
        text: &str,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send {
        let sent = MessageText::new(text).map(|text| {
            let draft = Draft::text(text).with_id(self.new_message_id());
            self.send(conversation, draft)
        });
        async move { sent?.await }
    }

    /// Replaces the text of the user's message at `target`, until the message is too old; see
    /// [`send`](Self::send).
    fn edit(
        &self,
        conversation: impl Into<ConversationRef>,
        target: Seq,
        text: MessageText,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send {
        self.send(conversation, Draft::edit(target, text).with_id(self.new_message_id()))
    }

    /// Recalls the message at `target`, so that its text is erased; see [`send`](Self::send). Users
    /// can recall their own messages until these are too old. Admins of a group can also recall the
    /// messages of others at any time, except those of the owner.
    fn recall(
        &self,
        conversation: impl Into<ConversationRef>,
        target: Seq,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send {
        self.send(conversation, Draft::recall(target).with_id(self.new_message_id()))
    }

    /// Adds a reaction to the message at `target`; see [`send`](Self::send).
    fn react(
        &self,
        conversation: impl Into<ConversationRef>,
        target: Seq,
        emoji: Emoji,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send {
        self.send(conversation, Draft::react(target, emoji).with_id(self.new_message_id()))
    }

    /// Removes the user's reaction from the message at `target`; see [`send`](Self::send).
    fn unreact(
        &self,
        conversation: impl Into<ConversationRef>,
        target: Seq,
        emoji: Emoji,
    ) -> impl Future<Output = Result<Appended, Self::Error>> + Send {
        self.send(
            conversation,
            Draft::unreact(target, emoji).with_id(self.new_message_id()),
        )
    }

    // Conversations

    /// Returns all conversations of the user, the one with the newest event first, without the
    /// descriptions of groups. Leaves out those that have ended and that the device has
    /// acknowledged to their end. Runs one command for each page of the list.
    fn conversations(&self) -> impl Future<Output = Result<Vec<ConversationInfo>, Self::Error>> + Send {
        self.conversations_from(ConversationQuery {
            limit: ConversationQuery::MAX_LIMIT,
            ..ConversationQuery::default()
        })
    }

    /// Returns all conversations of the page that `query` asks for and of the pages that follow it,
    /// the one with the newest event first. Runs one command for each page.
    fn conversations_from(
        &self,
        mut query: ConversationQuery,
    ) -> impl Future<Output = Result<Vec<ConversationInfo>, Self::Error>> + Send {
        let mut next_page = Box::pin(self.conversation_page(query));
        async move {
            let mut all = Vec::new();
            loop {
                let page = next_page.as_mut().await?;
                all.extend(page.conversations);
                let Some(after) = page.next else { break };
                if after <= query.after {
                    return Err(answer::repeated_page().into());
                }
                query.after = after;
                next_page = Box::pin(self.conversation_page(query));
            }
            all.sort_by_key(|info| (Reverse(info.last_time), info.id));
            Ok(all)
        }
    }

    /// Returns a page of the user's conversations. The pages follow each other in the order of the
    /// ids; in a page, the conversation with the newest event is the first.
    fn conversation_page(
        &self,
        query: ConversationQuery,
    ) -> impl Future<Output = Result<ConversationPage, Self::Error>> + Send {
        answer::conversations(self.execute(Command::ListConversations(query)))
    }

    /// Returns one conversation of the user.
    fn conversation(
        &self,
        conversation: impl Into<ConversationRef>,
    ) -> impl Future<Output = Result<ConversationInfo, Self::Error>> + Send {
        answer::conversation(self.execute(Command::GetConversation(conversation.into())))
    }

    /// Reads a page of a conversation's log.
    fn history(
        &self,
        conversation: impl Into<ConversationRef>,
        page: Page,
    ) -> impl Future<Output = Result<HistoryPage, Self::Error>> + Send {
        let conversation = conversation.into();
        answer::history(self.execute(Command::ReadHistory { conversation, page }))
    }

    /// Moves the device's cursor: the application on it has processed every event up to `seq`.
    fn acknowledge(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::Acknowledge { conversation, seq }))
    }

    /// Marks every event up to `seq` as read by the user.
    fn mark_read(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        answer::done(self.execute(Command::MarkRead { conversation, seq }))
    }

    /// Notifies the other members, except in large groups, that the user is typing, or has stopped.
    fn set_typing(
        &self,
        conversation: ConversationId,
        typing: bool,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let stopped = !typing;
        answer::done(self.execute(Command::Typing { conversation, stopped }))
    }
}
