//! The port through which an application watches, changes and refuses.
//!
//! Two kinds. **Deciding** hooks run before anything is committed; they have a deadline, and one that panics, hangs or
//! fails counts as [`Verdict::Refuse`] or as allowed, as `HookPolicy` of the engine's configuration says. **Observing**
//! hooks run after the commit and cannot change it; they are called in order of commit per conversation, from a task of
//! their own with a bounded queue, so that a slow observer never delays a sender (it misses events; the log has them).

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::{Caller, CloseCode, ConversationId, Draft, Event, Registration, ReplyCode, Source, UserId};

/// What a deciding hook says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict<T> {
    /// Go on, with this.
    Allow(T),
    /// Do not; the caller is told so.
    Refuse {
        /// Usually [`ReplyCode::RefusedByPolicy`].
        code: ReplyCode,
        /// For people.
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

/// An application's own rules. Every method has a default that changes nothing.
#[async_trait]
pub trait Hooks: Debug + Send + Sync + 'static {
    /// Before an account is made.
    async fn before_register(&self, source: Source, registration: Registration) -> Verdict<Registration> {
        let _ = source;
        Verdict::Allow(registration)
    }

    /// Before a draft is appended. What it returns is what is stored; the idempotency key stays as it was.
    async fn before_append(&self, sender: Caller, conversation: ConversationId, draft: Draft) -> Verdict<Draft> {
        let _ = (sender, conversation);
        Verdict::Allow(draft)
    }

    /// After events were committed.
    async fn on_committed(&self, events: &[Event]) {
        let _ = events;
    }

    /// After a session began.
    async fn on_session_start(&self, caller: Caller, source: Source) {
        let _ = (caller, source);
    }

    /// After a session ended.
    async fn on_session_end(&self, caller: Caller, reason: CloseCode) {
        let _ = (caller, reason);
    }

    /// After an account was made.
    async fn on_registered(&self, user: UserId) {
        let _ = user;
    }
}

/// Changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}
