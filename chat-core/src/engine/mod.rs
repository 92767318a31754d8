//! The chat engine. It executes commands and returns outcomes and pushes. It uses no sockets, so a
//! program can embed it without a network.
//!
//! ```text
//! messages, group changes ─► appender ─┐
//! other changes ───────────────────────┴─► unit of work ─┐
//! reads ─────────────────────────────────────────────────┴─► store_access ─► store
//! ```
//!
//! A command comes in through a session, [`Engine::acting_as`] or an [`Operator`]. Messages and
//! changes of existing groups go to the `appender`, which has one queue (lane) for each
//! conversation and commits messages in batches. Acknowledgements and read marks are queued in
//! `workers/marks` and written together. Other changes run as a unit of work in a separate task. A
//! unit of work is an `Operation`: it takes its locks, checks that the caller may still act
//! (`fence`) and has the permission (`policy`), and appends its events through `log`.
//! `store_access` runs it in one transaction, with deadlines, circuit breakers and retries, and its
//! events go to the [`router`](crate::router) once it is committed. Reads go through `store_access`
//! without a transaction.
//!
//! A [`feed`](Engine::feed) reads the logs independently of commands, for programs that process
//! every event.
//!
//! Each part owns only what it uses. There is no global state; a process may have any number of
//! engines.

mod acting;
mod builder;
mod config;
mod error;
mod local_session;
mod open_feed;
mod service;

mod assembly;
mod attach;
mod commands;
mod feed;

mod workers;

mod operations;

mod breaker;
mod caller_check;
mod directory;
mod hook_calls;
mod lifecycle;
mod limits;
mod operation;
mod panics;
mod queries;
mod query_lanes;
mod signals;
mod store_access;
mod views;

pub mod operator;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use crate::router::{RouterConfig, RouterStats};
use crate::service::{AttachedSession, CommandFuture};
pub use crate::service::{CommandError, Readiness};
pub use acting::ActingAs;
pub use builder::{BuildError, EngineBuilder};
pub use config::{EngineConfig, HookPolicy, SessionPolicy};
pub use feed::{Feed, FeedError, FeedItem, FeedOptions, FeedScope, FeedStart, NotRecorded};
pub use local_session::LocalSession;

use self::attach::Sessions;
use self::commands::{Dispatcher, Logins};
use self::feed::Feeds;
use self::lifecycle::Lifecycle;
use self::operator::{Operator, OperatorName, OperatorParts};
use self::store_access::StoreAccess;
use self::workers::{ObserverQueue, ReadinessState};
use crate::auth::{Profile, Subject};
use crate::cluster::{NodeInfo, Nodes};
use crate::model::{
    Caller, Command, DeviceId, Login, LoginGrant, Registration, Resume, Source, StoreEpoch, Timestamp, UserId, UserInfo,
};
use crate::router::{Outbox, OutboxLimits, Router};
use crate::store::Store;

/// A chat engine. Clones are handles to the same engine. Dropping the last one cancels the engine's
/// tasks; [`Engine::shutdown`] lets them finish.
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
    parts: Arc<Parts>,
}

/// Parts of an engine. Only the [`Engine`] holds all of them.
#[derive(Debug)]
struct Parts {
    config: EngineConfig,
    epoch: StoreEpoch,
    commands: Arc<Dispatcher>,
    logins: Arc<Logins>,
    sessions: Arc<Sessions>,
    operator: Arc<OperatorParts>,
    readiness: Arc<ReadinessState>,
    observers: Arc<ObserverQueue>,
    access: Arc<StoreAccess>,
    feeds: Feeds,
    router: Router,
    lifecycle: Lifecycle,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.lifecycle.stop();
        self.commands.messages.close();
        self.router.stop();
    }
}

/// Load of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Counts of the router, such as the number of sessions on this node.
    pub router: RouterStats,
    /// Size of the drafts and group changes that are not answered yet, in bytes.
    pub queued_bytes: usize,
    /// Number of observations that were dropped because the observing hooks were too slow, since
    /// the start.
    pub observations_dropped: u64,
}

impl Engine {
    fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Returns a builder for an engine on a store. The engine does not close the store.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> EngineBuilder {
        EngineBuilder::new(store)
    }

    /// Creates an account.
    ///
    /// # Errors
    /// [`CommandError`]. No account was created, unless the code is `TryAgain`: then one may exist.
    pub async fn register(&self, source: Source, registration: Registration) -> Result<UserInfo, CommandError> {
        self.check_clock()?;
        let command = self.logins().register(source, registration);
        self.parts.lifecycle.spawn_command(command).await
    }

    /// Logs a device in with a password, or with a token that the application's authenticator
    /// accepts. Ends the device's older session, and those of other devices if the session policy
    /// or the maximum number of devices requires it. [`attach`](Self::attach) starts the new one.
    ///
    /// # Errors
    /// [`CommandError`]. An unknown account and a wrong password yield the same error.
    pub(crate) async fn login(&self, source: Source, login: Login) -> Result<LoginGrant, CommandError> {
        self.check_clock()?;
        let command = self.logins().login(source, login);
        self.parts.lifecycle.spawn_command(command).await
    }

    /// Returns the account of the user whom the application knows as `subject`. Creates the account
    /// if there is none, so that a back end can act for users who have not logged in yet. Later
    /// logins with the same subject use this account.
    ///
    /// # Errors
    /// [`CommandError`]. A retry is safe: one subject has one account.
    pub async fn provision(&self, subject: Subject, profile: Profile) -> Result<UserInfo, CommandError> {
        let command = self.logins().provision(subject, profile);
        self.parts.lifecycle.spawn_command(command).await
    }

    /// Logs a device in with the session token of an earlier login. Ends the device's older
    /// session, and those of other devices if the session policy requires it.
    /// [`attach`](Self::attach) starts the new one.
    ///
    /// # Errors
    /// [`CommandError`]. `SessionExpired`: the client has to log in again.
    pub(crate) async fn resume(&self, source: Source, resume: Resume) -> Result<LoginGrant, CommandError> {
        self.check_clock()?;
        let command = self.logins().resume(source, resume);
        self.parts.lifecycle.spawn_command(command).await
    }

    /// Refuses registrations, logins and resumes while this node's clock is wrong.
    fn check_clock(&self) -> Result<(), CommandError> {
        if self.parts.router.is_clock_wrong() {
            return Err(CommandError::clock_is_wrong());
        }
        Ok(())
    }

    fn logins(&self) -> Arc<Logins> {
        Arc::clone(&self.parts.logins)
    }

    fn feeds(&self) -> &Feeds {
        &self.parts.feeds
    }

    /// Starts the session of a device that has just logged in; see
    /// [`ChatService::attach`](crate::service::ChatService::attach).
    ///
    /// # Errors
    /// [`CommandError`]; no session stays attached, but `outbox` may contain pushes. `Fenced`: the
    /// login has ended since it was granted, for example because the device has logged in again.
    pub(crate) async fn attach(
        &self,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<AttachedSession, CommandError> {
        let sessions = Arc::clone(&self.parts.sessions);
        sessions.attach(caller, source, outbox).await
    }

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
    pub(crate) fn execute(&self, caller: Caller, command: Command) -> CommandFuture {
        self.parts.commands.execute(caller, command)
    }

    /// Executes a command of a caller without a connection. If the user exceeds the message rate,
    /// the engine delays the answer, or refuses the message if the delay would be too long, because
    /// there is no connection from which a server could stop reading.
    fn execute_paced(&self, caller: Caller, command: Command) -> CommandFuture {
        self.parts.commands.execute_paced(caller, command)
    }

    /// Returns a handle that executes commands of `user`, without a login, a session or presence.
    /// It is cheap to create: each command checks that the account exists.
    #[must_use]
    pub fn acting_as(&self, user: UserId) -> ActingAs {
        ActingAs::new(self.clone(), Caller::application(user))
    }

    /// Starts a session of `user` in this process, without credentials: for a bot or a desktop
    /// application, which keeps the session for as long as it runs and receives events.
    ///
    /// It counts as a login of `device`: it ends an older session of that device, and makes the
    /// user online. If the user has [`max_devices`](EngineConfig::max_devices) devices already, a
    /// new device evicts another one, or is refused, as [`SessionPolicy`] says. Devices that are
    /// logged out are evicted first, and connected devices last; among equal ones, the one that
    /// logged in or resumed its session least recently is evicted first. So do not start a session
    /// for each request of an application; use [`acting_as`](Self::acting_as).
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: the user does not exist. Other codes as for a login: for
    /// example, the account is disabled, or the limit on devices refuses this one.
    pub async fn session(&self, user: UserId, device: DeviceId) -> Result<LocalSession, CommandError> {
        let login = self.logins().login_trusted(user, device);
        let logged_in = self.parts.lifecycle.spawn_command(login).await?;
        let outbox = Outbox::new(OutboxLimits::default());
        let attached = self
            .attach(logged_in.caller, Source::Local, Arc::clone(&outbox))
            .await?;
        Ok(LocalSession::new(
            self.clone(),
            logged_in.caller,
            logged_in.user,
            attached,
            outbox,
        ))
    }

    /// Returns a handle for the actions of an operator, whom the audit log records under this name.
    /// The engine checks no credentials: the caller decides who is an operator.
    #[must_use]
    pub fn operator(&self, name: OperatorName) -> Operator {
        Operator::new(Arc::clone(&self.parts.operator), &name)
    }

    /// Waits until the engine stops: at the end of its shutdown, or when its last handle is
    /// dropped.
    async fn stopped(&self) {
        self.parts.lifecycle.stopping().cancelled().await;
    }

    /// If the command sends a draft, charges it to its user's rate, over all of the user's sessions
    /// on this node. Returns the time for which a server must not read from the command's
    /// connection, zero for other commands; see [`EngineConfig::message_rate_per_user`].
    #[must_use]
    pub(crate) fn pace(&self, caller: Caller, command: &Command) -> Duration {
        self.parts.commands.pace(caller, command)
    }

    /// Returns the [`StoreEpoch`].
    #[must_use]
    pub(crate) fn store_epoch(&self) -> StoreEpoch {
        self.parts.epoch
    }

    /// Returns the time of day by the engine's clock.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        self.parts.access.wall_time()
    }

    /// Returns the engine's configuration.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.parts.config
    }

    #[cfg(test)]
    pub(crate) fn router(&self) -> &Router {
        &self.parts.router
    }

    /// Returns the engine's load.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            router: self.parts.router.stats(),
            queued_bytes: self.parts.commands.messages.queued_bytes(),
            observations_dropped: self.parts.observers.dropped(),
        }
    }

    /// Returns whether this node can serve new sessions, and whether other nodes can in its place.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.parts.readiness.readiness()
    }

    /// Reports that a listener of this node was closed because the node cannot serve.
    pub(crate) fn listener_closed(&self) {
        self.parts.readiness.listener_closed();
    }

    /// Reports that a closed listener is open again.
    pub(crate) fn listener_opened(&self) {
        self.parts.readiness.listener_opened();
    }

    /// Announces to the cluster the addresses at which clients reach this node. Does nothing if the
    /// engine has no discovery.
    pub fn advertise(&self, addresses: Vec<String>) {
        self.update_node(|me| me.addresses = addresses);
    }

    /// Announces to the cluster that this node accepts no new sessions. Does nothing if the engine
    /// has no discovery.
    pub fn announce_drain(&self) {
        self.update_node(|me| me.accepts_no_sessions = true);
    }

    fn update_node(&self, change: impl FnOnce(&mut NodeInfo)) {
        if let Some(advertiser) = self.parts.readiness.advertiser() {
            advertiser.update(change);
        }
    }

    /// Returns the currently known nodes of the cluster; empty if the engine has no discovery.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        match self.parts.readiness.advertiser() {
            Some(advertiser) => advertiser.nodes(),
            None => Arc::from([]),
        }
    }

    /// Waits until everything that this engine committed has been announced on the bus. Returns
    /// whether the bus accepted all announcements; other nodes find unannounced commits in the
    /// store a little later. Without a bus, returns `true` at once.
    ///
    /// Nodes repeat their announcements while they run, so only programs that end soon after a
    /// change need this.
    pub async fn flush_announcements(&self) -> bool {
        self.parts.router.flush_announcements().await
    }

    /// Refuses new commands, finishes and answers those in progress, writes the queued
    /// acknowledgements and read marks, and waits until all tasks have ended. Tasks that do not end
    /// in time, for example because a hook hangs, are cancelled. Local sessions and feeds end.
    /// Idempotent.
    pub async fn shutdown(&self) {
        let Parts { config, lifecycle, .. } = &*self.parts;
        lifecycle.drain();
        // Each command has a deadline. The grace period is for a hook or store that ignores it.
        let grace = config.request_timeout * 2 + config.hook_timeout;
        if tokio::time::timeout(grace, lifecycle.ended()).await.is_err() {
            tracing::warn!("some tasks of the engine did not finish in time and are cancelled");
        }
        lifecycle.stop();
        lifecycle.ended().await;
        self.parts.commands.messages.close();
        self.parts.router.shutdown().await;
        self.parts.logins.close().await;
    }
}
