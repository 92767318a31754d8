//! From a command to what does it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::account::{ChangePassword, Logout, PasswordRecord, RevokeDevice, UpdateProfile};
use super::appender::{Job, LaneWork, Work};
use super::contact::{AnswerFriend, RemoveFriend, RequestFriend, SetBlocked};
use super::core::{Core, contain, refused};
use super::error::{CommandError, Refusal};
use super::group::{
    Act, AnswerJoin, CreateGroup, DeclineInvitation, DeleteGroup, GroupChanges, GroupWish, InviteMember, JoinGroup,
    Joined, KickMember, LeaveGroup, Limits, MuteMember, SetRole, TransferOwnership, UnbanMember, UpdateGroup,
};
use super::message::{Prepared, fingerprint};
use super::policy::{self, GroupAct, Place};
use crate::auth::Password;
use crate::codec::body;
use crate::model::{
    Caller, CloseCode, Command, ConversationId, ConversationKind, ConversationRef, Draft, Event, EventBody, EventKind,
    GroupProfile, JoinPolicy, Outcome, Page, PageFrom, PresenceState, Push, ReplyCode, Secret, UserId, UserRef,
};
use crate::router::Which;
use crate::store::Operation;

pub(super) type Answer = BoxFuture<'static, Result<Outcome, CommandError>>;

/// What a job in a lane costs that is not a draft, in bytes.
const OPERATION_COST: usize = 1024;

/// Does what a session asks. Its place in a conversation is fixed when this returns.
pub(super) fn execute(core: &Arc<Core>, caller: Caller, command: Command) -> Answer {
    if core.draining.is_cancelled() {
        return refused(CommandError::shutting_down());
    }
    let shared = Arc::clone(core);
    match command {
        Command::Send { conversation, draft } => send(core, caller, conversation, draft),

        Command::Acknowledge { conversation, seq } => {
            core.cursors.acknowledge(caller, conversation, seq);
            done()
        }
        Command::MarkRead { conversation, seq } => {
            core.cursors.mark_read(caller, conversation, seq);
            done()
        }
        Command::SetStatus(state) => set_status(core, caller, state),
        Command::Typing { conversation, stopped } => {
            look(async move { shared.typing(caller, conversation, stopped).await })
        }

        Command::ListDevices => look(async move { Ok(Outcome::Devices(shared.list_devices(caller).await?)) }),
        Command::SearchUsers { query, limit } => {
            look(async move { Ok(Outcome::Users(shared.search_users(&query, limit).await?)) })
        }
        Command::GetUsers(users) => look(async move { Ok(Outcome::Users(shared.get_users(caller, &users).await?)) }),
        Command::ListContacts => look(async move { Ok(Outcome::Contacts(shared.list_contacts(caller).await?)) }),
        Command::SearchGroups { query, limit } => {
            look(async move { Ok(Outcome::Groups(shared.search_groups(caller, &query, limit).await?)) })
        }
        Command::ListMembers { group, after, limit } => {
            look(async move { shared.list_members(caller, &group, after, limit).await })
        }
        Command::ListConversations => {
            look(async move { Ok(Outcome::Conversations(shared.list_conversations(caller).await?)) })
        }
        Command::GetConversation(conversation) => look(async move {
            let info = shared.get_conversation(caller, &conversation).await?;
            Ok(Outcome::Conversation(Box::new(info)))
        }),
        Command::ReadHistory { conversation, page } => look(async move {
            Ok(Outcome::History(
                shared.read_history(caller, &conversation, page).await?,
            ))
        }),

        Command::Logout => core.begin(async move { shared.logout(caller).await }),
        Command::ChangePassword { old, new } => {
            core.begin(async move { shared.change_password(caller, old, new).await })
        }
        Command::RevokeDevice(device) => core.begin(async move {
            shared.run(RevokeDevice { caller, device }).await?;
            shared
                .router
                .close_sessions(caller.user, Which::Device(device), CloseCode::Revoked);
            Ok(Outcome::Done)
        }),
        Command::UpdateProfile {
            display_name,
            direct_policy,
        } => core.begin(async move {
            let change = UpdateProfile {
                caller,
                display_name,
                direct_policy,
            };
            Ok(Outcome::User(shared.run(change).await?))
        }),

        Command::RequestFriend { user, note } => core.begin(async move {
            let peer = shared.user_id(&user).await?;
            let allowed = shared.limits.friend_requests.charge(caller.user);
            let charged = allowed.is_ok();
            let request = RequestFriend {
                caller,
                peer,
                note,
                allowed,
                open_per_day: shared.config.friend_requests.count,
                now: shared.now(),
            };
            let asked = shared.run(request).await;
            if charged && !matches!(&asked, Ok((_, true))) {
                shared.limits.friend_requests.take_back(caller.user);
            }
            shared.befriended(caller.user, peer, asked?.0)
        }),
        Command::AnswerFriend { user, accept } => core.begin(async move {
            let peer = shared.user_id(&user).await?;
            let now = shared.now();
            let answer = AnswerFriend {
                caller,
                peer,
                accept,
                now,
            };
            let events = shared.run(answer).await?;
            shared.befriended(caller.user, peer, events)
        }),
        Command::RemoveFriend(user) => core.begin(async move {
            let peer = shared.user_id(&user).await?;
            let now = shared.now();
            shared.act(RemoveFriend { caller, peer, now }).await
        }),
        Command::Block(user) => core.begin(async move { shared.set_blocked(caller, &user, true).await }),
        Command::Unblock(user) => core.begin(async move { shared.set_blocked(caller, &user, false).await }),

        Command::CreateGroup {
            client_message_id,
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let profile = GroupProfile {
                name: name.key(),
                skeleton: name.skeleton().as_str().to_owned(),
                description: description.as_str().to_owned(),
                join_policy,
                history_visible,
                unlisted,
            };
            let wish = GroupWish {
                client_message_id,
                fingerprint: fingerprint_of(&profile),
                profile,
            };
            core.begin(async move { shared.create_group(caller, wish).await })
        }
        Command::JoinGroup { group, note } => in_lane(core, caller, group, move |core, act| async move {
            let row = core.read(core.store.conversation(act.group)).await?;
            let policy = row.and_then(|row| row.group).map(|group| group.join_policy);
            let limits = core.group_limits();
            let by_approval = policy == Some(JoinPolicy::Approval);
            let join = JoinGroup {
                act,
                note,
                by_approval,
                limits,
            };
            let (joined, events) = core.run(join).await?;
            core.publish(events);
            match joined {
                Joined::Member => core.conversation_outcome(act).await,
                Joined::Asked => Ok(Outcome::Done),
            }
        }),
        Command::AnswerJoin { group, user, accept } => {
            on_member(core, caller, group, user, move |core, act, user| AnswerJoin {
                act,
                user,
                accept,
                limits: core.group_limits(),
            })
        }
        Command::InviteMember { group, user } => in_lane(core, caller, group, move |core, act| async move {
            let user = core.user_id(&user).await?;
            core.limits.invitations.charge(caller.user)?;
            let limits = core.group_limits();
            let invited = core.act(InviteMember { act, user, limits }).await;
            invited.inspect_err(|_| core.limits.invitations.take_back(caller.user))
        }),
        Command::DeclineInvitation(group) => in_lane(core, caller, group, move |core, act| async move {
            let inviter = core.inviter(caller, act.group).await?;
            core.act(DeclineInvitation { act, inviter }).await
        }),
        Command::LeaveGroup(group) => in_lane(core, caller, group, |core, act| async move {
            core.act(LeaveGroup { act }).await
        }),
        Command::DeleteGroup(group) => in_lane(core, caller, group, |core, act| async move {
            core.act(DeleteGroup { act }).await
        }),
        Command::KickMember { group, user, ban } => on_member(core, caller, group, user, move |_, act, user| {
            KickMember { act, user, ban }
        }),
        Command::UnbanMember { group, user } => {
            on_member(core, caller, group, user, |_, act, user| UnbanMember { act, user })
        }
        Command::MuteMember {
            group,
            user,
            duration_ms,
        } => on_member(core, caller, group, user, move |_, act, user| MuteMember {
            act,
            user,
            duration_ms,
        }),
        Command::SetRole { group, user, role } => on_member(core, caller, group, user, move |_, act, user| SetRole {
            act,
            user,
            role,
        }),
        Command::TransferOwnership { group, user } => on_member(core, caller, group, user, |_, act, user| {
            TransferOwnership { act, user }
        }),
        Command::UpdateGroup {
            group,
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let changes = GroupChanges {
                name,
                description,
                join_policy,
                history_visible,
                unlisted,
            };
            in_lane(core, caller, group, |core, act| async move {
                core.act(UpdateGroup { act, changes }).await
            })
        }
    }
}

fn done() -> Answer {
    Box::pin(std::future::ready(Ok(Outcome::Done)))
}

/// Something that changes nothing: it runs where it is awaited.
fn look(work: impl Future<Output = Result<Outcome, CommandError>> + Send + 'static) -> Answer {
    Box::pin(contain(work))
}

fn send(core: &Arc<Core>, caller: Caller, conversation: ConversationRef, draft: Draft) -> Answer {
    let original = core.hooks.is_some().then(|| draft.clone());
    let prepared = Prepared::new(caller, draft);
    let cost = prepared.cost();
    enqueue(
        core,
        caller,
        conversation,
        Work::Append(Box::new(prepared), original),
        cost,
    )
}

fn enqueue(core: &Arc<Core>, caller: Caller, conversation: ConversationRef, work: Work, cost: usize) -> Answer {
    let charge = match core.appends.charge(cost) {
        Ok(charge) => charge,
        Err(error) => return refused(error),
    };
    let (reply, answer) = oneshot::channel();
    core.appends.push(Job {
        caller,
        conversation,
        work,
        reply,
        deadline: core.deadline(),
        charge,
    });
    Box::pin(async move { answer.await.unwrap_or_else(|_| Err(CommandError::try_again())) })
}

/// Runs a change of a group in its turn.
fn in_lane<F>(
    core: &Arc<Core>,
    caller: Caller,
    group: ConversationRef,
    work: impl FnOnce(Arc<Core>, Act) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
{
    let work: LaneWork = Box::new(move |core, target| {
        if target.kind != ConversationKind::Group {
            return refused(CommandError::not_found());
        }
        let act = Act {
            caller,
            group: target.id,
            now: core.now(),
        };
        Box::pin(work(core, act))
    });
    enqueue(core, caller, group, Work::Other(work), OPERATION_COST)
}

/// The same, for a change that concerns a user.
fn on_member<O>(
    core: &Arc<Core>,
    caller: Caller,
    group: ConversationRef,
    user: UserRef,
    operation: impl FnOnce(&Core, Act, UserId) -> O + Send + 'static,
) -> Answer
where
    O: Operation<Output = Vec<Event>, Refusal = Refusal> + Clone + Sync,
{
    in_lane(core, caller, group, move |core, act| async move {
        let user = core.user_id(&user).await?;
        let operation = operation(&core, act, user);
        core.act(operation).await
    })
}

fn set_status(core: &Core, caller: Caller, state: PresenceState) -> Answer {
    if state == PresenceState::Offline {
        return refused(CommandError::invalid(
            "a session is online or idle; to be offline, end it",
        ));
    }
    core.router.set_presence(caller, state);
    core.presences.changed(caller.user);
    done()
}

/// Tells a retry of making a group from another use of its key.
fn fingerprint_of(profile: &GroupProfile) -> u64 {
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
    async fn act<O>(&self, operation: O) -> Result<Outcome, CommandError>
    where
        O: Operation<Output = Vec<Event>, Refusal = Refusal> + Clone,
    {
        let events = self.run(operation).await?;
        self.publish(events);
        Ok(Outcome::Done)
    }

    fn group_limits(&self) -> Limits {
        Limits {
            group_members: self.config.group_members,
            groups_per_user: self.config.groups_per_user,
        }
    }

    async fn conversation_outcome(&self, act: Act) -> Result<Outcome, CommandError> {
        let info = self
            .get_conversation(act.caller, &ConversationRef::Id(act.group))
            .await?;
        Ok(Outcome::Conversation(Box::new(info)))
    }

    async fn logout(&self, caller: Caller) -> Result<Outcome, CommandError> {
        self.run(Logout { caller }).await?;
        self.router
            .close_sessions(caller.user, Which::Device(caller.device), CloseCode::LoggedOut);
        Ok(Outcome::Done)
    }

    async fn change_password(&self, caller: Caller, old: Secret, new: Secret) -> Result<Outcome, CommandError> {
        let Some(passwords) = self.authenticator.passwords() else {
            return Err(CommandError::new(
                ReplyCode::RefusedByPolicy,
                "passwords are not kept by this server",
            ));
        };
        let new = Password::new(new)?;
        let account = self.account(&UserRef::Id(caller.user)).await?;
        let Some(compared) = passwords.confirm(&account, caller.device, old).await? else {
            return Err(CommandError::bad_credentials());
        };
        let new = passwords.hash(new).await?;
        self.run(ChangePassword {
            caller,
            compared: PasswordRecord(compared),
            new: PasswordRecord(new),
        })
        .await?;
        self.router
            .close_sessions(caller.user, Which::AllBut(caller.device), CloseCode::Revoked);
        Ok(Outcome::Done)
    }

    async fn set_blocked(&self, caller: Caller, user: &UserRef, blocked: bool) -> Result<Outcome, CommandError> {
        let peer = self.user_id(user).await?;
        let now = self.now();
        self.act(SetBlocked {
            caller,
            peer,
            blocked,
            now,
        })
        .await
    }

    /// After a request or an answer: if the two have become friends, each learns whether the other is there.
    fn befriended(&self, user: UserId, peer: UserId, events: Vec<Event>) -> Result<Outcome, CommandError> {
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

    async fn create_group(&self, caller: Caller, wish: GroupWish) -> Result<Outcome, CommandError> {
        self.limits.groups_created.charge(caller.user)?;
        let create = CreateGroup {
            caller,
            wish,
            limits: self.group_limits(),
            now: self.now(),
        };
        let created = self.run_idempotent(create, self.deadline()).await;
        if created.as_ref().map_or(true, |(_, events)| events.is_empty()) {
            self.limits.groups_created.take_back(caller.user);
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
    async fn inviter(&self, caller: Caller, group: ConversationId) -> Result<Option<UserId>, CommandError> {
        let kind = ConversationKind::Inbox { owner: caller.user };
        let Some(inbox) = self.read(self.store.conversation_of_kind(&kind)).await? else {
            return Ok(None);
        };
        let page = Page {
            from: PageFrom::Newest,
            max_events: self.config.page_events,
            max_bytes: self.config.page_bytes,
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

    async fn typing(
        &self,
        caller: Caller,
        conversation: ConversationId,
        stopped: bool,
    ) -> Result<Outcome, CommandError> {
        let head = self
            .read(self.store.head(caller.user, caller.device, conversation))
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
                if head.conversation.member_count <= self.config.typing_members && !head.conversation.closed {
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
