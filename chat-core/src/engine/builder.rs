//! Builder that assembles an engine from its parts.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::Engine;
use super::assembly::{AssemblyParts, start};
use super::config::EngineConfig;
use super::store_access::StoreAccess;
use super::workers::{NodeAdvertiser, PresenceView};
use crate::auth::{Authenticator, PasswordAuthenticator, PasswordHashError};
use crate::bus::{BusError, MessageBus};
use crate::clock::{Clock, SystemClock};
use crate::cluster::{ClusterError, Discovery, MemoryPresence, NodeInfo, Presence};
use crate::hooks::Hooks;
use crate::model::NodeId;
use crate::router::{EventLog, Router, RouterParts, StoreEventLog};
use crate::store::{Store, StoreError};
use crate::time::now;

/// Error of building an engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A field of the configuration is out of range.
    #[error("the configuration's `{field}` must be {rule}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// Rule that its value breaks.
        rule: &'static str,
    },
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// The bus cannot be reached.
    #[error("the message bus cannot be reached")]
    Bus(#[from] BusError),
    /// Service discovery, the directory of the cluster's nodes, cannot be reached. A backend that
    /// adds the node later, such as the Redis one, does not cause this.
    #[error("service discovery cannot be reached")]
    Discovery(#[from] ClusterError),
    /// The cost of password hashing is out of range, the operating system returns no random bytes,
    /// or hashing failed.
    #[error("passwords cannot be hashed")]
    Passwords(#[from] PasswordHashError),
    /// `build` was called outside a tokio runtime.
    #[error("an engine can only be built inside a tokio runtime")]
    NoRuntime,
}

/// Builder of an [`Engine`]. All parts but the store have defaults. The order of calls does not
/// matter, except for [`hooks`](Self::hooks).
#[derive(Debug)]
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    event_log: Option<Arc<dyn EventLog>>,
    bus: Option<Arc<dyn MessageBus>>,
    discovery: Option<Arc<dyn Discovery>>,
    presence: Option<Arc<dyn Presence>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    passwords: Option<Arc<PasswordAuthenticator>>,
    hooks: Vec<Arc<dyn Hooks>>,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    node: NodeId,
    is_node: bool,
}

impl EngineBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            event_log: None,
            bus: None,
            discovery: None,
            presence: None,
            authenticator: None,
            passwords: None,
            hooks: Vec::new(),
            clock: Arc::new(SystemClock),
            config: EngineConfig::default(),
            node: NodeId::random(),
            is_node: true,
        }
    }

    /// Connects the engine with other engines on the same store. Default: no bus. Without one,
    /// engines that find each other through the store ([`Store::heartbeat`]) poll it for each
    /// other's commits, by default every second.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn MessageBus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Sets service discovery, which announces this node to the cluster and reports the other
    /// nodes. Default: none, and the node is not announced. An [operator_only](Self::operator_only)
    /// engine ignores it.
    #[must_use]
    pub fn discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discovery = Some(discovery);
        self
    }

    /// Sets the presence service, which records the devices that are connected. Engines that share
    /// a bus must share the presence service too. Default: the memory of this engine.
    #[must_use]
    pub fn presence(mut self, presence: Arc<dyn Presence>) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Sets the authenticator, which decides who may log in. Default: users with the right
    /// [password](Self::passwords).
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Lets users register, change their passwords, and get passwords from operators. An
    /// application whose own authenticator also accepts passwords passes the same `passwords` to
    /// this method and to its authenticator. Default: passwords in the store, with the options of
    /// [`EngineConfig`], if there is no [authenticator](Self::authenticator); otherwise none.
    #[must_use]
    pub fn passwords(mut self, passwords: Arc<PasswordAuthenticator>) -> Self {
        self.passwords = Some(passwords);
        self
    }

    /// Adds hooks with the application's own rules. Hooks are asked in the order in which they were
    /// added. Default: none.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks.push(hooks);
        self
    }

    /// Sets the clock that gives the time of day. If the store has a clock, the engine stores the
    /// times of that one, and compares this one with it. Default: the operating system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the configuration of the engine.
    #[must_use]
    pub fn config(mut self, config: EngineConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the node's id. Default: a random one for each engine.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = node;
        self
    }

    /// Builds an engine that is not a node of the cluster, for a program that runs beside the nodes
    /// and changes the data that they serve, such as an operator's tool. The engine announces its
    /// commits on the bus, but receives nothing from it, so it cannot serve sessions. Await
    /// [`Engine::flush_announcements`] before the program ends. Default: the engine is a node.
    #[must_use]
    pub const fn operator_only(mut self) -> Self {
        self.is_node = false;
        self
    }

    /// Sets the log from which sessions, and feeds of all conversations, get the events that they
    /// receive. It has to contain every event that the store commits. Default: the store.
    #[cfg(feature = "unstable")]
    #[must_use]
    pub fn event_log(mut self, event_log: Arc<dyn EventLog>) -> Self {
        self.event_log = Some(event_log);
        self
    }

    /// Checks the parts and starts the engine's tasks on the current tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`]; no task was left running.
    pub async fn build(self) -> Result<Engine, BuildError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let config = self.config;
        config
            .validate()
            .map_err(|(field, rule)| BuildError::Config { field, rule })?;
        let (authenticator, passwords) = match self.authenticator {
            Some(authenticator) => (authenticator, self.passwords),
            None => {
                // Without an authenticator of the application, users log in with passwords only.
                let passwords = default_passwords(self.passwords, &self.store, &config)?;
                (Arc::clone(&passwords) as Arc<dyn Authenticator>, Some(passwords))
            }
        };
        let epoch = self.store.epoch().await?;
        let presence = self.presence.unwrap_or_else(|| Arc::new(MemoryPresence::new()));
        let incarnation = u64::try_from(self.clock.now().0).unwrap_or(0);
        let log = self
            .event_log
            .unwrap_or_else(|| Arc::new(StoreEventLog::new(Arc::clone(&self.store))));
        let router_parts = RouterParts {
            log,
            bus: self.bus,
            presence: Arc::clone(&presence),
            clock: Arc::clone(&self.clock),
            node: self.node,
            incarnation,
            epoch,
            config: config.router.clone(),
        };
        let router = match self.is_node {
            true => Router::start(router_parts).await?,
            false => Router::start_announcer(router_parts),
        };
        read_store_time(&*self.store, &router).await?;
        let me = NodeInfo::new(self.node, incarnation);
        let discovery = self.discovery.filter(|_| self.is_node);
        let advertiser = join_cluster(discovery, me, &router).await?;
        let parts = AssemblyParts {
            access: Arc::new(StoreAccess::new(
                Arc::clone(&self.store),
                Arc::new(router.store_clock(self.clock)),
                router.clone(),
                &config,
            )),
            store: self.store,
            authenticator,
            passwords,
            hooks: self.hooks.into(),
            presence: Arc::new(PresenceView::new(presence, Arc::new(router.clone()), self.node)),
            advertiser,
            router,
            node: self.node,
        };
        let engine = start(config, epoch, parts);
        if self.is_node {
            check_newest_event(&engine);
        }
        Ok(engine)
    }
}

/// Distance of the newest event into the future, in milliseconds, above which a node that starts
/// logs a warning.
const MAX_AHEAD_MS: i64 = 60_000;

/// Starts a task that logs a warning if the newest event lies more than [`MAX_AHEAD_MS`] in the
/// future: either the clock is behind, or a clock was ahead when the event was written.
fn check_newest_event(engine: &Engine) {
    let access = Arc::clone(&engine.parts.access);
    engine.parts.lifecycle.spawn_worker("newest event", async move {
        let newest = access.read(access.store().newest_event_time()).await;
        let Ok(Some(newest)) = newest else { return };
        let ahead_ms = newest.0.saturating_sub(access.wall_time().0);
        if ahead_ms > MAX_AHEAD_MS {
            let ahead = Duration::from_millis(ahead_ms.unsigned_abs());
            tracing::warn!(
                ?ahead,
                "the newest event in the store lies in the future: the clock is behind, or it was ahead when the event was \
                 written; until that time, later events of the conversation get the time of that event; check the clocks of \
                 this machine and of the database"
            );
        }
    });
}

/// Reads the store's time of day, so that the engine stamps its first events with it. Later,
/// heartbeats keep it up to date. If the read fails, stops the router.
async fn read_store_time(store: &dyn Store, router: &Router) -> Result<(), StoreError> {
    let asked = now();
    match store.time().await {
        Ok(time) => {
            if let Some(time) = time {
                router.record_store_time(asked, time);
            }
            Ok(())
        }
        Err(error) => {
            router.shutdown().await;
            Err(error)
        }
    }
}

/// Announces the node in the cluster and lets the router watch the other nodes, if service
/// discovery is configured. If [`Discovery::join`] fails, stops the router.
async fn join_cluster(
    discovery: Option<Arc<dyn Discovery>>,
    me: NodeInfo,
    router: &Router,
) -> Result<Option<Arc<NodeAdvertiser>>, ClusterError> {
    let Some(discovery) = discovery else {
        return Ok(None);
    };
    match NodeAdvertiser::join(discovery, me).await {
        Ok(advertiser) => {
            router.watch_nodes(advertiser.watch());
            Ok(Some(Arc::new(advertiser)))
        }
        Err(error) => {
            router.shutdown().await;
            Err(error)
        }
    }
}

/// Returns `passwords`, or if there are none, passwords in the store with the options of `config`.
fn default_passwords(
    passwords: Option<Arc<PasswordAuthenticator>>,
    store: &Arc<dyn Store>,
    config: &EngineConfig,
) -> Result<Arc<PasswordAuthenticator>, PasswordHashError> {
    match passwords {
        Some(passwords) => Ok(passwords),
        None => PasswordAuthenticator::new(Arc::clone(store), config.passwords.clone(), config.throttle.clone())
            .map(Arc::new),
    }
}
