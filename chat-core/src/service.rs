//! The service boundary: everything that a server needs from an engine, as one object-safe trait.
//!
//! [`Server`](crate::server::Server) knows its engine only as `Arc<dyn ChatService>`. The engine of
//! this process is one implementation; another one can forward each call to a remote engine.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::cluster::Nodes;
use crate::codec::Failure;
use crate::model::{
    Caller, CloseCode, Command, ConversationInfo, Login, LoginGrant, Outcome, Registration, ReplyCode, Resume,
    SessionId, Source, StoreEpoch, Timestamp, UserInfo,
};
use crate::router::Outbox;

/// An engine, as servers see it: accounts and logins, sessions and their events, commands, and the
/// state of the node.
///
/// All methods may be called from any task, at the same time. Methods that are not `async` return
/// at once. A remote implementation therefore answers [`readiness`](Self::readiness) and
/// [`nodes`](Self::nodes), for example, from a cache.
#[async_trait]
pub trait ChatService: fmt::Debug + Send + Sync + 'static {
    /// Creates an account.
    ///
    /// # Errors
    /// [`CommandError`]. No account was created, unless the code is `TryAgain`: then one may exist.
    async fn register(&self, source: Source, registration: Registration) -> Result<UserInfo, CommandError>;

    /// Logs a device in with a password, or with a token that the application's authenticator
    /// accepts. Ends the device's older session, and those of other devices if the session policy
    /// or the maximum number of devices requires it. [`attach`](Self::attach) starts the new one.
    ///
    /// # Errors
    /// [`CommandError`]. An unknown account and a wrong password yield the same error.
    async fn login(&self, source: Source, login: Login) -> Result<LoginGrant, CommandError>;

    /// Logs a device in with the session token of an earlier login. Ends the device's older
    /// session, and those of other devices if the session policy requires it.
    /// [`attach`](Self::attach) starts the new one.
    ///
    /// # Errors
    /// [`CommandError`]. `SessionExpired`: the client has to log in again.
    async fn resume(&self, source: Source, resume: Resume) -> Result<LoginGrant, CommandError>;

    /// Starts the session of a device that has just logged in: from now on the user's events are
    /// pushed to `outbox`. The session ends when the returned guard is dropped. If `outbox` was
    /// closed before the guard is dropped, hooks receive its close code as the reason of the end.
    ///
    /// # Errors
    /// [`CommandError`]; no session stays attached, but `outbox` may contain pushes. `Fenced`: the
    /// login has ended since it was granted, for example because the device has logged in again.
    ///
    /// # Cancel safety
    /// If the future is dropped, no session stays attached.
    async fn attach(
        &self,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError>;

    /// Executes a command of a session.
    ///
    /// # Order
    /// The *call* fixes the order. Messages that several calls of one session append to one
    /// conversation are appended in the order of the calls, no matter when their futures are
    /// polled.
    ///
    /// # Cancel safety
    /// Dropping the future loses the outcome. A command that only reads may stop; a change that has
    /// started continues.
    fn execute(&self, caller: Caller, command: Command) -> CommandFuture;

    /// If `command` sends a draft, charges it against the message rate of the caller's user, which
    /// all sessions of the user on this node share. Returns how long the server should stop reading
    /// from the session's connection; zero if the rate is not exceeded, and for other commands.
    fn pace(&self, caller: Caller, command: &Command) -> Duration;

    /// Returns whether this node can serve new sessions, and whether other nodes can.
    fn readiness(&self) -> Readiness;

    /// Reports that a listener of this node was closed because the node cannot serve. The cluster
    /// then sends new clients to other nodes.
    fn listener_closed(&self);

    /// Reports that a closed listener is open again.
    fn listener_opened(&self);

    /// Returns the latest view of the nodes of the cluster; empty if the engine has no
    /// [`Discovery`](crate::cluster::Discovery).
    fn nodes(&self) -> Nodes;

    /// Announces to the cluster the addresses at which clients reach this node.
    fn advertise(&self, addresses: Vec<String>);

    /// Announces to the cluster that this node accepts no new sessions, because it is about to
    /// stop.
    fn announce_drain(&self);

    /// Returns the [`StoreEpoch`].
    fn store_epoch(&self) -> StoreEpoch;

    /// Returns the service's wall-clock time.
    fn now(&self) -> Timestamp;
}

/// A session that receives its events.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttachedSession {
    /// Guard that ends the session when it is dropped.
    pub guard: SessionGuard,
    /// State of the user's conversations at the time of the attach; if the user has many, of those
    /// with the newest events. Pushes of a conversation start right after its `last_seq`, or repeat
    /// some events before that.
    pub conversations: Vec<ConversationInfo>,
    /// True if the user has more conversations.
    pub has_more: bool,
}

impl AttachedSession {
    /// Returns an attached session of a user who has these conversations.
    #[must_use]
    pub fn new(guard: SessionGuard, conversations: Vec<ConversationInfo>) -> Self {
        Self {
            guard,
            conversations,
            has_more: false,
        }
    }

    /// Returns the session with another value of [`has_more`](Self::has_more).
    #[must_use]
    pub fn with_more(self, has_more: bool) -> Self {
        Self { has_more, ..self }
    }
}

/// Guard of a session. Dropping the guard ends the session.
pub struct SessionGuard {
    id: SessionId,
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl SessionGuard {
    /// Creates a guard that calls `end` once, when it is dropped.
    #[must_use]
    pub fn new(id: SessionId, end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self {
            id,
            end: Some(Box::new(end)),
        }
    }

    /// Returns the id of the session, which is unique on its node.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl fmt::Debug for SessionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGuard")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Ability of a node, and of the other nodes, to serve new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// True if the store answers. The engine probes it every two seconds, with a timeout of two
    /// seconds. After a probe without an answer, it probes every half second, and this is false
    /// until two consecutive probes were answered.
    pub store_answers: bool,
    /// True if the clocks of this machine and of the store differ by at most 5 min, or the store
    /// has no clock. While it is false, [`register`](ChatService::register),
    /// [`login`](ChatService::login) and [`resume`](ChatService::resume) are refused.
    pub clock_is_right: bool,
    /// True if there are other nodes and, as far as this node knows, at least one of them accepts
    /// sessions. If discovery lists no other node, the nodes that are known from their heartbeats
    /// in the store count as accepting. A node that is cut off from all other nodes keeps the last
    /// known value.
    pub another_node_accepts_sessions: bool,
}

impl Readiness {
    /// Returns the readiness of a node that can serve, in a cluster without other nodes.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self {
            store_answers: true,
            clock_is_right: true,
            another_node_accepts_sessions: false,
        }
    }

    /// Returns whether this node can serve.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        self.store_answers && self.clock_is_right
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

/// Error of a command, a registration, a login or an attach: a documented code, a sentence for
/// people, and the delay before a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandError {
    /// Code for programs.
    pub code: ReplyCode,
    /// English sentence for people. It reveals only what the caller may know.
    pub text: Cow<'static, str>,
    /// Minimum delay before the client should try again; `None` if the server recommends none.
    pub retry_after: Option<Duration>,
    /// Reason why the caller's session has ended, if `code` is [`ReplyCode::Fenced`]. The server
    /// closes the session with it; without it, with [`CloseCode::Replaced`].
    pub close_code: Option<CloseCode>,
}

impl CommandError {
    /// Creates an error without a retry delay.
    pub fn new(code: ReplyCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            text: text.into(),
            retry_after: None,
            close_code: None,
        }
    }

    /// Sets the minimum delay before the client should try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {}", self.code, self.code.number(), self.text)
    }
}

impl std::error::Error for CommandError {}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let delay = error.retry_after.unwrap_or_default();
        let delay = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        let mut failure = Self::new(error.code, error.text).retry_after(delay);
        failure.close_code = error.close_code;
        failure
    }
}

/// Result of a command.
pub type CommandResult = Result<Outcome, CommandError>;

/// Future of a command's outcome. It does not borrow from the service. An outcome that is known at
/// once needs no allocation.
pub struct CommandFuture(State);

enum State {
    /// `None` once the result was taken.
    Ready(Option<CommandResult>),
    /// A [`CommandReply`] will complete the future.
    Waiting(oneshot::Receiver<CommandResult>),
    /// The future executes the command when it is polled.
    Running(BoxFuture<'static, CommandResult>),
}

/// Handle that completes a [`CommandFuture`]. If the handle is dropped without a result, the future
/// fails with `TryAgain`: the command may or may not have taken effect.
#[derive(Debug)]
pub struct CommandReply(oneshot::Sender<CommandResult>);

impl CommandFuture {
    /// Creates a future that is complete already.
    #[doc(hidden)]
    #[must_use]
    pub fn ready(result: CommandResult) -> Self {
        Self(State::Ready(Some(result)))
    }

    /// Creates a future that runs `work` when it is polled.
    #[doc(hidden)]
    #[must_use]
    pub fn run(work: impl Future<Output = CommandResult> + Send + 'static) -> Self {
        Self(State::Running(Box::pin(work)))
    }

    /// Creates a future that the returned handle completes.
    #[doc(hidden)]
    #[must_use]
    pub fn channel() -> (CommandReply, Self) {
        let (sender, receiver) = oneshot::channel();
        (CommandReply(sender), Self(State::Waiting(receiver)))
    }
}

impl CommandReply {
    /// Completes the future with `result`.
    pub fn send(self, result: CommandResult) {
        // If the future was dropped, its caller does not need the outcome.
        let _ = self.0.send(result);
    }

    /// Returns whether the future was dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Future for CommandFuture {
    type Output = CommandResult;

    /// # Panics
    /// If it is polled again after it has returned an outcome.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CommandResult> {
        match &mut self.0 {
            State::Ready(result) => Poll::Ready(result.take().expect("polled after completion")),
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|result| result.unwrap_or_else(|_| Err(CommandError::try_again()))),
            State::Running(work) => work.as_mut().poll(cx),
        }
    }
}

impl From<BoxFuture<'static, CommandResult>> for CommandFuture {
    fn from(work: BoxFuture<'static, CommandResult>) -> Self {
        Self(State::Running(work))
    }
}

impl fmt::Debug for CommandFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Ready(Some(result)) => return f.debug_tuple("CommandFuture").field(result).finish(),
            State::Ready(None) => "taken",
            State::Waiting(_) => "waiting",
            State::Running(_) => "running",
        };
        f.debug_tuple("CommandFuture").field(&state).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn session_guard_ends_the_session_once_when_dropped() {
        let ends = Arc::new(AtomicU32::new(0));
        let guard = SessionGuard::new(SessionId(7), {
            let ends = Arc::clone(&ends);
            move || {
                ends.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_eq!((guard.id(), ends.load(Ordering::Relaxed)), (SessionId(7), 0));
        drop(guard);
        assert_eq!(ends.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn command_future_yields_its_result_or_try_again_if_its_reply_is_dropped() {
        assert_eq!(CommandFuture::ready(Ok(Outcome::Done)).await, Ok(Outcome::Done));
        assert_eq!(CommandFuture::run(async { Ok(Outcome::Done) }).await, Ok(Outcome::Done));
        let (reply, future) = CommandFuture::channel();
        reply.send(Ok(Outcome::Done));
        assert_eq!(future.await, Ok(Outcome::Done));
        let (reply, future) = CommandFuture::channel();
        drop(reply);
        assert_eq!(future.await.unwrap_err().code, ReplyCode::TryAgain);
    }
}
