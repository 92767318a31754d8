//! Calls to the deciding hooks: made before anything is committed, with a timeout, and contained if
//! a hook panics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::config::{EngineConfig, HookPolicy};
use super::error::CommandError;
use super::panics::panic_text;
use crate::hooks::{Hooks, Verdict};
use crate::model::{Caller, ConversationId, Draft, DraftContent, Registration, ReplyCode, Source};

/// The application's deciding hooks, if it has any.
#[derive(Debug)]
pub(super) struct HookCalls {
    hooks: Option<Arc<dyn Hooks>>,
    timeout: Duration,
    policy: HookPolicy,
}

impl HookCalls {
    pub(super) fn new(hooks: Option<Arc<dyn Hooks>>, config: &EngineConfig) -> Self {
        Self {
            hooks,
            timeout: config.hook_timeout,
            policy: config.hook_policy,
        }
    }

    /// Returns whether there are hooks to ask.
    pub(super) fn exist(&self) -> bool {
        self.hooks.is_some()
    }

    /// Asks whether an account may be created, and with what.
    pub(super) async fn before_register(
        &self,
        source: Source,
        registration: Registration,
    ) -> Result<Registration, CommandError> {
        let Some(hooks) = &self.hooks else {
            return Ok(registration);
        };
        let verdict = self.ask(hooks.before_register(source, registration.clone())).await;
        self.judge(verdict, registration)
    }

    /// Asks whether a draft may be appended. Returns its content if a hook changed it.
    pub(super) async fn before_append(
        &self,
        sender: Caller,
        conversation: ConversationId,
        draft: Draft,
    ) -> Result<Option<DraftContent>, CommandError> {
        let Some(hooks) = &self.hooks else {
            return Ok(None);
        };
        let verdict = self.ask(hooks.before_append(sender, conversation, draft.clone())).await;
        let allowed = self.judge(verdict, draft.clone())?;
        Ok((allowed.content != draft.content).then_some(allowed.content))
    }

    /// Returns the verdict, or `None` if the hook panicked or timed out.
    async fn ask<T>(&self, verdict: impl Future<Output = Verdict<T>>) -> Option<Verdict<T>> {
        let verdict = AssertUnwindSafe(verdict).catch_unwind();
        match tokio::time::timeout(self.timeout, verdict).await {
            Ok(Ok(verdict)) => Some(verdict),
            Ok(Err(panic)) => {
                tracing::error!(panic = panic_text(&*panic), "a deciding hook panicked");
                None
            }
            Err(_) => {
                tracing::error!(timeout = ?self.timeout, "a deciding hook timed out");
                None
            }
        }
    }

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
