//! From a command to what does it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::account::UpdateProfile;
use super::appender::{DeferredDraft, LaneOperation};
use super::commands::fingerprint_of;
use super::contact::{AnswerFriend, RemoveFriend, RequestFriend};
use super::core::{Core, contain, refused};
use super::error::CommandError;
use super::group::{
    Act, AnswerJoin, DeclineInvitation, DeleteGroup, GroupWish, InviteMember, JoinGroup, Joined, KickMember,
    LeaveGroup, MuteMember, SetRole, TransferOwnership, UnbanMember, UpdateGroup,
};
use super::message::Prepared;
use super::operation::Operation;
use crate::model::{
    Caller, Command, ConversationKind, ConversationRef, Draft, Event, GroupProfile, JoinPolicy, Outcome, PresenceState,
    ReplyCode, UserId, UserRef,
};

pub(super) type Answer = BoxFuture<'static, Result<Outcome, CommandError>>;

/// A message of a session in this process may wait so long for its user's turn.
const LOCAL_PATIENCE: Duration = Duration::from_secs(2);

/// Does what a session asks. Its place in a conversation is fixed when this returns.
pub(super) fn execute(core: &Arc<Core>, caller: Caller, command: Command) -> Answer {
    if core.draining.is_cancelled() {
        return refused(CommandError::shutting_down());
    }
    let shared = Arc::clone(core);
    match command {
        Command::Send { conversation, draft } => send(core, caller, conversation, draft),

        Command::Acknowledge { conversation, seq } => {
            core.acknowledge(caller, conversation, seq);
            done()
        }
        Command::MarkRead { conversation, seq } => {
            core.mark_read(caller, conversation, seq);
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
            shared.wait_for_page(caller.user).await?;
            Ok(Outcome::History(
                shared.read_history(caller, &conversation, page).await?,
            ))
        }),

        Command::Logout => core.begin(async move { shared.logout(caller).await }),
        Command::ChangePassword { old, new } => {
            core.begin(async move { shared.change_password(caller, old, new).await })
        }
        Command::RevokeDevice(device) => core.begin(async move { shared.revoke_device(caller, device).await }),
        Command::UpdateProfile(changes) => core.begin(async move {
            let change = UpdateProfile {
                caller,
                display_name: changes.display_name,
                direct_policy: changes.direct_policy,
            };
            Ok(Outcome::User(shared.run(caller, change).await?))
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
                open_per_day: shared.config.friend_request_rate.count,
                now: shared.now(),
            };
            let asked = shared.run(caller, request).await;
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
            let events = shared.run(caller, answer).await?;
            shared.befriended(caller.user, peer, events)
        }),
        Command::RemoveFriend(user) => core.begin(async move {
            let peer = shared.user_id(&user).await?;
            let now = shared.now();
            shared.act(caller, RemoveFriend { caller, peer, now }).await
        }),
        Command::Block(user) => core.begin(async move { shared.set_blocked(caller, &user, true).await }),
        Command::Unblock(user) => core.begin(async move { shared.set_blocked(caller, &user, false).await }),

        Command::CreateGroup(group) => {
            let profile = GroupProfile {
                name: group.name.as_str().to_owned(),
                key: group.name.key(),
                skeleton: group.name.skeleton().as_str().to_owned(),
                description: group.description.as_str().to_owned(),
                join_policy: group.join_policy,
                history_visible: group.history_visible,
                unlisted: group.unlisted,
            };
            let wish = GroupWish {
                client_message_id: group.client_message_id,
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
            let (joined, events) = core.run(act.group, join).await?;
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
            let invited = core.act(act.group, InviteMember { act, user, limits }).await;
            invited.inspect_err(|_| core.limits.invitations.take_back(caller.user))
        }),
        Command::DeclineInvitation(group) => in_lane(core, caller, group, move |core, act| async move {
            let inviter = core.inviter(caller, act.group).await?;
            core.act(act.group, DeclineInvitation { act, inviter }).await
        }),
        Command::LeaveGroup(group) => in_lane(core, caller, group, |core, act| async move {
            core.act(act.group, LeaveGroup { act }).await
        }),
        Command::DeleteGroup(group) => in_lane(core, caller, group, |core, act| async move {
            core.act(act.group, DeleteGroup { act }).await
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
        Command::UpdateGroup { group, changes } => in_lane(core, caller, group, |core, act| async move {
            core.act(act.group, UpdateGroup { act, changes }).await
        }),
    }
}

/// The same for a session in this process, which no connection holds to its user's pace.
pub(super) fn execute_paced(core: &Arc<Core>, caller: Caller, command: Command) -> Answer {
    let Command::Send { conversation, draft } = command else {
        return execute(core, caller, command);
    };
    if core.draining.is_cancelled() {
        return refused(CommandError::shutting_down());
    }
    match core.limits.messages.take_within(caller.user, LOCAL_PATIENCE) {
        Ok(wait) => {
            let enough = tokio::time::Instant::now() + wait;
            let answer = send(core, caller, conversation, draft);
            if wait.is_zero() {
                return answer;
            }
            // Its place is fixed already. Whoever waits for the answer, or has too many under way, sends no faster than others.
            let draining = core.draining.clone();
            Box::pin(async move {
                let answer = answer.await;
                draining.run_until_cancelled(tokio::time::sleep_until(enough)).await;
                answer
            })
        }
        Err(wait) => {
            let id = draft.client_message_id;
            core.appends.defer(DeferredDraft {
                caller,
                conversation,
                id,
            });
            let error = CommandError::new(ReplyCode::Busy, "you send too fast; nothing was done");
            refused(error.retry_after(wait))
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

fn send(core: &Core, caller: Caller, conversation: ConversationRef, draft: Draft) -> Answer {
    let for_hooks = core.hooks.is_some().then(|| draft.clone());
    let prepared = Prepared::new(caller, draft);
    Box::pin(
        core.appends
            .submit_draft(prepared, for_hooks, conversation, core.deadline()),
    )
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
    let shared = Arc::clone(core);
    let operation: LaneOperation = Box::new(move |target| {
        if target.kind != ConversationKind::Group {
            return refused(CommandError::not_found());
        }
        let act = Act {
            caller,
            group: target.id,
            now: shared.now(),
        };
        Box::pin(work(shared, act))
    });
    Box::pin(core.appends.submit_operation(caller, group, operation, core.deadline()))
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
    O: Operation<Output = Vec<Event>> + Clone + Sync,
{
    in_lane(core, caller, group, move |core, act| async move {
        let user = core.user_id(&user).await?;
        let operation = operation(&core, act, user);
        core.act(act.group, operation).await
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
