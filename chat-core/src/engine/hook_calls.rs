//! Calls to the deciding hooks, the `before_…` methods of [`Hooks`]. A command is first validated,
//! then charged to a rate, then decided by the hooks, and then committed. The hooks of one command
//! share a timeout. A hook that panics or times out has failed, and [`HookPolicy`] decides in its
//! place.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::config::{EngineConfig, HookPolicy};
use super::error::CommandError;
use super::limits::{Charge, UserLimits};
use super::operations::account::public_info;
use super::operations::policy::Membership;
use super::store_access::StoreAccess;
use super::views::{group_info, user_infos};
use crate::hooks::{Actor, AppendContext, AppendTarget, FriendshipStep, GroupContext, Hooks, Verdict};
use crate::model::{
    Caller, ConversationId, ConversationKind, Draft, DraftContent, GroupChanges, GroupInfo, NewGroup, Note,
    ProfileChanges, Registration, ReplyCode, Role, Source, UserId, UserInfo,
};
use crate::panics;

/// The application's deciding hooks, in the order in which they are asked.
///
/// Each `before_…` method fails if a hook refuses the command, with the code and text that the hook
/// gives, or if a hook fails and the [`HookPolicy`] refuses. Before it asks, it also fails if what
/// the hooks need to know is not found or cannot be read from the store. If hooks can change the
/// request, the method returns it in the form that they allow. Without hooks, the method allows the
/// request unchanged, and neither reads the store nor charges a rate.
///
/// The methods for changes of a profile or of an existing group, for joining, and for accepting a
/// friend request charge [`UserLimits::hook_commands`], and fail if that rate is exceeded. The
/// charge is refunded if the hooks are not asked.
#[derive(Debug)]
pub(super) struct HookCalls {
    hooks: Arc<[Arc<dyn Hooks>]>,
    access: Arc<StoreAccess>,
    limits: Arc<UserLimits>,
    timeout: Duration,
    policy: HookPolicy,
}

impl HookCalls {
    pub(super) fn new(
        hooks: Arc<[Arc<dyn Hooks>]>,
        access: Arc<StoreAccess>,
        limits: Arc<UserLimits>,
        config: &EngineConfig,
    ) -> Self {
        Self {
            hooks,
            access,
            limits,
            timeout: config.hook_timeout,
            policy: config.hook_policy,
        }
    }

    /// Returns whether there are hooks to ask.
    pub(super) fn exist(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Returns the maximum time that hooks may add to the duration of a command.
    pub(super) fn max_delay(&self) -> Duration {
        if self.exist() { self.timeout } else { Duration::ZERO }
    }

    /// Asks the hooks whether an account may be registered, and with which name, password and
    /// display name. Charges no rate: the caller has charged the rate of the source.
    pub(super) async fn before_register(
        &self,
        source: Source,
        registration: Registration,
    ) -> Result<Registration, CommandError> {
        self.ask_all(registration, |hooks, registration| {
            hooks.before_register(source, registration)
        })
        .await
    }

    /// Asks the hooks whether the caller's profile may be changed, and how.
    pub(super) async fn before_update_profile(
        &self,
        caller: Caller,
        changes: ProfileChanges,
    ) -> Result<ProfileChanges, CommandError> {
        if !self.exist() {
            return Ok(changes);
        }
        let mut charge = self.limits.hook_commands.charge(caller.user)?;
        let actor = self.actor(caller).await?;
        charge.keep();
        self.ask_all(changes, |hooks, changes| hooks.before_update_profile(&actor, changes))
            .await
    }

    /// Asks the hooks whether a draft may be appended. Returns its content if a hook changed it,
    /// otherwise `None`. The argument `conversation` is `None` if the draft opens the conversation.
    pub(super) async fn before_append(
        &self,
        sender: Caller,
        conversation: Option<ConversationId>,
        kind: &ConversationKind,
        draft: Draft,
    ) -> Result<Option<DraftContent>, CommandError> {
        if !self.exist() {
            return Ok(None);
        }
        let context = self.append_context(sender, conversation, kind).await?;
        let original = draft.content.clone();
        let allowed = self
            .ask_all(draft, |hooks, draft| hooks.before_append(&context, draft))
            .await?;
        Ok((allowed.content != original).then_some(allowed.content))
    }

    /// Asks the hooks whether a group may be created, and with which profile. Keeps the `charge`
    /// before it asks: otherwise a user whose commands are refused could make the hooks run without
    /// a limit.
    pub(super) async fn before_create_group(
        &self,
        caller: Caller,
        new: NewGroup,
        charge: &mut Charge,
    ) -> Result<NewGroup, CommandError> {
        if !self.exist() {
            return Ok(new);
        }
        let actor = self.actor(caller).await?;
        charge.keep();
        // The engine recognises a retry by its idempotency key, so hooks cannot change the key.
        let id = new.client_message_id;
        let mut allowed = self
            .ask_all(new, |hooks, new| hooks.before_create_group(&actor, new))
            .await?;
        allowed.client_message_id = id;
        Ok(allowed)
    }

    /// Asks the hooks whether a group's profile may be changed, and how.
    pub(super) async fn before_update_group(
        &self,
        caller: Caller,
        group: ConversationId,
        changes: GroupChanges,
    ) -> Result<GroupChanges, CommandError> {
        if !self.exist() {
            return Ok(changes);
        }
        let mut charge = self.limits.hook_commands.charge(caller.user)?;
        let context = self.group_context(caller, group).await?;
        charge.keep();
        self.ask_all(changes, |hooks, changes| hooks.before_update_group(&context, changes))
            .await
    }

    /// Asks the hooks whether the caller may join a group, and with which note for its admins.
    pub(super) async fn before_join(
        &self,
        caller: Caller,
        group: ConversationId,
        note: Note,
    ) -> Result<Note, CommandError> {
        if !self.exist() {
            return Ok(note);
        }
        let mut charge = self.limits.hook_commands.charge(caller.user)?;
        let context = self.group_context(caller, group).await?;
        charge.keep();
        self.ask_all(note, |hooks, note| hooks.before_join(&context, note))
            .await
    }

    /// Asks the hooks whether the caller may invite a user to a group. Keeps the `charge` before it
    /// asks.
    pub(super) async fn before_invite(
        &self,
        caller: Caller,
        group: ConversationId,
        user: UserId,
        charge: &mut Charge,
    ) -> Result<(), CommandError> {
        if !self.exist() {
            return Ok(());
        }
        let context = self.group_context(caller, group).await?;
        let invited = self.user(user).await?;
        charge.keep();
        self.ask_all((), |hooks, ()| hooks.before_invite(&context, &invited))
            .await
    }

    /// Asks the hooks whether the caller may accept a friend request.
    pub(super) async fn before_accept_friend(&self, caller: Caller, peer: UserId) -> Result<(), CommandError> {
        if !self.exist() {
            return Ok(());
        }
        let mut charge = self.limits.hook_commands.charge(caller.user)?;
        self.before_befriend(caller, peer, FriendshipStep::Accept, &mut charge)
            .await
    }

    /// Asks the hooks whether the caller may take a step towards a friendship. Keeps the `charge`
    /// before it asks.
    pub(super) async fn before_befriend(
        &self,
        caller: Caller,
        peer: UserId,
        step: FriendshipStep,
        charge: &mut Charge,
    ) -> Result<(), CommandError> {
        if !self.exist() {
            return Ok(());
        }
        let actor = self.actor(caller).await?;
        let peer = self.user(peer).await?;
        charge.keep();
        self.ask_all((), |hooks, ()| hooks.before_befriend(&actor, &peer, &step))
            .await
    }

    async fn append_context(
        &self,
        sender: Caller,
        conversation: Option<ConversationId>,
        kind: &ConversationKind,
    ) -> Result<AppendContext, CommandError> {
        let (actor, append_target) = match (kind, conversation) {
            (ConversationKind::Direct { low, high }, _) => {
                let peer = if *low == sender.user { *high } else { *low };
                let mut users = user_infos(&self.access, &[sender.user, peer]).await?;
                let user = users.get(&sender.user).cloned().ok_or_else(CommandError::not_found)?;
                let peer = users.remove(&peer).ok_or_else(CommandError::not_found)?;
                (Actor::new(sender, user), AppendTarget::Direct(peer))
            }
            (ConversationKind::Group, Some(group)) => {
                let context = self.group_context(sender, group).await?;
                let append_target = AppendTarget::Group {
                    group: context.group,
                    role: context.role,
                };
                (context.actor, append_target)
            }
            (ConversationKind::Group, None) => return Err(CommandError::not_found()),
            (ConversationKind::Inbox { .. }, _) => (self.actor(sender).await?, AppendTarget::Inbox),
        };
        Ok(AppendContext::new(actor, conversation, append_target))
    }

    async fn group_context(&self, caller: Caller, group: ConversationId) -> Result<GroupContext, CommandError> {
        let (actor, (info, role)) = tokio::try_join!(self.actor(caller), self.group(caller.user, group))?;
        Ok(GroupContext::new(actor, info, role))
    }

    /// Returns a group's profile, and the user's role if the user is a member. Fails if the group
    /// does not exist or is hidden from the user, or if the store cannot be read.
    async fn group(&self, user: UserId, group: ConversationId) -> Result<(GroupInfo, Option<Role>), CommandError> {
        let store = self.access.store();
        let row = self.access.read(store.conversation(group));
        let member = self.access.read(store.member(group, user));
        let (row, member) = tokio::try_join!(row, member)?;
        let info = row.as_ref().and_then(group_info).ok_or_else(CommandError::not_found)?;
        let is_outsider = Membership::of(member.as_ref(), self.access.wall_time()) == Membership::Outsider;
        if is_outsider && info.profile.unlisted {
            // The refusal of a hook would reveal that the group exists.
            return Err(CommandError::not_found());
        }
        let role = member.filter(|member| member.is_active()).map(|member| member.role);
        Ok((info, role))
    }

    async fn actor(&self, caller: Caller) -> Result<Actor, CommandError> {
        Ok(Actor::new(caller, self.user(caller.user).await?))
    }

    async fn user(&self, user: UserId) -> Result<UserInfo, CommandError> {
        let account = self.access.read(self.access.store().account(user)).await?;
        account.as_ref().map(public_info).ok_or_else(CommandError::not_found)
    }

    /// Asks one hook after the other, each about the request in the form that the previous hook
    /// returned, until one refuses. All hooks together have to decide within the timeout.
    async fn ask_all<'a, T: Clone>(
        &'a self,
        request: T,
        ask: impl Fn(&'a dyn Hooks, T) -> BoxFuture<'a, Verdict<T>>,
    ) -> Result<T, CommandError> {
        let deadline = Instant::now() + self.timeout;
        let mut allowed = request;
        for hooks in &*self.hooks {
            let verdict = self
                .catch_panic_and_timeout(ask(&**hooks, allowed.clone()), deadline)
                .await;
            allowed = self.judge(verdict, allowed)?;
        }
        Ok(allowed)
    }

    /// Waits for the verdict of a hook. Returns `None` if the hook panics or has not decided by the
    /// deadline.
    async fn catch_panic_and_timeout<T>(
        &self,
        verdict: impl Future<Output = Verdict<T>>,
        deadline: Instant,
    ) -> Option<Verdict<T>> {
        match timeout_at(deadline, panics::catch(verdict)).await {
            Ok(Ok(verdict)) => Some(verdict),
            Ok(Err(panic)) => {
                tracing::error!(panic = panic.text(), "a deciding hook panicked");
                None
            }
            Err(_) => {
                tracing::error!(timeout = ?self.timeout, "a deciding hook timed out");
                None
            }
        }
    }

    /// Returns the request that the verdict allows. If there is no verdict, because the hook
    /// failed, the policy decides.
    fn judge<T>(&self, verdict: Option<Verdict<T>>, unchanged: T) -> Result<T, CommandError> {
        match verdict {
            Some(Verdict::Allow(allowed)) => Ok(allowed),
            Some(Verdict::Refuse { code, text }) => Err(CommandError::new(code, text)),
            None => match self.policy {
                HookPolicy::FailOpen => Ok(unchanged),
                HookPolicy::FailClosed => Err(CommandError::new(
                    ReplyCode::RefusedByPolicy,
                    "the application's rules could not be checked; nothing was done",
                )),
            },
        }
    }
}
