//! The deciding hooks: asked before anything is committed, with a deadline, and never trusted not to panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::config::HookPolicy;
use super::core::{Core, panic_text};
use super::error::CommandError;
use crate::hooks::Verdict;
use crate::model::{Caller, ConversationId, Draft, DraftContent, Registration, ReplyCode, Source};

impl Core {
    /// Asks whether an account may be made, and with what.
    pub(super) async fn ask_before_register(
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

    /// Asks whether a draft may be appended, and as what. `None`: as it is.
    pub(super) async fn ask_before_append(
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

    /// The verdict; `None` if there was none in time.
    async fn ask<T>(&self, verdict: impl Future<Output = Verdict<T>>) -> Option<Verdict<T>> {
        let verdict = AssertUnwindSafe(verdict).catch_unwind();
        match tokio::time::timeout(self.config.hook_timeout, verdict).await {
            Ok(Ok(verdict)) => Some(verdict),
            Ok(Err(panic)) => {
                tracing::error!(panic = panic_text(&*panic), "a deciding hook panicked");
                None
            }
            Err(_) => {
                tracing::error!("a deciding hook took too long");
                None
            }
        }
    }

    fn judge<T>(&self, verdict: Option<Verdict<T>>, unchanged: T) -> Result<T, CommandError> {
        match verdict {
            Some(Verdict::Allow(allowed)) => Ok(allowed),
            Some(Verdict::Refuse { code, text }) => Err(CommandError::new(code, text)),
            None => match self.config.hook_policy {
                HookPolicy::FailOpen => Ok(unchanged),
                HookPolicy::FailClosed => Err(CommandError::new(
                    ReplyCode::RefusedByPolicy,
                    "the application's rules could not be checked",
                )),
            },
        }
    }
}
