//! The port through which an application watches, changes and refuses the actions of users.
//!
//! **Deciding** hooks (`before_…`) run before anything is committed. They receive the profile of
//! the user who acts (for a registration, which has no account yet, its source), and the other
//! user, or the group and the user's role in it. The engine executes the request in the form that
//! they return, except that they cannot change an idempotency key. A command is validated, then
//! charged to a rate (that of its user or, for a registration, of its source), then decided by the
//! hooks, so that a user whose commands are refused cannot make the hooks run more often than the
//! rate allows. The hooks of one command share a
//! [timeout](crate::engine::EngineConfig::hook_timeout); a hook that panics or times out counts as
//! a refusal or as an approval, as [`HookPolicy`](crate::engine::HookPolicy) of the engine's
//! configuration says.
//!
//! **Observing** hooks (`on_…`) run after what they observe has happened, and cannot change it. One
//! task calls them, one after the other, behind a bounded queue: a slow observer misses
//! observations and never delays a sender. If two transactions append to one conversation at nearly
//! the same time, their events may be observed in the reverse order. An application that must not
//! miss an event, or relies on the order, reads the events with a feed.
//!
//! An engine can have several hooks. They are asked in the order in which they were given to the
//! [builder](crate::engine::EngineBuilder::hooks): each receives the request in the form that the
//! previous one returned, and the first refusal decides.

mod context;

use std::fmt::Debug;

use async_trait::async_trait;

pub use context::{Actor, AppendContext, AppendTarget, FriendshipStep, GroupContext};

use crate::model::{
    Caller, CloseCode, Draft, Event, GroupChanges, NewGroup, Note, ProfileChanges, Registration, ReplyCode, Source,
    UserId, UserInfo,
};

/// Decision of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict<T> {
    /// The command proceeds with this value.
    Allow(T),
    /// The command is refused, and its caller receives this code and text.
    Refuse {
        /// Code for programs, usually [`ReplyCode::RefusedByPolicy`].
        code: ReplyCode,
        /// Text for people.
        text: String,
    },
}

impl<T> Verdict<T> {
    /// Refuses with [`ReplyCode::RefusedByPolicy`].
    pub fn refuse(text: impl Into<String>) -> Self {
        Self::Refuse {
            code: ReplyCode::RefusedByPolicy,
            text: text.into(),
        }
    }
}

/// The application's own rules. Every method has a default that changes nothing.
///
/// A hook that decides about a draft, a change of a group, joining a group or inviting to it runs
/// while later drafts of the same sender, and its later changes of groups and members, wait. So it
/// should answer quickly. A sender is a device of a user, or the application or the operators who
/// act for one user. Other senders do not wait for the hook.
///
/// Deciding hooks are not asked about actions of an
/// [operator](crate::engine::Engine::operator), except about commands that the operator executes
/// for a user.
#[async_trait]
pub trait Hooks: Debug + Send + Sync + 'static {
    /// Decides about a registration: by a client that has not logged in, or with
    /// [`Engine::register`](crate::engine::Engine::register).
    ///
    /// It is not called for accounts that the application itself creates: those of users whom its
    /// authenticator accepts, or whom it [provisions](crate::engine::Engine::provision), and those
    /// that an operator creates.
    async fn before_register(&self, source: Source, registration: Registration) -> Verdict<Registration> {
        let _ = source;
        Verdict::Allow(registration)
    }

    /// Decides about changes that users make to their own profiles. A rule about display names must
    /// be checked here and in [`before_register`](Hooks::before_register), because otherwise users
    /// could evade it.
    async fn before_update_profile(&self, actor: &Actor, changes: ProfileChanges) -> Verdict<ProfileChanges> {
        let _ = actor;
        Verdict::Allow(changes)
    }

    /// Decides about a draft before it is appended: a message, but also an edit, a recall or a
    /// reaction. A rule about texts should check [`Draft::written_text`], which includes the text
    /// of edits; otherwise users could evade the rule by editing. If the engine accepts the content
    /// of the returned draft, it is stored under the idempotency key of the original draft.
    async fn before_append(&self, context: &AppendContext, draft: Draft) -> Verdict<Draft> {
        let _ = context;
        Verdict::Allow(draft)
    }

    /// Decides about a new group.
    async fn before_create_group(&self, actor: &Actor, group: NewGroup) -> Verdict<NewGroup> {
        let _ = actor;
        Verdict::Allow(group)
    }

    /// Decides about changes of a group's name, description and policies.
    async fn before_update_group(&self, context: &GroupContext, changes: GroupChanges) -> Verdict<GroupChanges> {
        let _ = context;
        Verdict::Allow(changes)
    }

    /// Decides whether a user may join a group, accept an invitation to it, or ask to join it, and
    /// with which note for the group's admins.
    async fn before_join(&self, context: &GroupContext, note: Note) -> Verdict<Note> {
        let _ = context;
        Verdict::Allow(note)
    }

    /// Decides whether a user may invite another user to a group.
    async fn before_invite(&self, context: &GroupContext, invited: &UserInfo) -> Verdict<()> {
        let _ = (context, invited);
        Verdict::Allow(())
    }

    /// Decides whether a user may ask another user for friendship, or accept a friend request.
    async fn before_befriend(&self, actor: &Actor, peer: &UserInfo, step: &FriendshipStep) -> Verdict<()> {
        let _ = (actor, peer, step);
        Verdict::Allow(())
    }

    /// Observes events that were committed to one or several conversations. A message that is sent
    /// again after it was stored is not observed again, unless the store did not answer when it was
    /// sent again.
    async fn on_committed(&self, events: &[Event]) {
        let _ = events;
    }

    /// Observes the start of a session.
    async fn on_session_start(&self, caller: Caller, source: Source) {
        let _ = (caller, source);
    }

    /// Observes the end of a session.
    async fn on_session_end(&self, caller: Caller, reason: CloseCode) {
        let _ = (caller, reason);
    }

    /// Observes every new account, no matter how it was created.
    async fn on_registered(&self, user: UserId) {
        let _ = user;
    }
}
