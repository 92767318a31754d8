//! The chat engine: commands in, outcomes and pushes out. It knows no sockets; a program may use it without any.
//!
//! A command comes in through [`Engine::execute`]. Sends and changes of groups go to the `appender`, which commits them in
//! batches, in one lane for each conversation; other changes run as a unit of work in a task of their own; reads go straight to the
//! store. Every unit of work checks, after its locks, that the caller's login is still the latest of its device (`fence`) and that
//! the caller may do it (`policy`), appends through one helper (`log`), and is told to the [`router`](crate::router) once it is
//! committed.
//!
//! Nothing here is global: a process may have as many engines as it likes.

mod account;
mod appender;
mod attach;
mod breaker;
mod builder;
mod commands;
mod config;
mod contact;
mod core;
mod cursors;
mod deciding;
mod directory;
mod dispatch;
mod doubts;
mod error;
mod fence;
mod group;
mod history;
mod limits;
mod local_session;
mod log;
mod logins;
mod message;
mod observer;
mod operation;
mod policy;
mod presence;
mod readiness;
mod register;
mod service;
#[cfg(test)]
mod tests;
mod views;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use crate::service::{CommandError, Readiness};
pub use builder::{BuildError, EngineBuilder};
pub use config::{EngineConfig, HookPolicy, SessionPolicy};
pub use local_session::LocalSession;

use self::core::Core;
use self::register::Registration;
use crate::cluster::Nodes;
use crate::model::{
    Admission, Caller, Command, DeviceId, Login, Outcome, Resume, Source, StoreEpoch, Timestamp, UserId, UserInfo,
};
use crate::router::{Outbox, OutboxLimits, Router, RouterStats};
use crate::service::{AttachedSession, CommandFuture};
use crate::store::Store;

/// A chat engine. Clones are handles to the same one; dropping the last of them stops its tasks, [`Engine::shutdown`] lets
/// them finish.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use chat_core::prelude::*;
/// use chat_core::store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
/// let alice = engine
///     .register(
///         Source::Local,
///         Registration::new(UserName::parse("alice")?, Secret::new("correct horse")),
///     )
///     .await?;
/// let session = engine.session(alice.id, DeviceId::random()).await?;
/// let notes = ConversationRef::direct(alice.id);
/// let sent = session.send_text(notes, "milk, bread").await?;
/// assert_eq!(sent.seq.0, 1);
/// engine.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    handle: Arc<Handle>,
}

/// What stops the tasks when the last handle goes.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
    registration: Option<Arc<Registration>>,
}

impl Handle {
    fn new(core: Arc<Core>, registration: Option<Arc<Registration>>) -> Arc<Self> {
        Arc::new(Self { core, registration })
    }

    fn registration(&self) -> Option<Arc<Registration>> {
        self.registration.clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.draining.cancel();
        self.core.stop.cancel();
        self.core.appends.close();
        self.core.router.stop();
    }
}

/// How much an engine has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Sessions and conversations on this node.
    pub router: RouterStats,
    /// Bytes that wait for the appender.
    pub queued_bytes: usize,
    /// Observations that the observing hooks missed.
    pub observations_dropped: u64,
}

impl Engine {
    /// Begins to put an engine together over a store. The store stays the application's: it is not closed by the engine.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> EngineBuilder {
        EngineBuilder::new(store)
    }

    fn of(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Refuses those who come from outside while this node cannot be relied upon.
    fn ready(&self) -> Result<(), CommandError> {
        match self.core().router.is_clock_wrong() {
            true => Err(CommandError::clock_is_wrong()),
            false => Ok(()),
        }
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Creates an account.
    ///
    /// # Errors
    /// [`CommandError`]. No account was created, unless the code is `TryAgain`: then it may have been.
    pub async fn register(
        &self,
        source: Source,
        registration: crate::model::Registration,
    ) -> Result<UserInfo, CommandError> {
        self.ready()?;
        let core = Arc::clone(self.core());
        self.core()
            .begin(async move { core.register(source, registration).await })
            .await
    }

    /// Begins a session with a password, or with a token that the application's authenticator accepts.
    /// Ends the device's older session. [`attach`](Self::attach) the session to receive its events.
    ///
    /// # Errors
    /// [`CommandError`]. An unknown account and a wrong password yield the same error.
    pub async fn login(&self, source: Source, login: Login) -> Result<Admission, CommandError> {
        self.ready()?;
        let core = Arc::clone(self.core());
        self.core().begin(async move { core.login(source, login).await }).await
    }

    /// Begins a session with the token of an earlier login. Ends the device's older session.
    ///
    /// # Errors
    /// [`CommandError`]. `SessionExpired`: the client has to log in again.
    pub async fn resume(&self, _source: Source, resume: Resume) -> Result<Admission, CommandError> {
        self.ready()?;
        let core = Arc::clone(self.core());
        self.core().begin(async move { core.resume(resume).await }).await
    }

    /// Connects a session that has just logged in to its events; see [`ChatService::attach`].
    ///
    /// # Errors
    /// [`CommandError`]; nothing was begun. `Fenced`: the device has logged in again meanwhile.
    pub async fn attach(
        &self,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError> {
        self.core().attach(caller, source, outbox).await
    }

    /// Executes a command of a session.
    ///
    /// # Order
    /// The *call* fixes the order. Messages that several calls of one session append to one
    /// conversation are appended in the order of the calls, no matter when their futures are polled.
    ///
    /// # Cancel safety
    /// Dropping the future loses the outcome. Reads may stop; changes that were begun go on.
    pub fn execute(&self, caller: Caller, command: Command) -> CommandFuture {
        dispatch::execute(self.core(), caller, command).into()
    }

    /// Begins a session of `user` in this process, without credentials. It counts as a login of
    /// `device`.
    ///
    /// # Errors
    /// [`CommandError`]: the user does not exist, or an error of a login.
    pub async fn session(&self, user: UserId, device: DeviceId) -> Result<LocalSession, CommandError> {
        let core = Arc::clone(self.core());
        let admitted = self.core().begin(async move { core.trust(user, device).await }).await?;
        let outbox = Outbox::new(OutboxLimits::default());
        let attached = self.attach(admitted.caller, Source::Local, Arc::clone(&outbox)).await?;
        Ok(LocalSession::new(
            self.clone(),
            admitted.caller,
            admitted.user,
            attached,
            outbox,
        ))
    }

    /// Waits until the engine stops.
    async fn stopped(&self) {
        self.core().stop.cancelled().await;
    }

    /// Charges what a command costs its user, over all their sessions on this node, and says for how long the connection it came
    /// from is not to be read: for servers, see [`EngineConfig::message_rate`].
    #[must_use]
    pub fn pace(&self, caller: Caller, command: &Command) -> Duration {
        match command {
            Command::Send { .. } => self.core().limits.messages.take(caller.user),
            _ => Duration::ZERO,
        }
    }

    /// As [`Engine::execute`], for a session that no server paces.
    fn execute_paced(&self, caller: Caller, command: Command) -> BoxFuture<'static, Result<Outcome, CommandError>> {
        dispatch::execute_paced(self.core(), caller, command)
    }

    /// Names the history that the store holds.
    #[must_use]
    pub fn store_epoch(&self) -> StoreEpoch {
        self.core().epoch
    }

    /// The engine's time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core().now()
    }

    /// The engine's tunables.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.core().config
    }

    /// Its deliveries.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.core().router
    }

    /// How much it has to do.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            router: self.core().router.stats(),
            queued_bytes: self.core().appends.queued_bytes(),
            observations_dropped: self.core().observer.dropped(),
        }
    }

    /// Whether this node can serve those who come anew, and whether others can in its place.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.core().readiness(self.handle.registration.as_deref())
    }

    /// Tells the engine that a listener of this node has closed until the node is ready again.
    pub(crate) fn listener_closed(&self) {
        self.core().readiness.listener_closed();
        self.tell_again();
    }

    /// Tells the engine that a listener which had closed is open again.
    pub(crate) fn listener_opened(&self) {
        self.core().readiness.listener_opened();
        self.tell_again();
    }

    fn tell_again(&self) {
        if let Some(registration) = &self.handle.registration {
            registration.has_changed();
        }
    }

    /// Tells the cluster where clients reach this node.
    pub fn advertise(&self, addresses: Vec<String>) {
        if let Some(registration) = &self.handle.registration {
            registration.change(|me| me.addresses = addresses);
        }
    }

    /// Tells the cluster that this node takes no new sessions.
    pub fn announce_drain(&self) {
        if let Some(registration) = &self.handle.registration {
            registration.change(|me| me.draining = true);
        }
    }

    /// The nodes of the cluster, newest view; none without a discovery.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        match &self.handle.registration {
            Some(registration) => registration.nodes(),
            None => Arc::from([]),
        }
    }

    /// Refuses what comes from now on, finishes and answers what was begun, writes the last marks, and waits until no task is
    /// left. Local sessions end. Idempotent.
    pub async fn shutdown(&self) {
        let core = self.core();
        core.draining.cancel();
        core.tasks.close();
        // Whatever was begun has a deadline; this is for what ignores it.
        let grace = core.config.request_timeout * 2 + core.config.hook_timeout;
        if tokio::time::timeout(grace, core.tasks.wait()).await.is_err() {
            tracing::warn!("some of the engine's tasks did not finish in time and are ended");
        }
        core.stop.cancel();
        core.tasks.wait().await;
        core.appends.close();
        core.router.shutdown().await;
        core.authenticator.close().await;
    }
}
