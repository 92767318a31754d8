//! What commands do around their units of work: limits before, deliveries and closed sessions after.

use super::account::{ChangePassword, Logout, PasswordRecord, RevokeDevice};
use super::breaker::Scope;
use super::contact::SetBlocked;
use super::core::Core;
use super::error::CommandError;
use super::group::{Act, CreateGroup, GroupWish, Limits};
use super::logins::no_entropy;
use super::message::fingerprint;
use super::operation::Operation;
use super::policy::{self, GroupAct, Place};
use crate::auth::{DeviceToken, Password, SessionToken};
use crate::codec::body;
use crate::model::{
    Caller, CloseCode, ConversationId, ConversationKind, ConversationRef, DeviceId, Event, EventBody, EventKind,
    GroupProfile, Outcome, Page, PageFrom, Push, ReplyCode, Secret, SessionTokens, UserId, UserRef,
};
use crate::router::SessionSelector;

/// Tells a retry of making a group from another use of its key.
pub(super) fn fingerprint_of(profile: &GroupProfile) -> u64 {
    let wish = EventBody::GroupUpdated {
        name: profile.name.clone(),
        description: profile.description.clone(),
        join_policy: profile.join_policy,
        history_visible: profile.history_visible,
        unlisted: profile.unlisted,
    };
    fingerprint(EventKind::GroupCreated, &body::encode(&wish))
}

impl Core {
    /// Runs a unit of work that yields nothing but events.
    pub(super) async fn act<O>(&self, about: impl Into<Scope>, operation: O) -> Result<Outcome, CommandError>
    where
        O: Operation<Output = Vec<Event>> + Clone,
    {
        let events = self.run(about, operation).await?;
        self.publish(events);
        Ok(Outcome::Done)
    }

    pub(super) fn group_limits(&self) -> Limits {
        Limits {
            group_members: self.config.max_group_members,
            groups_per_user: self.config.max_groups_per_user,
        }
    }

    pub(super) async fn conversation_outcome(&self, act: Act) -> Result<Outcome, CommandError> {
        let info = self
            .get_conversation(act.caller, &ConversationRef::Id(act.group))
            .await?;
        Ok(Outcome::Conversation(Box::new(info)))
    }

    pub(super) async fn logout(&self, caller: Caller) -> Result<Outcome, CommandError> {
        let done = self.run(caller, Logout { caller }).await;
        self.end_sessions(
            caller.user,
            SessionSelector::Device(caller.device),
            CloseCode::LoggedOut,
            done,
        )?;
        Ok(Outcome::Done)
    }

    pub(super) async fn change_password(
        &self,
        caller: Caller,
        old: Secret,
        new: Secret,
    ) -> Result<Outcome, CommandError> {
        let Some(passwords) = self.authenticator.passwords() else {
            return Err(CommandError::new(
                ReplyCode::RefusedByPolicy,
                "passwords are not kept by this server",
            ));
        };
        let new = Password::new(new)?;
        let account = self.account(&UserRef::Id(caller.user)).await?;
        let Some(compared) = passwords.confirm(&account, caller.device, old).await? else {
            // This is also what the retry of a change that was committed is told.
            self.doubts.look_once(self, caller.user, CloseCode::Revoked);
            return Err(CommandError::bad_credentials());
        };
        let new = passwords.hash(new).await?;
        let session_token = SessionToken::generate().map_err(no_entropy)?;
        let device_token = DeviceToken::generate().map_err(no_entropy)?;
        let change = ChangePassword {
            caller,
            compared: PasswordRecord(compared),
            new: PasswordRecord(new),
            session_token: session_token.hash(),
            device_token: device_token.hash(),
        };
        let done = self.run(caller, change).await;
        let renewed = self.end_sessions(
            caller.user,
            SessionSelector::AllExcept(caller.device),
            CloseCode::Revoked,
            done,
        )?;
        if !renewed {
            return Ok(Outcome::Done);
        }
        let tokens = SessionTokens::new(session_token.to_secret(), device_token.to_secret());
        Ok(Outcome::PasswordChanged(tokens))
    }

    pub(super) async fn revoke_device(&self, caller: Caller, device: DeviceId) -> Result<Outcome, CommandError> {
        let done = self.run(caller, RevokeDevice { caller, device }).await;
        self.end_sessions(caller.user, SessionSelector::Device(device), CloseCode::Revoked, done)?;
        Ok(Outcome::Done)
    }

    pub(super) async fn set_blocked(
        &self,
        caller: Caller,
        user: &UserRef,
        blocked: bool,
    ) -> Result<Outcome, CommandError> {
        let peer = self.user_id(user).await?;
        let now = self.now();
        let change = SetBlocked {
            caller,
            peer,
            blocked,
            now,
        };
        self.act(caller, change).await
    }

    /// After a request or an answer: if the two have become friends, each learns whether the other is there.
    pub(super) fn befriended(&self, user: UserId, peer: UserId, events: Vec<Event>) -> Result<Outcome, CommandError> {
        let accepted = events.iter().any(|event| {
            event.kind == EventKind::FriendAnswered
                && matches!(
                    body::decode(event.kind, &event.body),
                    Ok(EventBody::FriendAnswered { accepted: true, .. })
                )
        });
        self.publish(events);
        if accepted {
            for (user, friend) in [(user, peer), (peer, user)] {
                let sessions = self.router.local_sessions(user);
                if let Some(state) = sessions.into_iter().map(|(_, state)| state).max() {
                    self.router.notify_user(friend, &Push::Presence { user, state }, None);
                }
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn create_group(&self, caller: Caller, wish: GroupWish) -> Result<Outcome, CommandError> {
        self.limits.group_creations.charge(caller.user)?;
        let create = CreateGroup {
            caller,
            wish,
            limits: self.group_limits(),
            now: self.now(),
        };
        let created = self.run_idempotent(caller, create, self.deadline(), &mut false).await;
        if created.as_ref().map_or(true, |(_, events)| events.is_empty()) {
            self.limits.group_creations.take_back(caller.user);
        }
        let (group, events) = created?;
        self.publish(events);
        let act = Act {
            caller,
            group,
            now: self.now(),
        };
        self.conversation_outcome(act).await
    }

    /// Who invited the caller to a group, as far as the latest of their inbox says.
    pub(super) async fn inviter(&self, caller: Caller, group: ConversationId) -> Result<Option<UserId>, CommandError> {
        let kind = ConversationKind::Inbox { owner: caller.user };
        let Some(inbox) = self.read(self.store.conversation_of_kind(&kind)).await? else {
            return Ok(None);
        };
        let page = Page {
            from: PageFrom::Newest,
            max_events: self.config.max_page_events,
            max_bytes: self.config.max_page_bytes,
        };
        let page = self.read(self.store.events_for(caller.user, inbox, page)).await?;
        let events = page.map(|page| page.events).unwrap_or_default();
        let invitations = events
            .iter()
            .rev()
            .filter(|event| event.kind == EventKind::GroupInvited);
        let inviters = invitations.filter_map(|event| match body::decode(event.kind, &event.body) {
            Ok(EventBody::GroupInvited { group: to, by, .. }) if to == group => Some(by),
            _ => None,
        });
        Ok({ inviters }.next())
    }

    pub(super) async fn typing(
        &self,
        caller: Caller,
        conversation: ConversationId,
        stopped: bool,
    ) -> Result<Outcome, CommandError> {
        let head = self
            .read(self.store.membership(caller.user, caller.device, conversation))
            .await?;
        let head = head.ok_or_else(CommandError::not_found)?;
        let push = Push::Typing {
            conversation,
            user: caller.user,
            stopped,
        };
        match (&head.conversation.kind, &head.conversation.group, &head.peer) {
            (ConversationKind::Group, Some(profile), _) => {
                policy::group(GroupAct::Signal, Place::of(Some(&head.member), self.now()), profile)?;
                if head.conversation.member_count <= self.config.max_typing_members && !head.conversation.closed {
                    self.router.notify_conversation(conversation, &push, Some(caller));
                }
            }
            (ConversationKind::Direct { .. }, _, Some(peer)) => {
                if !self.may_signal(caller.user, peer.user).await {
                    return Err(CommandError::forbidden());
                }
                self.router.notify_user(peer.user, &push, None);
            }
            _ => {}
        }
        Ok(Outcome::Done)
    }
}
