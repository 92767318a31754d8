//! Sessions of the process in which the engine runs.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use crate::commands::Commands;
use crate::model::{Caller, Command, Outcome, Push, UserInfo};
use crate::router::{Outbox, SharedPush};
use crate::service::{AttachedSession, CommandError, SessionGuard};
use crate::sync::Mutex;

/// A session in this process, for bots, tests and desktop applications. It executes the same
/// commands and receives the same pushes as the session of a remote client. It ends when it is
/// dropped. If the engine ends it, for example because the user was disabled, or the device was
/// revoked or logged in again, its commands are refused with
/// [`Fenced`](crate::model::ReplyCode::Fenced). The shutdown of the engine ends it too; then its
/// commands are refused with [`ShuttingDown`](crate::model::ReplyCode::ShuttingDown).
#[derive(Debug)]
pub struct LocalSession {
    engine: Engine,
    caller: Caller,
    user: UserInfo,
    outbox: Arc<Outbox>,
    /// Pushes that were drained from the outbox and not yet returned.
    drained: Mutex<VecDeque<SharedPush>>,
    /// Ends the session when it is dropped.
    _guard: SessionGuard,
}

/// The *call* fixes the order: drafts and group changes that two calls make in one conversation
/// take effect in the order of the calls, no matter when their futures are polled.
impl Commands for LocalSession {
    type Error = CommandError;

    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, CommandError>> + Send {
        Self::execute(self, command)
    }
}

/// Maximum size of the pushes that are drained from the outbox at once, in bytes. A larger single
/// push is still drained.
const DRAIN_BYTES: usize = 64 * 1024;

impl LocalSession {
    pub(super) fn new(
        engine: Engine,
        caller: Caller,
        user: UserInfo,
        attached: AttachedSession,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self {
            engine,
            caller,
            user,
            outbox,
            drained: Mutex::default(),
            _guard: attached.guard,
        }
    }

    /// Returns the identity that the session acts as.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Returns the user's profile as it was when the session started, with the fields that only the
    /// user sees.
    #[must_use]
    pub fn user(&self) -> &UserInfo {
        &self.user
    }

    /// Executes a command. Unlike the future of [`Commands::execute`], the returned future does not
    /// borrow from the session. Messages above the user's rate are answered later, or refused with
    /// `Busy`; see
    /// [`EngineConfig::message_rate_per_user`](super::EngineConfig::message_rate_per_user).
    ///
    /// # Errors
    /// [`CommandError`], as for a remote client.
    pub fn execute(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Outcome, CommandError>> + Send + 'static + use<> {
        self.engine.execute_paced(self.caller, command)
    }

    /// Waits for the next push and returns it, or returns `None` once the session has ended. The
    /// last push is [`Push::Closed`] if the engine has ended the session, unless it did so by
    /// shutting down. Only one task may wait at a time.
    ///
    /// # Cancel safety
    /// Safe: a push that was not returned is returned by the next call.
    pub async fn next_push(&self) -> Option<Push> {
        loop {
            if let Some(push) = self.try_next_push() {
                return Some(push);
            }
            if self.outbox.is_closed() {
                // The session may have been closed after the queue was found empty.
                return self.try_next_push();
            }
            tokio::select! {
                // Queued pushes are returned before the end of the session.
                biased;
                () = self.outbox.ready() => {}
                () = self.engine.stopped() => return self.try_next_push(),
            }
        }
    }

    /// Returns the next push if one is queued.
    #[must_use]
    pub fn try_next_push(&self) -> Option<Push> {
        let mut queue = self.drained.lock();
        if queue.is_empty() {
            let mut drained = Vec::new();
            self.outbox.drain(DRAIN_BYTES, &mut drained);
            queue.extend(drained);
        }
        queue.pop_front().map(|push| push.push().clone())
    }
}
